//! How much faster many lanes are than one, on blocks that only compute; rayon with as many threads beside it.

use std::hint::black_box;

use allotment::{Cluster, Result};
use rayon::prelude::*;

use crate::ROUNDS;
use crate::measure::{Turns, row, seconds};
use crate::streams::compute;

const BLOCKS: u64 = 64;

/// Prints the row of this file: how much faster all lanes are than one, for us and for rayon.
pub(crate) fn run(cluster: &Cluster) -> Result<()> {
    let lanes = cluster.lanes();
    let single = Cluster::builder().workers(1).build()?;
    let pool = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("the system gives threads")
    };
    let (many, one) = (pool(lanes), pool(1));
    let ours = || seconds(|| blocks(&single)) / seconds(|| blocks(cluster));
    let rival = || seconds(|| one.install(with_rayon)) / seconds(|| many.install(with_rayon));
    let turns = Turns::take(ROUNDS, ours, rival);
    let show = |gain: f64| format!("{gain:.2} ×");
    row(&format!("{lanes} lanes against one, {BLOCKS} blocks that compute"), &turns, show, "rayon", "");
    Ok(())
}

fn blocks(cluster: &Cluster) {
    let futures = cluster.map(block, 0..BLOCKS).expect("a queue that waits takes all");
    black_box(cluster.gather(futures).expect("nothing fails"));
}

fn with_rayon() {
    black_box((0..BLOCKS).into_par_iter().map(block).collect::<Vec<u64>>());
}

/// About two milliseconds.
fn block(number: u64) -> u64 {
    compute(number, 1_000_000)
}
