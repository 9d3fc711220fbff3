//! One pass that tallies every group of cells, however many groups and genes there are.
//!
//! ```text
//!             genes ▶  strip 0   strip 1   …          tallies of a strip fit the allowance: mostly there is one strip
//!   cells    run 0     task      task                 a task tallies the cells of its run, one after another
//!     ▼      run 1     task      task
//!              …       └─ joined in a fixed tree ─┐
//!                                                 ▼
//!                                         answers of the strip
//! ```
//!
//! A run is a number of rows that follows from the shape and the number of groups alone, and a strip is a run of genes, which
//! share no sum: so the bits depend on neither the number of workers nor the allowance nor the chunk grid. Each strip reads
//! the data again; there are more of them than fit demands only where runs are too few to keep the lanes busy.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::tally::{Tallies, Tally};
use crate::array::{Array, Block, BlockInfo, Plan, RowRuns, Working};
use crate::error::{Error, Result};
use crate::linalg::whole_rows;
use crate::runtime::{Cluster, Future, Progress};

/// At most so many runs: enough for as many lanes, and few enough that joining their tallies is little beside the work.
const MOST_RUNS: u64 = 32;
/// A run has at least so many cells for each group, so that adding its cells outweighs joining its tallies.
const ROWS_PER_GROUP: u64 = 512;

/// What is tallied.
#[derive(Clone)]
pub(crate) struct Sweep {
    /// The tasks' name.
    pub(crate) name: &'static str,
    /// The group of each cell, or [`NO_GROUP`](super::tally::NO_GROUP).
    pub(crate) groups: Arc<[u32]>,
    /// How many groups there are.
    pub(crate) n_groups: usize,
    /// What a value must exceed to be present.
    pub(crate) above: f64,
    /// Whether extremes are asked for.
    pub(crate) ends: bool,
    /// Called as runs finish, strip by strip.
    pub(crate) progress: Option<Progress>,
}

/// How a pass over groups of cells is dealt.
pub(crate) struct Deal {
    /// The matrix, in blocks of whole rows.
    pub(crate) x: Array,
    name: &'static str,
    rows_per_run: u64,
    bytes_per_gene: u64,
    /// Genes of a strip, the last one's excepted.
    genes_per_strip: usize,
    n_genes: usize,
    /// How many strips are under way at once.
    ahead: usize,
}

impl Deal {
    /// Cuts rows into runs and genes into strips, for tasks that hold so many bytes for each gene.
    ///
    /// # Errors
    /// `TooBig` when a block and what one gene takes do not fit the allowance.
    pub(crate) fn new(
        cluster: &Cluster,
        x: &Array,
        name: &'static str,
        n_groups: usize,
        bytes_per_gene: u64,
    ) -> Result<Deal> {
        let (x, bytes_per_gene) = (whole_rows(x), bytes_per_gene.max(1));
        let refuse = |_| Error::bad_argument(name, "number of genes", x.cols(), "less than the address space");
        let n_genes = usize::try_from(x.cols()).map_err(refuse)?;
        let rows_per_run = rows_per_run(x.rows(), n_groups);
        let n_runs = x.rows().div_ceil(rows_per_run).max(1);
        x.plan_for(cluster, name, bytes_per_gene)?;
        // Each lane of a worker has tallies, and at each level of the tree a half may wait for its other.
        let (lanes, levels) = (cluster.lanes().max(1) as u64, u64::from(n_runs.next_power_of_two().ilog2()));
        let per_worker = lanes.div_ceil(cluster.workers().max(1) as u64);
        let fit = (Deal::room(cluster, &x, name)? * per_worker / (per_worker + levels + 1) / bytes_per_gene).max(1);
        let ahead = lanes.div_ceil(n_runs);
        let n_strips = (n_genes as u64).div_ceil(fit).max(ahead);
        let genes_per_strip = (n_genes as u64).div_ceil(n_strips).max(1) as usize;
        Ok(Deal { x, name, rows_per_run, bytes_per_gene, genes_per_strip, n_genes, ahead: ahead as usize })
    }

    /// Returns the bytes that each lane has beside a block of its own, and half of its share where blocks are large.
    ///
    /// # Errors
    /// `TooBig` when a block does not fit the allowance.
    pub(crate) fn room(cluster: &Cluster, x: &Array, name: &str) -> Result<u64> {
        let block = x.plan_for(cluster, name, 0)?.projected_bytes;
        let per_worker = (cluster.lanes().max(1) as u64).div_ceil(cluster.workers().max(1) as u64);
        let share = cluster.allowance() / per_worker;
        Ok(share.saturating_sub(block.min(share / 2)))
    }

    /// Returns how often the data are read.
    pub(crate) fn n_strips(&self) -> usize {
        self.n_genes.div_ceil(self.genes_per_strip)
    }

    /// Returns the genes of a strip.
    pub(crate) fn strip(&self, index: usize) -> Range<usize> {
        index * self.genes_per_strip..((index + 1) * self.genes_per_strip).min(self.n_genes)
    }

    fn working(&self) -> Working {
        self.bytes_per_gene.saturating_mul(self.genes_per_strip as u64).into()
    }

    /// Returns how the runs of one strip are run.
    pub(crate) fn runs(&self, progress: Option<Progress>) -> RowRuns {
        RowRuns { name: self.name, rows: self.rows_per_run, working: self.working(), progress }
    }

    /// Returns what the pass will take: a task for each run and strip.
    ///
    /// # Errors
    /// `TooBig`, as the pass itself.
    pub(crate) fn plan(&self, cluster: &Cluster) -> Result<Plan> {
        let mut plan = self.x.plan_for(cluster, self.name, self.working())?;
        plan.add_pass(self.name);
        plan.passes = self.n_strips();
        plan.tasks = self.n_strips() * self.x.rows().div_ceil(self.rows_per_run) as usize;
        plan.bytes_read = plan.bytes_read.saturating_mul(plan.passes as u64);
        Ok(plan)
    }

    /// Starts strips, as many at once as keep the lanes busy, and hands what each gives to `take`, in the order of the genes.
    ///
    /// # Errors
    /// Those of `start`, of the strips and of `take`.
    pub(crate) fn each_strip<T: Send + 'static>(
        &self,
        start: impl Fn(Range<usize>) -> Result<Future<Option<T>>>,
        mut take: impl FnMut(Range<usize>, Option<T>) -> Result<()>,
    ) -> Result<()> {
        take_turns(self.n_strips(), self.ahead, |at| start(self.strip(at)), |at, found| take(self.strip(at), found))
    }
}

/// Starts so many things, a few at once, and takes what they give in order.
///
/// # Errors
/// Those of `start`, of what was started and of `take`.
pub(crate) fn take_turns<T: Send + 'static>(
    n: usize,
    ahead: usize,
    start: impl Fn(usize) -> Result<Future<Option<T>>>,
    mut take: impl FnMut(usize, Option<T>) -> Result<()>,
) -> Result<()> {
    let mut under_way = VecDeque::new();
    for next in 0..n + ahead {
        if next < n {
            under_way.push_back(start(next)?);
        }
        if next + 1 >= ahead
            && let Some(future) = under_way.pop_front()
        {
            take(next + 1 - ahead, future.wait()?)?;
        }
    }
    Ok(())
}

/// Returns how many rows a run has: for a shape and a number of groups always the same.
fn rows_per_run(rows: u64, n_groups: usize) -> u64 {
    rows.div_ceil(MOST_RUNS).max(ROWS_PER_GROUP.saturating_mul(n_groups as u64)).max(1)
}

impl Sweep {
    /// Deals the pass.
    ///
    /// # Errors
    /// `ShapeMismatch` when there is not a group for each row; those of [`Deal::new`].
    pub(crate) fn deal<T: Tally>(&self, cluster: &Cluster, x: &Array) -> Result<Deal> {
        if self.groups.len() as u64 != x.rows() {
            return Err(Error::ShapeMismatch {
                operation: self.name,
                left: x.shape(),
                right: (self.groups.len() as u64, 1),
                expected: "a label for each row".into(),
            });
        }
        let bytes_per_gene = Tallies::<T>::bytes(self.n_groups, 1, self.ends);
        Deal::new(cluster, x, self.name, self.n_groups, bytes_per_gene)
    }

    /// Tallies the groups and hands the tallies of each strip of genes to `take`, in the order of the genes.
    ///
    /// # Errors
    /// Those of [`deal`](Self::deal), of the blocks and of `take`.
    pub(crate) fn run<T: Tally>(
        &self,
        cluster: &Cluster,
        x: &Array,
        mut take: impl FnMut(Tallies<T>) -> Result<()>,
    ) -> Result<()> {
        let deal = self.deal::<T>(cluster, x)?;
        let (n_groups, ends, above) = (self.n_groups, self.ends, self.above);
        let start = |genes: Range<usize>| {
            let groups = self.groups.clone();
            let none = move || Tallies::<T>::none(n_groups, genes.clone(), ends);
            let add = move |tallies: &mut Tallies<T>, block: &Block, info: BlockInfo| {
                let first = info.row_offset as usize;
                tallies.add_block(block, &groups[first..first + block.rows()], above);
                Ok(())
            };
            let runs = deal.runs(self.progress.clone());
            deal.x.start_row_runs(cluster, runs, none, add, Ok, |a: Tallies<T>, b| Ok(a.join(b)))
        };
        deal.each_strip(start, |genes, tallies| take(tallies.unwrap_or_else(|| Tallies::none(n_groups, genes, ends))))
    }
}
