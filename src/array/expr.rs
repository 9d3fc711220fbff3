//! Expressions: what an array's values are, as a closed set of nodes.
//!
//! Every node can be asked for a [window](super::window) of its result, and says which windows of its inputs that needs
//! (`evaluate.rs`) and how many bytes (`need.rs`). So a whole chain runs in one task per block, on any chunk grid.
//! Nodes that need a row whole, such as a file's reader or a caller's function, compute all columns of it and cut.

use std::fmt;
use std::sync::Arc;

use super::binary::Binary;
use super::dot::Dot;
use super::grid::{Cuts, Grid};
use super::matmul::Product;
use super::random::Random;
use super::rows::RowSelection;
use super::select::Selection;
use super::{Array, Block, BlockKind, DType, Kernel, Source, StoredBlock};
use crate::error::{Error, Result};

/// Which block a task works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockInfo {
    /// The block's number in its grid, counted from 0 row by row.
    pub index: usize,
    /// The row of the array that is the block's first.
    pub row_offset: u64,
    /// The column of the array that is the block's first: 0 where blocks hold whole rows.
    pub col_offset: u64,
    /// Rows and columns of the block.
    pub shape: (usize, usize),
}

/// What a node of an expression does. The shape, dtype and kind of its result stand in the [`Array`] that holds it.
#[derive(Debug)]
pub(super) enum Expr {
    /// Rows of a file.
    Source(Arc<dyn Source>),
    /// Random numbers.
    Random(Random),
    /// Nothing but zeros.
    Zeros,
    /// A matrix that the caller holds.
    Memory(Arc<Block>),
    /// Chunks that lie in the workers' stores, by the numbers of a grid.
    Chunks(Vec<StoredBlock>, Grid),
    /// A kernel, in place.
    Kernel(Array, Kernel),
    /// Some rows.
    SelectRows(Array, RowSelection),
    /// Some columns.
    SelectColumns(Array, Selection),
    /// Another dtype.
    AsType(Array),
    /// Another kind.
    ToKind(Array),
    /// Rows and columns exchanged.
    Transpose(Array),
    /// A function of two values.
    Binary([Array; 2], Binary),
    /// Arrays one below the other, and where each begins.
    VStack(Vec<Array>, Cuts),
    /// Arrays beside each other, and where each begins.
    HStack(Vec<Array>, Cuts),
    /// A product with a small dense matrix.
    MatMul(Array, Product),
    /// A product of two arrays.
    Dot(Dot),
    /// The caller's function.
    MapBlocks(Array, BlockMap),
}

impl Expr {
    /// Returns the arrays that the node works on; none for one that stands at the beginning.
    pub(super) fn inputs(&self) -> &[Array] {
        match self {
            Expr::Source(_) | Expr::Random(_) | Expr::Zeros | Expr::Memory(_) | Expr::Chunks(..) => &[],
            Expr::Kernel(input, _)
            | Expr::SelectRows(input, _)
            | Expr::SelectColumns(input, _)
            | Expr::AsType(input)
            | Expr::ToKind(input)
            | Expr::Transpose(input)
            | Expr::MatMul(input, _)
            | Expr::MapBlocks(input, _) => std::slice::from_ref(input),
            Expr::VStack(inputs, _) | Expr::HStack(inputs, _) => inputs,
            Expr::Binary(inputs, _) => inputs,
            Expr::Dot(dot) => &dot.inputs,
        }
    }

    fn inputs_mut(&mut self) -> &mut [Array] {
        match self {
            Expr::Source(_) | Expr::Random(_) | Expr::Zeros | Expr::Memory(_) | Expr::Chunks(..) => &mut [],
            Expr::Kernel(input, _)
            | Expr::SelectRows(input, _)
            | Expr::SelectColumns(input, _)
            | Expr::AsType(input)
            | Expr::ToKind(input)
            | Expr::Transpose(input)
            | Expr::MatMul(input, _)
            | Expr::MapBlocks(input, _) => std::slice::from_mut(input),
            Expr::VStack(inputs, _) | Expr::HStack(inputs, _) => inputs,
            Expr::Binary(inputs, _) => inputs,
            Expr::Dot(dot) => &mut dot.inputs,
        }
    }

    /// Returns whether a node computes whole rows even when only some of their columns are asked for.
    pub(super) fn needs_whole_rows(&self) -> bool {
        match self {
            Expr::Source(_) | Expr::MapBlocks(..) => true,
            Expr::Kernel(_, kernel) => kernel.needs_whole_rows(),
            Expr::SelectColumns(_, selection) => selection.run().is_none(),
            _ => false,
        }
    }

    /// Takes the inputs that are expressions of their own out of the node.
    fn take_inputs(&mut self, taken: &mut Vec<Arc<Expr>>) {
        let leaves = |input: &&mut Array| !input.expr.inputs().is_empty();
        taken.extend(
            self.inputs_mut()
                .iter_mut()
                .filter(leaves)
                .map(|input| std::mem::replace(&mut input.expr, Arc::new(Expr::Zeros))),
        );
    }
}

/// Drops an expression node by node: one that a loop made, of a million nodes, would overflow the stack otherwise.
impl Drop for Expr {
    fn drop(&mut self) {
        let mut next = Vec::new();
        self.take_inputs(&mut next);
        while let Some(mut node) = next.pop() {
            // A node that others hold too stays, and all that it stands on.
            if let Some(node) = Arc::get_mut(&mut node) {
                node.take_inputs(&mut next);
            }
        }
    }
}

type BlockFn = dyn Fn(Block, BlockInfo) -> Result<Block> + Send + Sync;

/// A caller's function on blocks, and what it promises about its results.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::{Array, Block, BlockKind, BlockMap, DType, DenseBlock}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let sums = BlockMap::new("row sums", 1, DType::F64, BlockKind::Dense, |block, _info| {
///     let (rows, cols) = block.shape();
///     let values: Vec<f64> = block.to_vec::<f64>().chunks(cols).map(|row| row.iter().sum()).collect();
///     Ok(DenseBlock::new(rows, 1, values)?.into())
/// });
/// let array = Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]])?.map_blocks(sums)?;
/// assert_eq!(array.compute(&cluster)?.to_vec::<f64>(), [3.0, 7.0]);
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone)]
pub struct BlockMap {
    pub(super) name: Arc<str>,
    pub(super) cols: u64,
    pub(super) dtype: DType,
    pub(super) kind: BlockKind,
    pub(super) bytes_per_row: Option<u64>,
    /// Whether the function is known by its name, so that a plan with it can travel.
    pub(super) is_registered: bool,
    pub(super) apply: Arc<BlockFn>,
}

impl BlockMap {
    /// Names a function and states what its results are: as many rows as the block it is given, so many columns, a dtype
    /// and a kind.
    pub fn new(
        name: impl Into<Arc<str>>,
        cols: u64,
        dtype: DType,
        kind: BlockKind,
        apply: impl Fn(Block, BlockInfo) -> Result<Block> + Send + Sync + 'static,
    ) -> Self {
        BlockMap {
            name: name.into(),
            cols,
            dtype,
            kind,
            bytes_per_row: None,
            is_registered: false,
            apply: Arc::new(apply),
        }
    }

    /// Takes a function that is [registered](super::register_kernel) under a name, and states what its results are. A plan with
    /// it can travel.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when no function is registered under that name.
    pub fn kernel(name: &str, cols: u64, dtype: DType, kind: BlockKind) -> Result<Self> {
        let map = BlockMap::new(name, cols, dtype, kind, super::registry::kernel(name)?);
        Ok(BlockMap { is_registered: true, ..map })
    }

    /// States the bytes that the function holds for each row besides the block that it is given: its result and what it
    /// needs on the way. Without it, a result with every value there is assumed.
    pub fn with_bytes_per_row(mut self, bytes: u64) -> Self {
        self.bytes_per_row = Some(bytes);
        self
    }
}

impl fmt::Debug for BlockMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockMap").field(&self.name).finish()
    }
}

impl Array {
    /// Returns the name of the expression's last node.
    pub(super) fn operation(&self) -> &'static str {
        match &*self.expr {
            Expr::Source(_) => "read",
            Expr::Random(_) => "random",
            Expr::Zeros => "zeros",
            Expr::Memory(_) => "memory",
            Expr::Chunks(..) => "chunks",
            Expr::Kernel(_, kernel) => kernel.name(),
            Expr::SelectRows(..) => "select_rows",
            Expr::SelectColumns(..) => "select_columns",
            Expr::AsType(_) => "astype",
            Expr::ToKind(_) if self.kind == BlockKind::Dense => "to_dense",
            Expr::ToKind(_) => "to_csr",
            Expr::Transpose(_) => "transpose",
            Expr::Binary(_, op) => op.name(),
            Expr::VStack(..) => "vstack",
            Expr::HStack(..) => "hstack",
            Expr::MatMul(..) => "matmul",
            Expr::Dot(..) => "dot",
            Expr::MapBlocks(..) => "map_blocks",
        }
    }

    /// Returns the arrays that the last node works on.
    pub(super) fn inputs(&self) -> &[Array] {
        self.expr.inputs()
    }

    /// Returns whether runs of columns are the natural way through the array, and not runs of rows: as in a transposed one.
    pub(super) fn lies_by_columns(&self) -> bool {
        let (mut array, mut turned) = (self, false);
        loop {
            match (&*array.expr, array.inputs().first()) {
                (Expr::Chunks(_, grid), _) => return turned != (grid.cols.n_runs() > grid.rows.n_runs()),
                // Products and functions need their rows whole.
                (Expr::MatMul(..) | Expr::Dot(_) | Expr::MapBlocks(..), _) | (_, None) => return turned,
                (Expr::Transpose(input), _) => (array, turned) = (input, !turned),
                (_, Some(input)) => array = input,
            }
        }
    }
}

pub(super) fn to_usize(n: u64) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::bad_argument("array", "length", n, "within this machine's address space"))
}
