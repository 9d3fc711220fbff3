//! Products with one block: what every factorisation asks of the data, and all that it asks.
//!
//! A block is seen as its *stored values less a shift per column*: of a dense block all values are stored, of a CSR
//! block only those in its rows. Everything is accumulated in f64, whatever the dtype. Dense blocks are worked on a tile of
//! rows at a time, widened to f64, so that the working set stays small and in the cache; for a gram their rows, and those of
//! CSR blocks too full for anything else, go straight into [`Packed`] panels.
//!
//! Results have one column for each column of the block (`components` is k × columns, as in a PCA), so that the
//! numbers that belong to one stored value lie side by side.

mod gram;

use nalgebra::DMatrix;

use self::gram::Way;
use super::dense;
use crate::array::{Block, CsrBlock, DenseBlock, Element, Packed, SparseRow, Values, with_values};
use crate::error::Result;

/// A block's stored values, less a shift per column.
pub(crate) struct Shifted<'a> {
    block: &'a Block,
    /// As many as the block has columns, or none for no shift.
    shift: &'a [f64],
}

/// Rows of a dense block that are widened at once for a gram, on their way into [`Packed`] panels.
const WIDENED_ROWS: usize = 16;

/// Returns how many rows a tile has: about half a megabyte, and enough rows to make a product worth while.
pub(crate) fn tile_rows(n_cols: usize) -> usize {
    ((1 << 16) / n_cols.max(1)).clamp(256, 4096)
}

/// Returns the bytes of one tile.
pub(crate) fn tile_bytes(n_cols: usize) -> u64 {
    (tile_rows(n_cols) * n_cols * 8) as u64
}

/// Returns what [`Shifted::add_gram`] holds besides the block and the sum.
pub(crate) fn gram_bytes(n_cols: usize) -> u64 {
    Packed::bytes(n_cols) + ((WIDENED_ROWS * n_cols * 8) as u64).max(gram::bytes(n_cols))
}

/// Returns what [`Shifted::times`] and [`Shifted::add_transposed_times`] hold besides the block and the result.
pub(crate) fn times_bytes(n_cols: usize) -> u64 {
    tile_bytes(n_cols)
}

impl<'a> Shifted<'a> {
    /// Takes a block and a shift for each of its columns, or an empty slice for none.
    pub(crate) fn new(block: &'a Block, shift: &'a [f64]) -> Self {
        debug_assert!(shift.is_empty() || shift.len() == block.cols());
        Shifted { block, shift }
    }

    /// Adds the gram of the values to the upper triangle of `acc`.
    pub(crate) fn add_gram(&self, acc: &mut DMatrix<f64>) -> Result<()> {
        if let Block::Csr(csr) = self.block {
            let way = Way::of(&csr.indptr, csr.cols);
            match way {
                Way::Packed => {}
                Way::Panels => self.for_each_batch(csr, |rows| rows.panels(acc)),
                Way::Scatter => self.for_each_batch(csr, |rows| rows.scatter(acc)),
            }
            if way != Way::Packed {
                return Ok(());
            }
        }
        self.add_packed_gram(acc.as_mut_slice())
    }

    /// Adds the gram of the values, zero where nothing is stored, to the upper triangle.
    fn add_packed_gram(&self, acc: &mut [f64]) -> Result<()> {
        let mut packed = Packed::new(self.block.cols());
        match self.block {
            Block::Csr(csr) => {
                self.for_each_stored_row(csr, |_, cols, values| packed.add_gram_of_sparse(cols, values, acc))
            }
            Block::Dense(_) => self.for_each_tile(WIDENED_ROWS, |_, tile| {
                packed.add_gram_of(tile, acc);
                Ok(())
            })?,
        }
        packed.finish_gram(acc);
        Ok(())
    }

    /// Calls `visit` with runs of rows whose widened values stay within [`gram::max_entries`].
    fn for_each_batch(&self, csr: &CsrBlock, mut visit: impl FnMut(gram::Rows<'_>)) {
        let (indptr, max) = (&csr.indptr[..], gram::max_entries(csr.cols) as u64);
        let (mut first, mut values) = (0, Vec::with_capacity(csr.nnz().min(gram::max_entries(csr.cols))));
        while first < csr.rows {
            let within = indptr[first + 1..].iter().take_while(|&&end| end - indptr[first] <= max).count();
            let end = first + within.clamp(1, gram::MAX_ROWS);
            let cols = self.widen_rows(csr, first..end, &mut values);
            visit(gram::Rows { indptr: &indptr[first..=end], cols, values: &values });
            first = end;
        }
    }

    /// Adds each column's sum to `sums`.
    pub(crate) fn add_column_sums(&self, sums: &mut [f64]) -> Result<()> {
        match self.block {
            Block::Csr(csr) => {
                self.for_each_stored_row(csr, |_, cols, values| {
                    for (&col, value) in cols.iter().zip(values) {
                        sums[col as usize] += value;
                    }
                });
                Ok(())
            }
            Block::Dense(_) => self.for_each_tile(tile_rows(self.block.cols()), |_, tile| {
                for row in tile.chunks_exact(sums.len()) {
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
                Ok(())
            }),
        }
    }

    /// Writes `values · componentsᵀ`, row by row, into `out`.
    pub(crate) fn times(&self, components: &DMatrix<f64>, out: &mut [f64]) -> Result<()> {
        let k = components.nrows();
        if k == 0 || out.is_empty() {
            return Ok(());
        }
        // Where nothing is stored, nothing is visited.
        out.fill(0.0);
        match self.block {
            Block::Csr(csr) => {
                self.for_each_stored_row(csr, |row, cols, values| {
                    SparseRow { cols, values }.add_times(components.as_slice(), &mut out[row * k..(row + 1) * k]);
                });
                Ok(())
            }
            Block::Dense(_) => self.for_each_tile(tile_rows(self.block.cols()), |first, tile| {
                let n = tile.len() / self.block.cols();
                dense::rows_times_components(tile, n, components, &mut out[first * k..(first + n) * k])
            }),
        }
    }

    /// Adds `tᵀ · values` to `acc`, where `t` holds one row of `acc.nrows()` values for each row of the block.
    pub(crate) fn add_transposed_times(&self, t: &[f64], acc: &mut DMatrix<f64>) -> Result<()> {
        let k = acc.nrows();
        if k == 0 {
            return Ok(());
        }
        match self.block {
            Block::Csr(csr) => {
                self.for_each_stored_row(csr, |row, cols, values| {
                    let t = &t[row * k..(row + 1) * k];
                    SparseRow { cols, values }.add_transposed_times(t, acc.as_mut_slice());
                });
                Ok(())
            }
            Block::Dense(_) => self.for_each_tile(tile_rows(self.block.cols()), |first, tile| {
                let n = tile.len() / self.block.cols();
                dense::add_transposed_times(&t[first * k..(first + n) * k], tile, n, acc)
            }),
        }
    }

    /// Calls `visit` with each run of at most `rows_per_tile` rows: the first row's number, and the values row by
    /// row, zero where nothing is stored.
    pub(crate) fn for_each_tile(
        &self,
        rows_per_tile: usize,
        mut visit: impl FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let (rows, cols) = self.block.shape();
        if rows == 0 || cols == 0 {
            return Ok(());
        }
        if let (Block::Dense(DenseBlock { values: Values::F64(values), .. }), true) =
            (self.block, self.shift.is_empty())
        {
            // Nothing to widen and nothing to subtract: the stored rows are the tiles.
            let tiles = values.chunks(rows_per_tile * cols).enumerate();
            return tiles.into_iter().try_for_each(|(i, tile)| visit(i * rows_per_tile, tile));
        }
        let mut tile = vec![0.0; rows_per_tile.min(rows) * cols];
        for first in (0..rows).step_by(rows_per_tile) {
            let n = rows_per_tile.min(rows - first);
            self.load(first, &mut tile[..n * cols]);
            visit(first, &tile[..n * cols])?;
        }
        Ok(())
    }

    /// Widens the rows from `first` on into `tile`.
    fn load(&self, first: usize, tile: &mut [f64]) {
        let cols = self.block.cols();
        match self.block {
            Block::Dense(dense) => {
                let start = first * cols;
                with_values!(&dense.values, values => widen(&values[start..start + tile.len()], tile));
                if !self.shift.is_empty() {
                    for row in tile.chunks_exact_mut(cols) {
                        row.iter_mut().zip(self.shift).for_each(|(value, shift)| *value -= shift);
                    }
                }
            }
            Block::Csr(csr) => {
                tile.fill(0.0);
                let rows = first..first + tile.len() / cols;
                self.for_each_stored_row_of(csr, rows, |row, indices, values| {
                    let tile = &mut tile[(row - first) * cols..];
                    for (&col, value) in indices.iter().zip(values) {
                        tile[col as usize] = *value;
                    }
                });
            }
        }
    }

    fn for_each_stored_row(&self, csr: &CsrBlock, visit: impl FnMut(usize, &[u32], &[f64])) {
        self.for_each_stored_row_of(csr, 0..csr.rows, visit);
    }

    /// Calls `visit` with each row's number, columns and values.
    fn for_each_stored_row_of(
        &self,
        csr: &CsrBlock,
        rows: std::ops::Range<usize>,
        mut visit: impl FnMut(usize, &[u32], &[f64]),
    ) {
        let mut wide = Vec::new();
        for row in rows {
            let cols = self.widen_rows(csr, row..row + 1, &mut wide);
            visit(row, cols, &wide);
        }
    }

    /// Puts the values of some rows into `wide`, shifted; returns their columns.
    fn widen_rows<'c>(&self, csr: &'c CsrBlock, rows: std::ops::Range<usize>, wide: &mut Vec<f64>) -> &'c [u32] {
        let stored = csr.indptr[rows.start] as usize..csr.indptr[rows.end] as usize;
        let cols = &csr.indices[stored.clone()];
        wide.resize(cols.len(), 0.0);
        with_values!(&csr.values, values => widen(&values[stored], wide));
        if !self.shift.is_empty() {
            wide.iter_mut().zip(cols).for_each(|(value, &col)| *value -= self.shift[col as usize]);
        }
        cols
    }
}

fn widen<T: Element>(values: &[T], out: &mut [f64]) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out = value.to_f64());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::testing::{dense_block, noise};

    /// A matrix with about one value in `one_in` stored, the rest zero; every number is a small integer.
    fn sparse(rows: usize, cols: usize, one_in: i64) -> DMatrix<f64> {
        noise(rows, cols, 3).map(|x| {
            let n = (x * 1000.0) as i64;
            if n % one_in == 0 { (n % 7) as f64 } else { 0.0 }
        })
    }

    fn csr_block(a: &DMatrix<f64>) -> Block {
        Block::Csr(dense_block(a).into_dense().to_csr().unwrap())
    }

    /// The same numbers in every form that a product must give the same answer for.
    fn forms(a: &DMatrix<f64>) -> Vec<Block> {
        use crate::array::DType;
        let casts = [DType::F32, DType::I16].map(|dtype| dense_block(a).cast(dtype));
        let csr = [csr_block(a), csr_block(a).cast(DType::U8).cast(DType::F32), csr_block(a)];
        [dense_block(a)].into_iter().chain(casts).chain(csr).collect()
    }

    /// Integers below 2^53 add up exactly in any order, so every comparison below is for equality.
    #[test]
    fn products_of_every_form_of_a_block_equal_the_naive_ones() {
        for (rows, cols, one_in) in [(600, 5, 1), (300, 40, 2), (700, 90, 30), (1, 3, 1), (0, 4, 1), (5, 0, 1)] {
            let a = sparse(rows, cols, one_in).abs();
            let (k, ints) = (3, |x: f64| (x * 10.0).round());
            let (components, t) = (noise(k, cols, 4).map(ints), noise(rows, k, 5).map(ints));
            let t_rows = t.transpose().as_slice().to_vec();
            for block in forms(&a) {
                let (shifted, case) = (Shifted::new(&block, &[]), format!("{rows} × {cols} {:?}", block.dtype()));
                let mut gram = DMatrix::zeros(cols, cols);
                shifted.add_gram(&mut gram).unwrap();
                assert_eq!(gram, (a.transpose() * &a).upper_triangle(), "gram {case}");

                let mut sums = vec![1.0; cols];
                shifted.add_column_sums(&mut sums).unwrap();
                assert!(sums.iter().enumerate().all(|(j, &sum)| sum == 1.0 + a.column(j).sum()), "sums {case}");

                let mut out = vec![f64::NAN; rows * k];
                shifted.times(&components, &mut out).unwrap();
                assert_eq!(DMatrix::from_row_slice(rows, k, &out), &a * components.transpose(), "times {case}");

                let mut acc = DMatrix::from_element(k, cols, 2.0);
                shifted.add_transposed_times(&t_rows, &mut acc).unwrap();
                assert_eq!(acc, (t.transpose() * &a).add_scalar(2.0), "transposed {case}");
            }
        }
    }

    #[test]
    fn a_shift_is_subtracted_from_the_stored_values_only() {
        let a = DMatrix::from_row_slice(3, 3, &[5.0, 0.0, 1.0, 6.0, 2.0, 0.0, 7.0, 0.0, 0.0]);
        let shift = [5.0, 0.0, 0.0];
        let expected = DMatrix::from_row_slice(3, 3, &[0.0, 0.0, 1.0, 1.0, 2.0, 0.0, 2.0, 0.0, 0.0]);
        for block in [dense_block(&a), csr_block(&a)] {
            let (shifted, mut gram) = (Shifted::new(&block, &shift), DMatrix::zeros(3, 3));
            shifted.add_gram(&mut gram).unwrap();
            assert_eq!(gram, (expected.transpose() * &expected).upper_triangle());
            let mut out = vec![0.0; 9];
            shifted.times(&DMatrix::identity(3, 3), &mut out).unwrap();
            assert_eq!(DMatrix::from_row_slice(3, 3, &out), expected);
        }
    }

    #[test]
    fn the_density_decides_how_the_gram_of_a_csr_block_is_made() {
        let way = |one_in| match csr_block(&sparse(400, 50, one_in)) {
            Block::Csr(csr) => Way::of(&csr.indptr, csr.cols),
            Block::Dense(_) => unreachable!("made as CSR"),
        };
        let ways = [1, 6, 30].map(way);
        assert_eq!(ways, [Way::Packed, Way::Panels, Way::Scatter], "all must be taken by the tests");
    }

    #[test]
    fn all_ways_of_a_gram_agree_over_several_batches_and_any_shift() {
        // Integers again. Rows enough for two batches, columns for two bands, three panels and a ragged one.
        for (rows, cols, one_in) in [(gram::MAX_ROWS + 200, 70, 9), (gram::MAX_ROWS + 1, 101, 40), (300, 33, 2)] {
            let a = sparse(rows, cols, one_in);
            let shift: Vec<f64> = (0..cols).map(|j| (j % 3) as f64).collect();
            let expected =
                DMatrix::from_fn(rows, cols, |i, j| if a[(i, j)] == 0.0 { 0.0 } else { a[(i, j)] - shift[j] });
            let expected = (expected.transpose() * &expected).upper_triangle();
            let block = csr_block(&a);
            let Block::Csr(csr) = &block else { unreachable!("made as CSR") };
            let shifted = Shifted::new(&block, &shift);
            let mut found = [0, 1, 2].map(|_| DMatrix::zeros(cols, cols));
            shifted.for_each_batch(csr, |rows| rows.scatter(&mut found[0]));
            shifted.for_each_batch(csr, |rows| rows.panels(&mut found[1]));
            shifted.add_gram(&mut found[2]).unwrap();
            assert!(found.iter().all(|found| *found == expected), "{rows} × {cols}, one in {one_in}");
        }
    }
}
