//! Every decision of the runtime, pure: what happened goes in, what to do comes out.
//!
//! ```text
//!   submit finish seek cancel wait_on lane_lost worker_lost scale tick ──▶ Core ──▶ Effects, and the caller's next step
//! ```
//!
//! The core knows no clock, no thread and no file; time is an argument, a task's work is an opaque `W`. The hub
//! (`hub.rs`) calls it under one lock and carries the effects out after the lock is gone, so no user code and no I/O
//! runs under it. The simulator (`sim.rs`) drives the very same code through random clusters, deaths and cancels.
//!
//! Always true, and asserted by the simulator after each step: every unfinished task is either waiting for inputs, in
//! exactly one queue, or on one lane's stack; a task is granted all its bytes or none; while a task can run, one runs.

mod admission;
mod lifecycle;
mod placement;
mod queries;
pub(crate) mod restart;
#[cfg(test)]
mod sim;
mod table;
mod waiting;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::budget::{Budget, Ledger, Reservation};
use crate::error::Error;
use placement::Queue;
use restart::{Deaths, RestartPolicy};
use table::{Entry, State, Table};

pub(crate) use queries::WorkerView;
pub(crate) use table::TaskId;
pub(crate) use waiting::WaitStep;

/// A compute thread's number within its cluster; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneId(pub(crate) usize);

/// What is asked of a task when it is submitted.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: Arc<str>,
    pub(crate) priority: i32,
    /// Bytes it will hold at most.
    pub(crate) need: u64,
    /// How often it may be started again.
    pub(crate) retries: u32,
    /// When its future is answered with `Error::Deadline`, in the core's milliseconds.
    pub(crate) deadline_ms: Option<u64>,
    /// The only worker it may run on.
    pub(crate) pinned: Option<usize>,
    /// Tasks that must end first.
    pub(crate) inputs: Vec<TaskId>,
    /// May pass the queue's limit: it comes from inside a task, which must not wait for room.
    pub(crate) nested: bool,
    /// May need more than the whole cluster has; then it runs alone.
    pub(crate) oversize: bool,
}

/// Work handed to a lane, with the bytes it was granted.
#[derive(Debug)]
pub(crate) struct Run<W> {
    pub(crate) lane: LaneId,
    pub(crate) worker: usize,
    pub(crate) task: TaskId,
    pub(crate) name: Arc<str>,
    pub(crate) work: W,
    pub(crate) retries_left: u32,
    pub(crate) grant: Option<Reservation>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its future is answered.
    Done,
    /// It did a part, or failed and may try again: back into the queue.
    Again,
}

/// What a lane does next.
#[derive(Debug)]
#[must_use = "a lane that ignores its next step loses a task"]
pub(crate) enum Next<W> {
    /// Run this.
    Run(Run<W>),
    /// Look again for a moment before sleeping.
    Seek,
    /// Sleep until a message comes.
    Park,
    /// Go on with the task below on the stack, which waited for the one that ended.
    Resume,
    /// End the thread.
    Stop,
}

/// What the hub must do after the lock is gone.
#[derive(Debug)]
pub(crate) enum Effect<W> {
    /// Hand the work to its parked lane.
    Run(Run<W>),
    /// Answer the task's future with the error, and tell its code, where it runs, to stop.
    Fail { work: W, error: Error },
    /// Drop the work of a task whose future was answered before: its `Drop` is the user's, and must not run under the lock.
    Discard(W),
    /// Wake a lane that waits inside a task, to look again.
    Poke(LaneId),
    /// End a parked lane.
    StopLane(LaneId),
    /// Start one lane of this worker after so long.
    StartLane { worker: usize, after_ms: u64 },
    /// Start this worker's actor after so long.
    StartWorker { worker: usize, after_ms: u64 },
    /// Stop this worker's actor.
    StopWorker { worker: usize },
    /// Call `tick` at this time.
    Timer { at_ms: u64 },
    /// Let those in who wait for room in the queue.
    Room,
}

/// Settings that the core needs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) allowance: u64,
    pub(crate) queue_limit: usize,
    /// Bytes beyond all allowances that nested waits may use.
    pub(crate) overdraft: u64,
    pub(crate) policy: RestartPolicy,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) retried: u64,
    pub(crate) stolen: u64,
    pub(crate) loans: u64,
    pub(crate) lone: u64,
    pub(crate) overdrafts: u64,
    pub(crate) restarts: u64,
    pub(crate) deadlines: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneState {
    Idle,
    Seeking,
    Busy,
    /// Its task passed a deadline: it ends when that task does.
    Stuck,
    Gone,
}

#[derive(Debug)]
struct Lane {
    worker: usize,
    state: LaneState,
    /// Running tasks; each but the last waits for something inside its own code.
    stack: Vec<TaskId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkerState {
    Up,
    /// Died; starts again soon.
    Restarting,
    /// Retired or given up; its lanes end with what they run.
    Gone,
}

#[derive(Debug)]
struct Worker {
    state: WorkerState,
    budget: Arc<Budget>,
    queue: Queue,
    deaths: Deaths,
    lanes: usize,
}

/// The state of a cluster.
#[derive(Debug)]
pub(crate) struct Core<W> {
    settings: Settings,
    ledger: Arc<Ledger>,
    tasks: Table<W>,
    workers: Vec<Worker>,
    lanes: Vec<Lane>,
    idle: Vec<LaneId>,
    seeking: usize,
    /// Tasks in queues.
    queued: usize,
    /// Tasks whose inputs are not there.
    waiting: usize,
    /// Running tasks that hold a grant.
    granted: usize,
    /// The task for which the others hold back (`admission.rs`).
    claim: Option<TaskId>,
    /// Lanes that sleep inside a nested wait.
    sleepers: Vec<LaneId>,
    deadlines: BinaryHeap<Reverse<(u64, TaskId)>>,
    /// The earliest tick that was asked for and has not come.
    armed_ms: Option<u64>,
    next_seq: u64,
    /// Somebody was turned away for want of room.
    turned_away: bool,
    closed: Option<Error>,
    counts: Counts,
}

impl<W: Clone> Core<W> {
    /// Makes a cluster without workers; `scale` adds them.
    pub(crate) fn new(settings: Settings) -> Self {
        Core {
            settings,
            ledger: Ledger::new(),
            tasks: Table::new(),
            workers: Vec::new(),
            lanes: Vec::new(),
            idle: Vec::new(),
            seeking: 0,
            queued: 0,
            waiting: 0,
            granted: 0,
            claim: None,
            sleepers: Vec::new(),
            deadlines: BinaryHeap::new(),
            armed_ms: None,
            next_seq: 0,
            turned_away: false,
            closed: None,
            counts: Counts::default(),
        }
    }

    /// Takes a task: it waits for its inputs, or is queued, or is refused with the reason.
    pub(crate) fn submit(&mut self, spec: Spec, work: W, out: &mut Vec<Effect<W>>) -> Result<TaskId, Error> {
        self.refuse(&spec)?;
        self.counts.submitted += 1;
        self.next_seq += 1;
        let mut inputs = spec.inputs;
        inputs.retain(|input| self.tasks.get(*input).is_some_and(|entry| !entry.abandoned));
        let deadline_ms = spec.deadline_ms;
        let id = self.tasks.insert(Entry {
            state: State::Waiting,
            name: spec.name,
            work,
            priority: spec.priority,
            need: spec.need,
            retries_left: spec.retries,
            attempts: 0,
            pinned: spec.pinned,
            seq: self.next_seq,
            passed: 0,
            inputs_left: inputs.len() as u32,
            inputs: Vec::new(),
            dependents: Vec::new(),
            waiting_on: None,
            abandoned: false,
        });
        for input in &inputs {
            self.tasks.get_mut(*input).expect("unfinished inputs were kept above").dependents.push(id);
        }
        self.waiting += 1;
        if inputs.is_empty() {
            self.enqueue(id, None, out);
        } else {
            self.tasks.get_mut(id).expect("just inserted").inputs = inputs;
        }
        if let Some(at_ms) = deadline_ms {
            self.watch_deadline(id, at_ms, out);
        }
        self.settle(out);
        Ok(id)
    }

    fn refuse(&mut self, spec: &Spec) -> Result<(), Error> {
        if let Some(error) = &self.closed {
            return Err(answer_for(error, &spec.name));
        }
        let limit = self.settings.queue_limit.saturating_mul(if spec.nested { 2 } else { 1 });
        let queued = self.queued + self.waiting;
        if queued >= limit {
            self.turned_away = true;
            return Err(Error::QueueFull { queued, limit });
        }
        if spec.need > self.ledger.limit() && !spec.oversize {
            return Err(self.too_big(&spec.name, spec.need));
        }
        Ok(())
    }

    fn too_big(&self, name: &Arc<str>, need: u64) -> Error {
        let (allowance, largest) = (self.settings.allowance, self.ledger.limit());
        Error::too_big(name.clone(), need, allowance, largest)
    }

    /// Moves a task whose inputs are there from waiting to a queue.
    fn enqueue(&mut self, id: TaskId, preferred: Option<usize>, out: &mut Vec<Effect<W>>) {
        self.waiting -= 1;
        self.place(id, preferred, out);
    }

    /// Takes the end of an attempt on this lane and says what the lane does next.
    pub(crate) fn finish(&mut self, lane: LaneId, task: TaskId, end: End, out: &mut Vec<Effect<W>>) -> Next<W> {
        if self.lanes[lane.0].stack.last() == Some(&task) {
            self.lanes[lane.0].stack.pop();
            self.leave_lane(task);
            let abandoned = self.tasks.get(task).is_none_or(|entry| entry.abandoned);
            if end == End::Again && !abandoned && self.closed.is_none() {
                self.waiting += 1;
                self.enqueue(task, None, out);
            } else if end == End::Again && !abandoned {
                let error = self.closed.clone().expect("checked above");
                self.fail(task, &error, out);
            } else {
                self.counts.ended += 1;
                let worker = self.lanes[lane.0].worker;
                self.forget(task, Some(worker), out);
            }
        }
        let next = self.next_step(lane, true);
        self.settle(out);
        next
    }

    /// Gives a lane that has nothing to do its next task; `last` when it is about to sleep.
    pub(crate) fn seek(&mut self, lane: LaneId, last: bool, out: &mut Vec<Effect<W>>) -> Next<W> {
        let next = self.next_step(lane, !last);
        self.settle(out);
        next
    }

    /// Takes one of the task's retries, if it has any left.
    pub(crate) fn may_retry(&mut self, task: TaskId) -> bool {
        let Some(entry) = self.tasks.get_mut(task).filter(|entry| entry.retries_left > 0 && !entry.abandoned) else {
            return false;
        };
        entry.retries_left -= 1;
        self.counts.retried += 1;
        true
    }

    /// Forgets that a running task ran: its grant is back, its wait is over.
    fn leave_lane(&mut self, task: TaskId) {
        if let Some(entry) = self.tasks.get_mut(task) {
            entry.waiting_on = None;
            if entry.need > 0 {
                self.granted -= 1;
            }
        }
    }

    /// Removes a task that is in no queue and on no stack, and lets those go on who waited for it.
    fn forget(&mut self, task: TaskId, ended_on: Option<usize>, out: &mut Vec<Effect<W>>) {
        if self.claim == Some(task) {
            self.claim = None;
        }
        if let Some(mut entry) = self.tasks.remove(task) {
            self.release_dependents(std::mem::take(&mut entry.dependents), ended_on, out);
        }
    }

    fn release_dependents(&mut self, dependents: Vec<TaskId>, ended_on: Option<usize>, out: &mut Vec<Effect<W>>) {
        for dependent in dependents {
            let Some(entry) = self.tasks.get_mut(dependent) else { continue };
            entry.inputs_left -= 1;
            if entry.inputs_left == 0 {
                entry.inputs = Vec::new();
                // The last input's result is where its task ran.
                self.enqueue(dependent, ended_on, out);
            }
        }
    }

    /// Wakes whoever can go on after a change: idle lanes, sleepers inside waits, submitters without room.
    fn settle(&mut self, out: &mut Vec<Effect<W>>) {
        self.wake_idle(out);
        out.extend(self.sleepers.drain(..).map(Effect::Poke));
        if self.turned_away && self.queued + self.waiting <= self.settings.queue_limit / 8 * 7 {
            self.turned_away = false;
            out.push(Effect::Room);
        }
    }
}

/// Returns why the cluster takes no more work, as this task's answer.
fn answer_for(closed: &Error, name: &Arc<str>) -> Error {
    match closed {
        Error::Shutdown { .. } => Error::Shutdown { task: name.clone() },
        other => other.clone(),
    }
}
