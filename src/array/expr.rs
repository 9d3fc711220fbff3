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

impl Expr {
    /// Takes the input out of the node.
    fn take_input(&mut self) -> Option<Arc<Expr>> {
        match self {
            Expr::Source(_) | Expr::Random(_) | Expr::Zeros | Expr::Memory(_) | Expr::Chunks(..) => None,
            Expr::Kernel(input, _)
            | Expr::SelectRows(input, _)
            | Expr::SelectColumns(input, _)
            | Expr::AsType(input)
            | Expr::ToKind(input)
            | Expr::MatMul(input, _)
            | Expr::MapBlocks(input, _) => Some(std::mem::replace(&mut input.expr, Arc::new(Expr::Zeros))),
        }
    }
}

/// Drops a chain node by node: one that a loop made, of a million nodes, would overflow the stack otherwise.
impl Drop for Expr {
    fn drop(&mut self) {
        let mut next = self.take_input();
        while let Some(mut node) = next {
            // A node that others hold too stays, and all that it stands on.
            next = Arc::get_mut(&mut node).and_then(Expr::take_input);
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
        let mut parts = Vec::new();
        for i in cuts.overlapping(rows.clone()) {
            let (run, block) = (cuts.run(i), chunks[i].block()?);
            self.read.extend(block.mapping().cloned());
            if run == rows {
                return Ok(block);
            }
            parts.push((block, rows.start.max(run.start) - run.start..rows.end.min(run.end) - run.start));
        }
        let mut joined = Block::empty(to_usize(array.cols())?, array.dtype, array.kind);
        let nnz = parts.iter().map(|(block, part)| block.nnz_of_rows(part.clone())).sum();
        joined.try_reserve(to_usize(rows.end - rows.start)?, to_usize(nnz)?)?;
        for (block, part) in parts {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ByteSize, Cluster};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Three rows of two columns, and a count of how often they are read; what it promises is up to the test.
    #[derive(Debug, Default)]
    struct Counted {
        reads: AtomicUsize,
        promised_cols: u64,
        truly_csr: bool,
    }

    impl Source for Counted {
        fn shape(&self) -> (u64, u64) {
            (3, self.promised_cols)
        }
        fn dtype(&self) -> DType {
            DType::F64
        }
        fn kind(&self) -> BlockKind {
            BlockKind::Dense
        }
        fn nnz(&self) -> u64 {
            6
        }
        fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
            Ok(2 * (rows.end - rows.start))
        }
        fn storage_rows(&self) -> u64 {
            1
        }
        fn scratch_bytes(&self, _: Range<u64>) -> Result<u64> {
            Ok(100)
        }
        fn read_rows(&self, rows: Range<u64>, _: &TaskContext) -> Result<Block> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let rows = to_usize(rows.end - rows.start)?;
            let block = DenseBlock::new(rows, 2, vec![1.0; 2 * rows])?;
            if self.truly_csr { Ok(block.to_csr()?.into()) } else { Ok(block.into()) }
        }
        fn name(&self) -> String {
            "counted".into()
        }
    }

    fn cluster() -> Cluster {
        Cluster::builder().allowance(ByteSize(1 << 20)).workers(2).build().expect("sound settings")
    }

    #[test]
    fn a_chain_reads_each_block_once_for_all_that_is_asked() {
        use crate::array::{Over, Statistic};
        let source = Arc::new(Counted { promised_cols: 2, ..Counted::default() });
        let chain = Array::from_source(source.clone()).with_block_rows(1).log1p().scale(2.0);
        let plan = chain.plan(&cluster()).expect("small");
        assert_eq!((plan.tasks, plan.bytes_read, plan.projected_bytes), (3, 48, 116), "a row, and the decoder");
        assert_eq!(source.reads.load(Ordering::Relaxed), 0, "planning reads nothing");
        let asked = [(Statistic::Sum, Over::Whole), (Statistic::Var { ddof: 1 }, Over::EachColumn)];
        chain.reduce_many(&cluster(), &asked, None).expect("small");
        assert_eq!(source.reads.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_source_that_breaks_its_promise_is_refused() {
        let wide = Array::from_source(Arc::new(Counted { promised_cols: 5, ..Counted::default() }));
        let error = wide.compute(&cluster()).expect_err("two columns, not five");
        assert!(matches!(error, Error::ShapeMismatch { left: (3, 5), right: (3, 2), .. }), "{error}");
        let other = Counted { promised_cols: 2, truly_csr: true, ..Counted::default() };
        let error = Array::from_source(Arc::new(other)).compute(&cluster()).expect_err("CSR, not dense");
        assert!(error.to_string().contains("csr float64") && error.to_string().contains("dense float64"), "{error}");
    }

    #[test]
    fn a_function_that_breaks_its_promise_is_refused() {
        let array = Array::from_rows(&[[1.0, 2.0]]).expect("one row");
        let map = BlockMap::new("wider", 3, DType::F64, BlockKind::Dense, |block, _| Ok(block));
        let error = array.map_blocks(map).and_then(|array| array.compute(&cluster())).expect_err("two columns");
        assert!(matches!(error, Error::ShapeMismatch { operation: "map_blocks", .. }), "{error}");
        let map = BlockMap::new("single", 2, DType::F32, BlockKind::Dense, |block, _| Ok(block));
        let error = array.map_blocks(map).and_then(|array| array.compute(&cluster())).expect_err("float64");
        assert!(matches!(error, Error::BadArgument { operation: "map_blocks", .. }), "{error}");
    }

    #[test]
    fn kernels_never_touch_the_chunks_that_they_read() {
        let stored = Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]]).expect("two rows").persist(&cluster()).expect("small");
        for _ in 0..2 {
            let squares = stored.square().compute(&cluster()).expect("small");
            assert_eq!(squares.to_vec::<f64>(), [1.0, 4.0, 9.0, 16.0]);
        }
        assert_eq!(stored.plan(&cluster()).expect("small").projected_bytes, 0, "mapped bytes are no anonymous ones");
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_nodes_is_refused_and_dropped_in_peace() {
        let mut array = Array::from_rows(&[[1.0]]).expect("one value");
        for _ in 0..100_000 {
            array = array.negate();
        }
        let error = array.compute(&cluster()).expect_err("too long");
        assert!(error.to_string().contains("persist"), "{error}");
    }
}
