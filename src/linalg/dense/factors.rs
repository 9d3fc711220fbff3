//! QR, SVD and symmetric eigenvectors of matrices that fit in memory several times.
//!
//! Always true: R has no negative number on its diagonal, which makes it unique where the columns are independent;
//! singular values and eigenvalues come largest first.

use nalgebra::DMatrix;

use super::{eigh_ascending, eigh_ascending_bytes, gemm, meet, reflections, svd_square, svd_square_bytes};
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
/// Columns may depend on each other. With a diagonal of one sign R is unique where they do not.
///
/// # Examples
/// ```
/// let r = allotment::linalg::qr_r(nalgebra::DMatrix::from_row_slice(2, 2, &[3.0, 1.0, 4.0, 2.0]));
/// assert!((r[(0, 0)] - 5.0).abs() < 1e-15 && r[(1, 0)] == 0.0);
/// ```
pub fn qr_r(mut a: DMatrix<f64>) -> DMatrix<f64> {
    let exponent = scale_to_safe_range(&mut a);
    reflections::factor(&mut a, drop);
    let mut r = top_rows(a);
    for i in 0..r.nrows() {
        if r[(i, i)] < 0.0 {
            r.row_mut(i).neg_mut();
        }
    }
    scale_back(&mut r, exponent);
    r
}

/// Returns how many bytes [`qr_r`] holds besides its argument.
pub fn qr_bytes(n_rows: usize, n_cols: usize) -> u64 {
    reflections::factor_bytes(n_rows, n_cols) + (n_rows.min(n_cols) * n_cols * 8) as u64
}

/// Returns Q (as many columns as `min(rows, columns)`) and R of `a = QR`, the diagonal of R not negative.
///
/// Q has orthonormal columns also where those of `a` depend on each other.
pub fn qr_thin(a: &DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
    qr_of(a.clone())
}

/// [`qr_thin`] of a matrix that nobody needs afterwards.
pub(crate) fn qr_of(mut a: DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
    let (mut panels, shape) = (Vec::new(), a.shape());
    let exponent = scale_to_safe_range(&mut a);
    reflections::factor(&mut a, |panel| panels.push(panel));
    let mut q = reflections::thin_q(&panels, shape.0, shape.0.min(shape.1));
    let mut r = top_rows(a);
    for i in 0..r.nrows() {
        if r[(i, i)] < 0.0 {
            r.row_mut(i).neg_mut();
            q.column_mut(i).neg_mut();
        }
    }
    scale_back(&mut r, exponent);
    (q, r)
}

/// Returns the thin SVD of a matrix that fits in memory several times.
///
/// # Errors
/// [`Error::NonFinite`] for a NaN or an infinity; [`Error::NoConvergence`] should the iteration not end.
pub fn svd_small(a: &DMatrix<f64>) -> Result<SmallSvd> {
    let (m, n) = a.shape();
    if m < n {
        let SmallSvd { u, s, vt } = svd_small(&a.transpose())?;
        return Ok(SmallSvd { u: vt.transpose(), s, vt: u.transpose() });
    }
    if m > n {
        // The QR that the SVD of a tall matrix would begin with leaves out dependent columns; ours does not.
        let (q, r) = qr_thin(a);
        let SmallSvd { u, s, vt } = svd_small(&r)?;
        return Ok(SmallSvd { u: gemm(&q, &u)?, s, vt });
    }
    refuse_non_finite("svd", a)?;
    let (u, s, v) = svd_square(a)?;
    Ok(SmallSvd { u, s, vt: v.transpose() })
}

/// Returns how many bytes [`svd_small`] holds besides its argument.
pub fn svd_bytes(n_rows: usize, n_cols: usize) -> u64 {
    let (m, n) = (n_rows.max(n_cols), n_rows.min(n_cols));
    // U and V, V turned, and for a matrix that is not square Q twice, the reflections, and a transposed copy.
    let tall = if m > n { 4 * m * n * 8 } else { 0 };
    svd_square_bytes(n) + (n * n * 8 + tall) as u64 + reflections::factor_bytes(m, n)
}

/// Returns the `k` largest eigenvalues of a symmetric matrix and their eigenvectors; all of them for `k ≥ n`.
///
/// Only the lower triangle of `a` is read.
///
/// # Errors
/// [`Error::ShapeMismatch`] when `a` is not square; [`Error::NonFinite`] for a NaN or an infinity;
/// [`Error::NoConvergence`] should the iteration not end.
pub fn eigh(a: &DMatrix<f64>, k: usize) -> Result<Eigh> {
    let n = a.nrows();
    meet("eigh", a.shape(), (n, n), "the matrix must be square")?;
    let k = k.min(n);
    refuse_non_finite("eigh", a)?;
    let (ascending, vectors) = eigh_ascending(a)?;
    let values = ascending.into_iter().rev().take(k).collect();
    let top = DMatrix::from_fn(n, k, |i, j| vectors[(i, n - 1 - j)]);
    Ok(Eigh { values, vectors: top })
}

/// Returns how many bytes [`eigh`] holds besides its argument.
pub fn eigh_bytes(n: usize, k: usize) -> u64 {
    eigh_ascending_bytes(n) + (n * k.min(n) * 8) as u64
}

/// Returns the first `min(rows, columns)` rows.
fn top_rows(a: DMatrix<f64>) -> DMatrix<f64> {
    let (m, n) = a.shape();
    a.resize_vertically(m.min(n), 0.0)
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

fn scale_back(r: &mut DMatrix<f64>, exponent: i32) {
    if exponent != 0 {
        *r *= 2f64.powi(exponent);
    }
}

/// Iterations on values that are not finite may never end.
fn refuse_non_finite(operation: &'static str, a: &DMatrix<f64>) -> Result<()> {
    match a.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (row, col) = ((at % a.nrows()) as u64, (at / a.nrows()) as u64);
            Err(Error::NonFinite { operation, row, col, value: a.as_slice()[at] })
        }
    }
}
