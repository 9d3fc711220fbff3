//! Principal components of a stream: rows that come a batch at a time, are seen once, and are not kept.
//!
//! Ross, Lim, Lin & Yang 2008 (International Journal of Computer Vision 77), algorithm 2, as scikit-learn's
//! `IncrementalPCA` does it: what is known so far stands as `k` rows, each component times its singular value; below them
//! comes the batch less its own means, and a row for the step between the two means. The SVD of that stack is what is
//! known with the batch.
//!
//! ```text
//!   [ σ₁ v₁ᵀ … σₖ vₖᵀ ; batch − its mean ; √(n m / (n + m)) · (mean − its mean) ] ─▶ SVD ─▶ the first k
//! ```
//!
//! Always true: means and variances of the columns are exact whatever is forgotten, because they are joined by Chan's
//! formula; the components are exact as long as nothing was left out (`k` is the number of columns, or the rank), and else
//! depend on how the rows are cut into batches. What is held is a stack of `k` + rows of a batch + 1 rows.

use nalgebra::{DMatrix, DMatrixView};

use super::block_qr::refuse_non_finite;
use super::dense::{SmallSvd, svd_bytes, svd_small};
use super::products::{Shifted, tile_bytes, tile_rows};
use super::{check_fits_or, on_lane, signs, whole_rows};
use crate::array::{Array, Block};
use crate::error::{Error, Result};
use crate::runtime::Cluster;

/// Principal components that learn from one batch of rows after the other.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::random, linalg::IncrementalPca};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = random::normal(1000, 6, 7, 200);
/// let mut pca = IncrementalPca::new(3)?;
/// for block in x.blocks(&cluster)? {
///     pca.partial_fit(&block?)?;
/// }
/// assert_eq!((pca.n_samples_seen(), pca.components().shape()), (1000, (3, 6)));
/// let scores = pca.transform(&x)?;                  // an expression: nothing is computed yet
/// assert_eq!(scores.shape(), (1000, 3));
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct IncrementalPca {
    k: usize,
    ddof: u64,
    n: u64,
    /// A number near each column's mean, and how far the mean is from it: their sum would lose what its own size rounds away.
    near: Vec<f64>,
    off: Vec<f64>,
    /// Of each column, the squares about its mean.
    squares: Vec<f64>,
    /// At most k, as rows.
    components: DMatrix<f64>,
    singular_values: Vec<f64>,
    /// What the singular values leave out.
    noise: f64,
}

impl IncrementalPca {
    /// Starts with no rows; keeps up to `components` components.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for no components.
    pub fn new(components: usize) -> Result<Self> {
        if components == 0 {
            return Err(Error::bad_argument("incremental pca", "components", 0, "at least 1"));
        }
        Ok(IncrementalPca {
            k: components,
            ddof: 1,
            n: 0,
            near: Vec::new(),
            off: Vec::new(),
            squares: Vec::new(),
            components: DMatrix::zeros(0, 0),
            singular_values: Vec::new(),
            noise: 0.0,
        })
    }

    /// Divides variances by `n − ddof`: 1, the default, for those of a sample, 0 for those of a population.
    pub fn with_ddof(mut self, ddof: u64) -> Self {
        self.ddof = ddof;
        self
    }

    /// Learns from a batch of rows, dense or CSR, of any dtype, on the calling thread. A batch may have fewer rows than
    /// there are components, or none.
    ///
    /// It holds about [`incremental_pca_bytes`] while it runs; inside a task, project as much.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the batch has other columns than those before; [`Error::BadArgument`] when it has fewer
    /// columns than there are components, or squares overflow; [`Error::NonFinite`] with the place of a NaN or an infinity,
    /// rows counted from the first that was ever seen. After an error nothing of the batch is learnt.
    pub fn partial_fit(&mut self, batch: &Block) -> Result<()> {
        self.check(batch)?;
        if batch.rows() == 0 {
            return Ok(());
        }
        if self.n == 0 {
            self.begin(batch.cols());
        }
        let added = Batch::new(batch, self.n)?;
        let (kept, m) = (self.components.nrows(), added.centred.nrows());
        let apart: Vec<f64> = (0..batch.cols())
            .map(|j| if self.n == 0 { 0.0 } else { (added.near[j] - self.near[j]) + (added.off[j] - self.off[j]) })
            .collect();
        let mut stack = DMatrix::zeros(kept + m + 1, batch.cols());
        for (j, s) in self.singular_values.iter().enumerate() {
            stack.set_row(j, &(self.components.row(j) * *s));
        }
        stack.rows_mut(kept, m).copy_from(&added.centred);
        let (n, m) = (self.n as f64, m as f64);
        let weight = n.sqrt() * (m / (n + m)).sqrt();
        stack.row_mut(stack.nrows() - 1).copy_from_slice(&apart.iter().map(|x| weight * x).collect::<Vec<_>>());
        let SmallSvd { s, vt, .. } = svd_small(&stack)?;
        self.join_columns(added, &apart);
        self.keep(&s, &vt);
        Ok(())
    }

    /// Learns from all blocks of an array, in row order, each on a lane with its bytes reserved.
    ///
    /// # Errors
    /// Those of [`partial_fit`](Self::partial_fit); [`Error::TooBig`] before any work when a step does not fit a worker;
    /// those of the blocks. What was learnt before an error stays.
    pub fn fit_blocks(&mut self, cluster: &Cluster, x: &Array) -> Result<()> {
        let blocks = whole_rows(x).blocks(cluster)?;
        let (rows, cols) = (blocks.plan().block_rows as usize, blocks.plan().block_cols as usize);
        let most = incremental_pca_bytes(rows, cols, self.k).saturating_add(blocks.plan().projected_bytes);
        let hint = format!("use smaller blocks, such as with_block_rows({})", (rows / 2).max(1));
        check_fits_or(cluster, most, &format!("incremental pca of {rows} rows at once"), &hint)?;
        for block in blocks {
            let block = block?;
            let bytes = incremental_pca_bytes(block.rows(), block.cols(), self.k) + block.anonymous_bytes();
            let known = self.clone();
            *self = on_lane(cluster, "incremental pca", bytes, move || {
                let mut next = known.clone();
                next.partial_fit(&block)?;
                block.check()?;
                Ok(next)
            })?;
        }
        Ok(())
    }

    /// Returns how many rows it has learnt from.
    pub fn n_samples_seen(&self) -> u64 {
        self.n
    }

    /// Returns the components, as rows; in each the entry of largest magnitude is positive. There are fewer than asked for
    /// only until as many rows were seen.
    pub fn components(&self) -> &DMatrix<f64> {
        &self.components
    }

    /// Returns the singular values of the centred rows along the components, largest first.
    pub fn singular_values(&self) -> &[f64] {
        &self.singular_values
    }

    /// Returns the variance along each component, largest first; not a number before more than `ddof` rows were seen.
    pub fn explained_variance(&self) -> Vec<f64> {
        self.singular_values.iter().map(|s| s * s / self.divisor()).collect()
    }

    /// Returns the share of the variance of all columns; zero where nothing varies.
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        let total: f64 = self.squares.iter().sum();
        self.singular_values.iter().map(|s| if total > 0.0 { s * s / total } else { 0.0 }).collect()
    }

    /// Returns the mean variance along the directions left out of the last step, as scikit-learn does; zero when none was.
    pub fn noise_variance(&self) -> f64 {
        if self.noise > 0.0 { self.noise / self.divisor() } else { 0.0 }
    }

    /// Returns the mean of each column, of all rows seen.
    pub fn mean(&self) -> Vec<f64> {
        self.near.iter().zip(&self.off).map(|(near, off)| near + off).collect()
    }

    /// Returns the variance of each column, of all rows seen, over `n − ddof`.
    pub fn variance(&self) -> Vec<f64> {
        self.squares.iter().map(|squares| squares / self.divisor()).collect()
    }

    /// Returns the scores of rows, as an expression: `(x − mean) · componentsᵀ`, rows × components, float64.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `x` has not as many columns as the rows seen.
    pub fn transform(&self, x: &Array) -> Result<Array> {
        super::pca::transform(x, &self.components, &self.mean())
    }

    /// Returns the rows that scores stand for, as an expression: `scores · components + mean`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `scores` has not one column for each component.
    pub fn inverse_transform(&self, scores: &Array) -> Result<Array> {
        super::pca::inverse_transform(scores, &self.components, &self.mean())
    }

    fn divisor(&self) -> f64 {
        self.n as f64 - self.ddof as f64
    }

    fn check(&self, batch: &Block) -> Result<()> {
        let (rows, cols) = (batch.rows() as u64, batch.cols() as u64);
        if self.n > 0 && batch.cols() != self.near.len() {
            let (seen, expected) =
                ((self.n, self.near.len() as u64), "a batch needs the columns of those before".into());
            return Err(Error::ShapeMismatch {
                operation: "incremental pca",
                left: (rows, cols),
                right: seen,
                expected,
            });
        }
        if self.k as u64 > cols {
            let expected = format!("at most {cols}, the number of columns");
            return Err(Error::bad_argument("incremental pca", "components", self.k, expected));
        }
        Ok(())
    }

    fn begin(&mut self, p: usize) {
        (self.near, self.off, self.squares) = (vec![0.0; p], vec![0.0; p], vec![0.0; p]);
        self.components = DMatrix::zeros(0, p);
    }

    /// Joins the columns' means and squares by Chan's formula.
    fn join_columns(&mut self, batch: Batch, apart: &[f64]) {
        let (n, m) = (self.n as f64, batch.centred.nrows() as f64);
        if self.n == 0 {
            (self.near, self.off) = (batch.near, batch.off);
        }
        for (j, column) in batch.centred.column_iter().enumerate() {
            self.squares[j] += column.norm_squared() + apart[j] * apart[j] * (n * m / (n + m));
            self.off[j] += apart[j] * (m / (n + m));
        }
        self.n += batch.centred.nrows() as u64;
    }

    /// Keeps the first singular vectors of a stack.
    fn keep(&mut self, s: &[f64], vt: &DMatrix<f64>) {
        // A centred matrix of n rows has at most n directions, and the stack one row more.
        let most = usize::try_from(self.n).unwrap_or(usize::MAX).min(s.len());
        let k = self.k.min(most);
        self.components = vt.rows(0, k).into_owned();
        signs::fix_rows(&mut self.components);
        self.singular_values = s[..k].to_vec();
        let left_out = self.near.len().min(most) - k;
        let rest: f64 = s[k..most].iter().map(|s| s * s).sum();
        self.noise = if left_out == 0 { 0.0 } else { rest / left_out as f64 };
    }
}

/// Returns about how many bytes [`IncrementalPca::partial_fit`] holds for a batch of so many rows and columns.
pub fn incremental_pca_bytes(n_rows: usize, n_cols: usize, components: usize) -> u64 {
    let stacked = n_rows + components + 1;
    // The batch less its means, the stack, and the state before and after.
    let held = (stacked + n_rows + 2 * components + 12) * n_cols * 8;
    svd_bytes(stacked, n_cols).max(svd_bytes(stacked + 1, n_cols)) + held as u64 + tile_bytes(n_cols)
}

/// A batch less its own means.
struct Batch {
    near: Vec<f64>,
    off: Vec<f64>,
    centred: DMatrix<f64>,
}

impl Batch {
    fn new(block: &Block, first_row: u64) -> Result<Self> {
        let (rows, p) = block.shape();
        let mut centred = DMatrix::zeros(rows, p);
        Shifted::new(block, &[]).for_each_tile(tile_rows(p), |first, tile| {
            refuse_non_finite("incremental pca", tile, p, first_row + first as u64)?;
            let n = tile.len() / p;
            centred.rows_mut(first, n).tr_copy_from(&DMatrixView::from_slice(tile, p, n));
            Ok(())
        })?;
        let (mut near, mut off) = (vec![0.0; p], vec![0.0; p]);
        for (j, mut column) in centred.column_iter_mut().enumerate() {
            near[j] = column.sum() / rows as f64;
            column.add_scalar_mut(-near[j]);
            // What the rounding of the mean itself left.
            off[j] = column.sum() / rows as f64;
            column.add_scalar_mut(-off[j]);
            if !column.norm_squared().is_finite() {
                return Err(super::gram::too_large("incremental pca", j, first_row, rows));
            }
        }
        Ok(Batch { near, off, centred })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::pca::{PcaOptions, pca};
    use crate::linalg::testing::{cluster, dense_block, graded, noise};

    fn after(a: &DMatrix<f64>, batch: usize, k: usize, csr: bool) -> IncrementalPca {
        let mut found = IncrementalPca::new(k).unwrap();
        for first in (0..a.nrows()).step_by(batch) {
            let block = dense_block(&a.rows(first, batch.min(a.nrows() - first)).into_owned());
            let block = if csr { Block::Csr(block.into_csr().unwrap()) } else { block };
            found.partial_fit(&block).unwrap();
        }
        found
    }

    #[test]
    fn with_all_components_a_stream_gives_the_pca_of_the_whole_however_it_is_cut() {
        let a = noise(120, 5, 1).add_scalar(2.0);
        let cluster = cluster(2);
        let options = PcaOptions { components: 5.into(), ..Default::default() };
        let expected = pca(&cluster, &Array::from_nalgebra(&a), &options).unwrap();
        for (batch, csr) in [(120, false), (50, false), (7, true), (1, false)] {
            let found = after(&a, batch, 5, csr);
            let pairs = [
                (found.explained_variance(), expected.explained_variance.clone()),
                (found.explained_variance_ratio(), expected.explained_variance_ratio.clone()),
                (found.mean(), expected.mean.clone()),
            ];
            for (found, expected) in pairs {
                // A few ε for each of up to 120 steps.
                assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-13), "{batch}: {found:?}");
            }
            // A vector errs by that over the relative gap between variances, a few percent here.
            assert!((found.components() - &expected.components).amax() < 1e-11, "{batch} rows a batch");
            assert_eq!((found.n_samples_seen(), found.noise_variance()), (120, 0.0));
        }
    }

    #[test]
    fn a_large_mean_costs_no_digits_and_column_variances_are_exact_though_components_are_left_out() {
        // Steps of 2^-10 around 2^30 are exact in f64.
        let steps = noise(200, 6, 2).map(|x| (x * 64.0).round() / 1024.0);
        let (near, far) = (after(&steps, 31, 2, false), after(&steps.add_scalar(2f64.powi(30)), 31, 2, false));
        for (n, f) in near.explained_variance().iter().zip(far.explained_variance()) {
            assert!((n - f).abs() < 1e-12 * n, "{n} {f}");
        }
        for (variance, column) in far.variance().iter().zip(steps.column_iter()) {
            let expected = column.add_scalar(-column.mean()).norm_squared() / 199.0;
            assert!((variance - expected).abs() < 1e-12 * expected);
        }
    }

    #[test]
    fn few_rows_a_constant_matrix_and_no_rows_are_defined() {
        let mut found = IncrementalPca::new(3).unwrap();
        found.partial_fit(&dense_block(&DMatrix::zeros(0, 4))).unwrap();
        assert_eq!((found.n_samples_seen(), found.components().shape()), (0, (0, 0)));
        found.partial_fit(&dense_block(&DMatrix::from_element(1, 4, 7.0))).unwrap();
        assert_eq!((found.components().nrows(), found.singular_values(), found.mean()), (1, &[0.0][..], vec![7.0; 4]));
        assert!(found.explained_variance()[0].is_nan(), "one row has no sample variance");
        found.partial_fit(&dense_block(&DMatrix::from_element(9, 4, 7.0))).unwrap();
        assert_eq!((found.components().shape(), found.explained_variance()), ((3, 4), vec![0.0; 3]));
        assert_eq!((found.explained_variance_ratio(), found.noise_variance()), (vec![0.0; 3], 0.0));
    }

    #[test]
    fn what_is_refused_leaves_what_was_learnt() {
        let mut found = after(&graded(30, 4, 4), 10, 2, false);
        let before = (found.components().clone(), found.mean(), found.n_samples_seen());
        let mut bad = noise(10, 4, 3);
        bad[(4, 1)] = f64::NAN;
        let error = found.partial_fit(&dense_block(&bad)).unwrap_err();
        assert!(matches!(error, Error::NonFinite { row: 34, col: 1, .. }), "{error}");
        let error = found.partial_fit(&dense_block(&noise(10, 5, 3))).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { left: (10, 5), right: (30, 4), .. }), "{error}");
        assert_eq!((found.components().clone(), found.mean(), found.n_samples_seen()), before);
        let error = IncrementalPca::new(6).unwrap().partial_fit(&dense_block(&noise(10, 5, 3))).unwrap_err();
        assert!(error.to_string().contains("components is 6") && error.to_string().contains("at most 5"), "{error}");
        assert!(IncrementalPca::new(0).is_err());
    }
}
