//! Work over numbered blocks: the engine under arrays, `map_reduce` and the folds of `batched_map`.
//!
//! ```text
//!   block      0   1   2   3   4   5   6
//!   level 1    └─┬─┘   └─┬─┘   └─┬─┘   │       a pair is joined, left with right, by whoever ends its second half
//!   level 2      └───┬───┘       └──┬──┘
//!   level 3          └──────┬───────┘
//! ```
//!
//! A few runner tasks, two per lane, take the blocks in order; each asks for admission again per block, so priorities,
//! memory and other work have their say in between. Results are joined pairwise in a fixed tree over the block numbers.
//!
//! Always true: the shape of the tree depends on the number of blocks alone, so the bits do not depend on workers, order
//! or scheduler; at most O(lanes + log blocks) partials are alive, and those that wait keep their bytes reserved; a block whose lane is lost is run again; of several
//! failures the one of the lowest block is reported.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::cluster::Cluster;
use super::future::Future;
use super::hub::{Work, lock};
use super::promise::Cells;
use super::report::RunLog;
use super::task::{Control, Job, Outcome, Task, TaskContext, caught, task_context};
use super::tree::Tree;
use crate::bytes::ByteSize;
use crate::error::{Error, Result};

/// Told `(done, total)` as blocks finish, from the lanes.
pub type Progress = Arc<dyn Fn(usize, usize) + Send + Sync>;

/// A run over `n` blocks, numbered from 0.
///
/// # Examples
///
/// ```
/// use allotment::{Blocks, Cluster};
/// let cluster = Cluster::builder().workers(2).build()?;
/// let blocks = Blocks { n: 10, ..Blocks::named("squares") };
/// let sum = cluster.reduce_blocks(&blocks, |i, _| Ok(i * i), |a, b| Ok(a + b))?;
/// assert_eq!(sum, Some(285));
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone)]
pub struct Blocks {
    /// The tasks' name.
    pub name: Arc<str>,
    /// How many blocks there are.
    pub n: usize,
    /// The most anonymous bytes that one block's task will hold.
    pub projected_bytes: u64,
    /// Those among them that stay reserved while the block's partial waits for its other half: the partial's own.
    pub kept_bytes: u64,
    /// Called as blocks finish.
    pub progress: Option<Progress>,
}

impl Blocks {
    /// Returns a run of no blocks, to be filled in.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Blocks { name: name.into(), n: 0, projected_bytes: 0, kept_bytes: 0, progress: None }
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Blocks { name, n, projected_bytes, kept_bytes, .. } = self;
        write!(f, "Blocks({name:?}, n: {n}, projected_bytes: {projected_bytes}, kept_bytes: {kept_bytes})")
    }
}

/// How often a block is run again whose lane was lost.
pub(super) const RETRIES: u32 = 3;

impl Cluster {
    /// Runs `map` on every block number and returns the results in block order.
    ///
    /// # Errors
    ///
    /// That of the lowest block that failed; [`Error::TooBig`] when `projected_bytes` can never be granted;
    /// [`Error::OutOfMemory`] for more blocks than this process can hold a result each of; those of [`Future::wait`].
    pub fn map_blocks<T, M>(&self, blocks: &Blocks, map: M) -> Result<Vec<T>>
    where
        T: Send + 'static,
        M: Fn(usize, &TaskContext) -> Result<T> + Send + Sync + 'static,
    {
        let slots = Arc::new(Mutex::new(empty_slots::<T>(&blocks.name, blocks.n)?));
        let sink = slots.clone();
        let work = move |block: usize, context: &TaskContext| {
            let value = map(block, context)?;
            lock(&sink)[block] = Some(value);
            Ok(())
        };
        let take = move || lock(&slots).drain(..).flatten().collect();
        let (future, log) = self.run_blocks(blocks, work, take)?;
        reported(future, &log)
    }

    /// Runs `map` on every block number and joins the partials in a fixed tree over the block order: the same bits for any
    /// number of lanes. `None` for no blocks.
    ///
    /// # Errors
    ///
    /// As [`map_blocks`](Self::map_blocks).
    pub fn reduce_blocks<P, M, C>(&self, blocks: &Blocks, map: M, combine: C) -> Result<Option<P>>
    where
        P: Send + 'static,
        M: Fn(usize, &TaskContext) -> Result<P> + Send + Sync + 'static,
        C: Fn(P, P) -> Result<P> + Send + Sync + 'static,
    {
        let (future, log) = self.begin_reduce_blocks(blocks, map, combine)?;
        reported(future, &log)
    }

    /// [`reduce_blocks`](Self::reduce_blocks) as a future, to be awaited or given to other tasks.
    ///
    /// # Errors
    ///
    /// As [`submit_task`](Self::submit_task).
    pub fn start_reduce_blocks<P, M, C>(&self, blocks: &Blocks, map: M, combine: C) -> Result<Future<Option<P>>>
    where
        P: Send + 'static,
        M: Fn(usize, &TaskContext) -> Result<P> + Send + Sync + 'static,
        C: Fn(P, P) -> Result<P> + Send + Sync + 'static,
    {
        Ok(self.begin_reduce_blocks(blocks, map, combine)?.0)
    }

    fn begin_reduce_blocks<P, M, C>(&self, blocks: &Blocks, map: M, combine: C) -> Result<Begun<Option<P>>>
    where
        P: Send + 'static,
        M: Fn(usize, &TaskContext) -> Result<P> + Send + Sync + 'static,
        C: Fn(P, P) -> Result<P> + Send + Sync + 'static,
    {
        let tree = Arc::new(Tree::new(blocks.n, blocks.kept_bytes));
        let sink = tree.clone();
        let work = move |block: usize, context: &TaskContext| {
            let partial = map(block, context)?;
            sink.put(block, partial, &combine)
        };
        self.run_blocks(blocks, work, move || tree.root())
    }

    /// Starts the runners, and the task that takes the result when they have ended.
    fn run_blocks<R, M>(&self, blocks: &Blocks, work: M, take: impl FnOnce() -> R + Send + 'static) -> Result<Begun<R>>
    where
        R: Send + 'static,
        M: Fn(usize, &TaskContext) -> Result<()> + Send + Sync + 'static,
    {
        let task = Task::named(blocks.name.clone()).projected(ByteSize(blocks.projected_bytes)).retries(RETRIES);
        let log = Arc::new(RunLog::new(self.hub(), &blocks.name, blocks.n, blocks.projected_bytes));
        let run = Arc::new(Shared {
            blocks: blocks.clone(),
            work,
            next: AtomicUsize::new(0),
            log: log.clone(),
            failure: Mutex::new(None),
            parent: task_context(),
        });
        let n_runners = blocks.n.min((2 * self.lanes()).max(16));
        let mut runners = Vec::with_capacity(n_runners);
        for _ in 0..n_runners {
            let cells = Cells::one(self.hub(), &task.name);
            runners.push(Future::new(cells.clone(), 0));
            let (claimed, retries_left) = (Mutex::new(None), AtomicU32::new(RETRIES));
            let job: Work = Arc::new(Runner { cells, run: run.clone(), claimed, retries_left });
            if let Err(refused) = self.hub().submit(&job, &task, &[]) {
                if runners.len() == 1 {
                    log.forget();
                }
                return Err(refused);
            }
        }
        let finish = move |_| {
            let failure = lock(&run.failure).take();
            run.log.write(failure.is_some());
            match failure {
                Some((_, error)) => Err(error),
                None => Ok(take()),
            }
        };
        Ok((self.submit_fallible(Task::named(blocks.name.clone()), runners, finish)?, log))
    }
}

/// A run that has begun: its result, and what keeps its report.
type Begun<R> = (Future<R>, Arc<RunLog>);

/// Waits for a run. One that was cut short has its report by the time its caller hears of it.
fn reported<R>(future: Future<R>, log: &RunLog) -> Result<R> {
    future.wait().inspect_err(|_| log.write(true))
}

/// Makes room for one result of each block, or says that there is none: a grid may have 2⁶⁰ blocks.
fn empty_slots<T>(name: &Arc<str>, n: usize) -> Result<Vec<Option<T>>> {
    let mut slots = Vec::new();
    let bytes = (n as u64).saturating_mul(size_of::<Option<T>>() as u64);
    let full = |_| Error::OutOfMemory { what: format!("the results of {n} blocks of {name:?}").into(), bytes };
    slots.try_reserve_exact(n).map_err(full)?;
    slots.resize_with(n, || None);
    Ok(slots)
}

/// What the runners of one run share.
struct Shared<M> {
    blocks: Blocks,
    work: M,
    next: AtomicUsize,
    log: Arc<RunLog>,
    failure: Mutex<Option<(usize, Error)>>,
    /// The task that started the run, if one did: its cancellation is the run's.
    parent: Option<TaskContext>,
}

impl<M> Shared<M>
where
    M: Fn(usize, &TaskContext) -> Result<()> + Send + Sync,
{
    /// Takes the next block, unless one before it has failed.
    fn claim(&self) -> Option<usize> {
        if lock(&self.failure).is_some() {
            return None;
        }
        let block = self.next.fetch_add(1, Ordering::Relaxed);
        (block < self.blocks.n).then_some(block)
    }

    fn run(&self, block: usize) {
        let result = match task_context() {
            Some(context) => self.log.measured(|| {
                let context = TaskContext { run: Some(self.log.clone()), ..context };
                caught(&self.blocks.name, Some(block as u64), || {
                    self.parent.as_ref().map_or(Ok(()), TaskContext::check)?;
                    context.check()?;
                    (self.work)(block, &context)
                })
            }),
            None => Err(Error::ClusterDown { cause: "a block ran outside of a task".into() }),
        };
        match result.and_then(|result| result) {
            Ok(()) => {
                let done = self.log.note_done();
                if let Some(progress) = &self.blocks.progress {
                    // A progress bar that panics must not cost the result.
                    drop(caught(&self.blocks.name, None, || progress(done, self.blocks.n)));
                }
            }
            Err(error) => self.fail(block, error),
        }
    }

    fn fail(&self, block: usize, error: Error) {
        let mut failure = lock(&self.failure);
        if failure.as_ref().is_none_or(|(lowest, _)| block < *lowest) {
            *failure = Some((block, error));
        }
    }
}

struct Runner<M> {
    cells: Arc<Cells<()>>,
    run: Arc<Shared<M>>,
    /// The block that this runner is at; still there at the next attempt when the lane was lost.
    claimed: Mutex<Option<usize>>,
    retries_left: AtomicU32,
}

impl<M> Job for Runner<M>
where
    M: Fn(usize, &TaskContext) -> Result<()> + Send + Sync + 'static,
{
    fn run(&self, _name: &Arc<str>) -> Outcome {
        if self.cells.control.is_stopped() {
            return Outcome::Done;
        }
        self.run.log.note_retries(&self.retries_left);
        let again = lock(&self.claimed).take();
        if let Some(block) = again.or_else(|| self.run.claim()) {
            *lock(&self.claimed) = Some(block);
            self.run.run(block);
            *lock(&self.claimed) = None;
            return Outcome::Again;
        }
        self.cells.answer(0, Ok(()));
        Outcome::Done
    }

    fn fail(&self, error: &Error) {
        if !self.cells.cell(0).is_answered() {
            self.run.fail(usize::MAX, error.clone());
        }
        self.cells.fail(error);
    }

    fn control(&self) -> &Control {
        &self.cells.control
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Scheduler;

    /// Writes down the order of joins.
    fn shape(cluster: &Cluster, n: usize) -> Option<String> {
        let blocks = Blocks { n, ..Blocks::named("shape") };
        let join = |a: String, b: String| Ok(format!("({a}{b})"));
        cluster.reduce_blocks(&blocks, |i, _| Ok(i.to_string()), join).expect("joins")
    }

    #[test]
    fn the_tree_has_one_shape_for_any_number_of_workers() {
        let serial = Cluster::builder().scheduler(Scheduler::Serial).build().expect("a cluster");
        assert_eq!(shape(&serial, 7).as_deref(), Some("(((01)(23))((45)6))"));
        for workers in [1, 2, 5] {
            let cluster = Cluster::builder().workers(workers).build().expect("a cluster");
            for n in [0, 1, 2, 3, 7, 64, 100] {
                assert_eq!(shape(&cluster, n), shape(&serial, n), "{n} blocks on {workers} workers");
            }
        }
    }

    #[test]
    fn partials_that_wait_keep_their_bytes_reserved_and_end_however_little_there_is() {
        // The left halves of three levels wait while block 7 runs: 3 × 10 kept, 40 granted.
        let run = |allowance: u64| {
            let cluster = Cluster::builder().allowance(ByteSize(allowance)).workers(1).build().expect("a cluster");
            let blocks = Blocks { n: 8, projected_bytes: 40, kept_bytes: 10, ..Blocks::named("kept") };
            let sum = cluster.reduce_blocks(&blocks, |i, _| Ok(i), |a, b| Ok(a + b)).expect("summed");
            let after = cluster.snapshot();
            assert_eq!((sum, after.reserved_bytes), (Some(28), 0));
            (after.peak_reserved_bytes, after.lone > 0)
        };
        assert_eq!(run(100), (70, false));
        // Where they take the room of the next block, it runs alone.
        assert_eq!(run(45), (70, true));
    }

    #[test]
    fn more_blocks_than_there_can_be_results_are_an_error_and_no_panic() {
        let cluster = Cluster::builder().workers(1).build().expect("a cluster");
        let vast = Blocks { n: 1 << 60, ..Blocks::named("vast") };
        let refused = cluster.map_blocks(&vast, |i, _| Ok(i)).expect_err("16 EiB");
        assert!(matches!(refused, Error::OutOfMemory { .. }), "{refused}");
    }

    #[test]
    fn the_lowest_block_that_fails_is_reported() {
        let cluster = Cluster::builder().workers(3).build().expect("a cluster");
        let blocks = Blocks { n: 50, ..Blocks::named("odd") };
        for _ in 0..20 {
            let failed = cluster.map_blocks(&blocks, |i, _| {
                if i >= 7 { Err(Error::bad_argument("test", "i", i, "small")) } else { Ok(i) }
            });
            assert!(matches!(&failed, Err(Error::BadArgument { found, .. }) if &**found == "7"), "{failed:?}");
        }
    }

    #[test]
    fn a_run_on_the_callers_thread_hears_a_shutdown_between_two_blocks() {
        let cluster = Cluster::builder().scheduler(Scheduler::Serial).build().expect("a cluster");
        let (other, seen) = (cluster.clone(), Arc::new(AtomicUsize::new(0)));
        let count = seen.clone();
        let blocks = Blocks { n: 1000, ..Blocks::named("long") };
        let ended = cluster.map_blocks(&blocks, move |i, _| {
            count.fetch_add(1, Ordering::Relaxed);
            if i == 3 {
                let other = other.clone();
                let shutdown = std::thread::spawn(move || other.shutdown(std::time::Duration::ZERO).is_ok());
                assert!(shutdown.join().expect("it does not panic"));
            }
            Ok(())
        });
        assert!(matches!(ended, Err(Error::Shutdown { .. })), "{ended:?}");
        assert_eq!(seen.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_block_whose_lane_dies_is_run_again() {
        let cluster = Cluster::builder().workers(2).build().expect("a cluster");
        cluster.chaos().kill_lanes(2);
        let blocks = Blocks { n: 100, ..Blocks::named("kept") };
        let sum = cluster.reduce_blocks(&blocks, |i, _| Ok(i), |a, b| Ok(a + b)).expect("nothing is lost");
        assert_eq!(sum, Some(4950));
        assert_eq!(cluster.snapshot().restarts, 2);
    }

    #[test]
    fn blocks_may_be_run_from_inside_a_task() {
        let cluster = Cluster::builder().workers(1).build().expect("a cluster");
        let inner = cluster.clone();
        let nested = cluster.submit(move || {
            let blocks = Blocks { n: 20, ..Blocks::named("inner") };
            inner.reduce_blocks(&blocks, |i, _| Ok(i), |a, b| Ok(a + b))
        });
        assert_eq!(nested.expect("taken").wait().expect("ran").expect("summed"), Some(190));
    }
}
