//! How a shape is cut into chunks: along each axis, evenly or at given places.
//!
//! A [`Grid`] has block rows and block columns. Most arrays have one block column, so that block `i` is run `i` of the rows.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};

/// How one axis is cut into runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Cuts {
    /// Runs of `step`, the last one shorter when they do not divide `len`.
    Even {
        /// The axis' length.
        len: u64,
        /// The length of a run, at least 1.
        step: u64,
    },
    /// Runs between neighbours of a list that begins with 0, never falls and ends with the axis' length.
    At(Arc<[u64]>),
}

impl Cuts {
    /// Cuts an axis into runs of `step`; 0 is taken as 1.
    pub fn even(len: u64, step: u64) -> Self {
        Cuts::Even { len, step: step.max(1) }
    }

    /// Cuts an axis into runs of these lengths, some of which may be 0.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when they sum to more than 2⁶⁴ − 1.
    pub fn of_lengths(lengths: impl IntoIterator<Item = u64>) -> Result<Self> {
        let mut places = vec![0u64];
        for length in lengths {
            let last = places[places.len() - 1];
            let next = last.checked_add(length);
            let refuse = || Error::bad_argument("chunk grid", "length", length, "part of a sum below 2^64");
            places.push(next.ok_or_else(refuse)?);
        }
        Ok(Cuts::At(places.into()))
    }

    /// Leaves an axis in one run, also one of no length.
    pub fn whole(len: u64) -> Self {
        Cuts::At([0, len].into())
    }

    /// Returns the axis' length.
    pub fn len(&self) -> u64 {
        match self {
            Cuts::Even { len, .. } => *len,
            Cuts::At(places) => places.last().copied().unwrap_or(0),
        }
    }

    /// Returns whether these are sound cuts of an axis of this length: read from elsewhere, they may be anything.
    pub(super) fn cover(&self, axis: u64) -> bool {
        match self {
            Cuts::Even { len, step } => *len == axis && *step > 0,
            Cuts::At(places) => places.first() == Some(&0) && places.last() == Some(&axis) && places.is_sorted(),
        }
    }

    /// Returns whether the axis has no length.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of runs.
    pub fn n_runs(&self) -> usize {
        match self {
            Cuts::Even { len, step } => len.div_ceil(*step) as usize,
            Cuts::At(places) => places.len().saturating_sub(1),
        }
    }

    /// Returns where one run lies.
    ///
    /// # Panics
    ///
    /// When there is no such run.
    pub fn run(&self, index: usize) -> Range<u64> {
        assert!(index < self.n_runs(), "run {index} of {}", self.n_runs());
        match self {
            Cuts::Even { len, step } => index as u64 * step..(index as u64 * step).saturating_add(*step).min(*len),
            Cuts::At(places) => places[index]..places[index + 1],
        }
    }

    /// Returns the length of the longest run.
    pub fn longest(&self) -> u64 {
        match self {
            Cuts::Even { len, step } => *len.min(step),
            Cuts::At(places) => places.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0),
        }
    }

    /// Returns the runs that share something with a range; none for an empty range.
    pub fn overlapping(&self, range: Range<u64>) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        match self {
            Cuts::Even { step, .. } => (range.start / step) as usize..range.end.div_ceil(*step) as usize,
            Cuts::At(places) => {
                let first = places.partition_point(|place| *place <= range.start).saturating_sub(1);
                first..places.partition_point(|place| *place < range.end)
            }
        }
    }

    /// Returns the cuts of a part of the axis, counted from its beginning.
    pub fn within(&self, range: Range<u64>) -> Cuts {
        let runs = self.overlapping(range.clone());
        match self {
            Cuts::Even { step, .. } if range.start.is_multiple_of(*step) => Cuts::even(range.end - range.start, *step),
            _ => {
                let ends = runs.map(|run| self.run(run).end.min(range.end) - range.start);
                Cuts::At(std::iter::once(0).chain(ends).collect())
            }
        }
    }
}

/// How a shape is cut into chunks, which are numbered row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The block rows.
    pub rows: Cuts,
    /// The block columns.
    pub cols: Cuts,
}

impl Grid {
    /// Cuts the rows only.
    pub fn of_rows(rows: Cuts, cols: u64) -> Self {
        Grid { rows, cols: Cuts::whole(cols) }
    }

    /// Returns rows and columns of the whole.
    pub fn shape(&self) -> (u64, u64) {
        (self.rows.len(), self.cols.len())
    }

    /// Returns the number of chunks.
    pub fn n_blocks(&self) -> usize {
        self.rows.n_runs() * self.cols.n_runs()
    }

    /// Returns the rows and the columns of one chunk.
    ///
    /// # Panics
    ///
    /// When there is no such chunk.
    pub fn block(&self, index: usize) -> (Range<u64>, Range<u64>) {
        let n_cols = self.cols.n_runs();
        (self.rows.run(index / n_cols), self.cols.run(index % n_cols))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_cuts() -> Vec<Cuts> {
        let mut cuts: Vec<Cuts> = (0..8).flat_map(|len| (1..9).map(move |step| Cuts::even(len, step))).collect();
        for lengths in [vec![], vec![0], vec![3], vec![2, 0, 3], vec![0, 0, 1, 4, 0]] {
            cuts.push(Cuts::of_lengths(lengths).expect("short"));
        }
        cuts
    }

    #[test]
    fn runs_cover_the_axis_without_gap_or_overlap() {
        for cuts in all_cuts() {
            let mut end = 0;
            for run in (0..cuts.n_runs()).map(|i| cuts.run(i)) {
                assert_eq!(run.start, end, "{cuts:?}");
                assert!(run.end - run.start <= cuts.longest());
                end = run.end;
            }
            assert_eq!(end, cuts.len(), "{cuts:?}");
        }
    }

    #[test]
    fn a_part_of_an_axis_has_the_runs_that_overlap_it() {
        for cuts in all_cuts() {
            for start in 0..=cuts.len() {
                for end in start..=cuts.len() {
                    let runs = cuts.overlapping(start..end);
                    let shared: Vec<Range<u64>> = runs
                        .map(|i| cuts.run(i))
                        .map(|run| run.start.max(start)..run.end.min(end))
                        .filter(|run| !run.is_empty())
                        .collect();
                    assert_eq!(
                        shared.iter().map(|r| r.end - r.start).sum::<u64>(),
                        end - start,
                        "{cuts:?} {start}..{end}"
                    );
                    let within = cuts.within(start..end);
                    assert_eq!(within.len(), end - start);
                    let inner: Vec<_> = (0..within.n_runs()).map(|i| within.run(i)).filter(|r| !r.is_empty()).collect();
                    let moved: Vec<_> = shared.iter().map(|r| r.start - start..r.end - start).collect();
                    assert_eq!(inner, moved, "{cuts:?} {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn chunks_are_numbered_row_by_row() {
        let grid = Grid { rows: Cuts::even(5, 2), cols: Cuts::even(3, 2) };
        assert_eq!((grid.shape(), grid.n_blocks()), ((5, 3), 6));
        assert_eq!(grid.block(5), (4..5, 2..3));
        assert_eq!(Grid::of_rows(Cuts::even(5, 2), 0).n_blocks(), 3, "no columns are one block column");
    }

    #[test]
    fn lengths_that_overflow_are_refused() {
        assert!(Cuts::of_lengths([u64::MAX, 1]).is_err());
    }
}
