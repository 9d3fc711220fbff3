//! Under a kernel memory limit of all allowances + 25 %, work on twenty times as much data ends with the same bits.
//!
//! ```text
//!   test ── free run: 1 GiB a worker, 3 workers ──────────▶ bits ─┐
//!     └── child under the kernel's limit: 8 MiB, 2 workers ─▶ bits ─ must be equal, and the child must live
//! ```
//!
//! The limit is what the kernel enforces and not what the library believes: in a memory cgroup a process that needs more
//! is killed, under `RLIMIT_DATA` its allocations fail, which ends a Rust program too. No job says how its data are cut:
//! that the allowance has no say in it is a part of what is proved. What is done stands in `jobs.rs`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod jobs;
mod limit;
mod sparse;

use std::time::Instant;

use allotment::{ByteSize, Cluster};

use jobs::Job;
use limit::Limit;

const MIB: u64 = 1 << 20;
/// What a worker may hold, and how many there are, under the limit.
const ALLOWANCE: u64 = 8 * MIB;
const WORKERS: usize = 2;
/// All that the process may hold: the allowances and a quarter more. That quarter is for everything outside the ledger:
/// the program's own memory, the stacks, what the allocator keeps, the kernel's tables for the process.
const LIMIT: u64 = WORKERS as u64 * ALLOWANCE * 5 / 4;
/// Twenty times the allowances.
const DATA: u64 = 20 * WORKERS as u64 * ALLOWANCE;

/// Runs a job without a limit, on more workers that may hold far more.
fn free_bits(job: Job) -> Vec<u64> {
    let roomy = Cluster::builder().allowance(ByteSize(1024 * MIB)).overcommit(true).workers(3);
    job.run(&roomy.build().unwrap())
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

/// Compares children under a limit with a free run; `test` is the full name of the test that calls.
///
/// The strictest limit for every job, and the other one for the one that all the others are alike to.
fn no_limit_changes_a_bit(test: &str, job: Job) {
    if let Some(limit) = limit::of_child() {
        return run_limited(job, limit);
    }
    let free = free_bits(job);
    let n_limits = if job == Job::Svd { 2 } else { 1 };
    for limit in Limit::available().into_iter().take(n_limits) {
        let told = limit.run_child(test, LIMIT);
        assert_eq!(told.bits, free, "{job:?} under {limit:?}");
        let (limit_size, data, peak) = (ByteSize(LIMIT), ByteSize(DATA), ByteSize(told.peak_bytes));
        let what = format!("{job:?} under {limit:?}");
        println!("memory: {what}: limit {limit_size}, data {data}, peak anonymous {peak}, seconds {:.1}", told.seconds);
    }
}

/// Makes the test of each job; it needs its own name to run itself in a child.
macro_rules! tests {
    ($($name:ident $job:ident;)*) => {$(
        #[test]
        fn $name() {
            no_limit_changes_a_bit(stringify!($name), Job::$job);
        }
    )*};
}

tests! {
    all_statistics_of_what_is_persisted_on_disk Statistics;
    all_statistics_of_sparse_columns SparseStatistics;
    a_gram Gram;
    r_of_a_tall_matrix Tsqr;
    q_and_r_of_a_tall_matrix Qr;
    the_svd_of_a_tall_matrix Svd;
    the_first_triplets_of_a_dense_matrix_by_a_sketch DenseCompressed;
    the_first_triplets_of_a_sparse_matrix_by_a_sketch SparseCompressed;
    the_first_triplets_of_a_centred_sparse_matrix_by_lanczos Lanczos;
    principal_components_of_sparse_logarithms_by_the_covariance SparseCovariance;
    principal_components_by_tsqr PcaTsqr;
    principal_components_of_a_sparse_matrix_by_a_sketch PcaRandomized;
    a_chain_of_products_and_transposes Chain;
    rows_and_columns_by_lists Select;
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
