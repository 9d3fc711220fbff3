//! What is counted of each gene in each group of cells: one row of tallies for a group, one tally for a gene.
//!
//! ```text
//!   cell i of group 2:   genes    4      17   18        only what is stored is visited
//!                                 │       │    │
//!   tallies of group 2   ─────────▼───────▼────▼────    sum, squares, how many: side by side, in one cache line
//! ```
//!
//! Zeros, left out or stored, are not visited: what they add follows from their number when the end is taken. Sums of squares
//! are taken about the first value that came, which is one of the data: then they exceed those about the mean by a factor of
//! n + 1 at most, mostly by none, and equal values have a variance of exactly zero (Chan, Golub and LeVeque 1983, section 3).
//! A value that is not finite makes the sums of its group and gene something that is not finite either.

use std::ops::Range;

use crate::array::{Block, CsrBlock, DenseBlock, Element, with_values};

/// The group of a cell that belongs to none.
pub(crate) const NO_GROUP: u32 = u32::MAX;

/// What is kept of the values of a gene in a group that are not zero.
pub(crate) trait Tally: Copy + Default + Send + Sync + 'static {
    /// Adds a value that is not zero; `present` says whether it passes the threshold.
    fn add(&mut self, value: f64, present: bool);

    /// Adds what another tally has seen.
    fn join(&mut self, other: Self);

    /// Returns what it has seen, with squares about the mean where they were kept.
    fn seen(&self) -> Seen;
}

/// What the values of a gene in a group that are not zero come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// How many there are.
    pub(crate) nonzero: u32,
    /// How many of them pass the threshold.
    pub(crate) present: u32,
    /// Their sum.
    pub(crate) sum: f64,
    /// Their squares about their own mean; 0 where they were not kept.
    pub(crate) squares: f64,
}

/// The moments of all values of a gene in a group, zeros too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moments {
    /// NaN for no values.
    pub(crate) mean: f64,
    /// The sum of squares about the mean.
    pub(crate) squares: f64,
    /// The mean of the squares about zero.
    pub(crate) mean_square: f64,
}

impl Seen {
    /// Returns the moments of `n` values, of which these are the ones that are not zero.
    pub(crate) fn moments(&self, n: u64) -> Moments {
        let (n, stored) = (n as f64, f64::from(self.nonzero));
        let mean = self.sum / n;
        if self.nonzero == 0 {
            return Moments { mean, squares: 0.0, mean_square: mean };
        }
        let mean_of_stored = self.sum / stored;
        // Chan: zeros are a share of their own, whose mean and squares are zero.
        let squares = self.squares + mean_of_stored * mean_of_stored * (stored * ((n - stored) / n));
        let mean_square = (self.squares + stored * (mean_of_stored * mean_of_stored)) / n;
        Moments { mean, squares, mean_square }
    }
}

/// Sums and counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    sum: f64,
    nonzero: u32,
    present: u32,
}

impl Tally for Counted {
    #[inline]
    fn add(&mut self, value: f64, present: bool) {
        self.sum += value;
        self.nonzero += 1;
        self.present += u32::from(present);
    }

    #[inline]
    fn join(&mut self, other: Self) {
        self.sum += other.sum;
        self.nonzero += other.nonzero;
        self.present += other.present;
    }

    fn seen(&self) -> Seen {
        Seen { nonzero: self.nonzero, present: self.present, sum: self.sum, squares: 0.0 }
    }
}

/// Sums, squares and counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Squared {
    first: f64,
    /// The sum of what values differ from the first.
    apart: f64,
    /// The sum of its squares.
    squares: f64,
    nonzero: u32,
    present: u32,
}

impl Tally for Squared {
    #[inline]
    fn add(&mut self, value: f64, present: bool) {
        if self.nonzero == 0 {
            self.first = value;
        }
        let apart = value - self.first;
        self.apart += apart;
        self.squares += apart * apart;
        self.nonzero += 1;
        self.present += u32::from(present);
    }

    #[inline]
    fn join(&mut self, other: Self) {
        if self.nonzero == 0 || other.nonzero == 0 {
            *self = if self.nonzero == 0 { other } else { *self };
            return;
        }
        // What the other took about its first value, taken about this one's.
        let (shift, n) = (other.first - self.first, f64::from(other.nonzero));
        self.squares += other.squares + shift * (2.0 * other.apart + n * shift);
        self.apart += other.apart + n * shift;
        self.nonzero += other.nonzero;
        self.present += other.present;
    }

    fn seen(&self) -> Seen {
        let n = f64::from(self.nonzero);
        let squares = if self.nonzero == 0 { 0.0 } else { self.squares - self.apart * (self.apart / n) };
        Seen {
            nonzero: self.nonzero,
            present: self.present,
            sum: n * self.first + self.apart,
            // Not max(0.0), which would hide a NaN.
            squares: if squares < 0.0 { 0.0 } else { squares },
        }
    }
}

/// The least and the greatest value that is not zero; NaN where one is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Ends {
    const NONE: Ends = Ends { least: f64::INFINITY, greatest: f64::NEG_INFINITY };

    #[inline]
    fn add(&mut self, value: f64) {
        self.join(Ends { least: value, greatest: value });
    }

    /// A comparison with NaN is false: what is NaN stays, and a new NaN enters.
    #[inline]
    fn join(&mut self, other: Ends) {
        if !(other.least >= self.least || self.least.is_nan()) {
            self.least = other.least;
        }
        if !(other.greatest <= self.greatest || self.greatest.is_nan()) {
            self.greatest = other.greatest;
        }
    }
}

/// Tallies of some neighbouring genes in all groups.
pub(crate) struct Tallies<T> {
    /// The genes.
    pub(crate) genes: Range<usize>,
    /// Groups × genes, row by row.
    cells: Vec<T>,
    /// Groups × genes where extremes are asked for, else none.
    ends: Vec<Ends>,
}

impl<T: Tally> Tallies<T> {
    /// Returns the bytes of the tallies of so many groups and genes.
    pub(crate) fn bytes(groups: usize, genes: usize, ends: bool) -> u64 {
        let each = size_of::<T>() + if ends { size_of::<Ends>() } else { 0 };
        (groups as u64).saturating_mul(genes as u64).saturating_mul(each as u64)
    }

    /// Returns the tallies of no cells.
    pub(crate) fn none(groups: usize, genes: Range<usize>, ends: bool) -> Self {
        let n = groups * genes.len();
        Tallies { genes, cells: vec![T::default(); n], ends: vec![Ends::NONE; if ends { n } else { 0 }] }
    }

    /// Adds the cells of a block, whose groups are given; `above` is what a value must exceed to be present.
    pub(crate) fn add_block(&mut self, block: &Block, groups: &[u32], above: f64) {
        let genes = self.genes.clone();
        if genes.is_empty() {
            return;
        }
        visit(block, groups, &genes, &mut self.cells, |tally, value| tally.add(value, value > above));
        if !self.ends.is_empty() {
            visit(block, groups, &genes, &mut self.ends, Ends::add);
        }
    }

    /// Adds what other tallies of the same groups and genes have seen.
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.cells.iter_mut().zip(&other.cells).for_each(|(mine, theirs)| mine.join(*theirs));
        self.ends.iter_mut().zip(&other.ends).for_each(|(mine, theirs)| mine.join(*theirs));
        self
    }

    /// Returns what was seen: all genes of the first group, then those of the next.
    pub(crate) fn seen(&self) -> impl Iterator<Item = Seen> {
        self.cells.iter().map(Tally::seen)
    }

    /// Returns the ends of what was seen, in the same order; nothing where they were not asked for.
    pub(crate) fn ends(&self) -> &[Ends] {
        &self.ends
    }
}

/// Calls a function with each value of a block that is not zero and with what is kept for its group and gene: rows of as many
/// as there are genes, one row for each group.
pub(crate) fn visit<S>(
    block: &Block,
    groups: &[u32],
    genes: &Range<usize>,
    kept: &mut [S],
    add: impl FnMut(&mut S, f64),
) {
    with_values!(block.values(), values => match block {
        Block::Csr(b) => visit_csr(b, &values[..], groups, genes, kept, add),
        Block::Dense(b) => visit_dense(b, &values[..], groups, genes, kept, add),
    })
}

fn visit_csr<E: Element, S>(
    block: &CsrBlock,
    values: &[E],
    groups: &[u32],
    genes: &Range<usize>,
    kept: &mut [S],
    mut add: impl FnMut(&mut S, f64),
) {
    let (indptr, indices, width) = (&block.indptr[..], &block.indices[..], genes.len());
    let all = genes.start == 0 && genes.end == block.cols;
    for (entries, group) in indptr.windows(2).zip(groups) {
        let first = (*group as usize).saturating_mul(width);
        let Some(kept) = kept.get_mut(first..first.saturating_add(width)) else { continue };
        let entries = entries[0] as usize..entries[1] as usize;
        let (mut columns, mut values) = (&indices[entries.clone()], &values[entries]);
        if !all {
            // Columns ascend within a row.
            let from = columns.partition_point(|col| (*col as usize) < genes.start);
            let to = columns.partition_point(|col| (*col as usize) < genes.end);
            (columns, values) = (&columns[from..to], &values[from..to]);
        }
        for (col, value) in columns.iter().zip(values) {
            if *value != E::default() {
                add(&mut kept[*col as usize - genes.start], value.to_f64());
            }
        }
    }
}

fn visit_dense<E: Element, S>(
    block: &DenseBlock,
    values: &[E],
    groups: &[u32],
    genes: &Range<usize>,
    kept: &mut [S],
    mut add: impl FnMut(&mut S, f64),
) {
    let width = genes.len();
    for (row, group) in values.chunks_exact(block.cols.max(1)).zip(groups) {
        let first = (*group as usize).saturating_mul(width);
        let Some(kept) = kept.get_mut(first..first.saturating_add(width)) else { continue };
        for (kept, value) in kept.iter_mut().zip(&row[genes.clone()]) {
            if *value != E::default() {
                add(kept, value.to_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|x| (x - mean) * (x - mean)).sum())
    }

    #[test]
    fn shares_about_different_first_values_join_to_the_squares_of_all() {
        let values: Vec<f64> = (0..60).map(|i| if i % 3 == 0 { 0.0 } else { 1e6 + f64::from(i * i % 23) }).collect();
        let tally_of = |values: &[f64]| {
            let mut tally = Squared::default();
            values.iter().filter(|x| **x != 0.0).for_each(|x| tally.add(*x, *x > 1e6));
            tally
        };
        let (mean, squares) = naive(&values);
        for cut in [0, 1, 2, 31, 60] {
            let mut left = tally_of(&values[..cut]);
            left.join(tally_of(&values[cut..]));
            let seen = left.seen();
            let found = seen.moments(60);
            assert_eq!(seen.nonzero, 40);
            // Sums of sixty integers below 2^53 are exact, and so are their squares; the end takes a few roundings.
            assert!((found.mean - mean).abs() <= 4.0 * f64::EPSILON * mean, "{} {mean}", found.mean);
            assert!((found.squares - squares).abs() <= 1e-14 * squares, "{} {squares}", found.squares);
        }
    }

    #[test]
    fn equal_values_vary_by_nothing_and_large_ones_that_differ_little_keep_their_digits() {
        let mut equal = Squared::default();
        let mut close = Squared::default();
        for i in 0..1000 {
            equal.add(0.1, true);
            close.add(1e9 + f64::from(i % 2), true);
        }
        assert_eq!(equal.seen().squares, 0.0);
        assert_eq!(close.seen().squares, 250.0, "differences of integers are exact");
    }

    #[test]
    fn ends_keep_a_nan_wherever_it_came() {
        for values in [[f64::NAN, 1.0, -2.0], [1.0, f64::NAN, -2.0], [1.0, -2.0, f64::NAN]] {
            let mut ends = Ends::NONE;
            values.into_iter().for_each(|x| ends.add(x));
            assert!(ends.least.is_nan() && ends.greatest.is_nan());
        }
    }
}
