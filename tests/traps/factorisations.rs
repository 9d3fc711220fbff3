//! Traps of factorisations: rows 7, 9, 10, 26 and 27.

use allotment::array::{Array, Block, DenseBlock};
use allotment::linalg::{
    Components, LanczosOptions, LstsqOptions, PcaOptions, PcaSolver, QrOptions, SvdCompressedOptions, SvdOptions, gram,
    lanczos, lstsq, pca, qr, svd, svd_compressed, tsqr,
};
use nalgebra::{DMatrix, DVector};

use super::{assert_close, cluster, layouts, noise};

/// Row 7: partial grams of blocks were stacked along an axis of their own, and who did not sum over it had a cube; a guide
/// even named the wrong axis. The numbers are NumPy's `x.T @ x`.
#[test]
fn a_gram_of_any_number_of_blocks_is_one_square() {
    let expected = [
        [0.5810541335369247, 0.4036258443831902, 0.31343056588835283],
        [0.4036258443831902, 0.504028676541901, 0.30942863995441217],
        [0.31343056588835283, 0.30942863995441217, 0.37519979459641806],
    ];
    for x in layouts(&Array::from_nalgebra(&noise(7, 3, 9)), &[1, 2, 3, 7]) {
        let found = gram(&cluster(), &x, None).unwrap();
        assert_eq!(found.shape(), (3, 3));
        // Sums of seven products.
        assert_close(found.as_slice(), &expected.concat(), 7.0 * f64::EPSILON, "gram");
    }
}

/// Of noise(12, 3, 5) with columns scaled by 3, 2, 1 about 10, −5, 2, by scikit-learn's `PCA(2)`.
const VARIANCES: [f64; 2] = [0.7522060741388628, 0.2506444989715519];
const RATIOS: [f64; 2] = [0.6995948167324549, 0.23311376809040496];
const COMPONENTS: [[f64; 3]; 2] = [
    [0.9291747770173481, -0.36956206136715664, -0.00762342133293185],
    [0.36962927891641006, 0.9291104837588278, 0.01130951533762382],
];

fn twelve_cells() -> Array {
    let (scale, mean) = ([3.0, 2.0, 1.0], [10.0, -5.0, 2.0]);
    let unit = noise(12, 3, 5);
    Array::from_nalgebra(&DMatrix::from_fn(12, 3, |i, j| unit[(i, j)] * scale[j] + mean[j]))
}

/// Row 9: one library divides squares by n, another by n − 1, so that variances of the same data differ by n/(n − 1), and
/// ratios do not.
#[test]
fn the_covariance_is_divided_by_n_less_one_unless_asked_otherwise() {
    let cluster = cluster();
    for x in layouts(&twelve_cells(), &[5]) {
        for solver in [PcaSolver::CovarianceEigh, PcaSolver::Tsqr, PcaSolver::Lanczos] {
            let options = PcaOptions { components: Components::Count(2), solver, ..Default::default() };
            let sample = pca(&cluster, &x, &options).unwrap();
            let population = pca(&cluster, &x, &PcaOptions { ddof: 0, ..options }).unwrap();
            // A few ε, and Lanczos stops at 1e-9 of the largest, squared.
            assert_close(&sample.explained_variance, &VARIANCES, 1e-13, solver.name());
            assert_close(&population.explained_variance, &VARIANCES.map(|v| v * 11.0 / 12.0), 1e-13, solver.name());
            for found in [&sample, &population] {
                assert_close(&found.explained_variance_ratio, &RATIOS, 1e-13, solver.name());
            }
        }
    }
}

/// Row 10: signs of components are anybody's choice; some make the sum positive, some the largest entry, some neither, and
/// then they change from run to run. Here the largest entry is positive, as scikit-learn has it.
#[test]
fn signs_are_the_same_for_every_solver_seed_and_layout() {
    let cluster = cluster();
    let positive = |vt: &DMatrix<f64>| vt.row_iter().all(|row| row[row.iamax_full().1] > 0.0);
    for x in layouts(&twelve_cells(), &[5]) {
        for solver in [PcaSolver::CovarianceEigh, PcaSolver::Tsqr, PcaSolver::Lanczos, PcaSolver::Randomized] {
            for seed in [0, 1, 2] {
                let options = PcaOptions { components: Components::Count(2), solver, seed, ..Default::default() };
                let found = pca(&cluster, &x, &options).unwrap().components;
                // Three columns are fewer than any space that is searched, so that all solvers are exact: a few ε over the gap.
                let off = (found - DMatrix::from_row_slice(2, 3, &COMPONENTS.concat())).amax();
                assert!(off < 1e-7, "{}: {off}", solver.name());
            }
        }
        let tall = svd(&cluster, &x, &SvdOptions::default()).unwrap();
        let wide = svd(&cluster, &x.transpose(), &SvdOptions::default()).unwrap();
        let sketch = svd_compressed(&cluster, &x, &SvdCompressedOptions { k: 2, ..Default::default() }).unwrap();
        let krylov = lanczos(&cluster, &x, &LanczosOptions { k: 2, ..Default::default() }).unwrap();
        assert!([tall, wide, sketch].iter().all(|found| positive(&found.vt_matrix(&cluster).unwrap())));
        assert!(positive(&krylov.vt));
    }
}

/// Blocks of rows of these lengths, dense and CSR.
fn in_blocks(a: &DMatrix<f64>, lengths: &[usize]) -> [Array; 2] {
    let whole = Block::from(DenseBlock::from_nalgebra(a));
    let starts = lengths.iter().scan(0, |end, rows| Some(std::mem::replace(end, *end + rows)));
    let blocks = starts.zip(lengths).map(|(start, rows)| whole.slice_rows(start..start + rows));
    let dense = Array::from_blocks(blocks).unwrap();
    [dense.clone(), dense.to_csr().unwrap()]
}

/// Row 26: factorisations of tall matrices took for granted that each block has as many rows as columns, and some rows.
/// The singular values are NumPy's.
#[test]
fn blocks_that_are_short_or_empty_still_give_the_smaller_number_of_singular_values() {
    let cluster = cluster();
    let tall = (noise(5, 3, 4), [0.8995219963070112, 0.6047085191298387, 0.308569805974413]);
    let wide = (noise(3, 5, 4), [0.8154917026442262, 0.7007473064157085, 0.3375707860241909]);
    let cuts: [(_, &[usize]); 7] = [
        (&tall, &[5]),
        (&tall, &[3, 2]),
        (&tall, &[1, 1, 1, 1, 1]),
        (&tall, &[0, 2, 0, 3, 0]),
        (&wide, &[3]),
        (&wide, &[1, 1, 1]),
        (&wide, &[0, 2, 1, 0]),
    ];
    for ((a, s), lengths) in cuts {
        for x in in_blocks(a, lengths) {
            let r = tsqr(&cluster, &x, None).unwrap().r;
            assert_eq!(r.shape(), (3, a.ncols()), "{lengths:?}");
            assert!((0..3).all(|j| r[(j, j)] >= 0.0) && (0..3).all(|j| (0..j).all(|i| r[(j, i)] == 0.0)));
            // A dozen roundings of numbers below 1, over values of 0.3.
            assert_close(r.singular_values().as_slice(), s, 1e-14, "tsqr");
            assert_close(&svd(&cluster, &x, &SvdOptions::default()).unwrap().s, s, 1e-14, "svd");
            let found = qr(&cluster, &x, &QrOptions::default()).unwrap();
            assert_eq!(found.q.shape(), (a.nrows() as u64, 3));
            assert!(found.residual < 1e-15 * 4.0 && found.orthogonality < 1e-15 * 4.0, "{lengths:?}");
            let back = found.q.compute(&cluster).unwrap().to_nalgebra::<f64>() * &found.r;
            assert!((back - a).amax() < 1e-15);
        }
    }
    for x in in_blocks(&DMatrix::zeros(0, 3), &[0, 0]) {
        assert_eq!(tsqr(&cluster, &x, None).unwrap().r.shape(), (0, 3));
        assert_eq!(svd(&cluster, &x, &SvdOptions::default()).unwrap().s.len(), 0);
    }
}

/// Row 26: columns that depend on each other make R singular; there are still as many singular values, some of them zero, and
/// the least squares that need them give the shortest answer. Known by construction: x = (t, 2t, 3t).
#[test]
fn columns_that_depend_on_each_other_are_factored_and_solved() {
    let cluster = cluster();
    let t = noise(9, 1, 8);
    let a = DMatrix::from_fn(9, 3, |i, j| (j + 1) as f64 * t[i]);
    let b = DMatrix::from_fn(9, 1, |i, _| 14.0 * t[i]);
    for lengths in [&[9][..], &[2, 2, 2, 2, 1], &[0, 4, 5]] {
        for (x, b) in in_blocks(&a, lengths).into_iter().zip(in_blocks(&b, lengths)) {
            let found = svd(&cluster, &x, &SvdOptions::default()).unwrap();
            let expected = 14f64.sqrt() * t.norm();
            assert!((found.s[0] / expected - 1.0).abs() < 1e-14 && found.rank == 1 && found.s.len() == 3);
            assert!(found.s[1..].iter().all(|s| *s < 1e-15 * expected), "{:?}", found.s);
            assert!(qr(&cluster, &x, &QrOptions::default()).unwrap().orthogonality < 1e-14);
            let solved = lstsq(&cluster, &x, &b, &LstsqOptions::default()).unwrap();
            assert_eq!(solved.rank, 1);
            assert!((solved.x.column(0) - DVector::from_column_slice(&[1.0, 2.0, 3.0])).amax() < 1e-13);
        }
    }
}

/// Row 27: without power iterations a sketch of noise is far too small, with too few oversamples worse, and power iterations
/// that are not orthogonalised lose the small values. NumPy's `svd` of the same matrix of noise, and a spectrum by design.
#[test]
fn a_sketch_of_a_flat_spectrum_on_blocks_of_both_axes_is_good_to_one_per_cent_by_default() {
    let cluster = cluster();
    let flat = [9.928662575406484, 9.813443099959832, 9.680441042578881, 9.601044304975824, 9.550942790861773];
    let x = Array::from_nalgebra(&noise(300, 300, 11));
    for x in [x.clone().rechunk(64, 47), x.to_csr().unwrap().rechunk(100, 300), x] {
        for seed in 0..3 {
            let options = SvdCompressedOptions { k: 5, seed, ..Default::default() };
            let found = svd_compressed(&cluster, &x, &options).unwrap();
            // The tolerance that is the default; never above the truth but by rounding.
            assert_close(&found.s, &flat, 1e-2, "flat");
            assert!(found.s.iter().zip(flat).all(|(found, true_s)| *found <= true_s * (1.0 + 1e-13)));
            assert_eq!((found.vt.shape(), found.s.len()), ((5, 300), 5));
        }
    }
    let spectrum: Vec<f64> = (0..9).map(|i| 10f64.powi(-i)).collect();
    let (u, v) = (noise(200, 9, 1).qr().q(), noise(150, 9, 2).qr().q());
    let steep = Array::from_nalgebra(&(u * DMatrix::from_diagonal(&spectrum.clone().into()) * v.transpose()));
    for x in [steep.clone().rechunk(33, 40), steep.to_csr().unwrap().with_block_rows(77)] {
        let found = svd_compressed(&cluster, &x, &SvdCompressedOptions { k: 9, n_power_iter: 4, ..Default::default() });
        // Good to ε σ₁/σ, of which the smallest is 1e-8.
        assert_close(&found.unwrap().s, &spectrum, 1e-7, "steep");
    }
}
