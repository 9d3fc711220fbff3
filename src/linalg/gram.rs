//! `AᵀA` of a tall matrix, and its largest eigenpairs.
//!
//! ```text
//!   pass 1   block ─▶ its gram, upper triangle ─ tree ─▶ AᵀA ─▶ eigenvectors V
//!   pass 2   block ─▶ t = block · V ─▶ tᵀ block ─ tree ─▶ (AᵀA V)ᵀ, compared with Λ Vᵀ
//! ```
//!
//! Squaring the matrix squares its condition number: an eigenvalue is known to a few ε of the largest one, and so a
//! singular value `σ = √λ` below `√ε` of the largest not at all. Where small ones matter, [`svd`](super::svd()) of a tall
//! matrix goes through R instead.
//!
//! Always true: sums are in f64, over a fixed tree; the residuals come from a pass over the data and not from the gram.

use std::sync::Arc;

use nalgebra::DMatrix;

use super::block_qr::refuse_non_finite;
use super::dense::{Eigh, eigh, eigh_bytes};
use super::plans::plan_eigh_gram;
use super::products::{Shifted, gram_bytes, times_bytes};
use super::tsqr::columns;
use super::{check_fits, on_lane, part_of, signs, whole_rows};
use crate::array::{Array, Block, Working};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// The largest eigenpairs of `AᵀA`, and the figures that show them to be right.
#[derive(Clone, Debug)]
pub struct GramEigh {
    /// Eigenvalues, largest first, none below zero: the squares of the matrix's singular values.
    pub values: Vec<f64>,
    /// The eigenvector of each value, as a column: the right singular vectors. In each the entry of largest magnitude is
    /// positive.
    pub vectors: DMatrix<f64>,
    /// `‖AᵀA v − λ v‖ / λ` of each pair, from a pass over the data; where λ is not above the rounding of the largest one,
    /// relative to that instead, and zero where the matrix is zero.
    pub residuals: Vec<f64>,
}

/// Returns `AᵀA`, columns × columns, symmetric.
///
/// Of a CSR block nothing is filled in; everything is accumulated in f64, whatever the dtype, in one pass. The same input
/// on the same chunk grid gives the same bits on any number of workers.
///
/// # Errors
/// [`Error::NonFinite`] with the place of a NaN or an infinity; [`Error::BadArgument`] when a square overflows;
/// [`Error::TooBig`] when a columns × columns matrix does not fit the allowance twice.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::gram};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let a = Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]])?;
/// assert_eq!(gram(&cluster, &a, None)?.as_slice(), [10.0, 14.0, 14.0, 20.0]);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn gram(cluster: &Cluster, a: &Array, progress: Option<Progress>) -> Result<DMatrix<f64>> {
    let mut gram = upper(cluster, a, "gram", progress)?;
    gram.fill_lower_triangle_with_upper_triangle();
    Ok(gram)
}

/// Returns the `k` largest eigenvalues of `AᵀA` and their eigenvectors; all of them for `k` ≥ columns.
///
/// # Errors
/// Those of [`gram`], and [`Error::NoConvergence`] should the eigenvectors' iteration not end.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::eigh_gram};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let a = Array::from_rows(&[[3.0, 0.0], [0.0, -2.0], [0.0, 0.0]])?;
/// let found = eigh_gram(&cluster, &a, 1, None)?;
/// assert!((found.values[0] - 9.0).abs() < 1e-14 && found.vectors[(0, 0)] == 1.0);
/// assert!(found.residuals[0] < 1e-15);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn eigh_gram(cluster: &Cluster, a: &Array, k: usize, progress: Option<Progress>) -> Result<GramEigh> {
    let p = columns(a, "eigh_gram")?;
    plan_eigh_gram(cluster, a, k)?;
    let gram = upper(cluster, a, "eigh_gram", part_of(&progress, 0, 2))?;
    // `eigh` reads the lower triangle.
    let Eigh { values, vectors } =
        on_lane(cluster, "eigh_gram eigenvectors", eigenvectors_bytes(p, k), move || eigh(&gram.transpose(), k))?;
    let mut components = vectors.transpose();
    signs::fix_rows(&mut components);
    // Rounding may leave an eigenvalue of zero a little below it.
    let values: Vec<f64> = values.into_iter().map(|value| value.max(0.0)).collect();
    let products = gram_times(cluster, a, components.clone(), part_of(&progress, 1, 2))?;
    let size = a.rows().max(a.cols());
    let residuals = eigen_residuals(&products, &components, &values, size);
    Ok(GramEigh { values, vectors: components.transpose(), residuals })
}

/// Returns what the eigenvectors of a gram take.
pub(super) fn eigenvectors_bytes(p: usize, k: usize) -> u64 {
    eigh_bytes(p, k) + (p * p * 8) as u64
}

/// Says what no worker can hold, and what would help.
pub(super) fn too_wide(operation: &str, p: usize) -> String {
    format!("{operation}: gram of {p} columns (select fewer columns)")
}

/// Returns what the second pass of [`eigh_gram`] holds besides its block.
pub(super) fn check_working(k: usize, p: usize) -> Working {
    let bytes = (k * p * 8) as u64;
    Working { fixed: 2 * bytes + times_bytes(p), per_row: (k * 8) as u64, kept: bytes }
}

/// Returns what the pass of [`upper`] holds besides its block.
pub(crate) fn upper_working(p: usize) -> Working {
    let square = (p * p * 8) as u64;
    // Two partials while they are joined.
    Working { fixed: 2 * square + gram_bytes(p), per_row: 0, kept: square }
}

/// Returns the upper triangle of `AᵀA`, zero below.
pub(crate) fn upper(
    cluster: &Cluster,
    a: &Array,
    operation: &'static str,
    progress: Option<Progress>,
) -> Result<DMatrix<f64>> {
    let p = columns(a, operation)?;
    let working = upper_working(p);
    check_fits(cluster, working.fixed, || too_wide(operation, p))?;
    let found = whole_rows(a).reduce_blocks(
        cluster,
        operation,
        working,
        move |block, info, _| sound_gram(block, info.row_offset, operation),
        |left, right| Ok(left + right),
        progress,
    )?;
    Ok(found.unwrap_or_else(|| DMatrix::zeros(p, p)))
}

/// Computes a block's gram and refuses one that is not finite, naming the value that is to blame.
fn sound_gram(block: &Block, first_row: u64, operation: &'static str) -> Result<DMatrix<f64>> {
    let p = block.cols();
    let mut gram = DMatrix::zeros(p, p);
    let values = Shifted::new(block, &[]);
    values.add_gram(&mut gram)?;
    // A product of two columns is never larger than the larger one's square.
    let Some(col) = (0..p).find(|&j| !gram[(j, j)].is_finite()) else { return Ok(gram) };
    refuse_unsound(block, first_row, operation)?;
    Err(too_large(operation, col, first_row, block.rows()))
}

/// Returns an error naming the first value of a block that is not finite, if there is one.
pub(crate) fn refuse_unsound(block: &Block, first_row: u64, operation: &'static str) -> Result<()> {
    let p = block.cols();
    Shifted::new(block, &[])
        .for_each_tile(256, |first, tile| refuse_non_finite(operation, tile, p, first_row + first as u64))
}

/// Says where squares overflow.
pub(crate) fn too_large(operation: &'static str, col: usize, first_row: u64, rows: usize) -> Error {
    let last = first_row + (rows as u64).saturating_sub(1);
    let found = format!("too large in column {col} between rows {first_row} and {last}");
    Error::bad_argument(operation, "the magnitude of the values", found, "below 1e150, so that squares are finite")
}

/// Returns `(AᵀA Vᵀ)ᵀ`, one row for each row of `components`, in one pass.
fn gram_times(
    cluster: &Cluster,
    a: &Array,
    components: DMatrix<f64>,
    progress: Option<Progress>,
) -> Result<DMatrix<f64>> {
    let (k, p) = components.shape();
    let (working, components) = (check_working(k, p), Arc::new(components));
    let map = move |block: &Block| -> Result<DMatrix<f64>> {
        let (values, mut t) = (Shifted::new(block, &[]), vec![0.0; block.rows() * k]);
        values.times(&components, &mut t)?;
        let mut sum = DMatrix::zeros(k, p);
        values.add_transposed_times(&t, &mut sum)?;
        Ok(sum)
    };
    let found = whole_rows(a).reduce_blocks(
        cluster,
        "eigh_gram check",
        working,
        move |block, _, _| map(block),
        |left, right| Ok(left + right),
        progress,
    )?;
    Ok(found.unwrap_or_else(|| DMatrix::zeros(k, p)))
}

/// Compares products with eigenvalue times eigenvector, row by row; `size` is the larger side of the matrix.
pub(crate) fn eigen_residuals(
    products: &DMatrix<f64>,
    components: &DMatrix<f64>,
    values: &[f64],
    size: u64,
) -> Vec<f64> {
    let largest = values.first().copied().unwrap_or(0.0);
    let noise = size as f64 * f64::EPSILON * largest;
    let error = |j: usize| (products.row(j) - components.row(j) * values[j]).norm();
    let scale = |value: f64| if value > noise { value } else { largest };
    // Where everything is zero there is nothing to be wrong about.
    (0..values.len()).map(|j| if largest > 0.0 { error(j) / scale(values[j]) } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ByteSize;
    use crate::array::{BlockKind, DType};
    use crate::linalg::testing::{graded, noise};

    fn cluster() -> Cluster {
        Cluster::builder().allowance(ByteSize(64 << 20)).workers(2).build().unwrap()
    }

    #[test]
    fn the_gram_of_small_integers_is_exact_in_every_kind_and_dtype_and_cut() {
        let a = noise(301, 7, 1).map(|x| (x * 20.0).round().max(0.0));
        let expected = a.transpose() * &a;
        for dtype in [DType::U8, DType::I64, DType::F32, DType::F64] {
            let x = Array::from_nalgebra(&a).astype(dtype);
            for x in [x.clone().with_block_rows(50), x.to_csr().unwrap().with_block_rows(1000)] {
                assert_eq!(gram(&cluster(), &x, None).unwrap(), expected, "{dtype}");
            }
        }
    }

    #[test]
    fn eigenpairs_of_a_known_spectrum_are_found_and_checked() {
        let a = Array::from_nalgebra(&graded(200, 6, 6)).with_block_rows(33);
        let found = eigh_gram(&cluster(), &a, 3, None).unwrap();
        assert_eq!(found.vectors.shape(), (6, 3));
        for (j, value) in found.values.iter().enumerate() {
            // To a few ε of the largest, which is one; relative to its own value that is the residual.
            let expected = 100f64.powi(-(j as i32));
            assert!((value - expected).abs() < 1e-15 && found.residuals[j] < 1e-15 / expected, "{found:?}");
        }
    }

    #[test]
    fn k_beyond_the_columns_is_all_and_zeros_are_no_eigenvalues_below_zero() {
        let mut a = noise(40, 4, 2);
        let copy = a.column(0).into_owned();
        a.column_mut(3).copy_from(&copy);
        let found = eigh_gram(&cluster(), &Array::from_nalgebra(&a), 9, None).unwrap();
        assert_eq!(found.values.len(), 4);
        assert!(found.values[3] >= 0.0 && found.values[3] < 1e-14 && found.residuals.iter().all(|r| *r < 1e-14));
    }

    #[test]
    fn no_rows_one_row_and_zeros_have_a_gram() {
        for (rows, kind) in [(0, BlockKind::Dense), (0, BlockKind::Csr), (5, BlockKind::Csr)] {
            let x = Array::zeros(rows, 3, DType::F64, kind).unwrap();
            assert_eq!(gram(&cluster(), &x, None).unwrap(), DMatrix::zeros(3, 3));
            let found = eigh_gram(&cluster(), &x, 2, None).unwrap();
            assert_eq!((found.values, found.residuals), (vec![0.0; 2], vec![0.0; 2]));
        }
        let one = eigh_gram(&cluster(), &Array::from_rows(&[[3.0, -4.0]]).unwrap(), 1, None).unwrap();
        assert!((one.values[0] - 25.0).abs() < 1e-14 && (one.vectors[(1, 0)] - 0.8).abs() < 1e-15, "{one:?}");
    }

    #[test]
    fn what_has_no_finite_gram_is_refused_with_its_place() {
        let mut a = noise(100, 3, 4);
        a[(71, 1)] = f64::NAN;
        let nan = gram(&cluster(), &Array::from_nalgebra(&a).with_block_rows(20), None).unwrap_err();
        assert!(matches!(nan, Error::NonFinite { operation: "gram", row: 71, col: 1, .. }), "{nan}");
        a[(71, 1)] = 1e200;
        let large = gram(&cluster(), &Array::from_nalgebra(&a).with_block_rows(20), None).unwrap_err();
        assert!(large.to_string().contains("column 1 between rows 60 and 79"), "{large}");
    }
}
