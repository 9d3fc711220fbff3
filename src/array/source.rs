//! Where an array's blocks come from outside: a file format, implemented in `io`.
//!
//! A source is opened once and read from several lanes at a time. Opening checks the header; reading checks the rows
//! that it reads. What it says about bytes is what the plan reserves, so it must hold for every run of rows.
use std::fmt::Debug;
use std::ops::Range;

use super::{Block, BlockKind, DType, SourceAddress};
use crate::error::Result;
use crate::runtime::TaskContext;

/// A matrix that can be read by runs of rows. Implemented by the formats of `io`, and by whatever a program reads.
pub trait Source: Debug + Send + Sync {
    /// Returns rows and columns.
    fn shape(&self) -> (u64, u64);
    /// Returns the dtype of the stored values.
    fn dtype(&self) -> DType;
    /// Returns whether the blocks are dense or CSR.
    fn kind(&self) -> BlockKind;
    /// Returns the number of stored values: rows × columns for a dense matrix.
    fn nnz(&self) -> u64;
    /// Returns how many stored values the rows hold (exact where it is known without reading them).
    fn nnz_of(&self, rows: Range<u64>) -> Result<u64>;
    /// Returns whether [`nnz_of`](Self::nnz_of) is what [`read_rows`](Self::read_rows) will hold, but for a column that a row
    /// names twice.
    fn counts_are_exact(&self) -> bool {
        false
    }
    /// Returns the row step along which storage is chunked: block rows are best a multiple of it.
    fn storage_rows(&self) -> u64;
    /// Returns the anonymous bytes that reading these rows holds at most besides the block itself (decoder buffers).
    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64>;
    /// Reads the rows as one block, all columns.
    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block>;
    /// Returns where the matrix is, for a process that is to open it too; `None` when it cannot.
    fn address(&self) -> Option<SourceAddress> {
        None
    }
    /// Returns a name for messages: the path and data set, say.
    fn name(&self) -> String;
}
