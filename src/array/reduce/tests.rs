//! Reductions of arrays as users ask for them: the ends of the number range, empty groups, bits, passes and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::array::{Block, BlockKind, CsrBlock, DenseBlock, random};
use crate::runtime::Scheduler;

fn cluster(workers: usize) -> Cluster {
    cluster_of(workers, 64 << 20)
}

fn cluster_of(workers: usize, allowance: u64) -> Cluster {
    Cluster::builder().allowance(crate::ByteSize(allowance)).workers(workers).build().expect("sound settings")
}

const OVERS: [Over; 3] = [Over::Whole, Over::EachRow, Over::EachColumn];

/// Every statistic.
const ALL: [Statistic; 15] = [
    Statistic::Sum,
    Statistic::Mean,
    Statistic::Var { ddof: 0 },
    Statistic::Std { ddof: 1 },
    Statistic::Min,
    Statistic::Max,
    Statistic::ArgMin,
    Statistic::ArgMax,
    Statistic::CountNonzero,
    Statistic::Nnz,
    Statistic::Any,
    Statistic::All,
    Statistic::Median,
    Statistic::Quantile(0.1),
    Statistic::Quantile(0.999),
];

fn everything() -> Vec<(Statistic, Over)> {
    ALL.into_iter().flat_map(|statistic| OVERS.map(|over| (statistic, over))).collect()
}

#[test]
fn a_large_mean_does_not_drown_a_small_variance() {
    // NIST's NumAcc3 and NumAcc4 by their definition: certified deviation 0.1 about means of 1e6 and 1e7.
    for centre in [1e6, 1e7] {
        let mut values = vec![centre + 0.2];
        (0..500).for_each(|_| values.extend([centre + 0.1, centre + 0.3]));
        let array = Array::from_slice(1001, 1, &values).expect("one column").with_block_rows(10);
        let found = array.std(&cluster(2), Over::EachColumn, 1).expect("small")[0];
        // The values themselves are rounded to `centre * EPSILON`, against a deviation of 0.1.
        assert!((found - 0.1).abs() <= centre * f64::EPSILON, "{found}");
    }
}

#[test]
fn the_number_of_workers_and_the_scheduler_change_no_bit() {
    let array = random::normal(5_000, 7, 3, 128).to_csr().expect("seven columns");
    let asked = everything();
    let bits = |cluster: &Cluster| -> Vec<Vec<u64>> {
        let found = array.reduce_many(cluster, &asked, None).expect("small");
        found.into_iter().map(|answer| answer.into_iter().map(f64::to_bits).collect()).collect()
    };
    let one = bits(&cluster(1));
    assert_eq!(one[1].len(), 5_000);
    let builder = Cluster::builder().allowance(crate::ByteSize(64 << 20)).scheduler(Scheduler::Serial);
    assert!(bits(&builder.build().expect("sound settings")) == one, "serial");
    assert!([2, 5].into_iter().all(|workers| bits(&cluster(workers)) == one));
}

#[test]
fn groups_without_values_have_the_answers_that_are_stated() {
    for kind in [BlockKind::Dense, BlockKind::Csr] {
        for (rows, cols) in [(0, 2), (3, 0), (0, 0)] {
            let none = Array::zeros(rows, cols, DType::F32, kind).expect("few columns");
            let found = none.reduce_many(&cluster(2), &everything(), None).expect("nothing");
            for ((statistic, over), found) in everything().into_iter().zip(found) {
                let groups = match over {
                    Over::Whole => 1,
                    Over::EachRow => rows,
                    Over::EachColumn => cols,
                };
                let expected = statistic.of_nothing();
                assert_eq!(found.len() as u64, groups, "{statistic:?} {over:?} of {rows} x {cols}");
                assert!(found.iter().all(|x| *x == expected || x.is_nan() && expected.is_nan()), "{statistic:?}");
            }
            assert!(
                none.argmax(&cluster(1), Over::Whole).is_err() && none.min_values(&cluster(1), Over::Whole).is_err()
            );
        }
        let no_rows = Array::zeros(0, 2, DType::U8, kind).expect("two columns");
        assert_eq!(no_rows.sum(&cluster(1), Over::EachColumn).expect("nothing"), [0.0, 0.0]);
        assert_eq!(no_rows.all(&cluster(1), Over::EachColumn).expect("nothing"), [true, true]);
        assert!(no_rows.argmin(&cluster(1), Over::EachRow).expect("no groups").is_empty());
        let refused = no_rows.argmin(&cluster(1), Over::EachColumn).expect_err("no rows");
        assert!(refused.to_string().contains("argmin: number of values in a group is 0"), "{refused}");
    }
}

#[test]
fn one_value_has_no_sample_variance_and_nan_spoils_its_own_column_only() {
    let array = Array::from_rows(&[[1.0, f64::NAN]]).expect("one row");
    let cluster = cluster(1);
    assert!(array.var(&cluster, Over::EachColumn, 1).expect("small").iter().all(|var| var.is_nan()));
    for found in [array.mean(&cluster, Over::EachColumn), array.median(&cluster, Over::EachColumn)] {
        let found = found.expect("small");
        assert!(found[0] == 1.0 && found[1].is_nan());
    }
    assert_eq!(array.count_nonzero(&cluster, Over::Whole).expect("small"), [2.0], "NaN is not zero");
    assert_eq!(array.all(&cluster, Over::EachRow).expect("small"), [true], "and true");
    assert_eq!(array.argmin(&cluster, Over::EachRow).expect("small"), [1], "and an end of any order");
}

#[test]
fn a_zero_of_either_sign_is_a_zero() {
    let array = Array::from_rows(&[[-0.0, 0.0, -0.0]]).expect("one row");
    assert_eq!(array.argmax(&cluster(1), Over::EachRow).expect("small"), [0]);
    assert_eq!(array.argmin(&cluster(1), Over::EachRow).expect("small"), [0]);
    assert_eq!(array.any(&cluster(1), Over::Whole).expect("small"), [false]);
    assert_eq!(array.min(&cluster(1), Over::Whole).expect("small")[0].to_bits(), 0.0f64.to_bits());
}

#[test]
fn integers_that_f64_cannot_tell_apart_are_ordered_all_the_same() {
    let big = (1u64 << 60) + 1;
    let array = Array::from_slice(3, 1, &[big - 1, big, big - 1]).expect("one column").with_block_rows(1);
    let (cluster, column) = (cluster(2), Over::EachColumn);
    assert_eq!(array.argmax(&cluster, column).expect("small"), [1]);
    assert_eq!(array.max_values(&cluster, column).expect("small").as_slice::<u64>(), Some(&[big][..]));
    assert_eq!(array.max(&cluster, column).expect("small"), [(1u64 << 60) as f64], "rounded");
}

#[test]
fn the_first_of_equals_wins_also_across_blocks() {
    let array = Array::from_slice(6, 1, &[1, 5, 2, 5, 1, 0]).expect("one column").with_block_rows(2);
    assert_eq!(array.argmax(&cluster(2), Over::EachColumn).expect("small"), [1]);
    let zeros = CsrBlock::new(2, 3, vec![0, 2, 3], vec![0, 2, 1], vec![-1.0, 0.0, -1.0]).expect("sound");
    let zeros = Array::from_block(Block::from(zeros)).with_block_rows(1);
    // Row 0 is −1, left out, stored 0; row 1 is left out, −1, left out.
    assert_eq!(zeros.argmax(&cluster(2), Over::EachRow).expect("small"), [1, 0]);
    assert_eq!(zeros.argmax(&cluster(2), Over::EachColumn).expect("small"), [1, 0, 0]);
    assert_eq!(zeros.argmax(&cluster(2), Over::Whole).expect("small"), [1]);
}

#[test]
fn a_quantile_outside_of_its_range_is_refused() {
    let array = Array::from_rows(&[[1.0]]).expect("one row");
    for q in [-0.1, 1.1, f64::NAN] {
        let refused = array.quantile(&cluster(1), Over::Whole, q).expect_err("not a share");
        assert!(refused.to_string().contains("from 0 to 1"), "{refused}");
    }
}

/// An array that counts how often its first block is made.
fn counted(array: &Array) -> (Array, Arc<AtomicUsize>) {
    let passes = Arc::new(AtomicUsize::new(0));
    let seen = passes.clone();
    let count = move |block: Block, info: crate::array::BlockInfo| {
        seen.fetch_add(usize::from(info.index == 0), Ordering::Relaxed);
        Ok(block)
    };
    let map = crate::array::BlockMap::new("count", array.cols(), array.dtype(), array.kind(), count);
    (array.clone().map_blocks(map).expect("alike"), passes)
}

#[test]
fn passes_are_as_few_as_is_stated() {
    let x = random::normal(60_000, 3, 5, 4_000);
    let bytes = x.scale(20.0).astype(DType::I8);
    let columns = [Statistic::Median, Statistic::Quantile(0.25), Statistic::Max].map(|s| (s, Over::EachColumn));
    let rows = [Statistic::Median, Statistic::Quantile(0.25), Statistic::Sum].map(|s| (s, Over::EachRow));
    let cases = [
        ("all but quantiles", &bytes, ALL[..12].iter().map(|s| (*s, Over::EachColumn)).collect::<Vec<_>>(), 1),
        ("quantiles of rows", &x, rows.to_vec(), 2),
        ("8 bits", &bytes, columns.to_vec(), 2),
        ("16 bits", &x.scale(9e3).astype(DType::I16), columns.to_vec(), 3),
        ("f32", &x.astype(DType::F32), columns.to_vec(), 4),
        ("f64", &x, columns.to_vec(), 4),
        ("few rows", &x.select_rows(0..1000).expect("they exist"), columns.to_vec(), 2),
        (
            "mostly zeros",
            &x.abs().scale(0.5).astype(DType::I32).astype(DType::F64).to_csr().expect("three"),
            columns.to_vec(),
            3,
        ),
    ];
    for (what, array, asked, most) in cases {
        let (array, passes) = counted(array);
        array.reduce_many(&cluster(2), &asked, None).expect("small");
        assert!(passes.load(Ordering::Relaxed) <= most, "{what}: {passes:?} passes, {most} stated");
    }
}

#[test]
fn columns_that_do_not_fit_together_take_more_passes_and_give_the_same_quantiles() {
    // 600 columns; a sixteenth of 64 KiB holds 10 histograms of 16 buckets.
    let array = random::normal(300, 600, 5, 10).astype(DType::F32);
    let asked = [Statistic::Median, Statistic::Quantile(0.1), Statistic::Quantile(0.99)].map(|s| (s, Over::EachColumn));
    let large = array.reduce_many(&cluster(2), &asked, None).expect("small");
    let small = cluster_of(2, 128 << 10);
    assert_eq!(array.reduce_many(&small, &asked, None).expect("small"), large);
    assert!(small.snapshot().peak_reserved_bytes <= 2 * (128 << 10));
    // The slow, obvious way: the array on its side, row by row.
    let values = array.compute(&small).expect("small").to_vec::<f64>();
    let turned = Array::from_block(
        DenseBlock::new(600, 300, (0..600 * 300).map(|at| values[at % 300 * 600 + at / 300]).collect::<Vec<f64>>())
            .expect("its values"),
    );
    let asked = asked.map(|(statistic, _)| (statistic, Over::EachRow));
    assert_eq!(turned.reduce_many(&cluster(1), &asked, None).expect("small"), large);
}
