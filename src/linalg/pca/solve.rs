//! The solvers of a PCA: each gives the means, the components and the variances along them, in its own way.
//!
//! | solver | passes | holds | a small variance is known to |
//! | --- | --- | --- | --- |
//! | covariance | 1 | columns² | ε of the largest |
//! | tsqr | 1 | columns² | ε² of the largest |

use nalgebra::DMatrix;

use super::{Components, PcaOptions, PcaSolver, centred_r};
use crate::array::{Array, Block, Working};
use crate::error::Result;
use crate::linalg::dense::{Eigh, SmallSvd, eigh, eigh_bytes, svd_bytes, svd_small};
use crate::linalg::gram::{refuse_unsound, too_large};
use crate::linalg::moments::{Moments, moments_bytes, of_block_bytes};
use crate::linalg::{check_fits, on_lane, signs};
use crate::runtime::{Cluster, Progress};

/// What a solver finds. Values are sums of squares: the variance times `n − ddof`.
pub(super) struct Found {
    pub(super) mean: Vec<f64>,
    /// As rows, signs fixed.
    pub(super) components: DMatrix<f64>,
    /// Along each component, largest first, none below zero.
    pub(super) values: Vec<f64>,
    /// Of all columns together.
    pub(super) total: f64,
}

/// Runs a solver other than `Auto`.
pub(super) fn solve(
    cluster: &Cluster,
    x: &Array,
    p: usize,
    solver: PcaSolver,
    options: &PcaOptions,
    progress: Option<Progress>,
) -> Result<Found> {
    match solver {
        PcaSolver::Tsqr => by_tsqr(cluster, x, p, options.components, progress),
        PcaSolver::Auto | PcaSolver::CovarianceEigh => by_covariance(cluster, x, p, options.components, progress),
    }
}

/// Returns the most that any task of the covariance solver holds for so many columns and components besides its block.
pub(super) fn covariance_bytes(p: usize, k: usize) -> u64 {
    let covariance = (p * p * 8) as u64;
    moments_working(p).fixed.max(eigh_bytes(p, k) + 2 * covariance)
}

/// Returns the most that any task of the tsqr solver holds besides its block.
pub(super) fn tsqr_bytes(p: usize) -> u64 {
    centred_r::working(p).fixed.max(svd_bytes(p + 1, p) + (p * p * 8) as u64)
}

fn by_covariance(
    cluster: &Cluster,
    x: &Array,
    p: usize,
    components: Components,
    progress: Option<Progress>,
) -> Result<Found> {
    let most = components.at_most(x.rows(), p);
    check_fits(cluster, covariance_bytes(p, most), || {
        format!("pca: covariance of {p} columns (select fewer columns, such as the variable genes, or another solver)")
    })?;
    let moments = moments(cluster, x, p, progress)?;
    let (mean, m2) = (moments.mean(), moments.m2);
    let (total, bytes) = (m2.diagonal().sum(), eigh_bytes(p, most));
    // `eigh` reads the lower triangle.
    let Eigh { values, vectors } = on_lane(cluster, "pca eigenvectors", bytes, move || eigh(&m2.transpose(), most))?;
    // Rounding may leave a variance of zero a little below it.
    let values: Vec<f64> = values.into_iter().map(|value| value.max(0.0)).collect();
    Ok(Found { mean, components: vectors.transpose(), values, total }.cut(components))
}

fn by_tsqr(
    cluster: &Cluster,
    x: &Array,
    p: usize,
    components: Components,
    progress: Option<Progress>,
) -> Result<Found> {
    check_fits(cluster, tsqr_bytes(p), || {
        format!("pca: R of {p} columns (select fewer columns, such as the variable genes, or another solver)")
    })?;
    let centred = centred_r::centred_r(cluster, &x.to_dense(), p, progress)?;
    let (mean, r) = (centred.mean(), centred.r);
    // R has fewer rows than columns where the matrix has.
    let bytes = svd_bytes(r.nrows(), p) + (r.len() * 8) as u64;
    let SmallSvd { s, vt, .. } = on_lane(cluster, "pca svd of R", bytes, move || svd_small(&r))?;
    let values: Vec<f64> = s.iter().map(|s| s * s).collect();
    let total: f64 = values.iter().sum();
    if !total.is_finite() {
        return Err(too_large("pca", 0, 0, usize::try_from(x.rows()).unwrap_or(usize::MAX)));
    }
    Ok(Found { mean, components: vt, values, total }.cut(components))
}

impl Found {
    /// Keeps as many components as are asked for, and fixes their signs.
    fn cut(mut self, components: Components) -> Self {
        let k = match components {
            Components::Count(k) => k,
            Components::Variance(share) => self.enough_for(share),
        };
        self.values.truncate(k);
        self.components = self.components.rows(0, self.values.len()).into_owned();
        signs::fix_rows(&mut self.components);
        self
    }

    /// Returns the least number of components that hold more than a share of the variance; one where nothing varies.
    fn enough_for(&self, share: f64) -> usize {
        let mut sum = 0.0;
        let enough = self.values.iter().position(|value| {
            sum += value;
            sum > share * self.total
        });
        match enough {
            Some(last) => last + 1,
            None if self.total > 0.0 => self.values.len(),
            None => 1,
        }
    }
}

fn moments_working(p: usize) -> Working {
    // Two partials while they are joined.
    let fixed = 2 * moments_bytes(p) + of_block_bytes(p);
    Working { fixed, per_row: 0, kept: moments_bytes(p) }
}

fn moments(cluster: &Cluster, x: &Array, p: usize, progress: Option<Progress>) -> Result<Moments> {
    let found = x.reduce_blocks(
        cluster,
        "pca gram",
        moments_working(p),
        |block, info, _| sound_moments(block, info.row_offset),
        |left, right| Ok(Moments::combine(left, right)),
        progress,
    )?;
    Ok(found.expect("a matrix with rows has blocks"))
}

/// Computes a block's moments and refuses those that are not finite, naming the value that is to blame.
fn sound_moments(block: &Block, first_row: u64) -> Result<Moments> {
    let moments = Moments::of_block(block)?;
    let Some(col) = moments.first_unsound_column() else { return Ok(moments) };
    refuse_unsound(block, first_row, "pca")?;
    Err(too_large("pca", col, first_row, block.rows()))
}
