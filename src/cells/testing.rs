//! What the tests of this folder share: small data, the same dense and as CSR.

use super::{AnnData, Frame};
use crate::array::Array;
use crate::runtime::Cluster;

/// A cluster of so many workers.
pub(crate) fn cluster(workers: usize) -> Cluster {
    let builder = Cluster::builder().allowance(crate::ByteSize(64 << 20)).workers(workers);
    builder.build().expect("sound settings")
}

/// Brings an array home, row by row, zeros filled in.
pub(crate) fn values(cluster: &Cluster, array: &Array) -> Vec<f64> {
    array.compute(cluster).expect("small").to_vec()
}

/// Rows that are called `what 0`, `what 1` and so on, without columns.
pub(crate) fn frame(what: &str, n: usize) -> Frame {
    Frame::in_memory((0..n).map(|i| format!("{what} {i}")).collect(), vec![]).expect("no columns")
}

/// Annotated data whose values are a function of row and column.
pub(crate) fn data_of(rows: usize, cols: usize, value: impl Fn(usize, usize) -> f64) -> AnnData {
    let all: Vec<f64> = (0..rows * cols).map(|at| value(at / cols, at % cols)).collect();
    let x = Array::from_slice(rows, cols, &all).expect("rows by columns");
    AnnData::new(x, frame("cell", rows), frame("gene", cols)).expect("rows by columns")
}

/// Counts that look like those of cells: most are zero, a few are large; the same on every machine.
pub(crate) fn count(i: usize, j: usize) -> f64 {
    let mut x = ((i as u64) << 32 ^ (j as u64 + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33;
    if x % 10 < 7 { 0.0 } else { (x / 10 % 5 + 1) as f64 * if x.is_multiple_of(97) { 40.0 } else { 1.0 } }
}

/// The same data with `x` dense and as CSR, in blocks of so many rows.
pub(crate) fn both_kinds(data: &AnnData, block_rows: u64) -> [AnnData; 2] {
    let csr = data.x.to_csr().expect("few columns");
    [data.x.clone(), csr].map(|x| AnnData { x: x.with_block_rows(block_rows), ..data.clone() })
}

/// Says whether two numbers differ by at most so much of the larger, or are both NaN.
pub(crate) fn is_near(a: f64, b: f64, relative: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() <= relative * a.abs().max(b.abs())
}
