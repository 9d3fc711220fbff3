//! Where a task waits for its turn, and which lane takes it.
//!
//! A task goes to the worker it is pinned to, else to the one that holds its inputs, else to the one with the fewest
//! projected bytes queued. A lane takes from its worker's queue; when that has nothing it may run, from the longest
//! other one. Within a queue: higher priority first, then first come, first served.
//!
//! A queue may hold ids of tasks that were cancelled or moved; they are skipped when met, `len` does not count them, and
//! they are swept out once they outweigh the living.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::admission::PASSES;
use super::*;

/// The tasks that wait on one worker.
#[derive(Debug, Default)]
pub(super) struct Queue {
    by_priority: BTreeMap<Reverse<i32>, VecDeque<TaskId>>,
    /// Live tasks.
    pub(super) len: usize,
    /// Their projected bytes.
    pub(super) bytes: u64,
    /// At most so many ids in it are of tasks that left.
    left: usize,
}

/// How many ids of tasks that left a list may hold beside twice the living.
pub(super) const SWEEP_AT: usize = 1024;

impl Queue {
    fn push(&mut self, id: TaskId, priority: i32, bytes: u64) {
        self.by_priority.entry(Reverse(priority)).or_default().push_back(id);
        self.len += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Empties the queue, in order.
    pub(super) fn take_all(&mut self) -> Vec<TaskId> {
        let all = std::mem::take(self);
        all.by_priority.into_values().flatten().collect()
    }
}

impl<W: Clone> Core<W> {
    /// Puts a task that is ready into the queue of a worker.
    pub(super) fn place(&mut self, id: TaskId, preferred: Option<usize>, out: &mut Vec<Effect<W>>) {
        let entry = self.tasks.get(id).expect("a placed task exists");
        let (need, pinned) = (entry.need, entry.pinned);
        let Some(worker) = self.worker_for(pinned, preferred) else {
            let error = self.down_error();
            return self.fail_placed(id, &error, out);
        };
        let entry = self.tasks.get_mut(id).expect("seen above");
        entry.state = State::Queued { worker };
        if pinned.is_some() {
            entry.pinned = Some(worker);
        }
        let priority = entry.priority;
        self.workers[worker].queue.push(id, priority, need);
        self.queued += 1;
    }

    /// Answers a task that was to be placed but is neither queued nor counted as waiting.
    fn fail_placed(&mut self, id: TaskId, error: &Error, out: &mut Vec<Effect<W>>) {
        self.waiting += 1;
        self.tasks.get_mut(id).expect("a placed task exists").state = State::Waiting;
        self.fail(id, error, out);
    }

    fn worker_for(&self, pinned: Option<usize>, preferred: Option<usize>) -> Option<usize> {
        let open = |w: &usize| matches!(self.workers[*w].state, WorkerState::Up | WorkerState::Restarting);
        if let Some(w) = pinned.or(preferred).filter(|w| *w < self.workers.len()).filter(open) {
            return Some(w);
        }
        let load = |w: &usize| {
            let worker = &self.workers[*w];
            (worker.state != WorkerState::Up, worker.queue.bytes, worker.queue.len)
        };
        (0..self.workers.len()).filter(open).min_by_key(load)
    }

    /// Takes a task out of its queue's count; the id itself is skipped when it is met.
    pub(super) fn unqueue(&mut self, id: TaskId) {
        let Some(entry) = self.tasks.get_mut(id) else { return };
        let State::Queued { worker } = entry.state else { return };
        entry.state = State::Waiting;
        let need = entry.need;
        let queue = &mut self.workers[worker].queue;
        queue.len -= 1;
        queue.bytes = queue.bytes.saturating_sub(need);
        queue.left += 1;
        self.queued -= 1;
        if queue.left > SWEEP_AT + 2 * queue.len {
            self.sweep(worker);
        }
    }

    /// Takes the ids of tasks that left out of a queue: lanes that are long busy do not meet them.
    fn sweep(&mut self, worker: usize) {
        let (tasks, queue) = (&self.tasks, &mut self.workers[worker].queue);
        let is_here = |id: &TaskId| tasks.get(*id).is_some_and(|entry| entry.state == State::Queued { worker });
        queue.by_priority.retain(|_, ids| {
            ids.retain(is_here);
            ids.shrink_to(2 * ids.len());
            !ids.is_empty()
        });
        queue.left = 0;
    }

    /// Says what a lane does next: run, look on for a moment, sleep, go back down its stack, or end.
    pub(super) fn next_step(&mut self, lane: LaneId, may_seek: bool) -> Next<W> {
        let Lane { worker, state, ref stack } = self.lanes[lane.0];
        if !stack.is_empty() {
            return Next::Resume;
        }
        let has_looked = state == LaneState::Seeking;
        if has_looked {
            self.seeking -= 1;
            self.lanes[lane.0].state = LaneState::Busy;
        }
        if matches!(state, LaneState::Gone | LaneState::Stuck) {
            self.lane_ends(lane);
            return Next::Stop;
        }
        if self.closed.is_some() || self.workers[worker].state != WorkerState::Up {
            self.lane_ends(lane);
            return Next::Stop;
        }
        if let Some(run) = self.next_for(lane) {
            return Next::Run(run);
        }
        // What is queued may be for lanes that sleep and are not woken while this one looks: it looks once.
        if may_seek && !has_looked && self.seeking == 0 {
            self.seeking += 1;
            self.lanes[lane.0].state = LaneState::Seeking;
            return Next::Seek;
        }
        self.lanes[lane.0].state = LaneState::Idle;
        self.idle.push(lane);
        Next::Park
    }

    /// Finds a task that this lane may run, from its own worker's queue or from the longest other one.
    fn next_for(&mut self, lane: LaneId) -> Option<Run<W>> {
        if self.queued == 0 {
            return None;
        }
        let worker = self.lanes[lane.0].worker;
        if let Some(claim) = self.claim
            && let Some(grant) = self.admit_claim(claim, worker)
        {
            return Some(self.start(claim, lane, grant));
        }
        if let Some((id, grant)) = self.take_from(worker, worker) {
            return Some(self.start(id, lane, grant));
        }
        let mut others: Vec<usize> = (0..self.workers.len()).collect();
        others.retain(|w| *w != worker && self.workers[*w].queue.len > 0);
        others.sort_by_key(|w| Reverse(self.workers[*w].queue.len));
        for victim in others {
            if let Some((id, grant)) = self.take_from(victim, worker) {
                self.counts.stolen += 1;
                return Some(self.start(id, lane, grant));
            }
        }
        None
    }

    /// Takes the first task of `queue` that `worker` may run now, looking past at most [`PASSES`] that it may not.
    fn take_from(&mut self, queue: usize, worker: usize) -> Option<(TaskId, Option<Reservation>)> {
        if self.workers[queue].queue.len == 0 {
            return None;
        }
        let mut by_priority = std::mem::take(&mut self.workers[queue].queue.by_priority);
        let mut found = None;
        let mut refused = 0;
        'search: for ids in by_priority.values_mut() {
            let mut at = 0;
            while at < ids.len() {
                let id = ids[at];
                if !self.is_queued_on(id, queue) {
                    ids.remove(at);
                    continue;
                }
                if let Some(grant) = self.admit(id, worker, queue, refused == 0) {
                    ids.remove(at);
                    found = Some((id, grant));
                    break 'search;
                }
                refused += 1;
                at += 1;
                if refused > PASSES || self.was_passed_too_often(id) {
                    break 'search;
                }
            }
        }
        by_priority.retain(|_, ids| !ids.is_empty());
        self.workers[queue].queue.by_priority = by_priority;
        if refused > 0
            && let Some((_, Some(_))) = &found
        {
            self.note_passed(queue);
        }
        found
    }

    fn is_queued_on(&self, id: TaskId, worker: usize) -> bool {
        self.tasks.get(id).is_some_and(|entry| entry.state == State::Queued { worker })
    }

    fn was_passed_too_often(&self, id: TaskId) -> bool {
        self.tasks.get(id).is_some_and(|entry| entry.passed >= PASSES as u32)
    }

    /// Counts a pass against the head of the queue, which was let wait.
    fn note_passed(&mut self, queue: usize) {
        let head = self.workers[queue].queue.by_priority.values().flatten().next().copied();
        if let Some(entry) = head.and_then(|id| self.tasks.get_mut(id)) {
            entry.passed += 1;
        }
    }

    /// Puts a task on a lane's stack.
    pub(super) fn start(&mut self, id: TaskId, lane: LaneId, grant: Option<Reservation>) -> Run<W> {
        self.unqueue(id);
        if self.claim == Some(id) {
            self.claim = None;
        }
        let worker = self.lanes[lane.0].worker;
        self.lanes[lane.0].state = LaneState::Busy;
        self.lanes[lane.0].stack.push(id);
        self.counts.started += 1;
        let entry = self.tasks.get_mut(id).expect("a started task exists");
        entry.state = State::Running { lane };
        entry.attempts += 1;
        if entry.need > 0 {
            self.granted += 1;
        }
        let (name, work, retries_left) = (entry.name.clone(), entry.work.clone(), entry.retries_left);
        Run { lane, worker, task: id, name, work, retries_left, grant }
    }

    /// Hands tasks to parked lanes, as long as there are more than those already looking will take.
    pub(super) fn wake_idle(&mut self, out: &mut Vec<Effect<W>>) {
        if self.queued <= self.seeking || self.idle.is_empty() {
            return;
        }
        let mut still_idle = Vec::new();
        while let Some(lane) = self.idle.pop() {
            match if self.queued > self.seeking { self.next_for(lane) } else { None } {
                Some(run) => out.push(Effect::Run(run)),
                None => still_idle.push(lane),
            }
        }
        still_idle.reverse();
        self.idle = still_idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(pinned: Option<usize>, inputs: Vec<TaskId>) -> Spec {
        let (name, nested, oversize) = ("t".into(), false, false);
        Spec { name, priority: 0, need: 0, retries: 0, deadline_ms: None, pinned, inputs, nested, oversize }
    }

    #[test]
    fn a_task_goes_to_the_worker_that_holds_its_inputs() {
        let settings = Settings { allowance: 100, queue_limit: 10, overdraft: 0, policy: RestartPolicy::default() };
        let (mut core, out) = (Core::new(settings), &mut Vec::new());
        core.scale(2, out);
        let lanes = [0, 1].map(|worker| {
            assert!(core.worker_up(worker));
            core.lane_up(worker).expect("an open worker")
        });
        let input = core.submit(spec(Some(1), vec![]), "input", out).expect("taken");
        let other = core.submit(spec(Some(1), vec![]), "other", out).expect("taken");
        assert!(matches!(core.seek(lanes[1], true, out), Next::Run(run) if run.task == input));
        let dependent = core.submit(spec(None, vec![input]), "dependent", out).expect("taken");
        assert!(matches!(core.finish(lanes[1], input, End::Done, out), Next::Run(run) if run.task == other));
        assert_eq!(core.tasks.get(dependent).map(|entry| entry.state), Some(State::Queued { worker: 1 }));
    }
}
