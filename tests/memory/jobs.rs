//! What is computed under the limit. Each reads far more than the limit, and none may hold more than blocks and small sums.
//!
//! Every job also checks its answer as far as mathematics foretells it: bits that agree with each other could be wrong together.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use allotment::array::{Array, Over, Statistic, random};
use allotment::linalg::{
    Centre, LanczosOptions, Pca, PcaOptions, PcaSolver, QrOptions, Svd, SvdCompressedOptions, SvdOptions, gram,
    lanczos, pca, qr, svd, svd_compressed, tsqr,
};
use allotment::{Cluster, Result};

use crate::DATA;
use crate::sparse::Cells;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    Statistics,
    SparseStatistics,
    Gram,
    Tsqr,
    Qr,
    Svd,
    DenseCompressed,
    SparseCompressed,
    Lanczos,
    SparseCovariance,
    PcaTsqr,
    PcaRandomized,
    Chain,
    Select,
}

impl Job {
    /// Computes and returns bits that differ when any number of the result does.
    pub(crate) fn run(self, cluster: &Cluster) -> Vec<u64> {
        let bits = match self {
            Job::Statistics => statistics_bits(cluster),
            Job::SparseStatistics => sparse_statistics_bits(cluster),
            Job::Gram => gram_bits(cluster),
            Job::Tsqr => tsqr_bits(cluster),
            Job::Qr => qr_bits(cluster),
            Job::Svd => svd_bits(cluster),
            Job::DenseCompressed => compressed_bits(cluster, &graded(), 1e-2),
            // Counts of three kinds of cells: three directions stand out.
            Job::SparseCompressed => compressed_bits(cluster, &cells(), 1e-2),
            Job::Lanczos => lanczos_bits(cluster),
            Job::SparseCovariance => {
                pca_bits(cluster, &cells().normalize_rows(1e4).log1p(), PcaSolver::CovarianceEigh, 1e-9)
            }
            Job::PcaTsqr => pca_bits(cluster, &graded(), PcaSolver::Tsqr, 1e-9),
            // The deviations are good to a thousandth, the directions to its root.
            Job::PcaRandomized => pca_bits(cluster, &cells(), PcaSolver::Randomized, 0.1),
            Job::Chain => chain_bits(cluster),
            Job::Select => select_bits(cluster),
        };
        bits.expect("the data is sound and a block fits")
    }
}

/// Uniform numbers: tall and skinny.
fn uniform() -> Array {
    random::uniform(DATA / 800, 100, 1, None)
}

/// Normal numbers, each column of which is a fifth smaller than the one before.
fn graded() -> Array {
    let scales: Vec<f64> = (0..100).map(|col| 0.8f64.powi(col)).collect();
    random::normal(DATA / 800, 100, 2, None).scale_cols(&scales).expect("one factor for each column")
}

fn cells() -> Array {
    Array::from_source(Arc::new(Cells::of_bytes(DATA, 200)))
}

fn statistics_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let (rows, cols) = (DATA / 800, 100);
    let kept = random::normal(rows, cols, 2, None).square().persist(cluster)?;
    let found = all_statistics(cluster, &kept)?;
    // The squares of standard normal numbers have mean 1 and variance 2; five standard errors of 400,000.
    assert!(found[0].iter().all(|mean| (mean - 1.0).abs() < 5.0 * (2.0 / rows as f64).sqrt()), "{:?}", found[0]);
    assert!(found[1].iter().all(|var| (var - 2.0).abs() < 5.0 * (56.0 / rows as f64).sqrt()), "{:?}", found[1]);
    // Their median is 0.4549 (χ² with one degree of freedom), where their density is 0.4711.
    let error = 5.0 * 0.5 / (0.4711 * (rows as f64).sqrt());
    assert!(found[6].iter().all(|median| (median - 0.45494).abs() < error), "{:?}", found[6]);
    Ok(bits_of(found.iter().map(Vec::as_slice)))
}

fn sparse_statistics_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let found = all_statistics(cluster, &cells())?;
    // Nine genes of ten are left out of each cell, and count; the stored values are 1 to 17.
    assert!(found[3].iter().chain(&found[6]).all(|least| *least == 0.0));
    assert!(found[4].iter().all(|most| *most == 17.0), "{:?}", found[4]);
    Ok(bits_of(found.iter().map(Vec::as_slice)))
}

fn all_statistics(cluster: &Cluster, x: &Array) -> Result<Vec<Vec<f64>>> {
    let asked = [
        Statistic::Mean,
        Statistic::Var { ddof: 1 },
        Statistic::Std { ddof: 0 },
        Statistic::Min,
        Statistic::Max,
        Statistic::CountNonzero,
        Statistic::Median,
        Statistic::Quantile(0.9),
    ];
    x.reduce_many(cluster, &asked.map(|asked| (asked, Over::EachColumn)), None)
}

fn gram_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let found = gram(cluster, &uniform(), None)?;
    let rows = (DATA / 800) as f64;
    // Squares of uniform numbers have mean 1/3, products of two 1/4; ten standard errors, of at most 0.3 each.
    let expected = |i, j| rows * if i == j { 1.0 / 3.0 } else { 0.25 };
    let near = |(i, j): (usize, usize)| (found[(i, j)] - expected(i, j)).abs() < 10.0 * 0.3 * rows.sqrt();
    assert!((0..100).all(|i| (0..100).all(|j| near((i, j)) && found[(i, j)] == found[(j, i)])));
    Ok(bits_of([found.as_slice()]))
}

fn tsqr_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let found = tsqr(cluster, &graded(), None)?;
    let rows = (DATA / 800) as f64;
    // Independent columns: the diagonal of R is the columns' norms, here √rows times the scale, to a few of 1/√(2 rows).
    let off = |j: usize| (found.r[(j, j)] / (rows.sqrt() * 0.8f64.powi(j as i32)) - 1.0).abs();
    assert!((0..100).all(|j| off(j) < 0.01));
    Ok(bits_of([found.r.as_slice()]))
}

fn qr_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let found = qr(cluster, &graded(), &QrOptions::default())?;
    // Both are a few ε times the root of the number of columns.
    assert!(found.residual < 1e-13 && found.orthogonality < 1e-13, "{} {}", found.residual, found.orthogonality);
    // Q lies on disk, as large as the data, and is read back.
    let sums = found.q.reduce_many(cluster, &[Statistic::Sum, Statistic::Var { ddof: 0 }].map(over_columns), None)?;
    Ok(bits_of([found.r.as_slice(), &sums[0], &sums[1], &[found.residual, found.orthogonality]]))
}

fn over_columns(statistic: Statistic) -> (Statistic, Over) {
    (statistic, Over::EachColumn)
}

fn svd_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let found = svd(cluster, &uniform(), &SvdOptions::default())?;
    // What the answer must be, whatever the bits: the mean's direction, of norm √(n m) / 2, and an answer that is right.
    let expected = (found.shape.0 as f64 * 100.0).sqrt() / 2.0;
    assert!((found.s[0] / expected - 1.0).abs() < 0.01, "{} {expected}", found.s[0]);
    triplet_bits(cluster, &found, 1e-12)
}

fn compressed_bits(cluster: &Cluster, x: &Array, most: f64) -> Result<Vec<u64>> {
    let found = svd_compressed(cluster, x, &SvdCompressedOptions { k: 3, ..Default::default() })?;
    triplet_bits(cluster, &found, most)
}

fn triplet_bits(cluster: &Cluster, found: &Svd, most: f64) -> Result<Vec<u64>> {
    let figures: Vec<f64> = found.residuals.iter().chain([&found.orthogonality]).copied().collect();
    assert!(figures.iter().all(|figure| *figure < most), "{figures:?}");
    let vt = found.vt_matrix(cluster)?;
    Ok(bits_of([&found.s[..], vt.as_slice(), &figures]))
}

fn lanczos_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let options = LanczosOptions { k: 2, tolerance: 1e-9, centre: Centre::Mean, ..Default::default() };
    let found = lanczos(cluster, &cells(), &options)?;
    assert!(found.residuals.iter().all(|residual| *residual < 1e-8), "{:?}", found.residuals);
    Ok(bits_of([&found.s[..], found.vt.as_slice(), &found.mean, &found.residuals]))
}

fn pca_bits(cluster: &Cluster, x: &Array, solver: PcaSolver, most: f64) -> Result<Vec<u64>> {
    // Three kinds of cells differ in two directions; the other matrix' variances fall by a third each.
    let options = PcaOptions { components: 2.into(), solver, ..Default::default() };
    let found: Pca = pca(cluster, x, &options)?;
    assert!(found.residuals.iter().all(|residual| *residual < most), "{:?}", found.residuals);
    let spread = found.scores.var(cluster, Over::EachColumn, 1)?;
    // Scores have the variance that the eigenvalue says.
    let agree = |(v, e): (&f64, &f64)| (v / e - 1.0).abs() < most;
    assert!(spread.iter().zip(&found.explained_variance).all(agree), "{spread:?} {:?}", found.explained_variance);
    Ok(bits_of([&found.explained_variance[..], found.components.as_slice(), &found.mean, &spread, &found.residuals]))
}

fn chain_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let (x, row) = (uniform(), random::uniform(1, 100, 5, None));
    let distances = x.subtract(&row)?.abs().sqrt();
    let products = distances.dot(&random::normal(100, 20, 6, None))?;
    let beside = Array::hstack(&[products, x.select_columns(0..20)?.scale(2.0)])?;
    let turned = beside.transpose();
    let asked = [(Statistic::Mean, Over::EachRow), (Statistic::Max, Over::EachRow), (Statistic::Sum, Over::Whole)];
    let found = turned.reduce_many(cluster, &asked, None)?;
    // The last twenty rows are uniform numbers, doubled: mean 1, variance 1/3; five standard errors.
    let error = 5.0 * (1.0 / 3.0 / turned.cols() as f64).sqrt();
    assert!(found[0][20..].iter().all(|mean| (mean - 1.0).abs() < error), "{:?}", found[0]);
    Ok(bits_of(found.iter().map(Vec::as_slice)))
}

fn select_bits(cluster: &Cluster) -> Result<Vec<u64>> {
    let x = uniform();
    // Every fourth row from the end, so that all blocks are read, and the columns backwards.
    let rows: Vec<u64> = (0..x.rows()).rev().step_by(4).collect();
    let n_rows = rows.len();
    let chosen = x.select_rows(rows)?.select_columns((0..100).rev().collect::<Vec<u64>>())?.persist(cluster)?;
    let found = chosen.reduce_many(cluster, &[Statistic::Mean, Statistic::ArgMax].map(over_columns), None)?;
    // Uniform numbers have mean 1/2 and variance 1/12; five standard errors.
    let error = 5.0 / (12.0 * n_rows as f64).sqrt();
    assert!(found[0].iter().all(|mean| (mean - 0.5).abs() < error), "{:?}", found[0]);
    Ok(bits_of(found.iter().map(Vec::as_slice)))
}

/// Keeps the first numbers as they are, to be seen when they differ, and all of them as one digest.
fn bits_of<'a>(parts: impl IntoIterator<Item = &'a [f64]>) -> Vec<u64> {
    let all: Vec<u64> = parts.into_iter().flatten().map(|value| value.to_bits()).collect();
    let mut digest = DefaultHasher::new();
    all.hash(&mut digest);
    all.iter().take(4).copied().chain([digest.finish()]).collect()
}
