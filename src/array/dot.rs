//! The product of two arrays, in windows.
//!
//! ```text
//!            B  k × n                    for each run of k, in order:
//!          ┌──┬─────┐                        result += A[rows, run] · B[run, cols]
//!     run  │▒▒│     │
//!          └──┴─────┘                    where A gives narrow windows for nothing both are read a run at a time;
//!   A m × k                              where it does not (a file's rows) its rows are held whole and B is read by
//!  ┌─┬─────┐┌──┐                         runs of rows
//!  │▒│     ││▓▓│ rows × cols
//!  └─┴─────┘└──┘
//! ```
//!
//! The result is dense `f64`, whatever the inputs. Runs begin at multiples of a fixed step, so that a value is the sum of the
//! same parts in the same order on any number of workers. Each block of the result reads the rows of A that it stands for, and
//! all of B: a tall A times a B that is small beside it is one pass over A. `Xᵀ·Y` of two tall arrays has a small result, which is one
//! block and so one task: [`linalg::cross`](crate::linalg::cross) is the quicker way there.

use std::ops::Range;

use super::expr::{Expr, to_usize};
use super::matmul::Product;
use super::window::Window;
use super::{Array, Block, BlockKind, DType, DenseBlock};
use crate::error::{Error, Result};

/// Rows of B that are read at once: enough for the product to be quick.
const RUN: u64 = 512;

/// Two arrays, the left of which has as many columns as the right has rows.
#[derive(Debug)]
pub(super) struct Dot {
    pub(super) inputs: [Array; 2],
}

impl Dot {
    fn inner(&self) -> u64 {
        self.inputs[0].cols()
    }

    /// Returns the runs of the inner axis.
    fn runs(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let inner = self.inner();
        (0..inner.div_ceil(RUN)).map(move |i| i * RUN..((i + 1) * RUN).min(inner))
    }

    /// Returns the windows of A that are held one after another, each with the runs of B that it meets.
    pub(super) fn steps(&self, window: &Window) -> Vec<(Window, Vec<Window>)> {
        let right = |run: Range<u64>| Window { rows: run, cols: window.cols.clone() };
        let left = |cols: Range<u64>| Window { rows: window.rows.clone(), cols };
        if self.inputs[0].gives_columns_freely() {
            self.runs().map(|run| (left(run.clone()), vec![right(run)])).collect()
        } else {
            vec![(left(0..self.inner()), self.runs().map(right).collect())]
        }
    }

    /// Returns the anonymous bytes of one step besides the windows of both inputs and the result.
    pub(super) fn scratch_bytes(&self, window: &Window) -> u64 {
        let run = RUN.min(self.inner());
        // B's run as dense f64, and as it is where it is CSR or narrow; A's part of a run where A is held whole.
        let right = run.saturating_mul(window.n_cols()).saturating_mul(16);
        let left = if self.inputs[0].gives_columns_freely() { 0 } else { window.n_rows().saturating_mul(run) };
        let packed = Product::scratch_of(window.n_rows(), run, window.n_cols());
        right.saturating_add(left.saturating_mul(8)).saturating_add(packed)
    }

    /// Computes a window of the product.
    pub(super) fn apply(
        &self,
        window: &Window,
        mut compute: impl FnMut(&Array, &Window) -> Result<Block>,
    ) -> Result<DenseBlock> {
        let (rows, cols) = window.shape()?;
        let mut result = vec![0.0; rows * cols];
        let [left, right] = &self.inputs;
        for (part, runs) in self.steps(window) {
            let block = compute(left, &part)?;
            for run in runs {
                let product = Product::of_rows(compute(right, &run)?);
                let places = to_usize(run.rows.start - part.cols.start)?..to_usize(run.rows.end - part.cols.start)?;
                if places == (0..block.cols()) {
                    product.add_to(&block, &mut result);
                } else {
                    product.add_to(&block.slice_cols(places), &mut result);
                }
            }
        }
        Ok(DenseBlock { rows, cols, values: result.into() })
    }
}

impl Array {
    /// Returns whether a few columns of some rows cost less than all of them.
    fn gives_columns_freely(&self) -> bool {
        let mut array = self;
        loop {
            match (&*array.expr, array.inputs().first()) {
                (expr, _) if expr.needs_whole_rows() => return false,
                (Expr::MatMul(..) | Expr::Dot(_), _) => return false,
                (Expr::Transpose(_), _) | (_, None) => return true,
                (_, Some(input)) => array = input,
            }
        }
    }

    /// Multiplies with another array on the right; the result is dense `f64`, `m × n` for `m × k` times `k × n`.
    ///
    /// Either may be dense or CSR, of any dtype and on any grid; products are added up in `f64`. Every block of the result reads
    /// all of `right` (some of its columns where the result is cut by columns): `right` is best small, or stored.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when `right` has not as many rows as this array has columns.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let a = Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]])?;
    /// let product = a.dot(&a.transpose())?;
    /// assert_eq!(product.compute(&cluster)?.to_vec::<f64>(), [5.0, 11.0, 11.0, 25.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn dot(&self, right: &Array) -> Result<Array> {
        if self.cols() != right.rows() {
            let expected = format!("give an array of {} rows", self.cols()).into();
            return Err(Error::ShapeMismatch { operation: "dot", left: self.shape, right: right.shape, expected });
        }
        let dot = Dot { inputs: [self.clone(), right.clone()] };
        let product = Array::new((self.rows(), right.cols()), DType::F64, BlockKind::Dense, Expr::Dot(dot));
        Ok(Array { row_cuts: self.row_cuts.clone(), col_cuts: right.col_cuts.clone(), ..product })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;
    use nalgebra::DMatrix;

    /// Small integers, some zero: every product and sum is exact, so that any order gives the same answer.
    fn matrix(rows: usize, cols: usize) -> DMatrix<f64> {
        DMatrix::from_fn(rows, cols, |i, j| ((i * 7 + j * 3) % 5) as f64 - 1.0).map(|x| if x < 0.0 { 0.0 } else { x })
    }

    #[test]
    fn products_of_every_pair_of_kinds_on_any_grid_are_the_plain_ones() {
        let cluster = Cluster::builder().workers(2).build().expect("defaults");
        for (m, k, n) in [(5, 1200, 3), (40, 7, 9), (1, 1, 1), (0, 4, 2), (3, 0, 2), (3, 4, 0)] {
            let (a, b) = (matrix(m, k), matrix(k, n));
            let lefts = [Array::from_nalgebra(&a), Array::from_nalgebra(&a.transpose()).transpose()];
            for left in lefts.into_iter().flat_map(|a| [a.clone(), a.astype(DType::F32).to_csr().expect("few columns")])
            {
                let right = Array::from_nalgebra(&b);
                for right in
                    [right.clone(), right.to_csr().expect("few columns"), right.persist(&cluster).expect("small")]
                {
                    let product = left.dot(&right).expect("they meet");
                    for product in [product.clone(), product.rechunk(2, 2)] {
                        let found = product.compute(&cluster).expect("small");
                        assert_eq!(found.to_nalgebra::<f64>(), &a * &b, "{m} {k} {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_meet_are_refused() {
        let a = Array::from_nalgebra(&matrix(2, 3));
        assert!(matches!(a.dot(&a), Err(Error::ShapeMismatch { operation: "dot", .. })));
    }
}
