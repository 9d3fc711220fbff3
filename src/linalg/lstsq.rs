//! Least squares: the `x` that makes `‖A x − b‖` smallest, of more rows than memory holds.
//!
//! R of `[A | b]` holds all that matters, and squares nothing (Golub & Van Loan 2013, §5.3.3):
//!
//! ```text
//!   [A | b] ─ tsqr ─▶ ┌ R₁  R₂ ┐ n      x = R₁⁺ R₂, by the SVD of R₁: of all x that are as good the shortest
//!                     └     R₃ ┘ m      ‖A x − b‖² = ‖R₃‖² + ‖what of R₂ R₁ cannot reach‖², column by column
//! ```
//!
//! Always true: nothing is the difference of large numbers, so that a residual of 10⁻¹⁴ of b is still right; a second pass
//! over the data multiplies the residual by A, which must give zero.

use std::sync::Arc;

use nalgebra::DMatrix;

use super::block_qr::BlockWays;
use super::dense::{SmallSvd, gemm, svd_bytes, svd_small};
use super::products::{Shifted, times_bytes};
use super::tsqr::{Tsqr, columns, r_of};
use super::{on_lane, part_of, whole_rows};
use crate::array::{Array, Block, DType, Working};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// Settings of [`lstsq`].
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct LstsqOptions {
    /// Singular values of A up to this share of the largest count as zero; `max(shape) ε` where it is not given.
    pub rcond: Option<f64>,
    /// Called as blocks finish; both passes count.
    #[serde(skip)]
    pub progress: Option<Progress>,
}

/// A least-squares solution, and the figures that show it to be right.
#[derive(Clone, Debug)]
pub struct Lstsq {
    /// The solution, columns of A × columns of b: where many are as good, the one of the smallest norm.
    pub x: DMatrix<f64>,
    /// `‖A x − b‖²` of each column of b.
    pub residuals: Vec<f64>,
    /// How many singular values of A count.
    pub rank: usize,
    /// The singular values of A, largest first, `min(rows, columns)` of them.
    pub s: Vec<f64>,
    /// `‖Aᵀ(A x − b)‖ / (‖A‖ ‖b‖)` of each column of b, from a pass over the data: zero but for rounding, unless `rcond`
    /// left something out. Zero where A or b is.
    pub gradients: Vec<f64>,
    /// How many blocks of `[A | b]` were factored in which way.
    pub ways: BlockWays,
}

/// Returns the least-squares solution of `A x = b`.
///
/// `a` and `b` have one number of rows; `b` has a column for each right side. Both may be dense or CSR, of any dtype, and
/// have fewer rows than columns; everything is computed in f64. The same input on the same chunk grid gives the same bits
/// on any number of workers. Unlike NumPy's the sums of squares are always given.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the numbers of rows differ; [`Error::BadArgument`] for an `rcond` that is not a number from
/// 0 to 1; [`Error::NonFinite`] with the place of a NaN or an infinity, b's columns counted after A's; [`Error::TooBig`] when
/// a square of all columns does not fit the allowance.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::{LstsqOptions, lstsq}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// // A line through (0, 1), (1, 3) and (2, 5.3).
/// let a = Array::from_rows(&[[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])?;
/// let b = Array::from_rows(&[[1.0], [3.0], [5.3]])?;
/// let found = lstsq(&cluster, &a, &b, &LstsqOptions::default())?;
/// assert!((found.x[(0, 0)] - 0.95).abs() < 1e-14 && (found.x[(1, 0)] - 2.15).abs() < 1e-14);
/// assert!((found.residuals[0] - 0.015).abs() < 1e-14 && found.rank == 2);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn lstsq(cluster: &Cluster, a: &Array, b: &Array, options: &LstsqOptions) -> Result<Lstsq> {
    let both = beside(a, b)?;
    let (n, m, all) = (columns(a, "lstsq")?, columns(b, "lstsq")?, columns(&both, "lstsq")?);
    let (share, bytes) = (rcond(a, options)?, solve_bytes(n, all));
    options.plan(cluster, a, b)?;
    let Tsqr { r, ways } = r_of(cluster, &both, "lstsq", part_of(&options.progress, 0, 2))?;
    let norms = (r.columns(0, n).norm(), (n..all).map(|j| r.column(j).norm()).collect::<Vec<_>>());
    let least = usize::try_from(a.rows()).unwrap_or(n).min(n);
    let mut solved = on_lane(cluster, "lstsq solve", bytes, move || solve(&r, n, least, share))?;
    let gradients = gradients(cluster, &both, &solved.x, part_of(&options.progress, 1, 2))?;
    let relative = |j: usize| match norms.0 * norms.1[j] {
        scale if scale > 0.0 => gradients.column(j).norm() / scale,
        _ => 0.0,
    };
    solved.gradients = (0..m).map(relative).collect();
    solved.ways = ways;
    Ok(solved)
}

/// Returns what solving takes with `all` columns, of which A has the first `n`.
pub(super) fn solve_bytes(n: usize, all: usize) -> u64 {
    svd_bytes(n + 1, n) + 6 * (all * all * 8) as u64
}

/// Returns what the second pass holds besides its block.
pub(super) fn check_working(m: usize, all: usize) -> Working {
    let bytes = (m * all * 8) as u64;
    Working { fixed: 3 * bytes + times_bytes(all), per_row: (m * 8) as u64, kept: bytes }
}

/// Returns `[A | b]`, in blocks of whole rows.
pub(super) fn beside(a: &Array, b: &Array) -> Result<Array> {
    if a.rows() != b.rows() {
        let expected = "A and b need one number of rows".into();
        return Err(Error::ShapeMismatch { operation: "lstsq", left: a.shape(), right: b.shape(), expected });
    }
    let a = a.astype(DType::F64);
    let b = b.astype(DType::F64);
    let alike = if a.kind() == b.kind() { [a, b] } else { [a.to_dense(), b.to_dense()] };
    Ok(whole_rows(&Array::hstack(&alike)?))
}

fn rcond(a: &Array, options: &LstsqOptions) -> Result<f64> {
    match options.rcond {
        None => Ok(a.rows().max(a.cols()) as f64 * f64::EPSILON),
        Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Some(share) => Err(Error::bad_argument("lstsq", "rcond", share, "from 0 to 1")),
    }
}

/// Solves with R of `[A | b]`, of which A has the first `n` columns and `least` singular values.
fn solve(r: &DMatrix<f64>, n: usize, least: usize, share: f64) -> Result<Lstsq> {
    let (m, upper) = (r.ncols() - n, r.nrows().min(n));
    let (r1, r2) = (r.view((0, 0), (upper, n)).into_owned(), r.view((0, n), (upper, m)).into_owned());
    let SmallSvd { u, mut s, vt } = svd_small(&r1)?;
    s.truncate(least);
    let rank = s.iter().take_while(|value| **value > share * s[0] && **value > 0.0).count();
    // What of b lies along each left singular vector.
    let along = gemm(&u.transpose(), &r2)?;
    let scaled = DMatrix::from_fn(rank, m, |i, j| along[(i, j)] / s[i]);
    let x = gemm(&vt.rows(0, rank).transpose(), &scaled)?;
    let missed = |j: usize| {
        let below = r.view((upper, n + j), (r.nrows() - upper, 1)).norm_squared();
        below + (rank..along.nrows()).map(|i| along[(i, j)].powi(2)).sum::<f64>()
    };
    let residuals = (0..m).map(missed).collect();
    Ok(Lstsq { x, residuals, rank, s, gradients: Vec::new(), ways: BlockWays::default() })
}

/// Returns `Aᵀ(A x − b)`, one column for each right side, by a pass over `[A | b]`.
fn gradients(cluster: &Cluster, both: &Array, x: &DMatrix<f64>, progress: Option<Progress>) -> Result<DMatrix<f64>> {
    let ((n, m), all) = (x.shape(), x.nrows() + x.ncols());
    // [A | b] times [x; −I] is the residual.
    let mut right = DMatrix::zeros(m, all);
    right.columns_mut(0, n).tr_copy_from(x);
    (0..m).for_each(|j| right[(j, n + j)] = -1.0);
    let (right, working) = (Arc::new(right), check_working(m, all));
    let of_block = move |block: &Block| -> Result<DMatrix<f64>> {
        let (values, mut residual) = (Shifted::new(block, &[]), vec![0.0; block.rows() * m]);
        values.times(&right, &mut residual)?;
        let mut sum = DMatrix::zeros(m, all);
        values.add_transposed_times(&residual, &mut sum)?;
        Ok(sum)
    };
    let found = both.reduce_blocks(
        cluster,
        "lstsq check",
        working,
        move |block, _, _| of_block(block),
        |left, right| Ok(left + right),
        progress,
    )?;
    Ok(found.unwrap_or_else(|| DMatrix::zeros(m, all)).columns(0, n).transpose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::BlockKind;
    use crate::linalg::testing::{cluster, graded, noise};

    fn solved(a: &DMatrix<f64>, b: &DMatrix<f64>, block_rows: u64) -> Lstsq {
        let (a, b) = (Array::from_nalgebra(a).with_block_rows(block_rows), Array::from_nalgebra(b));
        lstsq(&cluster(2), &a, &b, &LstsqOptions::default()).unwrap()
    }

    #[test]
    fn the_solution_is_that_of_the_normal_equations_in_every_kind_and_cut() {
        let (a, b) = (noise(203, 6, 1), noise(203, 2, 2));
        // The condition number is about 1.3, so that even squaring it costs no digits.
        let expected = (a.transpose() * &a).cholesky().unwrap().solve(&(a.transpose() * &b));
        let missed: Vec<f64> = (&a * &expected - &b).column_iter().map(|column| column.norm_squared()).collect();
        let (x, y) = (Array::from_nalgebra(&a), Array::from_nalgebra(&b));
        let kinds =
            [(x.clone(), y.clone()), (x.to_csr().unwrap(), y.clone()), (x.to_csr().unwrap(), y.to_csr().unwrap())];
        for (x, y) in kinds {
            for rows in [203, 40, 3] {
                let (x, y) = (x.clone().with_block_rows(rows), y.clone().with_block_rows(17));
                let found = lstsq(&cluster(2), &x, &y, &LstsqOptions::default()).unwrap();
                assert!((&found.x - &expected).amax() < 1e-14 && found.rank == 6);
                assert!(found.residuals.iter().zip(&missed).all(|(f, e)| (f - e).abs() < 1e-13 * e));
                assert!(found.gradients.iter().all(|gradient| *gradient < 1e-15), "{:?}", found.gradients);
            }
        }
    }

    #[test]
    fn an_exact_solution_has_residuals_of_rounding_and_an_ill_conditioned_matrix_keeps_half_its_digits() {
        let (a, x) = (noise(100, 5, 3), noise(5, 1, 4));
        let found = solved(&a, &(&a * &x), 30);
        // Squares of a few ε.
        assert!(found.residuals[0] < 1e-29 && (found.x - &x).amax() < 1e-14, "{:?}", found.residuals);
        // Condition 1e8: ε times that; the normal equations would leave nothing.
        let a = graded(200, 9, 9);
        let x = noise(9, 1, 5);
        assert!((solved(&a, &(&a * &x), 64).x - x).amax() < 1e-7);
    }

    #[test]
    fn of_many_solutions_the_shortest_is_given_and_the_rank_told() {
        // Two equal columns share their coefficient, a zero column has none.
        let mut a = noise(60, 4, 6);
        let copy = a.column(0).into_owned();
        a.column_mut(2).copy_from(&copy);
        a.column_mut(3).fill(0.0);
        let b = a.column(0) * 3.0 + a.column(1) * -1.0;
        let found = solved(&a, &DMatrix::from_column_slice(60, 1, b.as_slice()), 25);
        let expected = DMatrix::from_column_slice(4, 1, &[1.5, -1.0, 1.5, 0.0]);
        assert!(found.rank == 2 && (found.x - expected).amax() < 1e-14);
        assert!(found.residuals[0] < 1e-29 && found.s.len() == 4 && found.s[3] < 1e-15);

        // Fewer rows than unknowns: b is met exactly, by the pseudoinverse.
        let (a, b) = (noise(3, 8, 7), noise(3, 2, 8));
        let found = solved(&a, &b, 2);
        let expected = a.clone().pseudo_inverse(1e-12).unwrap() * &b;
        assert!((found.x - expected).amax() < 1e-14 && (found.rank, found.s.len()) == (3, 3));
        assert!(found.residuals.iter().all(|r| *r < 1e-28));
    }

    #[test]
    fn rcond_leaves_out_small_singular_values() {
        let (a, b) = (graded(50, 4, 4), noise(50, 1, 9));
        let (x, y) = (Array::from_nalgebra(&a), Array::from_nalgebra(&b));
        let options = LstsqOptions { rcond: Some(0.05), ..Default::default() };
        let found = lstsq(&cluster(1), &x, &y, &options).unwrap();
        let expected = a.pseudo_inverse(0.05).unwrap() * &b;
        assert!(found.rank == 2 && (&found.x - expected).amax() < 1e-13);
        let missed = (graded(50, 4, 4) * &found.x - b).norm_squared();
        assert!((found.residuals[0] - missed).abs() < 1e-13 * missed);
    }

    #[test]
    fn no_rows_one_row_and_no_columns_have_a_solution() {
        let zeros = |rows, cols| Array::zeros(rows, cols, DType::F64, BlockKind::Dense).unwrap();
        let options = LstsqOptions::default();
        let none = lstsq(&cluster(1), &zeros(0, 3), &zeros(0, 2), &options).unwrap();
        assert_eq!((none.x, none.residuals, none.rank, none.s), (DMatrix::zeros(3, 2), vec![0.0; 2], 0, vec![]));
        let one = solved(&DMatrix::from_row_slice(1, 2, &[3.0, 4.0]), &DMatrix::from_element(1, 1, 5.0), 1);
        assert!((one.x - DMatrix::from_column_slice(2, 1, &[0.6, 0.8])).amax() < 1e-15 && one.rank == 1);
        let free = lstsq(&cluster(1), &zeros(2, 0), &Array::from_rows(&[[3.0], [4.0]]).unwrap(), &options).unwrap();
        assert_eq!((free.x.shape(), free.rank), ((0, 1), 0));
        // A few ε of 25.
        assert!((free.residuals[0] - 25.0).abs() < 1e-13);
        let zero = lstsq(&cluster(1), &zeros(4, 2), &zeros(4, 1), &options).unwrap();
        assert_eq!((zero.x, zero.rank, zero.gradients), (DMatrix::zeros(2, 1), 0, vec![0.0]));
    }

    #[test]
    fn what_does_not_meet_is_refused() {
        let (a, b) = (Array::from_nalgebra(&noise(5, 2, 1)), Array::from_nalgebra(&noise(4, 1, 1)));
        let error = lstsq(&cluster(1), &a, &b, &LstsqOptions::default()).unwrap_err();
        assert!(matches!(error, Error::ShapeMismatch { left: (5, 2), right: (4, 1), .. }), "{error}");
        for share in [-0.1, 1.5, f64::NAN] {
            let options = LstsqOptions { rcond: Some(share), ..Default::default() };
            assert!(matches!(lstsq(&cluster(1), &a, &a, &options), Err(Error::BadArgument { .. })));
        }
    }
}
