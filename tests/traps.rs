//! Semantics that look obvious and that one system or another got wrong, one test for each: what must hold, against an
//! answer that was found elsewhere.
//!
//! The numbers are those of the project's list of such traps (rows 6 to 15 and 26 to 28, which bear on arrays and
//! factorisations). "NumPy" is NumPy 2.4.6 in float64, "SciPy" SciPy 1.17.1, "scikit-learn" 1.9.1, asked for the very same
//! matrices; "exactly" is Python's rational arithmetic on the stored values.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "traps/factorisations.rs"]
mod factorisations;

use allotment::array::{Array, BlockKind, CsrBlock, DType, Over, Statistic};
use allotment::linalg::{Components, PcaOptions, PcaSolver, gram, pca};
use allotment::{ByteSize, Cluster};
use nalgebra::DMatrix;
use sprs::{CsMatI, SpIndex};

fn cluster() -> Cluster {
    Cluster::builder().allowance(ByteSize(64 << 20)).workers(2).build().unwrap()
}

/// Values in −0.5 to 0.5 that look random: a multiplicative hash of the place, which Python computes as easily.
fn noise(rows: usize, cols: usize, seed: u64) -> DMatrix<f64> {
    DMatrix::from_fn(rows, cols, |i, j| {
        let mut x = (seed << 40) ^ ((i * cols + j) as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((x >> 11) as f64) / ((1u64 << 53) as f64) - 0.5
    })
}

/// The array dense and as CSR, whole and in blocks of so many rows.
fn layouts(dense: &Array, block_rows: &[u64]) -> Vec<Array> {
    let kinds = [dense.clone(), dense.to_csr().unwrap()];
    let cut = |array: Array| block_rows.iter().map(move |rows| array.clone().with_block_rows(*rows));
    kinds.iter().cloned().chain(kinds.iter().cloned().flat_map(cut)).collect()
}

fn assert_close(found: &[f64], expected: &[f64], relative: f64, what: &str) {
    let close = |(f, e): (&f64, &f64)| (f - e).abs() <= relative * e.abs();
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(close),
        "{what}: {found:?}, not {expected:?}"
    );
}

/// Row 6: a list that is empty was taken for no list, so that who selected nothing got everything.
#[test]
fn an_empty_selection_keeps_nothing_and_no_selection_keeps_all() {
    let cluster = cluster();
    for x in layouts(&Array::from_nalgebra(&noise(5, 3, 1)), &[2]) {
        assert_eq!(x.select_columns(Vec::<u64>::new()).unwrap().shape(), (5, 0));
        assert_eq!(x.select_columns(vec![false; 3]).unwrap().shape(), (5, 0));
        assert_eq!(x.select_columns(None).unwrap().shape(), (5, 3));
        assert_eq!(x.select_rows(Vec::<u64>::new()).unwrap().shape(), (0, 3));
        assert_eq!(x.select_rows(vec![false; 5]).unwrap().shape(), (0, 3));
        assert_eq!(x.select_rows(2..2).unwrap().shape(), (0, 3));
        assert_eq!(x.select_rows(None).unwrap().compute(&cluster).unwrap().shape(), (5, 3));
        let nothing = x.select_rows(Vec::<u64>::new()).unwrap().select_columns(Vec::<u64>::new()).unwrap();
        assert_eq!(nothing.compute(&cluster).unwrap().shape(), (0, 0));
        assert_eq!(x.select_rows(2..2).unwrap().sum(&cluster, Over::EachColumn).unwrap(), [0.0; 3]);
        assert_eq!(x.select_columns(1..1).unwrap().sum(&cluster, Over::EachRow).unwrap(), [0.0; 5]);
    }
}

/// Row 8: a per-block result with an axis less was put together by concatenation, so that sums over columns came once for
/// each block. The numbers are whole, and counted by hand: row i is (i, 10 i).
#[test]
fn a_reduction_gives_one_answer_for_each_group_and_not_for_each_block() {
    let cluster = cluster();
    let rows: Vec<[f64; 2]> = (0..11).map(|i| [f64::from(i), f64::from(10 * i)]).collect();
    for x in layouts(&Array::from_rows(&rows).unwrap(), &[1, 3, 11]) {
        for x in [x.clone(), x.rechunk(4, 1)] {
            assert_eq!(x.sum(&cluster, Over::EachColumn).unwrap(), [55.0, 550.0]);
            assert_eq!(x.sum(&cluster, Over::Whole).unwrap(), [605.0]);
            assert_eq!(x.median(&cluster, Over::EachColumn).unwrap(), [5.0, 50.0]);
            let sums: Vec<f64> = (0..11).map(|i| f64::from(11 * i)).collect();
            assert_eq!(x.sum(&cluster, Over::EachRow).unwrap(), sums);
        }
    }
}

/// Row 11: float32 data were summed and multiplied in float32, where a mean of 1000 leaves nothing of deviations below 1:
/// variances of 0.69, 0.33 and −0.08. Even in float64 the gram less the means' squares, as scikit-learn takes it for few
/// columns, is right to eight digits here only; NumPy's `eigvalsh` of the gram of what is centred has more.
#[test]
fn single_precision_is_accumulated_in_double_and_centred_before_it_is_squared() {
    let cluster = cluster();
    let single = noise(40, 3, 6).map(|x| x as f32 + 1000.0);
    // NumPy, of the same values as float64.
    let first_row = [39999340.95318414, 39999319.80275314, 39997332.52377252];
    let variances = [0.08471686728298662, 0.05804137589218906, 0.08097905375254458];
    let along = [0.09403363343103013, 0.07962650363494062, 0.0500771598617495];
    for x in layouts(&Array::from_nalgebra(&single), &[1, 7]) {
        assert_eq!(x.dtype(), DType::F32);
        // Forty products each.
        let found = gram(&cluster, &x, None).unwrap();
        assert_close(found.row(0).transpose().as_slice(), &first_row, 40.0 * f64::EPSILON, "gram");
        // Deviations of 0.3 of values near 1000 have lost 12 bits; the means are as good as that.
        assert_close(&x.var(&cluster, Over::EachColumn, 1).unwrap(), &variances, 4096.0 * f64::EPSILON, "var");
        for solver in [PcaSolver::CovarianceEigh, PcaSolver::Tsqr, PcaSolver::Lanczos] {
            let options = PcaOptions { components: Components::Count(3), solver, ..Default::default() };
            assert_close(&pca(&cluster, &x, &options).unwrap().explained_variance, &along, 1e-12, solver.name());
        }
    }
    // In float32 one after another: 999597760.
    let values: Vec<f32> = (0..100_000u32).map(|i| (i % 7) as f32 + 1e4).collect();
    let x = Array::from_slice(100_000, 1, &values).unwrap().with_block_rows(9_999);
    assert_eq!(x.sum(&cluster, Over::EachColumn).unwrap(), [1_000_299_995.0]);
}

/// Row 12: the mean of squares less the square of the mean goes below zero, or is zero for all that has a large mean; and a
/// single value has no sample variance, where some say 0.
#[test]
fn a_variance_is_never_negative_and_of_one_value_there_is_none() {
    let cluster = cluster();
    for x in layouts(&Array::from_slice(4, 1, &[1e8 - 1e-3, 1e8, 1e8 + 1e-3, 1e8]).unwrap(), &[1, 3]) {
        // Exactly. A mean that is half an ulp off, 7e-9 of deviations of 1e-3, counts squared.
        let found = x.var(&cluster, Over::EachColumn, 1).unwrap();
        assert_close(&found, &[6.666693687466344e-07], 1e-10, "var");
        let one = x.select_rows(0..1).unwrap();
        assert!(one.var(&cluster, Over::EachColumn, 1).unwrap()[0].is_nan());
        assert_eq!(one.var(&cluster, Over::EachColumn, 0).unwrap(), [0.0]);
    }
    // Constants whose sums are rounded: a deviation of a few ulps may be left, and never anything below nothing.
    for (value, rows) in [(0.1, 1_000), (1e8 + 0.1, 4), (1.0 / 3.0, 777), (1e15 + 0.3, 1_001), (-1e-300, 50)] {
        for x in layouts(&Array::from_slice(rows, 1, &vec![value; rows]).unwrap(), &[1, 3, 64]) {
            let var = x.var(&cluster, Over::EachColumn, 1).unwrap()[0];
            // Of CSR columns runs of 64 values are added up plainly, half an ulp each.
            let ulps = if x.kind() == BlockKind::Csr { 32.0 } else { 1.0 };
            assert!(var >= 0.0 && var.sqrt() <= ulps * f64::EPSILON * f64::abs(value), "{value}: {var}");
        }
    }
}

/// Row 13: functions of what is stored forgot the zeros that are not, and counted those that are. The numbers are NumPy's.
#[test]
fn zeros_left_out_are_values_and_stored_ones_are_zeros() {
    let cluster = cluster();
    let dense = [[0., 1., 0., -2.], [3., 0., 0., -1.], [0., 0., 0., -5.], [4., 0., 0., -3.], [0., 7., 0., -4.]];
    // The same as CSR, in which a zero stands at the first place, and one of the other sign at the third.
    let values = vec![0., 1., -0., -2., 3., -1., -5., 4., -3., 7., -4.];
    let indices = vec![0, 1, 2, 3, 0, 3, 3, 0, 3, 1, 3];
    let stored = CsrBlock::new(5, 4, vec![0, 4, 6, 7, 9, 11], indices, values).unwrap();
    let stored = Array::from_block(stored);
    let asked = [
        (Statistic::Min, [0.0, 0.0, 0.0, -5.0]),
        (Statistic::Max, [4.0, 7.0, 0.0, -1.0]),
        (Statistic::Median, [0.0, 0.0, 0.0, -3.0]),
        (Statistic::Quantile(0.7), [2.4, 0.8, 0.0, -2.2]),
        (Statistic::Std { ddof: 0 }, [1.7435595774162693, 2.727636339397171, 0.0, 2f64.sqrt()]),
        (Statistic::CountNonzero, [2.0, 2.0, 0.0, 5.0]),
        (Statistic::Any, [1.0, 1.0, 0.0, 1.0]),
        (Statistic::All, [0.0, 0.0, 0.0, 1.0]),
    ];
    let mut arrays = layouts(&Array::from_rows(&dense).unwrap(), &[1, 2]);
    arrays.extend([stored.clone(), stored.clone().with_block_rows(1), stored.clone().with_block_rows(2)]);
    for x in arrays {
        for (statistic, expected) in asked {
            let found = x.reduce_many(&cluster, &[(statistic, Over::EachColumn)], None).unwrap();
            assert_close(&found[0], &expected, 4.0 * f64::EPSILON, &format!("{statistic:?}"));
        }
        let positive = x.greater(0.0).unwrap().count_nonzero(&cluster, Over::EachColumn).unwrap();
        assert_eq!(positive, [2.0, 2.0, 0.0, 0.0]);
    }
    // SciPy's nnz counts what is stored; its count_nonzero does not count the two zeros.
    assert_eq!(stored.nnz(&cluster, Over::Whole).unwrap(), [11.0]);
    assert_eq!(stored.count_nonzero(&cluster, Over::Whole).unwrap(), [9.0]);
}

/// Row 13: NaN is no zero, and is not skipped in silence; only its own column is spoilt.
#[test]
fn nan_spoils_its_column_only_in_both_kinds() {
    let cluster = cluster();
    for x in layouts(&Array::from_rows(&[[f64::NAN, 2.0], [0.0, 0.0], [1.0, 4.0]]).unwrap(), &[1, 2]) {
        for statistic in [Statistic::Min, Statistic::Max, Statistic::Median, Statistic::Mean, Statistic::Quantile(0.1)]
        {
            let found = x.reduce_many(&cluster, &[(statistic, Over::EachColumn)], None).unwrap().concat();
            assert!(found[0].is_nan() && found[1].is_finite(), "{statistic:?}: {found:?}");
        }
        assert_eq!(x.count_nonzero(&cluster, Over::EachColumn).unwrap(), [2.0; 2]);
    }
}

/// Row 14: a triangular gram needs columns in order, and a place that stands twice must count as its sum. SciPy, of the same
/// three arrays: `toarray()` and `x.T @ x`.
#[test]
fn rows_out_of_order_and_places_that_stand_twice_are_put_right_on_entry() {
    let cluster = cluster();
    let made = CsrBlock::new(2, 3, vec![0, 3, 5], vec![2, 0, 2, 1, 0], vec![1.0, 2.0, 10.0, 5.0, 7.0]).unwrap();
    let x = Array::from_block(made);
    for x in [x.clone(), x.with_block_rows(1)] {
        assert_eq!(x.compute(&cluster).unwrap().to_vec::<f64>(), [2.0, 0.0, 11.0, 7.0, 5.0, 0.0]);
        let square = gram(&cluster, &x, None).unwrap();
        assert_eq!(square.as_slice(), [53.0, 35.0, 22.0, 35.0, 25.0, 0.0, 22.0, 0.0, 121.0]);
        assert_eq!(x.nnz(&cluster, Over::Whole).unwrap(), [4.0]);
    }
    // Two that cancel are a zero that is stored.
    let cancelled = Array::from_block(CsrBlock::new(1, 2, vec![0, 2], vec![1, 1], vec![3.0, -3.0]).unwrap());
    assert_eq!(cancelled.count_nonzero(&cluster, Over::Whole).unwrap(), [0.0]);
}

fn through_sprs<I: SpIndex, P: SpIndex>(cluster: &Cluster) -> Vec<i64> {
    let (indptr, indices) = ([0, 2, 2, 5], [0, 3, 1, 2, 3]);
    let (indptr, indices) = (indptr.map(P::from_usize).to_vec(), indices.map(I::from_usize).to_vec());
    let matrix = CsMatI::<i64, I, P>::new((3, 4), indptr, indices, vec![1, -2, 3, 4, 5]);
    let by_rows = Array::from_sprs(&matrix).unwrap().compute(cluster).unwrap().to_vec::<i64>();
    // Stored by columns, the same matrix is turned on entry.
    assert_eq!(Array::from_sprs(&matrix.to_csc()).unwrap().compute(cluster).unwrap().to_vec::<i64>(), by_rows);
    by_rows
}

/// Row 14: columns and offsets come as integers of any width, and not of the same.
#[test]
fn indices_and_offsets_may_be_of_different_widths() {
    let cluster = cluster();
    for found in [
        through_sprs::<i16, i64>(&cluster),
        through_sprs::<i64, i16>(&cluster),
        through_sprs::<u16, i32>(&cluster),
        through_sprs::<i32, u64>(&cluster),
        through_sprs::<usize, u32>(&cluster),
    ] {
        assert_eq!(found, [1, 0, 0, -2, 0, 0, 0, 0, 0, 3, 4, 5]);
    }
}

/// Row 15: scaling rows to one sum divides by zero where a row is empty, and in integers it rounds to nothing.
#[test]
fn normalising_leaves_empty_rows_alone_and_makes_floats_of_integers() {
    let cluster = cluster();
    for x in layouts(&Array::from_rows(&[[1u16, 3], [0, 0], [5, 0]]).unwrap(), &[1, 2]) {
        let found = x.normalize_rows(10.0);
        assert!(found.dtype().is_float());
        assert_eq!(found.compute(&cluster).unwrap().to_vec::<f64>(), [2.5, 7.5, 0.0, 0.0, 10.0, 0.0]);
    }
}

/// Row 28: how data are stored, how they are cut for the work and what a worker may hold are three things; where they were one,
/// a good choice for one was a bad one for another. Counted by hand: row i is (i, i²).
#[test]
fn storage_chunks_blocks_and_allowances_are_three_numbers() {
    let n = 20_000u64;
    let rows: Vec<[f64; 2]> = (0..n).map(|i| [i as f64, (i * i) as f64]).collect();
    // Σi and Σi², and the middle between two.
    let sums = [(n * (n - 1) / 2) as f64, ((n - 1) * n * (2 * n - 1) / 6) as f64];
    let medians = [9_999.5, (9_999.0 * 9_999.0 + 1e8) / 2.0];
    for storage_rows in [37, 1_000, n] {
        let maker = cluster();
        let stored = Array::from_rows(&rows).unwrap().with_block_rows(storage_rows).persist(&maker).unwrap();
        for mib in [4, 64, 1024] {
            let cluster = Cluster::builder().allowance(ByteSize(mib << 20)).workers(2).overcommit(true);
            let cluster = cluster.build().unwrap();
            let cuts = [stored.clone(), stored.clone().with_auto_blocks(), stored.clone().with_block_rows(4_096)];
            for x in cuts {
                assert_eq!(x.sum(&cluster, Over::EachColumn).unwrap(), sums);
                assert_eq!(x.median(&cluster, Over::EachColumn).unwrap(), medians);
            }
            // Left alone, blocks hold whole storage chunks, however many.
            let plan = stored.clone().with_auto_blocks().plan(&cluster).unwrap();
            assert!(plan.block_rows.is_multiple_of(storage_rows) && plan.tasks <= 64, "{plan}");
        }
    }
}
