//! Running an array: bring it home, leave it on the workers, stream it, or hand each block to a function.
//!
//! Everything here is one task per block on [`Cluster::map_blocks`] or [`Cluster::reduce_blocks`], started in row order, with
//! the bytes of its [plan](super::Plan). Reductions join in block order: the same bits on any number of workers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::expr::{Expr, to_usize, with_block};
use super::grid::Cuts;
use super::{Array, Block, BlockInfo, Plan, Working};
use crate::error::Result;
use crate::runtime::{Blocks, Cluster, Progress, TaskContext};

impl Array {
    /// Computes the whole array and brings it home as one block.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] before any work when a block does not fit a worker, [`Error::OutOfMemory`] when the result does not
    /// fit this process; those of the blocks: the first in row order.
    pub fn compute(&self, cluster: &Cluster) -> Result<Block> {
        let blocks = self.map_block_results(cluster, "compute", 0, |block, _, _| Ok(block), None)?;
        self.joined(blocks)
    }

    /// Appends blocks to each other, giving each back as soon as it is copied.
    fn joined(&self, mut blocks: Vec<Block>) -> Result<Block> {
        // One block that is no chunk's is the result as it is.
        match blocks.pop() {
            Some(block) if blocks.is_empty() && block.mapping().is_none() => return Ok(block),
            last => blocks.extend(last),
        }
        let mut whole = Block::empty(to_usize(self.cols())?, self.dtype(), self.kind());
        whole.try_reserve(blocks.iter().map(Block::rows).sum(), blocks.iter().map(|b| b.values().len()).sum())?;
        for block in blocks {
            whole.append_rows(&block, 0..block.rows())?;
            block.check()?;
        }
        Ok(whole)
    }

    /// Computes the array and leaves its blocks as chunks in the workers' stores; what is returned reads them.
    ///
    /// The chunks live as long as an array reads them.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] before any work; [`Error::SpoolFull`] and the other failures of writing; those of the blocks.
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
        let chunks = self.map_block_results(cluster, "persist", 0, store, progress)?;
        let cuts = Cuts::of_lengths(chunks.iter().map(|chunk| chunk.shape().0 as u64))?;
        let expr = Expr::Chunks(chunks, cuts.clone());
        Ok(Array { cuts: Some(cuts), ..Array::new(self.shape(), self.dtype(), self.kind(), expr) })
    }

    /// Computes the blocks one after another, in row order, a bounded number ahead of who takes them.
    ///
    /// A block may be mapped from a chunk: [`Block::check`] it after the last read.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] before any work. The iterator gives the blocks' errors, and ends after the first.
    pub fn blocks(&self, cluster: &Cluster) -> Result<BlockIter> {
        let plan = self.plan_for(cluster, "blocks", 0)?;
        let (array, cluster) = (self.clone(), cluster.clone());
        Ok(BlockIter { array, cluster, plan, next: 0, ready: VecDeque::new() })
    }

    /// Computes every block, hands it to `map` on its worker, and returns the answers in row order.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] before any work; the first error in row order.
    pub fn map_block_results<T: Send + 'static>(
        &self,
        cluster: &Cluster,
        name: impl Into<Arc<str>>,
        working: impl Into<Working>,
        map: impl Fn(Block, BlockInfo, &TaskContext) -> Result<T> + Send + Sync + 'static,
        progress: Option<Progress>,
    ) -> Result<Vec<T>> {
        let (blocks, run) = self.run(cluster, name.into(), working.into(), progress, map)?;
        cluster.map_blocks(&blocks, run)
    }

    /// Computes every block, hands it to `map` on its worker, and joins the partials by `combine` in a fixed tree over
    /// the block order. `None` for no blocks.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] before any work; the first error in row order.
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
        let (blocks, run) = self.run(cluster, name.into(), partial_bytes.into(), progress, map)?;
        cluster.reduce_blocks(&blocks, run, combine)
    }

    /// Plans a run, and makes the function that a task calls with its block's number.
    fn run<T>(
        &self,
        cluster: &Cluster,
        name: Arc<str>,
        working: Working,
        progress: Option<Progress>,
        map: impl Fn(Block, BlockInfo, &TaskContext) -> Result<T> + Send + Sync + 'static,
    ) -> Result<(Blocks, impl Fn(usize, &TaskContext) -> Result<T> + Send + Sync + 'static)> {
        let plan = self.plan_for(cluster, &name, working)?;
        let blocks = Blocks { name, n: plan.tasks, projected_bytes: plan.projected_bytes, progress };
        let array = self.clone();
        let run = move |index: usize, context: &TaskContext| {
            let rows = plan.grid.rows.run(index);
            with_block(&array, index, rows, context, |block, info| map(block, info, context))
        };
        Ok((blocks, run))
    }
}

/// Computed blocks, in row order.
#[derive(Debug)]
#[must_use = "blocks are computed as they are taken"]
pub struct BlockIter {
    array: Array,
    cluster: Cluster,
    plan: Plan,
    next: usize,
    ready: VecDeque<Block>,
}

impl BlockIter {
    /// Returns what all of it takes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Computes as many blocks as keep every lane busy twice.
    fn compute_ahead(&mut self) -> Result<()> {
        let n = (2 * self.cluster.lanes()).min(self.plan.tasks - self.next);
        let projected_bytes = self.plan.projected_bytes;
        let blocks = Blocks { name: "blocks".into(), n, projected_bytes, progress: None };
        let (array, rows, first) = (self.array.clone(), self.plan.grid.rows.clone(), self.next);
        self.ready.extend(self.cluster.map_blocks(&blocks, move |i, context| {
            with_block(&array, first + i, rows.run(first + i), context, |block, _| Ok(block))
        })?);
        self.next += n;
        Ok(())
    }
}

impl Iterator for BlockIter {
    type Item = Result<Block>;

    fn next(&mut self) -> Option<Result<Block>> {
        if self.ready.is_empty()
            && self.next < self.plan.tasks
            && let Err(error) = self.compute_ahead()
        {
            self.next = self.plan.tasks;
            return Some(Err(error));
        }
        self.ready.pop_front().map(Ok)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ready.len() + self.plan.tasks - self.next;
        // An error ends it early.
        (left.min(1), Some(left))
    }
}
