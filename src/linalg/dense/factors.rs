//! QR, Cholesky, SVD and symmetric eigenvectors of matrices that fit in memory several times.
//!
//! Always true: R has no negative number on its diagonal, which makes it unique where the columns are independent;
//! singular values and eigenvalues come largest first.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::llt::factor as llt;
use faer::linalg::qr::no_pivoting::factor as qr;
use faer::linalg::{evd, householder, svd, triangular_solve};
use faer::prelude::{ReborrowMut, default};
use faer::{Conj, MatMut, Par};
use nalgebra::DMatrix;

use super::{LeaveAvx, as_faer, as_faer_mut, meet};
use crate::error::{Error, Result};

/// Eigenvalues and eigenvectors of a symmetric matrix.
#[derive(Clone, Debug)]
pub struct Eigh {
    /// Eigenvalues, largest first.
    pub values: Vec<f64>,
    /// The eigenvector of each value, as a column.
    pub vectors: DMatrix<f64>,
}

/// The thin SVD of a small matrix.
#[derive(Clone, Debug)]
pub struct SmallSvd {
    /// Left singular vectors, as columns.
    pub u: DMatrix<f64>,
    /// Singular values, largest first.
    pub s: Vec<f64>,
    /// Right singular vectors, as rows.
    pub vt: DMatrix<f64>,
}

/// Returns R of `a = QR`: `min(rows, columns)` rows, upper trapezoidal, its diagonal not negative.
///
/// `a` is used as scratch. With a diagonal of one sign R is unique where `a` has full column rank.
///
/// # Examples
/// ```
/// let r = allotment::linalg::qr_r(nalgebra::DMatrix::from_row_slice(2, 2, &[3.0, 1.0, 4.0, 2.0]));
/// assert!((r[(0, 0)] - 5.0).abs() < 1e-15 && r[(1, 0)] == 0.0);
/// ```
pub fn qr_r(mut a: DMatrix<f64>) -> DMatrix<f64> {
    let (rows, n) = (a.nrows().min(a.ncols()), a.ncols());
    let kept: Vec<usize> = (0..n).filter(|&j| a.column(j).iter().any(|value| *value != 0.0)).collect();
    if kept.len() < n {
        // Zero columns, which would send the others the slow way below, stay out of it.
        let r = qr_r(a.select_columns(&kept));
        let mut whole = DMatrix::zeros(rows, n);
        for (column, &j) in r.column_iter().zip(&kept) {
            whole.column_mut(j).rows_mut(0, r.nrows()).copy_from(&column);
        }
        return whole;
    }
    let exponent = scale_to_safe_range(&mut a);
    let mut r = match qr_in_place(&a) {
        Some((factored, _)) => upper_trapezoid(&factored),
        // faer drops columns that depend on earlier ones to within rows × 16 ε, which would lose the smallest
        // singular values; nalgebra's unblocked QR is slower but keeps every bit it can.
        None => a.qr().unpack_r(),
    };
    for i in 0..r.nrows() {
        if r[(i, i)] < 0.0 {
            r.row_mut(i).neg_mut();
        }
    }
    if exponent != 0 {
        r *= 2f64.powi(exponent);
    }
    r
}

/// Returns how many bytes [`qr_r`] holds besides its argument.
pub fn qr_bytes(n_rows: usize, n_cols: usize) -> u64 {
    let block = qr::recommended_block_size::<f64>(n_rows, n_cols);
    let householder = block * n_rows.min(n_cols) * 8;
    let scratch = qr::qr_in_place_scratch::<f64>(n_rows, n_cols, block, Par::Seq, default());
    let copies = n_rows * n_cols * 8 + n_rows.min(n_cols) * n_cols * 8;
    (householder + scratch.unaligned_bytes_required() + copies) as u64
}

/// Returns Q (as many columns as `min(rows, columns)`) and R of `a = QR`, the diagonal of R not negative.
pub fn qr_thin(a: &DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
    let (mut q, mut r) = match qr_in_place(a) {
        Some((factored, coefficients)) => (thin_q(&factored, &coefficients), upper_trapezoid(&factored)),
        None => a.clone().qr().unpack(),
    };
    for i in 0..r.nrows() {
        if r[(i, i)] < 0.0 {
            r.row_mut(i).neg_mut();
            q.column_mut(i).neg_mut();
        }
    }
    (q, r)
}

/// Returns R with `RᵀR = gram`, reading the upper triangle only; `None` when rounding left it not positive definite.
pub(crate) fn cholesky_r(gram: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    let n = gram.nrows();
    let mut r = gram.clone();
    if n > 0 {
        let _exit = LeaveAvx;
        let mut memory = MemBuffer::new(llt::cholesky_in_place_scratch::<f64>(n, Par::Seq, default()));
        let lower = as_faer_mut(&mut r).transpose_mut();
        llt::cholesky_in_place(lower, default(), Par::Seq, MemStack::new(&mut memory), default()).ok()?;
    }
    r.fill_lower_triangle(0.0, 1);
    // A diagonal that is zero or not a number passes no later test, but is told apart here at no cost.
    (0..n).all(|i| r[(i, i)] > 0.0 && r[(i, i)].is_finite()).then_some(r)
}

/// Replaces each of the rows, of as many values as `r` has columns, by the solution of `row = solution · r`.
///
/// Unlike a product with the inverse of `r` this is as accurate as the rows themselves, however ill-conditioned `r`.
pub(crate) fn solve_rows(r: &DMatrix<f64>, rows: &mut [f64]) -> Result<()> {
    let n = r.ncols();
    let n_rows = rows.len().checked_div(n).unwrap_or(0);
    meet("solve", (rows.len(), n), (n_rows * n, r.nrows()), "the rows need as many columns as r")?;
    let _exit = LeaveAvx;
    let transposed = MatMut::from_column_major_slice_mut(rows, n, n_rows);
    triangular_solve::solve_lower_triangular_in_place(as_faer(r).transpose(), transposed, Par::Seq);
    Ok(())
}

/// Returns the thin SVD of a matrix that fits in memory several times.
///
/// # Errors
/// [`Error::NoConvergence`] when the iteration does not end, which finite values do not provoke.
pub fn svd_small(a: &DMatrix<f64>) -> Result<SmallSvd> {
    let ((m, n), k) = (a.shape(), a.nrows().min(a.ncols()));
    let (mut u, mut s, mut v) = (DMatrix::zeros(m, k), vec![0.0; k], DMatrix::zeros(n, k));
    if k > 0 {
        let _exit = LeaveAvx;
        let mut memory = MemBuffer::new(svd_scratch(m, n));
        svd::svd(
            as_faer(a),
            faer::diag::DiagMut::from_slice_mut(&mut s),
            Some(as_faer_mut(&mut u)),
            Some(as_faer_mut(&mut v)),
            Par::Seq,
            MemStack::new(&mut memory),
            default(),
        )
        .map_err(|_| did_not_converge("svd"))?;
    }
    Ok(SmallSvd { u, s, vt: v.transpose() })
}

/// Returns how many bytes [`svd_small`] holds besides its argument.
pub fn svd_bytes(n_rows: usize, n_cols: usize) -> u64 {
    let k = n_rows.min(n_cols);
    let vectors = (n_rows * k + 2 * n_cols * k) * 8;
    (svd_scratch(n_rows, n_cols).unaligned_bytes_required() + vectors) as u64
}

/// Returns the `k` largest eigenvalues of a symmetric matrix and their eigenvectors; all of them for `k ≥ n`.
///
/// Only the lower triangle of `a` is read.
///
/// # Errors
/// [`Error::ShapeMismatch`] when `a` is not square; [`Error::NoConvergence`] when the iteration does not end, which
/// finite values do not provoke.
pub fn eigh(a: &DMatrix<f64>, k: usize) -> Result<Eigh> {
    let n = a.nrows();
    meet("eigh", a.shape(), (n, n), "the matrix must be square")?;
    let k = k.min(n);
    let (mut ascending, mut vectors) = (vec![0.0; n], DMatrix::zeros(n, n));
    if n > 0 {
        let _exit = LeaveAvx;
        let mut memory = MemBuffer::new(eigh_scratch(n));
        evd::self_adjoint_evd(
            as_faer(a),
            faer::diag::DiagMut::from_slice_mut(&mut ascending),
            Some(as_faer_mut(&mut vectors)),
            Par::Seq,
            MemStack::new(&mut memory),
            default(),
        )
        .map_err(|_| did_not_converge("eigh"))?;
    }
    let values = ascending.into_iter().rev().take(k).collect();
    let top = DMatrix::from_fn(n, k, |i, j| vectors[(i, n - 1 - j)]);
    Ok(Eigh { values, vectors: top })
}

/// Returns how many bytes [`eigh`] holds besides its argument.
pub fn eigh_bytes(n: usize, k: usize) -> u64 {
    (eigh_scratch(n).unaligned_bytes_required() + (n * n + n * k.min(n) + n) * 8) as u64
}

/// Factors a copy of `a`; `None` when faer found columns that depend on earlier ones and left them out.
pub(super) fn qr_in_place(a: &DMatrix<f64>) -> Option<(DMatrix<f64>, DMatrix<f64>)> {
    let ((m, n), k) = (a.shape(), a.nrows().min(a.ncols()));
    let block = qr::recommended_block_size::<f64>(m, n);
    let (mut factored, mut coefficients) = (a.clone(), DMatrix::zeros(block, k));
    if k > 0 {
        let _exit = LeaveAvx;
        let mut memory = MemBuffer::new(qr::qr_in_place_scratch::<f64>(m, n, block, Par::Seq, default()));
        let found = qr::qr_in_place(
            as_faer_mut(&mut factored),
            as_faer_mut(&mut coefficients),
            Par::Seq,
            MemStack::new(&mut memory),
            default(),
        );
        if found.rank < k {
            return None;
        }
    }
    Some((factored, coefficients))
}

fn thin_q(factored: &DMatrix<f64>, coefficients: &DMatrix<f64>) -> DMatrix<f64> {
    let ((m, k), block) = ((factored.nrows(), coefficients.ncols()), coefficients.nrows());
    let mut q = DMatrix::identity(m, k);
    if k > 0 {
        let _exit = LeaveAvx;
        let scratch = householder::apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(m, block, k);
        householder::apply_block_householder_sequence_on_the_left_in_place_with_conj(
            as_faer(factored).subcols(0, k),
            as_faer(coefficients),
            Conj::No,
            as_faer_mut(&mut q).rb_mut(),
            Par::Seq,
            MemStack::new(&mut MemBuffer::new(scratch)),
        );
    }
    q
}

fn upper_trapezoid(factored: &DMatrix<f64>) -> DMatrix<f64> {
    let (m, n) = factored.shape();
    DMatrix::from_fn(m.min(n), n, |i, j| if i <= j { factored[(i, j)] } else { 0.0 })
}

/// Multiplies by a power of two where squares of the values could overflow or vanish; returns what undoes it.
fn scale_to_safe_range(a: &mut DMatrix<f64>) -> i32 {
    let largest = a.amax();
    if largest == 0.0 || !largest.is_finite() || (1e-120..1e120).contains(&largest) {
        return 0;
    }
    // The clamp keeps 2^±exponent itself a normal number.
    let exponent = (largest.log2() as i32).clamp(-1000, 1000);
    *a *= 2f64.powi(-exponent);
    exponent
}

fn svd_scratch(m: usize, n: usize) -> StackReq {
    let thin = svd::ComputeSvdVectors::Thin;
    svd::svd_scratch::<f64>(m, n, thin, thin, Par::Seq, default())
}

fn eigh_scratch(n: usize) -> StackReq {
    evd::self_adjoint_evd_scratch::<f64>(n, evd::ComputeEigenvectors::Yes, Par::Seq, default())
}

fn did_not_converge(operation: &'static str) -> Error {
    // faer's own limit on iterations and its tolerance.
    Error::NoConvergence { operation, iterations: 30, residual: f64::NAN, tolerance: f64::EPSILON }
}
