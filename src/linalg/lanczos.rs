//! The first singular triplets of a matrix to full accuracy, also of a centred one that is never built: for sparse matrices
//! whose columns × columns gram does not fit.
//!
//! A block Krylov space of `AᵀA` (see `krylov.rs`) with thick restarts and full re-orthogonalisation grows by one pass over the
//! data a step, until each of the vectors asked for is an eigenvector of `AᵀA` within the tolerance. A last pass measures
//! what was found. Blocks are narrow, so that the space may hold many of them, and are widened by random vectors where
//! a value is repeated as often as they could tell; three steps later either more copies have come, or there are none.

use std::sync::Arc;

use nalgebra::DMatrix;

use super::compressed::check_k;
use super::krylov::{Krylov, Ritz, Size};
use super::operator::{Operator, pass_of};
use super::triplets::{Triplets, left_vectors, triplets};
use crate::array::{Array, Over};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// Vectors of a block and of the last look beyond those that are asked for.
pub(super) const GUARDS: usize = 4;
/// Vectors of a block: few enough for a long history, enough for few passes.
const WIDEST_BLOCK: usize = 20;
/// Vectors of a space, at least.
const LEAST_CAPACITY: usize = 128;
/// Steps in which random vectors bring what was missing into sight.
const STEPS_AFTER_WIDENING: usize = 3;
/// Below this rounding decides: G's products err by a few ε σ₁² themselves.
const LEAST_TOLERANCE: f64 = 1e-13;

/// What [`lanczos`] takes from every row of the matrix before it is factored; nothing is filled by it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Centre {
    /// Nothing.
    #[default]
    Nothing,
    /// The mean of the rows, found by a pass of its own.
    Mean,
    /// This row, which has one number for each column.
    Row(Vec<f64>),
}

/// Settings of [`lanczos`].
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct LanczosOptions {
    /// How many singular triplets, at most the smaller of rows and columns.
    pub k: usize,
    /// Each `‖AᵀA v − σ² v‖` must be at most this share of the largest σ²: from 1e-13 on.
    pub tolerance: f64,
    /// Steps, each of one pass over the data, after which it is an error not to have reached the tolerance.
    pub max_iterations: usize,
    /// Of the random start: the same seed gives the same bits.
    pub seed: u64,
    /// What is taken from every row first: the mean, for principal components.
    pub centre: Centre,
    /// Called as runs of blocks finish. How many passes there will be is not known beforehand, so that both numbers grow.
    #[serde(skip)]
    pub progress: Option<Progress>,
}

impl Default for LanczosOptions {
    fn default() -> Self {
        LanczosOptions {
            k: 10,
            tolerance: 1e-10,
            max_iterations: 200,
            seed: 0,
            centre: Centre::Nothing,
            progress: None,
        }
    }
}

/// The first singular triplets of a matrix less a row, and the figures that show them to be right.
#[derive(Clone, Debug)]
pub struct Lanczos {
    /// Singular values, largest first.
    pub s: Vec<f64>,
    /// Right singular vectors, as rows; in each the entry of largest magnitude is positive. Orthonormal beyond the rank, too.
    pub vt: DMatrix<f64>,
    /// What was taken from every row; empty for nothing.
    pub mean: Vec<f64>,
    /// How many of the singular values are above rounding: greater than `max(shape) ε s[0]`.
    pub rank: usize,
    /// `‖Aᵀ(A v)/σ − σ v‖ / σ` of each component, from a pass over the data; beyond the rank `‖A v‖ / s[0]`. Within `σ` times
    /// this of each `σ` the matrix has a singular value, to the `ε s[0]` of rounding.
    pub residuals: Vec<f64>,
    /// The largest entry of `|UᵀU − I|` over the columns within the rank.
    pub orthogonality: f64,
    /// How often the data were read for the factorisation, the mean aside.
    pub passes: usize,
}

/// Returns the first `k` singular triplets of a matrix, dense or CSR, less its mean row if asked.
///
/// With [`Centre::Mean`] `vt` are the principal components and `s²/(n − 1)` their variances. Singular values are accurate
/// to `ε s[0]` and the square of their residual; vectors to their residual over the gap, and where σ is small, to about
/// `ε (s[0]/σ)²`, because `AᵀA` is iterated. Repeated values are found as often as they are there. The same input on the
/// same chunk grid gives the same bits on any number of workers.
///
/// Of a value far below the first, `ε s[0]` is what is known and no more: at `10⁻⁶ s[0]` ten digits of it and three of its
/// vector, below about `10⁻⁸ s[0]` that there is something small. The residuals say which: within `σ` times its residual of
/// each `σ` there is a singular value of the matrix, and one near or above 1 says that nothing is known of a triplet but its size.
/// [`svd`](super::svd()) does not square the matrix and knows the vectors of such values better, where it fits.
///
/// Vectors as long as the matrix is wide are held in memory, 128 or `2 k + 160` of them, whichever is more; nothing columns ×
/// columns is, and nothing as tall as the matrix.
///
/// # Errors
/// [`Error::BadArgument`] for a `k` of zero or above the smaller of rows and columns, or a tolerance out of range;
/// [`Error::ShapeMismatch`] for a [`Centre::Row`] of another length; [`Error::NonFinite`] with the place of a NaN or an
/// infinity; [`Error::TooBig`] when the vectors do not fit the allowance; [`Error::NoConvergence`] with the residual that
/// was reached.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::{Centre, LanczosOptions, lanczos}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let counts = Array::from_rows(&[[1.0, 0.0, 5.0], [2.0, 0.0, 5.0], [3.0, 0.0, 5.0]])?.to_csr()?;
/// let options = LanczosOptions { k: 1, centre: Centre::Mean, ..Default::default() };
/// let found = lanczos(&cluster, &counts, &options)?;
/// // The first column alone varies: its deviations are −1, 0 and 1.
/// assert!((found.s[0] - 2f64.sqrt()).abs() < 1e-14 && (found.vt[(0, 0)] - 1.0).abs() < 1e-14);
/// assert!(found.residuals[0] < 1e-14);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn lanczos(cluster: &Cluster, a: &Array, options: &LanczosOptions) -> Result<Lanczos> {
    options.plan(cluster, a)?;
    let mean = match &options.centre {
        Centre::Nothing => Vec::new(),
        Centre::Mean => a.mean(cluster, Over::EachColumn)?,
        Centre::Row(row) => row.clone(),
    };
    let operator = Operator::new("lanczos", a, mean)?;
    let size = size(a, options.k);
    let mut space = Krylov::begin(cluster, operator, size, options.seed, options.progress.clone())?;
    let ritz = iterate(&mut space, options)?;
    let vectors = Arc::new(space.vectors(&ritz, options.k + GUARDS)?);
    let (operator, passes) = space.end();
    let found = triplets(cluster, &operator, &vectors, options.k, pass_of(&options.progress, passes))?;
    confirm(&found, options, passes)?;
    let Triplets { s, vt, rank, residuals, orthogonality, .. } = found;
    Ok(Lanczos { s, vt, mean: operator.mean().to_vec(), rank, residuals, orthogonality, passes: passes + 1 })
}

impl Lanczos {
    /// Returns the left singular vectors of the matrix these were found from, as columns of an expression: `(A − mean) V Σ⁻¹`.
    /// Columns beyond the rank are zero.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `a` has another number of columns.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array, linalg::{LanczosOptions, lanczos}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let a = Array::from_rows(&[[3.0, 0.0], [0.0, 2.0], [4.0, 0.0]])?.to_csr()?;
    /// let found = lanczos(&cluster, &a, &LanczosOptions { k: 1, ..Default::default() })?;
    /// let u = found.left_vectors(&a)?.compute(&cluster)?.to_vec::<f64>();
    /// assert!((found.s[0] - 5.0).abs() < 1e-14 && (u[0] - 0.6).abs() < 1e-14 && (u[2] - 0.8).abs() < 1e-14);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn left_vectors(&self, a: &Array) -> Result<Array> {
        left_vectors(a, &self.mean, &self.vt, &self.s, self.rank)
    }
}

/// Refuses what has no answer.
pub(super) fn check_request(a: &Array, options: &LanczosOptions) -> Result<()> {
    check_k("lanczos", a, options.k)?;
    if !(LEAST_TOLERANCE..1.0).contains(&options.tolerance) {
        let expected = format!("from {LEAST_TOLERANCE:e}, where rounding begins, to below 1");
        return Err(Error::bad_argument("lanczos", "tolerance", options.tolerance, expected));
    }
    if options.max_iterations == 0 {
        return Err(Error::bad_argument("lanczos", "max_iterations", 0, "at least 1"));
    }
    Ok(())
}

pub(super) fn size(a: &Array, k: usize) -> Size {
    let width = (k + GUARDS).min(WIDEST_BLOCK).min(a.rows().min(a.cols()) as usize);
    Size { k, width, capacity: LEAST_CAPACITY.max(2 * k + 8 * width) }
}

/// Steps until every vector that is asked for is good enough, and none is missing.
fn iterate(space: &mut Krylov, options: &LanczosOptions) -> Result<Ritz> {
    let (mut reached, mut wait, mut accepted) = (f64::INFINITY, 0, None);
    for _ in 0..options.max_iterations {
        let ritz = space.step()?;
        let (all, largest) = (ritz.values.len() >= options.k, ritz.values[0]);
        let worst = ritz.residuals.iter().take(options.k).copied().fold(0.0, f64::max);
        reached = if largest > 0.0 { worst / largest } else { 0.0 };
        let is_good = all && reached <= options.tolerance;
        if space.is_exhausted() && !all {
            space.widen(&ritz)?;
        } else if is_good && (wait == 0 || space.is_exhausted()) {
            let unchanged = |before: &Vec<f64>| {
                before.iter().zip(&ritz.values).all(|(before, now)| now - before <= options.tolerance * largest)
            };
            if accepted.as_ref().is_some_and(unchanged) || !space.may_hide_copies(&ritz) {
                return Ok(ritz);
            }
            accepted = Some(ritz.values[..options.k].to_vec());
            wait = STEPS_AFTER_WIDENING;
            space.widen(&ritz)?;
        } else {
            wait = wait.saturating_sub(1);
            space.make_room(&ritz)?;
        }
    }
    Err(no_convergence(options, options.max_iterations, reached))
}

/// Refuses a result that the last pass does not confirm.
fn confirm(found: &Triplets, options: &LanczosOptions, passes: usize) -> Result<()> {
    let share = |j: usize| found.residuals[j] * (found.s[j] / found.s[0]).powi(2);
    let worst = (0..found.rank).map(share).fold(0.0, f64::max);
    // What was estimated without a pass differs from what is measured by rounding, and by little else.
    if worst <= 2.0 * options.tolerance { Ok(()) } else { Err(no_convergence(options, passes, worst)) }
}

fn no_convergence(options: &LanczosOptions, iterations: usize, residual: f64) -> Error {
    Error::NoConvergence { operation: "lanczos", iterations, residual: Some(residual), tolerance: options.tolerance }
}

#[cfg(test)]
mod tests;
