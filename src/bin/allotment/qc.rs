//! `allotment qc`: how good the cells are in numbers, as a table of quantiles, columns of obs and var, and a picture.

use std::path::PathBuf;
use std::sync::Arc;

use allotment::cells::{AnnData, Column, QcOptions, calculate_qc_metrics};
use clap::Args;
use serde::Serialize;

use crate::args::{Shared, svg_path};
use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output::{self, Report, table};
use crate::pca::significant;
use crate::plot::with_commas;
use crate::qc_plot::{self, Violin};
use crate::session::{Cost, Session};
use crate::staging::check_place;
use crate::target::{Target, WriteArgs, annotated};

/// What the names of mitochondrial genes begin with.
const USUAL_PREFIX: &str = "MT-";
/// The quantiles of the table.
const SHARES: [f64; 7] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0];

/// Counts genes, values and shares of each cell and gene.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  allotment qc bench-data/neurons10k_csr_u16.h5ad --plot qc.svg --out checked.h5ad")]
pub(crate) struct QcArgs {
    /// A .h5ad, .h5, .zarr, .zarr.zip, .mtx or .npy file, or a folder of Cell Ranger
    pub(crate) file: PathBuf,
    /// Beginnings of genes' names, in any case, each a group whose share of a cell is told [default: MT- where there are such]
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub(crate) qc_vars: Vec<String>,
    /// Take this layer for the matrix
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
    /// Draw the cells' distributions as violins
    #[arg(long, value_name = "FILE.svg", value_parser = svg_path)]
    pub(crate) plot: Option<PathBuf>,
    /// Write the data with the figures as columns of obs and var: a name that ends in .h5ad or .zarr
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
}

/// The quantiles of a figure over the cells; of no cells they are missing.
#[derive(Serialize)]
struct Metric {
    name: String,
    quantiles: Vec<Option<f64>>,
    mean: Option<f64>,
}

#[derive(Serialize)]
struct QcReport {
    file: String,
    shape: [u64; 2],
    quantile_shares: [f64; 7],
    metrics: Vec<Metric>,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
}

/// Counts and delivers.
pub(crate) fn run(args: &QcArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    if let Some(path) = &args.plot {
        check_place(path)?;
    }
    let target = args.out.as_ref().map(|out| target(args, out)).transpose()?;
    let mut input = Input::open(&args.file)?;
    let session = Session::start(shared, interrupt, &args.file)?;
    if let Some(target) = &target {
        target.fitting(&mut input, &session)?;
    }
    let mut data = annotated(&input)?;
    let layers = || data.layers.keys().cloned().collect::<Vec<_>>().join(", ");
    if let Some(layer) = args.layer.as_ref().filter(|layer| !data.layers.contains_key(*layer)) {
        return Err(Failure::Usage(format!("{}: --layer {layer}: the layers are: {}", args.file.display(), layers())));
    }
    let qc_vars = mark(&mut data, args)?;
    let options =
        QcOptions { qc_vars, layer: args.layer.clone(), progress: session.progress("qc"), ..QcOptions::default() };
    let found = calculate_qc_metrics(&session.cluster, &data, &options).map_err(|e| session.fail(e))?;
    let names = shown_columns(&found, &options.qc_vars);
    let columns = names.iter().map(|name| Ok(numbers(found.obs.column(name)?))).collect::<Outcome<Vec<_>>>()?;
    interrupt.check()?;
    let mut written = Vec::new();
    if let Some(target) = target {
        target.write(&Input { x: found.x.clone(), anndata: Some(found) }, &session)?;
        written.push(target.path.display().to_string());
    }
    if let Some(path) = &args.plot {
        let violins = names.iter().zip(&columns).filter(|(name, _)| !name.starts_with("pct_counts_in_top"));
        let violins: Vec<Violin> = violins.map(|(name, values)| Violin::new(name, values)).collect();
        qc_plot::draw(&violins, path, &args.file, &session)?;
        written.push(path.display().to_string());
    }
    let (rows, cols) = input.x.shape();
    let report = QcReport {
        file: args.file.display().to_string(),
        shape: [rows, cols],
        quantile_shares: SHARES,
        metrics: names.into_iter().zip(&columns).map(|(name, values)| Metric::new(name, values)).collect(),
        cost: session.cost(),
        written,
    };
    output::print(&report, shared.json)
}

fn target(args: &QcArgs, out: &std::path::Path) -> Outcome<Target> {
    let target = Target::check(out, &args.file, &args.write)?;
    let what = "a .npy file has no room for figures of cells; use a name that ends in .h5ad or .zarr";
    if target.is_npy() { Err(Failure::Usage(format!("{}: {what}", out.display()))) } else { Ok(target) }
}

/// Marks the genes of each group in a column of var, and returns the columns' names.
fn mark(data: &mut AnnData, args: &QcArgs) -> Outcome<Vec<String>> {
    let genes = data.var_names()?;
    let usual = [USUAL_PREFIX.to_owned()];
    let prefixes = if args.qc_vars.is_empty() { &usual[..] } else { &args.qc_vars[..] };
    let mut names = Vec::new();
    for prefix in prefixes {
        let members: Vec<Option<bool>> = genes.iter().map(|gene| Some(begins_with(gene, prefix))).collect();
        if !members.contains(&Some(true)) {
            if args.qc_vars.is_empty() {
                continue;
            }
            let what = format!("--qc-vars {prefix}: no gene's name begins so");
            return Err(Failure::Usage(format!("{}: {what}", args.file.display())));
        }
        let name = group_name(prefix);
        if names.contains(&name) {
            continue;
        }
        data.var = data.var.with_column(name.clone(), Column::Bools(members))?;
        names.push(name);
    }
    Ok(names)
}

fn begins_with(gene: &str, prefix: &str) -> bool {
    gene.as_bytes().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Returns the name of a group: its prefix in small letters, without what joins it to the rest.
fn group_name(prefix: &str) -> String {
    let name = prefix.trim_end_matches(['-', '_', '.', ':']).to_lowercase();
    if name.is_empty() || name.contains('/') { "group".into() } else { name }
}

/// Returns the columns that the table shows.
fn shown_columns(data: &AnnData, qc_vars: &[String]) -> Vec<String> {
    let names = ["n_genes_by_counts", "total_counts", "pct_counts_in_top_50_genes"].map(String::from);
    let groups = qc_vars.iter().map(|name| format!("pct_counts_{name}"));
    names.into_iter().chain(groups).filter(|name| data.obs.columns().contains(name)).collect()
}

/// Returns the numbers of a column that are there, ascending.
fn numbers(column: Column) -> Vec<f64> {
    let mut values = match column {
        Column::Numbers(numbers) => numbers.to_f64(),
        _ => Vec::new(),
    };
    values.retain(|value| !value.is_nan());
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Prints a number with at most six significant digits.
fn short(number: f64) -> String {
    let text = significant(number);
    match text.contains('.') && !text.contains('e') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

/// Returns the value below which this share of the ascending values lies, linear between neighbours, as NumPy has it.
fn quantile(ascending: &[f64], share: f64) -> Option<f64> {
    let place = share * ascending.len().checked_sub(1)? as f64;
    let (low, high) = (ascending[place.floor() as usize], ascending[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

impl Metric {
    fn new(name: String, ascending: &[f64]) -> Self {
        let mean = (!ascending.is_empty()).then(|| ascending.iter().sum::<f64>() / ascending.len() as f64);
        Metric { name, quantiles: SHARES.map(|share| quantile(ascending, share)).to_vec(), mean }
    }
}

impl Report for QcReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let head = ["of each cell", "least", "5 %", "25 %", "median", "75 %", "95 %", "greatest", "mean"];
        let mut lines = vec![head.map(String::from).to_vec()];
        for metric in &self.metrics {
            let numbers = metric.quantiles.iter().chain([&metric.mean]);
            let cells = numbers.map(|number| number.map_or("none".into(), short));
            lines.push(std::iter::once(metric.name.clone()).chain(cells).collect());
        }
        let text = format!("{}: {rows} x {cols}\n\n{}\n{}", self.file, table(&lines), self.cost.text());
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, .25, .5, .95, 1])
        let found = [0.0, 0.25, 0.5, 0.95, 1.0].map(|share| quantile(&[1.0, 2.0, 4.0, 8.0], share).expect("values"));
        // One rounding in the place, one in the product.
        assert!(found.iter().zip([1.0, 1.75, 3.0, 7.4, 8.0]).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?}");
        assert_eq!([33.0, 0.5, 1690.0, 1e12].map(short), ["33", "0.5", "1690", "1.00000e12"]);
        assert_eq!((quantile(&[], 0.5), quantile(&[3.0], 0.95)), (None, Some(3.0)));
    }

    #[test]
    fn groups_are_told_by_the_beginnings_of_names_in_any_case() {
        assert!(begins_with("mt-Nd1", "MT-") && begins_with("MT-ND1", "mt-"));
        assert!(!begins_with("MTOR", "MT-") && !begins_with("M", "MT-") && !begins_with("é", "m"));
        assert_eq!([group_name("MT-"), group_name("Rp"), group_name("-")], ["mt", "rp", "group"]);
    }
}
