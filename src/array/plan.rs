//! Plans: which tasks an array becomes, and how many bytes each of them holds, known before any work.
//!
//! A task's bytes are those of the widest moment of its chain: while a node runs, its input and its result are there;
//! in-place kernels need one of them only. Mapped chunks do not count until they are copied. What the caller does with
//! the finished block comes on top, as [`Working`] bytes.
//!
//! The chunk grid, where it is not given, follows from the data alone: blocks of about 8 MiB, fewer where that would
//! leave fewer than 64, and halved until a task fits. The number of workers has no say, so that it changes no bit of a
//! result either.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::expr::Expr;
use super::grid::{Cuts, Grid};
use super::{Array, BlockKind, CsrBlock, DenseBlock};
use crate::bytes::ByteSize;
use crate::error::{Error, Result};
use crate::runtime::Cluster;

/// Blocks grow up to this: far beyond what starting a task costs, and a few of them fit the caches.
const TARGET_BYTES: u64 = 8 << 20;
/// Blocks are not cut below this for the sake of more tasks.
const LEAST_BYTES: u64 = 256 << 10;
/// So many tasks keep sixteen lanes busy to the end, four for each.
const TARGET_TASKS: u64 = 64;
/// Storage chunks up to so many bytes are not torn apart.
const STORAGE_BYTES: u64 = 8 * TARGET_BYTES;

/// Each node of a chain takes a frame of a lane's stack, of well under 4 KiB.
const LONGEST_CHAIN: usize = 256;

/// What a caller's part of a task holds besides the block: its partial, and scratch that grows with the block's rows.
///
/// A plain number of bytes is taken as `fixed`, and as what the partial keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Working {
    /// Bytes whatever the block.
    pub fixed: u64,
    /// Bytes for each row of the block.
    pub per_row: u64,
    /// Those of a finished partial, a part of `fixed`: they stay reserved while it waits to be joined.
    pub kept: u64,
}

impl From<u64> for Working {
    fn from(fixed: u64) -> Self {
        Working { fixed, per_row: 0, kept: fixed }
    }
}

impl Working {
    fn bytes(self, rows: u64) -> u64 {
        self.per_row.saturating_mul(rows).saturating_add(self.fixed)
    }
}

/// What computing an array will take: known before it runs.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::random};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let plan = random::uniform(1_000_000, 100, 1, 10_000).scale(2.0).plan(&cluster)?;
/// assert_eq!((plan.tasks, plan.block_rows, plan.projected_bytes), (100, 10_000, 8_000_000));
/// assert!(plan.to_string().contains("random > scale"), "{plan}");
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The chain that each task runs, first node first.
    pub steps: Vec<Arc<str>>,
    /// How the array is cut: one task per chunk.
    pub grid: Grid,
    /// Tasks.
    pub tasks: usize,
    /// Rows of the largest block.
    pub block_rows: u64,
    /// How often the input is read.
    pub passes: usize,
    /// Bytes read in all passes, as blocks in memory (a compressed file has fewer).
    pub bytes_read: u64,
    /// The most anonymous bytes that one task holds.
    pub projected_bytes: u64,
    /// What a worker may hold.
    pub allowance: u64,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, cols) = self.grid.shape();
        writeln!(f, "{rows} x {cols}: {}", self.steps.join(" > "))?;
        writeln!(f, "{} tasks of up to {} rows, one per block", self.tasks, self.block_rows)?;
        writeln!(f, "{} pass(es), {} read", self.passes, ByteSize(self.bytes_read))?;
        write!(f, "{} per task of {} per worker", ByteSize(self.projected_bytes), ByteSize(self.allowance))
    }
}

/// What computing some rows of an array takes.
#[derive(Clone, Copy, Debug, Default)]
struct Need {
    /// At most so many stored values in the result.
    nnz: u64,
    /// The result's bytes, wherever they are.
    bytes: u64,
    /// Anonymous bytes among them.
    held: u64,
    /// The most anonymous bytes at any moment, the result at the end among them.
    peak: u64,
    /// Bytes that are read.
    read: u64,
}

impl Array {
    /// Returns what computing the array on a cluster will take, without computing anything.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] when no block, or none of the grid that was given, fits a worker's allowance.
    pub fn plan(&self, cluster: &Cluster) -> Result<Plan> {
        self.plan_for(cluster, "plan", Working::default())
    }

    /// Like [`plan`](Self::plan), for a task of some name that holds more than the block.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] when no block, or none of the grid that was given, fits a worker's allowance.
    pub fn plan_for(&self, cluster: &Cluster, name: &str, working: impl Into<Working>) -> Result<Plan> {
        self.check_length()?;
        let (allowance, working) = (cluster.allowance(), working.into());
        let lanes = (cluster.lanes() / cluster.workers().max(1)).max(1) as u64;
        let cuts = match &self.cuts {
            Some(cuts) => cuts.clone(),
            // More than an equal share for each lane of a worker would leave lanes idle.
            None => self.choose_cuts(working, allowance / lanes)?,
        };
        let need = self.need_of_blocks(&cuts, working)?;
        if need.peak > allowance {
            return Err(Error::TooBig { task: name.into(), need: need.peak, allowance, largest: allowance });
        }
        Ok(Plan {
            steps: self.steps(),
            tasks: cuts.n_runs(),
            block_rows: cuts.longest(),
            passes: 1,
            bytes_read: need.read,
            projected_bytes: need.peak,
            allowance,
            grid: Grid::of_rows(cuts, self.cols()),
        })
    }

    /// Refuses a chain that is too long to be followed on a lane's stack.
    fn check_length(&self) -> Result<()> {
        let length = std::iter::successors(Some(self), |array| array.input()).count();
        if length <= LONGEST_CHAIN {
            return Ok(());
        }
        let expected = format!("at most {LONGEST_CHAIN}: call persist() in between");
        Err(Error::bad_argument("plan", "number of operations", length, expected))
    }

    /// Names the nodes of the chain, first node first.
    fn steps(&self) -> Vec<Arc<str>> {
        let name = |array: &Array| match &*array.expr {
            Expr::Source(source) => format!("read {}", source.name()).into(),
            Expr::MapBlocks(_, map) => map.name.clone(),
            _ => array.operation().into(),
        };
        let mut steps: Vec<Arc<str>> = std::iter::successors(Some(self), |array| array.input()).map(name).collect();
        steps.reverse();
        steps
    }

    /// Cuts the rows into blocks of a good size that fit: a multiple of the storage chunks where that is possible.
    fn choose_cuts(&self, working: Working, per_lane: u64) -> Result<Cuts> {
        let rows = self.rows();
        if rows == 0 {
            return Ok(Cuts::even(0, 1));
        }
        let whole = self.need(0..rows)?.peak.saturating_add(working.per_row.saturating_mul(rows));
        let per_row = (whole / rows).max(1);
        let storage = match self.storage_rows() {
            rows if rows.saturating_mul(per_row) <= STORAGE_BYTES => rows.max(1),
            _ => 1,
        };
        // A partial larger than the block would make joining dearer than the work.
        let least = working.fixed.clamp(LEAST_BYTES, TARGET_BYTES);
        let target = (whole / TARGET_TASKS).clamp(least, TARGET_BYTES);
        let mut step = aligned((target / per_row).clamp(1, rows), storage).max(storage).min(rows);
        loop {
            let cuts = Cuts::even(rows, step);
            let need = self.need_of_blocks(&cuts, working)?.peak;
            // The last choice may take the whole worker; whether it does fit is for the caller to say.
            if need <= per_lane || step == 1 {
                return Ok(cuts);
            }
            step = aligned(step / 2, storage);
        }
    }

    /// Returns the row step of the storage that the array is read from.
    fn storage_rows(&self) -> u64 {
        match &*self.expr {
            Expr::Source(source) => source.storage_rows(),
            Expr::Chunks(_, cuts) => cuts.longest(),
            // Steps that begin elsewhere do not meet the storage's.
            Expr::SelectRows(input, first) if first % input.storage_rows().max(1) != 0 => 1,
            _ => self.input().map_or(1, Array::storage_rows),
        }
    }

    /// Returns the greatest need of any block, with the bytes read of all.
    fn need_of_blocks(&self, cuts: &Cuts, working: Working) -> Result<Need> {
        let mut all = Need::default();
        let mut base = self;
        while let Some(input) = base.input() {
            base = input;
        }
        // Blocks that are made and not read are all alike, and the first is the longest of an even cut.
        let made = matches!((&*base.expr, cuts), (Expr::Random(_) | Expr::Zeros, Cuts::Even { .. }));
        let n = if made { cuts.n_runs().min(1) } else { cuts.n_runs() };
        for run in (0..n).map(|i| cuts.run(i)) {
            let rows = run.end - run.start;
            let need = self.need(run)?;
            all.peak = all.peak.max(need.peak).max(need.held.saturating_add(working.bytes(rows)));
            all.read = all.read.saturating_add(need.read);
        }
        Ok(all)
    }

    /// Returns what computing some rows takes.
    fn need(&self, rows: Range<u64>) -> Result<Need> {
        let n_rows = rows.end - rows.start;
        let result = |nnz: u64| match self.kind {
            BlockKind::Dense => DenseBlock::nbytes_of(n_rows, self.cols(), self.dtype),
            BlockKind::Csr => CsrBlock::nbytes_of(n_rows, nnz, self.dtype),
        };
        let all = n_rows.saturating_mul(self.cols());
        let begin = |nnz: u64, scratch: u64, is_read: bool| {
            let bytes = result(nnz);
            let read = if is_read { bytes } else { 0 };
            Need { nnz, bytes, held: bytes, peak: bytes.saturating_add(scratch), read }
        };
        // A node whose input and result are both there for a while.
        let beside = |input: Need, nnz: u64, scratch: u64| {
            let bytes = result(nnz);
            let both = input.held.saturating_add(bytes).saturating_add(scratch);
            Need { nnz, bytes, held: bytes, peak: input.peak.max(both), read: input.read }
        };
        Ok(match &*self.expr {
            Expr::Source(source) => begin(source.nnz_of(rows.clone())?, source.scratch_bytes(rows)?, true),
            Expr::Random(_) => begin(all, 0, false),
            Expr::Zeros => begin(if self.kind == BlockKind::Csr { 0 } else { all }, 0, false),
            Expr::Memory(block) => begin(block.nnz_of_rows(rows), 0, true),
            Expr::Chunks(chunks, cuts) => {
                let runs = cuts.overlapping(rows.clone());
                let mapped = runs.len() == 1 && cuts.run(runs.start) == rows;
                let need = begin(chunks[runs].iter().map(|chunk| chunk.nnz() as u64).sum(), 0, true);
                if mapped { Need { held: 0, peak: 0, ..need } } else { need }
            }
            Expr::Kernel(input, kernel) => {
                let input = input.need(rows)?;
                let here = input.bytes.saturating_add(kernel.scratch_bytes(n_rows));
                Need { held: input.bytes, peak: input.peak.max(here), ..input }
            }
            Expr::SelectRows(input, first) => input.need(first + rows.start..first + rows.end)?,
            Expr::SelectColumns(input, selection) => {
                let input = input.need(rows)?;
                beside(input, selection.nnz_bound(n_rows, input.nnz), 16 * self.cols())
            }
            Expr::AsType(input) => {
                let input = input.need(rows)?;
                beside(input, input.nnz, 0)
            }
            Expr::ToKind(input) => beside(input.need(rows)?, all, 0),
            Expr::MatMul(input, product) => beside(input.need(rows)?, all, product.scratch_bytes(n_rows, input.cols())),
            Expr::MapBlocks(input, map) => {
                let input = input.need(rows)?;
                let stated = map.bytes_per_row.map_or(u64::MAX, |bytes| bytes.saturating_mul(n_rows));
                let bytes = result(all).min(stated);
                let both = input.held.saturating_add(if stated == u64::MAX { bytes } else { stated });
                Need { nnz: all, bytes, held: bytes, peak: input.peak.max(both), read: input.read }
            }
        })
    }
}

/// Rounds down to a multiple of the storage's step, where one is left.
fn aligned(rows: u64, storage: u64) -> u64 {
    if rows > storage { rows / storage * storage } else { rows }.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::random;

    fn cluster(allowance: u64, workers: usize) -> Cluster {
        Cluster::builder().allowance(ByteSize(allowance)).workers(workers).build().expect("sound settings")
    }

    #[test]
    fn blocks_shrink_with_the_allowance_and_not_with_the_workers() {
        let array = random::uniform(1_000_000, 100, 1, None);
        let mut last = u64::MAX;
        for allowance in [256 << 20, 16 << 20, 4 << 20, 1 << 20, 64 << 10] {
            let plans = [1, 2, 5].map(|workers| array.plan(&cluster(allowance, workers)).expect("a row fits"));
            assert!(plans.iter().all(|plan| plan.grid == plans[0].grid && plan.projected_bytes <= allowance));
            assert!(plans[0].block_rows <= last);
            last = plans[0].block_rows;
        }
        assert!(last >= 40, "half the rows that would fit, or more: {last}");
    }

    #[test]
    fn what_cannot_fit_is_refused_with_both_numbers() {
        let row = random::uniform(10, 1 << 20, 1, None);
        let error = row.plan(&cluster(1 << 20, 2)).expect_err("a row takes 8 MiB");
        assert!(
            matches!(error, Error::TooBig { need, allowance, .. } if (need, allowance) == (8 << 20, 1 << 20)),
            "{error}"
        );
        let given = random::uniform(1000, 1000, 1, 1000).plan(&cluster(1 << 20, 2)).expect_err("8 MB, as asked");
        assert!(given.to_string().contains("7.6 MiB") && given.to_string().contains("1.0 MiB"), "{given}");
    }

    #[test]
    fn small_data_is_not_cut_to_pieces_and_large_data_is_cut_for_many_lanes() {
        let tasks = |rows| random::uniform(rows, 100, 1, None).plan(&cluster(1 << 30, 2)).expect("fits").tasks;
        assert_eq!((tasks(0), tasks(1), tasks(300)), (0, 1, 1));
        assert!(tasks(100_000) >= 64, "80 MB");
    }

    #[test]
    fn the_callers_bytes_count_as_a_share_and_for_each_row() {
        let array = random::uniform(1000, 10, 1, 100);
        let plan =
            |working: Working| array.plan_for(&cluster(1 << 20, 2), "reduce", working).map(|p| p.projected_bytes);
        assert_eq!(plan(Working::default()).ok(), Some(8_000));
        assert_eq!(plan(Working { fixed: 1, per_row: 10, kept: 1 }).ok(), Some(9_001));
        assert!(matches!(plan(Working::from(1 << 20)), Err(Error::TooBig { .. })));
    }

    #[test]
    fn a_chain_is_one_task_and_in_place_kernels_add_nothing() {
        let array = random::uniform(100, 10, 1, 10);
        let chain = array.scale(2.0).log1p().sqrt();
        let plan = chain.plan(&cluster(1 << 20, 2)).expect("small");
        assert_eq!((plan.tasks, plan.projected_bytes), (10, 800));
        assert_eq!(plan.steps.join(" "), "random scale log1p sqrt");
        let single = chain.astype(crate::array::DType::F32).plan(&cluster(1 << 20, 2)).expect("small");
        assert_eq!(single.projected_bytes, 1200, "both are there while one becomes the other");
    }
}
