//! What the tests of the factorisations share: matrices whose every number is the same on every machine.

use nalgebra::DMatrix;

use super::dense::qr_thin;
use crate::array::{Block, DenseBlock};

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

/// A matrix with the singular values 1, 0.1, 0.01, …, `rank` of them.
pub(crate) fn graded(rows: usize, cols: usize, rank: usize) -> DMatrix<f64> {
    let ((u, _), (v, _)) = (qr_thin(&noise(rows, rank, 101)), qr_thin(&noise(cols, rank, 102)));
    let s = DMatrix::from_diagonal(&nalgebra::DVector::from_fn(rank, |i, _| 10f64.powi(-(i as i32))));
    u * s * v.transpose()
}
