//! Running an array: bring it home, leave it on the workers, or hand each block to a function. (`block_iter.rs` streams it.)
//!
//! Everything here is one task per block, on [`Cluster::map_blocks`] or [`Cluster::reduce_blocks`], started in row order, with the bytes of its [plan](super::Plan). Reductions join in block order: the same bits on any number of workers.

use std::sync::Arc;

use super::evaluate::with_block;
use super::expr::{Expr, to_usize};
use super::grid::Grid;
use super::window::Window;
use super::{Array, Block, BlockInfo, Cuts, Plan, Working};
use crate::error::Result;
use crate::runtime::{Blocks, Cluster, Future, Progress, TaskContext};

/// How [`Array::reduce_runs`] deals the blocks.
pub(crate) struct Runs {
    /// The tasks' name.
    pub(crate) name: &'static str,
    /// How many runs, at most; a run is one task.
    pub(crate) n: usize,
    /// What a task holds besides the block in hand.
    pub(crate) working: Working,
    /// Called as runs finish.
    pub(crate) progress: Option<Progress>,
}

/// How [`Array::start_row_runs`] deals the rows.
pub(crate) struct RowRuns {
    /// The tasks' name.
    pub(crate) name: &'static str,
    /// Rows of a run, the last one's excepted; a run is one task.
    pub(crate) rows: u64,
    /// What a task holds besides the block in hand.
    pub(crate) working: Working,
    /// Called as runs finish.
    pub(crate) progress: Option<Progress>,
}

impl Array {
    /// Computes the whole array and brings it home as one block.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`](crate::Error::TooBig) before any work when a block does not fit a worker, [`Error::OutOfMemory`](crate::Error::OutOfMemory) when the result does not
    /// fit this process; those of the blocks: the first in row order.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let block = random::uniform(1000, 3, 7, 100).scale(2.0).compute(&cluster)?;
    /// assert_eq!(block.shape(), (1000, 3));
    /// assert!(block.to_vec::<f64>().iter().all(|x| (0.0..2.0).contains(x)));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn compute(&self, cluster: &Cluster) -> Result<Block> {
        let (grid, blocks) =
            self.map_blocks_on_grid(cluster, "compute", Working::default(), |block, _, _| Ok(block), None)?;
        self.joined(&grid, blocks)
    }

    /// Puts the blocks of a grid together, giving each band of them back as soon as it is copied.
    fn joined(&self, grid: &Grid, mut blocks: Vec<Block>) -> Result<Block> {
        // One block that is no chunk's is the result as it is.
        match blocks.pop() {
            Some(block) if blocks.is_empty() && block.mapping().is_none() => return Ok(block),
            last => blocks.extend(last),
        }
        let mut whole = Block::empty(to_usize(self.cols())?, self.dtype(), self.kind());
        whole.try_reserve(to_usize(self.rows())?, blocks.iter().map(|b| b.values().len()).sum())?;
        let mut blocks = blocks.into_iter();
        while let Some(first) = blocks.next() {
            let others = grid.cols.n_runs().saturating_sub(1);
            if others == 0 {
                whole.append_rows(&first, 0..first.rows())?;
                first.check()?;
                continue;
            }
            let band: Vec<Block> = std::iter::once(first).chain(blocks.by_ref().take(others)).collect();
            let rows = band[0].rows();
            whole.append_rows(&Block::beside(&band, rows)?, 0..rows)?;
            band.iter().try_for_each(Block::check)?;
        }
        Ok(whole)
    }

    /// Computes the array and leaves its blocks as chunks in the workers' stores; what is returned reads them.
    ///
    /// The chunks live as long as an array reads them.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`](crate::Error::TooBig) before any work; [`Error::SpoolFull`](crate::Error::SpoolFull) and the other failures of writing; those of the blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Over, random}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let x = random::uniform(1000, 3, 7, 100).log1p();
    /// let stored = x.persist(&cluster)?;                 // computed once, left on the disk of the workers
    /// assert_eq!(stored.sum(&cluster, Over::EachColumn)?, x.sum(&cluster, Over::EachColumn)?);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn persist(&self, cluster: &Cluster) -> Result<Array> {
        self.persist_with(cluster, None)
    }

    /// Like [`persist`](Self::persist), with someone who is told of each block.
    ///
    /// # Errors
    ///
    /// Those of [`persist`](Self::persist).
    pub fn persist_with(&self, cluster: &Cluster, progress: Option<Progress>) -> Result<Array> {
        let store = |block: Block, _: BlockInfo, context: &TaskContext| block.store(&context.store()?);
        let (grid, chunks) = self.map_blocks_on_grid(cluster, "persist", Working::default(), store, progress)?;
        let (row_cuts, col_cuts) = (Some(grid.rows.clone()), Some(grid.cols.clone()));
        let expr = Expr::Chunks(chunks, grid);
        Ok(Array { row_cuts, col_cuts, ..Array::new(self.shape(), self.dtype(), self.kind(), expr) })
    }

    /// Like [`persist`](Self::persist), and cuts what was stored into blocks of whole rows of about 4 MiB.
    ///
    /// Chunks of a selection are as small as what they were read with was wide; a factorisation, which joins a square of
    /// columns for each block, is the quicker the fewer there are.
    ///
    /// # Errors
    ///
    /// Those of [`persist`](Self::persist).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let few = random::uniform(20_000, 100, 7, 100).select_columns(0..10)?.persist_regrouped(&cluster, None)?;
    /// assert_eq!((few.shape(), few.plan(&cluster)?.tasks), ((20_000, 10), 1));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn persist_regrouped(&self, cluster: &Cluster, progress: Option<Progress>) -> Result<Array> {
        const BLOCK_BYTES: u128 = 4 << 20;
        let stored = self.persist_with(cluster, progress)?;
        let bytes = stored.plan(cluster)?.bytes_read.max(1);
        let rows = u128::from(stored.rows()) * BLOCK_BYTES / u128::from(bytes);
        let rows = u64::try_from(rows).unwrap_or(u64::MAX).clamp(1, stored.rows().max(1));
        Ok(stored.whole_rows().with_block_rows(rows))
    }

    /// Computes every block, hands it to `map` on its worker, and returns the answers in row order.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`](crate::Error::TooBig) before any work; the first error in row order.
    pub fn map_block_results<T: Send + 'static>(
        &self,
        cluster: &Cluster,
        name: impl Into<Arc<str>>,
        working: impl Into<Working>,
        map: impl Fn(Block, BlockInfo, &TaskContext) -> Result<T> + Send + Sync + 'static,
        progress: Option<Progress>,
    ) -> Result<Vec<T>> {
        Ok(self.map_blocks_on_grid(cluster, name, working.into(), map, progress)?.1)
    }

    /// Does the same, and returns the grid that the plan chose.
    fn map_blocks_on_grid<T: Send + 'static>(
        &self,
        cluster: &Cluster,
        name: impl Into<Arc<str>>,
        working: Working,
        map: impl Fn(Block, BlockInfo, &TaskContext) -> Result<T> + Send + Sync + 'static,
        progress: Option<Progress>,
    ) -> Result<(Grid, Vec<T>)> {
        let name = name.into();
        let plan = self.plan_for(cluster, &name, working)?;
        let (grid, (blocks, run)) = (plan.grid.clone(), self.run(plan, name, working, progress, map));
        Ok((grid, cluster.map_blocks(&blocks, run)?))
    }

    /// Computes every block, hands it to `map` on its worker, and joins the partials by `combine` in a fixed tree over
    /// the block order. `None` for no blocks.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`](crate::Error::TooBig) before any work; the first error in row order.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = random::uniform(1000, 3, 7, 100);
    /// let largest = array.reduce_blocks(
    ///     &cluster,
    ///     "largest",
    ///     8,
    ///     |block, _info, _context| Ok(block.to_vec::<f64>().into_iter().fold(f64::MIN, f64::max)),
    ///     |a, b| Ok(a.max(b)),
    ///     None,
    /// )?;
    /// assert!(largest.is_some_and(|x| x > 0.99 && x < 1.0));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn reduce_blocks<P: Send + 'static>(
        &self,
        cluster: &Cluster,
        name: impl Into<Arc<str>>,
        partial_bytes: impl Into<Working>,
        map: impl Fn(&Block, BlockInfo, &TaskContext) -> Result<P> + Send + Sync + 'static,
        combine: impl Fn(P, P) -> Result<P> + Send + Sync + 'static,
        progress: Option<Progress>,
    ) -> Result<Option<P>> {
        let map = move |block: Block, info: BlockInfo, context: &TaskContext| map(&block, info, context);
        let (name, working) = (name.into(), partial_bytes.into());
        let (blocks, run) = self.run(self.plan_for(cluster, &name, working)?, name, working, progress, map);
        cluster.reduce_blocks(&blocks, run, combine)
    }

    /// Like [`reduce_blocks`](Self::reduce_blocks) for partials so large that few may wait: a task adds the blocks of a run to
    /// one partial, one after another, and the runs' partials are joined in the fixed tree.
    pub(crate) fn reduce_runs<P: Send + 'static>(
        &self,
        cluster: &Cluster,
        runs: Runs,
        empty: impl Fn() -> P + Send + Sync + 'static,
        add: impl Fn(&mut P, &Block, BlockInfo) -> Result<()> + Send + Sync + 'static,
        combine: impl Fn(P, P) -> Result<P> + Send + Sync + 'static,
    ) -> Result<Option<P>> {
        let Runs { name, n, working, progress } = runs;
        let plan = self.plan_for(cluster, name, working)?;
        let (blocks, run) = self.run(plan, name.into(), working, progress, |block, info, _| Ok((block, info)));
        let (n_blocks, n_runs) = (blocks.n, n.min(blocks.n));
        let one_run = move |index: usize, context: &TaskContext| {
            let mut partial = empty();
            for block in index * n_blocks / n_runs..(index + 1) * n_blocks / n_runs {
                context.check()?;
                let (block, info) = run(block, context)?;
                add(&mut partial, &block, info)?;
                block.check()?;
            }
            Ok(partial)
        };
        cluster.reduce_blocks(&Blocks { n: n_runs, ..blocks }, one_run, combine)
    }

    /// Starts a reduction over runs that begin at multiples of so many rows, wherever blocks begin: what a run adds up, and in
    /// which order, follows from neither the grid nor the allowance. A run's `end` gives its partial.
    pub(crate) fn start_row_runs<S, P: Send + 'static>(
        &self,
        cluster: &Cluster,
        runs: RowRuns,
        empty: impl Fn() -> S + Send + Sync + 'static,
        add: impl Fn(&mut S, &Block, BlockInfo) -> Result<()> + Send + Sync + 'static,
        end: impl Fn(S) -> Result<P> + Send + Sync + 'static,
        combine: impl Fn(P, P) -> Result<P> + Send + Sync + 'static,
    ) -> Result<Future<Option<P>>> {
        let RowRuns { name, rows, working, progress } = runs;
        let (plan, array) = (self.plan_for(cluster, name, working)?, self.clone());
        let (cuts, projected_bytes) = (Cuts::even(self.rows(), rows), plan.projected_bytes);
        let blocks =
            Blocks { name: name.into(), n: cuts.n_runs(), projected_bytes, kept_bytes: working.kept, progress };
        let one_run = move |index: usize, context: &TaskContext| {
            let (run, mut state) = (cuts.run(index), empty());
            for block in plan.grid.rows.overlapping(run.clone()) {
                let mut window = Window::of_block(&plan.grid, block);
                window.rows = window.rows.start.max(run.start)..window.rows.end.min(run.end);
                with_block(&array, block, &window, context, |block, info| add(&mut state, &block, info))?;
            }
            end(state)
        };
        cluster.start_reduce_blocks(&blocks, one_run, combine)
    }

    /// Makes the run that a plan describes, and the function that a task calls with its block's number.
    fn run<T>(
        &self,
        plan: Plan,
        name: Arc<str>,
        working: Working,
        progress: Option<Progress>,
        map: impl Fn(Block, BlockInfo, &TaskContext) -> Result<T> + Send + Sync + 'static,
    ) -> (Blocks, impl Fn(usize, &TaskContext) -> Result<T> + Send + Sync + 'static) {
        let (n, projected_bytes, kept_bytes) = (plan.tasks, plan.projected_bytes, working.kept);
        let (blocks, array) = (Blocks { name, n, projected_bytes, kept_bytes, progress }, self.clone());
        let run = move |index: usize, context: &TaskContext| {
            let window = Window::of_block(&plan.grid, index);
            with_block(&array, index, &window, context, |block, info| map(block, info, context))
        };
        (blocks, run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{BlockKind, BlockMap, DType, random};
    use crate::error::Error;
    use crate::runtime::testing::clusters;

    #[test]
    fn the_first_failing_block_fails_a_run() {
        for cluster in clusters() {
            let fail = |block: Block, info: BlockInfo| match info.index {
                index if index < 4 => Ok(block),
                index => Err(Error::bad_argument("test", "block", index, "below 4")),
            };
            let map = BlockMap::new("fail", 1, DType::F64, BlockKind::Dense, fail);
            let array = random::uniform(10, 1, 5, 1).map_blocks(map).expect("one column");
            let error = array.compute(&cluster).expect_err("block 4");
            assert!(error.to_string().contains("block is 4"), "{error}");
            assert!(array.persist(&cluster).is_err());
        }
    }

    #[test]
    fn persisted_arrays_are_read_back_on_any_grid_and_nothing_is_persisted_too() {
        for cluster in clusters() {
            let array = random::uniform(50, 4, 5, 7);
            let stored = array.persist(&cluster).expect("small");
            let whole = array.compute(&cluster).expect("small").to_vec::<f64>();
            for rows in [1, 5, 7, 50] {
                let again = stored.clone().with_block_rows(rows).compute(&cluster).expect("small");
                assert_eq!(again.to_vec::<f64>(), whole);
            }
            let none = random::uniform(0, 4, 5, None).persist(&cluster).and_then(|none| none.compute(&cluster));
            assert_eq!(none.expect("nothing").shape(), (0, 4));
        }
    }

    #[test]
    fn progress_hears_of_every_block() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        for cluster in clusters() {
            let heard = Arc::new(AtomicUsize::new(0));
            let told = heard.clone();
            let progress: Progress = Arc::new(move |_, total| {
                assert_eq!(total, 8);
                told.fetch_add(1, Ordering::Relaxed);
            });
            let stored = random::uniform(8, 1, 5, 1).persist_with(&cluster, Some(progress)).expect("small");
            assert_eq!(stored.row_cuts().map(super::super::Cuts::n_runs), Some(8));
            assert_eq!(heard.load(Ordering::Relaxed), 8);
        }
    }
}
