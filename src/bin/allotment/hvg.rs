//! `allotment hvg`: the genes that vary most, as a table, a list, columns of var and a picture.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotment::array::DType;
use allotment::cells::{AnnData, HighlyVariable, HvgFlavor, HvgOptions, NormalizeTotal, highly_variable_genes};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::annotated::{self, check_column, check_target, is_annotated};
use crate::args::{Shared, at_least_one, positive, svg_path};
use crate::failure::{Failure, Outcome};
use crate::hvg_plot;
use crate::interrupt::Interrupt;
use crate::output::{self, Report, table};
use crate::pca::significant;
use crate::plan;
use crate::plot::with_commas;
use crate::session::{Cost, Session};
use crate::staging::{check_place, write_whole};

/// A table for people is not longer than this; the rest is in the files and in the JSON.
const MAX_TABLE_ROWS: usize = 20;

/// How genes are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum FlavorChoice {
    /// Dispersions of logarithms taken back, in bins of means
    Seurat,
    /// Dispersions of logarithms, in bins of equally many genes
    CellRanger,
    /// Variances of counts beside those that their means let expect
    #[value(name = "seurat_v3")]
    SeuratV3,
    /// The same; of several batches by in how many a gene is on top
    #[value(name = "seurat_v3_paper")]
    SeuratV3Paper,
}

impl FlavorChoice {
    /// Says whether it ranks counts, not logarithms.
    pub(crate) fn takes_counts(self) -> bool {
        matches!(self, FlavorChoice::SeuratV3 | FlavorChoice::SeuratV3Paper)
    }
}

impl From<FlavorChoice> for HvgFlavor {
    fn from(choice: FlavorChoice) -> Self {
        match choice {
            FlavorChoice::Seurat => HvgFlavor::Seurat,
            FlavorChoice::CellRanger => HvgFlavor::CellRanger,
            FlavorChoice::SeuratV3 => HvgFlavor::SeuratV3,
            FlavorChoice::SeuratV3Paper => HvgFlavor::SeuratV3Paper,
        }
    }
}

/// Finds the genes that vary more than others of like expression, with scanpy's numbers.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  allotment hvg bench-data/neurons10k_csr_u16.h5ad --normalize 1e4 --log1p --n-top-genes 200 --out genes.txt"
)]
pub(crate) struct HvgArgs {
    /// Any file that is read; rows are cells
    pub(crate) file: PathBuf,
    /// How genes are ranked: seurat and cell_ranger take logarithms, the others counts
    #[arg(long, value_enum, default_value_t = FlavorChoice::Seurat)]
    pub(crate) flavor: FlavorChoice,
    /// How many genes to select; the limits below have no say then [default: by the limits; 2000 for seurat_v3]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) n_top_genes: Option<usize>,
    /// Means must be above this
    #[arg(long, value_name = "X", default_value_t = 0.0125, allow_hyphen_values = true)]
    pub(crate) min_mean: f64,
    /// Means must be below this
    #[arg(long, value_name = "X", default_value_t = 3.0, allow_hyphen_values = true)]
    pub(crate) max_mean: f64,
    /// Normalised dispersions must be above this
    #[arg(long, value_name = "X", default_value_t = 0.5, allow_hyphen_values = true)]
    pub(crate) min_disp: f64,
    /// Normalised dispersions must be below this
    #[arg(long, value_name = "X", default_value_t = f64::INFINITY, allow_hyphen_values = true)]
    pub(crate) max_disp: f64,
    /// How many bins of means seurat takes
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    pub(crate) n_bins: usize,
    /// The share of the genes that seurat_v3 fits each variance to
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    pub(crate) span: f64,
    /// Rank within each batch that this obs column names
    #[arg(long, value_name = "COLUMN")]
    pub(crate) batch_key: Option<String>,
    /// Take this layer instead of X
    #[arg(long, value_name = "NAME", conflicts_with_all = ["normalize", "log1p"])]
    pub(crate) layer: Option<String>,
    /// First scale every cell to this sum; X is written as it was
    #[arg(long, value_name = "SUM", value_parser = positive)]
    pub(crate) normalize: Option<f64>,
    /// First replace every value x by ln(1 + x), after --normalize; X is written as it was
    #[arg(long)]
    pub(crate) log1p: bool,
    /// Write annotated data with the columns of var that scanpy adds (.h5ad or .zarr), or the names alone (.txt)
    #[arg(long, value_name = "FILE", value_parser = genes_path)]
    pub(crate) out: Option<PathBuf>,
    /// Replace what has the output's name
    #[arg(long, requires = "out")]
    pub(crate) overwrite: bool,
    /// Draw each gene's variation over its mean
    #[arg(long, value_name = "FILE.svg", value_parser = svg_path)]
    pub(crate) plot: Option<PathBuf>,
    /// Show what it would take, and stop
    #[arg(long, conflicts_with_all = ["out", "plot"])]
    pub(crate) plan: bool,
}

fn genes_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_list = path.extension().is_some_and(|ending| ending == "txt");
    if is_list || is_annotated(&path) {
        Ok(path)
    } else {
        Err("expected a name that ends in .h5ad, .zarr or .txt".into())
    }
}

#[derive(Serialize)]
struct HvgReport {
    file: String,
    shape: [u64; 2],
    flavor: &'static str,
    n_selected: usize,
    batches: usize,
    are_counts: Option<bool>,
    genes: Vec<String>,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
    #[serde(skip)]
    lines: Vec<Vec<String>>,
}

/// Ranks the genes and delivers those that were selected.
pub(crate) fn run(args: &HvgArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    args.plot.iter().try_for_each(|path| check_place(path))?;
    args.out.iter().try_for_each(|out| check_target(out, args.overwrite, &args.file))?;
    let data = annotated::open(&args.file)?;
    args.batch_key.iter().try_for_each(|key| check_column("--batch-key", key, &data.obs))?;
    let session = Session::start(shared, interrupt, &args.file)?;
    let (ranked, options) = (prepared(args, &data, &session)?, options(args, &session));
    if args.plan {
        let plan = options.plan(&session.cluster, &ranked).map_err(|e| session.fail(e))?;
        let file = args.file.display().to_string();
        return plan::print(&plan, file, data.x.shape(), options.flavor.name(), &session, shared);
    }
    let found = highly_variable_genes(&session.cluster, &ranked, &options).map_err(|e| session.fail(e))?;
    let names = data.var_names().map_err(|e| session.fail(e))?;
    let order = ranking(&found);
    let mut written = Vec::new();
    if let Some(out) = &args.out {
        written.push(save(out, args.overwrite, &found, data, &order, &session)?);
    }
    if let Some(path) = &args.plot {
        hvg_plot::draw(&found, path, &args.file, &session)?;
        written.push(path.display().to_string());
    }
    interrupt.check()?;
    let report = HvgReport {
        file: args.file.display().to_string(),
        shape: [ranked.n_obs(), ranked.n_vars()],
        flavor: found.flavor.name(),
        n_selected: order.len(),
        batches: found.batches,
        are_counts: found.are_counts,
        lines: lines(&found, &order, &names),
        genes: order.iter().map(|gene| names[*gene].clone()).collect(),
        cost: session.cost(),
        written,
    };
    output::print(&report, shared.json)
}

/// Returns what genes are ranked on.
fn prepared(args: &HvgArgs, data: &AnnData, session: &Session) -> Outcome<AnnData> {
    let steps = args.normalize.is_some() || args.log1p;
    if args.flavor.takes_counts() && steps {
        let flavor = HvgFlavor::from(args.flavor).name();
        return Err(Failure::Usage(format!("--flavor {flavor} ranks counts: leave out --normalize and --log1p")));
    }
    let mut ranked = data.clone();
    if steps {
        // In double: scanpy's single would put genes of equal dispersion in another order.
        ranked.x = ranked.x.astype(DType::F64);
    }
    if let Some(sum) = args.normalize {
        let options = NormalizeTotal::from(sum);
        ranked = ranked.normalize_total(&session.cluster, &options).map_err(|e| session.fail(e))?;
    }
    if args.log1p {
        ranked = ranked.log1p(None).map_err(|e| session.fail(e))?;
    } else if !args.flavor.takes_counts() && args.layer.is_none() && !data.x.dtype().is_float() {
        let dtype = data.x.dtype();
        session.reporter.note(&format!("X holds {dtype}, no logarithms: consider --normalize 1e4 --log1p"));
    }
    Ok(ranked)
}

fn options(args: &HvgArgs, session: &Session) -> HvgOptions {
    HvgOptions {
        flavor: args.flavor.into(),
        n_top_genes: args.n_top_genes,
        min_mean: args.min_mean,
        max_mean: args.max_mean,
        min_disp: args.min_disp,
        max_disp: args.max_disp,
        n_bins: args.n_bins,
        span: args.span,
        batch_key: args.batch_key.clone(),
        layer: args.layer.clone(),
        progress: session.progress("hvg"),
        ..HvgOptions::default()
    }
}

/// Returns the selected genes, the most variable first.
fn ranking(found: &HighlyVariable) -> Vec<usize> {
    let key = |gene: usize| -> (u64, f64) {
        let batches = found.n_batches.as_ref().map_or(0, |n| n[gene]);
        match (found.column("highly_variable_rank"), found.column("dispersions_norm")) {
            // Ranks already count what batches say.
            (Some(ranks), _) => (0, -ranks[gene]),
            (None, Some(dispersions)) => (batches, dispersions[gene]),
            (None, None) => (batches, 0.0),
        }
    };
    let mut genes: Vec<usize> = found.selected().iter().map(|gene| *gene as usize).collect();
    let number = |x: f64| if x.is_nan() { f64::NEG_INFINITY } else { x };
    genes.sort_by(|a, b| {
        let (a, b) = (key(*a), key(*b));
        b.0.cmp(&a.0).then(number(b.1).total_cmp(&number(a.1)))
    });
    genes
}

fn lines(found: &HighlyVariable, order: &[usize], names: &[String]) -> Vec<Vec<String>> {
    let columns: Vec<_> = found.numbers.iter().filter(|(name, _)| *name != "highly_variable_rank").collect();
    let title = ["gene".to_string()].into_iter().chain(columns.iter().map(|(name, _)| name.replace('_', " ")));
    let line = |gene: &usize| {
        let numbers = columns.iter().map(|(_, values)| significant(values[*gene]));
        [names[*gene].clone()].into_iter().chain(numbers).collect()
    };
    [title.collect()].into_iter().chain(order.iter().take(MAX_TABLE_ROWS).map(line)).collect()
}

/// Adds what was found to var and uns, as scanpy does.
pub(crate) fn add_to(data: &mut AnnData, found: &HighlyVariable) -> Result<(), allotment::Error> {
    let frame = found.to_frame(data.var_names()?)?;
    let columns = frame.columns().iter().map(|name| Ok((name.clone(), frame.column(name)?)));
    data.var = data.var.with_columns(columns.collect::<Result<_, allotment::Error>>()?)?;
    data.uns.insert("hvg".into(), found.uns());
    Ok(())
}

fn save(
    out: &Path,
    overwrite: bool,
    found: &HighlyVariable,
    mut data: AnnData,
    order: &[usize],
    session: &Session,
) -> Outcome<String> {
    if is_annotated(out) {
        add_to(&mut data, found).map_err(|e| session.fail(e))?;
        return annotated::write(session, &data, out, overwrite);
    }
    let names = data.var_names().map_err(|e| session.fail(e))?;
    let list: String = order.iter().map(|gene| format!("{}\n", names[*gene])).collect();
    write_whole(out, list.as_bytes(), &session.interrupt)?;
    Ok(out.display().to_string())
}

impl Report for HvgReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let selected = with_commas(self.n_selected as u64);
        let mut text = format!("{}: {rows} x {cols}, {selected} genes by {}", self.file, self.flavor);
        if self.batches > 1 {
            text += &format!(" in {} batches", self.batches);
        }
        text += &format!("\n\n{}", table(&self.lines));
        let n_more = self.n_selected.saturating_sub(MAX_TABLE_ROWS);
        if n_more > 0 {
            text += &format!("({n_more} more: --json prints their names, --out writes them)\n");
        }
        if self.are_counts == Some(false) {
            text += "\nsome values are not counts, which this flavour expects\n";
        }
        text.push('\n');
        text += &self.cost.text();
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}
