//! Numbered blocks, computed a bounded number ahead of whoever takes them, one after another: the engine under
//! an array's stream of blocks.
//!
//! ```text
//!   block   4        5        6        7        8 …
//!           taken ◀─ waits    waits    runs     not started
//!                    └ its own bytes ┘ └ projected bytes: all reserved
//! ```
//!
//! A block that is finished and not taken keeps the bytes it holds reserved, out of the grant of the task that made it. At
//! most two blocks a lane are ahead, and no more than all workers have room for at projected bytes: `w ⌊a / p⌋`, with `w` workers
//! of allowance `a` and blocks of projected `p`. So what waits and what runs is never more than all workers may hold
//! together; a worker on which blocks wait may run its next by the lone token (`core/admission.rs`) where another has the
//! room. On the caller's thread nothing is ahead: a block is computed when it is taken.
//!
//! Always true: blocks come in order, and the first error is the last that comes; what is ahead is cancelled and its bytes
//! come back when the stream is dropped; a stream from which anything was asked leaves one report, written before the last
//! block or the error is given out, or when it is dropped before that, and then as one that failed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::blocks::{Blocks, RETRIES};
use super::budget::Reservation;
use super::cluster::Cluster;
use super::future::Future;
use super::report::RunLog;
use super::task::{Task, TaskContext, caught, keep, task_context};
use crate::bytes::ByteSize;
use crate::error::{Error, Result};

/// Computes a block by its number; gives it with the anonymous bytes that it holds.
type Work<T> = Arc<dyn Fn(usize, &TaskContext) -> Result<(T, u64)> + Send + Sync>;

/// A finished block, dropped before its bytes come back.
type Finished<T> = Result<(T, Option<Reservation>)>;

/// Blocks in order. Dropping it cancels what is ahead.
pub(crate) struct Ahead<T> {
    cluster: Cluster,
    blocks: Blocks,
    work: Work<T>,
    /// The block that is started next.
    next: usize,
    /// Blocks that are started and not taken.
    started: VecDeque<Future<Finished<T>>>,
    /// There once the first block was asked for.
    log: Option<Arc<RunLog>>,
}

impl<T> std::fmt::Debug for Ahead<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ahead { blocks, next, started, .. } = self;
        f.debug_struct("Ahead").field("blocks", blocks).field("next", next).field("started", &started.len()).finish()
    }
}

impl Cluster {
    /// Describes a stream of blocks; nothing starts before the first is asked for.
    pub(crate) fn blocks_ahead<T, W>(&self, blocks: Blocks, work: W) -> Ahead<T>
    where
        W: Fn(usize, &TaskContext) -> Result<(T, u64)> + Send + Sync + 'static,
    {
        let (cluster, work) = (self.clone(), Arc::new(work));
        Ahead { cluster, blocks, work, next: 0, started: VecDeque::new(), log: None }
    }

    /// Returns how many blocks may be started and not taken.
    fn most_ahead(&self, projected_bytes: u64) -> usize {
        if self.hub().is_serial() {
            return 1;
        }
        let each = usize::try_from(self.allowance() / projected_bytes.max(1)).unwrap_or(usize::MAX);
        let by_bytes = self.workers().saturating_mul(each);
        by_bytes.min(2 * self.lanes()).max(1)
    }
}

impl<T: Send + 'static> Ahead<T> {
    /// Returns how many blocks are still to be given.
    pub(crate) fn left(&self) -> usize {
        self.started.len() + self.blocks.n - self.next
    }

    /// Starts what may be ahead, then waits for the first and takes it.
    pub(crate) fn take(&mut self) -> Option<Result<T>> {
        let log = self.begin();
        let taken = self.fill(&log).and_then(|()| self.started.pop_front().map(finished).transpose());
        if taken.is_err() {
            self.next = self.blocks.n;
            self.started.clear();
        }
        if self.left() == 0 {
            log.write(taken.is_err());
        }
        taken.transpose()
    }

    fn begin(&mut self) -> Arc<RunLog> {
        let Blocks { name, n, projected_bytes, .. } = &self.blocks;
        let begin = || Arc::new(RunLog::new(self.cluster.hub(), name, *n, *projected_bytes));
        self.log.get_or_insert_with(begin).clone()
    }

    fn fill(&mut self, log: &Arc<RunLog>) -> Result<()> {
        let most = self.cluster.most_ahead(self.blocks.projected_bytes);
        while self.next < self.blocks.n && self.started.len() < most {
            let started = self.start(self.next, log.clone())?;
            self.started.push_back(started);
            self.next += 1;
        }
        Ok(())
    }

    fn start(&self, block: usize, log: Arc<RunLog>) -> Result<Future<Finished<T>>> {
        let Blocks { name, projected_bytes, .. } = &self.blocks;
        let task = Task::named(name.clone()).projected(ByteSize(*projected_bytes)).retries(RETRIES);
        let (work, name, retries_left) = (self.work.clone(), name.clone(), AtomicU32::new(RETRIES));
        self.cluster.submit_task(task, move || {
            let outside = || Error::ClusterDown { cause: "a block ran outside of a task".into() };
            let context = TaskContext { run: Some(log.clone()), ..task_context().ok_or_else(outside)? };
            log.note_retries(&retries_left);
            // A panic is the block's error, as in other runs over blocks, and no reason to try again.
            let run = || caught(&name, Some(block as u64), || work(block, &context));
            let (value, bytes) = log.measured(run)??;
            log.note_done();
            Ok((value, keep(bytes)))
        })
    }
}

/// Waits for a block, whose bytes are then its taker's.
fn finished<T>(block: Future<Finished<T>>) -> Result<T> {
    block.wait()?.map(|(value, _kept)| value)
}

impl<T> Drop for Ahead<T> {
    /// Reports at once, and not when the last task that is cancelled has ended.
    fn drop(&mut self) {
        self.started.clear();
        if let Some(log) = &self.log {
            log.write(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Scheduler;

    const BYTES: u64 = 1 << 16;

    fn cluster(workers: usize, allowance: u64) -> Cluster {
        Cluster::builder().allowance(ByteSize(allowance)).workers(workers).build().expect("sound settings")
    }

    /// Blocks of 64 KiB, computed in twice as much.
    fn stream(cluster: &Cluster, n: usize) -> Ahead<Vec<u8>> {
        let blocks = Blocks { n, projected_bytes: 2 * BYTES, ..Blocks::named("stream") };
        cluster.blocks_ahead(blocks, |i, _| Ok((vec![i as u8; BYTES as usize], BYTES)))
    }

    /// Waits until nothing runs and nothing is queued: then everything that may be ahead is finished.
    fn settle(cluster: &Cluster) {
        loop {
            let now = cluster.snapshot();
            if now.queued == 0 && now.workers.iter().all(|worker| worker.running.is_empty()) {
                return;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_slow_taker_finds_the_blocks_ahead_within_the_allowance_and_all_of_them_reserved() {
        // Twenty times what both workers may hold; 6 × 64 KiB each have room for one task and four blocks.
        let cluster = cluster(2, 6 * BYTES);
        let mut stream = stream(&cluster, 240);
        let mut most = 0;
        for block in 0..240usize {
            assert_eq!(stream.take().expect("not the last").expect("computed"), vec![block as u8; BYTES as usize]);
            settle(&cluster);
            let now = cluster.snapshot();
            assert_eq!(now.reserved_bytes, stream.started.len() as u64 * BYTES, "after block {block}");
            most = most.max(stream.started.len());
        }
        assert!(stream.take().is_none());
        let after = cluster.snapshot();
        // Two lanes, each with one to do and one to come; one of the four was taken.
        assert_eq!((most, after.reserved_bytes, after.lone, after.overdrafts), (3, 0, 0, 0));
        assert!(after.peak_reserved_bytes <= 12 * BYTES, "{}", after.peak_reserved_bytes);
        let [report] = &cluster.runs()[..] else { panic!("{:?}", cluster.runs()) };
        assert_eq!((report.tasks, report.done, report.failed), (240, 240, false));
        // The vector, and a place for the answer.
        assert!(report.peak_bytes.is_some_and(|peak| (BYTES..2 * BYTES).contains(&peak)), "{report}");
    }

    #[test]
    fn blocks_that_fill_a_worker_are_one_ahead_for_each_and_never_more_than_all_workers_may_hold() {
        for (workers, allowance) in [(1, 2 * BYTES), (3, 3 * BYTES)] {
            let cluster = cluster(workers, allowance);
            let mut stream = stream(&cluster, 20);
            while let Some(block) = stream.take() {
                assert_eq!(block.expect("computed").len() as u64, BYTES);
                assert!(stream.started.len() < workers, "{} ahead", stream.started.len());
                settle(&cluster);
            }
            let after = cluster.snapshot();
            assert_eq!((after.overdrafts, after.reserved_bytes), (0, 0));
            assert!(after.peak_reserved_bytes <= workers as u64 * allowance, "{}", after.peak_reserved_bytes);
        }
    }

    #[test]
    fn a_stream_dropped_half_way_gives_all_bytes_back_and_reports_how_far_it_came() {
        let cluster = cluster(2, 64 * BYTES);
        let mut dropped = stream(&cluster, 20);
        for _ in 0..10 {
            dropped.take().expect("not the last").expect("computed");
        }
        drop(dropped);
        let report = cluster.runs().pop().expect("at once");
        assert!(report.failed && (10..20).contains(&report.done), "{report}");
        settle(&cluster);
        assert_eq!(cluster.snapshot().reserved_bytes, 0);
        // One from which nothing was asked has not begun.
        drop(stream(&cluster, 20));
        assert_eq!(cluster.runs().len(), 1);
    }

    #[test]
    fn the_first_failure_is_the_last_that_comes_and_a_panic_is_one() {
        let cluster = cluster(2, 64 * BYTES);
        let blocks = Blocks { n: 9, ..Blocks::named("panics") };
        let work = |i: usize, _: &_| if i < 3 { Ok((i, 0)) } else { panic!("on purpose") };
        let mut stream = cluster.blocks_ahead(blocks, work);
        for block in 0..3 {
            assert_eq!(stream.take().expect("not the last").expect("computed"), block);
        }
        let error = stream.take().expect("an error").expect_err("block 3");
        assert!(matches!(error, Error::TaskPanicked { item: Some(3), .. }), "{error}");
        assert!(stream.take().is_none());
        let report = cluster.runs().pop().expect("one run");
        assert_eq!((report.failed, report.done, report.retries), (true, 3, 0), "{report}");
    }

    #[test]
    fn a_lost_lane_costs_a_retry_and_no_block() {
        let cluster = cluster(2, 64 * BYTES);
        cluster.chaos().kill_lanes(1);
        let mut stream = stream(&cluster, 20);
        let taken: Vec<u8> = std::iter::from_fn(|| stream.take()).map(|block| block.expect("computed")[0]).collect();
        assert_eq!(taken, Vec::from_iter(0..20));
        let report = cluster.runs().pop().expect("one run");
        assert_eq!((report.failed, report.done, report.retries), (false, 20, 1), "{report}");
    }

    #[test]
    fn on_the_callers_thread_nothing_is_ahead_and_no_blocks_have_a_report_too() {
        let cluster = Cluster::builder().scheduler(Scheduler::Serial).build().expect("a cluster");
        let mut stream = stream(&cluster, 3);
        while let Some(block) = stream.take() {
            assert!(block.is_ok() && stream.started.is_empty());
        }
        let mut none = cluster.blocks_ahead(Blocks::named("none"), |_, _| Ok(((), 0)));
        assert!(none.take().is_none());
        let reports: Vec<_> = cluster.runs().iter().map(|run| (run.tasks, run.done, run.failed)).collect();
        assert_eq!(reports, [(3, 3, false), (0, 0, false)]);
    }
}
