//! `allotment pipeline`: from counts to what `scanpy.tl.leiden` takes, in one command and one file.
//!
//! ```text
//!   counts ─▶ normalised ─▶ logarithms ─▶ variable genes ─▶ their values as chunks ─▶ components ─▶ neighbours
//!      [sums, for the median]       [a pass, or two]      [a pass]                    chunks only
//!                                └▶ X of the output [a pass], but with --subset: then X is the chunks
//! ```
//!
//! Names and slots are scanpy's: `layers/counts`, `var/highly_variable` and its numbers, `uns/{log1p,hvg,pca,neighbors}`,
//! `obsm/X_pca`, `varm/PCs`, `obsp/{distances,connectivities}`. What the input holds besides is kept.

use std::path::PathBuf;
use std::sync::Arc;

use allotment::Error;
use allotment::cells::{
    self, AnnData, HvgOptions, Metric, NeighborsOptions, NormalizeTotal, PcaOptions, Value, highly_variable_genes,
};
use clap::{Args, ValueEnum};

use crate::annotated::{self, annotated_path, check_column, check_target};
use crate::args::{Shared, SolverChoice, at_least_one, positive, svg_path};
use crate::failure::Outcome;
use crate::hvg::{FlavorChoice, add_to};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output;
use crate::pca_plot;
use crate::pipeline_report::{self as report, PipelineReport};
use crate::session::Session;
use crate::staging::check_place;

/// What is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricChoice {
    /// The length of the difference
    Euclidean,
    /// One less the cosine of the angle
    Cosine,
}

impl From<MetricChoice> for Metric {
    fn from(choice: MetricChoice) -> Self {
        match choice {
            MetricChoice::Euclidean => Metric::Euclidean,
            MetricChoice::Cosine => Metric::Cosine,
        }
    }
}

/// Normalises counts, takes logarithms, chooses variable genes, and finds components and neighbours, as scanpy does.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  allotment pipeline bench-data/neurons10k_csr_u16.h5ad --target-sum 1e4 --n-top-genes 200 --out cells.h5ad"
)]
pub(crate) struct PipelineArgs {
    /// Any file that is read; X holds counts, rows are cells
    pub(crate) file: PathBuf,
    /// Write everything here (.h5ad or .zarr)
    #[arg(long, value_name = "FILE", value_parser = annotated_path, required_unless_present = "plan")]
    pub(crate) out: Option<PathBuf>,
    /// Scale every cell to this sum, such as 1e4 [default: the median of the sums, which takes another pass]
    #[arg(long, value_name = "SUM", value_parser = positive)]
    pub(crate) target_sum: Option<f64>,
    /// How many genes to select
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = at_least_one)]
    pub(crate) n_top_genes: usize,
    /// How genes are ranked
    #[arg(long, value_enum, default_value_t = FlavorChoice::Seurat)]
    pub(crate) flavor: FlavorChoice,
    /// Rank genes within each batch that this obs column names
    #[arg(long, value_name = "COLUMN")]
    pub(crate) batch_key: Option<String>,
    /// How many components [default: 50, or as many as there can be]
    #[arg(long, short = 'k', value_name = "K", value_parser = at_least_one)]
    pub(crate) components: Option<usize>,
    /// How the components are found
    #[arg(long, value_enum, default_value_t = SolverChoice::Auto)]
    pub(crate) solver: SolverChoice,
    /// How many neighbours, the cell itself among them
    #[arg(long, short = 'n', value_name = "N", default_value_t = 15, value_parser = at_least_two)]
    pub(crate) neighbors: usize,
    /// What is near
    #[arg(long, value_enum, default_value_t = MetricChoice::Euclidean)]
    pub(crate) metric: MetricChoice,
    /// Stop after the components
    #[arg(long, conflicts_with_all = ["neighbors", "metric"])]
    pub(crate) no_neighbors: bool,
    /// Keep only the selected genes; saves a pass over the input
    #[arg(long)]
    pub(crate) subset: bool,
    /// Keep the counts as well, in the layer counts
    #[arg(long)]
    pub(crate) counts: bool,
    /// Draw components 1 and 2 as a picture
    #[arg(long, value_name = "FILE.svg", value_parser = svg_path)]
    pub(crate) plot: Option<PathBuf>,
    /// Colour the picture by this obs column [default: the first categorical one]
    #[arg(long, value_name = "COLUMN", requires = "plot")]
    pub(crate) color: Option<String>,
    /// Replace what has the output's name
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Show what it would take, and stop
    #[arg(long, conflicts_with_all = ["out", "plot"])]
    pub(crate) plan: bool,
}

/// Accepts numbers of neighbours, of which a cell is its own first.
pub(crate) fn at_least_two(text: &str) -> Result<usize, String> {
    at_least_one(text).ok().filter(|n| *n >= 2).ok_or("expected at least 2: a cell is its own first neighbour".into())
}

/// Takes every step and writes the result.
pub(crate) fn run(args: &PipelineArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    args.plot.iter().try_for_each(|path| check_place(path))?;
    args.out.iter().try_for_each(|out| check_target(out, args.overwrite, &args.file))?;
    let data = annotated::open(&args.file).map_err(|failure| failure.about(&args.file))?;
    args.batch_key.iter().try_for_each(|key| check_column("--batch-key", key, &data.obs))?;
    let input = Input { x: data.x.clone(), anndata: Some(data.clone()) };
    let coloring = args.plot.as_ref().map(|_| pca_plot::coloring(&input, args.color.as_deref())).transpose()?;
    let session = Session::start(shared, interrupt, &args.file)?;
    check_components(args, &data, &session)?;
    if args.plan {
        let stages = report::stages(args, &data, &session).map_err(|e| session.fail(e))?;
        return output::print(&report::PlanReport::new(args, &data, stages, &session), shared.json);
    }
    let shape = data.x.shape();
    let found = work(args, data, &session).map_err(|e| session.fail(e))?;
    let mut written = Vec::new();
    if let Some(out) = &args.out {
        written.push(annotated::write(&session, &found, out, args.overwrite)?);
    }
    if let (Some(path), Some(coloring)) = (&args.plot, coloring)
        && let Some(scores) = found.obsm.get("X_pca").and_then(|table| table.array())
    {
        pca_plot::draw((scores, &shares(&found)), coloring, path, &args.file, &session)?;
        written.push(path.display().to_string());
    }
    interrupt.check()?;
    output::print(&PipelineReport::new(args, shape, &found, &session, written), shared.json)
}

/// Refuses more components than the selected genes can have.
fn check_components(args: &PipelineArgs, data: &AnnData, session: &Session) -> Outcome<()> {
    let n_genes = data.n_vars().min(args.n_top_genes as u64);
    let most = data.n_obs().min(n_genes);
    match args.components {
        Some(asked) if most > 0 && asked as u64 > most => {
            let cells = data.n_obs();
            let what = format!("--components is {asked} but {cells} cells and {n_genes} genes have at most {most}");
            Err(session.refuse(&what))
        }
        Some(1) if args.plot.is_some() => Err(session.refuse("--plot needs at least 2 components")),
        _ => Ok(()),
    }
}

/// Returns the settings of the choice of genes.
pub(crate) fn hvg_options(args: &PipelineArgs, session: &Session) -> HvgOptions {
    HvgOptions {
        flavor: args.flavor.into(),
        n_top_genes: Some(args.n_top_genes),
        batch_key: args.batch_key.clone(),
        progress: session.progress("hvg"),
        ..HvgOptions::default()
    }
}

fn work(args: &PipelineArgs, counts: AnnData, session: &Session) -> Result<AnnData, Error> {
    let cluster = &session.cluster;
    let normalize = NormalizeTotal { target_sum: args.target_sum, ..NormalizeTotal::default() };
    let mut data = counts.normalize_total(cluster, &normalize)?.log1p(None)?;
    let ranked = if args.flavor.takes_counts() { &counts } else { &data };
    let found = highly_variable_genes(cluster, ranked, &hvg_options(args, session))?;
    if found.are_counts == Some(false) {
        session.reporter.note("some values are not counts, which this flavour of hvg expects");
    }
    if found.selected().is_empty() {
        return Err(Error::bad_argument(
            "pipeline",
            "X",
            "a matrix of which no gene varies",
            "counts with variable genes",
        ));
    }
    add_to(&mut data, &found)?;
    if args.counts {
        data.layers.insert("counts".into(), counts.x.clone());
    }
    if args.subset {
        data = data.select(.., found.selected())?;
        data.x = data.x.persist_regrouped(cluster, session.progress("genes"))?;
    }
    let options = PcaOptions {
        n_comps: args.components,
        solver: args.solver.into(),
        persist: !args.subset,
        progress: session.progress("pca"),
        ..PcaOptions::default()
    };
    let data = cells::pca(cluster, &data, &options)?;
    if args.no_neighbors {
        return Ok(data);
    }
    let options = NeighborsOptions {
        n_neighbors: args.neighbors,
        metric: args.metric.into(),
        use_rep: Some("X_pca".into()),
        progress: session.progress("neighbors"),
        ..NeighborsOptions::default()
    };
    cells::neighbors(cluster, &data, &options)
}

/// Returns the share of the variance that each component holds.
pub(crate) fn shares(data: &AnnData) -> Vec<f64> {
    match data.uns.get("pca").and_then(|pca| pca.get("variance_ratio")) {
        Some(Value::Numbers(tensor)) => tensor.values.to_vec(),
        _ => Vec::new(),
    }
}
