//! `allotment stats`: what each gene is like in each cluster of cells, and how many cells each cluster has.

use std::path::PathBuf;
use std::sync::Arc;

use allotment::cells::{AggregateOptions, Aggregation, AnnData, Column, aggregate};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::args::{Shared, at_least_one, positive};
use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output::{self, Report, table};
use crate::plan;
use crate::plot::with_commas;
use crate::session::{Cost, Session};
use crate::stats_out::Place;
use crate::target::{WriteArgs, annotated};

/// A table for people is not longer than this; the rest is in the files and in the JSON.
const MAX_TABLE_ROWS: usize = 40;

/// Finds statistics of each gene in each cluster of cells.
#[derive(Args, Debug)]
#[command(
    after_help = "Without --out the clusters and their sizes are shown, and the statistics computed and left.\n\nExample:\n  allotment stats bench-data/pbmc68k_reduced.h5ad --by louvain --stats mean,present --out clusters.zarr"
)]
pub(crate) struct StatsArgs {
    /// A .h5ad or .zarr file with cells' labels
    pub(crate) file: PathBuf,
    /// The obs columns whose labels make the clusters; of several, each combination is one
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', required = true)]
    pub(crate) by: Vec<String>,
    /// What to compute; the clusters' numbers of cells are always there
    #[arg(long, value_enum, value_name = "STATS", value_delimiter = ',', default_value = "sum,mean,present,sqr_mean")]
    pub(crate) stats: Vec<Statistic>,
    /// Count a value as present when it is above this
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true, value_parser = number)]
    pub(crate) threshold: f64,
    /// Count a value as present when it equals the threshold, too
    #[arg(long)]
    pub(crate) at_least: bool,
    /// First scale every cell to this sum
    #[arg(long, value_name = "SUM", value_parser = positive)]
    pub(crate) normalize: Option<f64>,
    /// First replace every value x by ln(1 + x), after --normalize
    #[arg(long)]
    pub(crate) log1p: bool,
    /// Take this layer for the matrix
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
    /// Rows that are worked on at once [default: by the data, about 2 MiB]
    #[arg(long, value_name = "ROWS", value_parser = at_least_one)]
    pub(crate) chunk_rows: Option<usize>,
    /// Show what it would take, and stop
    #[arg(long, conflicts_with = "out")]
    pub(crate) plan: bool,
    /// Write clusters x genes: a name that ends in .h5ad or .zarr, with a layer for each statistic, or a directory for .npy files
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// A statistic, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Statistic {
    /// Number of cells of a cluster: always there
    NObs,
    /// Sum
    Sum,
    /// Mean over all cells of the cluster
    Mean,
    /// Variance over n - 1
    Var,
    /// Number of cells with a value above the threshold
    Present,
    /// Mean of the squares
    SqrMean,
    /// Number of values that are not zero
    CountNonzero,
    /// Least value
    Min,
    /// Greatest value
    Max,
    /// Middle value
    Median,
}

#[derive(Serialize)]
struct Cluster {
    name: String,
    n_obs: u64,
}

#[derive(Serialize)]
struct StatsReport {
    file: String,
    shape: [u64; 2],
    by: Vec<String>,
    statistics: Vec<&'static str>,
    clusters: Vec<Cluster>,
    cells_without_label: u64,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
}

/// Computes the statistics and delivers them.
pub(crate) fn run(args: &StatsArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    let place = args.out.as_ref().map(|out| Place::check(out, &args.file, &args.write)).transpose()?;
    let data = prepared(args)?;
    let session = Session::start(shared, interrupt, &args.file)?;
    let mut options =
        AggregateOptions { by: args.by.clone(), funcs: args.aggregations(), ..AggregateOptions::default() };
    if args.plan {
        let plan = options.plan(&session.cluster, &data).map_err(|e| session.fail(e))?;
        return plan::print(&plan, args.file.display().to_string(), data.x.shape(), None, &session, shared);
    }
    options.progress = session.progress("stats");
    let found = aggregate(&session.cluster, &data, &options).map_err(|e| session.fail(e))?;
    let clusters = clusters(&found)?;
    interrupt.check()?;
    let written = match place {
        Some(place) => place.write(&found, &session)?,
        None => Vec::new(),
    };
    let (rows, cols) = data.x.shape();
    let report = StatsReport {
        file: args.file.display().to_string(),
        shape: [rows, cols],
        by: args.by.clone(),
        statistics: options.funcs.iter().map(|func| func.name()).collect(),
        cells_without_label: rows - clusters.iter().map(|cluster| cluster.n_obs).sum::<u64>(),
        clusters,
        cost: session.cost(),
        written,
    };
    output::print(&report, shared.json)
}

/// Opens the data, finds the columns, and prepares the values as asked.
fn prepared(args: &StatsArgs) -> Outcome<AnnData> {
    let mut input = Input::open(&args.file)?;
    let columns = input.anndata.as_ref().map_or(&[][..], |data| data.obs.columns());
    if let Some(unknown) = args.by.iter().find(|name| !columns.contains(name)) {
        let known = if columns.is_empty() { "none".into() } else { columns.join(", ") };
        let what = format!("{}: --by {unknown}: the obs columns are: {known}", args.file.display());
        return Err(Failure::Usage(what));
    }
    let about = |failure: Failure| failure.about(&args.file);
    if let Some(layer) = &args.layer {
        input.take_layer(layer).map_err(about)?;
    }
    input.prepare(args.normalize, args.log1p, None).map_err(about)?;
    if let Some(rows) = args.chunk_rows {
        input.x = input.x.with_block_rows(rows as u64);
    }
    annotated(&input)
}

/// Returns the clusters' names and sizes.
fn clusters(found: &AnnData) -> Outcome<Vec<Cluster>> {
    let sizes = match found.obs.column("n_obs_aggregated")? {
        Column::Numbers(sizes) => sizes.values().to_vec::<u64>(),
        _ => Vec::new(),
    };
    let clusters = found.obs_names()?.into_iter().zip(sizes);
    Ok(clusters.map(|(name, n_obs)| Cluster { name, n_obs }).collect())
}

impl StatsArgs {
    /// Returns what to compute, each once; the sizes alone take a pass for the sums.
    fn aggregations(&self) -> Vec<Aggregation> {
        let mut found: Vec<Aggregation> = Vec::new();
        for func in self.stats.iter().filter_map(|statistic| self.aggregation(*statistic)) {
            if !found.contains(&func) {
                found.push(func);
            }
        }
        if found.is_empty() {
            found.push(Aggregation::Sum);
        }
        found
    }

    fn aggregation(&self, statistic: Statistic) -> Option<Aggregation> {
        Some(match statistic {
            Statistic::NObs => return None,
            Statistic::Sum => Aggregation::Sum,
            Statistic::Mean => Aggregation::Mean,
            Statistic::Var => Aggregation::Var,
            Statistic::Present => {
                Aggregation::Present { threshold: self.threshold, at_least: self.at_least, share: false }
            }
            Statistic::SqrMean => Aggregation::SqrMean,
            Statistic::CountNonzero => Aggregation::CountNonzero,
            Statistic::Min => Aggregation::Min,
            Statistic::Max => Aggregation::Max,
            Statistic::Median => Aggregation::Median,
        })
    }
}

impl Report for StatsReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let n = self.clusters.len();
        let mut text = format!("{}: {rows} x {cols}, {n} clusters by {}\n", self.file, self.by.join(", "));
        text += &format!("statistics: {}\n\n", self.statistics.join(", "));
        let mut lines = vec![vec!["cluster".to_owned(), "cells".to_owned()]];
        let shown = self.clusters.iter().take(MAX_TABLE_ROWS);
        lines.extend(shown.map(|cluster| vec![cluster.name.clone(), with_commas(cluster.n_obs)]));
        text += &table(&lines);
        if n > MAX_TABLE_ROWS {
            text += &format!("({} more: --json prints them, --out writes them)\n", n - MAX_TABLE_ROWS);
        }
        if self.cells_without_label > 0 {
            text += &format!("{} cells have no label and are in no cluster\n", with_commas(self.cells_without_label));
        }
        text.push('\n');
        text += &self.cost.text();
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x: &f64| x.is_finite()).ok_or_else(|| "expected a number, such as 0.5".into())
}
