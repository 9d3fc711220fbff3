//! Chunked arrays: matrices larger than memory, worked on a block at a time.
//!
//! ```text
//!   Array ── shape, dtype, kind, chunk grid, expression       nothing is computed yet
//!     │  plan(&cluster)                                       bytes and tasks, known beforehand
//!     ▼
//!   one task per block: read rows ─▶ kernel ─▶ kernel ─▶ …    a chain is one task
//!     │
//!     ├─ compute, blocks     bring home         ├─ sum, mean, var, nnz, reduce_blocks   join in block order
//!     └─ persist             leave as chunks    └─ map_block_results                    one answer per block
//! ```
//!
//! An [`Array`] is a description. Operations add a node to its expression and cost nothing; work starts when something is
//! asked of it, and then each block goes through the whole chain in one task, whose bytes are projected beforehand.
//! Blocks are runs of whole rows, dense or CSR. Reductions join in block order, so that the number of workers changes
//! no bit of a result; and the chunk grid depends on the data and the allowance, never on the number of workers.

mod block;
mod compute;
mod create;
mod csr;
mod dtype;
mod expr;
mod grid;
mod kernels;
mod matmul;
mod moments;
mod ops;
#[cfg(test)]
mod oracle;
mod plan;
pub mod random;
mod reduce;
mod select;
mod source;
mod sparse_row;
mod values;

pub use block::{Block, BlockKind, DenseBlock, StoredBlock};
pub use compute::BlockIter;
pub use csr::CsrBlock;
pub use dtype::{DType, Element};
pub use expr::{BlockInfo, BlockMap};
pub use grid::{Cuts, Grid};
pub use kernels::Kernel;
pub use plan::{Plan, Working};
pub use reduce::{Over, Statistic};
pub use select::Columns;
pub use source::Source;
pub use values::{Buffer, Values};

pub(crate) use sparse_row::SparseRow;
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
/// assert_eq!(logs.nnz(&cluster, Over::EachColumn)?, [2.0, 1.0]);
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "an array is a description: compute, persist or reduce it"]
pub struct Array {
    shape: (u64, u64),
    dtype: DType,
    kind: BlockKind,
    /// How the rows are cut, where that is not left to the plan.
    cuts: Option<Cuts>,
    expr: Arc<Expr>,
}

impl fmt::Debug for Array {
    /// Names the last operation only: a chain may be long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Array");
        shown.field("shape", &self.shape).field("dtype", &self.dtype).field("kind", &self.kind);
        shown.field("cuts", &self.cuts).field("operation", &self.operation()).finish()
    }
}

impl Array {
    fn new(shape: (u64, u64), dtype: DType, kind: BlockKind, expr: Expr) -> Self {
        Array { shape, dtype, kind, cuts: None, expr: Arc::new(expr) }
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
    pub fn cuts(&self) -> Option<&Cuts> {
        self.cuts.as_ref()
    }

    /// Cuts the same values into blocks of so many rows (at least 1), instead of as many as fit.
    pub fn with_block_rows(mut self, rows: u64) -> Self {
        self.cuts = Some(Cuts::even(self.shape.0, rows));
        self
    }

    /// Leaves the chunk grid to the plan again.
    pub fn with_auto_blocks(mut self) -> Self {
        self.cuts = None;
        self
    }
}
