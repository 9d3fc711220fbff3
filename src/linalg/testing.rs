//! What the tests of the factorisations share: matrices whose every number is the same on every machine.

use nalgebra::DMatrix;

use crate::array::{Array, Block, DenseBlock};
use crate::runtime::{Cluster, Scheduler};

/// Values in −0.5 to 0.5 that look random: a multiplicative hash of the place.
pub(crate) fn noise(rows: usize, cols: usize, seed: u64) -> DMatrix<f64> {
    DMatrix::from_fn(rows, cols, |i, j| {
        let mut x = (seed << 40) ^ ((i * cols + j) as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((x >> 11) as f64) / ((1u64 << 53) as f64) - 0.5
    })
}

/// A matrix as a dense block.
pub(crate) fn dense_block(a: &DMatrix<f64>) -> Block {
    Block::Dense(DenseBlock::from_nalgebra(a))
}

/// A cluster of so many workers; with none the serial one.
pub(crate) fn cluster(workers: usize) -> Cluster {
    let builder = Cluster::builder().allowance(crate::ByteSize(256 << 20));
    let builder = match workers {
        0 => builder.scheduler(Scheduler::Serial),
        _ => builder.workers(workers),
    };
    builder.build().expect("sound settings")
}

/// A matrix with about one value in `one_in` stored, the rest zero.
pub(crate) fn sparse(rows: usize, cols: usize, one_in: u64) -> DMatrix<f64> {
    noise(rows, cols, 3).map(|x| if (((x + 0.5) * 1e9) as u64).is_multiple_of(one_in) { x + 0.6 } else { 0.0 })
}

/// A matrix with these singular values, its singular vectors at random.
pub(crate) fn with_spectrum(rows: usize, cols: usize, spectrum: &[f64]) -> DMatrix<f64> {
    let basis = |n, seed| super::dense::qr_thin(&noise(n, spectrum.len(), seed)).0;
    basis(rows, 21) * DMatrix::from_diagonal(&spectrum.to_vec().into()) * basis(cols, 22).transpose()
}

/// The same matrix dense and as CSR, in blocks of so many rows.
pub(crate) fn both_kinds(a: &DMatrix<f64>, block_rows: u64) -> [Array; 2] {
    let dense = Array::from_nalgebra(a);
    let csr = dense.to_csr().expect("few columns");
    [dense, csr].map(|array| array.with_block_rows(block_rows))
}

/// A matrix with the singular values 1, 0.1, 0.01, …, `rank` of them.
pub(crate) fn graded(rows: usize, cols: usize, rank: usize) -> DMatrix<f64> {
    with_spectrum(rows, cols, &(0..rank).map(|i| 10f64.powi(-(i as i32))).collect::<Vec<_>>())
}
