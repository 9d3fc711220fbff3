//! Plans: which tasks an array becomes, and how many bytes each of them holds, known before any work.
//!
//! A task's bytes are those of the widest moment of its chain: while a node runs, its input and its result are there;
//! in-place kernels need one of them only. Mapped chunks do not count until they are copied. What the caller does with
//! the finished block comes on top, as [`Working`] bytes.
//!
//! The chunk grid, where it is not given, follows from the data and what a task holds for each block: about 2 MiB, less
//! where that would leave fewer than 64 blocks, more where partials are large.
//!
//! Always true: neither the number of workers nor the allowance has a say in the grid, so that neither changes a bit of a
//! result. Where a block of the grid does not fit the allowance the plan is refused, and says which grid would fit.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::Array;
use super::expr::Expr;
use super::graph::Graph;
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
    /// Whether passes, tasks and bytes read are bounds, because an iteration may end sooner.
    pub is_bound: bool,
    /// Bytes read in all passes, as blocks in memory (a compressed file has fewer).
    pub bytes_read: u64,
    /// The most anonymous bytes that one task holds.
    pub projected_bytes: u64,
    /// What a worker may hold.
    pub allowance: u64,
    pub(super) graph: Graph,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, cols) = self.grid.shape();
        writeln!(f, "{rows} x {cols}: {}", self.steps.join(" > "))?;
        let (tasks, rows, cols) = (self.tasks, self.block_rows, self.block_cols);
        writeln!(f, "{tasks} tasks of up to {rows} rows and {cols} columns, one per block")?;
        writeln!(f, "{}, {} read", self.passes_in_words(), ByteSize(self.bytes_read))?;
        write!(f, "{} per task of {} per worker", ByteSize(self.projected_bytes), ByteSize(self.allowance))
    }
}

impl Array {
    /// Returns what computing the array on a cluster will take, without computing anything.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] when a block does not fit a worker's allowance; it names the allowance that would do and, where there
    /// is one, a grid that fits.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, Error, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let x = random::uniform(1_000_000, 100, 1, None);
    /// let plan = x.plan(&cluster)?;
    /// assert!(plan.passes == 1 && plan.projected_bytes <= cluster.allowance());
    /// // Blocks of 800 MB cannot fit: refused before any work, with blocks that would.
    /// let refused = x.with_block_rows(1_000_000).plan(&cluster).expect_err("800 MB");
    /// assert!(matches!(refused, Error::TooBig { .. }) && refused.to_string().contains("with_block_rows"));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn plan(&self, cluster: &Cluster) -> Result<Plan> {
        self.plan_for(cluster, "plan", Working::default())
    }

    /// Like [`plan`](Self::plan), for a task of some name that holds more than the block.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`] when a block does not fit a worker's allowance; it names the allowance that would do and, where there
    /// is one, a grid that fits.
    pub fn plan_for(&self, cluster: &Cluster, name: &str, working: impl Into<Working>) -> Result<Plan> {
        self.check_length()?;
        let (allowance, working) = (cluster.allowance(), working.into());
        let grid = self.choose_grid(working)?;
        let need = self.need_of_blocks(&grid, working)?;
        if need.peak > allowance {
            return Err(self.refusal(name, &grid, need.peak, working, allowance)?);
        }
        let graph = Graph::of(self);
        Ok(Plan {
            steps: graph.steps(),
            tasks: grid.n_blocks(),
            block_rows: grid.rows.longest(),
            block_cols: grid.cols.longest(),
            passes: 1,
            is_bound: false,
            bytes_read: need.read,
            projected_bytes: need.peak,
            allowance,
            grid,
            graph,
        })
    }

    /// Returns the error of blocks that cannot fit, with what would.
    fn refusal(&self, name: &str, grid: &Grid, need: u64, working: Working, allowance: u64) -> Result<Error> {
        let needs = |rows: u64, cols: u64| {
            let cols = if cols >= self.cols() { Cuts::whole(self.cols()) } else { Cuts::even(self.cols(), cols) };
            let grid = Grid { rows: Cuts::even(self.rows(), rows), cols };
            self.need_of_blocks(&grid, working).map(|need| need.peak)
        };
        let refuse = |remedy: String| Error::TooBig {
            task: name.into(),
            need,
            allowance,
            largest: allowance,
            remedy: remedy.into(),
        };
        let (rows, cols) = (grid.rows.longest(), grid.cols.longest());
        let shorter = |cols: u64| fitting(rows, need, allowance, |rows| needs(rows, cols));
        let narrower = |rows: u64| fitting(cols, need, allowance, |cols| needs(rows, cols));
        let least = ByteSize(need).rounded_up();
        // What lies by columns is cut along them: shorter blocks would read all of it again and again.
        if self.row_cuts.is_none()
            && self.lies_by_columns()
            && let Some(cols) = narrower(rows)?
        {
            let blocks = format!("rechunk({}, {cols})", rows.max(1));
            return Ok(refuse(format!("use smaller blocks, such as {blocks}, or an allowance of at least {least}")));
        }
        if let Some(rows) = shorter(cols)? {
            let blocks = match grid.cols.n_runs() {
                1 => format!("with_block_rows({rows})"),
                _ => format!("rechunk({rows}, {cols})"),
            };
            return Ok(refuse(format!("use smaller blocks, such as {blocks}, or an allowance of at least {least}")));
        }
        let row = needs(1, cols)?;
        // A grid that was given may be given anew; one that was chosen is chosen again.
        let enough = if self.row_cuts.is_some() { row.min(need) } else { need };
        let least = ByteSize(enough).rounded_up();
        Ok(refuse(match fitting(cols, row, allowance, |cols| needs(1, cols))? {
            Some(cols) => format!("cut the rows, such as rechunk(1, {cols}), or use an allowance of at least {least}"),
            None => format!("no block fits: use an allowance of at least {least}"),
        }))
    }

    /// Refuses an expression that is too deep to be followed on a lane's stack, or that computes shared parts so often that it
    /// would never end.
    pub(super) fn check_length(&self) -> Result<()> {
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

    /// Names the last node, with the file or the caller's function that it is.
    pub(super) fn step(&self) -> Arc<str> {
        match &*self.expr {
            Expr::Source(source) => format!("read {}", source.name()).into(),
            Expr::MapBlocks(_, map) => map.name.clone(),
            _ => self.operation().into(),
        }
    }

    /// Cuts the array as was asked; where nothing was, into blocks of a good size.
    fn choose_grid(&self, working: Working) -> Result<Grid> {
        let (all_rows, all_cols) = (Cuts::whole(self.rows()), Cuts::whole(self.cols()));
        let choose = |axis, other: &Cuts| self.choose_cuts(axis, other, working);
        match (&self.row_cuts, &self.col_cuts) {
            (Some(rows), Some(cols)) => Ok(Grid { rows: rows.clone(), cols: cols.clone() }),
            (Some(rows), None) => Ok(Grid { rows: rows.clone(), cols: all_cols }),
            (None, Some(cols)) => Ok(Grid { rows: choose(Axis::Rows, cols)?, cols: cols.clone() }),
            (None, None) if self.lies_by_columns() => Ok(Grid { cols: choose(Axis::Cols, &all_rows)?, rows: all_rows }),
            (None, None) => {
                let grid = Grid { rows: choose(Axis::Rows, &all_cols)?, cols: all_cols };
                let row = self.need_of_blocks(&grid, Working::default())?.peak;
                if grid.rows.longest() > 1 || row < MOST_BYTES {
                    return Ok(grid);
                }
                // A single row is as much as a block may be: cut it, unless it is computed whole anyway.
                let cut = Grid { cols: choose(Axis::Cols, &grid.rows)?, rows: grid.rows.clone() };
                let part = self.need_of_blocks(&cut, Working::default())?.peak;
                Ok(if part <= row / 2 { cut } else { grid })
            }
        }
    }

    /// Cuts one axis into runs of a good size: a multiple of the storage chunks where that is possible.
    fn choose_cuts(&self, axis: Axis, other: &Cuts, working: Working) -> Result<Cuts> {
        let by_columns = axis == Axis::Cols;
        let len = if by_columns { self.cols() } else { self.rows() };
        if len == 0 || other.is_empty() {
            return Ok(if by_columns { Cuts::whole(len) } else { Cuts::even(len, len) });
        }
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
        let step = aligned((target / each).clamp(1, len), storage).max(storage).min(len);
        Ok(Cuts::even(len, step))
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

/// Returns a length shorter than one that needs so much, which fits; `None` where not even one line does.
fn fitting(longest: u64, need: u64, allowance: u64, needs: impl Fn(u64) -> Result<u64>) -> Result<Option<u64>> {
    if longest < 2 {
        return Ok(None);
    }
    let least = needs(1)?;
    let Some(room) = allowance.checked_sub(least) else { return Ok(None) };
    // Most needs are a number of bytes and so many for each line more.
    let each = (need.saturating_sub(least) / (longest - 1)).max(1);
    let mut len = (room / each).saturating_add(1).min(longest - 1);
    while len > 1 && needs(len)? > allowance {
        len /= 2;
    }
    Ok(Some(len))
}

/// Rounds down to a multiple of the storage's step, where one is left.
fn aligned(rows: u64, storage: u64) -> u64 {
    if rows > storage { rows / storage * storage } else { rows }.max(1)
}

#[cfg(test)]
mod tests;
