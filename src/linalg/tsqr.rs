//! R of a tall-and-skinny matrix, in one pass.
//!
//! ```text
//!   block 0 ─▶ R₀ ┐
//!   block 1 ─▶ R₁ ┴▶ R of [R₀; R₁] ┐
//!   block 2 ─▶ R₂ ┐                ├─▶ R
//!   block 3 ─▶ R₃ ┴▶ R of [R₂; R₃] ┘        a fixed tree over the block order
//! ```
//!
//! A block's R is made in one of two ways. *Cholesky twice*: R₁ from the block's gram, Q₁ = block · R₁⁻¹, R₂ from the
//! gram of Q₁, R = R₂ R₁; everything is a product or a triangular solve, three times as fast as reflections, and as
//! accurate as they are whenever Q₁ is near enough to orthonormal — which its own gram, computed anyway, tells. Where
//! it is not (dependent columns, a condition number beyond about 10⁷, fewer rows than columns), *Householder
//! reflections* over tiles of rows, which nothing finite defeats.
//!
//! Always true: R has `min(rows, columns)` rows and no negative number on its diagonal; which way a block takes
//! depends on its values only, so that any number of workers gives the same bits.

use nalgebra::DMatrix;

use super::check_fits;
use super::dense::{self, cholesky_r, qr_bytes, qr_r, solve_rows};
use super::products::{Shifted, gram_bytes, tile_bytes, tile_rows};
use crate::array::{Array, Block, Working};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// A columns × columns matrix beyond this is out of reach of any machine.
const MAX_COLUMNS: usize = 1 << 24;

/// Returns R of `a = QR`, upper trapezoidal with `min(rows, columns)` rows and no negative number on its diagonal.
///
/// Blocks may be dense or CSR, ragged, shorter than they are wide, or empty; columns may depend on each other.
///
/// # Errors
/// [`Error::NonFinite`] with the place of a NaN or an infinity; [`Error::TooBig`] when a columns × columns matrix does
/// not fit the allowance; and whatever reading the blocks gives.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::tsqr};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let a = Array::from_rows(&[[3.0, 0.0], [4.0, 0.0], [0.0, 2.0]])?;
/// let r = tsqr(&cluster, &a, None)?;
/// assert!((r[(0, 0)] - 5.0).abs() < 1e-15 && (r[(1, 1)] - 2.0).abs() < 1e-15);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn tsqr(cluster: &Cluster, a: &Array, progress: Option<Progress>) -> Result<DMatrix<f64>> {
    let n = columns(a, "tsqr")?;
    check_fits(cluster, block_r_bytes(n), || format!("tsqr of {n} columns (select fewer columns)"))?;
    let r = a.reduce_blocks(
        cluster,
        "tsqr",
        Working { kept: (n * n * 8) as u64, ..block_r_bytes(n).into() },
        |block, info, _| block_r(block, info.row_offset),
        |upper, lower| Ok(stacked_r(&upper, &lower)),
        progress,
    )?;
    Ok(r.unwrap_or_else(|| DMatrix::zeros(0, n)))
}

/// Returns the most that [`tsqr`] holds for a block besides the block itself.
pub fn block_r_bytes(n_cols: usize) -> u64 {
    let square = (n_cols * n_cols * 8) as u64;
    let cholesky = gram_bytes(n_cols) + tile_bytes(n_cols) + 5 * square;
    let stack = n_cols + reflection_rows(n_cols);
    let reflections = tile_bytes(n_cols) + (stack * n_cols * 8) as u64 + qr_bytes(stack, n_cols) + square;
    let joining = 4 * square + qr_bytes(2 * n_cols, n_cols);
    cholesky.max(reflections).max(joining)
}

/// Returns the number of columns as a length of this machine.
///
/// The limit keeps every number of bytes that is computed from it within 64 bits.
pub(crate) fn columns(a: &Array, operation: &'static str) -> Result<usize> {
    let cols = a.shape().1;
    let few = usize::try_from(cols).ok().filter(|&cols| cols <= MAX_COLUMNS);
    let refuse = || {
        Error::bad_argument(
            operation,
            "number of columns",
            cols,
            format!("at most {MAX_COLUMNS}: a square matrix of that many takes 2 PiB; select columns first"),
        )
    };
    few.ok_or_else(refuse)
}

/// Returns R of one block, whose first row is row `first_row` of the matrix.
pub(crate) fn block_r(block: &Block, first_row: u64) -> Result<DMatrix<f64>> {
    match by_cholesky(block)? {
        Some(r) => Ok(r),
        None => by_reflections(block, first_row),
    }
}

/// Returns R of two Rs, one above the other.
fn stacked_r(upper: &DMatrix<f64>, lower: &DMatrix<f64>) -> DMatrix<f64> {
    let (k, l) = (upper.nrows(), lower.nrows());
    let mut stack = DMatrix::zeros(k + l, upper.ncols());
    stack.rows_mut(0, k).copy_from(upper);
    stack.rows_mut(k, l).copy_from(lower);
    qr_r(stack)
}

/// Cholesky twice; `None` where that would not be accurate. Values that are not finite end here as `None` too.
fn by_cholesky(block: &Block) -> Result<Option<DMatrix<f64>>> {
    let (rows, n) = block.shape();
    if n == 0 || rows < 2 * n {
        return Ok(None);
    }
    let values = Shifted::new(block, &[]);
    let mut gram = DMatrix::zeros(n, n);
    values.add_gram(&mut gram)?;
    let zeros = zero_columns(&gram);
    zeros.iter().for_each(|&j| gram[(j, j)] = 1.0);
    let Some(first) = cholesky_r(&gram) else { return Ok(None) };
    gram.fill(0.0);
    let mut q = Vec::with_capacity(tile_rows(n).min(rows) * n);
    values.for_each_tile(tile_rows(n), |_, tile| {
        q.clear();
        q.extend_from_slice(tile);
        solve_rows(&first, &mut q)?;
        dense::gram_upper(&q, tile.len() / n, n, &mut gram)
    })?;
    zeros.iter().for_each(|&j| gram[(j, j)] = 1.0);
    if !is_near_identity(&gram) {
        return Ok(None);
    }
    let Some(second) = cholesky_r(&gram) else { return Ok(None) };
    let mut r = dense::gemm(&second, &first)?;
    zeros.iter().for_each(|&j| r[(j, j)] = 0.0);
    Ok(Some(r))
}

/// Returns the columns that are zero, as those of genes that no cell of a block expresses.
///
/// Such a column is orthogonal to all others, so that a one in its place in the gram stands for it and is taken out of R
/// again. Where every square may have vanished, however small the values, none is believed to be zero.
fn zero_columns(gram: &DMatrix<f64>) -> Vec<usize> {
    let diagonal = || (0..gram.ncols()).map(|j| gram[(j, j)]);
    let vanished = diagonal().fold(0.0, f64::max) < 1e-200;
    diagonal().enumerate().filter(|(_, square)| *square == 0.0 && !vanished).map(|(j, _)| j).collect()
}

/// Returns whether a matrix whose upper triangle is given differs from the identity by at most 1/2 in norm.
///
/// Then Q₁ has a condition number below 2, and R₂ makes it orthonormal to a few ε.
fn is_near_identity(gram: &DMatrix<f64>) -> bool {
    let n = gram.nrows();
    let off = |i: usize, j: usize| (gram[(i, j)] - if i == j { 1.0 } else { 0.0 }).abs();
    // The norm is at most n times the largest entry. A NaN fails the comparison, as it must.
    (0..n).all(|j| (0..=j).all(|i| off(i, j) * n as f64 <= 0.5))
}

/// Reflections: R of the rows so far is put on top of the next tile and factored again.
fn by_reflections(block: &Block, first_row: u64) -> Result<DMatrix<f64>> {
    let n = block.cols();
    let mut r = DMatrix::zeros(0, n);
    Shifted::new(block, &[]).for_each_tile(reflection_rows(n), |first, tile| {
        refuse_non_finite("svd", tile, n, first_row + first as u64)?;
        let (k, rows) = (r.nrows(), tile.len() / n);
        let mut stack = DMatrix::zeros(k + rows, n);
        stack.rows_mut(0, k).copy_from(&r);
        stack.rows_mut(k, rows).tr_copy_from(&nalgebra::DMatrixView::from_slice(tile, n, rows));
        r = qr_r(stack);
        Ok(())
    })?;
    Ok(r)
}

/// Rows of a tile for reflections: enough that the R on top adds little work.
fn reflection_rows(n_cols: usize) -> usize {
    tile_rows(n_cols).max(4 * n_cols)
}

/// Returns an error naming the first NaN or infinity of some rows, whose first is row `first_row` of the matrix.
pub(crate) fn refuse_non_finite(operation: &'static str, rows: &[f64], n_cols: usize, first_row: u64) -> Result<()> {
    match rows.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (row, col) = (first_row + (at / n_cols) as u64, (at % n_cols) as u64);
            Err(Error::NonFinite { operation, row, col, value: rows[at] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::testing::{dense_block, noise};

    /// R of all rows at once by nalgebra's QR, with the same rule for the diagonal.
    fn reference(a: &DMatrix<f64>) -> DMatrix<f64> {
        let mut r = a.clone().qr().unpack_r();
        for i in 0..r.nrows() {
            if r[(i, i)] < 0.0 {
                r.row_mut(i).neg_mut();
            }
        }
        r
    }

    fn in_blocks(a: &DMatrix<f64>, rows: usize) -> DMatrix<f64> {
        let blocks = (0..a.nrows()).step_by(rows).map(|first| {
            let part = a.rows(first, rows.min(a.nrows() - first)).into_owned();
            block_r(&dense_block(&part), first as u64).unwrap()
        });
        blocks.reduce(|upper, lower| stacked_r(&upper, &lower)).unwrap_or_else(|| DMatrix::zeros(0, a.ncols()))
    }

    #[test]
    fn r_of_the_blocks_is_r_of_the_whole_however_the_rows_are_cut() {
        // Ragged last blocks, blocks with fewer rows than columns, one row a block, all in one.
        for (m, n, rows) in [(500, 20, 500), (500, 20, 64), (500, 20, 7), (40, 20, 1), (11, 20, 4), (0, 3, 5)] {
            let a = noise(m, n, 1);
            let r = in_blocks(&a, rows);
            assert_eq!(r.shape(), (m.min(n), n));
            // Well-conditioned noise: R is good to a few ε of the columns' norms, which are below √500 / 3.
            assert!((r - reference(&a)).amax() < 1e-13, "{m} × {n} in blocks of {rows}");
        }
    }

    #[test]
    fn both_ways_of_a_block_give_the_same_r() {
        let block = dense_block(&noise(3000, 30, 2));
        let cholesky = by_cholesky(&block).unwrap().expect("noise is well-conditioned");
        let reflections = by_reflections(&block, 0).unwrap();
        // ε times the norm of a column, about 16, and the condition number, about 1.2.
        assert!((cholesky - reflections).amax() < 1e-13);
        let csr = Block::Csr(block.into_csr().unwrap());
        assert!((block_r(&csr, 0).unwrap() - by_reflections(&csr, 0).unwrap()).amax() < 1e-13);
    }

    #[test]
    fn ill_conditioned_blocks_leave_the_quick_way_and_keep_their_singular_values() {
        // Columns of geometrically falling length rotated into each other: condition 1e12.
        let (q, _) = dense::qr_thin(&noise(400, 13, 3));
        let (v, _) = dense::qr_thin(&noise(13, 13, 4));
        let spectrum: Vec<f64> = (0..13).map(|i| 10f64.powi(-i)).collect();
        let a = q * DMatrix::from_diagonal(&spectrum.clone().into()) * v.transpose();
        assert!(by_cholesky(&dense_block(&a)).unwrap().is_none());
        let found = dense::svd_small(&in_blocks(&a, 100)).unwrap().s;
        // Reflections change a singular value by a few ε of the largest, which is one.
        assert!(found.iter().zip(&spectrum).all(|(f, e)| (f - e).abs() < 1e-14), "{found:?}");
    }

    #[test]
    fn the_quick_way_is_as_accurate_as_reflections_up_to_its_limit() {
        let (q, _) = dense::qr_thin(&noise(400, 7, 5));
        let (v, _) = dense::qr_thin(&noise(7, 7, 6));
        let spectrum: Vec<f64> = (0..7).map(|i| 10f64.powi(-i)).collect();
        let a = q * DMatrix::from_diagonal(&spectrum.clone().into()) * v.transpose();
        let r = by_cholesky(&dense_block(&a)).unwrap().expect("a condition number of 1e6 is within reach");
        let found = dense::svd_small(&r).unwrap().s;
        assert!(found.iter().zip(&spectrum).all(|(f, e)| (f - e).abs() < 1e-14), "{found:?}");
    }

    #[test]
    fn zero_columns_keep_a_block_on_the_quick_way_and_constant_ones_are_fine() {
        let mut a = noise(300, 6, 7);
        a.column_mut(1).fill(0.0);
        a.column_mut(5).fill(0.0);
        a.column_mut(4).fill(2.5);
        let quick = by_cholesky(&dense_block(&a)).unwrap().expect("zero columns do not hurt");
        for r in [quick, in_blocks(&a, 64), in_blocks(&a, 7)] {
            // A few ε times the product of two columns' norms, which are below 2.5 √300.
            assert!((r.transpose() * &r - a.transpose() * &a).amax() < 1e-14 * 2.5 * 2.5 * 300.0);
            assert_eq!((r.column(1).amax(), r.column(5).amax()), (0.0, 0.0));
        }
    }

    #[test]
    fn values_whose_squares_overflow_or_vanish_still_have_an_r() {
        for exponent in [600, -600] {
            let scale = 2f64.powi(exponent);
            let r = in_blocks(&(noise(100, 4, 8) * scale), 30) / scale;
            assert!((r - reference(&noise(100, 4, 8))).amax() < 1e-13);
        }
    }

    #[test]
    fn a_nan_is_refused_with_its_row_and_column() {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut a = noise(300, 4, 9);
            a[(217, 2)] = bad;
            let error = block_r(&dense_block(&a), 1000).unwrap_err();
            assert!(matches!(error, Error::NonFinite { row: 1217, col: 2, .. }), "{error}");
        }
    }
}
