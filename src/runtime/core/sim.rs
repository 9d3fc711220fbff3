//! The seeded simulator: the very core that production runs, driven through thousands of random clusters.
//!
//! A seed makes a cluster (workers, lanes, allowance), a stream of tasks (needs, priorities, declared inputs, retries,
//! deadlines) whose code submits further tasks and waits for them or for others, and trouble: lanes and workers die,
//! tasks are cancelled, the cluster is scaled, time jumps. After each step the invariants are asserted; a state in which
//! tasks are unfinished and nothing can happen is a wedge. Run one seed: `ALLOTMENT_SIM_SEED=17 cargo test simulator`.

use std::collections::VecDeque;

use super::*;

/// What a task's code does, one step at a time.
#[derive(Clone, Copy, Debug)]
enum Op {
    Compute,
    SubmitAndWait,
    WaitForAny,
    Yield,
}

#[derive(Debug)]
struct Attempt {
    run: Run<usize>,
    ops: VecDeque<Op>,
    waiting: Option<TaskId>,
    asleep: bool,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Thread {
    Parked,
    Looking,
    InTask,
    Dead,
}

struct Sim {
    core: Core<usize>,
    lanes_per_worker: usize,
    rng: u64,
    now: u64,
    threads: Vec<(Thread, Vec<Attempt>)>,
    ids: Vec<Option<TaskId>>,
    answered: Vec<bool>,
    failed: Vec<bool>,
    depth: Vec<u32>,
    pending: Vec<Effect<usize>>,
    to_submit: usize,
    trouble: u32,
    most_over: u64,
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let mut sim = Sim {
            core: Core::new(Settings {
                allowance: 100,
                queue_limit: 64,
                overdraft: 100,
                policy: RestartPolicy::default(),
            }),
            lanes_per_worker: 1,
            rng: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now: 0,
            threads: Vec::new(),
            ids: Vec::new(),
            answered: Vec::new(),
            failed: Vec::new(),
            depth: Vec::new(),
            pending: Vec::new(),
            to_submit: 0,
            trouble: 0,
            most_over: 0,
        };
        sim.lanes_per_worker = 1 + sim.below(2);
        sim.core.settings.overdraft = [0, 100, 400][sim.below(3)];
        sim.to_submit = 4 + sim.below(36);
        sim.trouble = [0, 0, 2, 8][sim.below(4)];
        let workers = 1 + sim.below(4);
        sim.act(|core, out| core.scale(workers, out));
        sim
    }

    fn below(&mut self, n: usize) -> usize {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        ((self.rng >> 33) as usize) % n.max(1)
    }

    fn act<T>(&mut self, call: impl FnOnce(&mut Core<usize>, &mut Vec<Effect<usize>>) -> T) -> T {
        let mut out = Vec::new();
        let answer = call(&mut self.core, &mut out);
        for effect in out {
            match effect {
                Effect::Fail { work, .. } => self.fail(work),
                Effect::Discard(_) => {}
                Effect::Poke(lane) => {
                    self.threads[lane.0].1.iter_mut().for_each(|attempt| attempt.asleep = false);
                }
                other => self.pending.push(other),
            }
        }
        answer
    }

    /// The core answers a task at most once; an attempt on a lane that was given up may have been quicker, and then the
    /// promise, which is set once, keeps the first.
    fn fail(&mut self, work: usize) {
        assert!(!self.failed[work], "task {work} was failed twice");
        self.failed[work] = true;
        self.answered[work] = true;
    }

    /// Submits a task at `depth` of nested waits; deeper tasks do less.
    fn submit(&mut self, depth: u32) -> Option<TaskId> {
        let work = self.answered.len();
        let need = [0, 0, 10, 30, 60, 100, 140, 300][self.below(if depth > 0 { 7 } else { 8 })];
        let known: Vec<TaskId> = self.ids.iter().flatten().copied().collect();
        let n_inputs = if depth == 0 && !known.is_empty() { self.below(4) } else { 0 };
        let inputs = (0..n_inputs).map(|_| known[self.below(known.len())]).collect();
        let deadline_ms = (self.below(12) == 0).then(|| self.now + self.below(40) as u64);
        let pinned = (self.below(8) == 0).then(|| self.below(4));
        let spec = Spec {
            name: "t".into(),
            priority: self.below(3) as i32,
            need: need as u64,
            retries: self.below(2) as u32,
            deadline_ms,
            pinned,
            inputs,
            nested: depth > 0,
            oversize: self.below(2) == 0,
        };
        self.answered.push(false);
        self.failed.push(false);
        self.depth.push(depth);
        self.ids.push(None);
        let id = self.act(|core, out| core.submit(spec, work, out)).ok();
        if id.is_none() {
            self.answered[work] = true;
        }
        self.ids[work] = id;
        id
    }

    fn ops_for(&mut self, work: usize) -> VecDeque<Op> {
        let depth = self.depth[work];
        let n = self.below(4);
        (0..n)
            .map(|_| match self.below(8) {
                0 | 1 if depth < 4 => Op::SubmitAndWait,
                2 if depth < 4 => Op::WaitForAny,
                3 => Op::Yield,
                _ => Op::Compute,
            })
            .collect()
    }

    fn take_run(&mut self, run: Run<usize>) {
        let lane = run.lane.0;
        let ops = self.ops_for(run.work);
        self.threads[lane].0 = Thread::InTask;
        self.threads[lane].1.push(Attempt { run, ops, waiting: None, asleep: false });
    }

    fn follow(&mut self, lane: usize, next: Next<usize>) {
        self.threads[lane].0 = match next {
            Next::Run(run) => return self.take_run(run),
            Next::Seek => Thread::Looking,
            Next::Park => Thread::Parked,
            Next::Resume => Thread::InTask,
            // A lane that was given up still goes back down its own stack.
            Next::Stop if !self.threads[lane].1.is_empty() => Thread::InTask,
            Next::Stop => Thread::Dead,
        };
    }

    /// Carries out one effect that production would send to a thread or an actor.
    fn deliver(&mut self, effect: Effect<usize>) {
        match effect {
            Effect::Run(run) => self.take_run(run),
            Effect::StopLane(lane) => self.threads[lane.0].0 = Thread::Dead,
            Effect::StartLane { worker, .. } => self.start_lane(worker),
            Effect::StartWorker { worker, .. } => {
                if self.core.worker_up(worker) {
                    (0..self.lanes_per_worker).for_each(|_| self.start_lane(worker));
                }
            }
            Effect::Timer { at_ms } => {
                self.now = self.now.max(at_ms);
                let now = self.now;
                self.act(|core, out| core.tick(now, out));
            }
            Effect::StopWorker { .. } | Effect::Room => {}
            Effect::Fail { .. } | Effect::Discard(_) | Effect::Poke(_) => unreachable!("carried out by act"),
        }
    }

    fn start_lane(&mut self, worker: usize) {
        if let Some(lane) = self.core.lane_up(worker) {
            assert_eq!(lane.0, self.threads.len());
            self.threads.push((Thread::Parked, Vec::new()));
            let next = self.act(|core, out| core.seek(lane, true, out));
            self.follow(lane.0, next);
        }
    }

    /// Lets a lane do one step of what it is doing.
    fn step_lane(&mut self, lane: usize) {
        if self.threads[lane].0 == Thread::Looking {
            let next = self.act(|core, out| core.seek(LaneId(lane), true, out));
            return self.follow(lane, next);
        }
        let Some(mut attempt) = self.threads[lane].1.pop() else { return };
        if let Some(target) = attempt.waiting {
            match self.act(|core, out| core.wait_on(LaneId(lane), target, out)) {
                WaitStep::Run(run) => {
                    self.threads[lane].1.push(attempt);
                    return self.take_run(run);
                }
                WaitStep::Sleep => attempt.asleep = self.answers_pending(&attempt),
                WaitStep::Ready | WaitStep::Fail(_) => {
                    attempt.waiting = None;
                    self.core.wait_over(LaneId(lane));
                }
            }
            return self.threads[lane].1.push(attempt);
        }
        self.step_code(lane, attempt);
    }

    /// A sleeper whose poke is already on its way must not fall asleep: production has the same order by its parker.
    fn answers_pending(&self, attempt: &Attempt) -> bool {
        self.core.sleepers.contains(&attempt.run.lane)
    }

    fn step_code(&mut self, lane: usize, mut attempt: Attempt) {
        match attempt.ops.pop_front() {
            Some(Op::Compute) => self.now += 1,
            Some(Op::SubmitAndWait) => {
                let depth = self.depth[attempt.run.work] + 1;
                attempt.waiting = self.submit(depth);
            }
            Some(Op::WaitForAny) if !self.ids.is_empty() => {
                let any = self.below(self.ids.len());
                attempt.waiting = self.ids[any];
            }
            Some(Op::Yield) if self.threads[lane].1.is_empty() => return self.end(lane, attempt, End::Again),
            Some(_) => {}
            None => return self.end(lane, attempt, End::Done),
        }
        self.threads[lane].1.push(attempt);
    }

    fn end(&mut self, lane: usize, attempt: Attempt, end: End) {
        let Run { task, work, grant, .. } = attempt.run;
        self.answered[work] |= end == End::Done;
        drop(grant);
        let next = self.act(|core, out| core.finish(LaneId(lane), task, end, out));
        self.follow(lane, next);
    }

    fn cause_trouble(&mut self) {
        let now = self.now;
        match self.below(6) {
            0 => {
                let lane = self.below(self.threads.len());
                if self.threads[lane].0 == Thread::InTask {
                    self.threads[lane].0 = Thread::Dead;
                    self.threads[lane].1.clear();
                    self.act(|core, out| core.lane_lost(LaneId(lane), &"it died".into(), now, out));
                }
            }
            1 => {
                let worker = self.below(self.core.workers.len());
                self.act(|core, out| core.worker_lost(worker, &"its actor died".into(), now, out));
            }
            2 => {
                let n = 1 + self.below(4);
                self.act(|core, out| core.scale(n, out));
            }
            3 if !self.ids.is_empty() => {
                let any = self.below(self.ids.len());
                if let Some(id) = self.ids[any] {
                    self.act(|core, out| core.cancel(id, out));
                }
            }
            _ => self.now += self.below(200) as u64,
        }
        self.trouble -= 1;
    }

    /// Returns the lanes that can take a step.
    fn runnable(&self) -> Vec<usize> {
        let can = |(thread, stack): &(Thread, Vec<Attempt>)| match thread {
            Thread::Looking => true,
            Thread::InTask => stack.last().is_some_and(|attempt| !attempt.asleep),
            Thread::Parked | Thread::Dead => false,
        };
        (0..self.threads.len()).filter(|lane| can(&self.threads[*lane])).collect()
    }

    fn run(mut self, seed: u64) -> Core<usize> {
        for step in 0.. {
            assert!(step < 200_000, "seed {seed}: no end");
            let lanes = self.runnable();
            let choice = self.below(lanes.len() + self.pending.len() + 2);
            if choice < lanes.len() {
                self.step_lane(lanes[choice]);
            } else if choice < lanes.len() + self.pending.len() {
                let effect = self.pending.swap_remove(choice - lanes.len());
                self.deliver(effect);
            } else if self.to_submit > 0 {
                self.to_submit -= 1;
                self.submit(0);
            } else if self.trouble > 0 && !self.threads.is_empty() {
                self.cause_trouble();
            } else if lanes.is_empty() && self.pending.is_empty() {
                break;
            }
            self.check(seed);
        }
        assert_eq!(self.core.tasks.len(), 0, "seed {seed}: wedged with {:#?}", self.core);
        assert!(self.answered.iter().all(|answered| *answered), "seed {seed}: a future was never answered");
        assert_eq!(self.core.ledger.used(), 0, "seed {seed}: bytes were not given back");
        self.core
    }

    fn check(&mut self, seed: u64) {
        let core = &self.core;
        let count = |state: fn(&State) -> bool| {
            core.tasks.ids().iter().filter(|id| core.tasks.get(**id).is_some_and(|entry| state(&entry.state))).count()
        };
        assert_eq!(core.queued, count(|s| matches!(s, State::Queued { .. })), "seed {seed}: queued");
        assert_eq!(core.waiting, count(|s| matches!(s, State::Waiting)), "seed {seed}: waiting");
        assert_eq!(core.queued, core.workers.iter().map(|w| w.queue.len).sum::<usize>(), "seed {seed}: queue lengths");
        assert!(core.seeking <= 1, "seed {seed}: {} lanes seek", core.seeking);
        let over = core.ledger.used().saturating_sub(core.ledger.limit());
        self.most_over = self.most_over.max(over);
    }
}

/// One cluster; what it counted.
fn simulate(seed: u64) -> Counts {
    Sim::new(seed).run(seed).counts
}

#[test]
fn the_simulator_wedges_none_of_20_000_clusters() {
    if let Some(seed) = std::env::var("ALLOTMENT_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        println!("seed {seed}: {:?}", simulate(seed));
        return;
    }
    let mut all = Counts::default();
    for seed in 1..=20_000 {
        let counts = std::panic::catch_unwind(|| simulate(seed));
        let counts = counts.unwrap_or_else(|_| panic!("seed {seed} failed; ALLOTMENT_SIM_SEED={seed} repeats it"));
        all.started += counts.started;
        all.stolen += counts.stolen;
        all.loans += counts.loans;
        all.lone += counts.lone;
        all.overdrafts += counts.overdrafts;
        all.restarts += counts.restarts;
        all.deadlines += counts.deadlines;
        all.cancelled += counts.cancelled;
    }
    println!("fault 15: wedges 0 of 20000 seeds; {all:?}");
    let met = [all.stolen, all.loans, all.lone, all.overdrafts, all.restarts, all.deadlines, all.cancelled];
    assert!(met.iter().all(|n| *n > 100), "the seeds do not reach every rule: {all:?}");
}
