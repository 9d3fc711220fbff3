//! Dense kernels on one thread: products, QR, SVD and symmetric eigenvectors of matrices in memory.
//!
//! The only file that knows `faer`. What goes in and comes out are nalgebra matrices (column by column) and slices
//! of rows (row by row, as blocks are stored); both are viewed in place, never copied for the call's sake.
//!
//! Always true: one thread (lanes are the parallelism), and every call leaves through [`LeaveAvx`], because faer's
//! kernels end with the upper halves of the vector registers in use, which makes every plain float loop that runs
//! afterwards on the same thread about four times slower.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::{evd, householder, matmul, qr::no_pivoting::factor, svd};
use faer::prelude::{ReborrowMut, default};
use faer::{Accum, Conj, MatMut, MatRef, Par};
use nalgebra::DMatrix;

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
    meet("gram", (rows.len(), 1), (n_rows * n_cols, 1), "the slice must hold rows × columns values")?;
    meet("gram", acc.shape(), (n_cols, n_cols), "the sum must be columns × columns")?;
    if n_rows == 0 || n_cols == 0 {
        return Ok(());
    }
    let _exit = LeaveAvx;
    let x = MatRef::from_row_major_slice(rows, n_rows, n_cols);
    triangular::matmul(
        as_faer_mut(acc),
        BlockStructure::TriangularUpper,
        Accum::Add,
        x.transpose(),
        BlockStructure::Rectangular,
        x,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    Ok(())
}

/// Writes `rows · v` into `out`, row by row: `n_rows × v.ncols()` values.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the sizes do not meet.
pub fn rows_times(rows: &[f64], n_rows: usize, v: &DMatrix<f64>, out: &mut [f64]) -> Result<()> {
    let (p, k) = v.shape();
    meet("matmul", (rows.len(), 1), (n_rows * p, 1), "the left side needs as many columns as the right has rows")?;
    meet("matmul", (out.len(), 1), (n_rows * k, 1), "the output must hold rows × columns values")?;
    let _exit = LeaveAvx;
    let (x, out) = (MatRef::from_row_major_slice(rows, n_rows, p), MatMut::from_row_major_slice_mut(out, n_rows, k));
    matmul::matmul(out, Accum::Replace, x, as_faer(v), 1.0, Par::Seq);
    Ok(())
}

/// Adds `xᵀ · t` to `acc`, where `x` (`n_rows × acc.nrows()`) and `t` (`n_rows × acc.ncols()`) are stored row by row.
///
/// # Errors
/// [`Error::ShapeMismatch`] when the sizes do not meet.
pub fn add_transposed_times(x: &[f64], t: &[f64], n_rows: usize, acc: &mut DMatrix<f64>) -> Result<()> {
    let (p, k) = acc.shape();
    meet("matmul", (x.len(), t.len()), (n_rows * p, n_rows * k), "both sides need the same number of rows")?;
    let _exit = LeaveAvx;
    let (x, t) = (MatRef::from_row_major_slice(x, n_rows, p), MatRef::from_row_major_slice(t, n_rows, k));
    matmul::matmul(as_faer_mut(acc), Accum::Add, x.transpose(), t, 1.0, Par::Seq);
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
    let block = factor::recommended_block_size::<f64>(n_rows, n_cols);
    let householder = block * n_rows.min(n_cols) * 8;
    let scratch = factor::qr_in_place_scratch::<f64>(n_rows, n_cols, block, Par::Seq, default());
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
fn qr_in_place(a: &DMatrix<f64>) -> Option<(DMatrix<f64>, DMatrix<f64>)> {
    let ((m, n), k) = (a.shape(), a.nrows().min(a.ncols()));
    let block = factor::recommended_block_size::<f64>(m, n);
    let (mut factored, mut coefficients) = (a.clone(), DMatrix::zeros(block, k));
    if k > 0 {
        let _exit = LeaveAvx;
        let mut memory = MemBuffer::new(factor::qr_in_place_scratch::<f64>(m, n, block, Par::Seq, default()));
        let found = factor::qr_in_place(
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

fn as_faer(a: &DMatrix<f64>) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(a.as_slice(), a.nrows(), a.ncols())
}

fn as_faer_mut(a: &mut DMatrix<f64>) -> MatMut<'_, f64> {
    let (m, n) = a.shape();
    MatMut::from_column_major_slice_mut(a.as_mut_slice(), m, n)
}

fn did_not_converge(operation: &'static str) -> Error {
    // faer's own limit on iterations and its tolerance.
    Error::NoConvergence { operation, iterations: 30, residual: f64::NAN, tolerance: f64::EPSILON }
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
        let product = gemm(&a, &a).unwrap();
        assert_eq!(upper_halves_in_use(), Some(false));
        assert_eq!(product, out);
    }
}
