//! Parts of a file that this version does not read, beside parts that it does: each refuses when it is asked for.
//!
//! A file with one strange layer has a sound matrix all the same, and what is strange must not vanish silently when the
//! file is written again.

use std::ops::Range;
use std::sync::Arc;

use crate::array::{Array, Block, BlockKind, DType, Source};
use crate::cells::{Column, Frame, FrameReader};
use crate::error::{Error, Result};
use crate::runtime::TaskContext;

/// Returns a matrix of a shape whose reading is this error.
pub(super) fn array(name: String, shape: (u64, u64), why: Error) -> Array {
    Array::from_source(Arc::new(Refused { name, shape, why }))
}

/// Returns a frame of so many rows without columns; reading the names of its rows is this error.
pub(super) fn frame(name: String, rows: u64, why: Error) -> Frame {
    Frame::new(rows, Vec::new(), Arc::new(Refused { name, shape: (rows, 0), why }))
}

#[derive(Debug)]
struct Refused {
    name: String,
    shape: (u64, u64),
    why: Error,
}

impl FrameReader for Refused {
    fn row_names(&self) -> Result<Vec<String>> {
        Err(self.why.clone())
    }

    fn column(&self, _: &str) -> Result<Column> {
        Err(self.why.clone())
    }
}

impl Source for Refused {
    fn shape(&self) -> (u64, u64) {
        self.shape
    }

    fn dtype(&self) -> DType {
        DType::F64
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Dense
    }

    fn nnz(&self) -> u64 {
        self.shape.0.saturating_mul(self.shape.1)
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        Ok(rows.end.saturating_sub(rows.start).saturating_mul(self.shape.1))
    }

    fn storage_rows(&self) -> u64 {
        1
    }

    fn scratch_bytes(&self, _: Range<u64>) -> Result<u64> {
        Err(self.why.clone())
    }

    fn read_rows(&self, _: Range<u64>, _: &TaskContext) -> Result<Block> {
        Err(self.why.clone())
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
