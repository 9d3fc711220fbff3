//! What `batched_map` costs: a range that is split, and plain iterators that can only be walked.
//!
//! The rival is rayon with as many threads: its parallel ranges, and `par_bridge` for what is no range.

use std::hint::black_box;

use allotment::{Cluster, Result};
use rayon::prelude::*;

use crate::ROUNDS;
use crate::measure::{Turns, row, seconds};

const LONG: u64 = 1_000_000_000;
const SHORT: u64 = 1_000_000;

/// Prints the rows of this file.
pub(crate) fn run(cluster: &Cluster) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cluster.lanes()).build().expect("the system gives threads");
    range(cluster, &pool);
    memory(cluster, &pool);
    // About 100 ns and 10 µs an item.
    plain(cluster, &pool, "`batched_map` over a plain iterator, light items", 1_000_000, 60);
    plain(cluster, &pool, "`batched_map` over a plain iterator, heavier items", 20_000, 6_000);
    Ok(())
}

/// The item is hidden from the optimiser, which else knows a formula for the sum and both take no time at all.
fn range(cluster: &Cluster, pool: &rayon::ThreadPool) {
    let ours = || seconds(|| check(sum(cluster, LONG), LONG));
    let rival = || seconds(|| check(pool.install(|| sum_with_rayon(LONG)), LONG));
    let show = |seconds: f64| format!("{seconds:.2} s");
    row("`batched_map(x + 1, 0..10⁹).sum()`", &Turns::take(ROUNDS, ours, rival), show, "rayon", "≤ 1.10");
}

fn sum(cluster: &Cluster, n: u64) -> u64 {
    cluster.batched_map(|x: u64| black_box(x) + 1, 0..n).sum().expect("nothing fails")
}

fn sum_with_rayon(n: u64) -> u64 {
    (0..n).into_par_iter().map(|x| black_box(x) + 1).sum()
}

fn check(sum: u64, n: u64) {
    assert_eq!(sum, n / 2 * (n + 1), "1 + 2 + … + n");
}

/// How much more memory a thousand times the items take.
fn memory(cluster: &Cluster, pool: &rayon::ThreadPool) {
    let growth = |work: &dyn Fn(u64)| peak_mebibytes(|| work(LONG)) - peak_mebibytes(|| work(SHORT));
    let ours = growth(&|n| check(sum(cluster, n), n));
    let rival = growth(&|n| check(pool.install(|| sum_with_rayon(n)), n));
    println!("| the same: peak memory beyond that of 0..10⁶ | {ours:.1} MiB | {rival:.1} MiB (rayon) | | none |");
}

fn plain(cluster: &Cluster, pool: &rayon::ThreadPool, figure: &str, items: u64, steps: u64) {
    let every = move || (0..).filter(|x| x % 3 != 0).take(items as usize);
    let ours = || {
        seconds(|| {
            let sum = cluster.batched_map(move |x| compute(x, steps), every()).reduce(u64::wrapping_add);
            black_box(sum.expect("nothing fails"));
        })
    };
    let rival = || {
        seconds(|| {
            let sum = pool.install(|| every().par_bridge().map(|x| compute(x, steps)).reduce(|| 0, u64::wrapping_add));
            black_box(sum);
        })
    };
    let show = |seconds: f64| format!("{:.0} ns an item", seconds / items as f64 * 1e9);
    row(figure, &Turns::take(ROUNDS, ours, rival), show, "par_bridge", "< 1.00");
}

/// Arithmetic of so many steps that no compiler shortens, in registers: what goes through memory depends on where the stack
/// comes to lie. Never inlined, so that ours and the rival run the same machine code.
#[inline(never)]
pub(crate) fn compute(item: u64, steps: u64) -> u64 {
    (0..steps).fold(item, |state, _| (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).wrapping_add(1))
}

/// Returns the most memory, in MiB, that was resident while `work` ran; zero where the system does not tell.
fn peak_mebibytes(work: impl FnOnce()) -> f64 {
    // Writing 5 resets the peak; where it cannot be written the peak is that of the whole run, and growth shows as none.
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        eprintln!("the peak of memory cannot be reset: {error}");
    }
    work();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
}
