//! CSR times a narrow dense matrix, beside SciPy's and beside the plain loop over the same arrays; and what it costs to
//! take the mean from every row.
//!
//! The plain loop is what the vector registers are worth: it adds a multiple of a row to a row, for each stored value, as the
//! compiler makes it for any processor of its kind.

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
    for percent in [5, 20] {
        let csr = Csr::random(20_000, 2_000, f64::from(percent) / 100.0);
        let array = csr.array(&bench.cluster, csr.rows)?;
        if let Some(rival) = &bench.rival {
            rival.give_csr("x", &csr);
        }
        for k in [16, 50, 100] {
            let right = dense(csr.cols * k);
            if let Some(rival) = &bench.rival {
                rival.give_dense("v", k, &right);
            }
            let rows = right.clone();
            let right = DMatrix::from_row_slice(csr.cols, k, &right);
            let ours = || {
                seconds(|| {
                    let product = array.matmul(&right).expect("the sizes meet");
                    black_box(product.compute(&bench.cluster).expect("it fits"));
                })
            };
            let figure = format!("CSR of {percent} %, 20,000 × 2,000, times 2,000 × {k}");
            let turns = Turns::take(ROUNDS, ours, || seconds(|| drop(black_box(plain(&csr, &rows, k)))));
            row(&figure, &turns, millis, "plain loop", "< 1");
            if let Some(rival) = &bench.rival {
                let turns = Turns::take(ROUNDS, ours, || rival.ask("times x v").0);
                row(&figure, &turns, millis, "SciPy", "< 1");
            }
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

fn plain(csr: &Csr, right: &[f64], k: usize) -> Vec<f64> {
    let mut product = vec![0.0; csr.rows * k];
    for (out, ends) in product.chunks_exact_mut(k).zip(csr.indptr.windows(2)) {
        let stored = ends[0] as usize..ends[1] as usize;
        for (&col, &value) in csr.indices[stored.clone()].iter().zip(&csr.values[stored]) {
            let row = &right[col as usize * k..(col as usize + 1) * k];
            out.iter_mut().zip(row).for_each(|(out, right)| *out += f64::from(value) * right);
        }
    }
    product
}
