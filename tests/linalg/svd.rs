//! SVD of known spectra, odd shapes and bad input.

use std::sync::{Arc, Mutex};

use allotment::array::{Array, BlockKind, DType, random};
use allotment::io::npy;
use allotment::linalg::{SvdMethod, SvdOptions, SvdSolver, svd, tsqr};
use allotment::runtime::{RunReport, Scheduler};
use allotment::{Cluster, Error};
use nalgebra::DMatrix;

use super::{close, cluster, noise, to_matrix, with_spectrum};

#[test]
fn a_known_spectrum_is_found_with_vectors_that_multiply_back() {
    let (cluster, spectrum) = (cluster(2), [100.0, 10.0, 3.0, 2.9999, 0.1]);
    let a = with_spectrum(331, &spectrum, 1);
    for kind in [BlockKind::Dense, BlockKind::Csr] {
        let array = Array::from_nalgebra(&a).with_block_rows(50);
        let array = if kind == BlockKind::Csr { array.to_csr().unwrap() } else { array };
        let options = SvdOptions { compute_u: true, ..Default::default() };
        let found = svd(&cluster, &array, &options).unwrap();
        // Each singular value to a few ε of the largest.
        assert!(found.s.iter().zip(spectrum).all(|(f, e)| (f - e).abs() < 1e-13 * 100.0), "{:?}", found.s);
        let u = to_matrix(&cluster, found.u.as_ref().unwrap());
        let back = &u * DMatrix::from_diagonal(&found.s.clone().into()) * found.vt_matrix(&cluster).unwrap();
        assert!((back - &a).amax() < 1e-13 * 100.0);
        // U = A V Σ⁻¹ is orthogonal to ε s₀/σ, 1000 ε here; and what is reported is what is there.
        let true_orthogonality = (u.transpose() * &u - DMatrix::identity(5, 5)).amax();
        assert!(true_orthogonality < 1e-11 && found.orthogonality < 1e-11);
        // Rounding alone gives ε (s₀/σ)².
        let bound = |j: usize| 1e-14 * (spectrum[0] / spectrum[j]).powi(2);
        assert!((0..5).all(|j| found.residuals[j] < bound(j)), "{:?}", found.residuals);
        assert_eq!((found.rank, found.shape), (5, (331, 5)));
    }
}

#[test]
fn the_residuals_notice_an_error_of_one_part_in_a_billion() {
    // U from one matrix, checked against another that differs a little: what svd sums, written out.
    let (cluster, a) = (cluster(1), noise(200, 3, 2));
    let found = svd(&cluster, &Array::from_nalgebra(&a), &SvdOptions::default()).unwrap();
    let other = &a + noise(200, 3, 3) * 1e-9;
    let (v, s) = (found.vt_matrix(&cluster).unwrap().row(0).transpose(), found.s[0]);
    let residual = (other.transpose() * (&other * &v) / s - &v * s).norm() / s;
    assert!(residual > 1e-11 && found.residuals[0] < 1e-14, "{residual:e} {:?}", found.residuals);
}

#[test]
fn any_number_of_workers_and_the_serial_scheduler_give_the_same_bits() {
    let array = random::uniform(5000, 30, 7, 171);
    let options = SvdOptions { compute_u: true, ..Default::default() };
    let first = svd(&cluster(1), &array, &options).unwrap();
    let serial = Cluster::builder().allowance("256MiB".parse().unwrap()).scheduler(Scheduler::Serial).build().unwrap();
    for cluster in [cluster(2), cluster(5), serial] {
        let other = svd(&cluster, &array, &options).unwrap();
        assert_eq!((&first.s, &first.residuals), (&other.s, &other.residuals));
        assert_eq!(first.vt_matrix(&cluster).unwrap(), other.vt_matrix(&cluster).unwrap());
        assert_eq!(first.orthogonality.to_bits(), other.orthogonality.to_bits());
    }
}

#[test]
fn rank_deficient_and_zero_matrices_have_an_svd() {
    let (cluster, mut a) = (cluster(2), noise(300, 6, 4));
    let double = a.column(0) * 2.0;
    a.set_column(4, &double);
    a.column_mut(2).fill(0.0);
    let options = SvdOptions { compute_u: true, ..Default::default() };
    let found = svd(&cluster, &Array::from_nalgebra(&a).with_block_rows(64), &options).unwrap();
    assert_eq!(found.rank, 4);
    assert!(found.orthogonality < 1e-13 && found.residuals.iter().all(|&r| r < 1e-13), "{found:?}");
    let u = to_matrix(&cluster, found.u.as_ref().unwrap());
    let vt = found.vt_matrix(&cluster).unwrap();
    assert!((u * DMatrix::from_diagonal(&found.s.into()) * vt - &a).amax() < 1e-13);

    let zero = Array::zeros(20, 3, DType::F64, BlockKind::Csr).unwrap();
    let found = svd(&cluster, &zero, &options).unwrap();
    assert_eq!((found.s, found.rank, found.residuals), (vec![0.0; 3], 0, vec![0.0; 3]));
    assert_eq!((found.orthogonality, to_matrix(&cluster, &found.u.unwrap()).amax()), (0.0, 0.0));
}

#[test]
fn one_row_one_column_and_no_column_are_fine() {
    let cluster = cluster(2);
    let one = svd(&cluster, &Array::from_rows(&[[-3.0]]).unwrap(), &SvdOptions::default()).unwrap();
    assert_eq!((one.vt_matrix(&cluster).unwrap()[(0, 0)], one.s), (1.0, vec![3.0]));
    let column = svd(&cluster, &Array::from_nalgebra(&noise(100, 1, 5)), &SvdOptions::default()).unwrap();
    assert!((column.s[0] - noise(100, 1, 5).norm()).abs() < 1e-14);
    for rows in [0, 4] {
        let none = Array::zeros(rows, 0, DType::F64, BlockKind::Dense).unwrap();
        let found = svd(&cluster, &none, &SvdOptions { compute_u: true, ..Default::default() }).unwrap();
        assert_eq!((found.s.len(), found.vt.shape(), found.u.unwrap().shape()), (0, (0, 0), (rows, 0)));
    }
}

#[test]
fn a_wide_matrix_has_the_svd_of_its_transpose_with_u_and_v_exchanged() {
    let (cluster, spectrum) = (cluster(2), [5.0, 3.0, 1.0, 0.1, 0.0]);
    let a = with_spectrum(211, &spectrum, 8).transpose();
    let x = Array::from_nalgebra(&a);
    let grids = [x.clone(), x.clone().with_block_rows(2), x.clone().rechunk(2, 50), x.to_csr().unwrap().rechunk(5, 7)];
    for x in grids {
        let found = svd(&cluster, &x, &SvdOptions { compute_u: true, ..Default::default() }).unwrap();
        assert!(found.s.iter().zip(spectrum).all(|(f, e)| (f - e).abs() < 1e-14 * 5.0), "{:?}", found.s);
        assert_eq!((found.rank, found.shape, found.vt.shape()), (4, (5, 211), (5, 211)));
        assert!(matches!(found.method, SvdMethod::TransposedTsqr(_)), "{:?}", found.method);
        let (u, vt) = (to_matrix(&cluster, found.u.as_ref().unwrap()), found.vt_matrix(&cluster).unwrap());
        assert!((&u * DMatrix::from_diagonal(&found.s.clone().into()) * &vt - &a).amax() < 1e-13);
        for row in vt.row_iter().take(4) {
            assert!(row[row.iamax_full().1] > 0.0, "the largest entry of a right vector is positive");
        }
        assert!(found.orthogonality < 1e-12 && found.residuals.iter().all(|r| *r < 1e-12), "{:?}", found.residuals);
        assert_eq!(vt.row(4).amax(), 0.0, "beyond the rank");
    }
    let mut bad = a;
    bad[(2, 77)] = f64::NAN;
    let error = svd(&cluster, &Array::from_nalgebra(&bad), &SvdOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 2, col: 77, .. }), "{error}");
}

#[test]
fn a_wide_array_is_read_once_a_pass_from_chunks_and_from_a_file_once_for_each_run_of_columns() {
    let (cluster, home) = (cluster(2), tempfile::tempdir().unwrap());
    let path = home.path().join("wide.npy");
    npy::save_array(&cluster, &random::normal(20, 50_000, 5, None), &path, None).unwrap();
    let file = Array::from_source(Arc::new(npy::open(&path).unwrap()));
    let read = |x: &Array| {
        let n_before = cluster.runs().len();
        let found = svd(&cluster, x, &SvdOptions::default()).unwrap();
        assert!(found.residuals.iter().all(|r| *r < 1e-13), "{:?}", found.residuals);
        // Steps on one lane, between the passes, read no block.
        let pass = |run: &RunReport| Some((run.tasks, run.bytes_read?));
        let passes: Vec<_> = cluster.runs()[n_before..].iter().filter_map(pass).collect();
        (found.s, passes)
    };
    let bytes = 20 * 50_000 * 8;
    let (expected, from_file) = read(&file);
    assert!(from_file.len() == 2 && from_file.iter().all(|(tasks, read)| *tasks > 1 && *read == *tasks as u64 * bytes));
    let (found, from_chunks) = read(&file.persist(&cluster).unwrap());
    assert!(close(&found, &expected, 1e-14), "on whichever runs of columns");
    assert!(from_chunks.len() == 2 && from_chunks.iter().all(|(_, read)| *read == bytes), "{from_chunks:?}");
}

#[test]
fn a_tall_matrix_on_a_grid_with_block_columns_has_the_same_svd() {
    let (cluster, a) = (cluster(2), noise(300, 24, 9));
    let x = Array::from_nalgebra(&a).rechunk(70, 9);
    let expected = svd(&cluster, &Array::from_nalgebra(&a), &SvdOptions::default()).unwrap();
    for x in [x.clone(), x.persist(&cluster).unwrap(), x.transpose().persist(&cluster).unwrap().transpose()] {
        let found = svd(&cluster, &x, &SvdOptions::default()).unwrap();
        assert!(close(&found.s, &expected.s, 1e-14));
        let off = found.vt_matrix(&cluster).unwrap() - expected.vt_matrix(&cluster).unwrap();
        // ε over the relative gap between singular values of noise, about 1e-3.
        assert!(off.amax() < 1e-11 && matches!(found.method, SvdMethod::Tsqr(_)));
    }
}

#[test]
fn where_reflections_do_not_fit_but_a_gram_does_the_refusal_names_the_gram() {
    let tight = Cluster::builder().allowance("10MiB".parse().unwrap()).workers(1).build().unwrap();
    let x = random::normal(2000, 400, 3, 100);
    let error = svd(&tight, &x, &SvdOptions::default()).unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }) && error.to_string().contains("SvdSolver::Gram"), "{error}");
    let found = svd(&tight, &x, &SvdOptions { solver: SvdSolver::Gram, ..Default::default() }).unwrap();
    assert_eq!(found.method, SvdMethod::Gram);
    let expected = svd(&cluster(2), &x, &SvdOptions::default()).unwrap();
    assert!(matches!(expected.method, SvdMethod::Tsqr(_)));
    // Noise this tall has a condition number of 3, which may well be squared.
    assert!(found.rank == 400 && close(&found.s, &expected.s, 1e-13));
    assert!(found.orthogonality < 1e-12 && found.residuals.iter().all(|r| *r < 1e-12));
}

#[test]
fn tsqr_of_a_wide_matrix_has_as_many_rows_as_the_matrix() {
    let a = noise(4, 9, 6);
    let r = tsqr(&cluster(2), &Array::from_nalgebra(&a).with_block_rows(3), None).unwrap().r;
    assert_eq!(r.shape(), (4, 9));
    assert!((r.transpose() * &r - a.transpose() * &a).amax() < 1e-14);
}

#[test]
fn what_cannot_be_done_is_refused_with_what_to_do_instead() {
    let cluster = cluster(2);
    let large = random::uniform(100_000, 20_000, 1, None);
    let error = svd(&cluster, &large, &SvdOptions::default()).unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }) && error.to_string().contains("20000 columns"), "{error}");
    let absurd = Array::zeros(1 << 60, 1 << 31, DType::F32, BlockKind::Csr).unwrap();
    let error = svd(&cluster, &absurd, &SvdOptions::default()).unwrap_err().to_string();
    assert!(error.contains("2147483648 but must be at most"), "{error}");
    let mut a = noise(500, 4, 8);
    a[(321, 3)] = f64::NEG_INFINITY;
    let array = Array::from_nalgebra(&a).with_block_rows(100);
    let error = svd(&cluster, &array, &SvdOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 321, col: 3, .. }), "{error}");
}

#[test]
fn progress_runs_once_through_both_passes() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let progress: allotment::runtime::Progress = Arc::new(move |done, total| told.lock().unwrap().push((done, total)));
    let options = SvdOptions { progress: Some(progress), ..Default::default() };
    svd(&cluster(1), &random::uniform(40, 2, 1, 10), &options).unwrap();
    let expected: Vec<_> = (1..=8).map(|done| (done, 8)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}
