//! A dense matrix: one array of two dimensions, or of one for a single column.

use std::ops::Range;
use std::sync::Arc;

use super::super::tree::{Tree, TreeArray};
use super::parts;
use crate::array::{Block, BlockKind, DType, DenseBlock, Source, SourceAddress};
use crate::error::Result;
use crate::runtime::TaskContext;

/// A dense matrix that is read by runs of rows.
#[derive(Debug)]
pub(super) struct DenseSource {
    tree: Arc<dyn Tree>,
    shape: (u64, u64),
    dtype: DType,
    array: Arc<dyn TreeArray>,
}

impl DenseSource {
    /// Takes an array and compares its shape with what the file can hold.
    pub(super) fn open(tree: &Arc<dyn Tree>, array: Arc<dyn TreeArray>) -> Result<Self> {
        let dtype = parts::dtype(&**tree, &*array)?;
        let shape = match *array.shape() {
            [rows] => (rows, 1),
            [rows, cols] => (rows, cols),
            _ => {
                let found = format!("shape {:?}", array.shape());
                return Err(tree.bad(array.place(), "a matrix of two dimensions", &found));
            }
        };
        // The lengths are claims too: they bound shapes such as (0, 2^63), which pass the product.
        let product = shape.0.checked_mul(shape.1).and_then(|n| n.checked_mul(dtype.size_of() as u64));
        let claimed = product.map(|bytes| bytes.max(shape.0).max(shape.1));
        parts::check_claim(&**tree, array.place(), claimed, &format!("shape {shape:?}"))?;
        Ok(DenseSource { tree: Arc::clone(tree), shape, dtype, array })
    }

    fn count(&self, rows: &Range<u64>) -> Result<u64> {
        parts::check_rows(rows, self.shape.0)?;
        Ok((rows.end - rows.start) * self.shape.1)
    }
}

impl Source for DenseSource {
    fn shape(&self) -> (u64, u64) {
        self.shape
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Dense
    }

    fn nnz(&self) -> u64 {
        self.shape.0 * self.shape.1
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        self.count(&rows)
    }

    fn storage_rows(&self) -> u64 {
        let chunk = self.array.chunks().and_then(|dims| dims.first().copied()).unwrap_or(1);
        chunk.clamp(1, self.shape.0.max(1))
    }

    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        self.count(&rows)?;
        Ok(self.array.scratch_bytes())
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        self.count(&rows)?;
        context.check()?;
        let values = self.array.read(rows.clone())?;
        self.tree.check_unchanged()?;
        DenseBlock::new((rows.end - rows.start) as usize, self.shape.1 as usize, values).map(Block::Dense)
    }

    fn address(&self) -> Option<SourceAddress> {
        parts::address(&*self.tree, self.array.place())
    }

    fn name(&self) -> String {
        parts::name(&*self.tree, self.array.place())
    }
}
