//! Rows of a product with the mean taken from every row first, of CSR blocks that must not be filled.
//!
//! ```text
//!   (x − μ)·V  =  Σ x·V over what is stored  −  μ·V
//!                 └── where the two nearly cancel, both are summed with twice the digits ──┘
//! ```
//!
//! Let the weight `w` of a column be the largest |V| of its row of V, `A = Σ (|x| + |μ|) w` what is summed for a row, and
//! `B = Σ |x − μ| w`, which bounds what is left, over all columns. Plain sums over n stored values err by at most
//! (n + 2) ε A; they are taken where A ≤ 16 B, so that no more than four bits are lost against a dense row, from which the mean
//! is taken before it is multiplied. Other rows (a column without zeros whose mean is large, say) are summed by Dot2
//! of Ogita, Rump & Oishi (2005, "Accurate sum and dot product", section 5): products by their rounding errors, sums by theirs, which
//! leaves ε of the result and (n ε)² A. That costs several times as much a stored value, and no memory. By the triangle inequality
//! A ≤ 16 B wherever what is stored has at most 15/17 of `Σ |μ| w`: few stored values tell that by their number alone.
//!
//! The bound is one for a row: a number of the product that is far smaller than the others of its row has digits as they have.
//! Always true: each row of the result depends on that row alone, and so does the way it is summed, whatever the grid.

use std::ops::Range;
use std::sync::Arc;

use nalgebra::DMatrix;

use super::sparse_row::SparseRow;

/// Plain sums may be so many times as large as what is left of them.
const MOST_LOSS: f64 = 16.0;
/// With no more than this share of `Σ |μ| w` stored they never are: (1 + s) / (1 − s) = 16; less a little for rounding.
const SAFE_SHARE: f64 = 0.88;

/// A mean, and what it makes of the product of every row.
#[derive(Debug)]
pub(super) struct Centre {
    mean: Arc<[f64]>,
    /// Of each column its mean and its weight.
    columns: Arc<[(f64, f64)]>,
    /// `Σ |μ| w`.
    of_mean: f64,
    /// So many stored values, in whichever columns, cannot have more than their safe share of that.
    always_safe: f64,
    /// `−μ·V`, as a sum of two: what is rounded, and what that leaves.
    high: Vec<f64>,
    low: Vec<f64>,
}

impl Centre {
    /// Takes the mean for the product with V, which lies turned: each of its rows is a column.
    pub(super) fn new(right_t: &DMatrix<f64>, mean: &[f64]) -> Self {
        let weight = |column: &[f64]| column.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let k = right_t.nrows();
        let weights = (0..mean.len()).map(|c| weight(&right_t.as_slice()[c * k..(c + 1) * k]));
        let columns: Arc<[(f64, f64)]> = mean.iter().copied().zip(weights).collect();
        let shares = columns.iter().map(|(mean, weight)| mean.abs() * weight);
        let (of_mean, most) = shares.fold((0.0, 0.0f64), |(sum, most), share| (sum + share, most.max(share)));
        let always_safe = if of_mean == 0.0 { f64::INFINITY } else { SAFE_SHARE * of_mean / most };
        let (mut high, mut low) = (vec![0.0; k], vec![0.0; k]);
        // More columns than 32 bits can number have no CSR blocks, and of dense ones the mean is taken before.
        let cols: Vec<u32> = (0..mean.len() as u32).collect();
        let values: Vec<f64> = mean.iter().map(|mean| -mean).collect();
        SparseRow { cols: &cols, values: &values }.add_times_in_pairs(right_t.as_slice(), &mut high, &mut low);
        for (high, low) in high.iter_mut().zip(&mut low) {
            let sum = *high + *low;
            // Small beside the first, so that what the sum leaves is exact.
            (*high, *low) = (sum, *low - (sum - *high));
        }
        Centre { mean: mean.into(), columns, of_mean, always_safe, high, low }
    }

    /// Returns the mean.
    pub(super) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Returns what it makes of some columns of the product. Each row is summed as it is for all of them.
    pub(super) fn narrowed(&self, cols: Range<usize>) -> Centre {
        let (mean, columns) = (self.mean.clone(), self.columns.clone());
        let (high, low) = (self.high[cols.clone()].to_vec(), self.low[cols].to_vec());
        Centre { mean, columns, high, low, ..*self }
    }

    /// Adds the product of a row less the mean to `out`, which holds zeros; `low` is scratch, as long as that.
    pub(super) fn times(&self, row: SparseRow<'_>, right: &[f64], out: &mut [f64], low: &mut [f64]) {
        if self.cancels(row) {
            out.copy_from_slice(&self.high);
            low.copy_from_slice(&self.low);
            row.add_times_in_pairs(right, out, low);
            out.iter_mut().zip(low).for_each(|(high, low)| *high += *low);
        } else {
            row.add_times(right, out);
            out.iter_mut().zip(&self.high).for_each(|(value, high)| *value += high);
        }
    }

    /// Returns whether plain sums for a row would be far larger than what is left of them.
    fn cancels(&self, row: SparseRow<'_>) -> bool {
        if row.cols.len() as f64 <= self.always_safe {
            return false;
        }
        let (mut summed, mut left) = (self.of_mean, self.of_mean);
        for (&col, &value) in row.cols.iter().zip(row.values) {
            let (mean, weight) = self.columns[col as usize];
            summed += value.abs() * weight;
            left += ((value - mean).abs() - mean.abs()) * weight;
        }
        // Where `left` itself is lost in the rounding of `of_mean`, it is far too small. NaN stays what it is in plain sums.
        summed > MOST_LOSS * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{Array, Block, CsrBlock, DType, DenseBlock, Values};
    use crate::runtime::Cluster;

    /// Numbers are whole multiples of these, so that i128 holds every product and every sum of them.
    const STEP: f64 = 1.0 / 1024.0;
    const RIGHT_STEP: f64 = 1.0 / (1u64 << 30) as f64;

    /// A whole number below `n` that looks random.
    fn hash(i: usize, j: usize, n: u64) -> i128 {
        let x = ((i * 1009 + j) as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        i128::from((x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20) % i128::from(n)
    }

    /// What is multiplied, in steps: rows, a mean, a right side.
    struct Case {
        rows: Vec<Vec<i128>>,
        mean: Vec<i128>,
        right: Vec<Vec<i128>>,
    }

    impl Case {
        /// Columns without a zero, with one zero, of mostly zeros, of zeros; a row of zeros, and one of the means.
        fn new(level: i128, n: usize, p: usize, k: usize) -> Case {
            let near = |i: usize, j: usize| level * 1024 + hash(i, j, 2048) - 1024;
            let value = |i: usize, j: usize| match j % 4 {
                _ if i == 3 => 0,
                0 => near(i, j),
                1 if i != j => near(i, j),
                2 if hash(i, j, 20) == 0 => hash(i, j, 4096),
                _ => 0,
            };
            let mut rows: Vec<Vec<i128>> = (0..n).map(|i| (0..p).map(|j| value(i, j)).collect()).collect();
            let mean: Vec<i128> = (0..p).map(|j| [level * 1024 + 13, level * 1024 - 9, 100, 0][j % 4]).collect();
            rows[1].clone_from(&mean);
            let right = (0..p).map(|j| (0..k).map(|c| hash(j, c + 7, 1 << 31) - (1 << 30)).collect()).collect();
            Case { rows, mean, right }
        }

        fn block(&self, dtype: DType) -> Block {
            let values: Vec<f64> = self.rows.iter().flatten().map(|value| *value as f64 * STEP).collect();
            let block = DenseBlock::new(self.rows.len(), self.mean.len(), Values::from(values)).expect("as many");
            Block::from(block).cast(dtype)
        }

        fn right(&self) -> DMatrix<f64> {
            let at = |i: usize, j: usize| self.right[i][j] as f64 * RIGHT_STEP;
            DMatrix::from_fn(self.mean.len(), self.right[0].len(), at)
        }

        fn mean(&self) -> Vec<f64> {
            self.mean.iter().map(|value| *value as f64 * STEP).collect()
        }

        /// Returns a number of the product, exact but for its last rounding.
        fn exact(&self, i: usize, c: usize) -> f64 {
            let deviation = |j: usize| self.rows[i][j] - self.mean[j];
            (0..self.mean.len()).map(|j| deviation(j) * self.right[j][c]).sum::<i128>() as f64 * STEP * RIGHT_STEP
        }

        /// Returns the most by which a number of a row may err: 16 (n + 2) ε B of the page, and its last rounding.
        fn bound(&self, i: usize) -> f64 {
            let weight = |j: usize| self.right[j].iter().map(|value| value.unsigned_abs()).max().unwrap_or(0) as f64;
            let left = |j: usize| (self.rows[i][j] - self.mean[j]).unsigned_abs() as f64 * weight(j);
            let p = self.mean.len();
            MOST_LOSS * (p + 3) as f64 * f64::EPSILON * (0..p).map(left).sum::<f64>() * STEP * RIGHT_STEP
        }

        fn worst(&self, found: &[f64], k: usize) -> f64 {
            let share = |at: usize| {
                let error = (found[at] - self.exact(at / k, at % k)).abs();
                if error == 0.0 { 0.0 } else { error / self.bound(at / k) }
            };
            (0..found.len()).map(share).fold(0.0, f64::max)
        }
    }

    fn product(array: Array, case: &Case) -> Vec<f64> {
        let cluster =
            Cluster::builder().allowance(crate::ByteSize(64 << 20)).workers(2).build().expect("sound settings");
        let product = array.with_block_rows(7).matmul_centred(&case.right(), &case.mean()).expect("the sizes meet");
        product.compute(&cluster).expect("small").to_vec()
    }

    #[test]
    fn large_means_cost_no_digits_in_either_kind_and_either_float() {
        // What f32 holds in steps of 1/1024 is below 2^14.
        for (level, dtype) in [(100_000_000, DType::F64), (0, DType::F64), (10_000, DType::F32), (1, DType::F32)] {
            for k in [1, 4, 7, 33] {
                let case = Case::new(level, 30, 24, k);
                let dense = Array::from_block(case.block(dtype));
                let csr = dense.to_csr().expect("24 columns");
                for array in [dense, csr] {
                    let name = format!("{level} {dtype} {k} {:?}", array.kind());
                    let worst = case.worst(&product(array, &case), k);
                    assert!(worst <= 1.0, "{name}: {worst} of the bound");
                }
            }
        }
    }

    #[test]
    fn plain_sums_would_not_do() {
        let case = Case::new(100_000_000, 30, 24, 4);
        let minus: Vec<f64> = (case.right().transpose() * nalgebra::DVector::from_vec(case.mean())).as_slice().to_vec();
        let product = super::super::matmul::Product::new(&case.right(), &minus);
        let csr = Block::from(case.block(DType::F64).into_csr().expect("24 columns"));
        let worst = case.worst(&product.apply(&csr, 0..4).values.to_vec::<f64>(), 4);
        assert!(worst > 1e3, "the test has lost its teeth: {worst}");
    }

    #[test]
    fn a_part_of_the_columns_has_the_bits_of_the_whole() {
        for level in [0, 100_000_000] {
            let case = Case::new(level, 30, 24, 9);
            let product = super::super::matmul::Product::centred(&case.right(), &case.mean());
            let csr = Block::from(case.block(DType::F64).into_csr().expect("24 columns"));
            let whole = Block::from(product.apply(&csr, 0..9)).to_nalgebra::<f64>();
            let part = Block::from(product.apply(&csr, 2..7)).to_nalgebra::<f64>();
            assert_eq!(part, whole.columns(2, 5));
        }
    }

    #[test]
    fn what_is_no_number_stays_so_in_its_row_alone() {
        let csr = CsrBlock::new(3, 1, vec![0, 1, 2, 3], vec![0, 0, 0], vec![f64::NAN, 5.0, f64::INFINITY]);
        let product = super::super::matmul::Product::centred(&DMatrix::from_element(1, 1, 2.0), &[4.0]);
        let found = product.apply(&csr.expect("sound").into(), 0..1).values.to_vec::<f64>();
        assert!(found[0].is_nan() && found[1] == 2.0 && found[2] == f64::INFINITY, "{found:?}");
    }
}
