//! Expressions: what an array's values are, as a closed set of nodes, and how one run of rows is computed from them.
//!
//! Every node keeps rows apart: row `r` of a result needs row `r` (or `r` plus an offset) of its input and nothing else.
//! That is what lets a whole chain run in one task per block, on any chunk grid.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::grid::Cuts;
use super::matmul::Product;
use super::random::Random;
use super::select::Selection;
use super::{Array, Block, BlockKind, CsrBlock, DType, DenseBlock, Kernel, Source, StoredBlock, Values};
use crate::error::{Error, Result};
use crate::runtime::TaskContext;
use crate::store::ChunkBytes;

/// Which block a task works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockInfo {
    /// The block's number, counted from 0 in row order.
    pub index: usize,
    /// The row of the array that is the block's first.
    pub row_offset: u64,
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
    /// Rows of a matrix that the caller holds.
    Memory(Arc<Block>),
    /// Rows of chunks that lie in the workers' stores.
    Chunks(Vec<StoredBlock>, Cuts),
    /// A kernel, in place.
    Kernel(Array, Kernel),
    /// The rows from this one on.
    SelectRows(Array, u64),
    /// Some columns.
    SelectColumns(Array, Selection),
    /// Another dtype.
    AsType(Array),
    /// Another kind.
    ToKind(Array),
    /// A product with a small dense matrix.
    MatMul(Array, Product),
    /// The caller's function.
    MapBlocks(Array, BlockMap),
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
    apply: Arc<BlockFn>,
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
        BlockMap { name: name.into(), cols, dtype, kind, bytes_per_row: None, apply: Arc::new(apply) }
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

/// One block being computed: which one, for whom, and the chunks that were read for it.
pub(super) struct Evaluation<'a> {
    index: usize,
    context: &'a TaskContext,
    read: Vec<ChunkBytes>,
}

/// Computes some rows of an array and hands them to `finish`; whatever that gives is given away only after every chunk
/// that was read for it proved whole.
pub(super) fn with_block<T>(
    array: &Array,
    index: usize,
    rows: Range<u64>,
    context: &TaskContext,
    finish: impl FnOnce(Block, BlockInfo) -> Result<T>,
) -> Result<T> {
    context.check()?;
    let mut evaluation = Evaluation { index, context, read: Vec::new() };
    let row_offset = rows.start;
    let block = evaluation.rows(array, rows)?;
    let info = BlockInfo { index, row_offset, shape: block.shape() };
    let result = finish(block, info)?;
    evaluation.read.iter().try_for_each(ChunkBytes::check)?;
    Ok(result)
}

impl Evaluation<'_> {
    /// Computes some rows of an array.
    fn rows(&mut self, array: &Array, rows: Range<u64>) -> Result<Block> {
        let (start, n_rows, cols) = (rows.start, to_usize(rows.end - rows.start)?, to_usize(array.cols())?);
        let block = match &*array.expr {
            Expr::Source(source) => source.read_rows(rows, self.context)?,
            Expr::Random(random) => random.rows(start, n_rows, cols).into(),
            Expr::Zeros => zeros(n_rows, cols, array.dtype, array.kind),
            Expr::Memory(whole) => whole.slice_rows(to_usize(start)?..to_usize(rows.end)?),
            Expr::Chunks(chunks, cuts) => self.chunk_rows(array, chunks, cuts, rows)?,
            Expr::Kernel(input, kernel) => {
                let mut block = self.rows(input, rows)?;
                kernel.apply(&mut block, start)?;
                block
            }
            Expr::SelectRows(input, first) => self.rows(input, first + start..first + rows.end)?,
            Expr::SelectColumns(input, selection) => selection.apply(&self.rows(input, rows)?),
            Expr::AsType(input) => self.rows(input, rows)?.cast(array.dtype),
            Expr::ToKind(input) => match array.kind {
                BlockKind::Dense => self.rows(input, rows)?.into_dense().into(),
                BlockKind::Csr => self.rows(input, rows)?.into_csr()?.into(),
            },
            Expr::MatMul(input, product) => product.apply(&self.rows(input, rows)?).into(),
            Expr::MapBlocks(input, map) => {
                let block = self.rows(input, rows)?;
                let info = BlockInfo { index: self.index, row_offset: start, shape: block.shape() };
                (map.apply)(block, info)?
            }
        };
        self.context.check()?;
        check_promise(array, n_rows, &block)?;
        Ok(block)
    }

    /// Maps the chunk that the rows are; or copies them together when they are parts of several.
    fn chunk_rows(&mut self, array: &Array, chunks: &[StoredBlock], cuts: &Cuts, rows: Range<u64>) -> Result<Block> {
        let mut joined = Block::empty(to_usize(array.cols())?, array.dtype, array.kind);
        for i in cuts.overlapping(rows.clone()) {
            let (run, block) = (cuts.run(i), chunks[i].block()?);
            self.read.extend(block.mapping().cloned());
            if run == rows {
                return Ok(block);
            }
            let part = rows.start.max(run.start) - run.start..rows.end.min(run.end) - run.start;
            joined.append_rows(&block, to_usize(part.start)?..to_usize(part.end)?)?;
        }
        Ok(joined)
    }
}

fn zeros(rows: usize, cols: usize, dtype: DType, kind: BlockKind) -> Block {
    match kind {
        BlockKind::Dense => DenseBlock { rows, cols, values: Values::zeros(dtype, rows * cols) }.into(),
        BlockKind::Csr => {
            let (indptr, indices) = (vec![0; rows + 1].into(), vec![].into());
            CsrBlock { rows, cols, indptr, indices, values: Values::zeros(dtype, 0) }.into()
        }
    }
}

/// Refuses a block that is not what its expression says: a source or a caller's function broke its promise.
fn check_promise(array: &Array, rows: usize, block: &Block) -> Result<()> {
    let (found, promised) = (block.shape(), (rows as u64, array.cols()));
    if (found.0 as u64, found.1 as u64) != promised {
        return Err(Error::ShapeMismatch {
            operation: array.operation(),
            left: promised,
            right: (found.0 as u64, found.1 as u64),
            expected: "give blocks of the shape that was stated".into(),
        });
    }
    if (block.dtype(), block.kind()) != (array.dtype, array.kind) {
        let found = format!("{} {}", block.kind(), block.dtype());
        return Err(Error::bad_argument(array.operation(), "block", found, format!("{} {}", array.kind, array.dtype)));
    }
    Ok(())
}

pub(super) fn to_usize(n: u64) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::bad_argument("array", "length", n, "within this machine's address space"))
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
            Expr::MatMul(..) => "matmul",
            Expr::MapBlocks(..) => "map_blocks",
        }
    }

    /// Returns the array that the last node works on; `None` for one that stands at the beginning.
    pub(super) fn input(&self) -> Option<&Array> {
        match &*self.expr {
            Expr::Source(_) | Expr::Random(_) | Expr::Zeros | Expr::Memory(_) | Expr::Chunks(..) => None,
            Expr::Kernel(input, _)
            | Expr::SelectRows(input, _)
            | Expr::SelectColumns(input, _)
            | Expr::AsType(input)
            | Expr::ToKind(input)
            | Expr::MatMul(input, _)
            | Expr::MapBlocks(input, _) => Some(input),
        }
    }
}
