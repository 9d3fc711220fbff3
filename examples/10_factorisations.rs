//! Factors matrices that are larger than a worker's memory, and shows how right each answer is.

use allotment::array::{Array, random};
use allotment::linalg::{
    LanczosOptions, LstsqOptions, PcaOptions, QrOptions, SvdCompressedOptions, SvdOptions, lanczos, lstsq, pca, qr,
    svd, svd_compressed,
};
use allotment::{Cluster, Result};

pub(crate) fn main() -> Result<()> {
    let cluster = Cluster::builder().workers(2).allowance("64MiB".parse()?).build()?;
    let small = |figure: f64| if figure < 1e-9 { "as good as rounding allows" } else { "poor" };

    // Thin QR: Q stays with the workers.
    let x = random::normal(50_000, 16, 7, None);
    let found = qr(&cluster, &x, &QrOptions::default())?;
    println!("qr: Q {:?}, {}", found.q.shape(), small(found.orthogonality.max(found.residual)));

    // Least squares: the last column from the others.
    let others = x.select_columns(0..15)?;
    let target = x.select_columns(vec![15])?.add(others.select_columns(vec![3])?.scale(2.0))?;
    let fit = lstsq(&cluster, &others, &target, &LstsqOptions::default())?;
    println!("lstsq: rank {}, the coefficient is about {:.1}", fit.rank, fit.x[(3, 0)]);

    // A wide matrix has the SVD of its transpose.
    let wide = svd(&cluster, &x.transpose(), &SvdOptions::default())?;
    println!("svd: {} values of {:?}, {}", wide.s.len(), wide.shape, small(wide.residuals[0]));

    // The first few singular values of a large one.
    let options = SvdCompressedOptions { k: 3, tolerance: 1e-6, ..Default::default() };
    let first = svd_compressed(&cluster, &x, &options)?;
    println!("svd_compressed: the same to {:.0e}", (first.s[0] / wide.s[0] - 1.0).abs().max(1e-6));

    // Of a sparse one, without filling it and without a columns × columns matrix.
    let sparse = x.subtract(2.0)?.clip(0.0, f64::INFINITY)?.to_csr()?;
    let found = lanczos(&cluster, &sparse, &LanczosOptions { k: 2, ..Default::default() })?;
    println!("lanczos: {} passes, {}", found.passes, small(found.residuals[0]));

    // Principal components, as many as hold half of the variance.
    let scaled = x.scale_cols(&(1..=16).map(f64::from).collect::<Vec<_>>())?;
    let found = pca(&cluster, &scaled, &PcaOptions { components: 0.5.into(), ..Default::default() })?;
    println!("pca: {} components by {}", found.components.nrows(), found.solver.name());
    let scores: Array = found.transform(&scaled)?;
    println!("scores {:?}", scores.shape());
    Ok(())
}
