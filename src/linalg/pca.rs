//! Principal components of a matrix whose columns × columns covariance fits in memory.
//!
//! Two passes over the blocks. The first gives the column means and the centred gram ([`Moments`]), whose eigenvectors
//! are the components. The second gives each block's rows of the scores, left as chunks, and sums what tells whether the
//! answer is right. Centring is never materialised: a block is shifted by a constant per column as it is read, and what
//! is left of the mean is a constant row.
//!
//! ```text
//!   pass 1   block ─▶ n, mean, Σ(x−mean)(x−mean)ᵀ ─ tree ─▶ covariance ─▶ eigenvectors
//!   pass 2   block ─▶ scores ─▶ chunk
//!                       └─▶ Σ tᵀ(x−mean) ─ tree ─▶ residuals
//! ```

use nalgebra::{DMatrix, DVector};

use super::block_qr::refuse_non_finite;
use super::dense::{Eigh, eigh, eigh_bytes};
use super::moments::{Moments, moments_bytes, of_block_bytes, safe_shift};
use super::products::{Shifted, times_bytes};
use super::tsqr::columns;
use super::{check_fits, on_lane, part_of, signs};
use crate::array::{Array, Block, BlockInfo, DenseBlock, StoredBlock, Working};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress, TaskContext};

/// How the components are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PcaSolver {
    /// Chosen by the shape of the matrix: of the solvers there are, that is the covariance.
    #[default]
    Auto,
    /// Eigenvectors of the covariance: exact, two passes, columns × columns numbers in memory.
    CovarianceEigh,
}

/// Settings of [`pca`].
#[derive(Clone)]
pub struct PcaOptions {
    /// How many components, at most the smaller of rows and columns.
    pub components: usize,
    /// Variances are divided by `n − ddof`: 1 for those of a sample, 0 for those of a population.
    pub ddof: u64,
    /// How the components are found.
    pub solver: PcaSolver,
    /// Called as blocks finish; both passes count.
    pub progress: Option<Progress>,
}

impl Default for PcaOptions {
    fn default() -> Self {
        PcaOptions { components: 50, ddof: 1, solver: PcaSolver::Auto, progress: None }
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
}

/// Returns the principal components of the rows of `x`, and their scores.
///
/// Everything is accumulated in f64, whatever the dtype. The same input on the same chunk grid gives the same bits on
/// any number of workers.
///
/// # Errors
/// [`Error::BadArgument`] for fewer than two rows, or more components than rows or columns; [`Error::NonFinite`] with the
/// place of a NaN or an infinity; [`Error::TooBig`] when the covariance does not fit the allowance.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::{PcaOptions, pca}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = Array::from_rows(&[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])?;
/// let found = pca(&cluster, &x, &PcaOptions { components: 1, ..Default::default() })?;
/// assert!((found.explained_variance[0] - 2.0).abs() < 1e-14);
/// assert!((found.components[(0, 0)] - 0.5f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn pca(cluster: &Cluster, x: &Array, options: &PcaOptions) -> Result<Pca> {
    let p = check_request(x, options)?;
    // Both are the covariance today; a new solver will not compile until it is told apart here.
    let (PcaSolver::Auto | PcaSolver::CovarianceEigh) = options.solver;
    let what = || format!("pca: covariance of {p} columns (select fewer columns, such as the variable genes)");
    check_fits(cluster, pca_bytes(p, options.components), what)?;
    let moments = moments(cluster, x, p, part_of(&options.progress, 0, 2))?;
    let (mean, Moments { n, m2, .. }) = (moments.mean(), moments);
    let total: f64 = m2.diagonal().sum();
    let (k, bytes) = (options.components, eigh_bytes(p, options.components));
    // `eigh` reads the lower triangle.
    let Eigh { values, vectors } = on_lane(cluster, "pca eigenvectors", bytes, move || eigh(&m2.transpose(), k))?;
    let mut components = vectors.transpose();
    signs::fix_rows(&mut components);
    // Rounding may leave a variance of zero a little below it.
    let values: Vec<f64> = values.into_iter().map(|value| value.max(0.0)).collect();
    let scored = scores(cluster, x, &components, &mean, part_of(&options.progress, 1, 2))?;
    let divisor = (n - options.ddof) as f64;
    Ok(Pca {
        residuals: residuals(&scored.t_x, &components, &values, n.max(p as u64)),
        scores: Array::from_stored(scored.blocks)?,
        explained_variance: values.iter().map(|value| value / divisor).collect(),
        explained_variance_ratio: values.iter().map(|value| if total > 0.0 { value / total } else { 0.0 }).collect(),
        noise_variance: noise_variance(&values, total, p.min(usize::try_from(n).unwrap_or(p))) / divisor,
        components,
        mean,
        n_samples: n,
    })
}

impl Pca {
    /// Returns the scores of other rows, as an expression: `(x − mean) · componentsᵀ`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `x` has not as many columns as the components.
    pub fn transform(&self, x: &Array) -> Result<Array> {
        let mean = DMatrix::from_row_slice(1, self.mean.len(), &self.mean);
        let constant = mean * self.components.transpose();
        x.matmul_minus(&self.components.transpose(), constant.as_slice())
    }

    /// Returns the rows that scores stand for, as an expression: `scores · components + mean`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `scores` has not one column for each component.
    pub fn inverse_transform(&self, scores: &Array) -> Result<Array> {
        let constant: Vec<f64> = self.mean.iter().map(|mean| -mean).collect();
        scores.matmul_minus(&self.components, &constant)
    }
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
    if options.components == 0 || options.components as u64 > most {
        let expected = format!("1 to {most}, the smaller of {rows} rows and {p} columns");
        return Err(Error::bad_argument("pca", "components", options.components, expected));
    }
    Ok(p)
}

/// Returns the most that any task of [`pca`] holds for so many columns and components besides its block.
pub fn pca_bytes(n_cols: usize, k: usize) -> u64 {
    let covariance = (n_cols * n_cols * 8) as u64;
    first_pass_bytes(n_cols).max(eigh_bytes(n_cols, k) + 2 * covariance)
}

fn first_pass_bytes(p: usize) -> u64 {
    // Two partials while they are joined.
    2 * moments_bytes(p) + of_block_bytes(p)
}

fn moments(cluster: &Cluster, x: &Array, p: usize, progress: Option<Progress>) -> Result<Moments> {
    let found = x.reduce_blocks(
        cluster,
        "pca gram",
        Working { kept: moments_bytes(p), ..first_pass_bytes(p).into() },
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
    let p = block.cols();
    Shifted::new(block, &[])
        .for_each_tile(256, |first, tile| refuse_non_finite("pca", tile, p, first_row + first as u64))?;
    let found = format!("too large in column {col} between rows {first_row} and {}", first_row + moments.n - 1);
    Err(Error::bad_argument("pca", "the magnitude of the values", found, "below 1e150, so that squares are finite"))
}

/// What the second pass gives: the scores' blocks in row order, and Tᵀ(X − mean).
struct Scored {
    blocks: Vec<StoredBlock>,
    t_x: DMatrix<f64>,
}

impl Scored {
    fn of_block(block: &Block, components: &DMatrix<f64>, mean: &[f64], context: &TaskContext) -> Result<Self> {
        let ((rows, p), k) = (block.shape(), components.nrows());
        let shift = safe_shift(block)?;
        let shifted = Shifted::new(block, &shift);
        let rest = DVector::from_fn(p, |j, _| shift[j] - mean[j]);
        let constant = components * &rest;
        let (mut t, mut sums) = (vec![0.0; rows * k], DVector::<f64>::zeros(k));
        shifted.times(components, &mut t)?;
        for row in t.chunks_exact_mut(k) {
            for (j, value) in row.iter_mut().enumerate() {
                *value += constant[j];
                sums[j] += *value;
            }
        }
        let mut t_x = DMatrix::zeros(k, p);
        shifted.add_transposed_times(&t, &mut t_x)?;
        t_x.ger(1.0, &sums, &rest, 1.0);
        let stored = Block::Dense(DenseBlock::new(rows, k, t)?).store(&context.store()?)?;
        Ok(Scored { blocks: vec![stored], t_x })
    }

    fn combine(mut self, mut other: Self) -> Self {
        self.blocks.append(&mut other.blocks);
        self.t_x += other.t_x;
        self
    }
}

fn scores(
    cluster: &Cluster,
    x: &Array,
    components: &DMatrix<f64>,
    mean: &[f64],
    progress: Option<Progress>,
) -> Result<Scored> {
    let (k, p) = components.shape();
    let (components, mean) = (components.clone(), mean.to_vec());
    // Two partials while they are joined, a tile, some rows of numbers; and the block's own scores.
    let fixed = 2 * (k * p * 8) as u64 + times_bytes(p) + 4 * (p * 8) as u64;
    let working = Working { fixed, per_row: (k * 8) as u64, kept: (k * p * 8) as u64 };
    let map =
        move |block: &Block, _: BlockInfo, context: &TaskContext| Scored::of_block(block, &components, &mean, context);
    let found = x.reduce_blocks(cluster, "pca scores", working, map, |l, r| Ok(l.combine(r)), progress)?;
    Ok(found.expect("a matrix with rows has blocks"))
}

/// Compares Tᵀ(X − mean), row by row, with the eigenvalue times the component.
fn residuals(t_x: &DMatrix<f64>, components: &DMatrix<f64>, values: &[f64], size: u64) -> Vec<f64> {
    let largest = values.first().copied().unwrap_or(0.0);
    let noise = size as f64 * f64::EPSILON * largest;
    let error = |j: usize| (t_x.row(j) - components.row(j) * values[j]).norm();
    let scale = |value: f64| if value > noise { value } else { largest };
    // Where nothing varies at all there is nothing to be wrong about.
    (0..values.len()).map(|j| if largest > 0.0 { error(j) / scale(values[j]) } else { 0.0 }).collect()
}

fn noise_variance(values: &[f64], total: f64, most: usize) -> f64 {
    let left_out = most - values.len();
    if left_out == 0 { 0.0 } else { (total - values.iter().sum::<f64>()).max(0.0) / left_out as f64 }
}
