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

/// Makes vectors of unit length orthonormal, each to those before it, so that it changes least what comes first; from the first
/// on that is nothing beside those before it they are left out.
pub(crate) fn orthonormal_in_order(mut vectors: DMatrix<f64>) -> Result<DMatrix<f64>> {
    // The second time R is nearly the identity, and what the first left is made good.
    for _ in 0..2 {
        let r = r_of_rows(vectors.as_slice(), vectors.nrows());
        let n = (0..r.nrows()).take_while(|&j| r[(j, j)] > 1e-12).count();
        if n < vectors.nrows() {
            vectors = vectors.rows(0, n).into_owned();
        }
        dense::solve_rows(&r.view((0, 0), (n, n)).into_owned(), vectors.as_mut_slice())?;
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::testing::noise;

    #[test]
    fn tiles_give_what_the_whole_gives() {
        // Shorter than a tile, ragged, no vectors, no length.
        for (l, p) in [(3, 100), (5, 2 * TILE_ROWS + 7), (0, 10), (4, 0), (6, 4)] {
            let (a, b) = (noise(l, p, 1), noise(2, p, 2));
            // Sums of some thousand products below one.
            assert!((overlap(&a, &b).unwrap() - &a * b.transpose()).amax() < 1e-12 || l * p == 0);
            let (turn, mut out) = (noise(2, l, 3), b.clone());
            add_turned(&turn, &a, &mut out).unwrap();
            assert!(p == 0 || (out - (&b + &turn * &a)).amax() < 1e-13);
            let r = r_of_rows(a.as_slice(), l);
            assert_eq!(r.shape(), (l.min(p), l));
            assert!(l == 0 || (r.transpose() * &r - &a * a.transpose()).amax() < 1e-12);
        }
    }

    #[test]
    fn vectors_are_made_orthonormal_in_their_order_up_to_the_first_that_depends_on_others() {
        let mut a = noise(6, 900, 4);
        let same = a.row(0) - a.row(2);
        a.set_row(4, &same);
        a.row_iter_mut().for_each(|mut row| row.unscale_mut(row.norm()));
        let found = orthonormal_in_order(a.clone()).unwrap();
        assert_eq!(found.nrows(), 4);
        assert!((&found * found.transpose() - DMatrix::identity(4, 4)).amax() < 1e-14);
        assert!((found.row(0) - a.row(0)).amax() < 1e-15, "the first stays");
    }
}
