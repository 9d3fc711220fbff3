//! A `csc_matrix` of an `.h5ad` file: values stored by columns, read by rows.
//!
//! The values of one row lie in as many places as it has values, so a block reads all indices of the matrix, a window
//! after the other, and of the data the part of each window that has something for its rows. Memory stays bounded; time
//! is one reading of the matrix *per block*: fine for a file that makes a few blocks, slow for one that makes thousands,
//! which is better converted once. How many values each row has is counted in one reading when it is first asked for.

use std::ops::Range;
use std::sync::OnceLock;

use hdf5_reader::H5Type;

use super::super::csr_parts::CsrParts;
use super::super::values::read_as;
use super::compressed::{Compressed, into_block};
use super::element::Flag;
use crate::array::{Block, BlockKind, Buffer, DType, Source, SourceAddress, Values};
use crate::error::{Error, Result};
use crate::runtime::TaskContext;

/// How many values are looked through at a time.
const WINDOW: u64 = 1 << 17;

/// A matrix stored by columns, read by runs of rows.
#[derive(Debug)]
pub(super) struct CscSource {
    matrix: Compressed,
    /// Where each row would begin if the matrix were stored by rows, once it was asked for.
    row_offsets: OnceLock<Result<Vec<u64>>>,
}

impl CscSource {
    /// Reads a matrix whose lines are columns.
    pub(super) fn new(matrix: Compressed) -> Self {
        CscSource { matrix, row_offsets: OnceLock::new() }
    }

    fn windows(&self) -> impl Iterator<Item = Range<u64>> {
        let nnz = self.matrix.nnz();
        (0..nnz).step_by(WINDOW as usize).map(move |start| start..nnz.min(start + WINDOW))
    }

    fn check_rows(&self, rows: &Range<u64>) -> Result<()> {
        if rows.start <= rows.end && rows.end <= self.matrix.minor {
            return Ok(());
        }
        Err(Error::OutOfRange { operation: "read rows", index: rows.end.max(rows.start), len: self.matrix.minor })
    }

    /// Returns where the rows, and the end of the last one, would begin.
    fn offsets(&self, rows: &Range<u64>) -> Result<&[u64]> {
        self.check_rows(rows)?;
        let offsets = self.row_offsets.get_or_init(|| self.count_rows()).as_ref().map_err(Clone::clone)?;
        Ok(&offsets[rows.start as usize..=rows.end as usize])
    }

    fn count_rows(&self) -> Result<Vec<u64>> {
        if self.matrix.minor > self.matrix.file.most_bytes() {
            let found = format!("{} rows", self.matrix.minor);
            return Err(self.matrix.file.input().bad(&self.matrix.place, "no more rows than the file can hold", found));
        }
        let mut offsets = vec![0; self.matrix.minor as usize + 1];
        for window in self.windows() {
            self.matrix.read_indices(window)?.into_iter().for_each(|row| offsets[row as usize + 1] += 1);
        }
        for row in 1..offsets.len() {
            offsets[row] += offsets[row - 1];
        }
        Ok(offsets)
    }

    /// Reads the columns and values of some rows, row after row, columns ascending.
    fn gather<T: H5Type + Copy>(
        &self,
        rows: &Range<u64>,
        zero: T,
        context: &TaskContext,
    ) -> Result<(Vec<u32>, Vec<T>)> {
        let offsets = self.offsets(rows)?;
        let n = (offsets[offsets.len() - 1] - offsets[0]) as usize;
        let (mut cols, mut values) = (vec![0u32; n], vec![zero; n]);
        let mut next: Vec<u64> = offsets.iter().map(|offset| offset - offsets[0]).collect();
        let mut col = 0;
        for window in self.windows() {
            context.check()?;
            let indices = self.matrix.read_indices(window.clone())?;
            let is_wanted = |row: &u32| rows.contains(&u64::from(*row));
            let Some(first) = indices.iter().position(is_wanted) else { continue };
            let last = indices.iter().rposition(is_wanted).unwrap_or(first);
            let wanted = window.start + first as u64..window.start + last as u64 + 1;
            let data = self.matrix.file.read::<T>(&self.matrix.data, &self.matrix.data_place(), wanted.clone())?;
            for ((at, &row), &value) in wanted.zip(&indices[first..]).zip(&data).filter(|((_, row), _)| is_wanted(row))
            {
                while self.matrix.indptr[col + 1] <= at {
                    col += 1;
                }
                let place = &mut next[(u64::from(row) - rows.start) as usize];
                // A file that changed since its rows were counted may have more here; the check below says so.
                if let (Some(to), Some(into)) = (cols.get_mut(*place as usize), values.get_mut(*place as usize)) {
                    (*to, *into) = (col as u32, value);
                }
                *place += 1;
            }
        }
        self.matrix.file.input().check_unchanged()?;
        Ok((cols, values))
    }
}

impl Source for CscSource {
    fn shape(&self) -> (u64, u64) {
        (self.matrix.minor, self.matrix.major)
    }

    fn dtype(&self) -> DType {
        self.matrix.dtype
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Csr
    }

    fn nnz(&self) -> u64 {
        self.matrix.nnz()
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        let offsets = self.offsets(&rows)?;
        Ok(offsets[offsets.len() - 1] - offsets[0])
    }

    fn storage_rows(&self) -> u64 {
        1
    }

    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        let offsets = self.offsets(&rows)?;
        let longest_row = offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Ok(self.matrix.scratch_bytes() + WINDOW * 12 + offsets.len() as u64 * 8 + longest_row * 16)
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        let offsets = self.offsets(&rows)?;
        let indptr = offsets.iter().map(|offset| offset - offsets[0]).collect();
        let indices;
        let values = if self.matrix.dtype == DType::Bool {
            let (cols, flags) = self.gather(&rows, Flag(0), context)?;
            indices = cols;
            Values::Bool(Buffer::Owned(flags.into_iter().map(|flag| flag.0).collect()))
        } else {
            read_as!(self.matrix.dtype, T => {
                let (cols, values) = self.gather(&rows, T::default(), context)?;
                indices = cols;
                values
            })
        };
        let parts = CsrParts { indptr, indices, values };
        into_block(parts, &self.matrix, rows.start, rows.end - rows.start, self.matrix.major).map(Block::Csr)
    }

    fn address(&self) -> Option<SourceAddress> {
        self.matrix.file.input().address("h5ad", &self.matrix.place)
    }

    fn name(&self) -> String {
        format!("{}: {}", self.matrix.file.input().path().display(), self.matrix.place)
    }
}
