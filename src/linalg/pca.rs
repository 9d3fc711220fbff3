//! Principal components of the rows of a matrix: their directions, their variances, and the scores.
//!
//! A solver ([`solve`](mod@solve)) gives the column means, the components and the variances along them. One more pass gives each
//! block's rows of the scores, left as chunks, and sums what tells whether the answer is right. Centring is never
//! materialised.
//!
//! ```text
//!   solver   covariance: block ─▶ n, mean, Σ(x−mean)(x−mean)ᵀ ─ tree ─▶ eigenvectors
//!            tsqr:       block ─▶ n, mean, R of (x−mean)      ─ tree ─▶ SVD of R
//!            lanczos, randomized: block ─▶ mean, variance; then (x−mean)ᵀ(x−mean)·V, pass by pass
//!   scores   block ─▶ scores ─▶ chunk
//!                       └─▶ Σ tᵀ(x−mean) ─ tree ─▶ residuals
//! ```
//!
//! Always true: whichever solver is taken, the residuals come from the same last pass over the data, and the solver is
//! reported.

mod centred_r;
mod scores;
mod solve;

use nalgebra::DMatrix;

use super::gram::eigen_residuals;
use super::tsqr::columns;
use super::{part_of, whole_rows};
use crate::array::{Array, Plan};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};
use scores::scores;
use solve::{Found, solve};

/// How the components are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum PcaSolver {
    /// The covariance while it is moderate: up to 5000 columns, or where a component for every fifth column or a share of the
    /// variance is asked for; else Lanczos. The allowance has no say: what does not fit is refused, naming a solver that
    /// would. [`Pca::solver`] tells which it was.
    #[default]
    Auto,
    /// Eigenvectors of the covariance: exact, two passes, columns × columns numbers in memory. A variance is known to a
    /// few ε of the largest one.
    CovarianceEigh,
    /// SVD of the centred matrix through its R: two passes, columns × columns numbers in memory, slower than the
    /// covariance. Nothing is squared, so that a deviation is known to a few ε of the largest one, and a variance of
    /// 10⁻²⁰ of the largest is still found. A CSR matrix is filled in, a tile at a time.
    Tsqr,
    /// [`lanczos`](super::lanczos()) on the matrix less its mean: as exact as the covariance, in more passes, and columns ×
    /// columns numbers are never formed. For 10⁴ to 10⁵ columns.
    Lanczos,
    /// [`svd_compressed`](super::svd_compressed()) of the matrix less its mean: in fewer passes than Lanczos, the deviation
    /// along each component to about a thousandth, the components as good as `residuals` say.
    Randomized,
}

impl PcaSolver {
    /// Returns the name that the program and its reports use.
    pub fn name(self) -> &'static str {
        match self {
            PcaSolver::Auto => "auto",
            PcaSolver::CovarianceEigh => "covariance",
            PcaSolver::Tsqr => "tsqr",
            PcaSolver::Lanczos => "lanczos",
            PcaSolver::Randomized => "randomized",
        }
    }
}

/// How many components to keep.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Components {
    /// So many, at least 1 and at most the smaller of rows and columns.
    Count(usize),
    /// As few as hold more than this share of the variance, above 0 and below 1. All variances must be known for it: a
    /// solver that finds only some components refuses.
    Variance(f64),
}

impl From<usize> for Components {
    fn from(k: usize) -> Self {
        Components::Count(k)
    }
}

impl From<f64> for Components {
    fn from(share: f64) -> Self {
        Components::Variance(share)
    }
}

impl Components {
    /// Returns how many there can be at most.
    fn at_most(self, rows: u64, p: usize) -> usize {
        match self {
            Components::Count(k) => k,
            Components::Variance(_) => usize::try_from(rows).unwrap_or(p).min(p),
        }
    }
}

/// Settings of [`pca`].
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct PcaOptions {
    /// How many components, as a number or as a share of the variance.
    pub components: Components,
    /// Variances are divided by `n − ddof`: 1 for those of a sample, 0 for those of a population.
    pub ddof: u64,
    /// How the components are found.
    pub solver: PcaSolver,
    /// Of the random start of the iterative solvers: the same seed gives the same bits.
    pub seed: u64,
    /// Called as blocks finish; all passes count.
    #[serde(skip)]
    pub progress: Option<Progress>,
}

impl Default for PcaOptions {
    fn default() -> Self {
        PcaOptions { components: Components::Count(50), ddof: 1, solver: PcaSolver::Auto, seed: 0, progress: None }
    }
}

impl PcaOptions {
    /// Returns what [`pca`] of a matrix will take, without computing anything: the solver's passes and that of the scores. Of an
    /// iterative solver, or where a share of the variance is asked for, it is a bound.
    ///
    /// # Errors
    /// Those of [`pca`] that come before any work: [`Error::TooBig`] names a solver that would fit, if one does.
    ///
    /// # Examples
    /// ```
    /// use allotment::{Cluster, array::random, linalg::{PcaOptions, PcaSolver}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let x = random::normal(100_000, 20, 1, 10_000);
    /// let options = PcaOptions { components: 5.into(), ..Default::default() };
    /// let plan = options.plan(&cluster, &x)?;
    /// assert_eq!((plan.passes, plan.tasks), (2, 21), "ten blocks, twice, and the eigenvectors");
    /// assert!(PcaOptions { solver: PcaSolver::Lanczos, ..options }.plan(&cluster, &x)?.is_bound);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn plan(&self, cluster: &Cluster, x: &Array) -> Result<Plan> {
        let (x, p) = (&whole_rows(x), check_request(x, self)?);
        let plan = solve::plan(cluster, x, p, choose(x, p, self), self)?;
        let most = self.components.at_most(x.rows(), p);
        let scores = x.plan_runs(cluster, &scores::runs(x.kind(), most, p))?;
        Ok(match self.components {
            Components::Count(_) => plan.then("pca scores", &scores),
            Components::Variance(_) => plan.then_up_to(1, "pca scores", &scores),
        })
    }

    /// Returns the solver that [`pca`] of a matrix takes: that which was asked for, or the one that the shape gives.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for what [`pca`] refuses.
    pub fn settled_solver(&self, x: &Array) -> Result<PcaSolver> {
        Ok(choose(x, check_request(x, self)?, self))
    }
}

/// Principal components, and the figures that show them to be right.
#[derive(Clone, Debug)]
pub struct Pca {
    /// The components, as rows; in each the entry of largest magnitude is positive.
    pub components: DMatrix<f64>,
    /// Each row of the matrix in terms of the components: rows × components, on the workers.
    pub scores: Array,
    /// The variance along each component, largest first.
    pub explained_variance: Vec<f64>,
    /// Its share of the variance of all columns; zero where nothing varies.
    pub explained_variance_ratio: Vec<f64>,
    /// The mean of each column.
    pub mean: Vec<f64>,
    /// The mean variance along the directions left out, as in probabilistic PCA; zero when none is left out.
    pub noise_variance: f64,
    /// `‖Xᵀt − λ(n−ddof) v‖ / (λ(n−ddof))` of each component, X centred and t its scores, from a pass over the data; for a
    /// component along which nothing varies, relative to the first λ instead.
    pub residuals: Vec<f64>,
    /// How many rows the components were found from.
    pub n_samples: u64,
    /// The solver that found them, never `Auto`.
    pub solver: PcaSolver,
}

/// Returns the principal components of the rows of `x`, and their scores.
///
/// Everything is accumulated in f64, whatever the dtype. The same input on the same chunk grid gives the same bits on
/// any number of workers. Components beyond the rank have no variance and are any directions that complete the others.
///
/// # Errors
/// [`Error::BadArgument`] for fewer than two rows, more components than rows or columns, or a share of variance that is
/// not between 0 and 1, or that the solver cannot tell; [`Error::NonFinite`] with the place of a NaN or an infinity;
/// [`Error::TooBig`] when what the solver holds does not fit the allowance; [`Error::NoConvergence`] with the residual that
/// an iterative solver reached.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::{PcaOptions, PcaSolver, pca}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = Array::from_rows(&[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])?;
/// let found = pca(&cluster, &x, &PcaOptions { components: 1.into(), ..Default::default() })?;
/// assert!((found.explained_variance[0] - 2.0).abs() < 1e-14);
/// assert!((found.components[(0, 0)] - 0.5f64.sqrt()).abs() < 1e-15);
/// assert_eq!(found.solver, PcaSolver::CovarianceEigh);
///
/// // As many components as hold more than 90 % of the variance.
/// let most = pca(&cluster, &x, &PcaOptions { components: 0.9.into(), ..Default::default() })?;
/// assert_eq!(most.explained_variance.len(), 1);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn pca(cluster: &Cluster, x: &Array, options: &PcaOptions) -> Result<Pca> {
    let (x, p) = (&whole_rows(x), check_request(x, options)?);
    options.plan(cluster, x)?;
    let solver = choose(x, p, options);
    let passes = solve::parts(solver) + 1;
    let Found { mean, components, values, total } = solve(cluster, x, p, solver, options)?;
    let scored = scores(cluster, x, &components, &mean, part_of(&options.progress, passes - 1, passes))?;
    let n = x.rows();
    let (divisor, size) = ((n - options.ddof) as f64, n.max(p as u64));
    Ok(Pca {
        residuals: eigen_residuals(&scored.t_x, &components, &values, size),
        scores: Array::from_stored(scored.blocks)?,
        explained_variance: values.iter().map(|value| value / divisor).collect(),
        explained_variance_ratio: values.iter().map(|value| if total > 0.0 { value / total } else { 0.0 }).collect(),
        noise_variance: noise_variance(&values, total, p.min(usize::try_from(n).unwrap_or(p))) / divisor,
        components,
        mean,
        n_samples: n,
        solver,
    })
}

impl Pca {
    /// Returns the scores of other rows, as an expression: `(x − mean) · componentsᵀ`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `x` has not as many columns as the components.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random, linalg::{PcaOptions, pca}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let fit = random::normal(1000, 6, 7, 200);
    /// let found = pca(&cluster, &fit, &PcaOptions { components: 3.into(), ..PcaOptions::default() })?;
    /// let others = found.transform(&random::normal(50, 6, 8, None))?;   // an expression: nothing is computed yet
    /// assert_eq!(others.compute(&cluster)?.shape(), (50, 3));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn transform(&self, x: &Array) -> Result<Array> {
        transform(x, &self.components, &self.mean)
    }

    /// Returns the rows that scores stand for, as an expression: `scores · components + mean`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `scores` has not one column for each component.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random, linalg::{PcaOptions, pca}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let x = random::normal(1000, 4, 7, 200);
    /// let found = pca(&cluster, &x, &PcaOptions { components: 4.into(), ..PcaOptions::default() })?;
    /// // All components hold all of it, to rounding.
    /// let back = found.inverse_transform(&found.scores)?.subtract(&x)?.compute(&cluster)?;
    /// assert!(back.to_vec::<f64>().iter().all(|off| off.abs() < 1e-13));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn inverse_transform(&self, scores: &Array) -> Result<Array> {
        inverse_transform(scores, &self.components, &self.mean)
    }
}

/// Returns `(x − mean) · componentsᵀ` as an expression.
pub(crate) fn transform(x: &Array, components: &DMatrix<f64>, mean: &[f64]) -> Result<Array> {
    x.matmul_centred(&components.transpose(), mean)
}

/// Returns `scores · components + mean` as an expression.
pub(crate) fn inverse_transform(scores: &Array, components: &DMatrix<f64>, mean: &[f64]) -> Result<Array> {
    let constant: Vec<f64> = mean.iter().map(|mean| -mean).collect();
    scores.matmul_minus(components, &constant)
}

/// Refuses what has no answer; returns the number of columns.
fn check_request(x: &Array, options: &PcaOptions) -> Result<usize> {
    let (rows, p) = (x.shape().0, columns(x, "pca")?);
    if rows < 2 {
        return Err(Error::bad_argument("pca", "number of rows", rows, "at least 2: a variance needs two rows"));
    }
    if options.ddof >= rows {
        return Err(Error::bad_argument("pca", "ddof", options.ddof, format!("below the number of rows, {rows}")));
    }
    let most = rows.min(p as u64);
    match options.components {
        Components::Count(k) if k == 0 || k as u64 > most => {
            let expected = format!("1 to {most}, the smaller of {rows} rows and {p} columns");
            Err(Error::bad_argument("pca", "components", k, expected))
        }
        Components::Variance(share) if !(share > 0.0 && share < 1.0) => {
            let expected = "above 0 and below 1, a share of the variance; a number of components is a whole number";
            Err(Error::bad_argument("pca", "components", share, expected))
        }
        Components::Variance(share) if matches!(options.solver, PcaSolver::Lanczos | PcaSolver::Randomized) => {
            let name = options.solver.name();
            let expected =
                format!("a number for the solver {name}, which does not find all variances; covariance does");
            Err(Error::bad_argument("pca", "components", share, expected))
        }
        // No columns have no components, whatever share is asked for.
        Components::Variance(_) if most == 0 => Err(Error::bad_argument("pca", "number of columns", p, "at least 1")),
        _ => Ok(p),
    }
}

/// Returns the most that any task of [`pca`] by the covariance holds for so many columns and components besides its block.
pub fn pca_bytes(n_cols: usize, k: usize) -> u64 {
    solve::covariance_bytes(n_cols, k)
}

/// Up to so many columns their covariance is decomposed within a dozen seconds.
const MODERATE_COLUMNS: usize = 5000;

/// Settles on a solver, by the shape and by what is asked for: the allowance would change the bits.
fn choose(x: &Array, p: usize, options: &PcaOptions) -> PcaSolver {
    if options.solver != PcaSolver::Auto {
        return options.solver;
    }
    let most = options.components.at_most(x.rows(), p);
    match options.components {
        // The other solvers do not know all variances.
        Components::Variance(_) => PcaSolver::CovarianceEigh,
        // The vectors that Lanczos holds for so many would take as much as the covariance.
        Components::Count(_) if p <= MODERATE_COLUMNS || 5 * most >= p => PcaSolver::CovarianceEigh,
        Components::Count(_) => PcaSolver::Lanczos,
    }
}

fn noise_variance(values: &[f64], total: f64, most: usize) -> f64 {
    let left_out = most - values.len();
    if left_out == 0 { 0.0 } else { (total - values.iter().sum::<f64>()).max(0.0) / left_out as f64 }
}
