//! Chunked arrays: matrices larger than memory, worked on a block at a time.
//!
//! ```text
//!   Array ── shape, dtype, kind, chunk grid, expression       nothing is computed yet
//!     │  plan(&cluster)                                       bytes and tasks, known beforehand
//!     ▼
//!   one task per block: read rows ─▶ kernel ─▶ kernel ─▶ …    a chain is one task
//!     │
//!     ├─ compute, blocks     bring home         ├─ sum … quantile, reduce_blocks        join in block order
//!     └─ persist             leave as chunks    └─ map_block_results                    one answer per block
//! ```
//!
//! An [`Array`] is a description. Operations add a node to its expression and cost nothing; work starts when something is
//! asked of it, and then each block goes through the whole chain in one task, whose bytes are projected beforehand.
//! Blocks are dense or CSR, and hold runs of whole rows unless a grid with block columns is asked for. Reductions join in
//! block order, so that the number of workers changes no bit of a result; and the chunk grid, where it is not given, follows
//! the data and what is asked of them.

mod binary;
mod block;
mod block_iter;
mod centre;
mod compare;
mod compute;
mod create;
mod csr;
mod dot;
mod dtype;
mod elementwise;
mod evaluate;
mod expr;
mod functions;
mod graph;
mod grid;
mod kernels;
mod matmul;
mod moments;
mod need;
mod ops;
#[cfg(test)]
mod oracle;
#[cfg(any(feature = "h5ad", feature = "zarr"))]
mod origin;
mod packed;
mod pairs;
mod passes;
mod picture;
mod plan;
pub mod random;
mod reduce;
mod registry;
mod rows;
mod select;
mod source;
mod sparse_row;
mod stack;
mod travel;
mod values;
mod window;

pub use binary::Binary;
pub use block::{Block, BlockKind, DenseBlock, StoredBlock};
pub use block_iter::BlockIter;
pub use compare::Comparison;
pub use csr::CsrBlock;
pub use dtype::{DType, Element};
pub use elementwise::Operand;
pub use expr::{BlockInfo, BlockMap};
pub use grid::{Cuts, Grid};
pub use kernels::Kernel;
pub use plan::{Plan, Working};
pub use reduce::{Over, Statistic};
pub use registry::register_kernel;
pub use select::Columns;
pub use source::Source;
pub use travel::SourceAddress;
pub use values::{Buffer, Values};

pub(crate) use compute::{RowRuns, Runs};
pub(crate) use packed::Packed;
pub(crate) use sparse_row::SparseRow;
pub(crate) use travel::{seal, unseal};
pub(crate) use values::with_values;

use std::fmt;
use std::sync::Arc;

use expr::Expr;

/// A matrix as a description of how to compute it, block by block. Cloning is cheap.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::{Array, Over}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let counts = Array::from_rows(&[[1.0, 0.0], [3.0, 4.0], [0.0, 0.0]])?;
/// let logs = counts.log1p();                       // nothing is computed yet
/// assert_eq!(logs.count_nonzero(&cluster, Over::EachColumn)?, [2.0, 1.0]);
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "an array is a description: compute, persist or reduce it"]
pub struct Array {
    shape: (u64, u64),
    dtype: DType,
    kind: BlockKind,
    /// How the rows are cut, where that is not left to the plan.
    row_cuts: Option<Cuts>,
    /// How the columns are cut, where that is not left to the plan.
    col_cuts: Option<Cuts>,
    expr: Arc<Expr>,
}

impl fmt::Debug for Array {
    /// Names the last operation only: a chain may be long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Array");
        shown.field("shape", &self.shape).field("dtype", &self.dtype).field("kind", &self.kind);
        shown.field("row_cuts", &self.row_cuts).field("col_cuts", &self.col_cuts);
        shown.field("operation", &self.operation()).finish()
    }
}

impl Array {
    fn new(shape: (u64, u64), dtype: DType, kind: BlockKind, expr: Expr) -> Self {
        Array { shape, dtype, kind, row_cuts: None, col_cuts: None, expr: Arc::new(expr) }
    }

    /// Returns rows and columns.
    pub fn shape(&self) -> (u64, u64) {
        self.shape
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.shape.0
    }

    /// Returns the number of columns.
    pub fn cols(&self) -> u64 {
        self.shape.1
    }

    /// Returns the dtype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns whether the blocks are dense or CSR.
    pub fn kind(&self) -> BlockKind {
        self.kind
    }

    /// Returns how the rows are cut, where that is not left to the plan.
    pub fn row_cuts(&self) -> Option<&Cuts> {
        self.row_cuts.as_ref()
    }

    /// Returns how the columns are cut, where that is not left to the plan.
    pub fn col_cuts(&self) -> Option<&Cuts> {
        self.col_cuts.as_ref()
    }

    /// Cuts the same values into blocks of so many whole rows (at least 1), instead of as many as the plan takes.
    pub fn with_block_rows(mut self, rows: u64) -> Self {
        self.row_cuts = Some(Cuts::even(self.shape.0, rows));
        self.whole_rows()
    }

    /// Puts the same values on another chunk grid: blocks of so many rows and columns (at least 1 each).
    ///
    /// Nothing is moved: a block is computed from what lies under it. Of a file, which is read by rows, a block reads
    /// its rows whole and keeps its columns, once for each block column: [`persist`](Self::persist) in between if that costs too much.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = random::uniform(1000, 600, 7, None).rechunk(250, 200);
    /// let blocks = array.blocks(&cluster)?.collect::<allotment::Result<Vec<_>>>()?;
    /// assert_eq!((blocks.len(), blocks[0].shape()), (12, (250, 200)));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn rechunk(mut self, rows: u64, cols: u64) -> Self {
        self.row_cuts = Some(Cuts::even(self.shape.0, rows));
        self.col_cuts = Some(if self.shape.1 == 0 { Cuts::whole(0) } else { Cuts::even(self.shape.1, cols) });
        self
    }

    /// Keeps rows whole: blocks have all columns, and as many rows as before, or as many as the plan takes.
    pub fn whole_rows(mut self) -> Self {
        self.col_cuts = Some(Cuts::whole(self.shape.1));
        self
    }

    /// Leaves the chunk grid to the plan again.
    pub fn with_auto_blocks(mut self) -> Self {
        (self.row_cuts, self.col_cuts) = (None, None);
        self
    }
}
