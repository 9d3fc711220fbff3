//! Reductions against what NumPy 2.4.6 and SciPy 1.17.1 print for the same matrices.
//!
//! The matrix is `((arange(600) * 7919) % 1009 - 504) / 8`, with what is below 30 in size set to 0, as 200 × 3: a third of
//! it is zeros, and as an integer it has many values more than once.

use super::*;
use crate::ByteSize;
use crate::array::CsrBlock;

fn cluster() -> Cluster {
    Cluster::builder().allowance(ByteSize(1 << 20)).workers(2).build().expect("sound settings")
}

/// The matrix in every form: the dtype, dense and CSR, one block and many.
fn forms(dtype: DType) -> Vec<Array> {
    let value = |i: u32| (f64::from(i * 7919 % 1009) - 504.0) / 8.0;
    let values: Vec<f64> = (0..600).map(value).map(|v| if v.abs() < 30.0 { 0.0 } else { v }).collect();
    let dense = Array::from_slice(200, 3, &values).expect("its values").astype(dtype);
    let csr = dense.to_csr().expect("three columns");
    vec![dense.clone().with_block_rows(7), csr.clone().with_block_rows(7), dense, csr]
}

/// NumPy's answers for a dtype.
struct Answers {
    dtypes: [DType; 2],
    /// `quantile(x, q, axis=0)` for 0.05, 0.3 and 0.77.
    columns: [[f64; 3]; 3],
    /// `quantile(x, 0.3, axis=1)[:6]`.
    rows: [f64; 6],
    /// `quantile(x, 0.77)`.
    whole: f64,
    argmin: [u64; 3],
    min: [f64; 3],
    max: [f64; 3],
    argmax_of_whole: u64,
}

const FLOATS: Answers = Answers {
    dtypes: [DType::F64, DType::F32],
    columns: [[-55.65, -55.525, -57.775], [0.0; 3], [34.989999999999995, 35.114999999999995, 32.864999999999995]],
    rows: [-25.200000000000003, -13.0, 1.1000000000000014, 0.0, -47.9, 0.0],
    whole: 34.27875,
    argmin: [0, 81, 162],
    min: [-63.0, -62.875, -62.75],
    max: [62.625, 62.75, 62.875],
    argmax_of_whole: 521,
};

const INTEGERS: Answers = Answers {
    dtypes: [DType::I16, DType::I64],
    columns: [[-55.05, -55.05, -57.05], [0.0; 3], [34.22999999999999, 35.0, 32.22999999999999]],
    rows: [-25.200000000000003, -12.8, 1.1999999999999957, 0.0, -47.6, 0.0],
    whole: 34.0,
    argmin: [0, 70, 151],
    min: [-63.0, -62.0, -62.0],
    max: [62.0; 3],
    argmax_of_whole: 33,
};

#[test]
fn quantiles_and_ends_are_those_that_numpy_prints() {
    let (cluster, column) = (cluster(), Over::EachColumn);
    let near = |found: &[f64], expected: &[f64]| {
        // The place is a product of up to 600, rounded; times a distance between neighbours of at most 1 here, or 35 in rows.
        let apart = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
        assert!(apart.fold(0.0, f64::max) <= 600.0 * f64::EPSILON, "{found:?} {expected:?}");
    };
    for answers in [FLOATS, INTEGERS] {
        for array in answers.dtypes.into_iter().flat_map(forms) {
            let asked = [0.05, 0.3, 0.77].map(|q| (Statistic::Quantile(q), column));
            let found = array.reduce_many(&cluster, &asked, None).expect("small");
            found.iter().zip(answers.columns).for_each(|(found, expected)| near(found, &expected));
            near(&array.quantile(&cluster, Over::EachRow, 0.3).expect("small")[..6], &answers.rows);
            near(&array.quantile(&cluster, Over::Whole, 0.77).expect("small"), &[answers.whole]);
            assert_eq!(array.median(&cluster, column).expect("small"), [0.0; 3]);
            assert_eq!(array.argmax(&cluster, column).expect("small"), [11, 92, 173]);
            assert_eq!(array.argmin(&cluster, column).expect("small"), answers.argmin);
            assert_eq!(array.min(&cluster, column).expect("small"), answers.min);
            assert_eq!(array.max(&cluster, column).expect("small"), answers.max);
            assert_eq!(array.count_nonzero(&cluster, column).expect("small"), [106.0, 104.0, 104.0]);
            assert_eq!(array.argmax(&cluster, Over::Whole).expect("small"), [answers.argmax_of_whole]);
            assert_eq!(
                array.argmax(&cluster, Over::EachRow).expect("small")[..12],
                [1, 0, 1, 0, 2, 0, 2, 0, 0, 0, 0, 0]
            );
            assert_eq!(
                array.argmin(&cluster, Over::EachRow).expect("small")[..12],
                [0, 2, 0, 0, 1, 0, 1, 1, 2, 2, 2, 2]
            );
        }
    }
}

#[test]
fn stored_zeros_count_as_scipy_counts_them() {
    let values = vec![1.0, 0.0, -2.0, 0.0, 3.0];
    let block = CsrBlock::new(3, 3, vec![0, 2, 3, 5], vec![0, 2, 1, 0, 1], values).expect("sound");
    let (array, cluster) = (Array::from_block(block).with_block_rows(1), cluster());
    assert_eq!(array.nnz(&cluster, Over::Whole).expect("small"), [5.0]);
    assert_eq!(array.count_nonzero(&cluster, Over::Whole).expect("small"), [3.0]);
    assert_eq!(array.nnz(&cluster, Over::EachColumn).expect("small"), [2.0, 2.0, 1.0]);
    assert_eq!(array.nnz(&cluster, Over::EachRow).expect("small"), [2.0, 1.0, 2.0]);
    assert_eq!(array.argmax(&cluster, Over::EachColumn).expect("small"), [0, 2, 0]);
    assert_eq!(array.argmax(&cluster, Over::EachRow).expect("small"), [0, 0, 1]);
    assert_eq!(array.argmin(&cluster, Over::EachColumn).expect("small"), [1, 1, 0]);
    assert_eq!(array.argmin(&cluster, Over::EachRow).expect("small"), [1, 1, 0]);
    assert_eq!(array.max(&cluster, Over::EachColumn).expect("small"), [1.0, 3.0, 0.0]);
    assert_eq!(array.min(&cluster, Over::EachRow).expect("small"), [0.0, -2.0, 0.0]);
}

#[test]
fn nan_and_infinity_are_what_they_are_to_numpy() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let rows = [[nan, 1.0, nan], [2.0, inf, -inf], [-0.0, 0.0, 0.0]];
    let (array, cluster, row) =
        (Array::from_rows(&rows).expect("three rows").with_block_rows(2), cluster(), Over::EachRow);
    for array in [array.to_csr().expect("three columns"), array] {
        assert_eq!(array.argmax(&cluster, row).expect("small"), [0, 1, 0]);
        assert_eq!(array.argmin(&cluster, row).expect("small"), [0, 2, 0]);
        assert_eq!(array.argmax(&cluster, Over::EachColumn).expect("small"), [0, 1, 0]);
        assert_eq!(array.argmin(&cluster, Over::EachColumn).expect("small"), [0, 2, 0]);
        assert_eq!(array.any(&cluster, row).expect("small"), [true, true, false]);
        assert_eq!(array.all(&cluster, row).expect("small"), [true, true, false]);
        let asked = [Statistic::Min, Statistic::Max, Statistic::Median, Statistic::Std { ddof: 1 }].map(|s| (s, row));
        let found = array.reduce_many(&cluster, &asked, None).expect("small");
        let expected = [[nan, -inf, 0.0], [nan, inf, 0.0], [nan, 2.0, 0.0], [nan, nan, 0.0]];
        for ((found, expected), (statistic, _)) in found.iter().zip(expected).zip(asked) {
            let same = found.iter().zip(expected).all(|(a, b)| *a == b || a.is_nan() && b.is_nan());
            assert!(same, "{statistic:?}: {found:?} {expected:?}");
        }
    }
}
