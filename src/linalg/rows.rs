//! Tall matrices in memory, row by row: their R, their overlap, and turning them by a small matrix.
//!
//! A set of l vectors of length p is held as a `DMatrix` of l × p, whose storage is the tall matrix p × l row by row. What is
//! as long as a vector is worked on a tile of rows at a time, so that next to nothing is held besides the vectors.

use nalgebra::{DMatrix, DMatrixView};

use super::dense::{self, qr_bytes, qr_r};
use crate::error::Result;

/// Rows of a tile: together with what they are multiplied with they stay in the second cache.
const TILE_ROWS: usize = 512;

/// Returns R of rows of `n_cols` values, by Householder reflections tile by tile, which nothing finite defeats.
pub(crate) fn r_of_rows(rows: &[f64], n_cols: usize) -> DMatrix<f64> {
    let mut r = DMatrix::zeros(0, n_cols);
    if n_cols > 0 {
        for tile in rows.chunks(reflection_rows(n_cols) * n_cols) {
            let view = DMatrixView::from_slice(tile, n_cols, tile.len() / n_cols);
            let mut stack = DMatrix::zeros(r.nrows() + view.ncols(), n_cols);
            stack.rows_mut(0, r.nrows()).copy_from(&r);
            stack.rows_mut(r.nrows(), view.ncols()).tr_copy_from(&view);
            r = qr_r(stack);
        }
    }
    r
}

/// Returns what [`r_of_rows`] holds besides its argument.
pub(crate) fn r_of_rows_bytes(n_cols: usize) -> u64 {
    let stack = reflection_rows(n_cols) + n_cols;
    (stack * n_cols * 8) as u64 + qr_bytes(stack, n_cols) + 2 * (n_cols * n_cols * 8) as u64
}

fn reflection_rows(n_cols: usize) -> usize {
    TILE_ROWS.max(4 * n_cols)
}

/// Returns R of two Rs, one above the other.
pub(crate) fn stacked_r(upper: &DMatrix<f64>, lower: &DMatrix<f64>) -> DMatrix<f64> {
    if upper.nrows() == 0 {
        return lower.clone();
    }
    let mut stack = DMatrix::zeros(upper.nrows() + lower.nrows(), upper.ncols());
    stack.rows_mut(0, upper.nrows()).copy_from(upper);
    stack.rows_mut(upper.nrows(), lower.nrows()).copy_from(lower);
    qr_r(stack)
}

/// Returns the products of each vector of `left` with each of `right`.
pub(crate) fn overlap(left: &DMatrix<f64>, right: &DMatrix<f64>) -> Result<DMatrix<f64>> {
    let mut out = DMatrix::zeros(left.nrows(), right.nrows());
    if !out.is_empty() && left.ncols() > 0 {
        dense::add_transposed_times(left.as_slice(), right.as_slice(), left.ncols(), &mut out)?;
    }
    Ok(out)
}

/// Adds `turn · vectors` to `out`, where `turn` has a row for each vector of `out`.
pub(crate) fn add_turned(turn: &DMatrix<f64>, vectors: &DMatrix<f64>, out: &mut DMatrix<f64>) -> Result<()> {
    let (from, to) = (vectors.nrows(), out.nrows());
    if from == 0 || to == 0 {
        return Ok(());
    }
    let mut part = vec![0.0; TILE_ROWS * to];
    let tiles = vectors.as_slice().chunks(TILE_ROWS * from).zip(out.as_mut_slice().chunks_mut(TILE_ROWS * to));
    for (tile, out) in tiles {
        let part = &mut part[..out.len()];
        dense::rows_times_components(tile, tile.len() / from, turn, part)?;
        out.iter_mut().zip(part).for_each(|(out, part)| *out += *part);
    }
    Ok(())
}
