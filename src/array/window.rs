//! A window: some rows and some columns of an array, the part that one task computes.
//!
//! Also what windows of blocks are: cut out of a block, put beside each other, turned over.

use std::ops::Range;

use super::expr::to_usize;
use super::values::{Values, map_values};
use super::{Array, Block, BlockKind, CsrBlock, DenseBlock, Grid};
use crate::error::{Error, Result};

/// Some rows and some columns of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) rows: Range<u64>,
    pub(super) cols: Range<u64>,
}

impl Window {
    /// Returns all columns of some rows.
    pub(super) fn of_rows(array: &Array, rows: Range<u64>) -> Window {
        Window { rows, cols: 0..array.cols() }
    }

    /// Returns one block of a grid.
    pub(super) fn of_block(grid: &Grid, index: usize) -> Window {
        let (rows, cols) = grid.block(index);
        Window { rows, cols }
    }

    pub(super) fn n_rows(&self) -> u64 {
        self.rows.end - self.rows.start
    }

    pub(super) fn n_cols(&self) -> u64 {
        self.cols.end - self.cols.start
    }

    /// Returns the number of values, as far as 64 bits tell.
    pub(super) fn len(&self) -> u64 {
        self.n_rows().saturating_mul(self.n_cols())
    }

    /// Returns rows and columns as lengths of this machine.
    pub(super) fn shape(&self) -> Result<(usize, usize)> {
        Ok((to_usize(self.n_rows())?, to_usize(self.n_cols())?))
    }

    /// Returns the window of the transposed array that holds the same values.
    pub(super) fn transposed(&self) -> Window {
        Window { rows: self.cols.clone(), cols: self.rows.clone() }
    }

    /// Returns the columns of this window in all of its array's rows: those that a node needs which keeps rows together.
    pub(super) fn widened(&self, array: &Array) -> Window {
        Window::of_rows(array, self.rows.clone())
    }

    /// Returns the columns as places in a block that holds whole rows.
    pub(super) fn col_places(&self) -> Result<Range<usize>> {
        Ok(to_usize(self.cols.start)?..to_usize(self.cols.end)?)
    }
}

impl Block {
    /// Copies a run of columns; all of them are the block itself.
    pub(super) fn into_columns(self, cols: Range<usize>) -> Block {
        if cols == (0..self.cols()) { self } else { self.slice_cols(cols) }
    }

    /// Copies a run of columns.
    ///
    /// # Panics
    ///
    /// When the range reaches beyond the columns.
    pub fn slice_cols(&self, cols: Range<usize>) -> Block {
        match self {
            Block::Dense(b) => {
                let values = map_values!(&b.values, buffer => {
                    let mut kept = Vec::with_capacity(b.rows * cols.len());
                    for row in 0..b.rows {
                        kept.extend_from_slice(&buffer[row * b.cols + cols.start..row * b.cols + cols.end]);
                    }
                    kept.into()
                });
                DenseBlock { rows: b.rows, cols: cols.len(), values }.into()
            }
            Block::Csr(b) => csr_columns(b, cols).into(),
        }
    }

    /// Counts the stored values of some rows and columns.
    pub(super) fn nnz_of(&self, rows: Range<usize>, cols: Range<usize>) -> usize {
        match self {
            Block::Dense(_) => rows.len() * cols.len(),
            Block::Csr(b) if cols == (0..b.cols) => (b.indptr[rows.end] - b.indptr[rows.start]) as usize,
            Block::Csr(b) => rows.map(|row| stored_within(b, row, &cols).len()).sum(),
        }
    }

    /// Puts blocks of the same rows, dtype and kind beside each other.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when kinds or dtypes differ.
    pub(super) fn beside(parts: &[Block], rows: usize) -> Result<Block> {
        let (first, cols) = (&parts[0], parts.iter().map(Block::cols).sum());
        let nnz = parts.iter().map(|part| part.values().len()).sum();
        let mut values = Values::with_capacity(first.dtype(), nnz);
        if first.kind() == BlockKind::Dense {
            for row in 0..rows {
                for part in parts {
                    let width = part.cols();
                    values.extend(part.values(), row * width..(row + 1) * width)?;
                }
            }
            return Ok(DenseBlock { rows, cols, values }.into());
        }
        let (mut indptr, mut indices) = (Vec::with_capacity(rows + 1), Vec::with_capacity(nnz));
        indptr.push(0u64);
        for row in 0..rows {
            let mut offset = 0u32;
            for part in parts {
                let Block::Csr(csr) = part else {
                    return Err(Error::bad_argument("hstack", "kind", part.kind(), "that of the first block"));
                };
                let stored = csr.row(row);
                indices.extend(csr.indices[stored.clone()].iter().map(|col| col + offset));
                values.extend(&csr.values, stored)?;
                offset += csr.cols as u32;
            }
            indptr.push(indices.len() as u64);
        }
        Ok(CsrBlock { rows, cols, indptr: indptr.into(), indices: indices.into(), values }.into())
    }

    /// Copies the block with rows and columns exchanged.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::array::{Block, DenseBlock};
    /// let block = Block::from(DenseBlock::new(2, 3, vec![1, 2, 3, 4, 5, 6])?);
    /// assert_eq!(block.to_transposed().to_vec::<i32>(), [1, 4, 2, 5, 3, 6]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn to_transposed(&self) -> Block {
        match self {
            Block::Dense(b) => {
                let values = map_values!(&b.values, buffer => transposed(buffer, b.rows, b.cols).into());
                DenseBlock { rows: b.cols, cols: b.rows, values }.into()
            }
            Block::Csr(b) => csr_transposed(b).into(),
        }
    }
}

/// Side of the squares in which a dense block is turned: two of them, read and written, stay in the first cache.
const TILE: usize = 32;

fn transposed<T: Copy + Default>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
    let mut turned = vec![T::default(); values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..cols).step_by(TILE) {
            for row in top..rows.min(top + TILE) {
                for col in left..cols.min(left + TILE) {
                    turned[col * rows + row] = values[row * cols + col];
                }
            }
        }
    }
    turned
}

/// Returns the entries of a row whose columns lie in a range.
fn stored_within(block: &CsrBlock, row: usize, cols: &Range<usize>) -> Range<usize> {
    let stored = block.row(row);
    let columns = &block.indices[stored.clone()];
    let first = columns.partition_point(|col| (*col as usize) < cols.start);
    let end = columns.partition_point(|col| (*col as usize) < cols.end);
    stored.start + first..stored.start + end
}

fn csr_columns(block: &CsrBlock, cols: Range<usize>) -> CsrBlock {
    let mut indptr = Vec::with_capacity(block.rows + 1);
    indptr.push(0u64);
    let mut nnz = 0;
    for row in 0..block.rows {
        nnz += stored_within(block, row, &cols).len() as u64;
        indptr.push(nnz);
    }
    let mut indices = Vec::with_capacity(nnz as usize);
    let values = map_values!(&block.values, buffer => {
        let mut kept = Vec::with_capacity(nnz as usize);
        for row in 0..block.rows {
            let stored = stored_within(block, row, &cols);
            indices.extend(block.indices[stored.clone()].iter().map(|col| col - cols.start as u32));
            kept.extend_from_slice(&buffer[stored]);
        }
        kept.into()
    });
    CsrBlock { rows: block.rows, cols: cols.len(), indptr: indptr.into(), indices: indices.into(), values }
}

/// Counts each column, then deals the entries out row by row, so that the rows of the result come sorted.
fn csr_transposed(block: &CsrBlock) -> CsrBlock {
    let mut indptr = vec![0u64; block.cols + 1];
    block.indices.iter().for_each(|col| indptr[*col as usize + 1] += 1);
    for col in 0..block.cols {
        indptr[col + 1] += indptr[col];
    }
    let mut next: Vec<u64> = indptr[..block.cols].to_vec();
    let mut indices = vec![0u32; block.nnz()];
    let values = map_values!(&block.values, buffer => {
        let mut turned = vec![Default::default(); buffer.len()];
        for row in 0..block.rows {
            for entry in block.row(row) {
                let place = &mut next[block.indices[entry] as usize];
                indices[*place as usize] = row as u32;
                turned[*place as usize] = buffer[entry];
                *place += 1;
            }
        }
        turned.into()
    });
    CsrBlock { rows: block.cols, cols: block.rows, indptr: indptr.into(), indices: indices.into(), values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DType;

    fn sample(rows: usize, cols: usize, dtype: DType, csr: bool) -> Block {
        let values: Vec<u8> = (0..rows * cols).map(|i| if i % 3 == 0 { (i % 100) as u8 } else { 0 }).collect();
        let dense = DenseBlock::new(rows, cols, Values::from(values).cast(dtype)).expect("the right number");
        if csr { dense.to_csr().expect("few columns").into() } else { dense.into() }
    }

    fn cases() -> Vec<Block> {
        let shapes = [(0, 3), (3, 0), (1, 5), (4, 1), (40, 67)];
        let kinds = [(DType::F64, false), (DType::U16, true), (DType::Bool, false), (DType::F32, true)];
        shapes.into_iter().flat_map(|(r, c)| kinds.map(|(dtype, csr)| sample(r, c, dtype, csr))).collect()
    }

    #[test]
    fn turning_twice_changes_nothing_and_once_exchanges_rows_and_columns() {
        for block in cases() {
            let ((rows, cols), turned) = (block.shape(), block.to_transposed());
            assert_eq!((turned.shape(), turned.dtype(), turned.kind()), ((cols, rows), block.dtype(), block.kind()));
            let (before, after) = (block.to_vec::<f64>(), turned.to_vec::<f64>());
            let same = |i: usize, j: usize| before[i * cols + j] == after[j * rows + i];
            assert!((0..rows).all(|i| (0..cols).all(|j| same(i, j))));
            assert_eq!(turned.to_transposed().to_vec::<f64>(), before);
        }
    }

    #[test]
    fn columns_cut_apart_and_put_beside_each_other_are_the_same_columns() {
        for block in cases() {
            let (rows, cols) = block.shape();
            for cut in [0, cols / 3, cols] {
                let parts = [0..cut, cut..cut, cut..cols].map(|part| block.clone().into_columns(part));
                assert_eq!(parts[0].shape(), (rows, cut));
                let joined = Block::beside(&parts, rows).expect("alike");
                assert_eq!(joined.to_vec::<f64>(), block.to_vec::<f64>());
                assert_eq!((joined.shape(), joined.values().len()), ((rows, cols), block.values().len()));
            }
        }
    }

    #[test]
    fn a_block_of_another_kind_is_not_put_beside() {
        let parts = [sample(2, 2, DType::F64, true), sample(2, 2, DType::F64, false)];
        assert!(Block::beside(&parts, 2).is_err());
    }
}
