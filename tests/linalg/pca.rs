//! PCA of known spectra, every layout, and bad input.

use allotment::array::{Array, BlockKind, BlockMap, CsrBlock, DType};
use allotment::linalg::{Components, Pca, PcaOptions, PcaSolver, pca};
use allotment::{Cluster, Error};
use nalgebra::DMatrix;

use super::{close, cluster, noise, to_matrix, with_spectrum};

/// Those that know all variances.
const EXACT: [PcaSolver; 2] = [PcaSolver::CovarianceEigh, PcaSolver::Tsqr];
const ALL: [PcaSolver; 4] = [PcaSolver::CovarianceEigh, PcaSolver::Tsqr, PcaSolver::Lanczos, PcaSolver::Randomized];

fn options(components: usize) -> PcaOptions {
    by(PcaSolver::Auto, components)
}

fn by(solver: PcaSolver, components: usize) -> PcaOptions {
    PcaOptions { components: components.into(), solver, ..Default::default() }
}

/// The same by the textbook: centre, SVD of the whole.
fn naive(x: &DMatrix<f64>) -> (Vec<f64>, DMatrix<f64>) {
    let mut centred = x.clone();
    for mut column in centred.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    let svd = centred.svd(false, true);
    let variances = svd.singular_values.iter().map(|s| s * s / (x.nrows() as f64 - 1.0)).collect();
    (variances, svd.v_t.unwrap())
}

fn scores_of(cluster: &Cluster, found: &Pca) -> DMatrix<f64> {
    to_matrix(cluster, &found.scores)
}

#[test]
fn components_scores_and_variances_equal_the_naive_ones_in_every_layout() {
    let cluster = cluster(2);
    // Small integers with many zeros, so that every dtype holds the same matrix exactly.
    let x = noise(203, 7, 1).map(|v| (v * 20.0).round().max(0.0));
    let (variances, vt) = naive(&x);
    let dense = Array::from_nalgebra(&x);
    let layouts = [
        dense.clone(),
        dense.astype(DType::F32),
        dense.astype(DType::U8),
        dense.to_csr().unwrap(),
        dense.astype(DType::U16).to_csr().unwrap(),
    ];
    for (i, layout) in layouts.iter().enumerate() {
        for (rows, solver) in [203, 40, 3].into_iter().flat_map(|rows| EXACT.map(|solver| (rows, solver))) {
            let found = pca(&cluster, &layout.clone().with_block_rows(rows), &by(solver, 4)).unwrap();
            assert_eq!(found.solver, solver);
            assert!(close(&found.explained_variance, &variances[..4], 1e-13), "layout {i}, {rows} rows a block");
            let scores = scores_of(&cluster, &found);
            for (j, expected) in variances[..4].iter().enumerate() {
                // Vectors are good to ε over the relative gap between variances, a few percent here.
                assert!((found.components.row(j).dot(&vt.row(j)).abs() - 1.0).abs() < 1e-12);
                let row = found.components.row(j);
                assert!(row[row.iamax_full().1] > 0.0, "the largest entry is positive");
                let variance = scores.column(j).norm_squared() / 202.0;
                assert!((variance / expected - 1.0).abs() < 1e-12 && scores.column(j).mean().abs() < 1e-12);
            }
            assert!(found.residuals.iter().all(|&residual| residual < 1e-13), "{:?}", found.residuals);
            assert_eq!(found.n_samples, 203);
        }
    }
}

#[test]
fn ratios_and_noise_account_for_all_variance() {
    let (cluster, x) = (cluster(2), noise(100, 6, 2));
    let (variances, _) = naive(&x);
    let total: f64 = variances.iter().sum();
    for (k, solver) in [1, 4, 6].into_iter().flat_map(|k| EXACT.map(|solver| (k, solver))) {
        let found = pca(&cluster, &Array::from_nalgebra(&x), &by(solver, k)).unwrap();
        let ratios: Vec<f64> = variances[..k].iter().map(|v| v / total).collect();
        assert!(close(&found.explained_variance_ratio, &ratios, 1e-13));
        let left: f64 = variances[k..].iter().sum();
        let expected = if k == 6 { 0.0 } else { left / (6 - k) as f64 };
        assert!((found.noise_variance - expected).abs() < 1e-15, "k = {k}");
    }
    let population = PcaOptions { ddof: 0, ..options(2) };
    let found = pca(&cluster, &Array::from_nalgebra(&x), &population).unwrap();
    let expected: Vec<f64> = variances[..2].iter().map(|v| v * 99.0 / 100.0).collect();
    assert!(close(&found.explained_variance, &expected, 1e-13), "1/n instead of 1/(n − 1)");
}

#[test]
fn a_mean_a_million_times_the_deviation_costs_no_digits() {
    let (cluster, x) = (cluster(2), with_spectrum(300, &[3.0, 2.0, 1.0, 0.5], 3));
    let (variances, _) = naive(&x);
    // Rounding x + 2^20 to f64 moves values by 2^-33, which is 1e-9 of the smallest deviation (0.5 / √300).
    let far = Array::from_nalgebra(&x.add_scalar(2f64.powi(20))).with_block_rows(64);
    let arrays = [far.clone(), far.to_csr().unwrap()];
    for (array, solver) in arrays.iter().flat_map(|array| EXACT.map(|solver| (array, solver))) {
        let found = pca(&cluster, array, &by(solver, 4)).unwrap();
        assert!(close(&found.explained_variance, &variances, 1e-7), "{:?} {variances:?}", found.explained_variance);
        let scores = scores_of(&cluster, &found);
        assert!((scores.column(0).norm_squared() / 299.0 / variances[0] - 1.0).abs() < 1e-7);
        assert!(found.residuals.iter().all(|&residual| residual < 1e-13), "{:?}", found.residuals);
    }
}

#[test]
fn any_number_of_workers_gives_the_same_bits() {
    let x = allotment::array::random::normal(3000, 20, 11, 101);
    for solver in EXACT {
        let run = |workers| {
            let cluster = cluster(workers);
            let found = pca(&cluster, &x, &by(solver, 5)).unwrap();
            let scores = scores_of(&cluster, &found);
            (found.components, found.explained_variance, found.residuals, scores)
        };
        let first = run(1);
        assert!([2, 5].into_iter().all(|workers| run(workers) == first), "{solver:?}");
    }
}

#[test]
fn transform_gives_the_scores_again_and_inverse_transform_the_rows() {
    let (cluster, x) = (cluster(2), noise(120, 5, 4).add_scalar(3.0));
    let array = Array::from_nalgebra(&x).with_block_rows(50);
    let found = pca(&cluster, &array, &options(5)).unwrap();
    let scores = to_matrix(&cluster, &found.transform(&array).unwrap());
    // Values of a few units, products of five of them.
    assert!((&scores - scores_of(&cluster, &found)).amax() < 1e-14);
    let back = to_matrix(&cluster, &found.inverse_transform(&found.scores).unwrap());
    assert!((back - x).amax() < 1e-14);
    let narrow = Array::from_nalgebra(&noise(3, 4, 5));
    assert!(matches!(found.transform(&narrow), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(found.inverse_transform(&narrow), Err(Error::ShapeMismatch { .. })));
}

#[test]
fn transform_loses_no_digits_to_a_mean_a_billion_times_the_deviation() {
    let cluster = cluster(2);
    // Steps of 2^-10 around 2^30 are exact in f64.
    let steps = noise(200, 3, 16).map(|x| (x * 64.0).round() / 1024.0);
    let far = Array::from_nalgebra(&steps.add_scalar(2f64.powi(30))).with_block_rows(64);
    for far in [far.clone(), far.to_csr().unwrap()] {
        let found = pca(&cluster, &far, &options(3)).unwrap();
        let (scores, again) = (scores_of(&cluster, &found), to_matrix(&cluster, &found.transform(&far).unwrap()));
        // The mean, of which there is one f64, is off by up to 2^-24; the deviations are about 2^-6.
        assert!((&scores - &again).amax() < 2f64.powi(-22), "{}", (&scores - &again).amax());
        let span = |m: &DMatrix<f64>| m.row(0) - m.row(1);
        assert!((span(&scores) - span(&again)).amax() < 1e-15, "differences of scores do not know the mean");
    }
}

#[test]
fn constant_columns_and_constant_matrices_have_no_variance_there() {
    let (cluster, mut x) = (cluster(2), noise(50, 4, 6));
    x.column_mut(1).fill(7.25);
    for solver in EXACT {
        let found = pca(&cluster, &Array::from_nalgebra(&x), &by(solver, 4)).unwrap();
        assert!(found.explained_variance[3] < 1e-15 && found.components.row(0)[1].abs() < 1e-14);
        assert!(found.residuals.iter().all(|&residual| residual < 1e-13), "{:?}", found.residuals);
    }
    let kinds = [BlockKind::Dense, BlockKind::Csr];
    for (kind, solver) in kinds.into_iter().flat_map(|kind| EXACT.map(|solver| (kind, solver))) {
        let zeros = Array::zeros(10, 3, DType::U8, kind).unwrap();
        let found = pca(&cluster, &zeros, &by(solver, 2)).unwrap();
        assert_eq!((found.explained_variance, found.explained_variance_ratio), (vec![0.0; 2], vec![0.0; 2]));
        assert_eq!((found.residuals, found.noise_variance), (vec![0.0; 2], 0.0));
    }
}

#[test]
fn more_columns_than_rows_are_fine() {
    let (cluster, x) = (cluster(2), noise(6, 40, 7));
    let (variances, _) = naive(&x);
    for (rows, solver) in [1, 4].into_iter().flat_map(|rows| EXACT.map(|solver| (rows, solver))) {
        let found = pca(&cluster, &Array::from_nalgebra(&x).with_block_rows(rows), &by(solver, 6)).unwrap();
        assert!(close(&found.explained_variance[..5], &variances[..5], 1e-12));
        assert!(found.explained_variance[5] < 1e-15, "six rows span five directions");
    }
}

#[test]
fn a_share_of_the_variance_takes_the_least_number_of_components_that_hold_more() {
    // Variances of 16, 4, 1 and 0.25 parts: 75.3 %, 94.1 %, 98.8 % and all.
    let (cluster, x) = (cluster(2), with_spectrum(500, &[4.0, 2.0, 1.0, 0.5], 8));
    let x = Array::from_nalgebra(&x).with_block_rows(100);
    let shares: Vec<f64> = pca(&cluster, &x, &options(4)).unwrap().explained_variance_ratio;
    let (two, three) = (shares[0] + shares[1], shares[0] + shares[1] + shares[2]);
    for solver in EXACT {
        for (share, k) in [(0.1, 1), (two - 1e-9, 2), (two + 1e-9, 3), (three + 1e-9, 4), (1.0 - 1e-12, 4)] {
            let options = PcaOptions { components: Components::Variance(share), ..by(solver, 1) };
            let found = pca(&cluster, &x, &options).unwrap();
            assert_eq!((found.components.nrows(), found.scores.cols()), (k, k as u64), "{share} by {solver:?}");
        }
        let constant = Array::zeros(9, 3, DType::F64, BlockKind::Dense).unwrap();
        let options = PcaOptions { components: 0.5.into(), ..by(solver, 1) };
        assert_eq!(pca(&cluster, &constant, &options).unwrap().explained_variance, [0.0]);
    }
    for share in [0.0, 1.0, -0.5, 1.5, f64::NAN] {
        let error = pca(&cluster, &x, &PcaOptions { components: share.into(), ..options(1) }).unwrap_err().to_string();
        assert!(error.contains("above 0 and below 1"), "{error}");
    }
}

#[test]
fn all_solvers_find_the_same_components_variances_and_ratios() {
    let cluster = cluster(2);
    // Every direction's deviation is two thirds of the one before it: iterations settle, and no solver is at its limit.
    let spectrum: Vec<f64> = (0..24).map(|i| 1.5f64.powi(-i)).collect();
    let x = with_spectrum(400, &spectrum, 13).add_scalar(0.5);
    let dense = Array::from_nalgebra(&x).with_block_rows(77);
    let expected = pca(&cluster, &dense, &by(PcaSolver::CovarianceEigh, 6)).unwrap();
    for (array, solver) in [dense.clone(), dense.to_csr().unwrap()].iter().flat_map(|x| ALL.map(|s| (x, s))) {
        let found = pca(&cluster, array, &by(solver, 6)).unwrap();
        // The deviation to 1e-3 where it is sketched; to rounding elsewhere.
        let tolerance = if solver == PcaSolver::Randomized { 2e-3 } else { 1e-12 };
        assert!(close(&found.explained_variance, &expected.explained_variance, tolerance), "{solver:?}");
        assert!(close(&found.explained_variance_ratio, &expected.explained_variance_ratio, tolerance), "{solver:?}");
        assert!(close(&[found.noise_variance], &[expected.noise_variance], 2e-2), "{solver:?}");
        assert!(close(&found.mean, &expected.mean, 1e-13));
        let off = (&found.components - &expected.components).amax();
        let worst = found.residuals.iter().copied().fold(0.0, f64::max);
        // A vector errs by its residual over the relative gap to the next value, 1 − 1/1.5².
        assert!(off < 3.0 * worst.max(1e-13) && worst < 5e-2, "{solver:?}: {off:e}, residual {worst:e}");
        assert_eq!((found.solver, found.scores.shape()), (solver, (400, 6)));
    }
}

#[test]
fn iterating_solvers_do_not_mind_constant_columns_fewer_rows_than_columns_and_no_variance() {
    let cluster = cluster(2);
    for solver in [PcaSolver::Lanczos, PcaSolver::Randomized] {
        let mut x = noise(9, 30, 14);
        x.column_mut(3).fill(-2.0);
        let expected = pca(&cluster, &Array::from_nalgebra(&x), &by(PcaSolver::CovarianceEigh, 9)).unwrap();
        let found = pca(&cluster, &Array::from_nalgebra(&x).with_block_rows(4), &by(solver, 9)).unwrap();
        let tolerance = if solver == PcaSolver::Randomized { 2e-3 } else { 1e-12 };
        assert!(close(&found.explained_variance[..8], &expected.explained_variance[..8], tolerance), "{solver:?}");
        // Nine rows vary along eight directions.
        assert!(found.explained_variance[8] < 1e-15 && found.components.column(3).rows(0, 8).amax() < 1e-13);
        let zeros = Array::zeros(10, 3, DType::U8, BlockKind::Csr).unwrap();
        let found = pca(&cluster, &zeros, &by(solver, 2)).unwrap();
        assert_eq!((found.explained_variance, found.residuals), (vec![0.0; 2], vec![0.0; 2]));
        let share = PcaOptions { components: 0.5.into(), ..by(solver, 2) };
        let error = pca(&cluster, &zeros, &share).unwrap_err().to_string();
        assert!(error.contains(solver.name()) && error.contains("covariance does"), "{error}");
        let mut bad = noise(50, 4, 15);
        bad[(31, 2)] = f64::NAN;
        let error = pca(&cluster, &Array::from_nalgebra(&bad).with_block_rows(20), &by(solver, 2)).unwrap_err();
        assert!(matches!(error, Error::NonFinite { row: 31, col: 2, .. }), "{error}");
    }
}

#[test]
fn auto_takes_the_covariance_while_it_is_moderate_and_lanczos_beyond_whatever_the_allowance() {
    let tight = Cluster::builder().allowance("48MiB".parse().unwrap()).workers(1).build().unwrap();
    let found = |cols, k| pca(&tight, &allotment::array::random::uniform(60, cols, 1, 20), &options(k));
    assert_eq!(found(40, 3).unwrap().solver, PcaSolver::CovarianceEigh);
    assert_eq!(found(6000, 3).unwrap().solver, PcaSolver::Lanczos);
    // 3000² numbers are 69 MiB.
    let error = found(3000, 3).unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }) && error.to_string().contains("--solver lanczos"), "{error}");
}

/// Rows of ten kinds, of which each has values in 200 columns of its own: 40 in a row, 60,000 columns in all.
fn kinds_of_rows(rows: u64) -> Array {
    let scatter = BlockMap::new("scatter", 60_000, DType::F32, BlockKind::Csr, |block, info| {
        let (rows, drawn) = block.shape();
        let place = |i: usize, j: usize| {
            let row = info.row_offset as usize + i;
            let kind = (2.0 * (row % 55) as f64).sqrt() as usize;
            ((kind * 200 + j * 5 + row * 7919 % 5) * 27) as u32
        };
        let indices: Vec<u32> = (0..rows * drawn).map(|at| place(at / drawn, at % drawn)).collect();
        let indptr: Vec<u64> = (0..=rows).map(|row| (row * drawn) as u64).collect();
        Ok(CsrBlock::new(rows, 60_000, indptr, indices, block.to_vec::<f32>())?.into())
    });
    allotment::array::random::uniform(rows, 40, 3, 250).map_blocks(scatter.with_bytes_per_row(40 * 24)).unwrap()
}

#[test]
fn sixty_thousand_sparse_columns_are_done_within_the_allowance() {
    let (cluster, x) = (cluster(2), kinds_of_rows(2000));
    let found = pca(&cluster, &x, &options(4)).unwrap();
    assert_eq!((found.solver, found.components.shape()), (PcaSolver::Lanczos, (4, 60_000)));
    // The tolerance is 1e-10 of the first variance, which is within ten times of the fourth.
    assert!(found.residuals.iter().all(|residual| *residual < 1e-8), "{:?}", found.residuals);
    let after = cluster.snapshot();
    let allowances = 2 * cluster.allowance();
    assert!(after.peak_reserved_bytes <= allowances && after.lone == 0, "{} {}", after.peak_reserved_bytes, after.lone);
}

#[test]
fn tsqr_finds_variances_that_the_covariance_cannot_hold() {
    // Deviations fall to 1e-10 of the largest, variances to 1e-20.
    let (cluster, spectrum) = (cluster(2), [1.0, 1e-3, 1e-6, 1e-10]);
    let mut x = with_spectrum(400, &spectrum, 12);
    x.column_iter_mut().for_each(|mut column| {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    });
    let expected: Vec<f64> = x.clone().svd(false, false).singular_values.iter().map(|s| s * s / 399.0).collect();
    let x = Array::from_nalgebra(&x).with_block_rows(77);
    let found = pca(&cluster, &x, &by(PcaSolver::Tsqr, 4)).unwrap();
    // A singular value is known to a few ε of the largest: 1e-5 of the smallest one.
    assert!(close(&found.explained_variance, &expected, 1e-4), "{:?} {expected:?}", found.explained_variance);
    let squared = pca(&cluster, &x, &by(PcaSolver::CovarianceEigh, 4)).unwrap();
    assert!((squared.explained_variance[3] / expected[3] - 1.0).abs() > 1.0, "else there would be no need for tsqr");
}

#[test]
fn requests_without_an_answer_are_refused_with_numbers() {
    let cluster = cluster(2);
    let run = |x: &DMatrix<f64>, options: PcaOptions| {
        pca(&cluster, &Array::from_nalgebra(x), &options).unwrap_err().to_string()
    };
    for rows in [0, 1] {
        let error = run(&DMatrix::zeros(rows, 3), options(1));
        assert!(error.contains(&format!("rows is {rows}")) && error.contains("at least 2"), "{error}");
    }
    let error = run(&noise(20, 3, 8), options(4));
    assert!(error.contains("components is 4") && error.contains("20 rows") && error.contains("3 columns"), "{error}");
    assert!(run(&noise(20, 3, 8), options(0)).contains("1 to 3"));
    assert!(run(&noise(20, 3, 8), PcaOptions { ddof: 20, ..options(1) }).contains("ddof is 20"));
    let wide = Array::zeros(10, 60_000, DType::F32, BlockKind::Csr).unwrap();
    let error = pca(&cluster, &wide, &by(PcaSolver::CovarianceEigh, 5)).unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }) && error.to_string().contains("--solver lanczos"), "{error}");
    for columns in [1 << 24, 1 << 31] {
        let absurd = Array::zeros(10, columns, DType::F32, BlockKind::Csr).unwrap();
        let error = pca(&cluster, &absurd, &options(5)).unwrap_err().to_string();
        assert!(error.contains("columns") && error.contains("select"), "{error}");
    }
}

#[test]
fn a_nan_is_refused_with_its_row_and_column_and_so_is_what_overflows() {
    let cluster = cluster(2);
    for kind in [BlockKind::Dense, BlockKind::Csr] {
        for (bad, row) in [(f64::NAN, 250), (f64::INFINITY, 7)] {
            let mut x = noise(300, 5, 9);
            x[(row, 4)] = bad;
            x[(299, 0)] = bad;
            let array = Array::from_nalgebra(&x).with_block_rows(100);
            let array = if kind == BlockKind::Csr { array.to_csr().unwrap() } else { array };
            for solver in EXACT {
                let error = pca(&cluster, &array, &by(solver, 2)).unwrap_err();
                assert!(matches!(error, Error::NonFinite { row: r, col: 4, .. } if r == row as u64), "{error}");
            }
        }
    }
    let mut x = noise(300, 5, 9);
    x[(3, 2)] = 1e200;
    let error = pca(&cluster, &Array::from_nalgebra(&x), &options(2)).unwrap_err().to_string();
    assert!(error.contains("too large in column 2"), "{error}");
}
