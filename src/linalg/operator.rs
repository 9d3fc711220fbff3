//! An array, less a row if asked, as a linear operator on tall matrices: products in passes over its blocks.
//!
//! A tall matrix `V` of l vectors is held as its transpose, l × columns, so that the l numbers that meet one stored value
//! lie side by side. One pass gives `G V = Aᵀ(A V)`, the two products fused block by block, so that `A V`, which is as tall as
//! the array, never exists; and, for a last look at a result, the R and the gram of `A V` too.
//!
//! ```text
//!   block ─▶ T = (X − 1·meanᵀ)·V ─▶ Σ Tᵀ(X − 1·meanᵀ) ─ runs, tree ─▶ G V
//!              ├─▶ R of T    ─ tree ─▶ R of A V
//!              └─▶ Σ TᵀT     ─ tree ─▶ gram of A V
//! ```
//!
//! Centring fills nothing: a dense block is shifted as it is widened; of a CSR block those columns are shifted that have
//! no zero in it, and what is left of the mean is a constant row. Nothing cancels: a column with a zero deviates from its
//! mean by at least the mean divided by √rows.
//!
//! Always true: sums are in f64, in an order that depends on the chunk grid alone; values are multiplied by a power of two
//! ([`Operator::scale`]), so that no square overflows or vanishes; and nothing columns × columns is ever formed.

use std::sync::Arc;

use nalgebra::{DMatrix, DVector};

use super::block_qr::refuse_non_finite;
use super::dense::{self, gram_upper_bytes, qr_bytes};
use super::products::Shifted;
use super::rows::{r_of_rows, r_of_rows_bytes, stacked_r};
use super::tsqr::columns;
use super::{part_of, whole_rows};
use crate::array::{Array, Block, BlockInfo, BlockKind, Runs, Working};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// Partials that wait for their other half may take so much: larger ones are made by fewer, longer runs of blocks.
const WAITING_BYTES: u64 = 64 << 20;

/// What makes the products: an array, the row that is taken from each of its rows, and a factor.
#[derive(Clone)]
pub(crate) struct Operator {
    operation: &'static str,
    array: Array,
    n_cols: usize,
    /// As many as there are columns, or none.
    mean: Arc<[f64]>,
    /// What every value is multiplied by: a power of two.
    scale: f64,
}

/// What a pass sums.
pub(crate) struct Products {
    /// `(G V)ᵀ`, one row for each vector.
    pub(crate) gram_v: DMatrix<f64>,
    /// The largest magnitude in `A V`.
    largest: f64,
    look: Option<Look>,
}

/// The second opinion on `A V`.
pub(crate) struct Look {
    /// R of it.
    pub(crate) r: DMatrix<f64>,
    /// Its gram, upper triangle.
    pub(crate) gram: DMatrix<f64>,
}

impl Operator {
    /// Takes an array and a row for each of its rows to be diminished by, empty for none.
    pub(crate) fn new(operation: &'static str, array: &Array, mean: Vec<f64>) -> Result<Self> {
        let n_cols = columns(array, operation)?;
        if !mean.is_empty() && mean.len() != n_cols {
            let expected = "one number for each column".into();
            return Err(Error::ShapeMismatch {
                operation,
                left: array.shape(),
                right: (1, mean.len() as u64),
                expected,
            });
        }
        if let Some(col) = mean.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { operation, row: 0, col: col as u64, value: mean[col] });
        }
        Ok(Operator { operation, array: whole_rows(array), n_cols, mean: mean.into(), scale: 1.0 })
    }

    /// Returns the number of columns: the length of a vector.
    pub(crate) fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Returns the array as it was given.
    pub(crate) fn array(&self) -> &Array {
        &self.array
    }

    /// Returns what the array's rows are diminished by, empty for nothing.
    pub(crate) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Returns the factor: what comes out of [`gram_times`](Self::gram_times) was multiplied by it twice.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// Returns the algorithm that asks, for errors.
    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    /// Returns the most that one task of a pass over `l` vectors holds, the block aside, while `held` bytes of vectors
    /// are kept beside the pass and partials wait.
    pub(crate) fn pass_bytes(&self, l: usize, held: u64) -> u64 {
        let waiting = self.depth(l).min(blocks_depth(self.array.rows())) * self.working(l, held).kept;
        self.working(l, held).fixed + waiting
    }

    /// Returns `(G V)ᵀ` for `v`, l × columns. The first time the factor is chosen, if the values ask for one, by a second
    /// pass.
    pub(crate) fn first_gram_times(
        &mut self,
        cluster: &Cluster,
        v: &Arc<DMatrix<f64>>,
        progress: Option<Progress>,
    ) -> Result<DMatrix<f64>> {
        let held = (v.len() * 8) as u64;
        let found = self.pass(cluster, v, held, false, progress.clone())?;
        if found.largest == 0.0 || (1e-100..1e100).contains(&found.largest) {
            return Ok(found.gram_v);
        }
        // The clamp keeps the factor itself a normal number.
        self.scale = 2f64.powi((-found.largest.log2() as i32).clamp(-1000, 1000));
        self.gram_times(cluster, v, held, progress)
    }

    /// Returns `(G V)ᵀ` for `v`, l × columns; `held` bytes of vectors are kept meanwhile, `v` among them.
    pub(crate) fn gram_times(
        &self,
        cluster: &Cluster,
        v: &Arc<DMatrix<f64>>,
        held: u64,
        progress: Option<Progress>,
    ) -> Result<DMatrix<f64>> {
        Ok(self.pass(cluster, v, held, false, progress)?.gram_v)
    }

    /// Returns `(G V)ᵀ` as [`gram_times`](Self::gram_times), with R and the gram of `A V`.
    pub(crate) fn look_at(
        &self,
        cluster: &Cluster,
        v: &Arc<DMatrix<f64>>,
        progress: Option<Progress>,
    ) -> Result<(DMatrix<f64>, Look)> {
        let found = self.pass(cluster, v, (v.len() * 8) as u64, true, progress)?;
        Ok((found.gram_v, found.look.expect("asked for")))
    }

    fn pass(
        &self,
        cluster: &Cluster,
        v: &Arc<DMatrix<f64>>,
        held: u64,
        look: bool,
        progress: Option<Progress>,
    ) -> Result<Products> {
        let (l, p) = v.shape();
        let runs = Runs { progress, ..self.runs(l, held) };
        let (operator, vectors) = (self.clone(), v.clone());
        let found = self.array.reduce_runs(
            cluster,
            runs,
            move || Products::none(l, p, look),
            move |sums, block, info| operator.add_block(&vectors, block, info, sums),
            |left, right| Ok(left.combine(right)),
        )?;
        let mut found = found.unwrap_or_else(|| Products::none(l, p, look));
        if self.scale != 1.0 {
            found.gram_v *= self.scale;
        }
        Ok(found)
    }

    /// Adds what a block gives to the sums; `gram_v` is short of one factor, which the whole gets.
    fn add_block(&self, v: &DMatrix<f64>, block: &Block, info: BlockInfo, sums: &mut Products) -> Result<()> {
        let shift = self.shift(block);
        let rest = self.rest(&shift);
        let constant = rest.as_ref().map(|rest| v * rest);
        let (shifted, l, p) = (Shifted::new(block, &shift), v.nrows(), self.n_cols);
        let mut t_sums = DVector::zeros(l);
        let mut finish = |t: &mut [f64], sums: &mut Products| -> Result<()> {
            for row in t.chunks_exact_mut(l) {
                for (j, value) in row.iter_mut().enumerate() {
                    *value = (*value + constant.as_ref().map_or(0.0, |constant| constant[j])) * self.scale;
                    t_sums[j] += *value;
                }
            }
            self.refuse_unsound(t, block, info)?;
            sums.see(t, l)
        };
        match block {
            Block::Csr(_) => {
                let mut t = vec![0.0; block.rows() * l];
                shifted.times(v, &mut t)?;
                finish(&mut t, sums)?;
                shifted.add_transposed_times(&t, &mut sums.gram_v)?;
            }
            Block::Dense(_) => {
                let mut t = vec![0.0; rows_at_once(p).min(block.rows()) * l];
                shifted.for_each_tile(rows_at_once(p), |_, tile| {
                    let n = tile.len() / p;
                    let t = &mut t[..n * l];
                    dense::rows_times_components(tile, n, v, t)?;
                    finish(t, sums)?;
                    dense::add_transposed_times(t, tile, n, &mut sums.gram_v)
                })?;
            }
        }
        if let Some(rest) = rest {
            sums.gram_v.ger(1.0, &t_sums, &rest, 1.0);
        }
        Ok(())
    }

    /// Returns what is taken from the stored values of a block: empty for nothing.
    fn shift(&self, block: &Block) -> Vec<f64> {
        match block {
            _ if self.mean.is_empty() => Vec::new(),
            Block::Dense(_) => self.mean.to_vec(),
            Block::Csr(csr) => {
                let mut stored = vec![0usize; self.n_cols];
                csr.indices.iter().for_each(|&col| stored[col as usize] += 1);
                let is_full = |j: usize| stored[j] == csr.rows;
                (0..self.n_cols).map(|j| if is_full(j) { self.mean[j] } else { 0.0 }).collect()
            }
        }
    }

    /// Returns what is still to be added to every row of a block that was shifted; `None` for nothing.
    fn rest(&self, shift: &[f64]) -> Option<DVector<f64>> {
        let rest = DVector::from_fn(shift.len(), |j, _| shift[j] - self.mean[j]);
        rest.iter().any(|&value| value != 0.0).then_some(rest)
    }

    /// Refuses products that are not finite, naming the value of the block that is to blame.
    fn refuse_unsound(&self, t: &[f64], block: &Block, info: BlockInfo) -> Result<()> {
        if t.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let (p, first_row) = (self.n_cols, info.row_offset);
        Shifted::new(block, &[])
            .for_each_tile(1, |first, row| refuse_non_finite(self.operation, row, p, first_row + first as u64))?;
        let found = format!("too large between rows {first_row} and {}", first_row + block.rows() as u64);
        Err(Error::bad_argument(
            self.operation,
            "the magnitude of the values",
            found,
            "so small that products are finite",
        ))
    }

    fn working(&self, l: usize, held: u64) -> Working {
        let (l, p) = (l as u64, self.n_cols as u64);
        let kept = l * p * 8 + 2 * l * l * 8;
        // Rows of a CSR block are widened one by one.
        let tile = match self.array.kind() {
            BlockKind::Dense => rows_at_once(self.n_cols) as u64 * (p + l) * 8,
            BlockKind::Csr => p * 8,
        };
        let look = r_of_rows_bytes(l as usize)
            + gram_upper_bytes(l as usize)
            + qr_bytes(2 * l as usize, l as usize)
            + 8 * l * l * 8;
        // Two partials while they are joined; shift, rest, counts and a row in hand; whatever else is kept.
        Working { fixed: 2 * kept + tile + 5 * p * 8 + look + held, per_row: 2 * l * 8, kept }
    }

    /// Returns how a pass deals its blocks.
    pub(crate) fn runs(&self, l: usize, held: u64) -> Runs {
        Runs { name: self.operation, n: 1 << self.depth(l), working: self.working(l, held), progress: None }
    }

    /// Returns how many partials may wait at once: the depth of the tree over the runs.
    fn depth(&self, l: usize) -> u64 {
        let kept = (l * self.n_cols * 8).max(1) as u64;
        (WAITING_BYTES / kept).clamp(2, 12)
    }
}

/// Returns the depth of a tree over so many blocks, if each were of one row.
fn blocks_depth(rows: u64) -> u64 {
    u64::from(rows.max(1).ilog2()) + 1
}

/// Rows of a dense block that are widened at once: some megabytes, and enough to make a product worth while.
fn rows_at_once(n_cols: usize) -> usize {
    ((1 << 18) / n_cols.max(1)).clamp(64, 4096)
}

/// Makes the progress of one pass of a number not known beforehand: both numbers grow.
pub(crate) fn pass_of(progress: &Option<Progress>, pass: usize) -> Option<Progress> {
    part_of(progress, pass, pass + 1)
}

impl Products {
    fn none(l: usize, p: usize, look: bool) -> Self {
        let look = look.then(|| Look { r: DMatrix::zeros(0, l), gram: DMatrix::zeros(l, l) });
        Products { gram_v: DMatrix::zeros(l, p), largest: 0.0, look }
    }

    /// Takes rows of `A V`.
    fn see(&mut self, t: &[f64], l: usize) -> Result<()> {
        self.largest = t.iter().fold(self.largest, |largest, value| largest.max(value.abs()));
        if let Some(Look { r, gram }) = &mut self.look {
            *r = stacked_r(r, &r_of_rows(t, l));
            dense::gram_upper(t, t.len() / l.max(1), l, gram)?;
        }
        Ok(())
    }

    fn combine(mut self, other: Self) -> Self {
        self.gram_v += other.gram_v;
        self.largest = self.largest.max(other.largest);
        self.look = self.look.zip(other.look).map(|(mut left, right)| {
            left.r = stacked_r(&left.r, &right.r);
            left.gram += right.gram;
            left
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::testing::{both_kinds, cluster, noise, sparse};

    fn centred(a: &DMatrix<f64>, mean: &[f64]) -> DMatrix<f64> {
        DMatrix::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)] - mean.get(j).copied().unwrap_or(0.0))
    }

    #[test]
    fn a_pass_gives_the_products_of_the_centred_matrix_and_its_r_and_gram() {
        for (rows, cols, block_rows) in [(120, 30, 32), (30, 120, 7), (5, 9, 1), (1, 4, 1)] {
            let mut a = sparse(rows, cols, 3);
            // Some columns without a zero: in CSR blocks they are shifted, the others are not.
            a.columns_mut(0, cols / 2).add_scalar_mut(3.0);
            let mean: Vec<f64> = a.row_mean().iter().copied().collect();
            let v = Arc::new(noise(3, cols, 5));
            for mean in [Vec::new(), mean] {
                let x = centred(&a, &mean);
                let t = &x * v.transpose();
                let expected = t.transpose() * &x;
                for array in both_kinds(&a, block_rows) {
                    let operator = Operator::new("test", &array, mean.clone()).unwrap();
                    let (found, look) = operator.look_at(&cluster(2), &v, None).unwrap();
                    // Sums of 120 · 120 products of numbers below 4.
                    assert!((&found - &expected).amax() < 1e-11, "{rows} × {cols}");
                    let gram = t.transpose() * &t;
                    assert!((look.gram - gram.upper_triangle()).amax() < 1e-11);
                    assert!((look.r.transpose() * &look.r - gram).amax() < 1e-11);
                    assert_eq!(operator.gram_times(&cluster(1), &v, 0, None).unwrap(), found);
                }
            }
        }
    }

    #[test]
    fn no_rows_give_zeros() {
        let none = Array::zeros(0, 4, crate::array::DType::F64, BlockKind::Csr).unwrap();
        let operator = Operator::new("test", &none, Vec::new()).unwrap();
        let (found, look) = operator.look_at(&cluster(1), &Arc::new(noise(2, 4, 1)), None).unwrap();
        assert_eq!((found, look.r.shape()), (DMatrix::zeros(2, 4), (0, 2)));
    }

    #[test]
    fn a_power_of_two_keeps_squares_in_range() {
        let a = noise(40, 10, 6);
        let v = Arc::new(noise(2, 10, 7));
        let plain = Operator::new("test", &Array::from_nalgebra(&a), Vec::new()).unwrap();
        let expected = plain.gram_times(&cluster(1), &v, 0, None).unwrap();
        for exponent in [700, -700, 3] {
            let array = Array::from_nalgebra(&(&a * 2f64.powi(exponent)));
            let mut operator = Operator::new("test", &array, Vec::new()).unwrap();
            let found = operator.first_gram_times(&cluster(1), &v, None).unwrap();
            let back = 2f64.powi(-exponent) / operator.scale();
            // Powers of two round nothing.
            assert_eq!(found * back * back, expected, "2^{exponent}");
            assert_eq!(operator.scale() == 1.0, exponent == 3);
        }
    }

    #[test]
    fn few_large_partials_wait_and_many_small_ones() {
        let depth = |cols, l| {
            let array = Array::zeros(10, cols, crate::array::DType::F32, BlockKind::Csr).unwrap();
            Operator::new("test", &array, Vec::new()).unwrap().depth(l)
        };
        assert_eq!((depth(100, 10), depth(60_000, 54), depth(1 << 20, 100)), (12, 2, 2));
    }
}
