//! A `csr_matrix`: values stored by rows.
//!
//! ```text
//! rows a..b      indptr[a] .. indptr[b]   is the window that a block reads of indices and data
//! storage        |---chunk---|---chunk---|---chunk---|     chunks at its edges are decoded for both neighbours
//! ```

use std::ops::Range;

use super::super::csr_parts::CsrParts;
use super::compressed::{Compressed, into_block};
use super::parts;
use crate::array::{Block, BlockKind, DType, Source, SourceAddress};
use crate::error::Result;
use crate::runtime::TaskContext;

/// A matrix stored by rows, read by runs of rows.
#[derive(Debug)]
pub(crate) struct CsrSource(pub(crate) Compressed);

impl CsrSource {
    fn window(&self, rows: &Range<u64>) -> Result<Range<u64>> {
        parts::check_rows(rows, self.0.major)?;
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
        let chunk = self.0.chunk().unwrap_or(1);
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
        let values = self.0.data.read(window.clone())?;
        self.0.tree.check_unchanged()?;
        let indptr = self.bounds(&rows).iter().map(|&offset| offset - window.start).collect();
        let parts = CsrParts { indptr, indices, values };
        into_block(parts, &self.0, rows.start, rows.end - rows.start, self.0.minor).map(Block::Csr)
    }

    fn address(&self) -> Option<SourceAddress> {
        parts::address(&*self.0.tree, &self.0.place)
    }

    fn name(&self) -> String {
        parts::name(&*self.0.tree, &self.0.place)
    }
}
