//! A matrix that is a field of records, an array in each: `obsm` and `varm` of AnnData 0.6 and before.

use std::ops::Range;
use std::sync::Arc;

use super::super::tree::{Tree, TreeArray};
use super::parts;
use crate::array::{Block, BlockKind, DType, DenseBlock, Source, SourceAddress, Values};
use crate::cells::Column;
use crate::error::Result;
use crate::runtime::TaskContext;

/// What reading records holds besides what their array says: a run of them, each on its own.
const RUN_BYTES: u64 = 4 << 20;

/// One field of all records, as a dense matrix.
#[derive(Debug)]
pub(super) struct FieldSource {
    tree: Arc<dyn Tree>,
    array: Arc<dyn TreeArray>,
    name: String,
    shape: (u64, u64),
    dtype: DType,
}

impl FieldSource {
    /// Takes a field of a table; its first record tells how wide it is.
    pub(super) fn open(tree: &Arc<dyn Tree>, array: Arc<dyn TreeArray>, name: &str) -> Result<Self> {
        let rows = parts::vector_len(&**tree, &*array)?;
        let first = array.read_field_run(name, 0..rows.min(1))?;
        let source = FieldSource {
            tree: Arc::clone(tree),
            array,
            name: name.into(),
            shape: (rows, first.len() as u64),
            dtype: DType::F64,
        };
        let dtype = source.numbers(first)?.dtype();
        let claimed = rows.checked_mul(source.shape.1).and_then(|n| n.checked_mul(dtype.size_of() as u64));
        parts::check_claim(&**tree, &source.place(), claimed, &format!("shape {:?}", source.shape))?;
        Ok(FieldSource { dtype, ..source })
    }

    fn place(&self) -> String {
        format!("{}/{}", self.array.place(), self.name)
    }

    fn numbers(&self, column: Column) -> Result<Values> {
        match column {
            Column::Numbers(numbers) => Ok(numbers.values().clone()),
            Column::Bools(flags) => Ok(flags.into_iter().map(Option::unwrap_or_default).collect::<Vec<bool>>().into()),
            _ => {
                let what = format!("{}: values that are no numbers", self.place());
                Err(self.tree.unsupported(&what, "read another matrix"))
            }
        }
    }
}

impl Source for FieldSource {
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
        parts::check_rows(&rows, self.shape.0)?;
        Ok((rows.end - rows.start) * self.shape.1)
    }

    fn storage_rows(&self) -> u64 {
        self.array.chunks().and_then(|dims| dims.first().copied()).unwrap_or(1).clamp(1, self.shape.0.max(1))
    }

    /// The numbers are copied out of the column that the container gives.
    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        Ok(self.array.scratch_bytes() + RUN_BYTES + self.nnz_of(rows)? * self.dtype.size_of() as u64)
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        parts::check_rows(&rows, self.shape.0)?;
        context.check()?;
        let values = self.numbers(self.array.read_field_run(&self.name, rows.clone())?)?;
        self.tree.check_unchanged()?;
        DenseBlock::new((rows.end - rows.start) as usize, self.shape.1 as usize, values).map(Block::Dense)
    }

    fn address(&self) -> Option<SourceAddress> {
        parts::address(&*self.tree, &self.place())
    }

    fn name(&self) -> String {
        parts::name(&*self.tree, &self.place())
    }
}
