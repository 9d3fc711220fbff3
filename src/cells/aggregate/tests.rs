//! Statistics of groups against slow, obvious ones, and against scanpy.

use super::*;
use crate::bytes::ByteSize;
use crate::cells::{Categories, Column, Frame};

const ALL: [Aggregation; 9] = [
    Aggregation::Sum,
    Aggregation::Mean,
    Aggregation::Var,
    Aggregation::CountNonzero,
    Aggregation::Present { threshold: 1.0, at_least: true, share: true },
    Aggregation::SqrMean,
    Aggregation::Min,
    Aggregation::Max,
    Aggregation::Median,
];

fn cluster(workers: usize, allowance: u64) -> Cluster {
    Cluster::builder().allowance(ByteSize(allowance)).workers(workers).build().expect("sound settings")
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| i.to_string()).collect()
}

/// Data with one column of labels, given as codes.
fn data(x: Array, codes: Vec<i32>) -> AnnData {
    let column = Column::Categories(Categories::new(codes, names(50)));
    let obs = Frame::in_memory(names(x.rows() as usize), vec![("label".into(), column)]).expect("a label for each");
    let var = Frame::in_memory(names(x.cols() as usize), vec![]).expect("no columns");
    AnnData::new(x, obs, var).expect("of one shape")
}

fn options(funcs: &[Aggregation]) -> AggregateOptions {
    AggregateOptions { by: vec!["label".into()], funcs: funcs.to_vec(), ..Default::default() }
}

/// Ragged counts with many zeros, some negative, and a gene without a zero; column 3 is zero everywhere.
fn matrix_of(rows: usize, cols: usize) -> Vec<f64> {
    let value = |at: usize| {
        let (i, j) = (at / cols, at % cols);
        match j {
            3 => 0.0,
            4 => 1e6 + ((i * i + 7) % 13) as f64,
            _ if (i * 31 + j * 17) % 7 < 4 => 0.0,
            _ => ((i * 13 + j * 5) % 11) as f64 - 3.0,
        }
    };
    (0..rows * cols).map(value).collect()
}

/// The statistic of some values, the obvious way.
fn naive(func: Aggregation, mut values: Vec<f64>) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let count = |of: &dyn Fn(f64) -> bool| values.iter().filter(|x| of(**x)).count() as f64;
    match func {
        Aggregation::Sum => values.iter().sum(),
        Aggregation::Mean => mean,
        Aggregation::Var if n > 1.0 => values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0),
        Aggregation::Var => f64::NAN,
        Aggregation::CountNonzero => count(&|x| x != 0.0),
        Aggregation::Present { threshold, .. } => count(&|x| x >= threshold) / n,
        Aggregation::SqrMean => values.iter().map(|x| x * x).sum::<f64>() / n,
        Aggregation::Min => values.into_iter().fold(f64::INFINITY, f64::min),
        Aggregation::Max => values.into_iter().fold(f64::NEG_INFINITY, f64::max),
        Aggregation::Median => {
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
        }
    }
}

fn layer(cluster: &Cluster, found: &AnnData, name: &str) -> Vec<f64> {
    found.layers[name].compute(cluster).expect("it was stored").to_vec()
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

#[test]
fn every_statistic_is_that_of_the_groups_values_dense_and_csr() {
    let cluster = cluster(2, 64 << 20);
    let (rows, cols) = (103, 6);
    let values = matrix_of(rows, cols);
    // Nobody is in group d, one cell in e, some in none.
    let codes: Vec<i32> = (0..rows as i32).map(|i| if i == 50 { 4 } else { i * i % 5 % 4 - 1 }).collect();
    let groups: Vec<i32> = [0, 1, 2, 4].into_iter().filter(|group| codes.contains(group)).collect();
    let dense = Array::from_slice(rows, cols, &values).expect("its values");
    for x in [dense.clone(), dense.to_csr().expect("six columns"), dense.to_csr().expect("six").with_block_rows(10)] {
        let found = aggregate(&cluster, &data(x, codes.clone()), &options(&ALL)).expect("fits");
        assert_eq!(found.n_obs(), groups.len() as u64);
        for func in ALL {
            let expected: Vec<f64> = groups
                .iter()
                .flat_map(|group| {
                    let of_gene =
                        |gene| (0..rows).filter(|i| codes[*i] == *group).map(|i| values[i * cols + gene]).collect();
                    (0..cols).map(|gene| naive(func, of_gene(gene))).collect::<Vec<_>>()
                })
                .collect();
            let found = layer(&cluster, &found, func.name());
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // The naive variance of a mean of 1e6 loses up to 1e-12 of its square, which is 1e-11 of itself here.
                let near = (found - expected).abs() <= 1e-11 * expected.abs();
                assert!(near || found.is_nan() && expected.is_nan(), "{func:?} {at}: {found} {expected}");
            }
        }
    }
}

/// What scanpy gives for the data of the test below.
fn of_scanpy() -> [(&'static str, [[f64; 5]; 6]); 3] {
    let third = 1.0 / 3.0;
    let means = [
        [0.0, 4.0 + third, 1.0 + third, 0.0, -0.5],
        [0.0, 1.0, 1.5, 0.0, 0.0],
        [0.0, 1.75, 2.25, 0.0, -0.75],
        [0.0, 2.0, 3.5, 0.0, 0.0],
        [0.0, 2.0, 3.0, 0.0, -0.75],
        [0.0; 5],
    ];
    let variances = [
        [0.0, 10.0 + third, 1.0 + third, 0.0, 0.75],
        [0.0, 4.0, 9.0, 0.0, 0.0],
        [0.0, 8.25, 14.916666666666668, 0.0, 0.75],
        [0.0, 8.0, 0.5, 0.0, 0.0],
        [0.0, 8.0, 18.0, 0.0, 1.125],
        [f64::NAN; 5],
    ];
    let medians = [
        [0.0, 3.0, 2.0, 0.0, 0.0],
        [0.0; 5],
        [0.0, 0.5, 0.5, 0.0, -0.75],
        [0.0, 2.0, 3.5, 0.0, 0.0],
        [0.0, 2.0, 3.0, 0.0, -0.75],
        [0.0; 5],
    ];
    [("mean", means), ("var", variances), ("median", medians)]
}

#[test]
fn several_columns_give_the_numbers_of_scanpy() {
    // i = numpy.arange(23)[:, None]; j = numpy.arange(5)[None, :]; x = ((i*7 + j*3) % 5 * (i*j % 3)).astype(float)
    // x[:, 4] = numpy.where(numpy.arange(23) % 4 == 0, -1.5, 0)
    // obs = {"l": pandas.Categorical.from_codes(numpy.arange(23) * 5 % 7 % 4 - 1, ["b", "a", "c"]), "t": "x", "y", "x", …}
    // scanpy.get.aggregate(anndata, by=["l", "t"], func=["mean", "var", "median"])
    let cluster = cluster(1, 64 << 20);
    let value = |i: usize, j: usize| match j {
        4 => {
            if i.is_multiple_of(4) {
                -1.5
            } else {
                0.0
            }
        }
        _ => ((i * 7 + j * 3) % 5 * (i * j % 3)) as f64,
    };
    let values: Vec<f64> = (0..23 * 5).map(|at| value(at / 5, at % 5)).collect();
    let labels =
        Categories::new((0..23).map(|i| i * 5 % 7 % 4 - 1).collect(), ["b", "a", "c"].map(String::from).to_vec());
    let kinds = Column::Strings((0..23).map(|i| Some(["x", "y"][i % 2].to_string())).collect());
    let columns = vec![("l".to_string(), Column::Categories(labels)), ("t".to_string(), kinds)];
    let obs = Frame::in_memory(names(23), columns).expect("two columns");
    let x = Array::from_slice(23, 5, &values).and_then(|x| x.to_csr()).expect("its values");
    let data = AnnData::new(x, obs, Frame::in_memory(names(5), vec![]).expect("names")).expect("of one shape");
    let funcs = vec![Aggregation::Mean, Aggregation::Var, Aggregation::Median];
    let asked = AggregateOptions { by: vec!["l".into(), "t".into()], funcs, ..Default::default() };
    let found = aggregate(&cluster, &data, &asked).expect("fits");
    assert_eq!(found.obs_names().expect("names"), ["b_x", "b_y", "a_x", "a_y", "c_x", "c_y"]);
    for (name, expected) in of_scanpy() {
        for (found, expected) in layer(&cluster, &found, name).iter().zip(expected.as_flattened()) {
            // scanpy takes variances as a difference of squares, of numbers of one digit.
            let near = (found - expected).abs() < 1e-13;
            assert!(near || found.is_nan() && expected.is_nan(), "{name}: {found} {expected}");
        }
    }
}

#[test]
fn workers_allowances_and_grids_change_no_bit_and_strips_are_planned() {
    let (rows, cols) = (4000, 40);
    let values: Vec<f64> = matrix_of(rows, cols).iter().map(|x| x * 0.1).collect();
    let codes: Vec<i32> = (0..rows as i32).map(|i| i % 40).collect();
    let x = Array::from_slice(rows, cols, &values).and_then(|x| x.to_csr()).expect("its values");
    let large = cluster(2, 256 << 20);
    let first = aggregate(&large, &data(x.clone(), codes.clone()), &options(&ALL)).expect("fits");
    for (workers, allowance, block_rows) in [(1, 256 << 20, 4000), (3, 256 << 20, 37), (1, 48_000, 4), (2, 56_000, 4)] {
        let small = cluster(workers, allowance);
        let data = data(x.clone().with_block_rows(block_rows), codes.clone());
        let plan = options(&ALL).plan(&small, &data).expect("fits");
        // Forty groups leave one run, which strips share out to the lanes; small allowances need more of them.
        assert_eq!(plan.passes > workers, allowance < 1 << 20, "{plan}");
        assert!(plan.projected_bytes <= allowance, "{plan}");
        let found = aggregate(&small, &data, &options(&ALL)).expect("fits");
        for func in ALL {
            let (a, b) = (layer(&large, &first, func.name()), layer(&small, &found, func.name()));
            assert!(same(&a, &b), "{func:?} on {workers} workers with {allowance}");
        }
        let worst = small.runs().iter().map(|run| run.projected_bytes).max();
        assert!(worst.is_some_and(|bytes| bytes <= allowance), "{worst:?}");
    }
}

#[test]
fn nothing_to_group_gives_nothing_and_bad_settings_are_refused() {
    let cluster = cluster(1, 64 << 20);
    let x = Array::from_rows(&[[1.0, 2.0]]).expect("a row");
    let none = aggregate(&cluster, &data(x.clone(), vec![-1]), &options(&ALL)).expect("no group");
    assert_eq!((none.x.shape(), none.layers.len()), ((0, 2), 9));
    let empty = Array::zeros(0, 2, DType::F32, BlockKind::Csr).expect("two columns");
    assert_eq!(aggregate(&cluster, &data(empty, vec![]), &options(&ALL)).expect("no cell").n_obs(), 0);
    let one = aggregate(&cluster, &data(x.clone(), vec![2]), &options(&ALL)).expect("one cell");
    assert!(layer(&cluster, &one, "var").iter().all(|x| x.is_nan()), "one cell has no variance");
    assert_eq!(layer(&cluster, &one, "median"), [1.0, 2.0]);
    let refused = |asked: AggregateOptions| {
        aggregate(&cluster, &data(x.clone(), vec![0]), &asked).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refused(options(&[])).contains("funcs"));
    assert!(refused(options(&[Aggregation::Sum, Aggregation::Sum])).contains("sum twice"));
    assert!(
        refused(AggregateOptions { layer: Some("raw".into()), ..options(&[Aggregation::Sum]) }).contains("\"raw\"")
    );
}
