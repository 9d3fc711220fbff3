//! CSR times a narrow dense matrix, beside SciPy's.

use std::hint::black_box;

use allotment::Result;
use nalgebra::DMatrix;

use crate::data::{Csr, dense};
use crate::measure::{Turns, row, seconds};
use crate::{Bench, ROUNDS, millis};

/// Prints the rows of this file.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let Some(rival) = &bench.rival else { return Ok(()) };
    for percent in [5, 20] {
        let csr = Csr::random(20_000, 2_000, f64::from(percent) / 100.0);
        let array = csr.array(&bench.cluster, csr.rows)?;
        rival.give_csr("x", &csr);
        for k in [16, 50, 100] {
            let right = dense(csr.cols * k);
            rival.give_dense("v", k, &right);
            let right = DMatrix::from_row_slice(csr.cols, k, &right);
            let ours = || {
                seconds(|| {
                    let product = array.matmul(&right).expect("the sizes meet");
                    black_box(product.compute(&bench.cluster).expect("it fits"));
                })
            };
            let turns = Turns::take(ROUNDS, ours, || rival.ask("times x v").0);
            let figure = format!("CSR of {percent} %, 20,000 × 2,000, times 2,000 × {k}");
            row(&figure, &turns, millis, "SciPy", "< 1");
        }
    }
    Ok(())
}
