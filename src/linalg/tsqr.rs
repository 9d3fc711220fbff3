//! R of a tall-and-skinny matrix, in one pass.
//!
//! ```text
//!   block 0 ─▶ R₀ ┐
//!   block 1 ─▶ R₁ ┴▶ R of [R₀; R₁] ┐
//!   block 2 ─▶ R₂ ┐                ├─▶ R
//!   block 3 ─▶ R₃ ┴▶ R of [R₂; R₃] ┘        a fixed tree over the block order
//! ```
//!
//! Direct tall-and-skinny QR as of Demmel, Grigori, Hoemmen & Langou (2012), §2; how a block's R is made stands in
//! [`block_qr`](super::block_qr).
//!
//! Always true: R has `min(rows, columns)` rows and no negative number on its diagonal; which way a block takes
//! depends on its values only, so that any number of workers gives the same bits.

use nalgebra::DMatrix;

use super::block_qr::{BlockR, BlockWays, Rows, r_bytes};
use super::dense::{qr_bytes, qr_r};
use super::products::Shifted;
use super::{check_fits, whole_rows};
use crate::array::{Array, Block, Working};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// A columns × columns matrix beyond this is out of reach of any machine.
const MAX_COLUMNS: usize = 1 << 24;

/// R of a matrix, and how it was found.
#[derive(Clone, Debug)]
pub struct Tsqr {
    /// R: `min(rows, columns)` × columns, upper trapezoidal, no negative number on its diagonal.
    pub r: DMatrix<f64>,
    /// How many blocks were factored in which way.
    pub ways: BlockWays,
}

/// Returns R of `a = QR`, upper trapezoidal with `min(rows, columns)` rows and no negative number on its diagonal.
///
/// Blocks may be dense or CSR, of any dtype, ragged, shorter than they are wide, or empty; columns may depend on each
/// other. Everything is computed in f64.
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
/// let found = tsqr(&cluster, &a, None)?;
/// assert!((found.r[(0, 0)] - 5.0).abs() < 1e-15 && (found.r[(1, 1)] - 2.0).abs() < 1e-15);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn tsqr(cluster: &Cluster, a: &Array, progress: Option<Progress>) -> Result<Tsqr> {
    r_of(cluster, a, "tsqr", progress)
}

/// [`tsqr`] on behalf of another factorisation, which its tasks and errors name.
pub(crate) fn r_of(cluster: &Cluster, a: &Array, operation: &'static str, progress: Option<Progress>) -> Result<Tsqr> {
    let n = columns(a, operation)?;
    check_fits(cluster, block_r_bytes(n), || format!("{operation} of {n} columns (select fewer columns)"))?;
    let found = whole_rows(a).reduce_blocks(
        cluster,
        operation,
        r_working(n),
        move |block, info, _| block_r(block, info.row_offset, operation),
        |upper, lower| Ok(BlockR { r: stacked_r(&upper.r, &lower.r), ways: upper.ways + lower.ways }),
        progress,
    )?;
    let none = BlockR { r: DMatrix::zeros(0, n), ways: BlockWays::default() };
    let BlockR { r, ways } = found.unwrap_or(none);
    Ok(Tsqr { r, ways })
}

/// Returns what the pass holds besides its block.
pub(crate) fn r_working(n: usize) -> Working {
    Working { kept: (n * n * 8) as u64, ..block_r_bytes(n).into() }
}

/// Returns the most that [`tsqr`] holds for a block besides the block itself.
pub fn block_r_bytes(n_cols: usize) -> u64 {
    let joining = 4 * (n_cols * n_cols * 8) as u64 + qr_bytes(2 * n_cols, n_cols);
    r_bytes(n_cols).max(joining)
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
fn block_r(block: &Block, first_row: u64, operation: &'static str) -> Result<BlockR> {
    Rows { values: Shifted::new(block, &[]), shape: block.shape(), first_row, operation }.r()
}

/// Returns two matrices of as many columns, one above the other.
pub(crate) fn stacked(upper: &DMatrix<f64>, lower: &DMatrix<f64>) -> DMatrix<f64> {
    let (k, l) = (upper.nrows(), lower.nrows());
    let mut stack = DMatrix::zeros(k + l, upper.ncols());
    stack.rows_mut(0, k).copy_from(upper);
    stack.rows_mut(k, l).copy_from(lower);
    stack
}

/// Returns R of two Rs, one above the other.
fn stacked_r(upper: &DMatrix<f64>, lower: &DMatrix<f64>) -> DMatrix<f64> {
    qr_r(stacked(upper, lower))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::dense;
    use crate::linalg::testing::{dense_block, graded, noise};

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
            block_r(&dense_block(&part), first as u64, "tsqr").unwrap().r
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
    fn ill_conditioned_matrices_keep_their_singular_values() {
        let a = graded(400, 13, 13);
        for rows in [400, 100, 9] {
            let found = dense::svd_small(&in_blocks(&a, rows)).unwrap().s;
            // Reflections change a singular value by a few ε of the largest, which is one.
            assert!(found.iter().enumerate().all(|(i, f)| (f - 10f64.powi(-(i as i32))).abs() < 1e-14), "{found:?}");
        }
    }

    #[test]
    fn zero_and_constant_columns_are_fine() {
        let mut a = noise(300, 6, 7);
        a.column_mut(1).fill(0.0);
        a.column_mut(5).fill(0.0);
        a.column_mut(4).fill(2.5);
        for r in [in_blocks(&a, 300), in_blocks(&a, 64), in_blocks(&a, 7)] {
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
    fn the_ways_of_the_blocks_are_told() {
        let cluster = Cluster::builder().allowance(crate::ByteSize(64 << 20)).workers(2).build().unwrap();
        // Four blocks of 100 rows, of which the third has dependent columns, and one of 10, too short for Cholesky.
        let mut a = noise(410, 8, 3);
        for i in 200..300 {
            a[(i, 7)] = a[(i, 0)];
        }
        let found = tsqr(&cluster, &Array::from_nalgebra(&a).with_block_rows(100), None).unwrap();
        assert_eq!(found.ways, BlockWays { n_cholesky: 3, n_reflections: 2 });
    }
}
