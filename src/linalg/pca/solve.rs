//! The solvers of a PCA: each gives the means, the components and the variances along them, in its own way.
//!
//! | solver | passes | holds | a small variance is known to |
//! | --- | --- | --- | --- |
//! | covariance | 1 | columns² | ε of the largest |
//! | tsqr | 1 | columns² | ε² of the largest |
//! | lanczos | 1 and one a step | 128 · columns or more | its residual |
//! | randomized | 1 and a few | 192 · columns or more | 10⁻³ of itself, or its residual |

use nalgebra::DMatrix;

use super::{Components, PcaOptions, PcaSolver, centred_r};
use crate::array::{Array, Block, BlockInfo, Over, Plan, Statistic, Working};
use crate::error::{Error, Result};
use crate::linalg::compressed::{SvdCompressedOptions, compressed_triplets};
use crate::linalg::dense::{Eigh, SmallSvd, eigh, eigh_bytes, svd_bytes, svd_small};
use crate::linalg::gram::{eigenvectors_bytes, refuse_unsound, too_large};
use crate::linalg::lanczos::{Centre, Lanczos, LanczosOptions, lanczos};
use crate::linalg::moments::{Moments, moments_bytes, of_block_bytes};
use crate::linalg::triplets::Triplets;
use crate::linalg::{check_fits_or, on_lane, part_of, signs};
use crate::runtime::{Cluster, Progress, TaskContext};

/// The randomized solver stops when deviations are estimated to be right to this share of themselves.
const SKETCH_TOLERANCE: f64 = 1e-3;

/// What the iterative solvers ask first.
const MEAN_AND_VARIANCE: [(Statistic, Over); 2] =
    [(Statistic::Mean, Over::EachColumn), (Statistic::Var { ddof: 0 }, Over::EachColumn)];

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

/// Returns how many parts of the progress a solver takes.
pub(super) fn parts(solver: PcaSolver) -> usize {
    match solver {
        PcaSolver::Auto | PcaSolver::CovarianceEigh | PcaSolver::Tsqr => 1,
        PcaSolver::Lanczos | PcaSolver::Randomized => 2,
    }
}

/// Returns the plan of a solver other than `Auto`: all that happens before the scores.
pub(super) fn plan(cluster: &Cluster, x: &Array, p: usize, solver: PcaSolver, options: &PcaOptions) -> Result<Plan> {
    check_fits_solver(cluster, x, p, solver, options)?;
    let most = options.components.at_most(x.rows(), p);
    let direct = |x: &Array, working, [pass, task]: [&str; 2], bytes| {
        let mut plan = x.plan_for(cluster, pass, working)?;
        plan.add_pass(pass);
        plan.add_task(task, bytes);
        Ok(plan)
    };
    let iterated = |plan: Plan, name| {
        let mut first = x.plan_reduce(cluster, &MEAN_AND_VARIANCE)?;
        first.add_pass("pca means");
        Ok(first.then(name, &plan))
    };
    match solver {
        PcaSolver::Auto | PcaSolver::CovarianceEigh => {
            let bytes = eigenvectors_bytes(p, most);
            direct(x, moments_working(p), ["pca gram", "pca eigenvectors"], bytes)
        }
        PcaSolver::Tsqr => {
            let bytes = svd_bytes(p + 1, p) + ((p + 1) * p * 8) as u64;
            direct(&x.to_dense(), centred_r::working(p), ["pca tsqr", "pca svd of R"], bytes)
        }
        PcaSolver::Lanczos => iterated(lanczos_options(x, options, Centre::Nothing).plan(cluster, x)?, "lanczos"),
        PcaSolver::Randomized => iterated(sketch_options(x, options).plan(cluster, x)?, "svd_compressed"),
    }
}

/// Refuses a direct solver whose columns × columns numbers do not fit, naming one that would.
fn check_fits_solver(cluster: &Cluster, x: &Array, p: usize, solver: PcaSolver, options: &PcaOptions) -> Result<()> {
    let most = options.components.at_most(x.rows(), p);
    let (need, what) = match solver {
        PcaSolver::Auto | PcaSolver::CovarianceEigh => (covariance_bytes(p, most), "covariance"),
        PcaSolver::Tsqr => (tsqr_bytes(p), "R"),
        PcaSolver::Lanczos | PcaSolver::Randomized => return Ok(()),
    };
    let fits = |solver: PcaSolver| match (solver, options.components) {
        (PcaSolver::CovarianceEigh, _) => covariance_bytes(p, most) <= cluster.allowance(),
        (_, Components::Variance(_)) => false,
        _ => lanczos_options(x, options, Centre::Nothing).plan(cluster, x).is_ok(),
    };
    let instead = match need > cluster.allowance() {
        true if solver == PcaSolver::Tsqr && fits(PcaSolver::CovarianceEigh) => {
            "use the solver covariance (--solver covariance)"
        }
        true if fits(PcaSolver::Lanczos) => "use the solver lanczos (--solver lanczos)",
        _ => "select fewer columns, such as the variable genes, or ask for fewer components",
    };
    check_fits_or(cluster, need, &format!("pca: {what} of {p} columns"), instead)
}

fn lanczos_options(x: &Array, options: &PcaOptions, centre: Centre) -> LanczosOptions {
    let (k, progress) = (options.components.at_most(x.rows(), 0), part_of(&options.progress, 1, 3));
    LanczosOptions { k, seed: options.seed, centre, progress, ..Default::default() }
}

fn sketch_options(x: &Array, options: &PcaOptions) -> SvdCompressedOptions {
    let (k, progress) = (options.components.at_most(x.rows(), 0), part_of(&options.progress, 1, 3));
    SvdCompressedOptions { k, seed: options.seed, tolerance: SKETCH_TOLERANCE, progress, ..Default::default() }
}

/// Runs a solver other than `Auto`.
pub(super) fn solve(cluster: &Cluster, x: &Array, p: usize, solver: PcaSolver, options: &PcaOptions) -> Result<Found> {
    match solver {
        PcaSolver::Auto | PcaSolver::CovarianceEigh => by_covariance(cluster, x, p, options),
        PcaSolver::Tsqr => by_tsqr(cluster, x, p, options),
        PcaSolver::Lanczos => by_lanczos(cluster, x, options),
        PcaSolver::Randomized => by_sketch(cluster, x, options),
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

fn by_covariance(cluster: &Cluster, x: &Array, p: usize, options: &PcaOptions) -> Result<Found> {
    let (components, progress) = (options.components, part_of(&options.progress, 0, 2));
    let most = components.at_most(x.rows(), p);
    let moments = moments(cluster, x, p, progress)?;
    let (mean, m2) = (moments.mean(), moments.m2);
    // The covariance is turned over for it.
    let (total, bytes) = (m2.diagonal().sum(), eigenvectors_bytes(p, most));
    // `eigh` reads the lower triangle.
    let Eigh { values, vectors } = on_lane(cluster, "pca eigenvectors", bytes, move || eigh(&m2.transpose(), most))?;
    // Rounding may leave a variance of zero a little below it.
    let values: Vec<f64> = values.into_iter().map(|value| value.max(0.0)).collect();
    Ok(Found { mean, components: vectors.transpose(), values, total }.cut(components))
}

fn by_tsqr(cluster: &Cluster, x: &Array, p: usize, options: &PcaOptions) -> Result<Found> {
    let centred = centred_r::centred_r(cluster, &x.to_dense(), p, part_of(&options.progress, 0, 2))?;
    let (mean, r) = (centred.mean(), centred.r);
    // R has fewer rows than columns where the matrix has.
    let bytes = svd_bytes(r.nrows(), p) + (r.len() * 8) as u64;
    let SmallSvd { s, vt, .. } = on_lane(cluster, "pca svd of R", bytes, move || svd_small(&r))?;
    let values: Vec<f64> = s.iter().map(|s| s * s).collect();
    let total: f64 = values.iter().sum();
    if !total.is_finite() {
        return Err(too_large("pca", 0, 0, usize::try_from(x.rows()).unwrap_or(usize::MAX)));
    }
    Ok(Found { mean, components: vt, values, total }.cut(options.components))
}

fn by_lanczos(cluster: &Cluster, x: &Array, options: &PcaOptions) -> Result<Found> {
    let (mean, total) = mean_and_total(cluster, x, part_of(&options.progress, 0, 3))?;
    let settings = lanczos_options(x, options, Centre::Row(mean));
    let Lanczos { s, vt, mean, .. } = lanczos(cluster, x, &settings)?;
    Ok(Found { mean, components: vt, values: s.iter().map(|s| s * s).collect(), total })
}

fn by_sketch(cluster: &Cluster, x: &Array, options: &PcaOptions) -> Result<Found> {
    let (mean, total) = mean_and_total(cluster, x, part_of(&options.progress, 0, 3))?;
    let settings = sketch_options(x, options);
    let Triplets { s, vt, .. } = compressed_triplets(cluster, x, mean.clone(), &settings)?;
    Ok(Found { mean, components: vt, values: s.iter().map(|s| s * s).collect(), total })
}

/// Returns the mean of each column, and the sum of the squares about them of all columns: one pass, and nothing columns ×
/// columns.
fn mean_and_total(cluster: &Cluster, x: &Array, progress: Option<Progress>) -> Result<(Vec<f64>, f64)> {
    let mut found = x.reduce_many(cluster, &MEAN_AND_VARIANCE, progress)?;
    let (variance, mean) = (found.pop().unwrap_or_default(), found.pop().unwrap_or_default());
    let total = variance.iter().sum::<f64>() * x.rows() as f64;
    let unsound = |col: &usize| !mean[*col].is_finite() || !variance[*col].is_finite();
    match (0..mean.len()).find(unsound) {
        Some(col) => Err(name_unsound(cluster, x, col)),
        None => Ok((mean, total)),
    }
}

/// Looks for the value that made a column's mean or variance infinite or not a number.
fn name_unsound(cluster: &Cluster, x: &Array, col: usize) -> Error {
    let look = |block: &Block, info: BlockInfo, _: &TaskContext| refuse_unsound(block, info.row_offset, "pca");
    let working = Working { fixed: 256 * x.cols() * 8, ..Default::default() };
    match x.reduce_blocks(cluster, "pca look", working, look, |(), ()| Ok(()), None) {
        Err(error) => error,
        Ok(_) => too_large("pca", col, 0, usize::try_from(x.rows()).unwrap_or(usize::MAX)),
    }
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
