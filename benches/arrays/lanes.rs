//! How much faster two lanes are than one.

use std::hint::black_box;

use allotment::array::{Array, Over, Statistic};
use allotment::linalg::{gram, tsqr};
use allotment::{Cluster, Result};

use crate::data::{Csr, dense};
use crate::measure::{Turns, row, seconds};
use crate::{Bench, ROUNDS, cluster, millis};

/// Prints the rows of this file.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let two = cluster(2)?;
    // Forty million stored values: a pass over fewer is over before it shows what a second lane is worth.
    let long = Csr::random(400_000, 2_000, 0.05).array(&two, 5_000)?;
    let csr = Csr::random(40_000, 2_000, 0.05).array(&two, 2_500)?;
    let tall = Array::from_slice(200_000, 100, &dense(200_000 * 100))?.with_block_rows(10_000).persist(&two)?;
    let statistics = |cluster: &Cluster| {
        let asked = [(Statistic::Var { ddof: 1 }, Over::EachColumn)];
        black_box(long.reduce_many(cluster, &asked, None).expect("it fits"));
    };
    compare("column statistics of CSR", (&two, &bench.cluster), statistics);
    let dense_gram = |cluster: &Cluster| drop(black_box(gram(cluster, &tall, None).expect("it fits")));
    compare("gram of dense blocks", (&two, &bench.cluster), dense_gram);
    let sparse_gram = |cluster: &Cluster| drop(black_box(gram(cluster, &csr, None).expect("it fits")));
    compare("gram of CSR", (&two, &bench.cluster), sparse_gram);
    let qr = |cluster: &Cluster| drop(black_box(tsqr(cluster, &tall, None).expect("it fits")));
    compare("tsqr", (&two, &bench.cluster), qr);
    Ok(())
}

/// The ratio is that of times: half is twice as fast.
fn compare(what: &str, (two, one): (&Cluster, &Cluster), work: impl Fn(&Cluster)) {
    let turns = Turns::take(ROUNDS, || seconds(|| work(two)), || seconds(|| work(one)));
    row(&format!("{what}, two lanes"), &turns, millis, "one lane", "≤ 0.56");
}
