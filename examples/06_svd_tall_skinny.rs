//! Factorises a matrix that is much taller than wide, and prints its singular values and the proof that they are right.

use allotment::array::random;
use allotment::linalg::{SvdOptions, svd};
use allotment::{Cluster, Result};

pub(crate) fn main() -> Result<()> {
    let cluster = Cluster::builder().workers(2).allowance("16MiB".parse()?).build()?;

    // 100,000 x 20 numbers from a seed. Element (i, j) is the same for any chunking and any number of workers.
    let a = random::uniform(100_000, 20, 1, 5_000);

    // Each block is reduced to a triangle of 20 x 20; triangles are combined in a fixed tree, in block order.
    let found = svd(&cluster, &a, &SvdOptions::default())?;
    println!("the largest singular values are {:.0} and {:.0}", found.s[0], found.s[1]);

    // Uniform numbers have the mean 1/2: the first component is that mean, the others are noise around it.
    println!("expected about {:.0} and {:.0}", (100_000.0f64 * 20.0).sqrt() / 2.0, (100_000.0f64 / 12.0).sqrt());

    // Every result carries what is left of its equations, from a second pass over the data.
    let worst = found.residuals.iter().copied().fold(0.0, f64::max);
    println!("residuals below 1e-12: {}, orthogonal to 1e-12: {}", worst < 1e-12, found.orthogonality < 1e-12);

    // The same bits on one worker.
    let single = Cluster::builder().workers(1).allowance("16MiB".parse()?).build()?;
    println!("the same bits on one worker: {}", svd(&single, &a, &SvdOptions::default())?.s == found.s);
    Ok(())
}
