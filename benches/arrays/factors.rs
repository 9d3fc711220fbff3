//! The SVD of a tall matrix, beside NumPy's QR of the same blocks joined in the same way.

use std::hint::black_box;

use allotment::Result;
use allotment::array::Array;
use allotment::linalg::{SvdOptions, svd, svd_small, tsqr};

use crate::data::dense;
use crate::measure::{Turns, row, seconds};
use crate::{Bench, ROUNDS, millis};

const ROWS: usize = 200_000;
const COLS: usize = 100;
const BLOCK: usize = 10_000;

/// Prints the rows of this file.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let Some(rival) = &bench.rival else { return Ok(()) };
    let values = dense(ROWS * COLS);
    rival.give_dense("a", COLS, &values);
    let array = Array::from_slice(ROWS, COLS, &values)?.with_block_rows(BLOCK as u64).persist(&bench.cluster)?;
    let (mut found, mut theirs) = (Vec::new(), Vec::new());
    let ours = || {
        seconds(|| {
            let r = tsqr(&bench.cluster, &array, None).expect("it fits").r;
            found = svd_small(&r).expect("it converges").s;
        })
    };
    let turns = Turns::take(ROUNDS, ours, || {
        let (seconds, s) = rival.ask(&format!("tsqr_r a {BLOCK}"));
        theirs = s;
        seconds
    });
    let figure = format!("singular values, {ROWS} × {COLS}, blocks of {BLOCK} rows");
    row(&figure, &turns, millis, "NumPy, tsqr without Q", "≤ 0.33");
    let apart = found.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("| … they differ by at most, of the largest | {:.1e} | | | |", apart / found[0]);
    let ours = || seconds(|| drop(black_box(svd(&bench.cluster, &array, &SvdOptions::default()))));
    let turns = Turns::take(ROUNDS, ours, || rival.ask(&format!("tsqr_svd a {BLOCK}")).0);
    row("svd of the same, with residuals", &turns, millis, "NumPy, tsqr with Q and U", "≤ 0.33");
    Ok(())
}
