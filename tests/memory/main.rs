//! Under a kernel memory limit of all allowances + 25 %, work on twenty times as much data ends with the same bits.
//!
//! ```text
//!   test ── free run: Serial, 1, 2 and 5 workers ─▶ bits ─┐
//!     └── child under the kernel's limit, 2 workers ─▶ bits ─ must be equal, and the child must live
//! ```
//!
//! The limit is what the kernel enforces and not what the library believes: in a memory cgroup a process that needs more
//! is killed, under `RLIMIT_DATA` its allocations fail, which ends a Rust program too.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod limit;
mod sparse;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use allotment::array::{Array, Over, Statistic, random};
use allotment::linalg::{PcaOptions, SvdOptions, pca, svd};
use allotment::runtime::Scheduler;
use allotment::{ByteSize, Cluster};

use limit::Limit;

const MIB: u64 = 1 << 20;
/// What a worker may hold, and how many there are, under the limit.
const ALLOWANCE: u64 = 16 * MIB;
const WORKERS: usize = 2;
/// All that the process may hold: the allowances and a quarter more. That quarter is for everything outside the ledger:
/// the program's own 4 MiB or so, the stacks, what the allocator keeps, the kernel's tables for the process.
const LIMIT: u64 = WORKERS as u64 * ALLOWANCE * 5 / 4;
/// Twenty times the allowances.
const DATA: u64 = 20 * WORKERS as u64 * ALLOWANCE;

/// What is computed. Each is far larger than the limit, and none holds more than blocks and small sums.
#[derive(Clone, Copy, Debug)]
enum Job {
    Svd,
    Pca,
    Statistics,
}

impl Job {
    /// Computes and returns bits that differ when any number of the result does.
    fn run(self, cluster: &Cluster) -> Vec<u64> {
        let bits = match self {
            Job::Svd => svd_bits(cluster),
            Job::Pca => pca_bits(cluster),
            Job::Statistics => statistics_bits(cluster),
        };
        bits.expect("the data is sound and a block fits")
    }
}

// In each job the rows of a block are given, because the grid decides the order of sums, and so many that a block alone
// takes more than half of an allowance: what a task holds besides must be what was projected.

fn svd_bits(cluster: &Cluster) -> allotment::Result<Vec<u64>> {
    let found = svd(cluster, &random::uniform(DATA / 800, 100, 1, 16_000), &SvdOptions::default())?;
    let figures = found.residuals.iter().chain([&found.orthogonality]);
    // What the answer must be, whatever the bits: the mean's direction, of norm √(n m) / 2, and an answer that is right.
    let expected = (found.shape.0 as f64 * 100.0).sqrt() / 2.0;
    assert!((found.s[0] / expected - 1.0).abs() < 0.01, "{} {expected}", found.s[0]);
    assert!(figures.clone().all(|figure| *figure < 1e-12));
    let vt = found.vt_matrix(cluster)?;
    Ok(bits_of([&found.s[..], vt.as_slice(), &figures.copied().collect::<Vec<_>>()]))
}

fn pca_bits(cluster: &Cluster) -> allotment::Result<Vec<u64>> {
    let cells = sparse::Cells::of_bytes(DATA, 200);
    let x = Array::from_source(Arc::new(cells)).normalize_rows(1e4).log1p().with_block_rows(70_000);
    let found = pca(cluster, &x, &PcaOptions { components: 3.into(), ..Default::default() })?;
    assert!(found.residuals.iter().all(|residual| *residual < 1e-9), "{:?}", found.residuals);
    let spread = found.scores.var(cluster, Over::EachColumn, 1)?;
    // Scores have the variance that the eigenvalue says: 4e6 sums of rounded squares.
    let agree = |(v, e): (&f64, &f64)| (v / e - 1.0).abs() < 1e-9;
    assert!(spread.iter().zip(&found.explained_variance).all(agree), "{spread:?} {:?}", found.explained_variance);
    Ok(bits_of([&found.explained_variance[..], found.components.as_slice(), &found.mean, &spread]))
}

fn statistics_bits(cluster: &Cluster) -> allotment::Result<Vec<u64>> {
    let (rows, cols) = (DATA / 800, 100);
    let kept = random::normal(rows, cols, 2, 13_000).square().persist(cluster)?;
    let asked =
        [Statistic::Mean, Statistic::Var { ddof: 1 }, Statistic::CountNonzero].map(|asked| (asked, Over::EachColumn));
    let found = kept.reduce_many(cluster, &asked, None)?;
    // The squares of standard normal numbers have mean 1 and variance 2; five standard errors of 800,000.
    assert!(found[0].iter().all(|mean| (mean - 1.0).abs() < 5.0 * (2.0 / rows as f64).sqrt()), "{:?}", found[0]);
    assert!(found[1].iter().all(|var| (var - 2.0).abs() < 5.0 * (56.0 / rows as f64).sqrt()), "{:?}", found[1]);
    Ok(bits_of([&found[0][..], &found[1], &found[2]]))
}

/// Keeps the first numbers as they are, to be seen when they differ, and all of them as one digest.
fn bits_of<'a>(parts: impl IntoIterator<Item = &'a [f64]>) -> Vec<u64> {
    let all: Vec<u64> = parts.into_iter().flatten().map(|value| value.to_bits()).collect();
    let mut digest = DefaultHasher::new();
    all.hash(&mut digest);
    all.iter().take(4).copied().chain([digest.finish()]).collect()
}

/// Runs a job without a limit, on every kind of cluster, and returns the bits, which are the same on each.
fn free_bits(job: Job) -> Vec<u64> {
    let roomy = || Cluster::builder().allowance(ByteSize(256 * MIB)).overcommit(true);
    let serial = job.run(&roomy().scheduler(Scheduler::Serial).build().unwrap());
    for workers in [1, 2, 5] {
        assert_eq!(job.run(&roomy().workers(workers).build().unwrap()), serial, "{job:?} on {workers} workers");
    }
    serial
}

/// In the child: runs the job under the limit and tells what it found.
fn run_limited(job: Job, limit: Limit) {
    let peak = limit::Peak::start();
    let cluster = Cluster::builder().allowance(ByteSize(ALLOWANCE)).workers(WORKERS).build().unwrap();
    limit.enter_late(LIMIT);
    let started = Instant::now();
    let bits = job.run(&cluster);
    let seconds = started.elapsed().as_secs_f64();
    limit::tell(&bits, peak.bytes(), seconds);
}

/// Compares children under each limit with free runs; `test` is the full name of the test that calls.
fn no_limit_changes_a_bit(test: &str, job: Job, limits: &[Limit]) {
    if let Some(limit) = limit::of_child() {
        return run_limited(job, limit);
    }
    let free = free_bits(job);
    for limit in limits {
        let told = limit.run_child(test, LIMIT);
        assert_eq!(told.bits, free, "{job:?} under {limit:?}");
        let (limit_size, data, peak) = (ByteSize(LIMIT), ByteSize(DATA), ByteSize(told.peak_bytes));
        let what = format!("{job:?} under {limit:?}");
        println!("memory: {what}: limit {limit_size}, data {data}, peak anonymous {peak}, seconds {:.1}", told.seconds);
    }
}

#[test]
fn svd_of_twenty_times_the_allowances_ends_under_every_limit_with_the_same_bits() {
    let test = "svd_of_twenty_times_the_allowances_ends_under_every_limit_with_the_same_bits";
    no_limit_changes_a_bit(test, Job::Svd, &Limit::available());
}

#[test]
fn pca_of_a_sparse_source_ends_under_the_limit_with_the_same_bits() {
    let test = "pca_of_a_sparse_source_ends_under_the_limit_with_the_same_bits";
    no_limit_changes_a_bit(test, Job::Pca, &Limit::available()[..1]);
}

#[test]
fn what_is_persisted_on_disk_is_read_back_under_the_limit_with_the_same_bits() {
    let test = "what_is_persisted_on_disk_is_read_back_under_the_limit_with_the_same_bits";
    no_limit_changes_a_bit(test, Job::Statistics, &Limit::available()[..1]);
}

#[test]
fn each_limit_ends_a_process_that_holds_more() {
    let test = "each_limit_ends_a_process_that_holds_more";
    if let Some(limit) = limit::of_child() {
        limit.enter_late(LIMIT);
        // Written to, as pages that nobody touched count for nothing in a cgroup.
        let held = vec![1u8; 2 * LIMIT as usize];
        return limit::tell(&[held.iter().map(|byte| u64::from(*byte)).sum()], 0, 0.0);
    }
    for limit in Limit::available() {
        let ended = limit.start_child(test, LIMIT);
        assert!(!ended.status.success(), "{limit:?} does not bind: {}", String::from_utf8_lossy(&ended.stdout));
    }
}
