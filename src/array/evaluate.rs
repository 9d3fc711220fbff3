//! Computing one window of an expression: what a task does with its block.

use std::ops::Range;

use super::expr::{BlockInfo, Expr, to_usize};
use super::grid::Grid;
use super::window::Window;
use super::{Array, Block, BlockKind, CsrBlock, Cuts, DenseBlock, StoredBlock, Values, csr};
use crate::error::{Error, Result};
use crate::runtime::TaskContext;
use crate::store::ChunkBytes;

/// One block being computed: which one, for whom, and the chunks that were read for it.
pub(super) struct Evaluation<'a> {
    index: usize,
    context: &'a TaskContext,
    read: Vec<ChunkBytes>,
    /// Bytes of blocks that were read, as the plan counts them.
    bytes_read: u64,
}

/// Computes a window of an array and hands it to `finish`; whatever that gives is given away only after every chunk that
/// was read for it proved whole.
pub(super) fn with_block<T>(
    array: &Array,
    index: usize,
    window: &Window,
    context: &TaskContext,
    finish: impl FnOnce(Block, BlockInfo) -> Result<T>,
) -> Result<T> {
    context.check()?;
    let mut evaluation = Evaluation { index, context, read: Vec::new(), bytes_read: 0 };
    let block = evaluation.window(array, window)?;
    let result = finish(block, evaluation.info(window)?)?;
    evaluation.read.iter().try_for_each(ChunkBytes::check)?;
    context.note_read(evaluation.bytes_read);
    Ok(result)
}

impl Evaluation<'_> {
    fn info(&self, window: &Window) -> Result<BlockInfo> {
        let (row_offset, col_offset) = (window.rows.start, window.cols.start);
        Ok(BlockInfo { index: self.index, row_offset, col_offset, shape: window.shape()? })
    }

    /// Computes a window of an array.
    pub(super) fn window(&mut self, array: &Array, window: &Window) -> Result<Block> {
        let whole = window.widened(array);
        if *window != whole && array.expr.needs_whole_rows() {
            return Ok(self.window(array, &whole)?.into_columns(window.col_places()?));
        }
        let block = self.node(array, window)?;
        self.context.check()?;
        check_promise(array, window, &block)?;
        if matches!(&*array.expr, Expr::Source(_) | Expr::Memory(_) | Expr::Chunks(..)) {
            self.bytes_read += block.nbytes();
        }
        Ok(block)
    }

    /// Computes a window of the last node, which can give it as it is.
    fn node(&mut self, array: &Array, window: &Window) -> Result<Block> {
        let ((n_rows, n_cols), rows) = (window.shape()?, window.rows.clone());
        Ok(match &*array.expr {
            Expr::Source(source) => source.read_rows(rows, self.context)?,
            Expr::Random(random) => random.window(array.cols(), window, (n_rows, n_cols)).into(),
            Expr::Zeros => zeros(n_rows, n_cols, array.dtype, array.kind),
            Expr::Memory(all) => {
                let rows = to_usize(rows.start)?..to_usize(rows.end)?;
                all.slice_rows(rows).into_columns(window.col_places()?)
            }
            Expr::Chunks(chunks, grid) => self.chunk_window(array, chunks, grid, window)?,
            Expr::Kernel(input, kernel) => {
                let mut block = self.window(input, window)?;
                kernel.apply(&mut block, (rows.start, window.cols.start))?;
                block
            }
            Expr::SelectRows(input, selection) => selection.gather(array, window, |part| self.window(input, part))?,
            Expr::SelectColumns(input, selection) => match selection.run() {
                Some(first) => {
                    let cols = first + window.cols.start..first + window.cols.end;
                    self.window(input, &Window { rows, cols })?
                }
                None => selection.apply(&self.window(input, &window.widened(input))?),
            },
            Expr::AsType(input) => self.window(input, window)?.cast(array.dtype),
            Expr::ToKind(input) => match array.kind {
                BlockKind::Dense => self.window(input, window)?.into_dense().into(),
                BlockKind::Csr => self.window(input, window)?.into_csr()?.into(),
            },
            Expr::Transpose(input) => {
                if array.kind == BlockKind::Csr {
                    csr::check_cols(window.n_cols())?;
                }
                self.window(input, &window.transposed())?.to_transposed()
            }
            Expr::Binary([left, right], op) => {
                let left_block = self.window(left, &left.side_of(window))?;
                let right_block = self.window(right, &right.side_of(window))?;
                op.apply(left_block, right_block, array.kind, (n_rows, n_cols))?
            }
            Expr::VStack(inputs, cuts) => self.stacked(array, (inputs, cuts), window)?,
            Expr::HStack(inputs, cuts) => self.beside(array, (inputs, cuts), window)?,
            Expr::MatMul(input, product) => {
                let block = self.window(input, &window.widened(input))?;
                product.apply(&block, window.col_places()?).into()
            }
            Expr::Dot(dot) => dot.apply(window, |input, part| self.window(input, part))?.into(),
            Expr::MapBlocks(input, map) => {
                let part = window.widened(input);
                let block = self.window(input, &part)?;
                (map.apply)(block, self.info(&part)?)?
            }
        })
    }

    /// Maps the chunk that the window is; or copies together the parts of several.
    fn chunk_window(&mut self, array: &Array, chunks: &[StoredBlock], grid: &Grid, window: &Window) -> Result<Block> {
        let (n_rows, n_cols) = window.shape()?;
        if window.len() == 0 {
            return Ok(zeros(n_rows, n_cols, array.dtype, array.kind));
        }
        let across = grid.cols.overlapping(window.cols.clone());
        let mut bands = Vec::new();
        for i in grid.rows.overlapping(window.rows.clone()) {
            let rows = shared(&window.rows, &grid.rows.run(i))?;
            let mut parts = Vec::with_capacity(across.len());
            for j in across.clone() {
                let block = chunks[i * grid.cols.n_runs() + j].block()?;
                self.read.extend(block.mapping().cloned());
                if (grid.rows.run(i), grid.cols.run(j)) == (window.rows.clone(), window.cols.clone()) {
                    return Ok(block);
                }
                parts.push((block, shared(&window.cols, &grid.cols.run(j))?));
            }
            bands.push((rows, parts));
        }
        let nnz = |(rows, parts): &Band| parts.iter().map(|(b, cols)| b.nnz_of(rows.clone(), cols.clone())).sum();
        let mut joined = empty_for(array, window)?;
        joined.try_reserve(n_rows, bands.iter().map(|band| -> usize { nnz(band) }).sum())?;
        bands.into_iter().try_for_each(|band| append_band(&mut joined, band))?;
        Ok(joined)
    }

    /// Computes the parts of arrays that stand one below the other.
    fn stacked(&mut self, array: &Array, (inputs, cuts): (&[Array], &Cuts), window: &Window) -> Result<Block> {
        let part = |i: usize| {
            let run = cuts.run(i);
            let rows = window.rows.start.max(run.start) - run.start..window.rows.end.min(run.end) - run.start;
            Window { rows, cols: window.cols.clone() }
        };
        let runs = cuts.overlapping(window.rows.clone());
        if runs.len() == 1 {
            return self.window(&inputs[runs.start], &part(runs.start));
        }
        let mut joined = empty_for(array, window)?;
        if array.kind == BlockKind::Dense {
            let (rows, cols) = window.shape()?;
            joined.try_reserve(rows, rows * cols)?;
        }
        for i in runs {
            let block = self.window(&inputs[i], &part(i))?;
            joined.append_rows(&block, 0..block.rows())?;
        }
        Ok(joined)
    }

    /// Computes the parts of arrays that stand beside each other.
    fn beside(&mut self, array: &Array, (inputs, cuts): (&[Array], &Cuts), window: &Window) -> Result<Block> {
        let mut parts = Vec::new();
        for i in cuts.overlapping(window.cols.clone()) {
            let run = cuts.run(i);
            let cols = window.cols.start.max(run.start) - run.start..window.cols.end.min(run.end) - run.start;
            parts.push(self.window(&inputs[i], &Window { rows: window.rows.clone(), cols })?);
        }
        let (rows, cols) = window.shape()?;
        match parts.len() {
            0 => Ok(zeros(rows, cols, array.dtype, array.kind)),
            1 => Ok(parts.swap_remove(0)),
            _ => Block::beside(&parts, rows),
        }
    }
}

/// Rows of blocks that lie beside each other, and of each block the columns that are kept.
type Band = (Range<usize>, Vec<(Block, Range<usize>)>);

fn append_band(joined: &mut Block, (rows, parts): Band) -> Result<()> {
    if let [(block, cols)] = &parts[..]
        && *cols == (0..block.cols())
    {
        return joined.append_rows(block, rows);
    }
    let cut = |(block, cols): (Block, Range<usize>)| block.slice_rows(rows.clone()).into_columns(cols);
    let kept: Vec<Block> = parts.into_iter().map(cut).collect();
    match &kept[..] {
        [one] => joined.append_rows(one, 0..rows.len()),
        _ => joined.append_rows(&Block::beside(&kept, rows.len())?, 0..rows.len()),
    }
}

/// Returns what a range and a run share, counted from the run's beginning.
fn shared(range: &Range<u64>, run: &Range<u64>) -> Result<Range<usize>> {
    Ok(to_usize(range.start.max(run.start) - run.start)?..to_usize(range.end.min(run.end) - run.start)?)
}

/// Returns no rows of a window's columns.
fn empty_for(array: &Array, window: &Window) -> Result<Block> {
    Ok(Block::empty(window.shape()?.1, array.dtype, array.kind))
}

pub(super) fn zeros(rows: usize, cols: usize, dtype: super::DType, kind: BlockKind) -> Block {
    match kind {
        BlockKind::Dense => DenseBlock { rows, cols, values: Values::zeros(dtype, rows * cols) }.into(),
        BlockKind::Csr => {
            let (indptr, indices) = (vec![0; rows + 1].into(), vec![].into());
            CsrBlock { rows, cols, indptr, indices, values: Values::zeros(dtype, 0) }.into()
        }
    }
}

/// Refuses a block that is not what its expression says: a source or a caller's function broke its promise.
fn check_promise(array: &Array, window: &Window, block: &Block) -> Result<()> {
    let (found, promised) = (block.shape(), (window.n_rows(), window.n_cols()));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::array::{BlockMap, DType, Source};
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
