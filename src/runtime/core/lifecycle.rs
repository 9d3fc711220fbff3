//! How tasks, lanes and workers come and go: cancels, deadlines, deaths, restarts, scaling, the end.
//!
//! A lane that dies takes its running tasks with it, a worker its lanes; a lost task starts again while it has retries,
//! else its future names the cause. What was only queued is placed again at no cost. A worker that dies more often than
//! the restart policy allows is given up and its queue goes to the others; with the last worker the cluster is down, and
//! every future says so.

use super::placement::SWEEP_AT;
use super::restart::Verdict;
use super::*;

impl<W: Clone> Core<W> {
    /// Answers a task that will not run (again) with an error, and lets those go on who waited for it.
    pub(super) fn fail(&mut self, id: TaskId, error: &Error, out: &mut Vec<Effect<W>>) {
        let Some(entry) = self.tasks.get(id) else { return };
        match entry.state {
            State::Waiting => self.waiting -= 1,
            State::Queued { .. } => self.unqueue(id),
            State::Running { .. } => {}
        }
        let entry = self.tasks.get(id).expect("seen above");
        self.counts.failed += 1;
        let work = entry.work.clone();
        out.push(if entry.abandoned {
            Effect::Discard(work)
        } else {
            Effect::Fail { work, error: answer_for(error, &entry.name) }
        });
        self.forget(id, None, out);
    }

    /// Answers a running task at once; its code goes on until it notices, its grant stays until it ends.
    fn abandon(&mut self, id: TaskId, error: Error, out: &mut Vec<Effect<W>>) {
        let Some(entry) = self.tasks.get_mut(id).filter(|entry| !entry.abandoned) else { return };
        entry.abandoned = true;
        out.push(Effect::Fail { work: entry.work.clone(), error });
        let dependents = std::mem::take(&mut entry.dependents);
        self.release_dependents(dependents, None, out);
    }

    /// Cancels a task: one that has not started never will, a running one is told.
    pub(crate) fn cancel(&mut self, id: TaskId, out: &mut Vec<Effect<W>>) {
        let Some(entry) = self.tasks.get(id).filter(|entry| !entry.abandoned) else { return };
        let error = Error::Cancelled { task: entry.name.clone() };
        self.counts.cancelled += 1;
        match entry.state {
            State::Running { .. } => self.abandon(id, error, out),
            _ => self.fail(id, &error, out),
        }
        self.settle(out);
    }

    pub(super) fn watch_deadline(&mut self, id: TaskId, at_ms: u64, out: &mut Vec<Effect<W>>) {
        self.deadlines.push(Reverse((at_ms, id)));
        // Most tasks end long before their deadline: what is left of them is swept once it outweighs the living.
        if self.deadlines.len() > SWEEP_AT + 2 * self.tasks.len() {
            let tasks = &self.tasks;
            self.deadlines.retain(|Reverse((_, id))| tasks.get(*id).is_some());
        }
        self.arm(out);
    }

    /// Asks for a tick at the earliest deadline, unless one that comes no later was asked for.
    fn arm(&mut self, out: &mut Vec<Effect<W>>) {
        let Some(Reverse((at_ms, _))) = self.deadlines.peek().copied() else { return };
        if self.armed_ms.is_none_or(|armed| at_ms < armed) {
            self.armed_ms = Some(at_ms);
            out.push(Effect::Timer { at_ms });
        }
    }

    /// Answers the tasks whose deadline has passed. A lane that runs one is replaced, within its worker's restart policy.
    pub(crate) fn tick(&mut self, now_ms: u64, out: &mut Vec<Effect<W>>) {
        self.armed_ms = self.armed_ms.filter(|armed| *armed > now_ms);
        while let Some(Reverse((at_ms, id))) = self.deadlines.peek().copied().filter(|due| due.0.0 <= now_ms) {
            self.deadlines.pop();
            let Some(entry) = self.tasks.get(id).filter(|entry| !entry.abandoned) else { continue };
            self.counts.deadlines += 1;
            let error = Error::Deadline { task: entry.name.clone(), late_ms: now_ms - at_ms };
            match entry.state {
                State::Running { lane } => {
                    self.abandon(id, error, out);
                    self.replace_stuck(lane, now_ms, out);
                }
                _ => self.fail(id, &error, out),
            }
        }
        self.arm(out);
        self.settle(out);
    }

    fn replace_stuck(&mut self, lane: LaneId, now_ms: u64, out: &mut Vec<Effect<W>>) {
        if self.lanes[lane.0].state != LaneState::Busy {
            return;
        }
        let worker = self.lanes[lane.0].worker;
        match self.workers[worker].deaths.record(&self.settings.policy, now_ms) {
            Verdict::Restart { .. } => {
                self.lanes[lane.0].state = LaneState::Stuck;
                out.push(Effect::StartLane { worker, after_ms: 0 });
            }
            // The other lanes go on, and so does this one, should its task ever end.
            Verdict::GiveUp if self.usable_lanes(worker) > 1 => {}
            Verdict::GiveUp => {
                self.give_up(worker, &"its lane is stuck in a task that passed its deadline".into(), out)
            }
        }
    }

    fn usable_lanes(&self, worker: usize) -> usize {
        let usable = |lane: &&Lane| lane.worker == worker && !matches!(lane.state, LaneState::Stuck | LaneState::Gone);
        self.lanes.iter().filter(usable).count()
    }

    /// Registers a lane thread that has started; its first step is `seek`. `None`: it is not wanted any more.
    pub(crate) fn lane_up(&mut self, worker: usize) -> Option<LaneId> {
        if self.closed.is_some() || self.workers[worker].state != WorkerState::Up {
            return None;
        }
        self.workers[worker].lanes += 1;
        self.lanes.push(Lane { worker, state: LaneState::Busy, stack: Vec::new() });
        Some(LaneId(self.lanes.len() - 1))
    }

    /// Takes the end of a lane thread that was not told to end: its tasks are lost, the lane is replaced.
    pub(crate) fn lane_lost(&mut self, lane: LaneId, cause: &Arc<str>, now_ms: u64, out: &mut Vec<Effect<W>>) {
        if self.lanes[lane.0].state == LaneState::Gone && self.lanes[lane.0].stack.is_empty() {
            return;
        }
        let worker = self.lanes[lane.0].worker;
        let was_stuck = self.lanes[lane.0].state == LaneState::Stuck;
        self.drop_lane(lane, cause, out);
        if !was_stuck && self.closed.is_none() && self.workers[worker].state == WorkerState::Up {
            self.counts.restarts += 1;
            match self.workers[worker].deaths.record(&self.settings.policy, now_ms) {
                Verdict::Restart { after_ms } => out.push(Effect::StartLane { worker, after_ms }),
                Verdict::GiveUp if self.usable_lanes(worker) > 0 => {}
                Verdict::GiveUp => self.give_up(worker, cause, out),
            }
        }
        self.settle(out);
    }

    /// Marks a lane as gone and answers or places again what it ran.
    fn drop_lane(&mut self, lane: LaneId, cause: &Arc<str>, out: &mut Vec<Effect<W>>) {
        let stack = std::mem::take(&mut self.lanes[lane.0].stack);
        let worker = self.lanes[lane.0].worker;
        self.lane_ends(lane);
        // Its thread may sleep inside a wait; it must look again to see that nobody needs it.
        out.push(Effect::Poke(lane));
        for task in stack.into_iter().rev() {
            self.leave_lane(task);
            let Some(entry) = self.tasks.get_mut(task) else { continue };
            if !entry.abandoned && entry.retries_left > 0 && self.closed.is_none() {
                entry.retries_left -= 1;
                self.counts.retried += 1;
                self.waiting += 1;
                self.enqueue(task, None, out);
            } else {
                let (task_name, attempts) = (entry.name.clone(), entry.attempts);
                let error = Error::WorkerLost { task: task_name, worker, cause: cause.clone(), attempts };
                self.fail(task, &error, out);
            }
        }
    }

    /// Takes a lane out of the lists; its thread ends or has ended.
    pub(super) fn lane_ends(&mut self, lane: LaneId) {
        let Lane { worker, state, .. } = self.lanes[lane.0];
        match state {
            LaneState::Gone => return,
            LaneState::Seeking => self.seeking -= 1,
            LaneState::Idle => self.idle.retain(|idle| *idle != lane),
            LaneState::Busy | LaneState::Stuck => {}
        }
        self.sleepers.retain(|sleeper| *sleeper != lane);
        self.lanes[lane.0].state = LaneState::Gone;
        self.workers[worker].lanes -= 1;
    }

    /// Takes the death of a worker's actor: its running tasks are lost, its queue is placed again, it starts again.
    pub(crate) fn worker_lost(&mut self, worker: usize, cause: &Arc<str>, now_ms: u64, out: &mut Vec<Effect<W>>) {
        if self.workers[worker].state != WorkerState::Up || self.closed.is_some() {
            return;
        }
        self.workers[worker].state = WorkerState::Restarting;
        self.drop_lanes_of(worker, cause, out);
        self.counts.restarts += 1;
        match self.workers[worker].deaths.record(&self.settings.policy, now_ms) {
            Verdict::Restart { after_ms } => {
                self.rehome(worker, out);
                out.push(Effect::StartWorker { worker, after_ms });
            }
            Verdict::GiveUp => self.give_up(worker, cause, out),
        }
        self.settle(out);
    }

    fn drop_lanes_of(&mut self, worker: usize, cause: &Arc<str>, out: &mut Vec<Effect<W>>) {
        for lane in 0..self.lanes.len() {
            if self.lanes[lane].worker == worker && self.lanes[lane].state != LaneState::Gone {
                if self.lanes[lane].state == LaneState::Idle {
                    out.push(Effect::StopLane(LaneId(lane)));
                }
                self.drop_lane(LaneId(lane), cause, out);
            }
        }
    }

    /// Takes the news that a worker's actor runs (again); its lanes report by themselves.
    pub(crate) fn worker_up(&mut self, worker: usize) -> bool {
        let wanted = self.workers[worker].state == WorkerState::Restarting && self.closed.is_none();
        if wanted {
            self.workers[worker].state = WorkerState::Up;
        }
        wanted
    }

    fn give_up(&mut self, worker: usize, cause: &Arc<str>, out: &mut Vec<Effect<W>>) {
        self.workers[worker].state = WorkerState::Gone;
        self.workers[worker].budget = Budget::new(&self.ledger, 0);
        out.push(Effect::StopWorker { worker });
        if self.workers.iter().any(|w| matches!(w.state, WorkerState::Up | WorkerState::Restarting)) {
            self.rehome(worker, out);
        } else {
            let policy = &self.settings.policy;
            let (max, within) = (policy.max_restarts, policy.within);
            let cause = format!("worker {worker} died more than {max} times within {within:?} ({cause})");
            self.close(Error::ClusterDown { cause: cause.into() }, out);
        }
    }

    /// Places what a worker had queued with the others, where there are any.
    fn rehome(&mut self, worker: usize, out: &mut Vec<Effect<W>>) {
        let mut moved = self.workers[worker].queue.take_all();
        moved.retain(|id| match self.tasks.get_mut(*id) {
            Some(entry) if entry.state == (State::Queued { worker }) => {
                entry.state = State::Waiting;
                true
            }
            _ => false,
        });
        self.queued -= moved.len();
        moved.into_iter().for_each(|id| self.place(id, None, out));
    }

    /// Makes the cluster have `n` workers while work runs: new ones start, the last ones retire.
    pub(crate) fn scale(&mut self, n: usize, out: &mut Vec<Effect<W>>) {
        if self.closed.is_some() {
            return;
        }
        let alive = |w: &Worker| matches!(w.state, WorkerState::Up | WorkerState::Restarting);
        let mut have = self.workers.iter().filter(|w| alive(w)).count();
        while have < n {
            let worker = self.open_worker();
            out.push(Effect::StartWorker { worker, after_ms: 0 });
            have += 1;
        }
        for worker in (0..self.workers.len()).rev() {
            if have > n && alive(&self.workers[worker]) {
                self.retire(worker, out);
                have -= 1;
            }
        }
        self.settle(out);
    }

    fn open_worker(&mut self) -> usize {
        let fresh = Worker {
            state: WorkerState::Restarting,
            budget: Budget::new(&self.ledger, self.settings.allowance),
            queue: Queue::default(),
            deaths: Deaths::default(),
            lanes: 0,
        };
        match self.workers.iter().position(|w| w.state == WorkerState::Gone && w.lanes == 0) {
            Some(worker) => {
                self.workers[worker] = fresh;
                worker
            }
            None => {
                self.workers.push(fresh);
                self.workers.len() - 1
            }
        }
    }

    fn retire(&mut self, worker: usize, out: &mut Vec<Effect<W>>) {
        self.workers[worker].state = WorkerState::Gone;
        self.workers[worker].budget = Budget::new(&self.ledger, 0);
        self.stop_idle(Some(worker), out);
        self.rehome(worker, out);
        out.push(Effect::StopWorker { worker });
    }

    fn stop_idle(&mut self, only: Option<usize>, out: &mut Vec<Effect<W>>) {
        let stopping: Vec<LaneId> =
            self.idle.iter().copied().filter(|lane| only.is_none_or(|w| self.lanes[lane.0].worker == w)).collect();
        for lane in stopping {
            self.lane_ends(lane);
            out.push(Effect::StopLane(lane));
        }
    }

    /// Ends the cluster: what runs may finish, everything else is answered with `error`, nothing more is taken.
    pub(crate) fn close(&mut self, error: Error, out: &mut Vec<Effect<W>>) {
        if self.closed.is_some() {
            return;
        }
        self.closed = Some(error.clone());
        for id in self.tasks.ids() {
            let running = self.tasks.get(id).is_none_or(|entry| matches!(entry.state, State::Running { .. }));
            if !running {
                self.fail(id, &error, out);
            }
        }
        self.stop_idle(None, out);
        self.turned_away = true;
        self.settle(out);
    }

    /// Answers what still runs too: the threads are gone, or the grace is over.
    pub(crate) fn abandon_all(&mut self, out: &mut Vec<Effect<W>>) {
        let error = self.down_error();
        for id in self.tasks.ids() {
            if let Some(entry) = self.tasks.get(id) {
                let error = answer_for(&error, &entry.name);
                self.abandon(id, error, out);
            }
        }
        self.settle(out);
    }

    pub(super) fn down_error(&self) -> Error {
        let gone = || Error::ClusterDown { cause: "it has no workers left".into() };
        self.closed.clone().unwrap_or_else(gone)
    }
}
