//! 4: a cancel races the start, the end and the theft of its task.
//!
//! Each task writes down when its code began; each cancel, when it returned. One counter gives both their place in one
//! order, and the history is checked when the round is over.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use allotment::{ByteSize, Cluster, Future, Task, task_context};

use crate::cluster::{cluster, quantile, until, until_idle};
use crate::common::{Numbers, Watchdog, report};

const RACES: u64 = 1_000_000;
const ROUND: usize = 1000;

/// What happened to one task.
#[derive(Default)]
struct History {
    runs: AtomicU32,
    began_at: AtomicU64,
    /// The token was set when the code began.
    knew: AtomicBool,
    cancelled_at: AtomicU64,
    /// What `cancel()` returned, where it was called.
    won: OnceLock<bool>,
}

#[derive(Default)]
struct Tally {
    cancelled: u64,
    ran: u64,
    told: u64,
}

/// The code of task `i`: some are short, some go on until they notice.
fn code(i: u64, history: &History, clock: &AtomicU64) -> u64 {
    let context = task_context().unwrap();
    history.began_at.store(clock.fetch_add(1, SeqCst), SeqCst);
    history.knew.store(context.is_cancelled(), SeqCst);
    history.runs.fetch_add(1, SeqCst);
    if i.is_multiple_of(32) {
        let _noticed = (0..200).any(|_| context.is_cancelled());
    }
    i
}

/// Cancels one task, writes that down, and returns how long the call took.
fn cancel(future: &Future<u64>, history: &History, clock: &AtomicU64) -> u64 {
    let start = Instant::now();
    let won = future.cancel();
    let took_ns = start.elapsed().as_nanos() as u64;
    history.cancelled_at.store(clock.fetch_add(1, SeqCst), SeqCst);
    history.won.set(won).unwrap();
    took_ns
}

/// Cancels most of the tasks that the submitter leaves to it, as they appear, and returns how long each call took.
fn cancel_them(
    futures: &[OnceLock<Future<u64>>],
    histories: &[Arc<History>],
    clock: &AtomicU64,
    mut numbers: Numbers,
) -> Vec<u64> {
    let mut took_ns = Vec::with_capacity(histories.len());
    for (future, history) in futures.iter().zip(histories).skip(1).step_by(2) {
        let future = future.wait();
        match numbers.below(6) {
            0 => continue,
            1 | 2 => until_begun(history),
            n => (0..n * 40).for_each(|_| std::hint::spin_loop()),
        }
        took_ns.push(cancel(future, history, clock));
    }
    took_ns
}

/// Waits a moment for the code to begin, so that the cancel meets it while it runs.
fn until_begun(history: &History) {
    for _ in 0..2000 {
        if history.runs.load(SeqCst) > 0 {
            break;
        }
        std::hint::spin_loop();
    }
}

/// Checks one task's history against its answer; an answer that never comes is found by the watchdog.
fn check(i: u64, history: &Arc<History>, answer: allotment::Result<u64>, tally: &mut Tally) {
    let runs = history.runs.load(SeqCst);
    assert!(runs <= 1, "task {i} ran {runs} times");
    match (answer, history.won.get()) {
        (Ok(value), None | Some(false)) => {
            assert_eq!((value, runs), (i, 1));
            tally.ran += 1;
        }
        (Err(error), Some(true)) if error.is_cancelled() => {
            tally.cancelled += 1;
            let began_after = runs == 1 && history.began_at.load(SeqCst) > history.cancelled_at.load(SeqCst);
            // A lane had taken it before the cancel; then its code was told from the first line on.
            assert!(!began_after || history.knew.load(SeqCst), "task {i} began after its cancel and was not told");
            tally.told += u64::from(began_after);
        }
        (answer, won) => panic!("task {i}: cancel() said {won:?}, the future {answer:?}"),
    }
}

/// Races `ROUND` tasks with one canceller, and with the submitter itself, and returns how long each cancel took.
fn round(cluster: &Cluster, seed: u64, held: &Arc<()>, tally: &mut Tally) -> Vec<u64> {
    let clock = Arc::new(AtomicU64::new(1));
    let histories: Vec<Arc<History>> = (0..ROUND).map(|_| Arc::default()).collect();
    let futures: Vec<OnceLock<Future<u64>>> = (0..ROUND).map(|_| OnceLock::new()).collect();
    let mut cancelled_here = Vec::new();
    let mut took_ns = std::thread::scope(|scope| {
        let canceller = scope.spawn(|| cancel_them(&futures, &histories, &clock, Numbers(seed)));
        for (i, history) in (0u64..).zip(&histories) {
            let (inside, ticks, held) = (history.clone(), clock.clone(), held.clone());
            let work = move || {
                let _held = held;
                code(i, &inside, &ticks)
            };
            let task = Task::named("raced").projected(ByteSize(if i.is_multiple_of(3) { 1 << 20 } else { 0 }));
            let future = futures[i as usize].get_or_init(|| cluster.submit_once(task, work).unwrap());
            // Every fourth is cancelled at once, when its lane may be on its way to it.
            if i.is_multiple_of(4) {
                cancelled_here.push(cancel(future, history, &clock));
            }
        }
        canceller.join().unwrap()
    });
    took_ns.append(&mut cancelled_here);
    let answers: Vec<_> = futures.into_iter().map(|future| future.into_inner().unwrap().wait()).collect();
    // Code that was cancelled while it ran goes on for a moment; its history is whole when all have left.
    until_idle(cluster);
    (0u64..).zip(&histories).zip(answers).for_each(|((i, history), answer)| check(i, history, answer, tally));
    took_ns
}

#[test]
fn a_cancel_races_start_end_and_theft_and_every_future_resolves_once() {
    let watchdog = Watchdog::start("fault 4");
    let cluster = cluster(3);
    let (held, mut tally, mut took_ns) = (Arc::new(()), Tally::default(), Vec::new());
    let start = Instant::now();
    let mut races = 0;
    while races < RACES && start.elapsed() < Duration::from_secs(12) {
        took_ns.extend(round(&cluster, races, &held, &mut tally));
        races += ROUND as u64;
    }
    until(|| Arc::strong_count(&held) == 1);
    let now = cluster.snapshot();
    drop(watchdog);
    assert_eq!(tally.cancelled + tally.ran, races);
    let met = [tally.cancelled, tally.ran, 20 * now.stolen];
    assert!(met.iter().all(|n| *n > races / 20), "the races are not even: {met:?} of {races}");
    took_ns.sort_unstable();
    let (p50, p99) = (quantile(&took_ns, 0.5), quantile(&took_ns, 0.99));
    report(
        4,
        format_args!(
            "{races} races ({} cancelled, {} ran, {} begun at that very moment and told, {} stolen): double, lost or late \
             resolves 0, captures and bytes left 0; cancel p50 {:.1} us, p99 {:.1} us",
            tally.cancelled,
            tally.ran,
            tally.told,
            now.stolen,
            p50 as f64 / 1e3,
            p99 as f64 / 1e3
        ),
    );
}
