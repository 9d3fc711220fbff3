//! What others may read of the core, without changing it.

use super::*;

/// The state of one worker, for snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerView {
    pub(crate) worker: usize,
    pub(crate) up: bool,
    pub(crate) lanes: usize,
    pub(crate) running: Vec<Arc<str>>,
    pub(crate) queued: usize,
    pub(crate) queued_bytes: u64,
    pub(crate) reserved: u64,
    pub(crate) allowance: u64,
}

impl<W: Clone> Core<W> {
    /// Returns how many tasks are in queues.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Returns how many tasks wait for their inputs.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns whether a lane runs the task.
    pub(crate) fn is_running(&self, id: TaskId) -> bool {
        self.tasks.get(id).is_some_and(|entry| matches!(entry.state, State::Running { .. }))
    }

    /// Returns the account of a worker.
    pub(crate) fn budget(&self, worker: usize) -> Arc<Budget> {
        self.workers[worker].budget.clone()
    }

    /// Returns the number of workers that are up or start again.
    pub(crate) fn n_workers(&self) -> usize {
        self.workers.iter().filter(|w| w.state != WorkerState::Gone).count()
    }

    /// Returns the account of all workers.
    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        self.ledger.clone()
    }

    /// Returns why no more work is taken, as this task's answer, once that is so.
    pub(crate) fn why_closed(&self, name: &Arc<str>) -> Option<Error> {
        self.closed.as_ref().map(|error| super::answer_for(error, name))
    }

    /// Grants what a task needs that runs on the caller's thread, where nothing else runs.
    pub(crate) fn admit_serially(&mut self, spec: &Spec) -> Result<Option<Reservation>, Error> {
        self.refuse(spec)?;
        self.counts.submitted += 1;
        self.counts.started += 1;
        self.counts.ended += 1;
        let budget = &self.workers[0].budget;
        let grant = || budget.try_borrow(spec.need).unwrap_or_else(|| budget.overdraw(spec.need));
        Ok((spec.need > 0).then(grant))
    }

    /// Returns the counters since the start.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the state of all workers that are not gone.
    pub(crate) fn view(&self) -> Vec<WorkerView> {
        let known = self.workers.iter().enumerate().filter(|(_, worker)| worker.state != WorkerState::Gone);
        known.map(|(w, worker)| self.view_of(w, worker)).collect()
    }

    fn view_of(&self, w: usize, worker: &Worker) -> WorkerView {
        let stacks = self.lanes.iter().filter(|lane| lane.worker == w).flat_map(|lane| &lane.stack);
        WorkerView {
            worker: w,
            up: worker.state == WorkerState::Up,
            lanes: worker.lanes,
            running: stacks.filter_map(|id| self.tasks.get(*id)).map(|entry| entry.name.clone()).collect(),
            queued: worker.queue.len,
            queued_bytes: worker.queue.bytes,
            reserved: worker.budget.used(),
            allowance: worker.budget.limit(),
        }
    }
}
