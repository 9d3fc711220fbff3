//! The kernels against naive sums, nalgebra and matrices whose answer is known.

use super::*;
use crate::linalg::testing::noise;

fn row_major(a: &DMatrix<f64>) -> Vec<f64> {
    a.transpose().as_slice().to_vec()
}

/// Errors of sums of n products of numbers below one: n ε, with room for the order of summation.
fn close(a: &DMatrix<f64>, b: &DMatrix<f64>, n: usize) -> bool {
    a.shape() == b.shape() && (a - b).amax() <= 4.0 * n as f64 * f64::EPSILON
}

#[test]
fn products_equal_naive_sums_at_every_shape_that_could_differ() {
    for (n, p, k) in [(1, 1, 1), (7, 3, 2), (64, 33, 17), (130, 5, 40), (0, 4, 3)] {
        let (x, v, t) = (noise(n, p, 1), noise(p, k, 2), noise(n, k, 3));
        let mut gram = DMatrix::from_element(p, p, 0.25);
        gram_upper(&row_major(&x), n, p, &mut gram).unwrap();
        let expected = DMatrix::from_fn(p, p, |i, j| {
            0.25 + if i <= j { (0..n).map(|r| x[(r, i)] * x[(r, j)]).sum::<f64>() } else { 0.0 }
        });
        assert!(close(&gram, &expected, n + 1), "gram of {n} × {p}");

        let mut out = vec![f64::NAN; n * k];
        rows_times_components(&row_major(&x), n, &v.transpose(), &mut out).unwrap();
        let naive = DMatrix::from_fn(n, k, |i, j| (0..p).map(|l| x[(i, l)] * v[(l, j)]).sum::<f64>());
        assert!(close(&DMatrix::from_row_slice(n, k, &out), &naive, p), "rows_times_components {n} × {p} × {k}");
        assert!(close(&gemm(&x, &v).unwrap(), &naive, p), "gemm {n} × {p} × {k}");

        let mut acc = DMatrix::from_element(k, p, 1.0);
        add_transposed_times(&row_major(&t), &row_major(&x), n, &mut acc).unwrap();
        let naive = DMatrix::from_fn(k, p, |i, j| 1.0 + (0..n).map(|r| t[(r, i)] * x[(r, j)]).sum::<f64>());
        assert!(close(&acc, &naive, n + 1), "transposed {n} × {p} × {k}");
    }
}

#[test]
fn sizes_that_do_not_meet_are_refused() {
    let mut acc = DMatrix::zeros(2, 2);
    assert!(matches!(gram_upper(&[1.0; 5], 2, 2, &mut acc), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(gram_upper(&[1.0; 6], 2, 3, &mut acc), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(gemm(&acc, &DMatrix::zeros(3, 1)), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(rows_times_components(&[1.0; 4], 2, &acc, &mut [0.0; 3]), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(add_transposed_times(&[1.0; 4], &[1.0; 3], 2, &mut acc), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(eigh(&DMatrix::zeros(2, 3), 1), Err(Error::ShapeMismatch { .. })));
}

#[test]
fn r_is_upper_trapezoidal_not_negative_on_the_diagonal_and_keeps_the_gram() {
    for (m, n) in [(200, 30), (30, 30), (5, 12), (1, 1), (1, 4), (0, 3), (3, 0)] {
        let a = noise(m, n, 4);
        let r = qr_r(a.clone());
        assert_eq!(r.shape(), (m.min(n), n));
        assert!((0..r.nrows()).all(|i| r[(i, i)] >= 0.0 && (0..i).all(|j| r[(i, j)] == 0.0)));
        assert!(close(&(r.transpose() * &r), &(a.transpose() * &a), m + n), "{m} × {n}");
    }
}

#[test]
fn thin_qr_multiplies_back_and_its_columns_are_orthonormal() {
    for (m, n) in [(200, 30), (70, 70), (5, 12), (33, 90), (0, 3)] {
        let a = noise(m, n, 5);
        let (q, r) = qr_thin(&a);
        assert!(close(&(&q * &r), &a, m + n));
        assert!(close(&(q.transpose() * &q), &DMatrix::identity(m.min(n), m.min(n)), m + n));
        assert!(close(&r, &qr_r(a), 8 * (m + n)), "thin or not, R is the same");
    }
}

#[test]
fn columns_that_depend_on_others_cost_no_accuracy() {
    // Column 3 is column 0 + 2^-44 noise; 4 is zero; 5 is twice column 1.
    let mut a = noise(600, 6, 6);
    let tiny = noise(600, 1, 7) * 2f64.powi(-44);
    let (near, double) = (a.column(0) + tiny.column(0), a.column(1) * 2.0);
    a.set_column(3, &near);
    a.column_mut(4).fill(0.0);
    a.set_column(5, &double);
    let (q, r) = qr_thin(&a);
    assert!(close(&(&q * &r), &a, 606) && close(&(q.transpose() * &q), &DMatrix::identity(6, 6), 606));
    let s = svd_small(&qr_r(a.clone())).unwrap().s;
    let reference = a.svd(false, false).singular_values;
    for (found, expected) in s.iter().zip(reference.iter()) {
        // Householder QR and a small SVD: a few ε of the largest singular value, which is about 10.
        assert!((found - expected).abs() < 1e-14, "{s:?} {reference:?}");
    }
}

#[test]
fn values_whose_squares_overflow_or_vanish_keep_their_r() {
    for exponent in [-900, 900] {
        let a = noise(40, 5, 8);
        let scale = 2f64.powi(exponent);
        assert_eq!(qr_r(&a * scale), qr_r(a) * scale, "a power of two changes no bit");
    }
}

#[test]
fn svd_of_a_known_spectrum_finds_it() {
    let (q, _) = qr_thin(&noise(60, 8, 9));
    let (v, _) = qr_thin(&noise(8, 8, 10));
    let spectrum = [1e3, 10.0, 1.0, 0.5, 1e-2, 1e-6, 1e-9, 0.0];
    let a = &q * DMatrix::from_diagonal(&spectrum.to_vec().into()) * v.transpose();
    let found = svd_small(&a).unwrap();
    // Backward stability: each singular value to a few ε of the largest.
    assert!(found.s.iter().zip(spectrum).all(|(f, e)| (f - e).abs() < 1e-12 * 1e3), "{:?}", found.s);
    let back = &found.u * DMatrix::from_diagonal(&found.s.into()) * &found.vt;
    assert!((back - &a).amax() < 1e-12 * 1e3);
    let wide = svd_small(&a.transpose()).unwrap();
    let back = &wide.u * DMatrix::from_diagonal(&wide.s.clone().into()) * &wide.vt;
    assert!((back - a.transpose()).amax() < 1e-12 * 1e3);
    assert_eq!((wide.u.shape(), wide.vt.shape()), ((8, 8), (8, 60)));
    assert_eq!(svd_small(&DMatrix::zeros(0, 3)).unwrap().s.len(), 0);
}

#[test]
fn eigenvectors_come_largest_first_and_k_cuts_them() {
    let a = DMatrix::from_row_slice(3, 3, &[2.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 4.0, 9.0]);
    let found = eigh(&a, 2).unwrap();
    // By hand: 11, 2, 1.
    assert!((found.values[0] - 11.0).abs() < 1e-14 && (found.values[1] - 2.0).abs() < 1e-14);
    assert_eq!(found.vectors.shape(), (3, 2));
    for j in 0..2 {
        let v = found.vectors.column(j);
        assert!((&a * v - v * found.values[j]).amax() < 1e-14 && (v.norm() - 1.0).abs() < 1e-15);
    }
    assert_eq!(eigh(&a, 9).unwrap().values.len(), 3);
}

#[test]
fn cholesky_gives_the_r_of_qr_and_solving_with_it_gives_q() {
    let a = noise(300, 20, 11);
    let mut gram = DMatrix::zeros(20, 20);
    gram_upper(&row_major(&a), 300, 20, &mut gram).unwrap();
    let r = cholesky_r(&gram).unwrap();
    // Both are accurate to ε times the square of the condition number, which is about 2 here.
    assert!(close(&r, &qr_r(a.clone()), 8 * 320));
    let mut rows = row_major(&a);
    solve_rows(&r, &mut rows).unwrap();
    let q = DMatrix::from_row_slice(300, 20, &rows);
    assert!(close(&(q.transpose() * &q), &DMatrix::identity(20, 20), 320) && close(&(q * r), &a, 320));
}

#[test]
fn cholesky_refuses_what_is_not_positive_definite() {
    assert!(cholesky_r(&DMatrix::from_row_slice(2, 2, &[1.0, 2.0, 0.0, 1.0])).is_none());
    assert!(cholesky_r(&DMatrix::zeros(1, 1)).is_none());
    assert!(cholesky_r(&DMatrix::from_element(1, 1, f64::NAN)).is_none());
    assert_eq!(cholesky_r(&DMatrix::zeros(0, 0)).unwrap().shape(), (0, 0));
}

#[test]
fn iterations_refuse_values_that_are_not_finite() {
    let mut a = DMatrix::identity(4, 4);
    a[(2, 1)] = f64::NAN;
    assert!(matches!(svd_small(&a), Err(Error::NonFinite { row: 2, col: 1, .. })));
    assert!(matches!(eigh(&a, 4), Err(Error::NonFinite { row: 2, col: 1, .. })));
}
