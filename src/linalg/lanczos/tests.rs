//! Lanczos against the dense SVD, matrices of known spectra, and what could defeat it.

use super::*;
use crate::array::{BlockKind, DType};
use crate::linalg::dense::{SmallSvd, svd_small};
use crate::linalg::testing::{both_kinds, cluster, noise, sparse, with_spectrum};

fn options(k: usize) -> LanczosOptions {
    LanczosOptions { k, ..Default::default() }
}

fn centred(k: usize) -> LanczosOptions {
    LanczosOptions { centre: Centre::Mean, ..options(k) }
}

fn explicitly_centred(a: &DMatrix<f64>) -> DMatrix<f64> {
    let mean = a.row_mean();
    DMatrix::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)] - mean[j])
}

/// Checks values and vectors; the vectors only where the neighbouring values are some way off.
fn assert_agrees(found: &Lanczos, a: &DMatrix<f64>, case: &str) {
    let SmallSvd { s, vt, .. } = svd_small(a).unwrap();
    for j in 0..found.s.len() {
        // A few ε of the largest for the values.
        assert!((found.s[j] - s[j]).abs() < 1e-13 * s[0], "{case}: s[{j}] {} {}", found.s[j], s[j]);
        let gap = |i: usize| s.get(i).map_or(f64::INFINITY, |other| (other * other - s[j] * s[j]).abs());
        let gap = gap(j + 1).min(if j > 0 { gap(j - 1) } else { f64::INFINITY });
        // Davis and Kahan: the residual, at most the tolerance of 1e-10 times s[0]², over the gap.
        if gap > 1e-3 * s[0] * s[0] {
            let aligned = found.vt.row(j).dot(&vt.row(j)).abs();
            assert!((aligned - 1.0).abs() < 1e-12, "{case}: v[{j}] {aligned}");
        }
    }
    let k = found.vt.nrows();
    let gram = &found.vt * found.vt.transpose();
    assert!((gram - DMatrix::identity(k, k)).amax() < 1e-13, "{case}");
    assert!(found.orthogonality < 1e-10, "{case}: {}", found.orthogonality);
}

#[test]
fn it_agrees_with_the_dense_svd_of_every_kind_dtype_and_shape() {
    for (rows, cols, block_rows, k) in [(400, 60, 64, 7), (60, 300, 7, 5), (30, 30, 30, 30), (9, 4, 1, 4), (1, 5, 1, 1)]
    {
        let a = sparse(rows, cols, 3).map(|x| (x * 40.0).round());
        for array in both_kinds(&a, block_rows) {
            for dtype in [DType::F64, DType::F32, DType::U16] {
                let case = format!("{rows} × {cols}, {:?} {dtype}", array.kind());
                // Whole numbers are the same in every dtype.
                let array = array.astype(dtype);
                assert_agrees(&lanczos(&cluster(2), &array, &options(k)).unwrap(), &a, &case);
                let found = lanczos(&cluster(2), &array, &centred(k)).unwrap();
                if rows > 1 {
                    assert_agrees(&found, &explicitly_centred(&a), &format!("{case}, centred"));
                }
            }
        }
    }
}

#[test]
fn centring_loses_nothing_to_means_a_million_times_the_deviations() {
    // Steps of 2^-10 around 2^20 are exact, and so are their differences from the shift.
    let steps = noise(200, 30, 2).map(|x| (x * 64.0).round() / 1024.0);
    let a = steps.add_scalar(2f64.powi(20));
    for array in both_kinds(&a, 32) {
        let found = lanczos(&cluster(2), &array, &centred(4)).unwrap();
        let expected = svd_small(&explicitly_centred(&steps)).unwrap().s;
        for (found, expected) in found.s.iter().zip(&expected) {
            // The mean itself is rounded to 2^20 ε, against deviations of 2^-5.
            assert!((found / expected - 1.0).abs() < 1e-7, "{found} {expected}");
        }
        assert!(found.residuals.iter().all(|r| *r < 1e-6), "{:?}", found.residuals);
    }
}

#[test]
fn repeated_and_clustered_values_are_all_found() {
    let repeated: Vec<f64> = [vec![3.0; 6], vec![1.0; 20]].concat();
    let clustered: Vec<f64> =
        (0..12).map(|i| 1.0 + 1e-7 * i as f64).rev().chain((1..40).map(|i| 0.9 / i as f64)).collect();
    let wilkinson: Vec<f64> = [vec![1.0; 2], vec![1.0 - 1e-12; 3], vec![0.5; 30]].concat();
    for (spectrum, k) in [(repeated, 6), (clustered, 12), (wilkinson, 5)] {
        let a = with_spectrum(150, 70, &spectrum);
        for array in both_kinds(&a, 40) {
            let found = lanczos(&cluster(2), &array, &options(k)).unwrap();
            for j in 0..k {
                assert!((found.s[j] - spectrum[j]).abs() < 1e-13 * spectrum[0], "{j}: {:?}", found.s);
            }
        }
    }
}

#[test]
fn values_repeated_more_often_than_a_block_is_wide_are_all_found() {
    let identity = Array::from_nalgebra(&DMatrix::<f64>::identity(100, 100)).with_block_rows(9);
    for (k, passes) in [(8, 2), (30, 4), (100, 6)] {
        let found = lanczos(&cluster(2), &identity, &options(k)).unwrap();
        assert!(found.s.iter().all(|s| (s - 1.0).abs() < 1e-13) && found.rank == k, "{:?}", found.s);
        assert!(found.passes <= passes, "{k} components: {} passes", found.passes);
    }
    let spectrum: Vec<f64> = [vec![2.0; 45], (0..150).map(|i| 1.5 - 0.01 * i as f64).collect()].concat();
    let a = with_spectrum(260, 200, &spectrum);
    let found = lanczos(&cluster(2), &Array::from_nalgebra(&a).with_block_rows(64), &options(50)).unwrap();
    for j in 0..50 {
        assert!((found.s[j] - spectrum[j]).abs() < 1e-13 * spectrum[0], "{j}: {:?}", found.s);
    }
}

#[test]
fn spaces_that_are_full_are_begun_again_until_the_vectors_are_good() {
    // Ends of a spectrum without gaps take many steps of a block of five.
    let spectrum: Vec<f64> = (0..600).map(|i| 1.0 - 1e-3 * i as f64).collect();
    let a = with_spectrum(700, 600, &spectrum);
    let array = Array::from_nalgebra(&a).with_block_rows(100);
    let found = lanczos(&cluster(2), &array, &options(6)).unwrap();
    assert!(found.passes > 25, "the test is to begin again at least once: {} passes", found.passes);
    assert!(found.s.iter().zip(&spectrum).all(|(f, e)| (f - e).abs() < 1e-13), "{:?}", found.s);
    assert!(found.residuals.iter().all(|r| *r < 2e-10), "{:?}", found.residuals);
}

#[test]
fn fewer_singular_values_than_asked_for_are_told_by_the_rank() {
    let a = with_spectrum(80, 40, &[7.0, 2.0, 1e-3]);
    for array in both_kinds(&a, 13) {
        let found = lanczos(&cluster(2), &array, &options(10)).unwrap();
        assert_eq!(found.rank, 3, "{:?}", found.s);
        assert_agrees(&found, &a, "rank 3");
        let u = found.left_vectors(&array).unwrap().compute(&cluster(1)).unwrap().to_nalgebra::<f64>();
        // The last direction is good to ε (7 / 1e-3)², and weighs 1e-3.
        assert!((u * DMatrix::from_diagonal(&found.s.clone().into()) * &found.vt - &a).amax() < 2e-11);
    }
}

#[test]
fn residuals_tell_which_of_the_tiny_values_are_right() {
    let spectrum: Vec<f64> = (0..13).map(|i| 10f64.powi(-i)).collect();
    let a = with_spectrum(400, 300, &spectrum);
    // What `with_spectrum` takes for the right vectors.
    let v = crate::linalg::dense::qr_thin(&noise(300, 13, 22)).0;
    for array in both_kinds(&a, 64) {
        let options = LanczosOptions { tolerance: LEAST_TOLERANCE, ..options(13) };
        let found = lanczos(&cluster(2), &array, &options).unwrap();
        for (j, (&s, &residual)) in found.s.iter().zip(&found.residuals).enumerate() {
            // Weyl: the matrix less a part of norm σ · residual has this value. That the matrix is rounded moves it by ε.
            let off = spectrum.iter().map(|value| (value - s).abs()).fold(f64::INFINITY, f64::min);
            assert!(off <= s * residual + 1e-14, "s[{j}] {s:e} is off by {off:e}, its residual {residual:e}");
            // Davis and Kahan: the gap to the next value is 9/10 of σ.
            let along = found.vt.row(j).transpose().dot(&v.column(j));
            let sine = (found.vt.row(j).transpose() - v.column(j) * along).norm();
            assert!(sine <= 2.0 * residual + 1e-13 / spectrum[j], "v[{j}] {sine:e}, its residual {residual:e}");
            // The tolerance, or what rounding alone gives.
            let known = 1e-12 * (spectrum[0] / spectrum[j]).powi(2);
            assert!(j > 5 || residual < known, "{j}: {residual:e}");
        }
        // ε / 10⁻²⁴ is what is known of the last vector.
        assert!(found.residuals[12] > 1.0 && found.residuals[0] < 1e-12, "{:?}", found.residuals);
    }
}

#[test]
fn zero_matrices_constant_columns_and_one_row_have_an_answer() {
    for kind in [BlockKind::Dense, BlockKind::Csr] {
        let zeros = Array::zeros(20, 10, DType::F32, kind).unwrap();
        let found = lanczos(&cluster(1), &zeros, &options(4)).unwrap();
        assert_eq!((found.rank, found.s.clone(), found.residuals.clone()), (0, vec![0.0; 4], vec![0.0; 4]));
        assert!((&found.vt * found.vt.transpose() - DMatrix::identity(4, 4)).amax() < 1e-14);
    }
    let constant = DMatrix::from_fn(25, 6, |_, j| j as f64);
    let one_row = constant.rows(0, 1).into_owned();
    for a in [constant, one_row] {
        for array in both_kinds(&a, 4) {
            let found = lanczos(&cluster(1), &array, &centred(1)).unwrap();
            assert_eq!((found.rank, found.s[0], found.residuals[0]), (0, 0.0, 0.0));
        }
    }
}

#[test]
fn values_whose_squares_overflow_or_vanish_are_factored_all_the_same() {
    let a = noise(60, 20, 8);
    let expected = svd_small(&a).unwrap().s;
    for exponent in [600, -600] {
        let array = Array::from_nalgebra(&(&a * 2f64.powi(exponent))).with_block_rows(25);
        let found = lanczos(&cluster(1), &array, &options(3)).unwrap();
        let s: Vec<f64> = found.s.iter().map(|s| s / 2f64.powi(exponent)).collect();
        assert!((0..3).all(|j| (s[j] - expected[j]).abs() < 1e-13 * expected[0]), "{s:?} {expected:?}");
    }
}

#[test]
fn the_number_of_workers_changes_no_bit_and_the_scheduler_neither() {
    for array in both_kinds(&sparse(150, 60, 4), 11) {
        let runs = [0, 1, 2, 5].map(|workers| lanczos(&cluster(workers), &array, &centred(4)).unwrap());
        for run in &runs[1..] {
            assert_eq!((&run.s, &run.vt, &run.residuals), (&runs[0].s, &runs[0].vt, &runs[0].residuals));
        }
    }
}

#[test]
fn what_has_no_answer_is_refused_with_the_place_or_the_numbers() {
    let a = noise(30, 20, 5);
    let array = Array::from_nalgebra(&a);
    let refused = |array: &Array, options: LanczosOptions| lanczos(&cluster(1), array, &options).unwrap_err();
    for k in [0, 21] {
        assert!(matches!(refused(&array, options(k)), Error::BadArgument { argument: "k", .. }));
    }
    let none = Array::from_nalgebra(&DMatrix::<f64>::zeros(0, 4));
    assert!(matches!(refused(&none, options(1)), Error::BadArgument { .. }));
    let short = LanczosOptions { centre: Centre::Row(vec![1.0; 3]), ..options(2) };
    assert!(matches!(refused(&array, short), Error::ShapeMismatch { .. }));
    assert!(matches!(refused(&array, LanczosOptions { tolerance: 0.0, ..options(2) }), Error::BadArgument { .. }));
    let wide = Array::zeros(10_000, 1 << 22, DType::F32, BlockKind::Csr).unwrap();
    assert!(matches!(refused(&wide, options(50)), Error::TooBig { .. }));
    for bad in [f64::NAN, f64::INFINITY] {
        let mut a = a.clone();
        a[(17, 3)] = bad;
        for array in both_kinds(&a, 8) {
            let error = refused(&array, options(2));
            assert!(matches!(error, Error::NonFinite { row: 17, col: 3, .. }), "{error}");
        }
    }
}

#[test]
fn not_to_converge_is_an_error_with_the_residual() {
    let array = Array::from_nalgebra(&noise(300, 200, 6));
    let error = lanczos(&cluster(1), &array, &LanczosOptions { max_iterations: 2, ..options(5) }).unwrap_err();
    let real = |r: f64| r > 1e-10 && r < 1.0;
    assert!(matches!(error, Error::NoConvergence { iterations: 2, residual: Some(r), .. } if real(r)), "{error}");
    assert!(error.to_string().contains("allow more iterations"), "{error}");
}
