//! What runs over blocks have been: a report of each, and the last of them for whoever asks.
//!
//! ```text
//!   Blocks ──▶ RunLog ◀── a task: peak bytes, bytes read       shared by the runners of one run
//!                 └─ the run ends, however it ends ──▶ History ──▶ cluster.runs()
//! ```
//!
//! Always true: a run that began leaves exactly one report, before whoever waits for a blocking call on it goes on; the
//! history holds the last [`HISTORY`] and no more; a task costs a few atomic operations and no lock.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::hub::{Hub, lock};
use super::memory::Region;
use super::task::with_context;
use crate::bytes::ByteSize;

/// So many reports are kept.
const HISTORY: usize = 64;

/// What a run over blocks was: plan's numbers beside what was measured.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::{Over, random}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// random::uniform(1000, 10, 1, 100).sum(&cluster, Over::Whole)?;
/// let report = cluster.runs().pop().expect("one run has ended");
/// assert_eq!((report.tasks, report.done, report.failed), (10, 10, false));
/// println!("{report}");
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RunReport {
    /// The run's name.
    pub name: Arc<str>,
    /// How many tasks it had: one for each block.
    pub tasks: usize,
    /// How many of them ended well.
    pub done: usize,
    /// The most anonymous bytes that one task was to hold.
    pub projected_bytes: u64,
    /// The most that any task held, from its beginning on and joining partials included; `None` unless the program installed
    /// [`CountingAllocator`](crate::CountingAllocator). What a thread keeps for all later tasks, such as the buffers of dense
    /// products, shows in the first.
    pub peak_bytes: Option<u64>,
    /// Bytes of blocks that the tasks read from files, memory and chunks; `None` for a run that is no array's.
    pub bytes_read: Option<u64>,
    /// From the start of the run to its end.
    pub duration: Duration,
    /// How often one of its tasks started again, because the lane that had it was lost.
    pub retries: u32,
    /// Whether it ended without a result.
    pub failed: bool,
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        if self.failed {
            write!(f, "failed after {} of ", self.done)?;
        }
        write!(f, "{} {} in {}", self.tasks, if self.tasks == 1 { "task" } else { "tasks" }, Seconds(self.duration))?;
        match self.peak_bytes {
            Some(peak) => write!(f, ", peak {} of {} projected", ByteSize(peak), ByteSize(self.projected_bytes))?,
            None => write!(f, ", {} projected", ByteSize(self.projected_bytes))?,
        }
        match self.retries {
            0 => Ok(()),
            1 => write!(f, ", 1 block again"),
            retries => write!(f, ", {retries} blocks again"),
        }
    }
}

/// A duration as people say it.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match seconds {
            _ if seconds >= 100.0 => write!(f, "{seconds:.0} s"),
            _ if seconds >= 0.1 => write!(f, "{seconds:.1} s"),
            _ if seconds >= 1e-3 => write!(f, "{:.1} ms", seconds * 1e3),
            _ => write!(f, "{:.0} µs", seconds * 1e6),
        }
    }
}

/// A run that has begun, as its tasks see it.
pub(crate) struct RunLog {
    hub: Arc<Hub>,
    name: Arc<str>,
    tasks: usize,
    projected_bytes: u64,
    began: Instant,
    done: AtomicUsize,
    peak_bytes: AtomicU64,
    is_measured: AtomicBool,
    bytes_read: AtomicU64,
    is_array: AtomicBool,
    retries: AtomicU32,
    is_written: AtomicBool,
}

impl RunLog {
    pub(crate) fn new(hub: &Arc<Hub>, name: &Arc<str>, tasks: usize, projected_bytes: u64) -> Self {
        RunLog {
            hub: hub.clone(),
            name: name.clone(),
            tasks,
            projected_bytes,
            began: Instant::now(),
            done: AtomicUsize::new(0),
            peak_bytes: AtomicU64::new(0),
            is_measured: AtomicBool::new(false),
            bytes_read: AtomicU64::new(0),
            is_array: AtomicBool::new(false),
            retries: AtomicU32::new(0),
            is_written: AtomicBool::new(false),
        }
    }

    /// Runs a task's work and notes the most that it held.
    pub(crate) fn measured<R>(&self, work: impl FnOnce() -> R) -> R {
        let region = Region::begin();
        let result = work();
        if let Some(region) = region {
            // Relaxed is enough, here and below: the counters guard no other memory, and are read when the tasks have ended.
            self.peak_bytes.fetch_max(region.peak_bytes(), Relaxed);
            self.is_measured.store(true, Relaxed);
        }
        result
    }

    /// Notes a task that ended well; returns how many have.
    pub(crate) fn note_done(&self) -> usize {
        (self.done.fetch_add(1, Relaxed) + 1).min(self.tasks)
    }

    /// Notes how many attempts of the task that runs on this thread were lost since it last noted how many it has left.
    pub(crate) fn note_retries(&self, left_before: &AtomicU32) {
        if let Some(left) = with_context(|context| Some(context.retries_left)) {
            self.retries.fetch_add(left_before.fetch_min(left, Relaxed).saturating_sub(left), Relaxed);
        }
    }

    pub(crate) fn note_read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
        self.is_array.store(true, Relaxed);
    }

    /// Leaves no report: the run was refused before it began.
    pub(crate) fn forget(&self) {
        self.is_written.store(true, Relaxed);
    }

    /// Writes the report, unless there is one.
    pub(crate) fn write(&self, failed: bool) {
        // A forked child's copy of the history may be locked for ever by a thread that exists only in the parent.
        if self.is_written.swap(true, Relaxed) || self.hub.same_process().is_err() {
            return;
        }
        let known = |is_known: &AtomicBool, bytes: &AtomicU64| is_known.load(Relaxed).then(|| bytes.load(Relaxed));
        self.hub.history.push(RunReport {
            name: self.name.clone(),
            tasks: self.tasks,
            done: self.done.load(Relaxed).min(self.tasks),
            projected_bytes: self.projected_bytes,
            peak_bytes: known(&self.is_measured, &self.peak_bytes),
            bytes_read: known(&self.is_array, &self.bytes_read),
            duration: self.began.elapsed(),
            retries: self.retries.load(Relaxed),
            failed,
        });
    }
}

impl Drop for RunLog {
    /// The last of the run's tasks is gone and nobody took the result: it was cancelled, or the cluster ended.
    fn drop(&mut self) {
        self.write(true);
    }
}

/// The last reports of a cluster, oldest first.
#[derive(Default)]
pub(crate) struct History(Mutex<VecDeque<RunReport>>);

impl History {
    fn push(&self, report: RunReport) {
        let mut reports = lock(&self.0);
        if reports.len() == HISTORY {
            reports.pop_front();
        }
        reports.push_back(report);
    }
}

impl Cluster {
    /// Returns reports of the last runs over blocks that ended, the newest last: up to 64 of them.
    ///
    /// Every computation of an array is one or several runs, and so is every [`map_blocks`](Self::map_blocks),
    /// [`reduce_blocks`](Self::reduce_blocks) and what is built on them. A run that failed has a report, one that was refused has none.
    /// In a forked child there are none.
    pub fn runs(&self) -> Vec<RunReport> {
        match self.hub().same_process() {
            Ok(()) => lock(&self.hub().history.0).iter().cloned().collect(),
            Err(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::runtime::Blocks;
    use crate::runtime::testing::clusters;

    fn run(name: &str, n: usize) -> Blocks {
        Blocks { n, projected_bytes: 1 << 16, ..Blocks::named(name) }
    }

    #[test]
    fn every_run_leaves_a_report_before_its_caller_goes_on() {
        for cluster in clusters() {
            let one = |bytes: usize| std::hint::black_box(vec![1u8; bytes]).len();
            cluster.map_blocks(&run("map", 20), move |i, _| Ok(one(1000 * i))).expect("small");
            cluster.reduce_blocks(&run("reduce", 7), |i, _| Ok(i), |a, b| Ok(a + b)).expect("small");
            let [map, reduce] = &cluster.runs()[..] else { panic!("{:?}", cluster.runs()) };
            assert_eq!((&*map.name, map.tasks, map.done, map.failed), ("map", 20, 20, false));
            assert_eq!((&*reduce.name, reduce.tasks, reduce.done), ("reduce", 7, 7));
            // A place for the result, at most, beside the 19,000 bytes of the last task.
            assert!(map.peak_bytes.is_some_and(|peak| (19_000..20_000).contains(&peak)), "{map}");
            assert!(map.to_string().contains("20 tasks in ") && map.to_string().contains("of 64.0 KiB projected"));
            assert_eq!((map.bytes_read, map.retries), (None, 0));
        }
    }

    #[test]
    fn a_run_that_fails_says_so_and_how_far_it_came() {
        for cluster in clusters() {
            let fails = |i: usize, _: &_| match i {
                i if i < 3 => Ok(()),
                i => Err(Error::bad_argument("test", "i", i, "below 3")),
            };
            cluster.map_blocks(&run("bad", 10), fails).expect_err("block 3");
            let report = cluster.runs().pop().expect("one run");
            assert!(report.failed && report.done >= 3 && report.done < 10, "{report}");
            assert!(report.to_string().starts_with("bad: failed after 3 of 10 tasks"), "{report}");
            cluster
                .map_blocks(&run("worse", 3), |_, _| -> crate::Result<()> { panic!("on purpose") })
                .expect_err("all");
            assert!(cluster.runs().pop().is_some_and(|report| report.failed && report.done == 0));
        }
    }

    #[test]
    fn the_history_is_bounded_and_keeps_the_newest() {
        for cluster in clusters() {
            for i in 0..HISTORY + 10 {
                cluster.map_blocks(&run(&i.to_string(), 1), |_, _| Ok(())).expect("small");
            }
            let names: Vec<String> = cluster.runs().iter().map(|report| report.name.to_string()).collect();
            let expected: Vec<String> = (10..HISTORY + 10).map(|i| i.to_string()).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn what_was_refused_leaves_no_report_and_what_lost_a_lane_does() {
        let [cluster, serial] = clusters();
        for cluster in [&cluster, &serial] {
            let big = Blocks { projected_bytes: 1 << 40, ..run("big", 3) };
            cluster.map_blocks(&big, |_, _| Ok(())).expect_err("1 TiB");
            assert_eq!(cluster.runs(), []);
        }
        for lost in [1, 2] {
            cluster.chaos().kill_lanes(lost);
            cluster.map_blocks(&run("lost", 50), |_, _| Ok(())).expect("it is run again");
            let report = cluster.runs().pop().expect("one run");
            assert_eq!((report.failed, report.done, report.retries), (false, 50, lost as u32), "{report}");
            let again = ["1 block again", "2 blocks again"][lost - 1];
            assert!(report.to_string().ends_with(again), "{report}");
        }
    }

    #[test]
    fn a_block_whose_worker_dies_in_the_middle_of_it_counts_as_run_again() {
        let [cluster, _] = clusters();
        let (started, starts) = crossbeam_channel::unbounded();
        let (go, wait) = crossbeam_channel::bounded::<()>(0);
        let held = move |i: usize, context: &crate::runtime::TaskContext| {
            started.send((i, context.worker())).expect("the test listens");
            // Ends when the other side is dropped.
            let _closed = wait.recv();
            Ok(i)
        };
        let sum = cluster.start_reduce_blocks(&run("held", 2), held, |a, b| Ok(a + b)).expect("taken");
        let (first, worker) = starts.recv().expect("a block");
        let _other = starts.recv().expect("the other");
        cluster.chaos().kill_worker(worker);
        assert_eq!(starts.recv().expect("once more").0, first);
        drop(go);
        assert_eq!(sum.wait().expect("both"), Some(1));
        let report = cluster.runs().pop().expect("one run");
        assert_eq!((report.done, report.retries), (2, 1), "{report}");
    }

    #[test]
    fn a_run_that_nobody_waits_for_leaves_its_report_when_its_tasks_are_gone() {
        let [cluster, _] = clusters();
        let (go, wait) = crossbeam_channel::bounded::<()>(0);
        let held = move |_: usize, _: &_| {
            // Ends when the other side is dropped.
            let _closed = wait.recv();
            Ok(())
        };
        let future = cluster.start_reduce_blocks(&run("dropped", 40), held, |(), ()| Ok(())).expect("taken");
        drop(future);
        drop(go);
        let until = Instant::now() + Duration::from_secs(20);
        while cluster.runs().is_empty() && Instant::now() < until {
            // The lanes that a task goes through on its way out are those that drop the run.
            cluster.submit(|| ()).and_then(|future| future.wait()).expect("an empty task");
        }
        assert!(cluster.runs().pop().is_some_and(|report| report.failed));
    }

    #[test]
    fn a_task_that_runs_while_another_waits_counts_for_itself() {
        let one = Cluster::builder().allowance(ByteSize(64 << 20)).workers(1).build().expect("sound settings");
        let nested = Blocks { projected_bytes: 9 << 20, ..run("inner", 2) };
        let inner = one.clone();
        let waits =
            move |_: usize, _: &_| inner.map_blocks(&nested, |_, _| Ok(std::hint::black_box(vec![1u8; 8 << 20]).len()));
        one.map_blocks(&run("outer", 1), waits).expect("small");
        let [inner, outer] = &one.runs()[..] else { panic!("two runs") };
        assert!(inner.peak_bytes.is_some_and(|peak| peak >= 8 << 20), "{inner}");
        assert!(outer.peak_bytes.is_some_and(|peak| peak < 1 << 20), "{outer}");
    }
}
