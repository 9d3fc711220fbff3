//! Selecting rows of an array: a run of them, or a list in any order, as Arrow's `take` does.
//!
//! A list is served in pieces. Rows that stand near each other and in ascending order come out of one window of the
//! input, the span between the first and the last of them; so a mask reads the input once, from beginning to end, and
//! only a list that jumps about reads it in many small steps. What a span may hold besides the rows that are kept is
//! bounded, and projected.

use std::ops::Range;
use std::sync::Arc;

use super::expr::to_usize;
use super::select::Chosen;
use super::window::Window;
use super::{Array, Block, BlockKind, Columns};
use crate::error::Result;

/// A span may hold so many rows for each that is kept of it,
const SPREAD: u64 = 4;
/// and so many whatever is kept.
const SPARE_ROWS: u64 = 16;

/// A checked choice of rows.
#[derive(Clone, Debug)]
pub(super) enum RowSelection {
    /// The rows from this one on.
    From(u64),
    /// These rows, in this order.
    List {
        rows: Arc<[u64]>,
        /// Rows of the input that are best read together.
        together: u64,
    },
}

/// Rows that come out of one window of the input: the span that holds them, and they themselves, ascending.
type Piece<'a> = (Range<u64>, &'a [u64]);

impl RowSelection {
    /// Checks a choice among `n_rows` rows; `None` when it is all rows in their order.
    pub(super) fn new(rows: Columns, n_rows: u64, together: u64) -> Result<Option<(RowSelection, u64)>> {
        Ok(match rows.checked("select_rows", "rows", n_rows)? {
            Chosen::All => None,
            Chosen::Run(range) => Some((RowSelection::From(range.start), range.end - range.start)),
            Chosen::List(list) => {
                let len = list.len() as u64;
                Some((RowSelection::List { rows: list.into(), together }, len))
            }
        })
    }

    /// Returns the pieces that some rows of the result are made of.
    pub(super) fn pieces(&self, rows: Range<u64>) -> impl Iterator<Item = Piece<'_>> {
        let (mut left, together) = match self {
            RowSelection::List { rows: list, together } => (&list[rows.start as usize..rows.end as usize], *together),
            RowSelection::From(_) => (&[][..], 1),
        };
        std::iter::from_fn(move || {
            let start = *left.first()?;
            let near = |n: usize| {
                let (last, next) = (left[n - 1], left[n]);
                next >= last && next - start < (SPREAD * (n as u64 + 1) + SPARE_ROWS).max(together)
            };
            let n = (1..left.len()).find(|n| !near(*n)).unwrap_or(left.len());
            let (piece, others) = left.split_at(n);
            left = others;
            Some((start..piece[n - 1] + 1, piece))
        })
    }

    /// Computes a window of the result by windows of the input.
    pub(super) fn gather(
        &self,
        array: &Array,
        window: &Window,
        mut compute: impl FnMut(&Window) -> Result<Block>,
    ) -> Result<Block> {
        let cols = window.cols.clone();
        if let RowSelection::From(first) = self {
            return compute(&Window { rows: first + window.rows.start..first + window.rows.end, cols });
        }
        let (n_rows, n_cols) = window.shape()?;
        let mut joined = Block::empty(n_cols, array.dtype, array.kind);
        if array.kind == BlockKind::Dense {
            joined.try_reserve(n_rows, n_rows * n_cols)?;
        }
        for (span, kept) in self.pieces(window.rows.clone()) {
            let first = span.start;
            let block = compute(&Window { rows: span, cols: cols.clone() })?;
            let place = |row: u64| (row - first) as usize;
            // Neighbours are appended together.
            for run in kept.chunk_by(|a, b| a + 1 == *b) {
                joined.append_rows(&block, place(run[0])..place(run[run.len() - 1]) + 1)?;
            }
        }
        Ok(joined)
    }
}

impl Array {
    /// Keeps some rows, in the order and as often as given: a range, a list or a mask; `None` keeps all, an empty list none.
    ///
    /// A list in ascending order, and so a mask, reads the array once from beginning to end. One that jumps about reads it in
    /// many small steps: of a file, better call [`persist`](Self::persist) first.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`](crate::Error::OutOfRange) for a row that does not exist,
    /// [`Error::BadArgument`](crate::Error::BadArgument) for a mask of another length.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1, 2], [3, 4], [5, 6]])?;
    /// assert_eq!(array.select_rows(1..3)?.compute(&cluster)?.to_vec::<i32>(), [3, 4, 5, 6]);
    /// assert_eq!(array.select_rows(vec![2, 0])?.compute(&cluster)?.to_vec::<i32>(), [5, 6, 1, 2]);
    /// assert_eq!(array.select_rows(vec![false, true, false])?.compute(&cluster)?.to_vec::<i32>(), [3, 4]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn select_rows(&self, rows: impl Into<Columns>) -> Result<Array> {
        let Some((selection, n)) = RowSelection::new(rows.into(), self.rows(), self.storage_step(false))? else {
            return Ok(self.clone());
        };
        to_usize(n)?;
        let row_cuts = match &selection {
            RowSelection::From(first) => self.row_cuts.as_ref().map(|cuts| cuts.within(*first..first + n)),
            RowSelection::List { .. } => None,
        };
        let expr = super::expr::Expr::SelectRows(self.clone(), selection);
        let kept = Array::new((n, self.cols()), self.dtype, self.kind, expr);
        Ok(Array { row_cuts, col_cuts: self.col_cuts.clone(), ..kept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    fn pieces(list: &[u64], together: u64) -> Vec<(u64, u64)> {
        let (selection, n) =
            RowSelection::new(Columns::from(list), 1000, together).expect("they exist").expect("not all");
        let kept: Vec<u64> = selection.pieces(0..n).flat_map(|(_, rows)| rows.to_vec()).collect();
        assert_eq!(kept, list);
        selection.pieces(0..n).map(|(span, _)| (span.start, span.end)).collect()
    }

    #[test]
    fn near_rows_share_a_span_and_far_ones_do_not() {
        assert_eq!(pieces(&[3, 5, 6, 20], 1), [(3, 21)]);
        assert_eq!(pieces(&[3, 500, 501], 1), [(3, 4), (500, 502)]);
        assert_eq!(pieces(&[3, 500, 501], 1000), [(3, 502)], "one storage chunk");
        assert_eq!(pieces(&[7, 7, 6], 1), [(7, 8), (6, 7)]);
        assert_eq!(pieces(&[], 1), []);
    }

    #[test]
    fn rows_come_in_the_order_and_as_often_as_asked_on_any_grid() {
        let cluster = Cluster::builder().workers(2).build().expect("defaults");
        let values: Vec<f64> = (0..300).map(|i| f64::from(i % 7)).collect();
        let dense = Array::from_slice(100, 3, &values).expect("300 values");
        let lists = [vec![99, 0, 0, 50, 51, 52, 3], (0..100).rev().collect(), (0..100).step_by(7).collect(), vec![]];
        for array in [dense.clone(), dense.to_csr().expect("three columns"), dense.persist(&cluster).expect("small")] {
            for list in &lists {
                for block_rows in [1, 3, 1000] {
                    let kept = array.select_rows(&list[..]).expect("they exist").with_block_rows(block_rows);
                    let expected: Vec<f64> =
                        list.iter().flat_map(|row| values[*row as usize * 3..][..3].to_vec()).collect();
                    assert_eq!(kept.compute(&cluster).expect("small").to_vec::<f64>(), expected);
                }
            }
        }
        assert!(dense.select_rows(vec![100]).is_err() && dense.select_rows(vec![true]).is_err());
        assert!(dense.select_rows(3..101).is_err());
    }
}
