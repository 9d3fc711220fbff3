//! The runtime. (Interface sketch, inline on the caller's thread; the runtime branch replaces this file.)
pub mod memory;
pub(crate) mod sizing;

use crate::bytes::ByteSize;
use crate::error::Result;
use crate::store::Store;
mod budget;
mod core;

use std::sync::Arc;

/// Where tasks run.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scheduler {
    /// On the caller's thread, in order.
    Serial,
    /// On the lanes of this process.
    #[default]
    Threads,
}

/// Workers, their supervisor, and the user's handle to them.
#[derive(Clone, Debug)]
pub struct Cluster {
    allowance: u64,
    workers: usize,
}

/// Settings of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterBuilder {
    allowance: Option<ByteSize>,
    workers: Option<usize>,
}

impl ClusterBuilder {
    /// Sets how many bytes a worker may hold.
    pub fn allowance(mut self, allowance: ByteSize) -> Self {
        self.allowance = Some(allowance);
        self
    }
    /// Sets the number of workers.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }
    /// Sets where tasks run.
    pub fn scheduler(self, _scheduler: Scheduler) -> Self {
        self
    }
    /// Checks the settings and starts the cluster.
    pub fn build(self) -> Result<Cluster> {
        Ok(Cluster { allowance: self.allowance.map_or(1 << 30, |a| a.0), workers: self.workers.unwrap_or(2) })
    }
}

/// What a running task can ask.
#[derive(Debug)]
pub struct TaskContext {
    store: Store,
}

impl TaskContext {
    /// Returns whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        false
    }
    /// Returns `Error::Cancelled` once the task was cancelled: built-in kernels call it per block.
    pub fn check(&self) -> Result<()> {
        Ok(())
    }
    /// Returns the worker's chunk store.
    pub fn store(&self) -> &Store {
        &self.store
    }
    /// Returns the number of the worker that runs this task.
    pub fn worker(&self) -> usize {
        0
    }
}

/// Told `(done, total)` as blocks finish.
pub type Progress = Arc<dyn Fn(usize, usize) + Send + Sync>;

/// A run over `n` blocks, numbered from 0.
#[derive(Clone)]
pub struct Blocks {
    /// The tasks' name.
    pub name: Arc<str>,
    /// How many blocks there are.
    pub n: usize,
    /// The most anonymous bytes that one block's task will hold.
    pub projected_bytes: u64,
    /// Called as blocks finish.
    pub progress: Option<Progress>,
}

impl Cluster {
    /// Starts to describe a cluster.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }
    /// Returns how many bytes a worker may hold.
    pub fn allowance(&self) -> u64 {
        self.allowance
    }
    /// Returns the number of workers.
    pub fn workers(&self) -> usize {
        self.workers
    }
    /// Returns the number of lanes of all workers.
    pub fn lanes(&self) -> usize {
        self.workers
    }

    /// Runs `map` on every block number and returns the results in block order.
    /// Started in order, a bounded window in flight; the first error in block order ends the run.
    pub fn map_blocks<T, M>(&self, blocks: &Blocks, map: M) -> Result<Vec<T>>
    where
        T: Send + 'static,
        M: Fn(usize, &TaskContext) -> Result<T> + Send + Sync + 'static,
    {
        let context = TaskContext { store: Store::default() };
        (0..blocks.n)
            .map(|i| {
                let value = map(i, &context)?;
                blocks.progress.iter().for_each(|p| p(i + 1, blocks.n));
                Ok(value)
            })
            .collect()
    }

    /// Runs `map` on every block number and joins the partials pairwise in a fixed tree over the block order:
    /// the same bits for any number of lanes. At most O(lanes + log n) partials are alive. `None` for no blocks.
    pub fn reduce_blocks<P, M, C>(&self, blocks: &Blocks, map: M, combine: C) -> Result<Option<P>>
    where
        P: Send + 'static,
        M: Fn(usize, &TaskContext) -> Result<P> + Send + Sync + 'static,
        C: Fn(P, P) -> Result<P> + Send + Sync + 'static,
    {
        let context = TaskContext { store: Store::default() };
        // Subtrees of 2^level blocks, largest first: the carry chain of a binary counter.
        let mut subtrees: Vec<(u32, P)> = Vec::new();
        for i in 0..blocks.n {
            let (mut level, mut value) = (0, map(i, &context)?);
            while subtrees.last().is_some_and(|(l, _)| *l == level) {
                let (_, left) = subtrees.pop().expect("just seen");
                value = combine(left, value)?;
                level += 1;
            }
            subtrees.push((level, value));
            blocks.progress.iter().for_each(|p| p(i + 1, blocks.n));
        }
        let mut joined: Option<P> = None;
        while let Some((_, left)) = subtrees.pop() {
            joined = Some(match joined {
                None => left,
                Some(right) => combine(left, right)?,
            });
        }
        Ok(joined)
    }
}
