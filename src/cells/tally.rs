//! What is counted of every cell and every gene: one pass over the matrix, whatever is asked.
//!
//! ```text
//!   block ─▶ of each row: sum, values not zero, values above zero, sums of groups of genes, of the largest n values
//!        └─▶ of each column: sum, values not zero, values above zero
//! ```
//!
//! Rows' numbers come home as they are, columns' numbers are joined in the fixed tree of the reductions. Zeros that a CSR
//! block leaves out are values; zeros that it stores are zeros.
//!
//! Always true: sums are in f64, and the same bits for any number of workers.

use std::sync::Arc;

use super::whole_rows;
use crate::array::{Array, Block, Element, Working, with_values};
use crate::error::Result;
use crate::runtime::{Cluster, Progress};

/// What to count besides the sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Groups of genes, each a mask.
    pub(super) groups: Vec<Vec<bool>>,
    /// The sums of so many of a cell's largest values, ascending.
    pub(super) tops: Vec<usize>,
}

/// The numbers of rows or columns, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) sums: Vec<f64>,
    pub(super) nonzero: Vec<u64>,
    pub(super) positive: Vec<u64>,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) rows: Counts,
    pub(super) cols: Counts,
    /// For each group the sum of each row.
    pub(super) groups: Vec<Vec<f64>>,
    /// For each of the tops the sum of each row's largest values.
    pub(super) tops: Vec<Vec<f64>>,
}

/// Counts in one pass.
pub(super) fn tally(cluster: &Cluster, x: &Array, asked: Asked, progress: Option<Progress>) -> Result<Tally> {
    let (cols, n_extra) = (x.cols(), (asked.groups.len() + asked.tops.len()) as u64);
    // The columns' counts of two shares while they are joined; a row in hand, for its largest values, and the groups.
    let fixed = 2 * 24 * cols + 8 * cols + 8 * cols;
    let working = Working { fixed, per_row: 2 * 8 * (3 + n_extra), kept: 24 * cols };
    let asked = Arc::new(asked);
    let map = {
        let asked = asked.clone();
        move |block: &Block, _: _, _: &_| Ok(of_block(block, &asked))
    };
    let found = whole_rows(x).reduce_blocks(cluster, "count", working, map, |a, b| Ok(a.joined(b)), progress)?;
    Ok(found.unwrap_or_else(|| Tally::none(&asked, cols as usize)))
}

impl Counts {
    fn zeros(n: usize) -> Self {
        Counts { sums: vec![0.0; n], nonzero: vec![0; n], positive: vec![0; n] }
    }

    #[inline]
    fn add(&mut self, place: usize, value: f64) {
        self.sums[place] += value;
        self.nonzero[place] += u64::from(value != 0.0);
        self.positive[place] += u64::from(value > 0.0);
    }

    fn append(&mut self, other: Counts) {
        self.sums.extend(other.sums);
        self.nonzero.extend(other.nonzero);
        self.positive.extend(other.positive);
    }

    fn join(&mut self, other: &Counts) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(mine, theirs)| *mine += theirs);
        self.nonzero.iter_mut().zip(&other.nonzero).for_each(|(mine, theirs)| *mine += theirs);
        self.positive.iter_mut().zip(&other.positive).for_each(|(mine, theirs)| *mine += theirs);
    }
}

impl Tally {
    fn none(asked: &Asked, cols: usize) -> Self {
        let (groups, tops) = (vec![Vec::new(); asked.groups.len()], vec![Vec::new(); asked.tops.len()]);
        Tally { rows: Counts::default(), cols: Counts::zeros(cols), groups, tops }
    }

    fn joined(mut self, other: Tally) -> Tally {
        self.rows.append(other.rows);
        self.cols.join(&other.cols);
        self.groups.iter_mut().zip(other.groups).for_each(|(mine, theirs)| mine.extend(theirs));
        self.tops.iter_mut().zip(other.tops).for_each(|(mine, theirs)| mine.extend(theirs));
        self
    }
}

fn of_block(block: &Block, asked: &Asked) -> Tally {
    let (rows, cols) = block.shape();
    let mut tally = Tally::none(asked, cols);
    tally.rows = Counts::zeros(rows);
    let mut scratch = Vec::with_capacity(if asked.tops.is_empty() { 0 } else { cols });
    with_values!(block.values(), values => for row in 0..rows {
        match block {
            Block::Dense(_) => {
                let of_row = values[row * cols..(row + 1) * cols].iter().enumerate();
                add_row(&mut tally, asked, row, cols, of_row.map(|(col, value)| (col, value.to_f64())), &mut scratch);
            }
            Block::Csr(csr) => {
                let entries = csr.row(row);
                let of_row = csr.indices[entries.clone()].iter().zip(&values[entries]);
                let of_row = of_row.map(|(col, value)| (*col as usize, value.to_f64()));
                add_row(&mut tally, asked, row, cols, of_row, &mut scratch);
            }
        }
    });
    tally
}

/// Adds a row: what is stored of it, by column.
fn add_row(
    tally: &mut Tally,
    asked: &Asked,
    row: usize,
    cols: usize,
    of_row: impl Iterator<Item = (usize, f64)> + Clone,
    scratch: &mut Vec<f64>,
) {
    for (col, value) in of_row.clone() {
        tally.cols.add(col, value);
        tally.rows.add(row, value);
    }
    for (mask, sums) in asked.groups.iter().zip(&mut tally.groups) {
        sums.push(of_row.clone().filter(|(col, _)| mask[*col]).map(|(_, value)| value).sum());
    }
    if let Some(most) = asked.tops.last() {
        scratch.clear();
        scratch.extend(of_row.map(|(_, value)| value));
        // Zeros that are left out stand before what is below zero.
        if scratch.iter().any(|value| *value < 0.0) {
            scratch.resize(cols, 0.0);
        }
        let largest = largest_first(scratch, *most);
        for (top, sums) in asked.tops.iter().zip(&mut tally.tops) {
            sums.push(largest.iter().take(*top).sum());
        }
    }
}

/// Brings the `most` largest values to the front, largest first.
fn largest_first(values: &mut [f64], most: usize) -> &[f64] {
    let descending = |a: &f64, b: &f64| b.total_cmp(a);
    let most = most.min(values.len());
    if most < values.len() {
        values.select_nth_unstable_by(most, descending);
    }
    values[..most].sort_unstable_by(descending);
    &values[..most]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{both_kinds, cluster, count, data_of};
    use super::*;

    /// The slow, obvious version.
    fn naive(rows: usize, cols: usize, value: impl Fn(usize, usize) -> f64, asked: &Asked) -> Tally {
        let mut tally = Tally::none(asked, cols);
        tally.rows = Counts::zeros(rows);
        for i in 0..rows {
            let mut row: Vec<f64> = (0..cols).map(|j| value(i, j)).collect();
            for (j, value) in row.iter().enumerate() {
                tally.rows.add(i, *value);
                tally.cols.add(j, *value);
            }
            for (mask, sums) in asked.groups.iter().zip(&mut tally.groups) {
                sums.push(row.iter().zip(mask).filter(|(_, in_group)| **in_group).map(|(value, _)| value).sum());
            }
            row.sort_by(|a, b| b.total_cmp(a));
            for (top, sums) in asked.tops.iter().zip(&mut tally.tops) {
                sums.push(row.iter().take(*top).sum());
            }
        }
        tally
    }

    #[test]
    fn counts_are_those_of_a_loop_over_all_values_dense_and_sparse_on_any_grid() {
        let negative = |i: usize, j: usize| if (i + j).is_multiple_of(3) { -count(i, j) } else { count(i, j) };
        for value in [&count as &dyn Fn(usize, usize) -> f64, &negative] {
            let asked = Asked { groups: vec![(0..11).map(|j| j % 4 == 0).collect()], tops: vec![2, 5, 11] };
            let data = data_of(23, 11, value);
            let expected = naive(23, 11, value, &asked);
            for (workers, block_rows) in [(1, 1), (2, 7), (2, 100)] {
                for data in both_kinds(&data, block_rows) {
                    // Whole numbers add up exactly in any order.
                    assert_eq!(tally(&cluster(workers), &data.x, asked.clone(), None).expect("small"), expected);
                }
            }
        }
    }

    #[test]
    fn stored_zeros_are_zeros_and_no_rows_have_columns() {
        let block = crate::array::CsrBlock::new(1, 3, vec![0, 2], vec![0, 2], vec![0u8, 5]).expect("sound");
        let found = tally(&cluster(1), &Array::from_block(block), Asked::default(), None).expect("small");
        assert_eq!((found.rows.nonzero, found.cols.nonzero), (vec![1], vec![0, 0, 1]));
        let asked = Asked { groups: vec![vec![true; 3]], tops: vec![1] };
        for data in both_kinds(&data_of(0, 3, count), 2) {
            let found = tally(&cluster(1), &data.x, asked.clone(), None).expect("nothing");
            assert_eq!((found.rows.sums.len(), found.cols.sums, found.groups), (0, vec![0.0; 3], vec![Vec::new()]));
        }
    }
}
