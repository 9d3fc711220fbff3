//! A block times a small dense matrix, optionally minus the same row everywhere: `X·V − 1·rᵀ`.
//!
//! With `r = meanᵀ·V` this is the product of the centred matrix, which is never built. The result is dense `f64`
//! whatever the input, and each of its rows depends on that row of the block alone, added up in the order of the columns.
//! Given the mean itself, it keeps the digits of the deviations ([`Centre`]), which `r` alone could not.

use std::ops::Range;

use nalgebra::{DMatrix, DMatrixView};

use super::centre::Centre;
use super::sparse_row::SparseRow;
use super::values::{Values, with_values};
use super::{Block, CsrBlock, DType, DenseBlock, Element};

/// Rows that are converted to `f64` at once.
const TILE_ROWS: usize = 256;

/// The right side of a product, laid out for it.
#[derive(Debug)]
pub(super) struct Product {
    /// `Vᵀ` by columns: each column of `Vᵀ` is a row of `V`, and lies together.
    right_t: DMatrix<f64>,
    /// Taken from every row of the result; nothing when empty.
    minus: Vec<f64>,
    /// Taken from every row of the block instead.
    centre: Option<Centre>,
}

impl Product {
    /// Turns `right` for use; `minus` is empty or as long as `right` is wide.
    pub(super) fn new(right: &DMatrix<f64>, minus: &[f64]) -> Self {
        Product { right_t: right.transpose(), minus: minus.to_vec(), centre: None }
    }

    /// Turns `right` for use on rows less `mean`, which has one number for each of its rows.
    ///
    /// Of a dense block the mean is taken before the product, so that no digit is lost, however large it is. A CSR block
    /// would be filled by that; its rows are summed with twice the digits where the mean and the product cancel ([`Centre`]).
    pub(super) fn centred(right: &DMatrix<f64>, mean: &[f64]) -> Self {
        let right_t = right.transpose();
        let centre = Some(Centre::new(&right_t, mean));
        Product { right_t, minus: Vec::new(), centre }
    }

    /// Returns the right side turned, what is taken from every row of the result, and what from every row before.
    pub(super) fn as_written(&self) -> (&DMatrix<f64>, &[f64], &[f64]) {
        (&self.right_t, &self.minus, self.mean())
    }

    /// Returns what is taken from every row of a block before it is multiplied; nothing when empty.
    fn mean(&self) -> &[f64] {
        self.centre.as_ref().map_or(&[], Centre::mean)
    }

    /// Takes a block for the right side.
    pub(super) fn of_rows(block: Block) -> Self {
        let (rows, cols) = block.shape();
        let Values::F64(values) = block.into_dense().values.cast(DType::F64) else { unreachable!("it was cast") };
        // Row-major rows are the columns of the transposed matrix.
        Product { right_t: DMatrix::from_vec(cols, rows, values.into_vec()), minus: Vec::new(), centre: None }
    }

    /// Returns the product for some of the result's columns.
    fn narrowed(&self, cols: Range<usize>) -> Product {
        let minus = if self.minus.is_empty() { Vec::new() } else { self.minus[cols.clone()].to_vec() };
        let centre = self.centre.as_ref().map(|centre| centre.narrowed(cols.clone()));
        Product { right_t: self.right_t.rows(cols.start, cols.len()).into_owned(), minus, centre }
    }

    /// Returns the columns of the result.
    pub(super) fn cols(&self) -> usize {
        self.right_t.nrows()
    }

    /// Returns the anonymous bytes of computing so many rows of so many columns, the result aside.
    pub(super) fn scratch_bytes(&self, rows: u64, cols: u64) -> u64 {
        Self::scratch_of(rows, cols, self.right_t.nrows() as u64)
    }

    /// Returns the same for a product of `rows × inner` with `inner × cols`.
    pub(super) fn scratch_of(rows: u64, inner: u64, cols: u64) -> u64 {
        // The tile as it is, in f64 and packed by the GEMM; the right side packed, and once more where the result is narrowed;
        // what packing rounds up.
        let tile = rows.min(TILE_ROWS as u64).saturating_mul(inner).saturating_mul(8);
        let right = inner.saturating_mul(cols).saturating_mul(16);
        tile.saturating_mul(3).saturating_add(right).saturating_add(32 << 10)
    }

    /// Computes some columns of the product.
    pub(super) fn apply(&self, block: &Block, cols: Range<usize>) -> DenseBlock {
        if cols != (0..self.cols()) {
            let all = 0..cols.len();
            return self.narrowed(cols).apply(block, all);
        }
        let k = self.cols();
        let mut result = vec![0.0; block.rows() * k];
        self.add_to(block, &mut result);
        if !self.minus.is_empty() {
            for row in result.chunks_exact_mut(k) {
                row.iter_mut().zip(&self.minus).for_each(|(value, minus)| *value -= minus);
            }
        }
        DenseBlock { rows: block.rows(), cols: k, values: result.into() }
    }

    /// Adds the product, row by row, to `result`, which holds zeros where a mean is taken.
    pub(super) fn add_to(&self, block: &Block, result: &mut [f64]) {
        if !result.is_empty() {
            match block {
                Block::Dense(b) => self.dense(b, result),
                Block::Csr(b) => self.csr(b, result),
            }
        }
    }

    /// Row-major rows are the columns of the transposed matrix: `resultᵀ = Vᵀ·blockᵀ`, tile by tile.
    fn dense(&self, block: &DenseBlock, result: &mut [f64]) {
        let (cols, k) = (block.cols, self.cols());
        for start in (0..block.rows).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(block.rows - start);
            let range = start * cols..(start + rows) * cols;
            let mut scratch;
            let tile: &[f64] = match &block.values {
                Values::F64(values) if self.mean().is_empty() => &values[range],
                values => {
                    scratch = values.slice(range).to_vec::<f64>();
                    for row in scratch.chunks_exact_mut(cols.max(1)) {
                        row.iter_mut().zip(self.mean()).for_each(|(value, shift)| *value -= shift);
                    }
                    &scratch
                }
            };
            let tile_t = DMatrixView::from_slice(tile, cols, rows);
            let out = &mut result[start * k..(start + rows) * k];
            nalgebra::DMatrixViewMut::from_slice(out, k, rows).gemm(1.0, &self.right_t, &tile_t, 1.0);
        }
    }

    /// Adds up the rows of `V` that a row's columns name.
    fn csr(&self, block: &CsrBlock, result: &mut [f64]) {
        let (mut wide, mut low) = (Vec::new(), vec![0.0; if self.centre.is_some() { self.cols() } else { 0 }]);
        let right = self.right_t.as_slice();
        for (row, out) in result.chunks_exact_mut(self.cols()).enumerate() {
            let entries = block.row(row);
            wide.clear();
            with_values!(&block.values, values => wide.extend(values[entries.clone()].iter().map(|v| v.to_f64())));
            let row = SparseRow { cols: &block.indices[entries], values: &wide };
            match &self.centre {
                Some(centre) => centre.times(row, right, out, &mut low),
                None => row.add_times(right, out),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_the_plain_sum_over_columns_in_every_kind_and_dtype() {
        // Small integers: every product and sum is exact, so that any order gives the same answer.
        let (rows, cols, k) = (2 * TILE_ROWS + 3, 5, 3);
        let left = DMatrix::from_fn(rows, cols, |i, j| ((i * 7 + j * 3) % 4) as f64);
        let right = DMatrix::from_fn(cols, k, |i, j| i as f64 - 2.0 * j as f64);
        let expected = DMatrix::from_fn(rows, k, |i, j| (0..cols).map(|c| left[(i, c)] * right[(c, j)]).sum::<f64>());
        let (minus, mean) = ([1.0, 2.0, 3.0], [1.0, 2.0, 0.0, 3.0, 1.0]);
        let centred = DMatrix::from_fn(rows, cols, |i, j| left[(i, j)] - mean[j]) * &right;
        for dtype in [DType::U8, DType::I64, DType::F32, DType::F64] {
            let dense = Block::from(DenseBlock::from_nalgebra(&left)).cast(dtype);
            for block in [dense.clone(), dense.into_csr().expect("five columns").into()] {
                let found = Block::from(Product::new(&right, &[]).apply(&block, 0..3)).to_nalgebra::<f64>();
                assert_eq!(found, expected, "{dtype}");
                let found = Block::from(Product::new(&right, &minus).apply(&block, 0..3)).to_nalgebra::<f64>();
                assert_eq!(found, DMatrix::from_fn(rows, k, |i, j| expected[(i, j)] - minus[j]));
                let found = Block::from(Product::centred(&right, &mean).apply(&block, 1..k)).to_nalgebra::<f64>();
                assert_eq!(found, centred.columns(1, k - 1));
            }
        }
    }

    #[test]
    fn nothing_times_anything_has_the_right_shape() {
        for (rows, cols, k) in [(0, 2, 2), (2, 0, 2), (2, 2, 0)] {
            let block = Block::from(DenseBlock::new(rows, cols, vec![1.0; rows * cols]).expect("the right number"));
            let result = Product::new(&DMatrix::from_element(cols, k, 1.0), &vec![0.0; k]).apply(&block, 0..k);
            assert_eq!((result.rows, result.cols, result.values.len()), (rows, k, rows * k));
            assert!(result.values.to_vec::<f64>().iter().all(|v| *v == if cols == 0 { 0.0 } else { cols as f64 }));
        }
    }
}
