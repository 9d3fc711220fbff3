//! A block times a small dense matrix, optionally minus the same row everywhere: `X·V − 1·rᵀ`.
//!
//! With `r = meanᵀ·V` this is the product of the centred matrix, which is never built. The result is dense `f64`
//! whatever the input, and each of its rows depends on that row of the block alone, added up in the order of the columns.

use std::ops::Range;

use nalgebra::{DMatrix, DMatrixView};

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
    /// Taken from every row of a dense block instead, before it is multiplied; nothing when empty.
    shift: Vec<f64>,
}

impl Product {
    /// Turns `right` for use; `minus` is empty or as long as `right` is wide.
    pub(super) fn new(right: &DMatrix<f64>, minus: &[f64]) -> Self {
        Product { right_t: right.transpose(), minus: minus.to_vec(), shift: Vec::new() }
    }

    /// Turns `right` for use on rows less `mean`, which has one number for each of its rows.
    ///
    /// Of a dense block the mean is taken before the product, so that no digit is lost, however large it is. A CSR block
    /// would be filled by that; there a column with a zero deviates from its mean by at least the mean over √rows, so that
    /// it can be taken from the product.
    pub(super) fn centred(right: &DMatrix<f64>, mean: &[f64]) -> Self {
        let right_t = right.transpose();
        let minus = (&right_t * nalgebra::DVector::from_column_slice(mean)).as_slice().to_vec();
        Product { right_t, minus, shift: mean.to_vec() }
    }

    /// Returns the right side turned, what is taken from every row of the result, and what from every row before.
    pub(super) fn as_written(&self) -> (&DMatrix<f64>, &[f64], &[f64]) {
        (&self.right_t, &self.minus, &self.shift)
    }

    /// Takes a block for the right side.
    pub(super) fn of_rows(block: Block) -> Self {
        let (rows, cols) = block.shape();
        let Values::F64(values) = block.into_dense().values.cast(DType::F64) else { unreachable!("it was cast") };
        // Row-major rows are the columns of the transposed matrix.
        Product { right_t: DMatrix::from_vec(cols, rows, values.into_vec()), minus: Vec::new(), shift: Vec::new() }
    }

    /// Returns the product for some of the result's columns.
    fn narrowed(&self, cols: Range<usize>) -> Product {
        let minus = if self.minus.is_empty() { Vec::new() } else { self.minus[cols.clone()].to_vec() };
        Product { right_t: self.right_t.rows(cols.start, cols.len()).into_owned(), minus, shift: self.shift.clone() }
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
        let is_shifted = matches!(block, Block::Dense(_)) && !self.shift.is_empty();
        if !self.minus.is_empty() && !is_shifted {
            for row in result.chunks_exact_mut(k) {
                row.iter_mut().zip(&self.minus).for_each(|(value, minus)| *value -= minus);
            }
        }
        DenseBlock { rows: block.rows(), cols: k, values: result.into() }
    }

    /// Adds the product, row by row, to `result`.
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
                Values::F64(values) if self.shift.is_empty() => &values[range],
                values => {
                    scratch = values.slice(range).to_vec::<f64>();
                    for row in scratch.chunks_exact_mut(cols.max(1)) {
                        row.iter_mut().zip(&self.shift).for_each(|(value, shift)| *value -= shift);
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
        let mut wide = Vec::new();
        for (row, out) in result.chunks_exact_mut(self.cols()).enumerate() {
            let entries = block.row(row);
            wide.clear();
            with_values!(&block.values, values => wide.extend(values[entries.clone()].iter().map(|v| v.to_f64())));
            SparseRow { cols: &block.indices[entries], values: &wide }.add_times(self.right_t.as_slice(), out);
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
