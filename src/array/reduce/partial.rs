//! What one pass collects: the share of each block, by the groups that the block touches.
//!
//! ```text
//!              columns 0..5   columns 5..9
//!   rows 0..3     block 0        block 1         each row: runs at 0 and 3      blocks 0 and 1 join, as do 2 and 3
//!   rows 3..4     block 2        block 3         each column: runs at 0 and 5   blocks 0 and 2 join, as do 1 and 3
//! ```
//!
//! A share is kept under the first row or column of its groups. Shares of the same groups join, in block order; others
//! stay apart until the end and are then put one after another. A block without rows or without columns has no share.

use super::extremes::{End, Extremes, Place};
use super::{Over, Statistic};
use crate::array::moments::{Moments, Wanted};
use crate::array::{Block, BlockInfo, Working};

/// What a pass must collect of the groups of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Collected {
    moments: Option<Wanted>,
    least: bool,
    greatest: bool,
    stored: bool,
}

/// What a pass must collect, for each [`Over`] that is asked for, and how many columns the array has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    over: [Option<Collected>; 3],
    cols: u64,
}

/// What is known of some neighbouring groups.
#[derive(Default)]
pub(super) struct Share {
    pub(super) moments: Option<Moments>,
    pub(super) least: Option<Extremes>,
    pub(super) greatest: Option<Extremes>,
    /// Numbers of stored values.
    pub(super) stored: Option<Vec<u64>>,
}

/// Shares by the first of their groups, ascending, for each [`Over`].
#[derive(Default)]
pub(super) struct Partial([Vec<(u64, Share)>; 3]);

impl Request {
    /// Returns what must be collected to answer; quantiles are not found in this pass.
    pub(super) fn of(reductions: &[(Statistic, Over)], cols: u64) -> Request {
        let mut request = Request { cols, ..Request::default() };
        for (statistic, over) in reductions.iter().filter(|(statistic, _)| statistic.quantile().is_none()) {
            let wanted = request.over[*over as usize].get_or_insert_default();
            match statistic {
                Statistic::Sum | Statistic::Mean => _ = wanted.moments.get_or_insert_default(),
                Statistic::Var { .. } | Statistic::Std { .. } => wanted.moments.get_or_insert_default().squares = true,
                Statistic::CountNonzero | Statistic::Any | Statistic::All => {
                    wanted.moments.get_or_insert_default().nnz = true;
                }
                Statistic::Min | Statistic::ArgMin => wanted.least = true,
                Statistic::Max | Statistic::ArgMax => wanted.greatest = true,
                Statistic::Nnz => wanted.stored = true,
                Statistic::Median | Statistic::Quantile(_) => {}
            }
        }
        request
    }

    /// Returns whether there is nothing to collect.
    pub(super) fn is_empty(&self) -> bool {
        self.over.iter().all(Option::is_none)
    }

    /// Returns what the share of a row takes; nothing where no rows are asked for.
    pub(super) fn row_bytes(self) -> u64 {
        self.over[Over::EachRow as usize].map_or(0, Collected::group_bytes)
    }

    /// Returns what a task holds: two shares while they join and those that wait for theirs, and on the way what the
    /// statistics of columns need; of rows two shares and so many answers, which wait until all have come.
    pub(super) fn working(self, row_answer_bytes: u64) -> Working {
        let group = |over: Over| self.over[over as usize].map_or(0, Collected::group_bytes);
        let columns = group(Over::EachColumn).saturating_mul(self.cols);
        // Beside three shares there is at most as much as two: means and rests of the squares, gaps of the extremes.
        let fixed = columns.saturating_mul(5).saturating_add(1024);
        // The answers as they are and as they are kept; while they are made, keys and values of one of them.
        let per_row = 2 * self.row_bytes() + 3 * row_answer_bytes + if row_answer_bytes > 0 { 16 } else { 0 };
        Working { fixed, per_row, kept: columns }
    }

    /// Returns the share of a block.
    pub(super) fn share(self, block: &Block, info: &BlockInfo) -> Partial {
        let mut partial = Partial::default();
        if block.rows() == 0 || block.cols() == 0 {
            return partial;
        }
        let place = place_of(info, self.cols);
        for (over, first) in [(Over::Whole, 0), (Over::EachRow, place.row_offset), (Over::EachColumn, place.col_offset)]
        {
            if let Some(collected) = self.over[over as usize] {
                partial.0[over as usize].push((first, collected.share(block, over, place)));
            }
        }
        partial
    }
}

/// Says where a block lies.
pub(super) fn place_of(info: &BlockInfo, cols: u64) -> Place {
    Place { row_offset: info.row_offset, col_offset: info.col_offset, cols }
}

impl Collected {
    /// Returns what one group takes: two sums and the squares and the count of the moments, a rank and a place for each
    /// end, a count.
    fn group_bytes(self) -> u64 {
        let ends = u64::from(self.least) + u64::from(self.greatest);
        32 * u64::from(self.moments.is_some()) + 16 * ends + 8 * u64::from(self.stored)
    }

    fn share(self, block: &Block, over: Over, place: Place) -> Share {
        Share {
            moments: self.moments.map(|wanted| match over {
                Over::Whole => Moments::of_whole(block, wanted),
                Over::EachRow => Moments::of_rows(block, wanted),
                Over::EachColumn => Moments::of_columns(block, wanted),
            }),
            least: self.least.then(|| Extremes::of(block, over, End::Least, place)),
            greatest: self.greatest.then(|| Extremes::of(block, over, End::Greatest, place)),
            stored: self.stored.then(|| stored(block, over)),
        }
    }
}

/// Counts the stored values of each group.
fn stored(block: &Block, over: Over) -> Vec<u64> {
    let (rows, cols) = block.shape();
    match (block, over) {
        (_, Over::Whole) => vec![block.values().len() as u64],
        (Block::Dense(_), Over::EachRow) => vec![cols as u64; rows],
        (Block::Dense(_), Over::EachColumn) => vec![rows as u64; cols],
        (Block::Csr(b), Over::EachRow) => (0..rows).map(|row| b.row(row).len() as u64).collect(),
        (Block::Csr(b), Over::EachColumn) => {
            let mut stored = vec![0; cols];
            b.indices.iter().for_each(|col| stored[*col as usize] += 1);
            stored
        }
    }
}

impl Share {
    /// Joins the shares of the same groups.
    pub(super) fn join(self, other: Share) -> Share {
        let add = |mut a: Vec<u64>, b: Vec<u64>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        Share {
            moments: self.moments.zip(other.moments).map(|(a, b)| a.join(b)),
            least: self.least.zip(other.least).map(|(a, b)| a.join(b)),
            greatest: self.greatest.zip(other.greatest).map(|(a, b)| a.join(b)),
            stored: self.stored.zip(other.stored).map(|(a, b)| add(a, b)),
        }
    }

    /// Appends other groups.
    fn append(self, other: Share) -> Share {
        let extend = |mut a: Vec<u64>, b: Vec<u64>| {
            a.extend(b);
            a
        };
        Share {
            moments: self.moments.zip(other.moments).map(|(a, b)| a.append(b)),
            least: self.least.zip(other.least).map(|(a, b)| a.append(b)),
            greatest: self.greatest.zip(other.greatest).map(|(a, b)| a.append(b)),
            stored: self.stored.zip(other.stored).map(|(a, b)| extend(a, b)),
        }
    }
}

impl Partial {
    /// Joins what two runs of blocks collected; `self` is of the earlier ones.
    pub(super) fn join(mut self, other: Partial) -> Partial {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            for (first, share) in theirs {
                match mine.binary_search_by_key(&first, |(first, _)| *first) {
                    Ok(at) => mine[at].1 = std::mem::take(&mut mine[at].1).join(share),
                    Err(at) => mine.insert(at, (first, share)),
                }
            }
        }
        self
    }

    /// Takes out what a block's rows gave.
    pub(super) fn take_rows(&mut self) -> Option<Share> {
        self.0[Over::EachRow as usize].pop().map(|(_, share)| share)
    }

    /// Returns what is known of all groups, one after another; nothing where no block had a share.
    pub(super) fn finish(self) -> [Share; 3] {
        self.0.map(|runs| runs.into_iter().map(|(_, share)| share).reduce(Share::append).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DenseBlock;

    /// The share of a block of a 3 × 4 matrix of ascending numbers, on a grid that is cut along both axes.
    fn share(request: Request, rows: std::ops::Range<u64>, cols: std::ops::Range<u64>) -> Partial {
        let values: Vec<i64> = rows.clone().flat_map(|i| cols.clone().map(move |j| (4 * i + j) as i64)).collect();
        let shape = ((rows.end - rows.start) as usize, (cols.end - cols.start) as usize);
        let block: Block = DenseBlock::new(shape.0, shape.1, values).expect("its values").into();
        let place = Place { row_offset: rows.start, col_offset: cols.start, cols: 4 };
        let mut partial = Partial::default();
        for (over, first) in [(Over::Whole, 0), (Over::EachRow, rows.start), (Over::EachColumn, cols.start)] {
            let collected = request.over[over as usize].expect("it is asked for");
            partial.0[over as usize].push((first, collected.share(&block, over, place)));
        }
        partial
    }

    #[test]
    fn shares_of_a_grid_that_is_cut_along_both_axes_find_their_groups() {
        let asked = [Over::Whole, Over::EachRow, Over::EachColumn]
            .map(|over| [Statistic::Sum, Statistic::ArgMax, Statistic::Nnz].map(|statistic| (statistic, over)));
        let request = Request::of(&asked.concat(), 4);
        // The tree may join a block with the next one although that lies in the next block row.
        let [a, b, c] = [0..1, 1..2, 2..4].map(|cols| share(request, 0..2, cols));
        let [d, e, f] = [0..1, 1..2, 2..4].map(|cols| share(request, 2..3, cols));
        let found = a.join(b).join(c.join(d)).join(e.join(f)).finish();
        let sums = |share: &Share| -> Vec<f64> {
            share.moments.as_ref().expect("asked for").sums.iter().map(|sum| sum.value()).collect()
        };
        assert_eq!(found.each_ref().map(sums), [vec![66.0], vec![6.0, 22.0, 38.0], vec![12.0, 15.0, 18.0, 21.0]]);
        let last = found.each_ref().map(|share| share.greatest.as_ref().expect("asked for").at.clone());
        assert_eq!(last, [vec![11], vec![3; 3], vec![2; 4]]);
        let stored = found.each_ref().map(|share| share.stored.clone().expect("asked for"));
        assert_eq!(stored, [vec![12], vec![4; 3], vec![3; 4]]);
    }
}
