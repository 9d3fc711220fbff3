//! The first few singular triplets of any matrix, from a random sketch, to a given accuracy of the singular values.
//!
//! Halko, Martinsson & Tropp 2011 (SIAM Review 53), algorithms 4.4 and 5.1, with three changes. What the power iteration
//! has seen is kept and not only its last block (Musco & Musco 2015, algorithm 2: a block Krylov space), because on a flat
//! spectrum, where the figures are needed most, q steps then err by the order of 1/q² and not of 1/q. It goes on until
//! the singular values settle, because no fixed number of steps is right for every spectrum. And the last pass looks at the
//! result: it gives residuals and better singular values for nothing.
//!
//! ```text
//!   Gaussian block ─▶ [ one pass: AᵀA times the newest block, orthonormalised against all ]  q + 1 times, or more
//!                  ─▶ one pass over the best vectors V: R of A V ─▶ σ, v      Aᵀ(A V) ─▶ residuals
//! ```
//!
//! Where some of the values asked for lie below 10⁻⁵ of the first, `AᵀA` has no digits left for them. Then the vectors are
//! refined by passes of plain subspace iteration, in which every column is orthogonal to the larger ones before it is
//! multiplied, so that it is good to `ε σ₁/σ` (Halko, Martinsson & Tropp 2011, §4.5).

use std::sync::Arc;

use super::krylov::{Krylov, Ritz, Size};
use super::on_lane;
use super::operator::{Operator, pass_of};
use super::rows::{orthonormal_in_order, r_of_rows_bytes};
use super::svd::{Svd, SvdMethod};
use super::triplets::{Triplets, left_vectors, triplets};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// Below this share of the first singular value the gram has lost the digits of a direction.
const GRAM_LIMIT: f64 = 1e-5;
/// Vectors of a space that a narrow block may fill: a dozen steps, for spectra without gaps.
const LEAST_CAPACITY: usize = 192;

/// Settings of [`svd_compressed`].
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct SvdCompressedOptions {
    /// How many singular triplets, at most the smaller of rows and columns.
    pub k: usize,
    /// How many vectors more than `k` are iterated: more of them converge in fewer passes.
    pub n_oversamples: usize,
    /// The least number of power iterations. A result takes at least two passes over the data more than that.
    pub n_power_iter: usize,
    /// How far, relatively, the singular values may be estimated to be off when the iteration stops;
    /// [`f64::INFINITY`] stops after `n_power_iter` whatever they are.
    pub tolerance: f64,
    /// The number of power iterations after which singular values that have not settled are an error.
    pub max_power_iter: usize,
    /// Of the random start: the same seed gives the same bits.
    pub seed: u64,
    /// Whether to give `u`, as an expression that costs nothing until it is computed or saved.
    pub compute_u: bool,
    /// Called as runs of blocks finish. How many passes there will be is not known beforehand, so that both numbers grow.
    #[serde(skip)]
    pub progress: Option<Progress>,
}

impl Default for SvdCompressedOptions {
    fn default() -> Self {
        SvdCompressedOptions {
            k: 10,
            n_oversamples: 10,
            n_power_iter: 2,
            tolerance: 1e-2,
            max_power_iter: 100,
            seed: 0,
            compute_u: false,
            progress: None,
        }
    }
}

/// Returns the first `k` singular triplets of a matrix of any shape, dense or CSR, approximately.
///
/// On the flattest spectrum, that of noise, the default takes about ten passes and stays within its 1 %, where two power
/// iterations alone (`n_power_iter: 2, tolerance: f64::INFINITY`) are 6 to 8 % low.
///
/// The singular values are below the true ones by about `tolerance` of them, or less; on a spectrum that falls quickly, by
/// far less. Vectors converge later than values: `residuals` tell how good each triplet is, as measured by a pass over the
/// data. For better vectors lower the `tolerance` (squared residuals follow it), or take [`lanczos`](super::lanczos()), which
/// iterates until residuals are small. The same input on the same chunk grid gives the same bits on any number of workers.
///
/// Vectors as long as the matrix is wide are held in memory, 192 of them or three blocks of `k + n_oversamples`, whichever
/// is more; nothing columns × columns is.
///
/// # Errors
/// [`Error::BadArgument`] for a `k` of zero or above the smaller of rows and columns; [`Error::NonFinite`] with the place of
/// a NaN or an infinity; [`Error::TooBig`] when the vectors do not fit the allowance; [`Error::NoConvergence`] when the
/// singular values have not settled after `max_power_iter`.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::random, linalg::{SvdCompressedOptions, svd_compressed}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let a = random::uniform(2000, 100, 7, 500);
/// let found = svd_compressed(&cluster, &a, &SvdCompressedOptions { k: 3, ..Default::default() })?;
/// // The mean of 0.5 everywhere is the first component: 0.5 √(2000 · 100), and a little for the noise.
/// assert!((found.s[0] - 223.9).abs() < 0.5);
/// assert!(found.residuals[0] < 1e-6 && found.orthogonality < 1e-12);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn svd_compressed(cluster: &Cluster, a: &Array, options: &SvdCompressedOptions) -> Result<Svd> {
    let Triplets { s, vt, rank, residuals, orthogonality, .. } = compressed_triplets(cluster, a, Vec::new(), options)?;
    let u = options.compute_u.then(|| left_vectors(a, &[], &vt, &s, rank)).transpose()?;
    let (vt, method) = (Array::from_nalgebra(&vt), SvdMethod::Compressed);
    Ok(Svd { s, vt, u, rank, residuals, orthogonality, shape: a.shape(), method })
}

/// [`svd_compressed`] of an array less a row, empty for none.
pub(crate) fn compressed_triplets(
    cluster: &Cluster,
    a: &Array,
    mean: Vec<f64>,
    options: &SvdCompressedOptions,
) -> Result<Triplets> {
    options.plan(cluster, a)?;
    let operator = Operator::new("svd_compressed", a, mean)?;
    let size = size(a, options);
    let mut space = Krylov::begin(cluster, operator, size, options.seed, options.progress.clone())?;
    let ritz = iterate(&mut space, options)?;
    let vectors = Arc::new(space.vectors(&ritz, size.width)?);
    let (operator, passes) = space.end();
    let progress = pass_of(&options.progress, passes);
    let found = triplets(cluster, &operator, &vectors, options.k, progress)?;
    refine(cluster, &operator, found, options, passes + 1)
}

pub(super) fn size(a: &Array, options: &SvdCompressedOptions) -> Size {
    let least = a.rows().min(a.cols());
    let width = (options.k as u64).saturating_add(options.n_oversamples as u64).min(least) as usize;
    Size { k: options.k, width, capacity: LEAST_CAPACITY.max(3 * width) }
}

/// Returns what making `l` vectors of length `p` orthonormal takes between refining passes.
pub(super) fn refining_bytes(l: usize, p: usize) -> u64 {
    (3 * l * p * 8) as u64 + r_of_rows_bytes(l)
}

/// Refuses what has no answer.
pub(super) fn check_request(a: &Array, options: &SvdCompressedOptions) -> Result<()> {
    check_k("svd_compressed", a, options.k)?;
    if options.tolerance.is_nan() || options.tolerance <= 0.0 {
        let expected = "above 0, or infinite to take n_power_iter as it is";
        return Err(Error::bad_argument("svd_compressed", "tolerance", options.tolerance, expected));
    }
    Ok(())
}

/// Refuses a number of components that a matrix of this shape has not.
pub(crate) fn check_k(operation: &'static str, a: &Array, k: usize) -> Result<()> {
    let ((rows, cols), most) = (a.shape(), a.rows().min(a.cols()));
    if most == 0 {
        return Err(Error::bad_argument(operation, "shape", format!("{rows} × {cols}"), "at least 1 × 1"));
    }
    if k == 0 || k as u64 > most {
        let expected = format!("1 to {most}, the smaller of {rows} rows and {cols} columns");
        return Err(Error::bad_argument(operation, "k", k, expected));
    }
    Ok(())
}

/// Steps until the singular values have settled.
fn iterate(space: &mut Krylov, options: &SvdCompressedOptions) -> Result<Ritz> {
    let (least, most) = (options.n_power_iter, options.max_power_iter.max(options.n_power_iter));
    let mut before = Vec::new();
    let mut steps = 0;
    loop {
        let ritz = space.step()?;
        steps += 1;
        let s: Vec<f64> = ritz.values[..options.k].iter().map(|value| value.sqrt()).collect();
        let error = estimated_error(&before, &s, steps);
        if space.is_exhausted() || (steps > least && error <= options.tolerance) {
            return Ok(ritz);
        }
        if steps > most {
            let (operation, tolerance) = ("svd_compressed", options.tolerance);
            return Err(Error::NoConvergence { operation, iterations: steps, residual: Some(error), tolerance });
        }
        space.make_room(&ritz)?;
        before = s;
    }
}

/// Estimates how far the worst singular value is off after so many steps, relatively.
///
/// On a spectrum without gaps the error falls as 1/steps² (Musco & Musco 2015, theorem 1), so that what is left is steps/2
/// times what the last step gained; with gaps it falls faster, and less is left.
fn estimated_error(before: &[f64], now: &[f64], steps: usize) -> f64 {
    if before.is_empty() {
        return f64::INFINITY;
    }
    let largest = now.first().copied().unwrap_or(0.0);
    let gained = |(before, now): (&f64, &f64)| match *now > largest * GRAM_LIMIT {
        true => (now - before).abs() / now,
        // The gram knows nothing of these; they are refined afterwards.
        false => 0.0,
    };
    before.iter().zip(now).map(gained).fold(0.0, f64::max) * (steps as f64 / 2.0).max(1.0)
}

/// Iterates the vectors where some are too small for the gram, as often as it was asked for.
fn refine(
    cluster: &Cluster,
    operator: &Operator,
    mut found: Triplets,
    options: &SvdCompressedOptions,
    passes: usize,
) -> Result<Triplets> {
    for more in 0..options.n_power_iter {
        let (first, last) = (found.s[0], found.s[..found.rank].last().copied().unwrap_or(0.0));
        if last >= first * GRAM_LIMIT {
            break;
        }
        let (next, l) = (found.next.clone(), found.next.nrows());
        let bytes = refining_bytes(l, next.ncols());
        let run = move || orthonormal_in_order(next.clone());
        let vectors = Arc::new(on_lane(cluster, operator.operation(), bytes, run)?);
        if vectors.nrows() < options.k {
            break;
        }
        let progress = pass_of(&options.progress, passes + more);
        found = triplets(cluster, operator, &vectors, options.k, progress)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::dense::svd_small;
    use crate::linalg::testing::{both_kinds, cluster, noise, sparse, with_spectrum};
    use nalgebra::DMatrix;

    fn options(k: usize) -> SvdCompressedOptions {
        SvdCompressedOptions { k, ..Default::default() }
    }

    #[test]
    fn singular_values_are_within_the_tolerance_and_the_residuals_say_how_good_the_vectors_are() {
        // Tall, wide, square, ragged blocks, one row a block; noise has the flattest spectrum there is.
        for (rows, cols, block_rows) in [(300, 80, 64), (80, 300, 7), (200, 200, 50), (40, 12, 1), (5, 3, 2)] {
            for a in [noise(rows, cols, 1), noise(rows, cols, 1).add_scalar(0.5), sparse(rows, cols, 5)] {
                let expected = svd_small(&a).unwrap();
                for array in both_kinds(&a, block_rows) {
                    let (k, cluster) = (3, cluster(2));
                    let found = svd_compressed(&cluster, &array, &options(k)).unwrap();
                    let vt = found.vt_matrix(&cluster).unwrap();
                    for j in 0..k {
                        let share = found.s[j] / expected.s[j];
                        // The tolerance; and Ritz values are never above the true ones, but for rounding.
                        assert!(share > 0.99 && share < 1.0 + 1e-13, "{rows} × {cols}: {share}");
                        let v = vt.row(j).transpose();
                        let residual = (a.transpose() * (&a * &v) / found.s[j] - v * found.s[j]).norm() / found.s[j];
                        // What is reported is measured: it differs by rounding, ε (s[0]/σ)² or so.
                        assert!((residual - found.residuals[j]).abs() < 1e-11, "{residual} {:?}", found.residuals);
                    }
                    assert!(found.orthogonality < 1e-12);
                }
            }
        }
    }

    #[test]
    fn u_times_s_times_vt_is_the_matrix_where_k_is_the_rank() {
        let a = with_spectrum(90, 40, &[5.0, 4.0, 3.0, 2.0]);
        for array in both_kinds(&a, 17) {
            let found =
                svd_compressed(&cluster(2), &array, &SvdCompressedOptions { compute_u: true, ..options(6) }).unwrap();
            let u = found.u.as_ref().expect("asked for").compute(&cluster(1)).unwrap().to_nalgebra::<f64>();
            assert_eq!((found.rank, u.shape(), found.vt.shape()), (4, (90, 6), (6, 40)));
            let again = u * DMatrix::from_diagonal(&found.s.clone().into()) * found.vt_matrix(&cluster(1)).unwrap();
            // A few ε of the largest singular value, 5.
            assert!((again - &a).amax() < 1e-14, "{:?}", found.s);
            assert!(found.residuals.iter().all(|r| *r < 1e-13), "{:?}", found.residuals);
        }
    }

    #[test]
    fn values_far_below_the_first_are_found_though_the_gram_has_no_digits_for_them() {
        let spectrum: Vec<f64> = (0..30).map(|i| 10f64.powf(-0.75 * i as f64)).collect();
        let a = with_spectrum(120, 50, &spectrum);
        let found = svd_compressed(&cluster(2), &Array::from_nalgebra(&a), &options(13)).unwrap();
        for (j, (found, expected)) in found.s.iter().zip(&spectrum).enumerate() {
            // The smallest is 1e-9; the matrix itself was rounded at 1e-16.
            assert!((found / expected - 1.0).abs() < 1e-6, "{j}: {found:e} for {expected:e}");
        }
    }

    #[test]
    fn the_number_of_workers_changes_no_bit_and_the_scheduler_neither() {
        for array in both_kinds(&sparse(150, 60, 4), 11) {
            let runs = [0, 1, 2, 5].map(|workers| {
                let cluster = cluster(workers);
                let found = svd_compressed(&cluster, &array, &options(4)).unwrap();
                (found.vt_matrix(&cluster).unwrap(), found.s, found.residuals)
            });
            assert!(runs.iter().all(|run| *run == runs[0]));
        }
    }

    #[test]
    fn a_fixed_number_of_power_iterations_is_kept_to() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let array = Array::from_nalgebra(&noise(100, 60, 4)).with_block_rows(100);
        for n_power_iter in [0, 1, 4] {
            let passes = Arc::new(AtomicUsize::new(0));
            let counted = passes.clone();
            let progress: Progress = Arc::new(move |_, _| {
                counted.fetch_add(1, Ordering::Relaxed);
            });
            let fixed = SvdCompressedOptions {
                n_power_iter,
                n_oversamples: 2,
                tolerance: f64::INFINITY,
                progress: Some(progress),
                ..options(2)
            };
            svd_compressed(&cluster(1), &array, &fixed).unwrap();
            assert_eq!(passes.load(Ordering::Relaxed), n_power_iter + 2);
        }
    }

    #[test]
    fn what_has_no_answer_is_refused_and_what_has_not_settled_is_an_error() {
        let array = Array::from_nalgebra(&noise(30, 20, 5));
        for k in [0, 21] {
            assert!(matches!(svd_compressed(&cluster(1), &array, &options(k)), Err(Error::BadArgument { .. })));
        }
        let none = Array::from_nalgebra(&DMatrix::<f64>::zeros(0, 4));
        assert!(matches!(svd_compressed(&cluster(1), &none, &options(1)), Err(Error::BadArgument { .. })));
        let hasty = SvdCompressedOptions { n_oversamples: 0, tolerance: 1e-15, max_power_iter: 3, ..options(1) };
        let error = svd_compressed(&cluster(1), &array, &hasty).unwrap_err();
        assert!(matches!(error, Error::NoConvergence { residual: Some(r), .. } if r > 1e-15), "{error}");
    }
}
