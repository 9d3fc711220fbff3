//! The gram of CSR beside SciPy's and beside the dense product, and of dense blocks beside this machine's GEMM.

use std::hint::black_box;

use allotment::Result;
use allotment::linalg::{gemm, gram, gram_upper};
use nalgebra::DMatrix;

use crate::data::{Csr, dense};
use crate::measure::{Turns, row, seconds};
use crate::{Bench, ROUNDS, millis};

const ROWS: usize = 10_000;
const COLS: usize = 2_000;

/// Prints the rows of this file.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let full = dense(ROWS * COLS);
    if let Some(rival) = &bench.rival {
        rival.give_dense("full", COLS, &full);
    }
    for percent in [2, 5, 10, 20, 50] {
        sparse(bench, percent, &full)?;
    }
    for cols in [100, 500, 2_000] {
        of_dense(bench, cols);
    }
    Ok(())
}

fn sparse(bench: &Bench, percent: u32, full: &[f64]) -> Result<()> {
    let csr = Csr::random(ROWS, COLS, f64::from(percent) / 100.0);
    let array = csr.array(&bench.cluster, csr.rows)?;
    let ours = || {
        seconds(|| {
            black_box(gram(&bench.cluster, &array, None).expect("it fits"));
        })
    };
    let figure = format!("gram, CSR of {percent} %, 10,000 × 2,000");
    let mut acc = DMatrix::zeros(COLS, COLS);
    let turns =
        Turns::take(ROUNDS, ours, || seconds(|| gram_upper(full, ROWS, COLS, &mut acc).expect("the sizes meet")));
    row(&figure, &turns, millis, "our product of dense f64", "< 1");
    if let Some(rival) = &bench.rival {
        let turns = Turns::take(ROUNDS, ours, || rival.ask("gram full").0);
        row(&figure, &turns, millis, "NumPy, of dense f64", "< 1");
        rival.give_csr("x", &csr);
        // A round of SciPy takes seconds where much is stored.
        let rounds = if percent > 5 { 1 } else { ROUNDS };
        let turns = Turns::take(rounds, ours, || rival.ask("gram x").0);
        row(&figure, &turns, millis, "SciPy", "< 1");
    }
    Ok(())
}

/// In operations a second, of which the gram needs half of what a product takes.
fn of_dense(bench: &Bench, cols: usize) {
    let (rows, mut acc) = (dense(ROWS * cols), DMatrix::zeros(cols, cols));
    let work = ROWS as f64 * (cols * (cols + 1)) as f64;
    let n = 1_000;
    let square = DMatrix::from_column_slice(n, n, &dense(n * n));
    let ours = || work / seconds(|| gram_upper(&rows, ROWS, cols, &mut acc).expect("the sizes meet"));
    let rival = || 2.0 * (n as f64).powi(3) / seconds(|| drop(black_box(gemm(&square, &square))));
    let turns = Turns::take(ROUNDS, ours, rival);
    let show = |rate: f64| format!("{:.1} GFLOP/s", rate / 1e9);
    let figure = format!("gram, dense f64, 10,000 × {cols}");
    row(&figure, &turns, show, "GEMM of 1,000³", "≥ 0.85");
    if let Some(rival) = &bench.rival {
        rival.give_dense("y", cols, &rows);
        let ours = || seconds(|| gram_upper(&rows, ROWS, cols, &mut acc).expect("the sizes meet"));
        let turns = Turns::take(ROUNDS, ours, || rival.ask("gram y").0);
        row(&figure, &turns, millis, "NumPy", "< 1");
    }
}
