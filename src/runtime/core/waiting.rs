//! Waiting for a future inside a task: metered, and never for ever.
//!
//! The normal form is declared inputs: such a task is queued when its inputs are there and holds nothing meanwhile. A
//! task may also wait inside its own code. Its lane then follows the wait path from what it waits for (through what that
//! one waits for, or through its first missing input) and runs only what stands at the end of it:
//!
//! - it ends at a task that runs: sleep; any change wakes the lane to look again;
//! - at a queued task: run it here, in the room that is left, else as a loan, else, where the *oldest* running task's
//!   path ends there too, by overdraft; beyond that the queued task fails with `NestedBudget`;
//! - at a task of this very lane's stack: `WouldDeadlock`.
//!
//! Helping with anything else (as work-stealing joins do) puts foreign tasks on top of one that others wait for, which
//! wedges; so does overdrawing for the oldest task alone. Every edge between two tasks of one stack is an edge of the
//! wait path, so the stack adds no wait that the path does not have.

use super::*;

/// How deep tasks may wait inside tasks on one lane's stack.
pub(super) const MAX_DEPTH: usize = 64;

/// What a lane does that waits inside a task.
#[derive(Debug)]
#[must_use = "a wait that ignores its step never ends"]
pub(crate) enum WaitStep<W> {
    /// Run this here, then ask again.
    Run(Run<W>),
    /// Sleep until poked or until the future is answered, then ask again.
    Sleep,
    /// The future is answered.
    Ready,
    /// The wait cannot end.
    Fail(Error),
}

/// Where a wait path ends.
enum PathEnd {
    Answered,
    Running,
    Queued(TaskId),
    Cycle,
}

enum Nested {
    Granted(Option<Reservation>),
    Wait,
    Refused { free: u64 },
}

impl<W: Clone> Core<W> {
    /// Takes a step of the wait for `target` in the task on top of this lane's stack.
    pub(crate) fn wait_on(&mut self, lane: LaneId, target: TaskId, out: &mut Vec<Effect<W>>) -> WaitStep<W> {
        let Some(waiter) = self.lanes[lane.0].stack.last().copied() else {
            return WaitStep::Fail(self.lost_while_waiting());
        };
        if let Some(entry) = self.tasks.get_mut(waiter) {
            entry.waiting_on = Some(target);
        }
        let (end, path) = self.follow(target, lane);
        let step = match end {
            PathEnd::Answered => WaitStep::Ready,
            PathEnd::Running => self.sleep(lane),
            PathEnd::Cycle => {
                let path = [&path, self.all_above(&path, lane)].concat();
                WaitStep::Fail(Error::WouldDeadlock { path: self.spell(waiter, &path) })
            }
            PathEnd::Queued(_) if self.lanes[lane.0].stack.len() >= MAX_DEPTH => {
                WaitStep::Fail(Error::TooDeep { depth: self.lanes[lane.0].stack.len() })
            }
            PathEnd::Queued(id) => self.run_nested(id, lane, waiter, &path, out),
        };
        if !matches!(step, WaitStep::Run(_) | WaitStep::Sleep)
            && let Some(entry) = self.tasks.get_mut(waiter)
        {
            entry.waiting_on = None;
        }
        step
    }

    /// Ends the wait of the task on top of this lane's stack.
    pub(crate) fn wait_over(&mut self, lane: LaneId) {
        self.sleepers.retain(|sleeper| *sleeper != lane);
        if let Some(top) = self.lanes[lane.0].stack.last().copied()
            && let Some(entry) = self.tasks.get_mut(top)
        {
            entry.waiting_on = None;
        }
    }

    fn lost_while_waiting(&self) -> Error {
        let cause = Arc::from("the worker was lost while this task waited");
        self.closed.clone().unwrap_or(Error::ClusterDown { cause })
    }

    fn sleep(&mut self, lane: LaneId) -> WaitStep<W> {
        if !self.sleepers.contains(&lane) {
            self.sleepers.push(lane);
        }
        WaitStep::Sleep
    }

    fn run_nested(
        &mut self,
        id: TaskId,
        lane: LaneId,
        waiter: TaskId,
        path: &[TaskId],
        out: &mut Vec<Effect<W>>,
    ) -> WaitStep<W> {
        match self.nested_grant(id, lane) {
            Nested::Granted(grant) => WaitStep::Run(self.start(id, lane, grant)),
            Nested::Wait => self.sleep(lane),
            Nested::Refused { free } => {
                let need = self.tasks.get(id).map_or(0, |entry| entry.need);
                let error = Error::NestedBudget { path: self.spell(waiter, path), need, free };
                self.fail(id, &error, out);
                self.settle(out);
                // Its failure travels along the path as any other; look again at once.
                out.push(Effect::Poke(lane));
                WaitStep::Sleep
            }
        }
    }

    fn nested_grant(&mut self, id: TaskId, lane: LaneId) -> Nested {
        let need = self.tasks.get(id).map_or(0, |entry| entry.need);
        let budget = self.workers[self.lanes[lane.0].worker].budget.clone();
        if need == 0 {
            return Nested::Granted(None);
        }
        if let Some(grant) = budget.try_reserve(need).or_else(|| budget.try_borrow(need)) {
            return Nested::Granted(Some(grant));
        }
        if !self.is_on_oldest_path(id) {
            return Nested::Wait;
        }
        let limit = self.ledger.limit().saturating_add(self.settings.overdraft);
        let free = limit.saturating_sub(self.ledger.used());
        if need > free {
            return Nested::Refused { free };
        }
        self.counts.overdrafts += 1;
        Nested::Granted(Some(budget.overdraw(need)))
    }

    /// Returns whether the wait path of the oldest running task ends at this queued one.
    fn is_on_oldest_path(&self, id: TaskId) -> bool {
        let running = self.lanes.iter().flat_map(|lane| &lane.stack);
        let seq = |task: &&TaskId| self.tasks.get(**task).map_or(u64::MAX, |entry| entry.seq);
        let Some(oldest) = running.min_by_key(seq) else { return true };
        matches!(self.walk(*oldest, &[]).0, PathEnd::Queued(end) if end == id)
    }

    /// Follows the wait path from `target`; a task of this lane's stack on it is a cycle.
    fn follow(&self, target: TaskId, lane: LaneId) -> (PathEnd, Vec<TaskId>) {
        if self.is_unanswered(target) {
            self.walk(target, &self.lanes[lane.0].stack)
        } else {
            (PathEnd::Answered, Vec::new())
        }
    }

    fn walk(&self, start: TaskId, stack: &[TaskId]) -> (PathEnd, Vec<TaskId>) {
        let mut path = Vec::new();
        let mut at = start;
        loop {
            let cycle = stack.contains(&at) || path.contains(&at);
            path.push(at);
            // What has ended since is no obstacle: whoever waited for it is about to look again.
            let Some(entry) = self.tasks.get(at) else { return (PathEnd::Running, path) };
            if cycle {
                return (PathEnd::Cycle, path);
            }
            let next = match entry.state {
                State::Queued { .. } => return (PathEnd::Queued(at), path),
                State::Waiting => entry.inputs.iter().copied().find(|input| self.is_unanswered(*input)),
                State::Running { lane } => {
                    self.above(at, lane).or(entry.waiting_on.filter(|id| self.is_unanswered(*id)))
                }
            };
            match next {
                Some(next) => at = next,
                None => return (PathEnd::Running, path),
            }
        }
    }

    /// Returns the task that lies on top of this one on its lane: it must end first, answered or not.
    fn above(&self, id: TaskId, lane: LaneId) -> Option<TaskId> {
        let stack = &self.lanes[lane.0].stack;
        let at = stack.iter().position(|task| *task == id)?;
        stack.get(at + 1).copied()
    }

    /// Returns the tasks of this lane's stack above the end of the path: each waits for the next, up to the waiter.
    fn all_above(&self, path: &[TaskId], lane: LaneId) -> &[TaskId] {
        let stack = &self.lanes[lane.0].stack;
        let at = stack.iter().position(|task| path.last() == Some(task));
        at.map_or(&[], |at| &stack[at + 1..])
    }

    fn is_unanswered(&self, id: TaskId) -> bool {
        self.tasks.get(id).is_some_and(|entry| !entry.abandoned)
    }

    /// Names the tasks of a wait path, for a message.
    fn spell(&self, waiter: TaskId, path: &[TaskId]) -> Arc<str> {
        let name = |id: &TaskId| self.tasks.get(*id).map_or("?".into(), |entry| format!("{:?}", entry.name));
        let names: Vec<String> = std::iter::once(&waiter).chain(path).map(name).collect();
        names.join(" waits for ").into()
    }
}
