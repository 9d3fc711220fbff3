//! `svd_compressed` of a flat spectrum, beside Dask's with as many power iterations as it takes to be as good.

use std::time::Instant;

use allotment::Result;
use allotment::array::Array;
use allotment::linalg::{LanczosOptions, SvdCompressedOptions, lanczos, svd_compressed};

use crate::cluster;
use crate::data::dense;
use crate::measure::{Turns, row};
use crate::rival::Rival;

const N: usize = 10_000;
const CHUNK: usize = 2_000;
const K: usize = 5;
/// How far a singular value may be off.
const GOOD: f64 = 0.01;
/// Each takes seconds.
const ROUNDS: usize = 3;

/// Prints the rows of this file; both sides have all cores.
pub(crate) fn run() -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let Some(rival) = Rival::start(1, "dask") else { return Ok(()) };
    let (cluster, values) = (cluster(cores)?, dense(N * N));
    rival.give_dense("a", N, &values);
    let array = Array::from_slice(N, N, &values)?.with_block_rows(CHUNK as u64).persist(&cluster)?;
    drop(values);
    let exact = lanczos(&cluster, &array, &LanczosOptions { k: K, ..Default::default() })?.s;
    let options = SvdCompressedOptions { k: K, ..Default::default() };
    let off = |s: &[f64]| s.iter().zip(&exact).map(|(s, exact)| (s / exact - 1.0).abs()).fold(0.0, f64::max);
    let mut ours_off = 0.0;
    let ours = || {
        let start = Instant::now();
        ours_off = off(&svd_compressed(&cluster, &array, &options).expect("it converges").s);
        start.elapsed().as_secs_f64()
    };
    let ask = |iterations: usize| rival.ask(&format!("compressed a {CHUNK} {K} {iterations}"));
    let default_off = off(&ask(0).1);
    let good = |iterations: &usize| off(&ask(*iterations).1) <= GOOD;
    let iterations = [2, 4, 8, 12, 16, 24, 32, 48, 64].into_iter().find(good).unwrap_or(96);
    let turns = Turns::take(ROUNDS, ours, || ask(iterations).0);
    let show = |seconds: f64| format!("{seconds:.2} s");
    let figure = format!("svd_compressed, {N}², chunks of {CHUNK}, k = {K}, {cores} lanes");
    row(&figure, &turns, show, &format!("Dask, {iterations} power iterations"), "≤ 0.67");
    let theirs_off = off(&ask(iterations).1);
    println!("| … off by at most | {:.2} % | {:.2} % (Dask) | | ≤ 1 % |", ours_off * 100.0, theirs_off * 100.0);
    println!("| … as it comes | | {:.0} % (Dask) | | |", default_off * 100.0);
    println!("| … s₁ to s₄ | {:.1?} | | | |", &exact[1..]);
    Ok(())
}
