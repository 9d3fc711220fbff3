//! 7: a billion items through `batched_map`; its last item fails, half of it is enough, its reader is slow.
//!
//! The billion is for optimised builds and where `CI` or `ALLOTMENT_SLOW_TESTS` is set; else it is a tenth of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;

use allotment::{Cluster, Error};

use crate::cluster::{cluster, panic_message, quiet_lanes, status, until_idle};
use crate::common::{Watchdog, child_case, report, told_by_child};

/// The longest window that the default may be: three batches of 4096 for each lane.
const MOST_IN_FLIGHT: u64 = 3 * 2 * 4096;

fn many() -> u64 {
    let slow = ["CI", "ALLOTMENT_SLOW_TESTS"].iter().any(|name| std::env::var_os(name).is_some());
    if slow || !cfg!(debug_assertions) { 1_000_000_000 } else { 100_000_000 }
}

/// Folds the range on the lanes and walks a plain iterator of a hundredth, and returns the figure.
fn endless(cluster: &Cluster) -> String {
    let n = many();
    let before = status("RssAnon");
    let start = Instant::now();
    let sum: u64 = cluster.batched_map(|i: u64| i & 0xff, 0..n).sum().unwrap();
    let per_s = n as f64 / start.elapsed().as_secs_f64() / 1e6;
    let rest = n % 256;
    assert_eq!(sum, n / 256 * (255 * 128) + rest * (rest.max(1) - 1) / 2);
    let (walked, start, mut most) = (n / 100, Instant::now(), 0);
    for (i, answer) in cluster.batched_map(|i: u64| i * 3, (0..).take(walked as usize)).into_iter().enumerate() {
        assert_eq!(answer.unwrap(), i as u64 * 3);
        if i.is_multiple_of(100_000) {
            most = most.max(status("RssAnon"));
        }
    }
    let walked_per_s = walked as f64 / start.elapsed().as_secs_f64() / 1e6;
    let grown = most.max(status("RssAnon")).saturating_sub(before);
    // Items and results in flight are 16 bytes each, with room for the allocator's arenas.
    assert!(grown < 8 << 20, "{grown} bytes for {n} items");
    format!(
        "{n} items folded at {per_s:.0} M/s, {walked} walked in order at {walked_per_s:.1} M/s, RssAnon +{} KiB",
        grown >> 10
    )
}

#[test]
fn memory_does_not_grow_with_the_items() {
    const NAME: &str = "n07_batched::memory_does_not_grow_with_the_items";
    let _watchdog = Watchdog::start("fault 7, memory");
    if child_case().is_some() {
        println!("figure: {}", endless(&cluster(2)));
        return;
    }
    report(7, told_by_child(NAME, "memory", "figure:"));
}

#[test]
fn the_last_item_is_named_and_a_slow_reader_holds_the_source_back() {
    let _watchdog = Watchdog::start("fault 7");
    quiet_lanes();
    let cluster = cluster(2);
    let n = 1_000_000u64;
    let last = move |i: u64| if i == n - 1 { panic!("the last one") } else { i };
    let failed = |answer| assert_eq!(panic_message(answer), (Some(n - 1), "the last one".to_string()));
    failed(cluster.batched_map(last, 0..n).sum::<u64>());
    failed(cluster.batched_map(last, (0..n).filter(|_| true)).sum::<u64>());
    let mut walked = cluster.batched_map(last, (0..n).filter(|_| true)).into_iter();
    assert_eq!(walked.by_ref().take(n as usize - 1).map(Result::unwrap).sum::<u64>(), (n - 1) * (n - 2) / 2);
    failed(walked.next().unwrap());
    assert!(walked.next().is_none(), "it has ended");
    // A source that never ends, read slowly, and only a part of it.
    let (given, ran) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (gives, runs) = (given.clone(), ran.clone());
    let source = std::iter::from_fn(move || Some(gives.fetch_add(1, SeqCst)));
    let count = move |i: u64| {
        runs.fetch_add(1, SeqCst);
        i
    };
    let mut most_ahead = 0;
    let mut read = 0;
    let mut stream = cluster.batched_map(count, source).into_iter();
    for i in 0..500_000 {
        assert_eq!(stream.next().unwrap().unwrap(), i);
        read += 1;
        if i.is_multiple_of(20_000) {
            // The lanes finish all that is in flight while the reader does something else.
            until_idle(&cluster);
        }
        most_ahead = most_ahead.max(given.load(SeqCst) - read);
    }
    assert!(most_ahead <= MOST_IN_FLIGHT, "{most_ahead} items ahead of the reader");
    drop(stream);
    until_idle(&cluster);
    assert!(ran.load(SeqCst) <= given.load(SeqCst));
    let now = cluster.snapshot();
    assert_eq!((now.queued, now.restarts), (0, 0));
    // Inside a closed cluster the stream says why it ends, once.
    drop(cluster.shutdown(std::time::Duration::from_secs(10)));
    let ended: Vec<_> = cluster.batched_map(|i: u64| i, 0..10).into_iter().collect();
    assert!(matches!(ended[..], [Err(Error::Shutdown { .. })]), "{ended:?}");
    report(
        7,
        format_args!(
            "the last of {n} named in 3 forms; {most_ahead} of {MOST_IN_FLIGHT} items ahead of a slow reader; dropped half-way: 0 run on"
        ),
    );
}
