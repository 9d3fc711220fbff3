//! Plans: which tasks an array becomes, and how many bytes each of them holds, known before any work.
//!
//! A task's bytes are those of the widest moment of its chain: while a node runs, its input and its result are there;
//! in-place kernels need one of them only. Mapped chunks do not count until they are copied. What the caller does with
//! the finished block comes on top, as [`Working`] bytes.
//!
//! The chunk grid, where it is not given, follows from the data and what a task holds for each block: about 2 MiB, less
//! where that would leave fewer than 64 blocks, more where partials are large. The number of workers has no say, and the
//! allowance none unless such a block does not fit it, so that neither changes a bit of a result.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::Array;
use super::expr::Expr;
use super::grid::{Cuts, Grid};
use super::rows::RowSelection;
use super::window::Window;
use crate::bytes::ByteSize;
use crate::error::{Error, Result};
use crate::runtime::Cluster;

/// Blocks grow up to this: far beyond what starting a task costs, and a few of them fit the caches.
const TARGET_BYTES: u64 = 2 << 20;
/// Where a partial is larger, blocks grow with it, up to this.
const MOST_BYTES: u64 = 8 << 20;
/// Blocks are not cut below this for the sake of more tasks.
const LEAST_BYTES: u64 = 256 << 10;
/// So many tasks keep sixteen lanes busy to the end, four for each.
const TARGET_TASKS: u64 = 64;
/// Storage chunks up to so many bytes are not torn apart.
const STORAGE_BYTES: u64 = 64 << 20;

/// Each node of a chain takes two frames of a lane's stack, of well under 2 KiB each.
const LONGEST_CHAIN: u64 = 256;
/// A node that several others stand on is computed for each of them.
const MOST_NODES: u64 = 4096;

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
    pub(super) fn bytes(self, rows: u64) -> u64 {
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
    /// Columns of the largest block.
    pub block_cols: u64,
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
        let (tasks, rows, cols) = (self.tasks, self.block_rows, self.block_cols);
        writeln!(f, "{tasks} tasks of up to {rows} rows and {cols} columns, one per block")?;
        writeln!(f, "{} pass(es), {} read", self.passes, ByteSize(self.bytes_read))?;
        write!(f, "{} per task of {} per worker", ByteSize(self.projected_bytes), ByteSize(self.allowance))
    }
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
        let grid = self.choose_grid(working, allowance)?;
        let need = self.need_of_blocks(&grid, working)?;
        if need.peak > allowance {
            return Err(Error::TooBig { task: name.into(), need: need.peak, allowance, largest: allowance });
        }
        Ok(Plan {
            steps: self.steps(),
            tasks: grid.n_blocks(),
            block_rows: grid.rows.longest(),
            block_cols: grid.cols.longest(),
            passes: 1,
            bytes_read: need.read,
            projected_bytes: need.peak,
            allowance,
            grid,
        })
    }

    /// Refuses an expression that is too deep to be followed on a lane's stack, or that computes shared parts so often that it
    /// would never end.
    fn check_length(&self) -> Result<()> {
        // For each node its depth, and how often nodes are visited to compute it.
        let mut known: HashMap<*const Expr, (u64, u64)> = HashMap::new();
        let mut stack = vec![self];
        while let Some(array) = stack.last().copied() {
            let of = |input: &Array| known.get(&Arc::as_ptr(&input.expr)).copied();
            let unknown = array.inputs().iter().find(|input| of(input).is_none());
            match unknown {
                Some(input) => stack.push(input),
                None => {
                    let sizes = array.inputs().iter().filter_map(of);
                    let (depth, visits) = sizes.fold((0, 1u64), |a, b| (a.0.max(b.0), a.1.saturating_add(b.1)));
                    known.insert(Arc::as_ptr(&array.expr), (depth + 1, visits));
                    stack.pop();
                }
            }
        }
        let (depth, visits) = known[&Arc::as_ptr(&self.expr)];
        let refuse = |what, found: u64, most: u64| {
            Err(Error::bad_argument("plan", what, found, format!("at most {most}: call persist() in between")))
        };
        match (depth, visits) {
            (depth, _) if depth > LONGEST_CHAIN => refuse("number of operations in a row", depth, LONGEST_CHAIN),
            (_, visits) if visits > MOST_NODES => refuse("number of operations on a block", visits, MOST_NODES),
            _ => Ok(()),
        }
    }

    /// Names the nodes, inputs before what is made of them, each once.
    fn steps(&self) -> Vec<Arc<str>> {
        fn visit(array: &Array, seen: &mut HashSet<*const Expr>, steps: &mut Vec<Arc<str>>) {
            if seen.insert(Arc::as_ptr(&array.expr)) {
                array.inputs().iter().for_each(|input| visit(input, seen, steps));
                steps.push(array.step());
            }
        }
        let mut steps = Vec::new();
        visit(self, &mut HashSet::new(), &mut steps);
        steps
    }

    /// Names the last node, with the file or the caller's function that it is.
    pub(super) fn step(&self) -> Arc<str> {
        match &*self.expr {
            Expr::Source(source) => format!("read {}", source.name()).into(),
            Expr::MapBlocks(_, map) => map.name.clone(),
            _ => self.operation().into(),
        }
    }

    /// Cuts the array as was asked; where nothing was, into blocks of a good size that fit.
    fn choose_grid(&self, working: Working, allowance: u64) -> Result<Grid> {
        let (all_rows, all_cols) = (Cuts::whole(self.rows()), Cuts::whole(self.cols()));
        let choose = |axis, other: &Cuts| self.choose_cuts(axis, other, working, allowance);
        match (&self.row_cuts, &self.col_cuts) {
            (Some(rows), Some(cols)) => Ok(Grid { rows: rows.clone(), cols: cols.clone() }),
            (Some(rows), None) => Ok(Grid { rows: rows.clone(), cols: all_cols }),
            (None, Some(cols)) => Ok(Grid { rows: choose(Axis::Rows, cols)?, cols: cols.clone() }),
            (None, None) if self.lies_by_columns() => Ok(Grid { cols: choose(Axis::Cols, &all_rows)?, rows: all_rows }),
            (None, None) => {
                let grid = Grid { rows: choose(Axis::Rows, &all_cols)?, cols: all_cols };
                if grid.rows.longest() > 1 || self.need_of_blocks(&grid, working)?.peak <= allowance {
                    return Ok(grid);
                }
                // Not even a single row fits: cut it.
                Ok(Grid { cols: choose(Axis::Cols, &grid.rows)?, rows: grid.rows })
            }
        }
    }

    /// Cuts one axis into runs of a good size that fit: a multiple of the storage chunks where that is possible.
    ///
    /// The size follows the data and the task. The allowance has a say only where it cannot hold such a block, so that
    /// neither it nor the number of workers changes a bit of a result otherwise.
    fn choose_cuts(&self, axis: Axis, other: &Cuts, working: Working, allowance: u64) -> Result<Cuts> {
        let by_columns = axis == Axis::Cols;
        let len = if by_columns { self.cols() } else { self.rows() };
        if len == 0 || other.is_empty() {
            return Ok(if by_columns { Cuts::whole(len) } else { Cuts::even(len, len) });
        }
        let grid = |cuts: Cuts| match axis {
            Axis::Rows => Grid { rows: cuts, cols: other.clone() },
            Axis::Cols => Grid { rows: other.clone(), cols: cuts },
        };
        let across = other.run(0);
        let all = match axis {
            Axis::Rows => Window { rows: 0..len, cols: across },
            Axis::Cols => Window { rows: across, cols: 0..len },
        };
        let per_line = if by_columns { 0 } else { working.per_row };
        let whole = self.need(&all)?.peak.saturating_add(per_line.saturating_mul(len));
        let each = (whole / len).max(1);
        let storage = match self.storage_step(by_columns) {
            step if step.saturating_mul(each) <= STORAGE_BYTES => step.max(1),
            _ => 1,
        };
        // A partial larger than the block would make joining dearer than the work.
        let least = working.fixed.clamp(LEAST_BYTES, MOST_BYTES);
        let target = (whole / TARGET_TASKS).clamp(least, least.max(TARGET_BYTES));
        let mut step = aligned((target / each).clamp(1, len), storage).max(storage).min(len);
        loop {
            let cuts = Cuts::even(len, step);
            if step == 1 || self.need_of_blocks(&grid(cuts.clone()), working)?.peak <= allowance {
                return Ok(cuts);
            }
            step = aligned(step / 2, storage);
        }
    }

    /// Returns the step of the storage that the array is read from, along its rows or its columns.
    pub(super) fn storage_step(&self, by_columns: bool) -> u64 {
        let (mut array, mut by_columns) = (self, by_columns);
        loop {
            match (&*array.expr, array.inputs().first()) {
                (Expr::Source(source), _) => return if by_columns { 1 } else { source.storage_rows() },
                (Expr::Chunks(_, grid), _) => return if by_columns { &grid.cols } else { &grid.rows }.longest(),
                (Expr::Transpose(input), _) => (array, by_columns) = (input, !by_columns),
                // Steps that begin elsewhere do not meet the storage's.
                (Expr::SelectRows(..) | Expr::SelectColumns(..) | Expr::VStack(..) | Expr::HStack(..), _)
                    if !array.keeps_steps(by_columns) =>
                {
                    return 1;
                }
                (_, Some(input)) => array = input,
                (_, None) => return 1,
            }
        }
    }

    /// Returns whether the last node leaves what is numbered along an axis where it is.
    fn keeps_steps(&self, by_columns: bool) -> bool {
        match &*self.expr {
            Expr::SelectRows(_, RowSelection::From(0)) => true,
            Expr::SelectRows(..) | Expr::VStack(..) => by_columns,
            Expr::SelectColumns(..) | Expr::HStack(..) => !by_columns,
            _ => true,
        }
    }
}

/// Which axis is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Axis {
    Rows,
    Cols,
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
        let cut = row.plan(&cluster(1 << 20, 2)).expect("a row is cut where nobody asks for whole ones");
        assert!(cut.block_rows == 1 && cut.block_cols < 1 << 17 && cut.grid.n_blocks() == cut.tasks, "{cut}");
        let error = row.whole_rows().plan(&cluster(1 << 20, 2)).expect_err("a row takes 8 MiB");
        assert!(
            matches!(error, Error::TooBig { need, allowance, .. } if (need, allowance) == (8 << 20, 1 << 20)),
            "{error}"
        );
        let given = random::uniform(1000, 1000, 1, 1000).plan(&cluster(1 << 20, 2)).expect_err("8 MB, as asked");
        assert!(given.to_string().contains("7.6 MiB") && given.to_string().contains("1.0 MiB"), "{given}");
    }

    #[test]
    fn the_allowance_has_no_say_where_a_block_fits_it() {
        let (array, working) = (random::uniform(1_000_000, 100, 1, None), Working::from(1 << 20));
        let grid = |allowance: u64| array.plan_for(&cluster(allowance, 2), "test", working).expect("fits").grid;
        assert!([16 << 20, 64 << 20, 1 << 30].into_iter().all(|allowance| grid(allowance) == grid(8 << 20)));
        let turned = array.transpose();
        let plan = turned.plan(&cluster(64 << 20, 2)).expect("fits");
        assert_eq!((plan.block_rows, plan.grid.rows.n_runs()), (100, 1), "a transposed array is cut along its columns");
    }

    #[test]
    fn shared_parts_that_double_at_every_step_are_refused_before_they_run_for_ever() {
        let mut array = random::uniform(2, 2, 1, None);
        for _ in 0..70 {
            array = array.dot(&array).expect("square");
        }
        let error = array.plan(&cluster(1 << 20, 1)).expect_err("2^70 visits");
        assert!(error.to_string().contains("persist"), "{error}");
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
