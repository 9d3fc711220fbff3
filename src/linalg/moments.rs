//! Number of rows, column means and centred gram of a matrix, block by block, without cancellation.
//!
//! Each block is centred by itself and blocks are joined by Chan's formula, so that nothing is ever computed as the
//! small difference of two large numbers: `Σx² / n − mean²` loses every digit where the mean is large beside the
//! deviation. A dense block is shifted by its own means before its gram is taken. A CSR block cannot be: zeros would no
//! longer be zero. But there only columns without a single zero need it, because a column with one has a variance of
//! at least mean² / rows; and shifting full columns leaves the pattern as it is.

use nalgebra::DMatrix;

use super::products::{Shifted, gram_bytes};
use crate::array::Block;
use crate::error::Result;

/// Rows, means and centred gram of some rows.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    /// How many rows.
    pub(crate) n: u64,
    /// A number near each column's mean, and how far the mean is from it. Kept apart, because the difference of two means
    /// would lose what their own size rounds away.
    near: Vec<f64>,
    off: Vec<f64>,
    /// Σ (x − mean)(x − mean)ᵀ, upper triangle.
    pub(crate) m2: DMatrix<f64>,
}

/// Returns what [`Moments`] of so many columns hold.
pub(crate) fn moments_bytes(n_cols: usize) -> u64 {
    (n_cols * n_cols + 2 * n_cols) as u64 * 8
}

/// Returns what [`Moments::of_block`] holds besides the block and the result.
pub(crate) fn of_block_bytes(n_cols: usize) -> u64 {
    gram_bytes(n_cols) + 4 * n_cols as u64 * 8
}

impl Moments {
    /// Computes the moments of a block.
    pub(crate) fn of_block(block: &Block) -> Result<Self> {
        let (n, p) = block.shape();
        let (mut m2, mut sums) = (DMatrix::zeros(p, p), vec![0.0; p]);
        if n == 0 {
            return Ok(Moments { n: 0, near: vec![0.0; p], off: sums, m2 });
        }
        let near = safe_shift(block)?;
        let shifted = Shifted::new(block, &near);
        shifted.add_gram(&mut m2)?;
        shifted.add_column_sums(&mut sums)?;
        // What centring at the true mean changes.
        add_outer_product(&mut m2, &sums, -1.0 / n as f64);
        sums.iter_mut().for_each(|sum| *sum /= n as f64);
        Ok(Moments { n: n as u64, near, off: sums, m2 })
    }

    /// Joins the moments of two runs of rows.
    pub(crate) fn combine(mut left: Self, right: Self) -> Self {
        if left.n == 0 || right.n == 0 {
            return if left.n == 0 { right } else { left };
        }
        let (n, m) = (left.n as f64, right.n as f64);
        let delta: Vec<f64> =
            (0..left.off.len()).map(|j| (right.near[j] - left.near[j]) + (right.off[j] - left.off[j])).collect();
        left.m2 += right.m2;
        add_outer_product(&mut left.m2, &delta, n * m / (n + m));
        for (off, delta) in left.off.iter_mut().zip(&delta) {
            *off += delta * (m / (n + m));
        }
        left.n += right.n;
        left
    }

    /// Returns each column's mean.
    pub(crate) fn mean(&self) -> Vec<f64> {
        self.near.iter().zip(&self.off).map(|(near, off)| near + off).collect()
    }

    /// Returns the column whose sum of squares is infinite or not a number, if there is one.
    pub(crate) fn first_unsound_column(&self) -> Option<usize> {
        (0..self.off.len()).find(|&j| !self.m2[(j, j)].is_finite() || !self.off[j].is_finite())
    }
}

/// Returns a shift near the mean for every column of which all values are stored, zero for the others.
pub(crate) fn safe_shift(block: &Block) -> Result<Vec<f64>> {
    let (n, p) = block.shape();
    let mut means = vec![0.0; p];
    Shifted::new(block, &[]).add_column_sums(&mut means)?;
    means.iter_mut().for_each(|sum| *sum /= n as f64);
    if let Block::Csr(csr) = block {
        let mut stored = vec![0usize; p];
        csr.indices.iter().for_each(|&col| stored[col as usize] += 1);
        means.iter_mut().zip(stored).filter(|(_, stored)| *stored < n).for_each(|(mean, _)| *mean = 0.0);
    }
    Ok(means)
}

fn add_outer_product(m2: &mut DMatrix<f64>, x: &[f64], factor: f64) {
    for (j, mut column) in m2.column_iter_mut().enumerate() {
        let scaled = factor * x[j];
        column.iter_mut().zip(&x[..=j]).for_each(|(target, x)| *target += scaled * x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::testing::{dense_block, noise};

    fn naive(a: &DMatrix<f64>) -> (Vec<f64>, DMatrix<f64>) {
        let mean: Vec<f64> = a.column_iter().map(|column| column.mean()).collect();
        let centred = DMatrix::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)] - mean[j]);
        (mean, (centred.transpose() * &centred).upper_triangle())
    }

    fn blocks_of(a: &DMatrix<f64>, rows: usize, csr: bool) -> Vec<Block> {
        let cut = |first| a.rows(first, rows.min(a.nrows() - first)).into_owned();
        let dense = (0..a.nrows()).step_by(rows).map(|first| dense_block(&cut(first)));
        dense.map(|block| if csr { Block::Csr(block.into_csr().unwrap()) } else { block }).collect()
    }

    fn joined(blocks: &[Block]) -> Moments {
        blocks.iter().map(|block| Moments::of_block(block).unwrap()).reduce(Moments::combine).unwrap()
    }

    #[test]
    fn moments_equal_the_two_pass_ones_however_the_rows_are_cut() {
        let a = noise(97, 6, 1).map(|x| if x < 0.1 { 0.0 } else { x });
        let (mean, m2) = naive(&a);
        for (rows, csr) in [(97, false), (10, false), (1, false), (97, true), (10, true), (1, true)] {
            let found = joined(&blocks_of(&a, rows, csr));
            assert_eq!(found.n, 97);
            // Sums of 97 numbers below one, in another order: n ε.
            assert!((&found.m2 - &m2).amax() < 97.0 * f64::EPSILON, "{rows} rows a block, csr {csr}");
            assert!(found.mean().iter().zip(&mean).all(|(f, m)| (f - m).abs() < 97.0 * f64::EPSILON));
        }
    }

    #[test]
    fn a_mean_a_billion_times_the_deviation_costs_no_digits() {
        // Steps of 2^-10 around 2^30 are exact in f64, so that centring is exact too.
        let steps = noise(200, 3, 2).map(|x| (x * 64.0).round() / 1024.0);
        let (_, m2) = naive(&steps);
        for csr in [false, true] {
            let found = joined(&blocks_of(&steps.add_scalar(2f64.powi(30)), 32, csr));
            // As if the mean were zero: sums of 200 squares of about 2^-5.
            let tolerance = 200.0 * f64::EPSILON * 2f64.powi(-10);
            assert!((&found.m2 - &m2).amax() < tolerance, "csr {csr}: {} {}", found.m2, m2);
        }
    }

    #[test]
    fn an_empty_block_changes_nothing() {
        let a = noise(5, 2, 3);
        let (all, none) = (dense_block(&a), dense_block(&DMatrix::zeros(0, 2)));
        let expected = joined(std::slice::from_ref(&all));
        for blocks in [[all.clone(), none.clone()], [none, all]] {
            let found = joined(&blocks);
            assert_eq!((found.n, found.mean(), &found.m2), (5, expected.mean(), &expected.m2));
        }
    }
}
