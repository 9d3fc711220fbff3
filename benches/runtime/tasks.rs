//! What a single task costs: a map of trivial items, a round trip, tasks submitted one by one.
//!
//! The rival is tokio with as many threads, whose `spawn` also gives each task a place for its result and catches its
//! panic; for the round trip it is a bare pair of channels to a thread and back, which does neither.

use std::hint::black_box;
use std::time::Instant;

use allotment::{Cluster, Result};
use crossbeam_channel::bounded;

use crate::ROUNDS;
use crate::measure::{Turns, median, quantile, row, seconds};

const ITEMS: u64 = 1_000_000;
const TASKS: u64 = 100_000;
const TRIPS: usize = 20_000;

/// Prints the rows of this file.
pub(crate) fn run(cluster: &Cluster) -> Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cluster.lanes())
        .build()
        .expect("the system gives threads");
    let per = |n: u64| move |seconds: f64| format!("{:.0} ns", seconds / n as f64 * 1e9);
    let runtime = &tokio;
    let each = |n: u64| move || seconds(|| runtime.block_on(spawn_all(n)));

    let map = Turns::take(ROUNDS, || seconds(|| map_and_gather(cluster)), each(ITEMS));
    row("`map` + `gather` of 10⁶ items, an item", &map, per(ITEMS), "tokio spawn", "≤ 250 ns");
    round_trip(cluster);
    let submit = Turns::take(ROUNDS, || seconds(|| submit_all(cluster)), each(TASKS));
    let rate = |seconds: f64| format!("{:.0} k", TASKS as f64 / seconds / 1e3);
    row("tasks submitted one by one, a second", &submit, rate, "tokio spawn", "≥ 300 k");
    Ok(())
}

fn map_and_gather(cluster: &Cluster) {
    let futures = cluster.map(|x: u64| x + 1, 0..ITEMS).expect("a queue that waits takes all");
    assert_eq!(cluster.gather(futures).expect("nothing fails").len() as u64, ITEMS);
}

fn submit_all(cluster: &Cluster) {
    let submit = |x: u64| cluster.submit(move || black_box(x) + 1).expect("a queue that waits takes all");
    let futures: Vec<_> = (0..TASKS).map(submit).collect();
    assert_eq!(cluster.gather(futures).expect("nothing fails").len() as u64, TASKS);
}

async fn spawn_all(n: u64) {
    let handles: Vec<_> = (0..n).map(|x| tokio::spawn(async move { black_box(x) + 1 })).collect();
    for handle in handles {
        black_box(handle.await.expect("nothing panics"));
    }
}

/// Times each trip by itself: the tail is what a service feels.
fn round_trip(cluster: &Cluster) {
    let (to, inbox) = bounded::<u64>(1);
    let (from, answers) = bounded(1);
    let thread = std::thread::spawn(move || inbox.into_iter().try_for_each(|x| from.send(x + 1)));
    let ours = || cluster.submit(|| black_box(1) + 1).and_then(|future| future.wait()).expect("nothing fails");
    let theirs = || {
        to.send(1).expect("the thread lives");
        answers.recv().expect("the thread answers")
    };
    let mut tails = (Vec::new(), Vec::new());
    let turns = Turns::take(ROUNDS, || trips(ours, &mut tails.0), || trips(theirs, &mut tails.1));
    let micro = |seconds: f64| format!("{:.1} µs", seconds * 1e6);
    row("`submit` + `wait`, round trip, median", &turns, micro, "two channels", "≤ 10 µs");
    let tails = Turns { ours: tails.0, rival: tails.1 };
    row("`submit` + `wait`, round trip, p99", &tails, micro, "two channels", "");
    drop(to);
    thread.join().expect("the thread does not panic").expect("the answers were read");
}

/// Returns the median of many trips, and notes the 99th percentile.
fn trips(mut trip: impl FnMut() -> u64, tails: &mut Vec<f64>) -> f64 {
    let one = |_| {
        let start = Instant::now();
        black_box(trip());
        start.elapsed().as_secs_f64()
    };
    let times: Vec<f64> = (0..TRIPS).map(one).collect();
    tails.push(quantile(times.clone(), 0.99));
    median(times)
}
