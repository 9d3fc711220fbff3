//! 15: a real cluster under everything at once, for `ALLOTMENT_SOAK_SECONDS` (10 by default). The 20,000 seeds of the
//! simulator are in `src/runtime/core/sim.rs`.
//!
//! Tasks with random needs submit others and wait for them; lanes and workers die, tasks are cancelled, dropped or run
//! into their deadline, the cluster is scaled. No future may be unanswered, and no 10 s may pass without progress.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use allotment::{ByteSize, Cluster, Error, Future, Task, task_context};

use crate::cluster::{forgiving, of, quiet_lanes, until_idle};
use crate::common::{Numbers, Watchdog, report};

const IN_FLIGHT: usize = 400;

struct Soak {
    cluster: Cluster,
    numbers: Numbers,
    pending: VecDeque<Future<u64>>,
    answers: BTreeMap<&'static str, u64>,
    longest_wait: Duration,
}

/// Work as tasks do it: it computes, panics, asks for more bytes, or submits others and waits for them.
fn work(cluster: &Cluster, seed: u64, depth: u32) -> u64 {
    let mut numbers = Numbers(seed);
    match numbers.below(12) {
        0 => panic!("a task's own fault"),
        1 | 2 if depth < 4 => {
            let (handle, need) = (cluster.clone(), numbers.below(12 << 20));
            let task = Task::named("nested").projected(ByteSize(need)).retries(2);
            let fan = 1 + numbers.below(3);
            let start = |i| {
                let handle = handle.clone();
                cluster.submit_task(task.clone(), move || work(&handle, seed + i, depth + 1))
            };
            let futures: Result<Vec<_>, Error> = (0..fan).map(start).collect();
            futures.map_or(0, |futures| futures.into_iter().map(|future| future.wait().unwrap_or(1)).sum())
        }
        3 => {
            let grown = task_context().unwrap().grow(ByteSize(numbers.below(1 << 20)));
            grown.map_or(1, |reservation| reservation.bytes())
        }
        4 => {
            let context = task_context().unwrap();
            let noticed = (0..1000).position(|_| context.is_cancelled());
            noticed.map_or(0, |at| at as u64)
        }
        n => (0..n * 500).fold(seed, |sum, i| std::hint::black_box(sum.wrapping_mul(31).wrapping_add(i))),
    }
}

impl Soak {
    /// Submits something: a task, a pack, a reduction, a task with inputs.
    fn submit(&mut self) {
        let (handle, seed) = (self.cluster.clone(), self.numbers.below(u64::MAX));
        let need = [0, 0, 100 << 10, 3 << 20, 9 << 20, 20 << 20, 200 << 20][self.numbers.below(7) as usize];
        let mut task = Task::named("soak").projected(ByteSize(need)).retries(self.numbers.below(3) as u32);
        task = task.priority(self.numbers.below(3) as i32);
        if need > 100 << 20 {
            task = task.allow_oversize();
        }
        if self.numbers.below(40) == 0 {
            task = task.deadline(Duration::from_micros(self.numbers.below(3000)));
        }
        let future = match self.numbers.below(10) {
            0 => {
                let pack = self.cluster.map(move |i: u64| work(&handle, seed + i, 2), 0..20);
                return self.pending.extend(pack.into_iter().flatten());
            }
            1 => {
                let sum = self.cluster.map_reduce(0..20u64, move |i| seed.wrapping_add(i), u64::wrapping_add);
                sum.and_then(|sum| self.cluster.submit_with(sum, |sum| sum.unwrap_or(0)))
            }
            2 if !self.pending.is_empty() => {
                let input = self.pending.pop_back().unwrap();
                self.cluster.submit_with_task(task, input, |value| value / 2)
            }
            _ => self.cluster.submit_task(task, move || work(&handle, seed, 0)),
        };
        match future {
            Ok(future) => self.pending.push_back(future),
            // The cluster has shrunk below what the task needs.
            Err(Error::TooBig { .. }) => *self.answers.entry("refused").or_default() += 1,
            Err(other) => panic!("{other}"),
        }
    }

    fn cause_trouble(&mut self) {
        let chaos = self.cluster.chaos();
        match self.numbers.below(200) {
            0 => chaos.kill_lanes(1 + self.numbers.below(3) as usize),
            1 => chaos.kill_worker(self.numbers.below(4) as usize),
            2 => self.cluster.scale(1 + self.numbers.below(4) as usize).unwrap(),
            3 => chaos.fail_starts(1),
            4..20 => {
                let any = self.numbers.below(self.pending.len() as u64 + 1) as usize;
                self.pending.get(any).map(Future::cancel);
            }
            20..30 => drop(self.pending.pop_back()),
            _ => {}
        }
    }

    /// Takes the oldest answer; ten seconds without one is a wedge.
    fn collect_one(&mut self) {
        let Some(mut future) = self.pending.pop_front() else { return };
        let start = Instant::now();
        let answer = future.wait_timeout(Duration::from_secs(10));
        self.longest_wait = self.longest_wait.max(start.elapsed());
        let kind = match answer {
            None => panic!("no progress for 10 s: {:?}", self.cluster.snapshot()),
            Some(Ok(_)) => "ok",
            Some(Err(Error::TaskPanicked { .. })) => "panicked",
            Some(Err(Error::Cancelled { .. })) => "cancelled",
            Some(Err(Error::WorkerLost { .. })) => "lost",
            Some(Err(Error::Deadline { .. })) => "late",
            Some(Err(Error::ClusterDown { cause })) => panic!("the cluster is down: {cause}"),
            Some(Err(_)) => "refused",
        };
        *self.answers.entry(kind).or_default() += 1;
    }
}

#[test]
fn a_task_that_one_worker_alone_may_run_finds_it_awake() {
    let _watchdog = Watchdog::start("fault 15, pinned");
    let cluster = of(3).build().unwrap();
    for i in 0..5000 {
        // Some lane has just ended its task and looks for more when the pinned one comes.
        let anywhere = cluster.submit(move || i).unwrap();
        let pinned = cluster.submit_task(Task::named("pinned").on_worker(i % 3), move || i).unwrap();
        let need = ByteSize(40 << 20);
        let lone = cluster.submit_task(Task::named("lone").projected(need), move || i).unwrap();
        assert_eq!(cluster.gather([anywhere, pinned, lone]).unwrap(), [i; 3]);
    }
}

#[test]
fn under_everything_at_once_no_future_is_forgotten() {
    quiet_lanes();
    let seconds = std::env::var("ALLOTMENT_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let seed = std::env::var("ALLOTMENT_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let cluster = of(3).restart_policy(forgiving(u32::MAX)).build().unwrap();
    let (pending, answers) = (VecDeque::new(), BTreeMap::new());
    let mut soak = Soak { cluster, numbers: Numbers(seed), pending, answers, longest_wait: Duration::ZERO };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        soak.submit();
        soak.cause_trouble();
        while soak.pending.len() > IN_FLIGHT {
            soak.collect_one();
        }
    }
    while !soak.pending.is_empty() {
        soak.collect_one();
    }
    until_idle(&soak.cluster);
    let now = soak.cluster.snapshot();
    let total: u64 = soak.answers.values().sum();
    assert!(soak.answers["ok"] > total / 4 && now.restarts > 0, "{:?}", soak.answers);
    report(
        15,
        format_args!(
            "{seconds} s, seed {seed}: wedges 0, longest wait {} ms; {total} answers {:?}; deaths {}, loans {}, lone {}, \
             overdrafts {}, stolen {}",
            soak.longest_wait.as_millis(),
            soak.answers,
            now.restarts,
            now.loans,
            now.lone,
            now.overdrafts,
            now.stolen
        ),
    );
}
