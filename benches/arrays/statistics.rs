//! Mean and variance of each column of CSR, beside loops that a user would write over the same arrays.
//!
//! The plain loop takes two passes, as ours promises no less: sums and counts, then squares about the mean. The naive one
//! takes one, and loses all digits where a mean is large beside its deviation.

use std::hint::black_box;

use allotment::Result;
use allotment::array::{Over, Statistic};

use crate::data::Csr;
use crate::measure::{Turns, row, seconds};
use crate::{Bench, ROUNDS, millis};

const ASKED: [(Statistic, Over); 2] =
    [(Statistic::Mean, Over::EachColumn), (Statistic::Var { ddof: 1 }, Over::EachColumn)];

/// Prints the rows of this file.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    for density in [0.05, 0.2] {
        let csr = Csr::random(20_000, 2_000, density);
        let array = csr.array(&bench.cluster, csr.rows)?;
        let ours = || {
            seconds(|| {
                black_box(array.reduce_many(&bench.cluster, &ASKED, None).expect("it fits"));
            })
        };
        let figure = |loops: &str| format!("mean and variance of columns, CSR of {:.0} %, {loops}", density * 100.0);
        let turns = Turns::take(ROUNDS, ours, || seconds(|| drop(black_box(plain(&csr)))));
        row(&figure("20,000 × 2,000"), &turns, millis, "plain loop, two passes", "≤ 1.15");
        let turns = Turns::take(ROUNDS, ours, || seconds(|| drop(black_box(naive(&csr)))));
        row(&figure("20,000 × 2,000"), &turns, millis, "naive loop, Σx² − (Σx)²/n", "");
    }
    Ok(())
}

fn plain(csr: &Csr) -> (Vec<f64>, Vec<f64>) {
    let n = csr.rows as f64;
    let (mut means, mut stored) = (vec![0.0; csr.cols], vec![0u32; csr.cols]);
    for (&col, &value) in csr.indices.iter().zip(&csr.values) {
        means[col as usize] += f64::from(value);
        stored[col as usize] += 1;
    }
    means.iter_mut().for_each(|sum| *sum /= n);
    let mut squares = vec![0.0; csr.cols];
    for (&col, &value) in csr.indices.iter().zip(&csr.values) {
        let apart = f64::from(value) - means[col as usize];
        squares[col as usize] += apart * apart;
    }
    for ((squares, mean), stored) in squares.iter_mut().zip(&means).zip(stored) {
        *squares = (*squares + (n - f64::from(stored)) * mean * mean) / (n - 1.0);
    }
    (means, squares)
}

fn naive(csr: &Csr) -> (Vec<f64>, Vec<f64>) {
    let n = csr.rows as f64;
    let (mut sums, mut squares) = (vec![0.0; csr.cols], vec![0.0; csr.cols]);
    for (&col, &value) in csr.indices.iter().zip(&csr.values) {
        let value = f64::from(value);
        sums[col as usize] += value;
        squares[col as usize] += value * value;
    }
    for (sum, square) in sums.iter_mut().zip(&mut squares) {
        *square = (*square - *sum * *sum / n) / (n - 1.0);
        *sum /= n;
    }
    (sums, squares)
}
