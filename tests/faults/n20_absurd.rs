//! 20: tasks that lie about what they need, or need what no machine has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use allotment::{ByteSize, Cluster, Error, Reservation, Task, task_context};

use crate::cluster::{MIB, of, until_idle};
use crate::common::{Numbers, Watchdog, report};

const ALLOWANCE: u64 = 16 * MIB.0;
const OVERDRAFT: u64 = 8 * MIB.0;
const STEPS: u64 = 40_000;

/// A need as users write it: none, some, all, more than there is.
fn need(numbers: &mut Numbers) -> u64 {
    match numbers.below(10) {
        0..4 => 0,
        4 => 1,
        5 => numbers.below(ALLOWANCE),
        6 => numbers.below(3 * ALLOWANCE),
        7 => ALLOWANCE + 1,
        8 => u64::MAX >> numbers.below(40),
        _ => u64::MAX,
    }
}

/// Grows by what it did not project, in absurd steps too, and may wait for a task of its own.
fn greedy(cluster: &Cluster, seed: u64) -> u64 {
    let mut numbers = Numbers(seed);
    let context = task_context().unwrap();
    let mut held: Vec<Reservation> = Vec::new();
    for _ in 0..numbers.below(4) {
        held.extend(context.grow(ByteSize(need(&mut numbers))).ok());
    }
    if numbers.below(16) == 0 {
        let inner = Task::named("inner").projected(ByteSize(numbers.below(ALLOWANCE)));
        let inner = cluster.submit_task(inner, || 1u64);
        return inner.and_then(|inner| inner.wait()).unwrap_or(0);
    }
    held.iter().fold(0, |sum, reservation| sum + reservation.bytes().min(ALLOWANCE))
}

/// Runs the steps; `most_lone` is the largest need that may run alone. Returns how many were refused.
fn steps(cluster: &Cluster, oversize: bool, most_lone: &Arc<AtomicU64>, seed: u64) -> u64 {
    let mut numbers = Numbers(seed);
    let (mut futures, mut refused) = (Vec::new(), 0);
    for step in 0..STEPS {
        let asked = need(&mut numbers);
        let mut task = Task::named("liar").projected(ByteSize(asked)).retries(1);
        if oversize && numbers.below(2) == 0 {
            task = task.allow_oversize();
            most_lone.fetch_max(asked, SeqCst);
        }
        if numbers.below(50) == 0 {
            task = task.deadline(Duration::from_millis(u64::MAX >> numbers.below(60)));
        }
        let handle = cluster.clone();
        match cluster.submit_task(task, move || greedy(&handle, seed ^ step)) {
            Ok(future) => futures.push(future),
            Err(Error::TooBig { need, .. }) => {
                assert_eq!(need, asked);
                assert!(need > 2 * ALLOWANCE, "{need} fits");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        if step.is_multiple_of(64) {
            let now = cluster.snapshot();
            let most = (2 * ALLOWANCE + OVERDRAFT).saturating_add(most_lone.load(SeqCst));
            assert!(now.reserved_bytes <= most, "{} of {most} are reserved", now.reserved_bytes);
        }
    }
    for future in futures {
        match future.wait() {
            Ok(_) | Err(Error::Deadline { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    refused
}

#[test]
fn the_ledger_stays_right_whatever_tasks_say_that_they_need() {
    let _watchdog = Watchdog::start("fault 20");
    let mut refused = 0;
    let mut peaks = Vec::new();
    for oversize in [false, true] {
        let cluster = of(2).lanes(2).overdraft(ByteSize(OVERDRAFT)).build().unwrap();
        let most_lone = Arc::new(AtomicU64::new(0));
        refused += steps(&cluster, oversize, &most_lone, 20 + u64::from(oversize));
        until_idle(&cluster);
        let now = cluster.snapshot();
        // What runs alone is the one thing beyond the limits, and without `allow_oversize` nothing passes them but the
        // overdraft: a task of up to both allowances that finds part of its room taken by grown bytes runs alone too.
        let lone = if oversize { most_lone.load(SeqCst) } else { 2 * ALLOWANCE };
        let most = (2 * ALLOWANCE + OVERDRAFT).saturating_add(lone);
        assert!(now.peak_reserved_bytes <= most, "{} of {most}", now.peak_reserved_bytes);
        assert!(now.workers.iter().all(|worker| worker.reserved_bytes == 0 && worker.queued_bytes == 0));
        peaks.push(ByteSize(now.peak_reserved_bytes).to_string());
    }
    report(
        20,
        format_args!(
            "{} steps: violations 0, refused {refused}; peaks {} in limits of 32 MiB + 8 MiB overdraft, bytes left 0",
            2 * STEPS,
            peaks.join(" and ")
        ),
    );
}
