//! Statistics of groups of cells: one row for each cluster, one column for each gene, as scanpy's `get.aggregate` has them.
//!
//! ```text
//!   obs columns ──▶ labels.rs   which group each cell is in
//!   x, by blocks ─▶ sweep.rs    one pass: tallies (tally.rs) of runs of cells, joined in a fixed tree
//!                └▶ median.rs   what zeros do not decide, gathered and sorted in further passes
//!                     └─▶ a layer for each statistic, in chunks on the workers
//! ```
//!
//! Tallies are reserved like everything that tasks hold: where all groups × genes do not fit the allowance, genes are taken in
//! strips, and each strip reads the data again, as the plan says. The bits are the same with any number of workers, any
//! allowance and any chunk grid.
//!
//! Means divide by all cells of a group, zeros too. NaN makes everything NaN that it is part of but counts, where it is not
//! zero and passes no threshold.

mod labels;
mod median;
mod sweep;
mod tally;

pub(crate) use labels::Groups;
pub(crate) use sweep::{Deal, Sweep};
pub(crate) use tally::{NO_GROUP, Squared, visit};

use std::sync::Arc;

use super::AnnData;
use crate::array::{Array, BlockKind, DType, DenseBlock, Plan, StoredBlock, Values};
use crate::error::{Error, Result};
use crate::runtime::{Blocks, Cluster, Progress};
use tally::{Counted, Ends, Seen, Tallies, Tally};

const NAME: &str = "aggregate";

/// What to compute of each gene in each group of cells.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Aggregation {
    /// The sum.
    Sum,
    /// The mean over all cells of the group.
    Mean,
    /// The variance: squares about the mean over `n - dof`; NaN for groups of `dof` cells or fewer.
    Var,
    /// How many values are not zero.
    CountNonzero,
    /// How many values pass a threshold.
    Present {
        /// The threshold.
        threshold: f64,
        /// Whether a value that equals the threshold passes it.
        at_least: bool,
        /// Whether the share of the group's cells is returned instead of their number.
        share: bool,
    },
    /// The mean of the squares.
    SqrMean,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The middle value, or the mean of the two.
    Median,
}

impl Aggregation {
    /// Returns the name of its layer.
    pub fn name(self) -> &'static str {
        match self {
            Aggregation::Sum => "sum",
            Aggregation::Mean => "mean",
            Aggregation::Var => "var",
            Aggregation::CountNonzero => "count_nonzero",
            Aggregation::Present { .. } => "present",
            Aggregation::SqrMean => "sqr_mean",
            Aggregation::Min => "min",
            Aggregation::Max => "max",
            Aggregation::Median => "median",
        }
    }

    /// Returns the dtype of its layer: counts are integers.
    fn dtype(self) -> DType {
        match self {
            Aggregation::CountNonzero | Aggregation::Present { share: false, .. } => DType::I64,
            _ => DType::F64,
        }
    }

    fn of(self, seen: &Seen, ends: Option<&Ends>, n: u64, dof: u64) -> f64 {
        let zeros = n - u64::from(seen.nonzero);
        let or_zero = |end: f64, of_two: fn(f64, f64) -> f64| match zeros {
            0 => end,
            _ if end.is_nan() => end,
            _ => of_two(end, 0.0),
        };
        match self {
            Aggregation::Sum => seen.sum,
            Aggregation::Mean => seen.sum / n as f64,
            Aggregation::Var if n > dof => seen.moments(n).squares / (n - dof) as f64,
            Aggregation::SqrMean => seen.moments(n).mean_square,
            Aggregation::CountNonzero => f64::from(seen.nonzero),
            Aggregation::Present { threshold, at_least, share } => {
                let zero_passes = 0.0 > threshold || (at_least && 0.0 == threshold);
                let count = f64::from(seen.present) + if zero_passes { zeros as f64 } else { 0.0 };
                if share { count / n as f64 } else { count }
            }
            Aggregation::Min => ends.map_or(f64::NAN, |ends| or_zero(ends.least, f64::min)),
            Aggregation::Max => ends.map_or(f64::NAN, |ends| or_zero(ends.greatest, f64::max)),
            Aggregation::Var | Aggregation::Median => f64::NAN,
        }
    }
}

/// Settings of [`aggregate`].
#[derive(Clone)]
pub struct AggregateOptions {
    /// The columns of obs whose labels make the groups; of several, each combination is one.
    pub by: Vec<String>,
    /// What to compute, each once.
    pub funcs: Vec<Aggregation>,
    /// What is taken from the number of cells in a variance.
    pub dof: u64,
    /// The layer to take instead of X.
    pub layer: Option<String>,
    /// Called as the tasks of a strip of genes finish.
    pub progress: Option<Progress>,
}

impl Default for AggregateOptions {
    fn default() -> Self {
        AggregateOptions { by: Vec::new(), funcs: vec![Aggregation::Mean], dof: 1, layer: None, progress: None }
    }
}

/// Computes statistics of each gene in each group of cells.
///
/// The result has a row for each group that has cells: X is the first statistic, and every statistic is a layer of groups ×
/// genes under its name, dense, `float64` or for counts `int64`, in chunks on the workers. Its obs has the groups' labels, each
/// under its column's name, and `n_obs_aggregated`, their numbers of cells; its var is that of the data. Cells with a missing
/// label are in no group.
///
/// # Errors
/// `BadArgument` for no column, no statistic, one that is asked for twice or a column or layer that there is not; `TooBig` before
/// any work when a block and the tallies of one gene do not fit the allowance; those of the blocks.
///
/// # Examples
/// ```
/// use allotment::cells::{AggregateOptions, Aggregation, AnnData, Column, Frame, aggregate};
/// use allotment::{Cluster, array::Array};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
/// let types = names(&["T", "B", "T"]).into_iter().map(Some).collect();
/// let obs = Frame::in_memory(names(&["a", "b", "c"]), vec![("type".to_string(), Column::Strings(types))])?;
/// let x = Array::from_rows(&[[1.0, 0.0], [5.0, 7.0], [4.0, 2.0]])?.to_csr()?;
/// let data = AnnData::new(x, obs, Frame::in_memory(names(&["CD3", "CD19"]), vec![])?)?;
///
/// let funcs = vec![Aggregation::Mean, Aggregation::Max];
/// let found = aggregate(&cluster, &data, &AggregateOptions { by: vec!["type".into()], funcs, ..Default::default() })?;
/// assert_eq!(found.obs_names()?, ["B", "T"]);
/// assert_eq!(found.layers["mean"].compute(&cluster)?.to_vec::<f64>(), [5.0, 7.0, 2.5, 1.0]);
/// assert_eq!(found.obs.column("n_obs_aggregated")?.text(1).as_deref(), Some("2"));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn aggregate(cluster: &Cluster, data: &AnnData, options: &AggregateOptions) -> Result<AnnData> {
    let job = Job::new(data, options)?;
    let layers = if job.squares { job.run::<Squared>(cluster)? } else { job.run::<Counted>(cluster)? };
    let mut found = AnnData::new(layers[0].clone(), job.groups.to_frame()?, data.var.clone())?;
    found.layers = job.funcs.iter().map(|func| func.name().to_string()).zip(layers).collect();
    Ok(found)
}

impl AggregateOptions {
    /// Returns what [`aggregate`] will take, without computing anything: how often the data are read, and how many bytes a
    /// task holds. Medians add passes over what zeros do not decide, which is known only then.
    ///
    /// # Errors
    /// Those of [`aggregate`] that are known before any work.
    pub fn plan(&self, cluster: &Cluster, data: &AnnData) -> Result<Plan> {
        let job = Job::new(data, self)?;
        let sweep = job.sweep();
        let deal = match job.squares {
            true => sweep.deal::<Squared>(cluster, &job.x)?,
            false => sweep.deal::<Counted>(cluster, &job.x)?,
        };
        deal.plan(cluster)
    }
}

/// Checked settings, and the groups.
struct Job {
    x: Array,
    groups: Groups,
    /// The group of each cell, for the tasks.
    of_cells: Arc<[u32]>,
    funcs: Vec<Aggregation>,
    squares: bool,
    dof: u64,
    progress: Option<Progress>,
}

impl Job {
    fn new(data: &AnnData, options: &AggregateOptions) -> Result<Job> {
        let x = matrix(data, options.layer.as_deref(), NAME)?.clone();
        let funcs = options.funcs.clone();
        if funcs.is_empty() {
            return Err(Error::bad_argument(NAME, "funcs", "no statistic", "at least one"));
        }
        for (at, func) in funcs.iter().enumerate() {
            if funcs[..at].iter().any(|before| before.name() == func.name()) {
                return Err(Error::bad_argument(NAME, "funcs", format!("{} twice", func.name()), "all different"));
            }
        }
        let groups = Groups::of(&data.obs, &options.by)?;
        let squares = funcs.iter().any(|func| matches!(func, Aggregation::Var | Aggregation::SqrMean));
        let (dof, progress, of_cells) = (options.dof, options.progress.clone(), groups.of_cells.clone().into());
        Ok(Job { x, groups, of_cells, funcs, squares, dof, progress })
    }

    fn sweep(&self) -> Sweep {
        let threshold = self.funcs.iter().find_map(|func| match func {
            // What is at least a number is above the one before it.
            Aggregation::Present { threshold, at_least: true, .. } => Some(threshold.next_down()),
            Aggregation::Present { threshold, .. } => Some(*threshold),
            _ => None,
        });
        Sweep {
            name: NAME,
            groups: self.of_cells.clone(),
            n_groups: self.groups.len(),
            above: threshold.unwrap_or(0.0),
            ends: self.funcs.iter().any(|func| matches!(func, Aggregation::Min | Aggregation::Max)),
            progress: self.progress.clone(),
        }
    }

    /// Computes the layers, in the order of the statistics.
    fn run<T: Tally>(&self, cluster: &Cluster) -> Result<Vec<Array>> {
        let (n_groups, n_genes) = (self.groups.len() as u64, self.x.cols());
        if n_groups == 0 || n_genes == 0 {
            let empty = |func: &Aggregation| Array::zeros(n_groups, n_genes, func.dtype(), BlockKind::Dense);
            return self.funcs.iter().map(empty).collect();
        }
        let mut strips = vec![Vec::new(); self.funcs.len()];
        self.sweep().run::<T>(cluster, &self.x, |tallies| {
            let medians = match self.funcs.contains(&Aggregation::Median) {
                true => median::medians(cluster, &self.x, &self.of_cells, &self.groups.sizes, &tallies)?,
                false => Vec::new(),
            };
            for (strips, stored) in strips.iter_mut().zip(self.store(cluster, tallies, medians)?) {
                strips.push(Array::from_stored(vec![stored])?);
            }
            Ok(())
        })?;
        strips.iter().map(|strips| Array::hstack(strips)).collect()
    }

    /// Takes the end of the tallies of a strip of genes, on the lanes, and leaves each statistic as a chunk.
    fn store<T: Tally>(&self, cluster: &Cluster, tallies: Tallies<T>, medians: Vec<f64>) -> Result<Vec<StoredBlock>> {
        let (n_groups, n_genes) = (self.groups.len(), tallies.genes.len());
        let bytes = Tallies::<T>::bytes(n_groups, n_genes, true) + 16 * (n_groups * n_genes) as u64;
        let blocks = Blocks { n: self.funcs.len(), projected_bytes: bytes, ..Blocks::named("aggregate ends") };
        let (funcs, sizes, dof) = (self.funcs.clone(), self.groups.sizes.clone(), self.dof);
        cluster.map_blocks(&blocks, move |index, context| {
            let func = funcs[index];
            let of = |(at, seen): (usize, Seen)| func.of(&seen, tallies.ends().get(at), sizes[at / n_genes], dof);
            let values: Values = match func {
                Aggregation::Median => medians.clone().into(),
                _ if func.dtype() == DType::I64 => {
                    tallies.seen().enumerate().map(|seen| of(seen) as i64).collect::<Vec<_>>().into()
                }
                _ => tallies.seen().enumerate().map(of).collect::<Vec<_>>().into(),
            };
            crate::array::Block::from(DenseBlock::new(n_groups, n_genes, values)?).store(&context.store()?)
        })
    }
}

/// Returns X or a layer.
///
/// # Errors
/// `BadArgument`, naming the layers that there are, when there is no such layer.
pub(crate) fn matrix<'a>(data: &'a AnnData, layer: Option<&str>, operation: &'static str) -> Result<&'a Array> {
    let Some(name) = layer else { return Ok(&data.x) };
    data.layers.get(name).ok_or_else(|| {
        let known = data.layers.keys().cloned().collect::<Vec<_>>().join(", ");
        Error::bad_argument(operation, "layer", format!("{name:?}"), format!("one of [{known}]"))
    })
}

#[cfg(test)]
mod tests;
