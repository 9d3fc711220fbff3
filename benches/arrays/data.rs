//! The matrices of the figures: numbers that look random and are the same in every run.

use allotment::array::{Array, CsrBlock};
use allotment::{Cluster, Result};

/// Compressed rows, as plain vectors.
pub(crate) struct Csr {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) indptr: Vec<u64>,
    pub(crate) indices: Vec<u32>,
    pub(crate) values: Vec<f32>,
}

impl Csr {
    /// Stores each value with the probability `density`.
    pub(crate) fn random(rows: usize, cols: usize, density: f64) -> Csr {
        let mut csr = Csr { rows, cols, indptr: vec![0], indices: Vec::new(), values: Vec::new() };
        for row in 0..rows {
            for col in 0..cols {
                let x = uniform((row * cols + col) as u64);
                if x < density {
                    csr.indices.push(col as u32);
                    csr.values.push((x / density) as f32 + 0.5);
                }
            }
            csr.indptr.push(csr.indices.len() as u64);
        }
        csr
    }

    /// Makes an array of blocks of so many rows, which lie in chunks: mapped where they are read, and not copied.
    pub(crate) fn array(&self, cluster: &Cluster, block_rows: usize) -> Result<Array> {
        let (indptr, indices, values) = (self.indptr.clone(), self.indices.clone(), self.values.clone());
        let block = CsrBlock::new(self.rows, self.cols, indptr, indices, values)?;
        Array::from_block(block).with_block_rows(block_rows as u64).persist(cluster)
    }
}

/// Returns so many numbers between 0 and 1.
pub(crate) fn dense(n: usize) -> Vec<f64> {
    (0..n as u64).map(uniform).collect()
}

/// A multiplicative hash of the place.
fn uniform(place: u64) -> f64 {
    let mut x = place.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x >> 11) as f64 / (1u64 << 53) as f64
}
