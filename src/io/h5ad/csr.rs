//! A `csr_matrix` of an `.h5ad` file.
//!
//! ```text
//! rows a..b      indptr[a] .. indptr[b]   is the window that a block reads of indices and data
//! storage        |---chunk---|---chunk---|---chunk---|     chunks at its edges are decoded for both neighbours
//! ```

use std::ops::Range;

use super::compressed::{Compressed, CsrParts};
use super::element::read_values;
use crate::array::{Block, BlockKind, DType, Source, SourceAddress};
use crate::error::{Error, Result};
use crate::runtime::TaskContext;

/// A matrix stored by rows, read by runs of rows.
#[derive(Debug)]
pub(super) struct CsrSource(pub(super) Compressed);

impl CsrSource {
    fn window(&self, rows: &Range<u64>) -> Result<Range<u64>> {
        if rows.start > rows.end || rows.end > self.0.major {
            let index = rows.end.max(rows.start);
            return Err(Error::OutOfRange { operation: "read rows", index, len: self.0.major });
        }
        Ok(self.0.indptr[rows.start as usize]..self.0.indptr[rows.end as usize])
    }

    fn bounds(&self, rows: &Range<u64>) -> &[u64] {
        &self.0.indptr[rows.start as usize..=rows.end as usize]
    }
}

impl Source for CsrSource {
    fn shape(&self) -> (u64, u64) {
        (self.0.major, self.0.minor)
    }

    fn dtype(&self) -> DType {
        self.0.dtype
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Csr
    }

    fn nnz(&self) -> u64 {
        self.0.nnz()
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        let window = self.window(&rows)?;
        Ok(window.end - window.start)
    }

    fn counts_are_exact(&self) -> bool {
        true
    }

    /// Chunks cut the values, not the rows: this is how many rows of average length a chunk holds.
    fn storage_rows(&self) -> u64 {
        let chunk = self.0.chunks().and_then(|dims| dims.first().copied()).map_or(1, u64::from);
        let rows = u128::from(chunk) * u128::from(self.0.major) / u128::from(self.nnz().max(1));
        (rows as u64).clamp(1, self.0.major.max(1))
    }

    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        self.window(&rows)?;
        // A row that is not sorted is sorted in a copy of that row.
        let longest_row = self.bounds(&rows).windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Ok(self.0.scratch_bytes() + longest_row * 16)
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        let window = self.window(&rows)?;
        context.check()?;
        let indices = self.0.read_indices(window.clone())?;
        context.check()?;
        let values = read_values(&self.0.file, &self.0.data, &self.0.data_place(), self.0.dtype, window.clone())?;
        self.0.file.input().check_unchanged()?;
        let indptr = self.bounds(&rows).iter().map(|&offset| offset - window.start).collect();
        let parts = CsrParts { indptr, indices, values };
        parts.into_block(&self.0, rows.start, rows.end - rows.start, self.0.minor).map(Block::Csr)
    }

    fn address(&self) -> Option<SourceAddress> {
        self.0.file.input().address("h5ad", &self.0.place)
    }

    fn name(&self) -> String {
        format!("{}: {}", self.0.file.input().path().display(), self.0.place)
    }
}
