//! R and the column means of a centred dense matrix, in one pass.
//!
//! A block is centred by its own means and factored. Two runs of rows are joined as Chan, Golub & LeVeque (1983) join sums
//! of squares, but without squaring anything: what lies between the means is one more row.
//!
//! ```text
//!   n, mean, R of rows less mean ┐
//!                                ├─▶ n + m, joint mean, R of [ R₁ ; R₂ ; √(nm/(n+m)) · (mean₂ − mean₁) ]
//!   m, mean, R of rows less mean ┘
//! ```
//!
//! Always true: nothing is the small difference of two large numbers, and no number is squared, so that a variance of
//! 10⁻²⁰ of the largest is still found.

use nalgebra::DMatrix;

use crate::array::{Array, Block, Working};
use crate::error::Result;
use crate::linalg::block_qr::{BlockWays, Rows, r_bytes};
use crate::linalg::dense::{qr_bytes, qr_r};
use crate::linalg::gram::{refuse_unsound, too_large};
use crate::linalg::moments::safe_shift;
use crate::linalg::products::Shifted;
use crate::runtime::{Cluster, Progress};

/// R of some rows less their means.
pub(super) struct CentredR {
    n: u64,
    /// A number near each column's mean, and how far the mean is from it. Kept apart, because the difference of two means
    /// would lose what their own size rounds away.
    near: Vec<f64>,
    off: Vec<f64>,
    pub(super) r: DMatrix<f64>,
    pub(super) ways: BlockWays,
}

impl CentredR {
    fn of_block(block: &Block, first_row: u64) -> Result<Self> {
        let (rows, p) = block.shape();
        if rows == 0 {
            let (near, r) = (vec![0.0; p], DMatrix::zeros(0, p));
            return Ok(CentredR { n: 0, off: near.clone(), near, r, ways: BlockWays::default() });
        }
        let near = safe_shift(block)?;
        if let Some(col) = near.iter().position(|mean| !mean.is_finite()) {
            refuse_unsound(block, first_row, "pca")?;
            return Err(too_large("pca", col, first_row, rows));
        }
        let mut off = vec![0.0; p];
        let found = Rows { values: Shifted::new(block, &near), shape: (rows, p), first_row, operation: "pca" }.r()?;
        Shifted::new(block, &near).add_column_sums(&mut off)?;
        off.iter_mut().for_each(|sum| *sum /= rows as f64);
        Ok(CentredR { n: rows as u64, near, off, r: found.r, ways: found.ways })
    }

    fn join(mut self, other: Self) -> Self {
        if self.n == 0 || other.n == 0 {
            return if self.n == 0 { other } else { self };
        }
        let (n, m, p) = (self.n as f64, other.n as f64, self.off.len());
        let apart = |j: usize| (other.near[j] - self.near[j]) + (other.off[j] - self.off[j]);
        let (k, l) = (self.r.nrows(), other.r.nrows());
        let mut stack = DMatrix::zeros(k + l + 1, p);
        stack.rows_mut(0, k).copy_from(&self.r);
        stack.rows_mut(k, l).copy_from(&other.r);
        let weight = n.sqrt() * (m / (n + m)).sqrt();
        for j in 0..p {
            stack[(k + l, j)] = weight * apart(j);
        }
        let off: Vec<f64> = (0..p).map(|j| self.off[j] + apart(j) * (m / (n + m))).collect();
        self.off = off;
        self.r = qr_r(stack);
        CentredR { n: self.n + other.n, ways: self.ways + other.ways, ..self }
    }

    /// Returns each column's mean.
    pub(super) fn mean(&self) -> Vec<f64> {
        self.near.iter().zip(&self.off).map(|(near, off)| near + off).collect()
    }
}

/// Returns what the pass holds besides its block.
pub(super) fn working(p: usize) -> Working {
    let square = (p * p * 8) as u64;
    let joining = 4 * square + qr_bytes(2 * p + 1, p) + 8 * (p * 8) as u64;
    let fixed = r_bytes(p).max(joining) + 4 * (p * 8) as u64;
    Working { fixed, per_row: 0, kept: square + 2 * (p * 8) as u64 }
}

/// Runs the pass over a dense matrix that has rows.
pub(super) fn centred_r(cluster: &Cluster, x: &Array, p: usize, progress: Option<Progress>) -> Result<CentredR> {
    let found = x.reduce_blocks(
        cluster,
        "pca tsqr",
        working(p),
        |block, info, _| CentredR::of_block(block, info.row_offset),
        |upper, lower| Ok(upper.join(lower)),
        progress,
    )?;
    Ok(found.expect("a matrix with rows has blocks"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::testing::{dense_block, graded, noise};

    fn centred(a: &DMatrix<f64>) -> DMatrix<f64> {
        let mut centred = a.clone();
        centred.column_iter_mut().for_each(|mut column| {
            let mean = column.mean();
            column.add_scalar_mut(-mean);
        });
        centred
    }

    fn in_blocks(a: &DMatrix<f64>, rows: usize) -> CentredR {
        let starts = (0..a.nrows()).step_by(rows);
        let block = |first: usize| dense_block(&a.rows(first, rows.min(a.nrows() - first)).into_owned());
        let blocks = starts.map(|first| CentredR::of_block(&block(first), first as u64).unwrap());
        blocks.reduce(CentredR::join).unwrap()
    }

    #[test]
    fn r_is_that_of_the_centred_matrix_however_the_rows_are_cut() {
        let a = noise(211, 9, 1).add_scalar(3.0);
        let expected = qr_r(centred(&a));
        for rows in [211, 50, 7, 1] {
            let found = in_blocks(&a, rows);
            // A few ε of the columns' norms, which are about 4, after up to 211 joins.
            assert!((&found.r - &expected).amax() < 1e-13, "{rows} rows a block");
            assert!(
                found.mean().iter().zip(a.column_iter()).all(|(mean, column)| (mean - column.mean()).abs() < 1e-14)
            );
        }
    }

    #[test]
    fn a_deviation_of_a_ten_billionth_of_the_largest_is_found_beside_a_large_mean() {
        // Multiples of 2^-40 are exact beside 2^10.
        let grid = |x: f64| (x * 2f64.powi(40)).round() / 2f64.powi(40);
        let a = graded(400, 9, 9).map(grid);
        let expected = crate::linalg::svd_small(&centred(&a)).unwrap().s;
        let found = in_blocks(&a.add_scalar(1024.0), 64);
        let found = crate::linalg::svd_small(&found.r).unwrap().s;
        // A few ε of the largest singular value, which is one; squares would leave 1e-8 of it.
        assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 2e-14), "{found:?} {expected:?}");
    }

    #[test]
    fn empty_blocks_change_nothing() {
        let (a, none) = (noise(20, 3, 2), DMatrix::zeros(0, 3));
        let of = |a: &DMatrix<f64>| CentredR::of_block(&dense_block(a), 0).unwrap();
        for joined in [of(&a).join(of(&none)), of(&none).join(of(&a))] {
            assert_eq!((joined.n, joined.mean(), joined.r), (20, of(&a).mean(), of(&a).r));
        }
    }
}
