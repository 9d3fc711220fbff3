//! Reductions against plain loops: random shapes and grids, dense and CSR with stored zeros, all dtypes with the ends of
//! their range, NaN, infinities and both zeros.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use crate::ByteSize;
use crate::array::values::{Values, map_values, with_values};
use crate::array::{Block, CsrBlock, DenseBlock};

/// A value as loops compare it: integers exactly.
#[derive(Clone, Copy, Debug)]
enum Exact {
    Integer(i128),
    Float(f64),
}

impl Exact {
    fn to_f64(self) -> f64 {
        match self {
            Exact::Integer(value) => value as f64,
            Exact::Float(value) => value,
        }
    }

    /// Orders as NumPy's `sort`: NaN last.
    fn order(&self, other: &Exact) -> Ordering {
        match (self, other) {
            (Exact::Integer(a), Exact::Integer(b)) => a.cmp(b),
            _ => {
                let (a, b) = (self.to_f64(), other.to_f64());
                a.partial_cmp(&b).unwrap_or(a.is_nan().cmp(&b.is_nan()))
            }
        }
    }
}

fn exact(values: &Values) -> Vec<Exact> {
    match values {
        Values::F32(_) | Values::F64(_) => values.to_vec::<f64>().into_iter().map(Exact::Float).collect(),
        Values::U64(buffer) => buffer.iter().map(|value| Exact::Integer(i128::from(*value))).collect(),
        _ => values.to_vec::<i64>().into_iter().map(|value| Exact::Integer(i128::from(value))).collect(),
    }
}

/// A matrix in rows, and for each value whether it is stored.
#[derive(Clone, Debug)]
struct Naive {
    rows: usize,
    cols: usize,
    values: Vec<Exact>,
    stored: Vec<bool>,
}

impl Naive {
    /// Returns the places of each group's values.
    fn groups(&self, over: Over) -> Vec<Vec<usize>> {
        let (rows, cols) = (self.rows, self.cols);
        match over {
            Over::Whole => vec![(0..rows * cols).collect()],
            Over::EachRow => (0..rows).map(|i| (0..cols).map(|j| i * cols + j).collect()).collect(),
            Over::EachColumn => (0..cols).map(|j| (0..rows).map(|i| i * cols + j).collect()).collect(),
        }
    }

    fn answer(&self, statistic: Statistic, group: &[usize]) -> f64 {
        let values: Vec<Exact> = group.iter().map(|at| self.values[*at]).collect();
        let numbers: Vec<f64> = values.iter().map(|value| value.to_f64()).collect();
        let n = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let nonzero = numbers.iter().filter(|value| **value != 0.0).count();
        let var = |ddof: u64| match n > ddof as f64 {
            true => numbers.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - ddof as f64),
            false => f64::NAN,
        };
        let nan = numbers.iter().position(|value| value.is_nan());
        let first = |end: Ordering| {
            let beats = |a: usize, b: usize| if values[b].order(&values[a]) == end { b } else { a };
            nan.or((0..values.len()).reduce(beats))
        };
        let value = |at: Option<usize>| at.map_or(f64::NAN, |at| numbers[at]);
        let place = |at: Option<usize>| at.map_or(f64::NAN, |at| at as f64);
        match statistic {
            Statistic::Sum => numbers.iter().sum(),
            Statistic::Mean => mean,
            Statistic::Var { ddof } => var(ddof),
            Statistic::Std { ddof } => var(ddof).sqrt(),
            Statistic::Min => value(first(Ordering::Less)),
            Statistic::Max => value(first(Ordering::Greater)),
            Statistic::ArgMin => place(first(Ordering::Less)),
            Statistic::ArgMax => place(first(Ordering::Greater)),
            Statistic::CountNonzero => nonzero as f64,
            Statistic::Nnz => group.iter().filter(|at| self.stored[**at]).count() as f64,
            Statistic::Any => f64::from(u8::from(nonzero > 0)),
            Statistic::All => f64::from(u8::from(nonzero == numbers.len())),
            Statistic::Median => quantile(values, 0.5),
            Statistic::Quantile(q) => quantile(values, q),
        }
    }
}

fn quantile(mut values: Vec<Exact>, q: f64) -> f64 {
    values.sort_by(Exact::order);
    match values.last().map(|last| last.to_f64()) {
        Some(last) if !last.is_nan() => {}
        _ => return f64::NAN,
    }
    let place = q * (values.len() - 1) as f64;
    let [low, high] = [place.floor(), place.ceil()].map(|at| values[at as usize].to_f64());
    let part = place - place.floor();
    if low == high { low } else { low * (1.0 - part) + high * part }
}

/// Returns values of a dtype: tame ones are small and finite, wild ones go to the ends of the dtype.
fn values(dtype: DType, wild: bool, picks: &[u8]) -> Values {
    const FLOATS: [f64; 10] =
        [0.0, -0.0, 1.0, -1.0, 2.5, f64::INFINITY, f64::NEG_INFINITY, 5e-324, -f64::MAX, f64::NAN];
    const INTEGERS: [i64; 10] = [0, 0, 1, -1, 7, i64::MAX, i64::MAX - 1, i64::MIN, 1 << 53, (1 << 53) + 1];
    const TAME: [i64; 10] = [0, 0, 0, 1, 2, 3, 3, 5, 8, 13];
    // A NaN in every group would leave nothing else to see.
    let place = |pick: &u8| if *pick == 255 { 9 } else { usize::from(pick % 9) };
    match (wild, dtype.is_float()) {
        (true, true) => Values::from(picks.iter().map(|pick| FLOATS[place(pick)]).collect::<Vec<_>>()).cast(dtype),
        (true, false) => Values::from(picks.iter().map(|pick| INTEGERS[place(pick)]).collect::<Vec<_>>()).cast(dtype),
        (false, _) => Values::from(picks.iter().map(|pick| TAME[place(pick)]).collect::<Vec<_>>()).cast(dtype),
    }
}

/// Leaves out zeros, but for every third one.
fn csr(block: &DenseBlock) -> CsrBlock {
    let (mut indptr, mut indices, mut kept) = (vec![0u64], Vec::new(), Vec::new());
    for row in 0..block.rows {
        for col in 0..block.cols {
            let at = row * block.cols + col;
            if block.values.at(at) != 0.0 || at.is_multiple_of(3) {
                indices.push(col as u32);
                kept.push(at);
            }
        }
        indptr.push(indices.len() as u64);
    }
    let values = map_values!(&block.values, buffer => kept.iter().map(|at| buffer[*at]).collect::<Vec<_>>().into());
    CsrBlock::new(block.rows, block.cols, indptr, indices, values).expect("sound")
}

fn matrix(dtype: DType, kind: bool, wild: bool, lengths: &[usize], cols: usize, picks: &[u8]) -> (Naive, Array) {
    let rows: usize = lengths.iter().sum();
    let dense = DenseBlock::new(rows, cols, values(dtype, wild, &picks[..rows * cols])).expect("its values");
    let mut naive = Naive { rows, cols, values: exact(&dense.values), stored: vec![true; rows * cols] };
    let whole = if kind {
        let csr = csr(&dense);
        naive.stored.fill(false);
        for row in 0..rows {
            csr.indices[csr.row(row)].iter().for_each(|col| naive.stored[row * cols + *col as usize] = true);
        }
        Block::from(csr)
    } else {
        dense.into()
    };
    let mut first = 0;
    let blocks = lengths.iter().map(|n| {
        first += n;
        whole.slice_rows(first - n..first)
    });
    (naive, Array::from_blocks(blocks.collect::<Vec<_>>()).expect("alike"))
}

/// What is exact, whatever the values.
fn order_statistics(q: f64) -> Vec<Statistic> {
    use Statistic::*;
    vec![Min, Max, ArgMin, ArgMax, CountNonzero, Nnz, Any, All, Median, Quantile(q), Quantile(0.0), Quantile(1.0)]
}

fn close(found: f64, expected: f64, tolerance: f64) -> bool {
    found == expected || (found - expected).abs() <= tolerance || (found.is_nan() && expected.is_nan())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_statistic_says_what_plain_loops_say(
        lengths in prop::collection::vec(0..6usize, 1..5),
        cols in 0..8usize,
        (dtype, kind, wild) in (prop::sample::select(DType::ALL.to_vec()), any::<bool>(), any::<bool>()),
        picks in prop::collection::vec(any::<u8>(), 20 * 7),
        (q, ddof, allowance) in (0.0..1.0, 0..3u64, 14..22u32),
        grid in prop::option::of((1..4u64, 1..4u64)),
    ) {
        let (naive, array) = matrix(dtype, kind, wild, &lengths, cols, &picks);
        let array = grid.iter().fold(array, |array, (rows, cols)| array.rechunk(*rows, *cols));
        let builder = Cluster::builder().allowance(ByteSize(1 << allowance)).workers(2);
        let cluster = builder.build().expect("sound settings");
        let mut statistics = order_statistics(q);
        if !wild {
            statistics.extend([Statistic::Sum, Statistic::Mean, Statistic::Var { ddof }, Statistic::Std { ddof }]);
        }
        let overs = [Over::Whole, Over::EachRow, Over::EachColumn];
        let asked: Vec<_> = statistics.iter().flat_map(|s| overs.map(|over| (*s, over))).collect();
        let found = array.reduce_many(&cluster, &asked, None).expect("it fits");
        for ((statistic, over), found) in asked.iter().zip(found) {
            let groups = naive.groups(*over);
            prop_assert_eq!(found.len(), groups.len());
            for (found, group) in found.into_iter().zip(groups) {
                let expected = naive.answer(*statistic, &group);
                let tolerance = match statistic {
                    // Interpolating rounds twice, and cancels where the ends have two signs.
                    Statistic::Quantile(_) | Statistic::Median => 4.0 * f64::EPSILON * ends(&naive, &group),
                    // Sums of 140 squares of at most 13; where all are equal the root doubles the digits that are lost.
                    Statistic::Std { .. } => 1e-6_f64.min(140.0 * f64::EPSILON * 169.0 / expected),
                    Statistic::Sum | Statistic::Mean | Statistic::Var { .. } => 140.0 * f64::EPSILON * 169.0,
                    _ => 0.0,
                };
                prop_assert!(close(found, expected, tolerance), "{:?} {:?}: {} {}", statistic, over, found, expected);
            }
        }
    }

    #[test]
    fn the_ends_are_found_exactly_in_every_dtype(
        lengths in prop::collection::vec(1..6usize, 1..5),
        cols in 1..8usize,
        (dtype, kind) in (prop::sample::select(DType::ALL.to_vec()), any::<bool>()),
        picks in prop::collection::vec(any::<u8>(), 20 * 7),
    ) {
        let (naive, array) = matrix(dtype, kind, true, &lengths, cols, &picks);
        let cluster = Cluster::builder().allowance(ByteSize(1 << 20)).workers(2).build().expect("sound settings");
        for over in [Over::Whole, Over::EachRow, Over::EachColumn] {
            let least = array.min_values(&cluster, over).expect("it fits");
            let places = array.argmin(&cluster, over).expect("it fits");
            prop_assert_eq!(least.dtype(), dtype);
            for ((least, place), group) in exact(&least).into_iter().zip(places).zip(naive.groups(over)) {
                let first = naive.values[group[place as usize]];
                prop_assert_eq!(least.order(&first), Ordering::Equal);
                prop_assert_eq!(naive.answer(Statistic::ArgMin, &group), place as f64);
            }
        }
    }
}

/// The largest finite size in a group.
fn ends(naive: &Naive, group: &[usize]) -> f64 {
    let sizes = group.iter().map(|at| naive.values[*at].to_f64().abs()).filter(|size| size.is_finite());
    sizes.fold(0.0, f64::max)
}

#[test]
fn a_matrix_of_the_oracle_has_stored_zeros_and_left_out_ones() {
    let (naive, array) = matrix(DType::F32, true, false, &[2, 0, 1], 4, &[0; 12]);
    assert_eq!(naive.stored.iter().filter(|stored| **stored).count(), 4);
    assert_eq!(array.shape(), (3, 4));
    let block = csr(&DenseBlock::new(1, 2, vec![0u8, 0]).expect("two values"));
    assert_eq!(with_values!(&block.values, buffer => buffer.len()), 1);
}
