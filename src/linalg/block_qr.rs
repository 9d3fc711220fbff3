//! QR of one block, the quick way where a measured bound allows it, the safe way elsewhere.
//!
//! *Cholesky twice* (Yamamoto, Nakatsukasa, Yanagisawa & Fukaya 2015): R₁ from the block's gram, Q₁ = block · R₁⁻¹, R₂
//! from the gram of Q₁, R = R₂ R₁, Q = Q₁ R₂⁻¹; everything is a product or a triangular solve, three times as fast as
//! reflections, and as accurate as they are whenever Q₁ is near enough to orthonormal — which its own gram, computed
//! anyway, tells. Where it is not (dependent columns, a condition number beyond about 10⁷, fewer rows than columns),
//! *Householder reflections*, which nothing finite defeats.
//!
//! Always true: R has `min(rows, columns)` rows and no negative number on its diagonal; Q, where it is asked for, is
//! orthonormal to a few ε; which way a block takes depends on its values only.

use std::iter::Sum;
use std::ops::Add;

use nalgebra::{DMatrix, DMatrixView};

use super::dense::{self, cholesky_r, qr_bytes, qr_of, qr_r, solve_rows};
use super::products::{Shifted, gram_bytes, tile_bytes, tile_rows};
use crate::error::{Error, Result};

/// How many blocks of a matrix were factored in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockWays {
    /// Blocks factored by Cholesky twice: the gram of their first Q was measured to be within 1/2 of the identity.
    pub n_cholesky: u64,
    /// Blocks factored by Householder reflections.
    pub n_reflections: u64,
}

impl BlockWays {
    const CHOLESKY: BlockWays = BlockWays { n_cholesky: 1, n_reflections: 0 };
    const REFLECTIONS: BlockWays = BlockWays { n_cholesky: 0, n_reflections: 1 };
}

impl Add for BlockWays {
    type Output = BlockWays;

    fn add(self, other: BlockWays) -> BlockWays {
        BlockWays {
            n_cholesky: self.n_cholesky + other.n_cholesky,
            n_reflections: self.n_reflections + other.n_reflections,
        }
    }
}

impl Sum for BlockWays {
    fn sum<I: Iterator<Item = BlockWays>>(ways: I) -> BlockWays {
        ways.fold(BlockWays::default(), Add::add)
    }
}

/// R of some rows, and the way it was made.
pub(crate) struct BlockR {
    pub(crate) r: DMatrix<f64>,
    pub(crate) ways: BlockWays,
}

/// A factored block: Q row by row, `min(rows, columns)` values a row.
pub(crate) struct BlockQr {
    pub(crate) q: Vec<f64>,
    pub(crate) r: DMatrix<f64>,
    pub(crate) ways: BlockWays,
}

/// The block to be factored, and how to name a value in it that is not finite.
pub(crate) struct Rows<'a> {
    pub(crate) values: Shifted<'a>,
    pub(crate) shape: (usize, usize),
    /// The matrix's row that is the block's first.
    pub(crate) first_row: u64,
    pub(crate) operation: &'static str,
}

impl Rows<'_> {
    /// Returns R alone, with a working set that does not grow with the rows.
    pub(crate) fn r(&self) -> Result<BlockR> {
        match self.r_by_cholesky()? {
            Some(r) => Ok(BlockR { r, ways: BlockWays::CHOLESKY }),
            None => Ok(BlockR { r: self.r_by_reflections()?, ways: BlockWays::REFLECTIONS }),
        }
    }

    /// Returns both factors.
    pub(crate) fn qr(&self) -> Result<BlockQr> {
        if let Some((q, r)) = self.qr_by_cholesky()? {
            return Ok(BlockQr { q, r, ways: BlockWays::CHOLESKY });
        }
        let (q, r) = self.qr_by_reflections()?;
        Ok(BlockQr { q, r, ways: BlockWays::REFLECTIONS })
    }

    /// Cholesky twice; `None` where that would not be accurate. Values that are not finite end here as `None` too.
    fn r_by_cholesky(&self) -> Result<Option<DMatrix<f64>>> {
        let (rows, n) = self.shape;
        let Some((mut gram, zeros)) = self.gram_without_zeros()? else { return Ok(None) };
        let Some(first) = cholesky_r(&gram) else { return Ok(None) };
        gram.fill(0.0);
        let mut q = Vec::with_capacity(tile_rows(n).min(rows) * n);
        self.values.for_each_tile(tile_rows(n), |_, tile| {
            q.clear();
            q.extend_from_slice(tile);
            solve_rows(&first, &mut q)?;
            dense::gram_upper(&q, tile.len() / n, n, &mut gram)
        })?;
        zeros.iter().for_each(|&j| gram[(j, j)] = 1.0);
        let Some(second) = near_identity_r(&gram) else { return Ok(None) };
        let mut r = dense::gemm(&second, &first)?;
        zeros.iter().for_each(|&j| r[(j, j)] = 0.0);
        Ok(Some(r))
    }

    fn qr_by_cholesky(&self) -> Result<Option<(Vec<f64>, DMatrix<f64>)>> {
        let (rows, n) = self.shape;
        let Some((mut gram, zeros)) = self.gram_without_zeros()? else { return Ok(None) };
        // A zero column of Q would be no unit vector, which a later block with dependent columns may need.
        let Some(first) = cholesky_r(&gram).filter(|_| zeros.is_empty()) else { return Ok(None) };
        gram.fill(0.0);
        let mut q = Vec::with_capacity(rows * n);
        self.values.for_each_tile(tile_rows(n), |at, tile| {
            q.extend_from_slice(tile);
            let solved = &mut q[at * n..];
            solve_rows(&first, solved)?;
            dense::gram_upper(solved, tile.len() / n, n, &mut gram)
        })?;
        let Some(second) = near_identity_r(&gram) else { return Ok(None) };
        q.chunks_mut(tile_rows(n) * n).try_for_each(|tile| solve_rows(&second, tile))?;
        Ok(Some((q, dense::gemm(&second, &first)?)))
    }

    /// Returns the gram with a one in place of each column that is zero, and those columns; `None` for too few rows.
    fn gram_without_zeros(&self) -> Result<Option<(DMatrix<f64>, Vec<usize>)>> {
        let (rows, n) = self.shape;
        if n == 0 || rows < 2 * n {
            return Ok(None);
        }
        let mut gram = DMatrix::zeros(n, n);
        self.values.add_gram(&mut gram)?;
        let zeros = zero_columns(&gram);
        zeros.iter().for_each(|&j| gram[(j, j)] = 1.0);
        Ok(Some((gram, zeros)))
    }

    /// Reflections: R of the rows so far is put on top of the next tile and factored again.
    fn r_by_reflections(&self) -> Result<DMatrix<f64>> {
        let n = self.shape.1;
        let mut r = DMatrix::zeros(0, n);
        self.values.for_each_tile(reflection_rows(n), |first, tile| {
            self.refuse_non_finite(tile, first)?;
            let (k, rows) = (r.nrows(), tile.len() / n);
            let mut stack = DMatrix::zeros(k + rows, n);
            stack.rows_mut(0, k).copy_from(&r);
            stack.rows_mut(k, rows).tr_copy_from(&DMatrixView::from_slice(tile, n, rows));
            r = qr_r(stack);
            Ok(())
        })?;
        Ok(r)
    }

    fn qr_by_reflections(&self) -> Result<(Vec<f64>, DMatrix<f64>)> {
        let (rows, n) = self.shape;
        let mut a = DMatrix::zeros(rows, n);
        self.values.for_each_tile(tile_rows(n), |first, tile| {
            self.refuse_non_finite(tile, first)?;
            let rows = tile.len() / n;
            a.rows_mut(first, rows).tr_copy_from(&DMatrixView::from_slice(tile, n, rows));
            Ok(())
        })?;
        let (q, r) = qr_of(a);
        Ok((q.transpose().as_slice().to_vec(), r))
    }

    fn refuse_non_finite(&self, tile: &[f64], first: usize) -> Result<()> {
        refuse_non_finite(self.operation, tile, self.shape.1, self.first_row + first as u64)
    }
}

/// Returns the most that [`Rows::r`] holds besides the block.
pub(crate) fn r_bytes(n_cols: usize) -> u64 {
    let square = (n_cols * n_cols * 8) as u64;
    let cholesky = gram_bytes(n_cols) + tile_bytes(n_cols) + 5 * square;
    let stack = n_cols + reflection_rows(n_cols);
    let reflections = tile_bytes(n_cols) + (stack * n_cols * 8) as u64 + qr_bytes(stack, n_cols) + square;
    cholesky.max(reflections)
}

/// Returns the most that [`Rows::qr`] holds besides the block: so much in any case, and so much for each row.
pub(crate) fn qr_of_block_bytes(n_cols: usize) -> (u64, u64) {
    let square = (n_cols * n_cols * 8) as u64;
    // The block by columns, its reflections and Q; then Q twice, while it is turned and copied, which is less.
    let per_row = (3 * n_cols * 8) as u64;
    (gram_bytes(n_cols) + tile_bytes(n_cols) + 5 * square + qr_bytes(0, n_cols), per_row)
}

/// Returns the columns that are zero, as those of genes that no cell of a block expresses.
///
/// Such a column is orthogonal to all others, so that a one in its place in the gram stands for it and is taken out of R
/// again. Where every square may have vanished, however small the values, none is believed to be zero.
fn zero_columns(gram: &DMatrix<f64>) -> Vec<usize> {
    let diagonal = || (0..gram.ncols()).map(|j| gram[(j, j)]);
    let vanished = diagonal().fold(0.0, f64::max) < 1e-200;
    diagonal().enumerate().filter(|(_, square)| *square == 0.0 && !vanished).map(|(j, _)| j).collect()
}

/// Returns R₂ of the gram of Q₁ when that differs from the identity by at most 1/2 in norm.
///
/// Then Q₁ has a condition number below 2, and R₂ makes it orthonormal to a few ε.
fn near_identity_r(gram: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    let n = gram.nrows();
    let off = |i: usize, j: usize| (gram[(i, j)] - if i == j { 1.0 } else { 0.0 }).abs();
    // The norm is at most n times the largest entry. A NaN fails the comparison, as it must.
    let near = (0..n).all(|j| (0..=j).all(|i| off(i, j) * n as f64 <= 0.5));
    if near { cholesky_r(gram) } else { None }
}

/// Rows of a tile for reflections: enough that the R on top adds little work.
fn reflection_rows(n_cols: usize) -> usize {
    tile_rows(n_cols).max(4 * n_cols)
}

/// Returns an error naming the first NaN or infinity of some rows, whose first is row `first_row` of the matrix.
pub(crate) fn refuse_non_finite(operation: &'static str, rows: &[f64], n_cols: usize, first_row: u64) -> Result<()> {
    match rows.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let (row, col) = (first_row + (at / n_cols) as u64, (at % n_cols) as u64);
            Err(Error::NonFinite { operation, row, col, value: rows[at] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Block;
    use crate::linalg::testing::{dense_block, graded, noise};

    fn rows_of(block: &Block) -> Rows<'_> {
        Rows { values: Shifted::new(block, &[]), shape: block.shape(), first_row: 1000, operation: "test" }
    }

    /// Q·R, and how far QᵀQ is from the identity.
    fn product(rows: usize, found: &BlockQr) -> (DMatrix<f64>, f64) {
        let q = DMatrix::from_row_slice(rows, found.r.nrows(), &found.q);
        let off = (q.transpose() * &q - DMatrix::identity(q.ncols(), q.ncols())).amax();
        (q * &found.r, off)
    }

    #[test]
    fn both_ways_of_a_block_give_the_same_r() {
        let block = dense_block(&noise(3000, 30, 2));
        let cholesky = rows_of(&block).r_by_cholesky().unwrap().expect("noise is well-conditioned");
        let reflections = rows_of(&block).r_by_reflections().unwrap();
        // ε times the norm of a column, about 16, and the condition number, about 1.2.
        assert!((&cholesky - &reflections).amax() < 1e-13);
        for found in [rows_of(&block).qr_by_cholesky().unwrap().unwrap(), rows_of(&block).qr_by_reflections().unwrap()]
        {
            assert!((found.1 - &reflections).amax() < 1e-13);
        }
        let csr = Block::Csr(block.into_csr().unwrap());
        assert!((rows_of(&csr).r().unwrap().r - rows_of(&csr).r_by_reflections().unwrap()).amax() < 1e-13);
    }

    #[test]
    fn q_is_orthonormal_and_q_r_the_block_whatever_its_columns() {
        let mut dependent = noise(300, 6, 7);
        dependent.column_mut(1).fill(0.0);
        let copy = dependent.column(0) * 2.0;
        dependent.column_mut(4).copy_from(&copy);
        let cases = [
            (noise(300, 6, 1), true),
            (dependent, false),
            (graded(300, 13, 13), false),
            (noise(5, 9, 2), false),
            (noise(1, 3, 3), false),
            (DMatrix::zeros(40, 3), false),
            (DMatrix::zeros(0, 3), false),
        ];
        for (a, quick) in cases {
            for block in [dense_block(&a), Block::Csr(dense_block(&a).into_csr().unwrap())] {
                let found = rows_of(&block).qr().unwrap();
                assert_eq!(found.ways.n_cholesky, u64::from(quick), "{:?}", a.shape());
                let (back, off) = product(a.nrows(), &found);
                // Reflections keep both to a few ε times the root of the number of rows.
                assert!(off < 1e-14 && (back - &a).amax() < 1e-14 * 5.0, "{:?}: {off:e}", a.shape());
            }
        }
    }

    #[test]
    fn the_quick_way_is_as_accurate_as_reflections_up_to_its_limit() {
        let block = dense_block(&graded(400, 7, 7));
        let r = rows_of(&block).r_by_cholesky().unwrap().expect("a condition number of 1e6 is within reach");
        let found = dense::svd_small(&r).unwrap().s;
        assert!(found.iter().enumerate().all(|(i, f)| (f - 10f64.powi(-(i as i32))).abs() < 1e-14), "{found:?}");
        assert!(rows_of(&dense_block(&graded(400, 13, 13))).r_by_cholesky().unwrap().is_none());
    }

    #[test]
    fn zero_columns_keep_a_block_on_the_quick_way() {
        let mut a = noise(300, 6, 7);
        a.column_mut(1).fill(0.0);
        a.column_mut(4).fill(2.5);
        let quick = rows_of(&dense_block(&a)).r_by_cholesky().unwrap().expect("zero columns do not hurt");
        // A few ε times the product of two columns' norms, which are below 2.5 √300.
        assert!((quick.transpose() * &quick - a.transpose() * &a).amax() < 1e-14 * 2.5 * 2.5 * 300.0);
        assert_eq!(quick.column(1).amax(), 0.0);
    }

    #[test]
    fn a_nan_is_refused_with_its_row_and_column() {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut a = noise(300, 4, 9);
            a[(217, 2)] = bad;
            let block = dense_block(&a);
            let errors = [rows_of(&block).r().err(), rows_of(&block).qr().err()];
            for error in errors.map(|error| error.expect("refused")) {
                assert!(matches!(error, Error::NonFinite { row: 1217, col: 2, .. }), "{error}");
            }
        }
    }
}
