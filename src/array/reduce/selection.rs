//! Order statistics of the whole or of each column, of data that no memory holds: exact, in a few passes.
//!
//! ```text
//!   keys of a column   0 ├──────────────────────────────────────────────┤ last     every rank lies here
//!   pass 1: counts       │ 3 │ 0 │ 91 │ 7 │ …     and the least and the greatest key of each bucket
//!   rank 40 of 0..       └───┘   ├┤ ◀── rank 40 lies here, at place 37, between the bucket's least and greatest key
//!   pass 2                       the same inside ├┤; or, where few values are left, all of them, sorted
//! ```
//!
//! A search keeps an interval of keys for each rank of each group that is not found yet. A pass counts the values in up to
//! 1,024 buckets of each interval, and a bucket's least and greatest key are the next interval: it is found when they are
//! equal. Where the values in an interval take no more room than its buckets would, the pass brings them home. This is
//! Munro and Paterson's selection with limited storage (1980, §2) on keys instead of samples, so that the number of passes
//! does not depend on the order of the data: at most one for each ten bits of the dtype, and one.
//!
//! Always true: what a pass holds is at most a sixteenth of an allowance, for each lane of a worker; where the open
//! intervals need more, they get fewer buckets, and then wait for their turn. Counts are exact, so nothing depends on the
//! chunk grid or on the number of workers.

use std::sync::Arc;

use super::Over;
use super::key::{Key, last_key, zero_key};
use super::partial::place_of;
use crate::array::values::with_values;
use crate::array::{Array, Block, BlockInfo, DType, Working};
use crate::error::Result;
use crate::runtime::{Cluster, Progress};

/// Most and fewest buckets of an interval.
const BUCKETS: (u64, u64) = (1024, 16);
const BUCKET_BYTES: u64 = size_of::<Bucket>() as u64;
/// A value that is brought home, with its interval.
const FOUND_BYTES: u64 = size_of::<(usize, u64)>() as u64;

/// Keys of a group among which some of its ranks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    group: usize,
    low: u64,
    high: u64,
    /// Values of the group below the interval, and in it.
    below: u64,
    count: u64,
}

/// The values in a part of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    count: u64,
    least: u64,
    greatest: u64,
}

const EMPTY: Bucket = Bucket { count: 0, least: u64::MAX, greatest: 0 };

/// What a pass collects of an interval.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// All values.
    All,
    /// Buckets, from this one on, each of 2 to the power of `shift` keys.
    Buckets { first: usize, shift: u32 },
}

/// One pass over the data: some open intervals, in the order of their groups.
#[derive(Debug)]
struct Pass {
    intervals: Vec<(Interval, Wanted)>,
    n_buckets: usize,
    /// For each group, where its intervals begin; one more at the end.
    starts: Vec<usize>,
    /// What a share takes, all values among it.
    bytes: u64,
}

/// What a pass collects.
#[derive(Debug)]
struct Collected {
    buckets: Vec<Bucket>,
    found: Vec<(usize, u64)>,
}

/// Finds the keys of the values of some ranks (ascending, each once) in each group, one group after another. A group with
/// a NaN has its key everywhere.
pub(super) fn order_statistics(
    array: &Array,
    cluster: &Cluster,
    over: Over,
    ranks: &[u64],
    progress: Option<Progress>,
) -> Result<Vec<u64>> {
    let (groups, n) = over.groups(array)?;
    let lanes = (cluster.lanes() / cluster.workers().max(1)).max(1) as u64;
    let budget = cluster.allowance() / 16 / lanes;
    let mut search = Search::new(groups, n, ranks, array.dtype());
    while !search.open.is_empty() {
        let pass = Arc::new(Pass::of(&search.open, groups, budget));
        let collected = pass.clone().run(array, cluster, over, progress.clone())?;
        search.learn(&pass, collected);
    }
    Ok(search.keys)
}

/// The ranks that are looked for, and what is known of them.
struct Search<'a> {
    ranks: &'a [u64],
    /// NaN's key, where there is NaN.
    nan: Option<u64>,
    open: Vec<Interval>,
    /// The keys of the ranks of each group, where they are found.
    keys: Vec<u64>,
}

impl<'a> Search<'a> {
    fn new(groups: usize, n: u64, ranks: &'a [u64], dtype: DType) -> Search<'a> {
        let all = |group| Interval { group, low: 0, high: last_key(dtype), below: 0, count: n };
        let nan = dtype.is_float().then(|| last_key(dtype));
        Search { ranks, nan, open: (0..groups).map(all).collect(), keys: vec![0; groups * ranks.len()] }
    }

    /// Returns which ranks lie among values that have so many below them.
    fn ranks_in(&self, below: u64, count: u64) -> std::ops::Range<usize> {
        self.ranks.partition_point(|rank| *rank < below)..self.ranks.partition_point(|rank| *rank < below + count)
    }

    /// Writes down the key of some ranks.
    fn settle(&mut self, group: usize, ranks: std::ops::Range<usize>, key: u64) {
        let first = group * self.ranks.len();
        self.keys[first + ranks.start..first + ranks.end].fill(key);
    }

    /// Replaces the intervals of a pass by what is left of them.
    fn learn(&mut self, pass: &Pass, collected: Collected) {
        let waiting = self.open.split_off(pass.intervals.len());
        self.open.clear();
        let Collected { buckets, mut found } = collected;
        found.sort_unstable();
        let mut found = &found[..];
        for (at, (interval, wanted)) in pass.intervals.iter().enumerate() {
            let (mine, rest) = found.split_at(found.partition_point(|(of, _)| *of == at));
            found = rest;
            let greatest = match wanted {
                Wanted::All => mine.last().map(|(_, key)| *key),
                Wanted::Buckets { first, .. } => {
                    buckets[*first..*first + pass.n_buckets].iter().map(|bucket| bucket.greatest).max()
                }
            };
            match wanted {
                // The first interval of a group holds all of its values; later ones have no NaN.
                _ if self.nan.is_some() && greatest == self.nan => {
                    self.settle(interval.group, 0..self.ranks.len(), greatest.unwrap_or_default());
                }
                Wanted::All => {
                    for at in self.ranks_in(interval.below, interval.count) {
                        let place = (self.ranks[at] - interval.below) as usize;
                        self.settle(interval.group, at..at + 1, mine[place].1);
                    }
                }
                Wanted::Buckets { first, .. } => self.narrow(interval, &buckets[*first..*first + pass.n_buckets]),
            }
        }
        // The first groups go first until they are done, and those that waited then have their turn.
        self.open.extend(waiting);
        self.open.sort_by_key(|interval| (interval.group, interval.low));
    }

    /// Goes on with the buckets that hold a rank.
    fn narrow(&mut self, interval: &Interval, buckets: &[Bucket]) {
        let mut below = interval.below;
        for bucket in buckets {
            let ranks = self.ranks_in(below, bucket.count);
            if bucket.least == bucket.greatest {
                self.settle(interval.group, ranks, bucket.least);
            } else if !ranks.is_empty() {
                let (low, high, count) = (bucket.least, bucket.greatest, bucket.count);
                self.open.push(Interval { group: interval.group, low, high, below, count });
            }
            below += bucket.count;
        }
    }
}

impl Pass {
    /// Takes as many open intervals as fit, and says what is to be collected of each.
    fn of(open: &[Interval], groups: usize, budget: u64) -> Pass {
        let width = |interval: &Interval| interval.high - interval.low;
        let widest = open.iter().map(width).max().unwrap_or(0).saturating_add(1);
        let fit = (budget / BUCKET_BYTES / open.len().max(1) as u64).clamp(BUCKETS.1, BUCKETS.0);
        // Rounded down to a power of two.
        let n_buckets = (1u64 << fit.ilog2()).min(widest.checked_next_power_of_two().unwrap_or(u64::MAX));
        let room = n_buckets * BUCKET_BYTES;
        let (mut intervals, mut first, mut bytes) = (Vec::new(), 0, 0u64);
        for interval in open {
            let all = interval.count.saturating_mul(FOUND_BYTES);
            bytes += all.min(room);
            if bytes > budget && !intervals.is_empty() {
                bytes -= all.min(room);
                break;
            }
            if all <= room {
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

    fn run(
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
                for row in values.chunks_exact(cols.max(1)) {
                    row.iter()
                        .enumerate()
                        .for_each(|(col, value)| self.put(&mut collected, group(col), value.key(), 1));
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
