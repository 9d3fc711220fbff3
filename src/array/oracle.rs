//! The slow, obvious version of arrays: a `Vec<f64>` and loops. Random chains of operations on random matrices, cut in
//! random ways, must say the same as it does.

use nalgebra::DMatrix;
use proptest::prelude::*;

use super::*;
use crate::error::Result;
use crate::{ByteSize, Cluster};

/// A matrix without any cleverness.
#[derive(Clone, Debug)]
struct Naive {
    rows: usize,
    cols: usize,
    values: Vec<f64>,
}

impl Naive {
    fn from_fn(rows: usize, cols: usize, f: impl Fn(usize, usize) -> f64) -> Naive {
        let values = (0..rows * cols).map(|at| f(at / cols, at % cols)).collect();
        Naive { rows, cols, values }
    }

    fn at(&self, row: usize, col: usize) -> f64 {
        self.values[row * self.cols + col]
    }

    fn map(&self, f: impl Fn(usize, usize, f64) -> f64) -> Naive {
        Naive::from_fn(self.rows, self.cols, |i, j| f(i, j, self.at(i, j)))
    }

    fn row_sum(&self, row: usize) -> f64 {
        (0..self.cols).map(|col| self.at(row, col)).sum()
    }
}

/// A step of a chain; numbers are reduced to what the shape allows when it is applied.
#[derive(Clone, Debug)]
enum Step {
    Log1p,
    Square,
    Scale(f64),
    Normalize,
    ScaleRows,
    ScaleCols,
    Columns(Vec<usize>),
    Rows(usize, usize),
    Dense,
    Csr,
    Double,
    MatMul(usize),
    Reverse,
    Persist,
    BlockRows(u64),
    Rechunk(u64, u64),
    Turn,
    RowList(Vec<usize>),
    Below,
    Beside,
    Gram,
    Twice,
    Times(f64),
    PlusRow,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Log1p),
        Just(Step::Square),
        (0.5..2.0).prop_map(Step::Scale),
        Just(Step::Normalize),
        Just(Step::ScaleRows),
        Just(Step::ScaleCols),
        prop::collection::vec(0..20usize, 0..6).prop_map(Step::Columns),
        (0..20usize, 0..20usize).prop_map(|(a, b)| Step::Rows(a, b)),
        Just(Step::Dense),
        Just(Step::Csr),
        Just(Step::Double),
        (0..8usize).prop_map(Step::MatMul),
        Just(Step::Reverse),
        Just(Step::Persist),
        (1..9u64).prop_map(Step::BlockRows),
        (1..9u64, 1..5u64).prop_map(|(rows, cols)| Step::Rechunk(rows, cols)),
        Just(Step::Turn),
        prop::collection::vec(0..20usize, 0..6).prop_map(Step::RowList),
        Just(Step::Below),
        Just(Step::Beside),
        Just(Step::Gram),
        Just(Step::Twice),
        (0.5..2.0).prop_map(Step::Times),
        Just(Step::PlusRow),
    ]
}

/// Factors that are not all alike, and positive, so that nothing cancels.
fn factor(index: usize) -> f64 {
    0.5 + (index % 5) as f64 / 4.0
}

fn factors(n: usize) -> Vec<f64> {
    (0..n).map(factor).collect()
}

/// Mirrors the columns of every block: a caller's function that looks at each value's place.
fn reverse(array: &Array) -> Result<Array> {
    let map = BlockMap::new("reverse", array.cols(), array.dtype(), BlockKind::Dense, |block, info| {
        assert_eq!(info.shape, block.shape());
        let (rows, cols) = block.shape();
        let dtype = block.dtype();
        let values: Vec<f64> =
            block.to_vec::<f64>().chunks(cols.max(1)).flat_map(|r| r.iter().rev().copied()).collect();
        Ok(DenseBlock::new(rows, cols, Values::from(values).cast(dtype))?.into())
    });
    array.map_blocks(map)
}

fn apply(step: &Step, naive: &Naive, array: &Array, cluster: &Cluster) -> Result<(Naive, Array)> {
    let (rows, cols) = (naive.rows, naive.cols);
    Ok(match step {
        Step::Log1p => (naive.map(|_, _, v| v.ln_1p()), array.log1p()),
        Step::Square => (naive.map(|_, _, v| v * v), array.square()),
        Step::Scale(by) => (naive.map(|_, _, v| v * by), array.scale(*by)),
        Step::Normalize => {
            let scale = |row| if naive.row_sum(row) == 0.0 { 1.0 } else { 10.0 / naive.row_sum(row) };
            (naive.map(|row, _, v| v * scale(row)), array.normalize_rows(10.0))
        }
        Step::ScaleRows => (naive.map(|row, _, v| v * factor(row)), array.scale_rows(&factors(rows))?),
        Step::ScaleCols => (naive.map(|_, col, v| v * factor(col)), array.scale_cols(&factors(cols))?),
        Step::Columns(list) => {
            let list: Vec<usize> = if cols == 0 { vec![] } else { list.iter().map(|col| col % cols).collect() };
            let columns: Vec<u64> = list.iter().map(|col| *col as u64).collect();
            (Naive::from_fn(rows, list.len(), |i, j| naive.at(i, list[j])), array.select_columns(columns)?)
        }
        Step::Rows(a, b) => {
            let (start, end) = (*a.min(b).min(&rows), *a.max(b).min(&rows));
            let kept = Naive::from_fn(end - start, cols, |i, j| naive.at(start + i, j));
            (kept, array.select_rows(start as u64..end as u64)?)
        }
        Step::Dense => (naive.clone(), array.to_dense()),
        Step::Csr => (naive.clone(), array.to_csr()?),
        Step::Double => (naive.clone(), array.astype(DType::F64)),
        Step::MatMul(k) => {
            let right = DMatrix::from_fn(cols, *k, |i, j| factor(i + 3 * j));
            let sum = |i, j| (0..cols).map(|c| naive.at(i, c) * right[(c, j)]).sum();
            (Naive::from_fn(rows, *k, sum), array.matmul(&right)?)
        }
        Step::Reverse => (Naive::from_fn(rows, cols, |i, j| naive.at(i, cols - 1 - j)), reverse(array)?),
        Step::Persist => (naive.clone(), array.persist(cluster)?),
        Step::BlockRows(n) => (naive.clone(), array.clone().with_block_rows(*n)),
        Step::Twice => (naive.map(|_, _, v| v + v), array.add(array)?),
        Step::Times(by) => (naive.map(|_, _, v| v * by), array.multiply(*by)?),
        Step::PlusRow => {
            let row = Array::from_slice(1, cols, &factors(cols))?;
            (naive.map(|_, col, v| v + factor(col)), array.add(&row)?)
        }
        step => return rearranged(step, naive, array),
    })
}

/// Steps that put rows and columns elsewhere, or several arrays together.
fn rearranged(step: &Step, naive: &Naive, array: &Array) -> Result<(Naive, Array)> {
    let (rows, cols) = (naive.rows, naive.cols);
    Ok(match step {
        Step::Rechunk(n, m) => (naive.clone(), array.clone().rechunk(*n, *m)),
        Step::Turn => (Naive::from_fn(cols, rows, |i, j| naive.at(j, i)), array.transpose()),
        Step::RowList(list) => {
            let list: Vec<usize> = if rows == 0 { vec![] } else { list.iter().map(|row| row % rows).collect() };
            let kept: Vec<u64> = list.iter().map(|row| *row as u64).collect();
            (Naive::from_fn(list.len(), cols, |i, j| naive.at(list[i], j)), array.select_rows(kept)?)
        }
        // Not for ever: eight times the start, and no more.
        Step::Below if rows > 40 => (naive.clone(), array.clone()),
        Step::Beside if cols > 40 => (naive.clone(), array.clone()),
        Step::Below => {
            let both = Naive::from_fn(2 * rows, cols, |i, j| naive.at(i % rows, j));
            (both, Array::vstack(&[array.clone(), array.clone()])?)
        }
        Step::Beside => {
            let both = Naive::from_fn(rows, 2 * cols, |i, j| naive.at(i, j % cols));
            (both, Array::hstack(&[array.clone(), array.clone()])?)
        }
        Step::Gram => {
            let sum = |i, j| (0..cols).map(|c| naive.at(i, c) * naive.at(j, c)).sum();
            (Naive::from_fn(rows, rows, sum), array.dot(&array.transpose())?)
        }
        step => unreachable!("{step:?} stands above"),
    })
}

/// A start: small counts, many of them zero, as blocks of these lengths, in some dtype and kind.
fn start() -> impl Strategy<Value = (Naive, Array)> {
    let lengths = prop::collection::vec(0..6usize, 1..5);
    let dtypes = prop::sample::select(vec![DType::U8, DType::I32, DType::F32, DType::F64]);
    (lengths, 0..8usize, any::<u64>(), dtypes, any::<bool>()).prop_map(|(lengths, cols, seed, dtype, csr)| {
        let count = |i: usize, j: usize| {
            let mixed = (seed ^ (i * 31 + j) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            if mixed.is_multiple_of(3) { (mixed / 3 % 5) as f64 } else { 0.0 }
        };
        let naive = Naive::from_fn(lengths.iter().sum(), cols, count);
        let whole =
            DenseBlock::new(naive.rows, cols, Values::from(naive.values.clone()).cast(dtype)).expect("its shape");
        let whole = if csr { whole.to_csr().expect("few columns").into() } else { Block::from(whole) };
        let mut first = 0;
        let blocks = lengths.into_iter().map(|n| {
            first += n;
            whole.slice_rows(first - n..first)
        });
        (naive, Array::from_blocks(blocks.collect::<Vec<_>>()).expect("alike"))
    })
}

fn cluster() -> Cluster {
    Cluster::builder().allowance(ByteSize(1 << 20)).workers(2).build().expect("sound settings")
}

fn close(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= tolerance
        || found.to_bits() == expected.to_bits()
        || (found.is_nan() && expected.is_nan())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chain_on_any_grid_says_what_plain_loops_say(
        (mut naive, mut array) in start(),
        steps in prop::collection::vec(step(), 0..6),
    ) {
        let cluster = cluster();
        let mut single = array.dtype() == DType::F32;
        for step in &steps {
            (naive, array) = apply(step, &naive, &array, &cluster).expect("steps fit their shapes");
            single |= array.dtype() == DType::F32;
        }
        prop_assert_eq!(array.shape(), (naive.rows as u64, naive.cols as u64));
        let block = array.compute(&cluster).expect("it fits");
        prop_assert_eq!((block.dtype(), block.kind()), (array.dtype(), array.kind()));
        // A step rounds a few times, a square doubles the error before it; nothing cancels.
        let unit = if single { f64::from(f32::EPSILON) } else { f64::EPSILON };
        for (found, expected) in block.to_vec::<f64>().into_iter().zip(&naive.values) {
            prop_assert!(close(found, *expected, 256.0 * unit * expected), "{} {}", found, expected);
        }
        // Whatever has no closure and no chunks says the same from its bytes.
        if let Ok(bytes) = array.to_plan_bytes() {
            let again = Array::from_plan_bytes(&bytes, |address| panic!("no file is named: {address:?}")).expect("written a line above");
            prop_assert_eq!((again.row_cuts(), again.col_cuts()), (array.row_cuts(), array.col_cuts()));
            let bits = |block: &Block| block.to_vec::<f64>().into_iter().map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(&again.compute(&cluster).expect("it fits")), bits(&block));
        }
        let plan = array.plan(&cluster).expect("it fits");
        for block in array.blocks(&cluster).expect("it fits") {
            prop_assert!(block.expect("it was computed before").anonymous_bytes() <= plan.projected_bytes);
        }
    }

    #[test]
    fn elementwise_chains_have_the_same_bits_on_any_grid(
        (_, array) in start(),
        (one, other) in (1..9u64, 1..30u64),
        scale in 0.5..2.0,
    ) {
        let cluster = cluster();
        let chain = array.normalize_rows(10.0).log1p().scale(scale).scale_cols(&factors(array.cols() as usize));
        let chain = chain.expect("a factor for each");
        let bits = |rows| -> Vec<u64> {
            let block = chain.clone().with_block_rows(rows).compute(&cluster).expect("it fits");
            block.to_vec::<f64>().into_iter().map(f64::to_bits).collect()
        };
        prop_assert_eq!(bits(one), bits(other));
    }

    #[test]
    fn reductions_say_what_plain_loops_say((_, array) in start(), block_rows in 1..9u64, ddof in 0..3u64) {
        let cluster = cluster();
        let array = array.normalize_rows(10.0).with_block_rows(block_rows);
        let values = array.compute(&cluster).expect("it fits").to_vec::<f64>();
        let (rows, cols) = (array.rows() as usize, array.cols() as usize);
        let naive = Naive { rows, cols, values };
        let groups = |over| -> Vec<Vec<f64>> {
            let column = |j| (0..rows).map(|i| naive.at(i, j)).collect();
            match over {
                Over::Whole => vec![naive.values.clone()],
                Over::EachRow => (0..rows).map(|i| (0..cols).map(|j| naive.at(i, j)).collect()).collect(),
                Over::EachColumn => (0..cols).map(column).collect(),
            }
        };
        for over in [Over::Whole, Over::EachRow, Over::EachColumn] {
            let asked = [Statistic::Sum, Statistic::Mean, Statistic::Var { ddof }, Statistic::CountNonzero].map(|s| (s, over));
            let found = array.reduce_many(&cluster, &asked, None).expect("it fits");
            let groups = groups(over);
            prop_assert!(found.iter().all(|answer| answer.len() == groups.len()));
            for (i, group) in groups.iter().enumerate() {
                let n = group.len() as f64;
                let sum: f64 = group.iter().sum();
                let squares: f64 = group.iter().map(|v| (v - sum / n).powi(2)).sum();
                let var = if n > ddof as f64 { squares / (n - ddof as f64) } else { f64::NAN };
                // Fewer than 200 values up to 10: the loops lose less than this much of their largest sum.
                let slack = 200.0 * f64::EPSILON;
                prop_assert!(close(found[0][i], sum, slack * sum));
                prop_assert!(close(found[1][i], sum / n, slack * sum / n));
                prop_assert!(close(found[2][i], var, slack * 100.0), "{} {}", found[2][i], var);
                prop_assert_eq!(found[3][i], group.iter().filter(|v| **v != 0.0).count() as f64);
            }
        }
    }
}
