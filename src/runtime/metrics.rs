//! The counters of a cluster at one moment.

use std::sync::Arc;

use super::core::{Counts, WorkerView};
use super::hub::Hub;
use super::memory::{ProcessMemory, Roots};

/// What a cluster does at one moment, and what it has done. Bytes are bytes; counts are since the start.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The workers, without those that are gone.
    pub workers: Vec<WorkerSnapshot>,
    /// Tasks that wait for a lane.
    pub queued: usize,
    /// Tasks that wait for their inputs.
    pub waiting: usize,
    /// Tasks submitted (a pack of items counts once).
    pub submitted: u64,
    /// Attempts started.
    pub started: u64,
    /// Tasks that ran to their end.
    pub ended: u64,
    /// Tasks that were answered with an error of the runtime: lost, cancelled, refused, shut down.
    pub failed: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Attempts after the first.
    pub retried: u64,
    /// Tasks that a lane took from another worker's queue.
    pub stolen: u64,
    /// Grants that borrowed what idle workers did not use.
    pub loans: u64,
    /// Grants beyond all allowances to a task that ran alone.
    pub lone: u64,
    /// Grants beyond all allowances on a nested wait path.
    pub overdrafts: u64,
    /// Lanes and workers that died and were replaced.
    pub restarts: u64,
    /// Tasks whose deadline passed.
    pub deadlines: u64,
    /// Bytes reserved now, by all workers.
    pub reserved_bytes: u64,
    /// The most that was ever reserved at once.
    pub peak_reserved_bytes: u64,
    /// Anonymous memory of the process now, swapped or not.
    pub anonymous_bytes: u64,
    /// The highest anonymous memory of the process that was seen.
    pub peak_anonymous_bytes: u64,
}

/// One worker at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// Its number.
    pub worker: usize,
    /// Whether it runs; otherwise it starts again soon.
    pub up: bool,
    /// Its compute threads.
    pub lanes: usize,
    /// Names of the tasks on its lanes.
    pub running: Vec<Arc<str>>,
    /// Tasks that wait in its queue.
    pub queued: usize,
    /// Their projected bytes.
    pub queued_bytes: u64,
    /// Bytes reserved by its tasks.
    pub reserved_bytes: u64,
    /// Bytes that it may hold.
    pub allowance_bytes: u64,
}

impl Snapshot {
    pub(crate) fn take(hub: &Hub) -> Snapshot {
        if hub.same_process().is_err() {
            return Snapshot::default();
        }
        let (view, counts, queued, waiting, ledger) =
            hub.look(|core| (core.view(), core.counts(), core.queued(), core.waiting(), core.ledger()));
        let Counts {
            submitted,
            started,
            ended,
            failed,
            cancelled,
            retried,
            stolen,
            loans,
            lone,
            overdrafts,
            restarts,
            deadlines,
        } = counts;
        Snapshot {
            workers: view.into_iter().map(WorkerSnapshot::from).collect(),
            queued,
            waiting,
            submitted,
            started,
            ended,
            failed,
            cancelled,
            retried,
            stolen,
            loans,
            lone,
            overdrafts,
            restarts,
            deadlines,
            reserved_bytes: ledger.used(),
            peak_reserved_bytes: ledger.peak(),
            anonymous_bytes: ProcessMemory::read(&Roots::default()).map_or(0, |memory| memory.anonymous_bytes()),
            peak_anonymous_bytes: hub.meter.peak_bytes(),
        }
    }
}

impl From<WorkerView> for WorkerSnapshot {
    fn from(view: WorkerView) -> Self {
        let WorkerView { worker, up, lanes, running, queued, queued_bytes, reserved, allowance } = view;
        let (reserved_bytes, allowance_bytes) = (reserved, allowance);
        WorkerSnapshot { worker, up, lanes, running, queued, queued_bytes, reserved_bytes, allowance_bytes }
    }
}
