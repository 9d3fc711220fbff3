//! Compressed rows: for each row the columns that hold something, ascending, and their values.
//!
//! ```text
//!   indptr   0   2     3 3        row 0 has the entries 0..2, row 1 has 2..3, row 2 none
//!   indices  1 4 | 0 |            columns, strictly ascending within a row
//!   values   a b | c |
//! ```
//!
//! Always true of a block made by [`CsrBlock::new`]: `indptr` starts at 0, never falls and ends at the number of
//! entries; columns are in range; no column stands twice in a row. Whatever enters is brought to that form or refused.

use sprs::CsMatI;

use super::values::{Buffer, Values, is_zero, map_values, with_values};
use super::{DType, DenseBlock, Element};
use crate::error::{Error, Result};

/// Compressed rows; within a row the indices ascend strictly.
#[derive(Clone, Debug)]
pub struct CsrBlock {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows + 1` offsets, the first 0.
    pub indptr: Buffer<u64>,
    /// Column of each stored value.
    pub indices: Buffer<u32>,
    /// The stored values.
    pub values: Values,
}

impl CsrBlock {
    /// Checks the parts of a CSR matrix, sorts the columns of each row and sums the values of a column that stands twice.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when the offsets are not those of a CSR matrix, or the lengths differ;
    /// [`Error::OutOfRange`] for a column that does not exist.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::array::CsrBlock;
    /// let block = CsrBlock::new(2, 3, vec![0, 3, 3], vec![2, 0, 2], vec![1.0, 5.0, 10.0])?;
    /// assert_eq!(&block.indices[..], [0, 2]);
    /// assert_eq!(block.to_dense().values.to_vec::<f64>(), [5.0, 0.0, 11.0, 0.0, 0.0, 0.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn new(
        rows: usize,
        cols: usize,
        indptr: impl Into<Buffer<u64>>,
        indices: impl Into<Buffer<u32>>,
        values: impl Into<Values>,
    ) -> Result<Self> {
        let block = CsrBlock { rows, cols, indptr: indptr.into(), indices: indices.into(), values: values.into() };
        block.validate()?;
        Ok(if block.is_sorted() { block } else { block.normalised() })
    }

    /// Returns the bytes that a CSR block takes.
    pub fn nbytes_of(rows: u64, nnz: u64, dtype: DType) -> u64 {
        nnz.saturating_mul(dtype.size_of() as u64 + 4).saturating_add(rows.saturating_add(1).saturating_mul(8))
    }

    /// Returns the number of stored values.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }

    /// Returns where one row's entries are.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn row(&self, row: usize) -> std::ops::Range<usize> {
        self.indptr[row] as usize..self.indptr[row + 1] as usize
    }

    /// Checks the offsets and the columns.
    fn validate(&self) -> Result<()> {
        let bad =
            |argument, found: String, expected: String| Err(Error::bad_argument("csr", argument, found, expected));
        let (indptr, nnz) = (&self.indptr[..], self.indices.len());
        check_cols(self.cols as u64)?;
        if Some(indptr.len()) != self.rows.checked_add(1) {
            return bad("indptr length", indptr.len().to_string(), format!("rows + 1 for {} rows", self.rows));
        }
        if self.values.len() != nnz {
            return bad("number of values", self.values.len().to_string(), format!("that of the {nnz} indices"));
        }
        if indptr[0] != 0 || indptr[self.rows] != nnz as u64 {
            let found = format!("{} .. {}", indptr[0], indptr[self.rows]);
            return bad("indptr", found, format!("0 .. {nnz}, the number of indices"));
        }
        if let Some(row) = indptr.windows(2).position(|pair| pair[0] > pair[1]) {
            let found = format!("{} after {} at row {row}", indptr[row + 1], indptr[row]);
            return bad("indptr", found, "never falling".into());
        }
        // The largest index decides; a loop that stops early would not be faster where all is well.
        match self.indices.iter().copied().max() {
            Some(index) if index as usize >= self.cols => {
                Err(Error::OutOfRange { operation: "csr", index: index.into(), len: self.cols as u64 })
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the columns of each row ascend strictly.
    fn is_sorted(&self) -> bool {
        let indices = &self.indices[..];
        (0..self.rows).all(|row| indices[self.row(row)].is_sorted_by(|a, b| a < b))
    }

    /// Sorts each row by column and sums duplicates, in the order in which they stood.
    fn normalised(self) -> CsrBlock {
        let mut indptr = Vec::with_capacity(self.rows + 1);
        let mut indices = Vec::with_capacity(self.indices.len());
        let mut order: Vec<usize> = Vec::new();
        indptr.push(0u64);
        macro_rules! gather {
            ($buffer:ident, $add:expr) => {{
                let mut values = Vec::with_capacity($buffer.len());
                for row in 0..self.rows {
                    order.clear();
                    order.extend(self.row(row));
                    order.sort_by_key(|&entry| self.indices[entry]);
                    let start = indices.len();
                    for &entry in &order {
                        if indices.len() > start && indices.last() == Some(&self.indices[entry]) {
                            let last = values.last_mut().expect("an index was pushed, and a value with it");
                            *last = $add(*last, $buffer[entry]);
                        } else {
                            indices.push(self.indices[entry]);
                            values.push($buffer[entry]);
                        }
                    }
                    indptr.push(indices.len() as u64);
                }
                values.into()
            }};
        }
        let values = match &self.values {
            Values::Bool(b) => Values::Bool(gather!(b, |x: u8, y: u8| x | y)),
            Values::U8(b) => Values::U8(gather!(b, u8::wrapping_add)),
            Values::U16(b) => Values::U16(gather!(b, u16::wrapping_add)),
            Values::U32(b) => Values::U32(gather!(b, u32::wrapping_add)),
            Values::U64(b) => Values::U64(gather!(b, u64::wrapping_add)),
            Values::I8(b) => Values::I8(gather!(b, i8::wrapping_add)),
            Values::I16(b) => Values::I16(gather!(b, i16::wrapping_add)),
            Values::I32(b) => Values::I32(gather!(b, i32::wrapping_add)),
            Values::I64(b) => Values::I64(gather!(b, i64::wrapping_add)),
            Values::F32(b) => Values::F32(gather!(b, |x: f32, y: f32| x + y)),
            Values::F64(b) => Values::F64(gather!(b, |x: f64, y: f64| x + y)),
        };
        CsrBlock { indptr: indptr.into(), indices: indices.into(), values, ..self }
    }

    /// Returns the block with every value, zeros too.
    pub fn to_dense(&self) -> DenseBlock {
        let values = map_values!(&self.values, buffer => {
            let mut dense = vec![Default::default(); self.rows * self.cols];
            for row in 0..self.rows {
                let to = &mut dense[row * self.cols..(row + 1) * self.cols];
                for entry in self.row(row) {
                    to[self.indices[entry] as usize] = buffer[entry];
                }
            }
            dense.into()
        });
        DenseBlock { rows: self.rows, cols: self.cols, values }
    }

    /// Takes the values that are not zero out of a dense block; NaN is not zero.
    pub(super) fn from_dense(dense: &DenseBlock) -> Result<CsrBlock> {
        check_cols(dense.cols as u64)?;
        let (mut indptr, mut indices) = (Vec::with_capacity(dense.rows + 1), Vec::new());
        indptr.push(0u64);
        let values = map_values!(&dense.values, buffer => {
            let mut values = Vec::with_capacity(buffer.iter().filter(|value| !is_zero(*value)).count());
            indices.reserve_exact(values.capacity());
            for row in 0..dense.rows {
                for (col, value) in buffer[row * dense.cols..(row + 1) * dense.cols].iter().enumerate() {
                    if !is_zero(value) {
                        indices.push(col as u32);
                        values.push(*value);
                    }
                }
                indptr.push(indices.len() as u64);
            }
            values.into()
        });
        Ok(CsrBlock { rows: dense.rows, cols: dense.cols, indptr: indptr.into(), indices: indices.into(), values })
    }

    /// Copies a sprs matrix; one that is stored by columns is turned.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when there are more columns than `u32` can number.
    pub fn from_sprs<T, I, P>(matrix: &CsMatI<T, I, P>) -> Result<Self>
    where
        T: Element,
        I: sprs::SpIndex,
        P: sprs::SpIndex,
    {
        if matrix.is_csc() {
            return Self::from_sprs(&matrix.to_csr());
        }
        check_cols(matrix.cols() as u64)?;
        let indptr: Vec<u64> = matrix.indptr().raw_storage().iter().map(|p| p.index() as u64).collect();
        let indices: Vec<u32> = matrix.indices().iter().map(|i| i.index() as u32).collect();
        CsrBlock::new(matrix.rows(), matrix.cols(), indptr, indices, matrix.data().to_vec())
    }

    /// Copies the block as a sprs matrix of values `T`.
    pub fn to_sprs<T: Element>(&self) -> CsMatI<T, u32, u64> {
        let parts = (self.indptr.to_vec(), self.indices.to_vec(), self.values.to_vec::<T>());
        CsMatI::new((self.rows, self.cols), parts.0, parts.1, parts.2)
    }

    /// Returns the sum of each row in f64, in the order of the columns.
    pub fn row_sums(&self) -> Vec<f64> {
        #[expect(clippy::unnecessary_cast, reason = "one of the eleven types is f64 already")]
        let sums = with_values!(&self.values, buffer => {
            (0..self.rows).map(|row| buffer[self.row(row)].iter().map(|value| *value as f64).sum()).collect()
        });
        sums
    }
}

/// Refuses a number of columns that CSR's `u32` indices cannot name.
pub(super) fn check_cols(cols: u64) -> Result<()> {
    if cols <= 1 << 32 {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!("a CSR matrix of {cols} columns").into(),
        instead: "columns are numbered with 32 bits; transpose or split the matrix".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rows: usize, cols: usize, indptr: &[u64], indices: &[u32], n_values: usize) -> String {
        CsrBlock::new(rows, cols, indptr.to_vec(), indices.to_vec(), vec![1.0; n_values])
            .expect_err("not a CSR matrix")
            .to_string()
    }

    #[test]
    fn what_is_not_a_csr_matrix_is_refused_with_what_was_found() {
        assert!(refused(2, 3, &[0, 1], &[0], 1).contains("indptr length is 2"));
        assert!(refused(0, 3, &[], &[], 0).contains("indptr length is 0"));
        assert!(refused(1, 3, &[0, 2], &[0], 1).contains("0 .. 2"));
        assert!(refused(1, 3, &[1, 1], &[0], 1).contains("1 .. 1"));
        assert!(refused(2, 3, &[0, 2, 1], &[0], 1).contains("1 after 2 at row 1"));
        assert!(refused(3, 3, &[0, 2, 1, 2], &[0, 1], 2).contains("1 after 2 at row 1"));
        assert!(refused(1, 3, &[0, 2], &[0, 3], 2).contains("index 3 is out of range for an axis of length 3"));
        assert!(refused(1, 3, &[0, 2], &[0, 1], 1).contains("number of values is 1"));
        assert!(refused(usize::MAX, 3, &[0], &[], 0).contains("indptr length"), "no overflow");
    }

    #[test]
    fn rows_are_sorted_and_duplicates_summed() {
        let block = CsrBlock::new(3, 4, vec![0, 4, 4, 6], vec![3, 1, 3, 0, 2, 2], vec![1u8, 2, 3, 4, 200, 100]);
        let block = block.expect("a CSR matrix, unsorted");
        assert_eq!(&block.indptr[..], [0, 3, 3, 4]);
        assert_eq!(&block.indices[..], [0, 1, 3, 2]);
        assert_eq!(block.values.to_vec::<u8>(), [4, 2, 4, 44], "integers wrap, as in SciPy");
    }

    #[test]
    fn explicit_zeros_stay_until_the_block_is_rebuilt() {
        let block = CsrBlock::new(1, 3, vec![0, 2], vec![0, 2], vec![0.0f32, 5.0]).expect("sound");
        assert_eq!(block.nnz(), 2);
        assert_eq!(block.to_dense().to_csr().expect("three columns").nnz(), 1);
    }

    #[test]
    fn sprs_matrices_go_there_and_back_in_either_storage() {
        let block = CsrBlock::new(3, 3, vec![0, 1, 1, 3], vec![2, 0, 1], vec![1.5, 2.5, 3.5]).expect("sound");
        let matrix = block.to_sprs::<f64>();
        assert_eq!(matrix.get(2, 1), Some(&3.5));
        for stored in [matrix.clone(), matrix.to_csc()] {
            let back = CsrBlock::from_sprs(&stored).expect("three columns");
            assert_eq!(back.to_dense().values.to_vec::<f64>(), block.to_dense().values.to_vec::<f64>());
        }
    }
}
