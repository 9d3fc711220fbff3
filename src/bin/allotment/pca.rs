//! `allotment pca`: the principal components of a file's rows, as a table, files and a picture.

use std::sync::Arc;

use allotment::linalg::{self, Components, PcaOptions};
use serde::Serialize;

use crate::args::{PcaArgs, Shared};
use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output::{self, Report, table};
use crate::pca_out::Place;
use crate::pca_plot;
use crate::plan;
use crate::plot::with_commas;
use crate::session::{Cost, Session};

/// As many as scanpy and Seurat take by default.
const DEFAULT_COMPONENTS: u64 = 50;
/// A table for people is not longer than this; the rest is in the files and in the JSON.
const MAX_TABLE_ROWS: usize = 20;

#[derive(Serialize)]
struct PcaReport {
    file: String,
    shape: [u64; 2],
    components: usize,
    solver: &'static str,
    explained_variance: Vec<f64>,
    explained_variance_ratio: Vec<f64>,
    residuals: Vec<f64>,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
}

/// Finds the components and delivers them.
pub(crate) fn run(args: &PcaArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    Place::check(args)?;
    let mut input = Input::open(&args.file)?;
    let session = Session::start(shared, interrupt, &args.file)?;
    let about = |failure: Failure| failure.about(&args.file);
    input.prepare(args.normalize, args.log1p, args.genes.as_deref()).map_err(about)?;
    if let Some(rows) = args.chunk_rows {
        input.x = input.x.with_block_rows(rows as u64);
    }
    let components = n_components(args, &input, &session)?;
    if args.plan {
        let options = PcaOptions { components, solver: args.solver.into(), ..PcaOptions::default() };
        let plan = options.plan(&session.cluster, &input.x).map_err(|e| session.fail(e))?;
        let solver = options.settled_solver(&input.x).map_err(|e| session.fail(e))?.name();
        return plan::print(&plan, args.file.display().to_string(), input.x.shape(), solver, &session, shared);
    }
    let coloring = match &args.plot {
        Some(_) => Some(pca_plot::coloring(&input, args.color.as_deref()).map_err(about)?),
        None => None,
    };
    let place = Place::open(args, interrupt).map_err(about)?;

    let (solver, progress) = (args.solver.into(), session.progress("pca"));
    let options = PcaOptions { components, solver, progress, ..PcaOptions::default() };
    let pca = linalg::pca(&session.cluster, &input.x, &options).map_err(|e| session.fail(e))?;

    if args.plot.is_some() && pca.explained_variance.len() < 2 {
        return Err(session.refuse("--plot needs at least 2 components, and one holds that share of the variance"));
    }
    let mut written = place.save(&pca, &session)?;
    if let (Some(path), Some(coloring)) = (&args.plot, coloring) {
        pca_plot::draw((&pca.scores, &pca.explained_variance_ratio), coloring, path, &args.file, &session)?;
        written.push(path.display().to_string());
    }
    if let Some(path) = &args.more.elbow {
        pca_plot::draw_elbow(&pca.explained_variance_ratio, path, &args.file, &session)?;
        written.push(path.display().to_string());
    }
    interrupt.check()?;
    let (rows, cols) = input.x.shape();
    let report = PcaReport {
        file: args.file.display().to_string(),
        shape: [rows, cols],
        components: pca.explained_variance.len(),
        solver: pca.solver.name(),
        explained_variance: pca.explained_variance.clone(),
        explained_variance_ratio: pca.explained_variance_ratio.clone(),
        residuals: pca.residuals.clone(),
        cost: session.cost(),
        written,
    };
    output::print(&report, shared.json)
}

/// Returns how many components to look for: those asked for, if the matrix can have them.
fn n_components(args: &PcaArgs, input: &Input, session: &Session) -> Outcome<Components> {
    let (rows, cols) = input.x.shape();
    let most = rows.min(cols);
    let components = match args.components {
        Some(Components::Count(asked)) if most > 0 && asked as u64 > most => {
            let what = format!("--components is {asked} but a matrix of {rows} x {cols} has at most {most}");
            return Err(session.refuse(&what));
        }
        Some(asked) => asked,
        // A matrix without rows or columns is refused by `pca` itself, in words that fit.
        None => Components::Count(most.clamp(1, DEFAULT_COMPONENTS) as usize),
    };
    match (&args.plot, components) {
        (Some(_), Components::Count(0 | 1)) => Err(session.refuse("--plot needs at least 2 components")),
        _ => Ok(components),
    }
}

impl Report for PcaReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let mut text = format!("{}: {rows} x {cols}, {} components by {}\n\n", self.file, self.components, self.solver);
        let mut lines = vec![["component", "variance", "share", "sum", "residual"].map(String::from).to_vec()];
        let mut sum = 0.0;
        let columns = self.explained_variance.iter().zip(&self.explained_variance_ratio).zip(&self.residuals);
        for (i, ((variance, share), residual)) in columns.enumerate().take(MAX_TABLE_ROWS) {
            sum += share;
            let percent = |x: f64| format!("{:.2} %", 100.0 * x);
            let number = (i + 1).to_string();
            lines.push(vec![number, significant(*variance), percent(*share), percent(sum), format!("{residual:.1e}")]);
        }
        text += &table(&lines);
        if self.components > MAX_TABLE_ROWS {
            text += &format!("({} more: --json prints them, --out writes them)\n", self.components - MAX_TABLE_ROWS);
        }
        text.push('\n');
        text += &self.cost.text();
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}

/// Prints a number with six significant digits.
pub(crate) fn significant(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return x.to_string();
    }
    let magnitude = x.abs().log10().floor() as i32;
    if (-4..9).contains(&magnitude) {
        format!("{x:.*}", usize::try_from(5 - magnitude).unwrap_or(0))
    } else {
        format!("{x:.5e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_shown() {
        let shown = [4.228241, 1234567.8, 0.0001234567, 1.5e-9, 0.0].map(significant);
        assert_eq!(shown, ["4.22824", "1234568", "0.000123457", "1.50000e-9", "0"]);
    }
}
