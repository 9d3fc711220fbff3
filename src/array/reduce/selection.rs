//! Order statistics of the whole or of each column, of data that no memory holds: exact, in a few passes.
//!
//! ```text
//!   keys of a column   0 ├──────────────────────────────────────────────┤ last     every rank lies here
//!   pass 1: counts       │  3  │  0  │ 91  │  7  │  …     and the least and the greatest key of each bucket
//!   rank 40                          └─┬─┘     3 values are below, so it is at place 37 of these 91
//!   pass 2                             ├┤      from their least to their greatest key: the same again, or
//!                                              all of them, sorted, where they are few
//! ```
//!
//! A search keeps an interval of keys for each rank of each group that is not found yet. A pass counts the values in up to
//! 1,024 buckets of each interval, and a bucket's least and greatest key are the next interval: it is found when they are
//! equal. Where the values in an interval take no more room than its buckets would, the pass brings them home. This is
//! Munro and Paterson's selection with limited storage (1980) on keys instead of samples, so that the number of passes
//! does not depend on the order of the data: at most one for each ten bits of the dtype, and one. Where there are so many
//! columns that their buckets would outweigh two blocks there are fewer of them, down to 16, for four bits a pass.
//!
//! Always true: what a pass holds is at most a sixteenth of an allowance, for each lane of a worker; where the open
//! intervals need more even with the fewest buckets, some wait for their turn. Counts are exact, so nothing depends on the
//! chunk grid or on the number of workers.

use std::sync::Arc;

use super::Over;
use super::histogram::{Bucket, Collected, Interval, Pass, Room, Wanted};
use super::key::last_key;
use crate::array::{Array, BlockKind, DType, DenseBlock};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// Partials of so many bytes are joined in no time, however small the blocks.
const SMALL_BYTES: u64 = 1 << 20;

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
    let room = Room::of(array, cluster)?;
    let mut search = Search::new(groups, n, ranks, array.dtype());
    while !search.open.is_empty() {
        let pass = Arc::new(Pass::of(&search.open, groups, room));
        let collected = pass.clone().run(array, cluster, over, progress.clone())?;
        search.learn(&pass, collected)?;
    }
    Ok(search.keys)
}

impl Room {
    fn of(array: &Array, cluster: &Cluster) -> Result<Room> {
        let lanes = (cluster.lanes() / cluster.workers().max(1)).max(1) as u64;
        let plan = array.plan(cluster)?;
        let made = match array.kind() {
            BlockKind::Dense => DenseBlock::nbytes_of(array.rows(), array.cols(), array.dtype()),
            BlockKind::Csr => 0,
        };
        let fair = plan.bytes_read.max(made) / plan.tasks.max(1) as u64;
        let most = cluster.allowance() / 16 / lanes;
        Ok(Room { most, fair: fair.saturating_mul(2).max(SMALL_BYTES).min(most) })
    }
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
    fn learn(&mut self, pass: &Pass, collected: Collected) -> Result<()> {
        let waiting = self.open.split_off(pass.intervals.len());
        self.open.clear();
        let Collected { buckets, mut found } = collected;
        found.sort_unstable();
        let mut found = &found[..];
        for (at, (interval, wanted)) in pass.intervals.iter().enumerate() {
            let (mine, rest) = found.split_at(found.partition_point(|(of, _)| *of == at));
            found = rest;
            let buckets = match wanted {
                Wanted::All => &[],
                Wanted::Buckets { first, .. } => &buckets[*first..*first + pass.n_buckets],
            };
            let count = mine.len() as u64 + buckets.iter().map(|bucket| bucket.count).sum::<u64>();
            if count != interval.count {
                let found = format!("{count} of {} that were counted before", interval.count);
                return Err(Error::bad_argument("quantile", "number of values", found, "the same in every pass"));
            }
            let greatest = mine.last().map(|(_, key)| *key).max(buckets.iter().map(|bucket| bucket.greatest).max());
            match wanted {
                // The first interval of a group holds all of its values; later ones have no NaN.
                _ if self.nan.is_some_and(|nan| greatest == Some(nan)) => {
                    self.settle(interval.group, 0..self.ranks.len(), greatest.unwrap_or_default());
                }
                Wanted::All => {
                    for at in self.ranks_in(interval.below, interval.count) {
                        let place = (self.ranks[at] - interval.below) as usize;
                        self.settle(interval.group, at..at + 1, mine[place].1);
                    }
                }
                Wanted::Buckets { .. } => self.narrow(interval, buckets),
            }
        }
        // The first groups go first until they are done, and those that waited then have their turn.
        self.open.extend(waiting);
        self.open.sort_by_key(|interval| (interval.group, interval.low));
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{Block, BlockMap};
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn an_array_that_changes_from_pass_to_pass_is_refused() {
        let (calls, seed) = (AtomicU64::new(0), crate::array::random::uniform(100, 1, 1, 10));
        let map = BlockMap::new("restless", 1, DType::F64, BlockKind::Dense, move |block: Block, _| {
            let shift = calls.fetch_add(1, Ordering::Relaxed) as f64;
            let values = block.to_vec::<f64>().into_iter().map(|x| (x + shift) * 1e3).collect::<Vec<_>>();
            Ok(DenseBlock::new(block.rows(), 1, values)?.into())
        });
        let restless = seed.map_blocks(map).expect("one column");
        // A sixteenth is too little to bring a hundred values home at once.
        let builder = Cluster::builder().allowance(crate::ByteSize(16 << 10)).workers(1);
        let refused = restless.median(&builder.build().expect("sound settings"), Over::Whole).expect_err("it changes");
        assert!(refused.to_string().contains("the same in every pass"), "{refused}");
    }
}
