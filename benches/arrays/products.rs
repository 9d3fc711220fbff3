//! CSR times a narrow dense matrix, beside SciPy's; and what it costs to take the mean from every row.

use std::hint::black_box;

use allotment::Result;
use allotment::array::{Array, Over};
use nalgebra::DMatrix;

use crate::data::{Csr, dense};
use crate::measure::{Turns, row, seconds};
use crate::{Bench, ROUNDS, millis};

/// Prints the rows of this file.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    centred(bench)?;
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

/// Ours and ours: the product of the centred array, beside that of the array as it is.
fn centred(bench: &Bench) -> Result<()> {
    let csr = Csr::random(20_000, 2_000, 0.05);
    let sparse = csr.array(&bench.cluster, csr.rows)?;
    // No zero is left in it, so that every row is summed with twice the digits.
    let full = Csr::random(2_000, 1_000, 0.5).array(&bench.cluster, 2_000)?.to_dense().add(1e8)?.to_csr()?;
    let full = full.persist(&bench.cluster)?;
    for (name, array) in [("CSR of 5 %, 20,000 × 2,000", &sparse), ("CSR without zeros, 2,000 × 1,000, of 1e8", &full)]
    {
        let mean = array.mean(&bench.cluster, Over::EachColumn)?;
        for k in [1, 16, 50] {
            let right = DMatrix::from_vec(mean.len(), k, dense(mean.len() * k));
            let ours = || compute(bench, array.matmul_centred(&right, &mean));
            let turns = Turns::take(ROUNDS, ours, || compute(bench, array.matmul(&right)));
            row(&format!("{name}, less its mean, times {k} columns"), &turns, millis, "not centred", "< 1.2");
        }
    }
    Ok(())
}

fn compute(bench: &Bench, product: Result<Array>) -> f64 {
    let product = product.expect("the sizes meet");
    seconds(|| {
        black_box(product.compute(&bench.cluster).expect("it fits"));
    })
}
