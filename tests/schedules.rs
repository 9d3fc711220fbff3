//! Every number comes out with the same bits whatever the order in which blocks end: on Serial, on any number of workers, with
//! any allowance, and when lanes die in between.
//!
//! ```text
//!   data ─▶ closure that sleeps for a time that a seed and the place give ─▶ operation ─▶ every number's bits
//!              └─ now and then lets the next lane die that begins a task
//! ```
//!
//! The reference is the Serial run, in which nothing sleeps. That orders were really shuffled is measured, not assumed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/answers.rs"]
mod answers;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allotment::array::{Array, BlockMap, Over, Statistic, random};
use allotment::linalg::{
    Centre, LanczosOptions, LstsqOptions, PcaOptions, PcaSolver, QrOptions, SvdCompressedOptions, SvdOptions, Work,
};
use allotment::{ByteSize, Cluster, RestartPolicy, Scheduler};

use answers::bits_of;

/// 2.2 MB: nine blocks where the plan chooses them, the last one ragged.
const ROWS: u64 = 14_011;
const COLS: u64 = 20;

/// What disturbs a run.
struct Trouble {
    /// Of the delays; 0 for none.
    seed: u64,
    /// Lanes die after so many blocks, four times as many, and so on; 0 for none.
    kill_every: u64,
    /// How many blocks have begun, in all passes.
    begun: AtomicU64,
    /// The first row of the block that ended last, and how often that was beyond the next one's.
    last: AtomicU64,
    n_out_of_order: AtomicUsize,
    n_killed: AtomicUsize,
    /// Whose lanes die. Taken out after the run: the last handle must not be dropped on a lane.
    cluster: Mutex<Option<Cluster>>,
}

impl Trouble {
    fn new(seed: u64, kill_every: u64) -> Arc<Self> {
        let (begun, last) = Default::default();
        let (n_out_of_order, n_killed, cluster) = Default::default();
        Arc::new(Trouble { seed, kill_every, begun, last, n_out_of_order, n_killed, cluster })
    }

    /// Sleeps for up to 2 ms, mostly far less, by the seed, the block and how many have begun; may doom a lane.
    fn disturb(&self, first_row: u64) {
        let begun = self.begun.fetch_add(1, Relaxed) + 1;
        if self.seed != 0 {
            let mut x = (self.seed << 48 ^ first_row << 16 ^ begun).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let share = (x >> 11) as f64 / (1u64 << 53) as f64;
            // The fourth power: a median of 125 µs, and every tenth block takes longer than 1.3 ms.
            std::thread::sleep(Duration::from_secs_f64(2e-3 * share.powi(4)));
        }
        if self.kill_every != 0
            // Ever more seldom: a task may begin many blocks, and is given up when lanes die under it again and again.
            && begun >= self.kill_every << (2 * self.n_killed.load(Relaxed)).min(40)
            && let Some(cluster) = &*self.cluster.lock().unwrap()
            && cluster.snapshot().retried as usize == self.n_killed.load(Relaxed)
        {
            cluster.chaos().kill_lanes(1);
            self.n_killed.fetch_add(1, Relaxed);
        }
        if self.last.swap(first_row, Relaxed) > first_row && first_row != 0 {
            self.n_out_of_order.fetch_add(1, Relaxed);
        }
    }

    /// Puts the trouble in front of an array's values, which stay as they are.
    fn before(self: &Arc<Self>, x: &Array) -> Array {
        let trouble = self.clone();
        let map = BlockMap::new("trouble", x.cols(), x.dtype(), x.kind(), move |block, info| {
            trouble.disturb(info.row_offset);
            Ok(block)
        });
        x.map_blocks(map).unwrap()
    }
}

/// Named work, with its arrays.
type Case = (String, Work, Vec<Array>);

/// The data of each kind: normal numbers of falling scale, the CSR ones without what is below zero.
fn data(trouble: &Arc<Trouble>) -> [(&'static str, Array); 2] {
    let scales: Vec<f64> = (0..COLS).map(|col| 0.7f64.powi(col as i32)).collect();
    let dense = random::normal(ROWS, COLS, 7, None).scale_cols(&scales).unwrap();
    let csr = dense.clip(0.0, 9.0).unwrap().to_csr().unwrap();
    [("dense", trouble.before(&dense)), ("csr", trouble.before(&csr))]
}

fn statistics(trouble: &Arc<Trouble>) -> Vec<Case> {
    let all = [
        Statistic::Sum,
        Statistic::Mean,
        Statistic::Var { ddof: 1 },
        Statistic::Std { ddof: 0 },
        Statistic::Min,
        Statistic::Max,
        Statistic::ArgMin,
        Statistic::ArgMax,
        Statistic::CountNonzero,
        Statistic::Nnz,
        Statistic::Any,
        Statistic::All,
        Statistic::Median,
        Statistic::Quantile(0.07),
    ];
    let asked = |overs: &[Over]| -> Vec<(Statistic, Over)> {
        overs.iter().flat_map(|over| all.map(|statistic| (statistic, *over))).collect()
    };
    let overs = [Over::Whole, Over::EachRow, Over::EachColumn];
    let case = |(kind, x): (&str, Array)| {
        let turned = x.transpose();
        [
            (format!("{kind}, statistics"), Work::Reduce(asked(&overs)), vec![x]),
            (format!("{kind}, statistics of the transpose"), Work::Reduce(asked(&overs[..2])), vec![turned]),
        ]
    };
    data(trouble).into_iter().flat_map(case).collect()
}

fn direct_factorisations(trouble: &Arc<Trouble>) -> Vec<Case> {
    let case = |(kind, x): (&'static str, Array)| {
        let (turned, target) = (x.transpose(), trouble.before(&random::uniform(ROWS, 2, 9, None)));
        let with_u = || Work::Svd(SvdOptions { compute_u: true, ..Default::default() });
        [
            (Work::Tsqr, vec![x.clone()]),
            (Work::Qr(QrOptions::default()), vec![x.clone()]),
            (Work::Gram, vec![x.clone()]),
            (Work::EighGram(3), vec![x.clone()]),
            (with_u(), vec![x.clone()]),
            (with_u(), vec![turned]),
            (Work::Lstsq(LstsqOptions::default()), vec![x, target]),
        ]
        .map(|(work, arrays)| (format!("{kind}, {} of {:?}", work.name(), arrays[0].shape()), work, arrays))
    };
    data(trouble).into_iter().flat_map(case).collect()
}

fn iterations(trouble: &Arc<Trouble>) -> Vec<Case> {
    let case = |(kind, x): (&'static str, Array)| {
        let sketch = || SvdCompressedOptions { k: 3, compute_u: true, ..Default::default() };
        let krylov = |centre| LanczosOptions { k: 3, centre, ..Default::default() };
        [
            (Work::SvdCompressed(sketch()), x.clone()),
            (Work::SvdCompressed(sketch()), x.clone().rechunk(3_000, 7)),
            (Work::SvdCompressed(sketch()), x.select_rows(0..2_000).unwrap().transpose().with_block_rows(3)),
            (Work::Lanczos(krylov(Centre::Nothing)), x.clone()),
            (Work::Lanczos(krylov(Centre::Mean)), x),
        ]
        .map(|(work, x)| (format!("{kind}, {} of {x:?}", work.name()), work, vec![x]))
    };
    data(trouble).into_iter().flat_map(case).collect()
}

fn principal_components(trouble: &Arc<Trouble>) -> Vec<Case> {
    let solvers = [PcaSolver::CovarianceEigh, PcaSolver::Tsqr, PcaSolver::Lanczos, PcaSolver::Randomized];
    let case = |(kind, x): (&'static str, Array)| {
        solvers.map(|solver| {
            let work = Work::Pca(PcaOptions { components: 3.into(), solver, ..Default::default() });
            (format!("{kind}, pca by {}", solver.name()), work, vec![x.clone()])
        })
    };
    data(trouble).into_iter().flat_map(case).collect()
}

fn chains(trouble: &Arc<Trouble>) -> Vec<Case> {
    let case = |(kind, x): (&'static str, Array)| {
        let squares = x.square().scale(0.5);
        let beside = Array::hstack(&[x.clone(), squares.clone()]).unwrap();
        let below = Array::vstack(&[squares.clone(), x.select_rows((0..ROWS).step_by(7).collect::<Vec<_>>()).unwrap()]);
        let right = random::uniform(COLS, 5, 1, None);
        [
            ("as it is", x.clone()),
            ("transposed, with itself", x.transpose().dot(&x).unwrap()),
            ("a product, on a grid", x.dot(&right).unwrap().rechunk(2_000, 2)),
            ("beside its squares, transposed", beside.transpose()),
            ("less its row, times its square", x.subtract(x.select_rows(5..6).unwrap()).unwrap().multiply(&x).unwrap()),
            ("one below the other", below.unwrap()),
            ("a product with what lies beside", squares.transpose().dot(&beside).unwrap()),
        ]
        .map(|(name, chain)| (format!("{kind}, {name}"), Work::Compute, vec![chain]))
    };
    data(trouble).into_iter().flat_map(case).collect()
}

/// Where work runs: workers (none is Serial), MiB a worker, and after how many blocks the first lane dies.
const SETTINGS: [(usize, u64, u64); 8] =
    [(0, 64, 0), (0, 8, 0), (1, 8, 0), (2, 64, 0), (3, 1024, 0), (5, 8, 0), (2, 8, 31), (5, 1024, 37)];

fn cluster((workers, mib, _): (usize, u64, u64)) -> Cluster {
    // Deaths are not what is tested, but what comes out after them.
    let patient = RestartPolicy { max_restarts: 100_000, backoff: Duration::from_millis(1), ..Default::default() };
    let builder = Cluster::builder().allowance(ByteSize(mib << 20)).overcommit(true).restart_policy(patient);
    let builder = if workers == 0 { builder.scheduler(Scheduler::Serial) } else { builder.workers(workers) };
    builder.build().unwrap()
}

/// Compares each case on each cluster, in shuffled orders, with the quiet Serial run.
fn no_order_changes_a_bit(cases: fn(&Arc<Trouble>) -> Vec<Case>) {
    let quiet = cluster((0, 1024, 0));
    let calm = Trouble::new(0, 0);
    let reference = cases(&calm).into_iter().map(|(_, work, arrays)| bits_of(&work, &arrays, &quiet).unwrap());
    let reference: Vec<_> = reference.collect();
    // Some chains read their blocks in another order by themselves.
    let n_anyway = calm.n_out_of_order.load(Relaxed);
    for (seed, setting) in (1..).zip(SETTINGS) {
        let (cluster, trouble) = (cluster(setting), Trouble::new(seed, setting.2));
        *trouble.cluster.lock().unwrap() = Some(cluster.clone());
        for ((name, work, arrays), expected) in cases(&trouble).into_iter().zip(&reference) {
            let found = bits_of(&work, &arrays, &cluster).unwrap();
            assert_eq!(found.len(), expected.len(), "{name} with {setting:?}");
            for (part, (found, expected)) in found.iter().zip(expected).enumerate() {
                let differ = found.iter().zip(expected).position(|(a, b)| a != b);
                assert!(differ.is_none(), "{name} with {setting:?}: part {part} differs at {differ:?}");
                assert_eq!(found.len(), expected.len(), "{name} with {setting:?}: part {part}");
            }
        }
        trouble.cluster.lock().unwrap().take();
        let (n_out_of_order, n_killed) = (trouble.n_out_of_order.load(Relaxed), trouble.n_killed.load(Relaxed));
        let begun = trouble.begun.load(Relaxed);
        println!("schedules: {setting:?}: {begun} blocks, {n_out_of_order} out of order, {n_killed} lanes died");
        assert!(setting.0 < 2 || n_out_of_order > n_anyway + 10, "{setting:?}: nothing was shuffled");
        assert!(setting.2 == 0 || n_killed > 0, "{setting:?}: no lane died");
    }
}

#[test]
fn no_order_of_blocks_changes_a_bit_of_any_statistic() {
    no_order_changes_a_bit(statistics);
}

#[test]
fn no_order_of_blocks_changes_a_bit_of_a_direct_factorisation() {
    no_order_changes_a_bit(direct_factorisations);
}

#[test]
fn no_order_of_blocks_changes_a_bit_of_an_iteration() {
    no_order_changes_a_bit(iterations);
}

#[test]
fn no_order_of_blocks_changes_a_bit_of_principal_components() {
    no_order_changes_a_bit(principal_components);
}

#[test]
fn no_order_of_blocks_changes_a_bit_of_a_chain_of_operations() {
    no_order_changes_a_bit(chains);
}
