//! Dense kernels on one thread: products, QR, SVD and symmetric eigenvectors of matrices in memory.
//!
//! The gram is made of packed panels ([`Packed`]), everything else by `faer`, which only this file knows. What goes in and
//! comes out are nalgebra matrices (column by column) and slices of rows (row by row, as blocks are stored); both are viewed in
//! place, never copied for the call's sake.
//!
//! Always true: one thread (lanes are the parallelism), and every call of faer leaves through [`LeaveAvx`], because its
//! kernels end with the upper halves of the vector registers in use, which makes every plain float loop that runs
//! afterwards on the same thread about four times slower.

mod factors;
mod reflections;

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::llt::factor as llt;
use faer::linalg::{evd, matmul, svd, triangular_solve};
use faer::prelude::default;
use faer::{Accum, MatMut, MatRef, Par};
use nalgebra::DMatrix;

use crate::array::Packed;
use crate::error::{Error, Result};

pub(crate) use factors::qr_of;
pub use factors::{Eigh, SmallSvd, eigh, eigh_bytes, qr_bytes, qr_r, qr_thin, svd_bytes, svd_small};

/// Adds `rowsᵀ · rows` to the upper triangle of `acc`; below the diagonal `acc` keeps what it holds.
///
/// `rows` holds `n_rows × n_cols` values, row by row.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the slice or `acc` is not of that size.
///
/// # Examples
/// ```
/// use allotment::linalg::gram_upper;
/// let mut gram = nalgebra::DMatrix::zeros(2, 2);
/// gram_upper(&[1.0, 2.0, 3.0, 4.0], 2, 2, &mut gram)?;
/// assert_eq!((gram[(0, 0)], gram[(0, 1)], gram[(1, 1)]), (10.0, 14.0, 20.0));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn gram_upper(rows: &[f64], n_rows: usize, n_cols: usize, acc: &mut DMatrix<f64>) -> Result<()> {
    meet("gram", (rows.len(), 1), (n_rows.saturating_mul(n_cols), 1), "the slice must hold rows × columns values")?;
    meet("gram", acc.shape(), (n_cols, n_cols), "the sum must be columns × columns")?;
    if n_rows == 0 || n_cols == 0 {
        return Ok(());
    }
    let (mut packed, acc) = (Packed::new(n_cols), acc.as_mut_slice());
    packed.add_gram_of(rows, acc);
    packed.finish_gram(acc);
    Ok(())
}

/// Returns the bytes that [`gram_upper`] holds besides its arguments.
pub(crate) fn gram_upper_bytes(n_cols: usize) -> u64 {
    Packed::bytes(n_cols)
}

/// Writes `rows · componentsᵀ` into `out`: `n_rows` rows, one value for each row of `components`.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the sizes do not meet.
///
/// # Examples
/// ```
/// use allotment::linalg::rows_times_components;
/// let components = nalgebra::DMatrix::from_row_slice(1, 2, &[1.0, 10.0]);
/// let mut scores = [0.0; 2];
/// rows_times_components(&[1.0, 2.0, 3.0, 4.0], 2, &components, &mut scores)?;
/// assert_eq!(scores, [21.0, 43.0]);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn rows_times_components(rows: &[f64], n_rows: usize, components: &DMatrix<f64>, out: &mut [f64]) -> Result<()> {
    let (k, p) = components.shape();
    meet("matmul", (rows.len(), 1), (n_rows.saturating_mul(p), 1), "the rows need as many columns as the components")?;
    meet("matmul", (out.len(), 1), (n_rows.saturating_mul(k), 1), "the output must hold rows × components values")?;
    let _exit = LeaveAvx;
    let (x, out) = (MatRef::from_row_major_slice(rows, n_rows, p), MatMut::from_row_major_slice_mut(out, n_rows, k));
    matmul::matmul(out, Accum::Replace, x, as_faer(components).transpose(), 1.0, Par::Seq);
    Ok(())
}

/// Adds `tᵀ · rows` to `acc`, where `t` holds `n_rows × acc.nrows()` values and `rows` `n_rows × acc.ncols()`, both row
/// by row.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the sizes do not meet.
pub fn add_transposed_times(t: &[f64], rows: &[f64], n_rows: usize, acc: &mut DMatrix<f64>) -> Result<()> {
    let (k, p) = acc.shape();
    meet(
        "matmul",
        (t.len(), rows.len()),
        (n_rows.saturating_mul(k), n_rows.saturating_mul(p)),
        "both sides need the same number of rows",
    )?;
    let _exit = LeaveAvx;
    let (t, x) = (MatRef::from_row_major_slice(t, n_rows, k), MatRef::from_row_major_slice(rows, n_rows, p));
    matmul::matmul(as_faer_mut(acc), Accum::Add, t.transpose(), x, 1.0, Par::Seq);
    Ok(())
}

/// Returns `a · b`.
///
/// # Errors
/// [`Error::ShapeMismatch`] when `a` has not as many columns as `b` has rows.
pub fn gemm(a: &DMatrix<f64>, b: &DMatrix<f64>) -> Result<DMatrix<f64>> {
    if a.ncols() != b.nrows() {
        return Err(shapes("matmul", a.shape(), b.shape(), "the left needs as many columns as the right has rows"));
    }
    let _exit = LeaveAvx;
    let mut out = DMatrix::zeros(a.nrows(), b.ncols());
    matmul::matmul(as_faer_mut(&mut out), Accum::Replace, as_faer(a), as_faer(b), 1.0, Par::Seq);
    Ok(out)
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

/// Returns U, the singular values, largest first, and V of a square matrix of finite values.
fn svd_square(a: &DMatrix<f64>) -> Result<(DMatrix<f64>, Vec<f64>, DMatrix<f64>)> {
    let n = a.nrows();
    let (mut u, mut s, mut v) = (DMatrix::zeros(n, n), vec![0.0; n], DMatrix::zeros(n, n));
    if n > 0 {
        let _exit = LeaveAvx;
        let mut memory = MemBuffer::new(svd_scratch(n));
        let (s, stack) = (DiagMut::from_slice_mut(&mut s), MemStack::new(&mut memory));
        svd::svd(as_faer(a), s, Some(as_faer_mut(&mut u)), Some(as_faer_mut(&mut v)), Par::Seq, stack, default())
            .map_err(|_| did_not_converge("svd", n))?;
    }
    Ok((u, s, v))
}

/// Returns how many bytes [`svd_square`] holds besides its argument.
fn svd_square_bytes(n: usize) -> u64 {
    (svd_scratch(n).unaligned_bytes_required() + 2 * n * n * 8) as u64
}

fn svd_scratch(n: usize) -> StackReq {
    let thin = svd::ComputeSvdVectors::Thin;
    svd::svd_scratch::<f64>(n, n, thin, thin, Par::Seq, default())
}

/// Returns eigenvalues, smallest first, and eigenvectors of a symmetric matrix of finite values, by its lower triangle.
fn eigh_ascending(a: &DMatrix<f64>) -> Result<(Vec<f64>, DMatrix<f64>)> {
    let n = a.nrows();
    let (mut values, mut vectors) = (vec![0.0; n], DMatrix::zeros(n, n));
    if n > 0 {
        let _exit = LeaveAvx;
        let mut memory = MemBuffer::new(eigh_scratch(n));
        let (s, stack) = (DiagMut::from_slice_mut(&mut values), MemStack::new(&mut memory));
        evd::self_adjoint_evd(as_faer(a), s, Some(as_faer_mut(&mut vectors)), Par::Seq, stack, default())
            .map_err(|_| did_not_converge("eigh", n))?;
    }
    Ok((values, vectors))
}

/// Returns how many bytes [`eigh_ascending`] holds besides its argument.
fn eigh_ascending_bytes(n: usize) -> u64 {
    (eigh_scratch(n).unaligned_bytes_required() + (n * n + n) * 8) as u64
}

fn eigh_scratch(n: usize) -> StackReq {
    // The library takes one from n.
    evd::self_adjoint_evd_scratch::<f64>(n.max(1), evd::ComputeEigenvectors::Yes, Par::Seq, default())
}

/// Replaces the part of `c` from a place on by `(I − V T Vᵀ)` times it, or by the transpose's product.
fn reflect_block(v: &DMatrix<f64>, t: &DMatrix<f64>, transposed: bool, c: &mut DMatrix<f64>, from: (usize, usize)) {
    let (rows, cols) = (c.nrows() - from.0, c.ncols() - from.1);
    if cols == 0 {
        return;
    }
    let _exit = LeaveAvx;
    let (v, t) = (as_faer(v), as_faer(t));
    let t = if transposed { t.transpose() } else { t };
    let mut c = as_faer_mut(c).submatrix_mut(from.0, from.1, rows, cols);
    let (mut vt_c, mut t_vt_c) = (DMatrix::zeros(v.ncols(), cols), DMatrix::zeros(v.ncols(), cols));
    matmul::matmul(as_faer_mut(&mut vt_c), Accum::Replace, v.transpose(), c.as_ref(), 1.0, Par::Seq);
    matmul::matmul(as_faer_mut(&mut t_vt_c), Accum::Replace, t, as_faer(&vt_c), 1.0, Par::Seq);
    matmul::matmul(c.as_mut(), Accum::Add, v, as_faer(&t_vt_c), -1.0, Par::Seq);
}

fn did_not_converge(operation: &'static str, n: usize) -> Error {
    // The library's own limit; it does not tell the residual that was reached.
    let iterations = n.saturating_mul(n).saturating_mul(32);
    Error::NoConvergence { operation, iterations, residual: None, tolerance: f64::EPSILON }
}

fn as_faer(a: &DMatrix<f64>) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(a.as_slice(), a.nrows(), a.ncols())
}

fn as_faer_mut(a: &mut DMatrix<f64>) -> MatMut<'_, f64> {
    let (m, n) = a.shape();
    MatMut::from_column_major_slice_mut(a.as_mut_slice(), m, n)
}

fn meet(operation: &'static str, found: (usize, usize), need: (usize, usize), expected: &str) -> Result<()> {
    if found == need { Ok(()) } else { Err(shapes(operation, found, need, expected)) }
}

fn shapes(operation: &'static str, left: (usize, usize), right: (usize, usize), expected: &str) -> Error {
    let wide = |(rows, cols): (usize, usize)| (rows as u64, cols as u64);
    Error::ShapeMismatch { operation, left: wide(left), right: wide(right), expected: expected.into() }
}

/// Leaves a call into faer: on drop, also while unwinding, the upper halves of the vector registers are cleared.
struct LeaveAvx;

impl Drop for LeaveAvx {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx") {
            #[expect(unsafe_code, reason = "calling a function that needs AVX, found a line above, has no safe form")]
            // SAFETY: AVX was detected on this very CPU, which is all `zero_upper` asks for.
            unsafe {
                zero_upper()
            }
        }
    }
}

/// Clears the upper halves. Out of line, so that the compiler, which takes every vector register to be lost across
/// a call, can hold nothing in them here.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx")]
fn zero_upper() {
    std::arch::x86_64::_mm256_zeroupper();
}

#[cfg(test)]
mod tests;

#[cfg(all(test, target_arch = "x86_64"))]
mod vector_registers {
    use super::*;

    /// Bit 2 of the processor's own record of register state that differs from zero: the upper halves.
    #[expect(unsafe_code, reason = "reading the record has no safe form")]
    fn upper_halves_in_use() -> Option<bool> {
        let supported =
            std::arch::is_x86_feature_detected!("xsave") && std::arch::x86_64::__cpuid_count(0xD, 1).eax & 0b100 != 0;
        // SAFETY: XGETBV exists (xsave) and knows record 1 (CPUID leaf 0xD says so); it reads and changes nothing else.
        supported.then(|| unsafe { std::arch::x86_64::_xgetbv(1) } & 0b100 != 0)
    }

    #[test]
    fn a_product_leaves_the_upper_halves_of_the_vector_registers_clear() {
        let (a, mut out) = (DMatrix::from_element(64, 64, 1.5), DMatrix::zeros(64, 64));
        matmul::matmul(as_faer_mut(&mut out), Accum::Replace, as_faer(&a), as_faer(&a), 1.0, Par::Seq);
        let after_faer_alone = upper_halves_in_use();
        if after_faer_alone != Some(true) {
            println!("skipped: on this processor faer leaves the vector registers {after_faer_alone:?}");
            return;
        }
        let product = gemm(&a, &a).expect("the sizes meet");
        assert_eq!(upper_halves_in_use(), Some(false));
        assert_eq!(product, out);
    }
}
