//! An array's blocks, one after another, a bounded number ahead of who takes them (`runtime/ahead.rs`).
//!
//! Always true: what is finished and not taken stays reserved, so that a slow reader holds no more than the workers may;
//! what was taken is its reader's, as every answer that came home. A walk to the end, or to the first error, leaves a report of one
//! run; one that is given up half-way, a report of a run that failed.

use super::evaluate::with_block;
use super::window::Window;
use super::{Array, Block, Plan};
use crate::error::Result;
use crate::runtime::{Ahead, Blocks, Cluster};

/// Computed blocks, in row order. Dropping it cancels what it is ahead with.
#[derive(Debug)]
#[must_use = "blocks are computed as they are taken"]
pub struct BlockIter {
    plan: Plan,
    ahead: Ahead<Block>,
}

impl Array {
    /// Computes the blocks one after another, row by row of the grid, a bounded number ahead of who takes
    /// them: at most two for each lane, and no more than the workers may hold.
    ///
    /// A block may be mapped from a chunk: [`Block::check`] it after the last read.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`](crate::Error::TooBig) before any work. The iterator gives the blocks' errors, and ends after the
    /// first.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let (mut rows, mut largest) = (0, f64::MIN);
    /// for block in random::uniform(1000, 3, 7, 100).blocks(&cluster)? {
    ///     let block = block?;
    ///     rows += block.rows();
    ///     largest = block.to_vec::<f64>().into_iter().fold(largest, f64::max);
    /// }
    /// assert!(rows == 1000 && largest > 0.99 && largest < 1.0);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn blocks(&self, cluster: &Cluster) -> Result<BlockIter> {
        let plan = self.plan_for(cluster, "blocks", 0)?;
        let (array, grid) = (self.clone(), plan.grid.clone());
        let blocks = Blocks { n: plan.tasks, projected_bytes: plan.projected_bytes, ..Blocks::named("blocks") };
        let ahead = cluster.blocks_ahead(blocks, move |index, context| {
            let window = Window::of_block(&grid, index);
            let block = with_block(&array, index, &window, context, |block, _| Ok(block))?;
            let bytes = block.anonymous_bytes();
            Ok((block, bytes))
        });
        Ok(BlockIter { plan, ahead })
    }
}

impl BlockIter {
    /// Returns what all of it takes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl Iterator for BlockIter {
    type Item = Result<Block>;

    fn next(&mut self) -> Option<Result<Block>> {
        self.ahead.take()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ahead.left();
        // An error ends it early.
        (left.min(1), Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{BlockInfo, BlockKind, BlockMap, DType, random};
    use crate::error::Error;
    use crate::runtime::testing::clusters;

    #[test]
    fn blocks_come_in_row_order_with_the_numbers_of_the_whole() {
        for cluster in clusters() {
            let array = random::uniform(103, 3, 5, 10).log1p();
            let whole = array.compute(&cluster).expect("small").to_vec::<f64>();
            let blocks = array.blocks(&cluster).expect("small");
            assert_eq!((blocks.plan().tasks, blocks.size_hint()), (11, (1, Some(11))));
            let parts: Vec<f64> = blocks.flat_map(|block| block.expect("small").to_vec::<f64>()).collect();
            assert_eq!(parts, whole);
            // Taking a few is enough: the others are cancelled.
            let first = array.blocks(&cluster).expect("small").next().expect("eleven blocks").expect("small");
            assert_eq!(first.to_vec::<f64>(), whole[..30]);
        }
    }

    #[test]
    fn the_first_failing_block_ends_it() {
        for cluster in clusters() {
            let fail = |block: Block, info: BlockInfo| match info.index {
                index if index < 4 => Ok(block),
                index => Err(Error::bad_argument("test", "block", index, "below 4")),
            };
            let map = BlockMap::new("fail", 1, DType::F64, BlockKind::Dense, fail);
            let array = random::uniform(10, 1, 5, 1).map_blocks(map).expect("one column");
            let results: Vec<Result<Block>> = array.blocks(&cluster).expect("small").collect();
            assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, true, false]);
            let report = cluster.runs().pop().expect("one run");
            assert!(report.failed && report.done == 4, "{report}");
        }
    }

    #[test]
    fn twenty_times_the_allowances_pass_a_slow_reader_within_them_dense_and_csr() {
        // 2 × 1 MiB of allowance; 40 MiB of values, in blocks of 100 KiB.
        let dense = random::uniform(51_200, 100, 3, 128);
        for array in [dense.clone(), dense.to_csr().expect("100 columns")] {
            let [cluster, _] = clusters();
            let (mut rows, mut waiting) = (0, 0);
            for block in array.blocks(&cluster).expect("a block fits") {
                rows += block.expect("computed").rows();
                waiting = waiting.max(cluster.snapshot().reserved_bytes);
            }
            let after = cluster.snapshot();
            assert_eq!((rows, after.reserved_bytes), (51_200, 0));
            assert!(waiting > 0 && after.peak_reserved_bytes <= 2 << 20, "{waiting} {}", after.peak_reserved_bytes);
            let report = cluster.runs().pop().expect("one run");
            assert_eq!((&*report.name, report.done, report.failed), ("blocks", 400, false));
            assert!(report.peak_bytes.is_some_and(|peak| peak <= report.projected_bytes), "{report}");
        }
    }

    #[test]
    fn what_is_read_is_reported_and_blocks_of_chunks_reserve_nothing() {
        let [cluster, _] = clusters();
        let stored = random::uniform(1000, 10, 5, 100).persist(&cluster).expect("small");
        let mut blocks = stored.blocks(&cluster).expect("small");
        let first = blocks.next().expect("ten blocks").expect("read");
        assert!(first.mapping().is_some() && first.check().is_ok());
        assert_eq!(blocks.by_ref().filter(Result::is_ok).count(), 9);
        assert_eq!(cluster.runs().pop().and_then(|report| report.bytes_read), Some(80_000));
    }
}
