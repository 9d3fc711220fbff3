//! One pass of a search for order statistics: which buckets the values of a block fall into.
//!
//! An open interval of keys is cut into equal buckets, each of a power of two of keys; of each bucket are kept the number
//! of values and the least and the greatest key. Where the values of an interval take no more room than its buckets would,
//! they are collected as they are. A share of a pass has the same form for every block, and shares join by adding.

use std::sync::Arc;

use super::Over;
use super::key::{Key, zero_key};
use super::partial::place_of;
use crate::array::values::with_values;
use crate::array::{Array, Block, BlockInfo, Working};
use crate::error::Result;
use crate::runtime::{Cluster, Progress};

/// Most and fewest buckets of an interval.
const BUCKETS: (u64, u64) = (1024, 16);
const BUCKET_BYTES: u64 = size_of::<Bucket>() as u64;
/// A value that is brought home, with its interval.
const FOUND_BYTES: u64 = size_of::<(usize, u64)>() as u64;

/// Columns of a dense block that are gone through together: their buckets stay in the caches.
const TILE: usize = 32;
/// Keys of a group among which some of its ranks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) group: usize,
    pub(super) low: u64,
    pub(super) high: u64,
    /// Values of the group below the interval, and in it.
    pub(super) below: u64,
    pub(super) count: u64,
}

/// The values in a part of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) count: u64,
    pub(super) least: u64,
    pub(super) greatest: u64,
}

const EMPTY: Bucket = Bucket { count: 0, least: u64::MAX, greatest: 0 };

/// What a pass collects of an interval.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// All values.
    All,
    /// Buckets, from this one on, each of 2 to the power of `shift` keys.
    Buckets { first: usize, shift: u32 },
}

/// One pass over the data: some open intervals, in the order of their groups.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) intervals: Vec<(Interval, Wanted)>,
    pub(super) n_buckets: usize,
    /// For each group, where its intervals begin; one more at the end.
    pub(super) starts: Vec<usize>,
    /// What a share takes, all values among it.
    pub(super) bytes: u64,
}

/// What a pass collects.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) buckets: Vec<Bucket>,
    pub(super) found: Vec<(usize, u64)>,
}

/// How large a pass' partials may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Bytes that they must not exceed.
    pub(super) most: u64,
    /// Bytes beyond which intervals have only the fewest buckets: joining would be dearer than reading.
    pub(super) fair: u64,
}

impl Pass {
    /// Takes as many open intervals as fit, and says what is to be collected of each.
    pub(super) fn of(open: &[Interval], groups: usize, room: Room) -> Pass {
        let width = |interval: &Interval| interval.high - interval.low;
        let widest = open.iter().map(width).max().unwrap_or(0).saturating_add(1);
        let fit = (room.fair / BUCKET_BYTES / open.len().max(1) as u64).clamp(BUCKETS.1, BUCKETS.0);
        // Rounded down to a power of two.
        let n_buckets = (1u64 << fit.ilog2()).min(widest.checked_next_power_of_two().unwrap_or(u64::MAX));
        let full = n_buckets * BUCKET_BYTES;
        let (mut intervals, mut first, mut bytes) = (Vec::new(), 0, 0u64);
        for interval in open {
            let all = interval.count.saturating_mul(FOUND_BYTES);
            bytes += all.min(full);
            if bytes > room.most && !intervals.is_empty() {
                bytes -= all.min(full);
                break;
            }
            if all <= full {
                intervals.push((*interval, Wanted::All));
                continue;
            }
            let bits = u64::BITS - width(interval).leading_zeros();
            intervals.push((*interval, Wanted::Buckets { first, shift: bits.saturating_sub(n_buckets.ilog2()) }));
            first += n_buckets as usize;
        }
        let mut starts = vec![0; groups + 1];
        intervals.iter().for_each(|(interval, _)| starts[interval.group + 1] += 1);
        (0..groups).for_each(|group| starts[group + 1] += starts[group]);
        Pass { intervals, n_buckets: n_buckets as usize, starts, bytes }
    }

    pub(super) fn run(
        self: Arc<Pass>,
        array: &Array,
        cluster: &Cluster,
        over: Over,
        progress: Option<Progress>,
    ) -> Result<Collected> {
        let (cols, pass) = (array.cols(), self.clone());
        // Two shares while they join, one of which grows; and a number for each column.
        let fixed = self.bytes.saturating_mul(3).saturating_add(cols.saturating_mul(8)).saturating_add(1024);
        let working = Working { fixed, per_row: 0, kept: self.bytes };
        let map = move |block: &Block, info: BlockInfo, _: &_| {
            let first = place_of(&info, cols).col_offset as usize;
            Ok(with_values!(block.values(), values => pass.share(block, values, over, first)))
        };
        let collected = array.reduce_blocks(cluster, "quantile", working, map, |a, b| Ok(a.join(b)), progress)?;
        Ok(collected.unwrap_or_else(|| self.nothing()))
    }

    fn nothing(&self) -> Collected {
        let all = |wanted: &&(Interval, Wanted)| matches!(wanted.1, Wanted::Buckets { .. });
        let n_buckets = self.intervals.iter().filter(all).count() * self.n_buckets;
        Collected { buckets: vec![EMPTY; n_buckets], found: Vec::new() }
    }

    /// Collects from a block, whose first column is given.
    fn share<T: Key>(&self, block: &Block, values: &[T], over: Over, first: usize) -> Collected {
        let mut collected = self.nothing();
        let (rows, cols) = block.shape();
        let group = |col: usize| if over == Over::Whole { 0 } else { first + col };
        match block {
            Block::Dense(_) => {
                for first in (0..cols).step_by(TILE) {
                    let tile = first..cols.min(first + TILE);
                    for row in 0..rows {
                        let values = &values[row * cols..][tile.clone()];
                        tile.clone().zip(values).for_each(|(col, v)| self.put(&mut collected, group(col), v.key(), 1));
                    }
                }
            }
            Block::Csr(b) => {
                let mut zeros = vec![rows as u64; cols];
                for (col, value) in b.indices.iter().zip(values) {
                    zeros[*col as usize] -= 1;
                    self.put(&mut collected, group(*col as usize), value.key(), 1);
                }
                let zero = zero_key(T::DTYPE);
                (0..cols).for_each(|col| self.put(&mut collected, group(col), zero, zeros[col]));
            }
        }
        collected.found.shrink_to_fit();
        collected
    }

    /// Puts so many values of a key where they are wanted.
    #[inline]
    fn put(&self, collected: &mut Collected, group: usize, key: u64, times: u64) {
        for at in self.starts[group]..self.starts[group + 1] {
            let (interval, wanted) = &self.intervals[at];
            if key < interval.low || key > interval.high || times == 0 {
                continue;
            }
            match wanted {
                Wanted::All => collected.found.extend((0..times).map(|_| (at, key))),
                Wanted::Buckets { first, shift } => {
                    let bucket = &mut collected.buckets[first + ((key - interval.low) >> shift) as usize];
                    bucket.add(Bucket { count: times, least: key, greatest: key });
                }
            }
        }
    }
}

impl Bucket {
    #[inline]
    fn add(&mut self, other: Bucket) {
        self.count += other.count;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }
}

impl Collected {
    fn join(mut self, other: Collected) -> Collected {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, theirs)| mine.add(theirs));
        // Exactly as much as is there: what waits keeps no more reserved than this.
        self.found.reserve_exact(other.found.len());
        self.found.extend(other.found);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(group: usize, high: u64, count: u64) -> Interval {
        Interval { group, low: 0, high, below: 0, count }
    }

    #[test]
    fn a_pass_takes_what_fits_and_gives_every_interval_its_buckets() {
        let open: Vec<Interval> = (0..10).map(|group| interval(group, u64::MAX, 1 << 40)).collect();
        let pass = |most: u64, fair: u64| {
            let pass = Pass::of(&open, 10, Room { most, fair });
            (pass.intervals.len(), pass.n_buckets, pass.bytes)
        };
        assert_eq!(pass(1 << 30, 1 << 30), (10, 1024, 10 * 1024 * 24));
        assert_eq!(pass(1 << 30, 10 * 100 * 24), (10, 64, 10 * 64 * 24), "a power of two");
        assert_eq!(pass(3 * 16 * 24, 0), (3, 16, 3 * 16 * 24), "the others wait");
        assert_eq!(pass(0, 0), (1, 16, 16 * 24), "one goes on however little there is");
        let few =
            Pass::of(&[interval(0, 255, 100), interval(1, 255, 1 << 40)], 2, Room { most: 1 << 20, fair: 1 << 20 });
        assert_eq!((few.n_buckets, few.bytes), (256, 100 * 16 + 256 * 24), "a hundred values are brought home");
    }
}
