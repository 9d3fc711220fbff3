//! `allotment svd`: the singular values and vectors of a matrix, from a file or made of random numbers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotment::Error;
use allotment::array::{Array, random};
use allotment::io::npy;
use allotment::linalg::{self, BlockWays, Svd, SvdMethod, SvdOptions, SvdSolver};
use serde::Serialize;

use crate::args::{Shared, SvdArgs};
use crate::failure::Outcome;
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output::{self, Report, table};
use crate::pca::significant;
use crate::plan;
use crate::plot::with_commas;
use crate::session::{Cost, Session};
use crate::staging::Staging;

const MAX_TABLE_ROWS: usize = 20;

#[derive(Serialize)]
struct SvdReport {
    input: String,
    shape: [u64; 2],
    singular_values: Vec<f64>,
    residuals: Vec<f64>,
    orthogonality: f64,
    method: String,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
}

/// Factorises the matrix and delivers the factors.
pub(crate) fn run(args: &SvdArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    let (x, subject) = matrix(args)?;
    let session = Session::start(shared, interrupt, &subject)?;
    if x.rows().min(x.cols()) == 0 {
        return Err(session.refuse(&format!("a matrix of {} x {} has no singular values", x.rows(), x.cols())));
    }
    if args.plan {
        let options = SvdOptions { solver: args.solver.into(), ..SvdOptions::default() };
        let plan = options.plan(&session.cluster, &x).map_err(|e| session.fail(e))?;
        let solver = if options.solver == SvdSolver::Gram { "gram" } else { "tsqr" };
        return plan::print(&plan, subject.display().to_string(), x.shape(), solver, &session, shared);
    }
    let staging = args.out.as_ref().map(|dir| Staging::open(dir, interrupt)).transpose()?;
    let options = SvdOptions { solver: args.solver.into(), compute_u: args.vectors, progress: session.progress("svd") };
    let svd = linalg::svd(&session.cluster, &x, &options).map_err(|e| session.fail(e))?;
    let written = match staging {
        Some(staging) => save(&svd, staging, &session)?,
        None => Vec::new(),
    };
    interrupt.check()?;
    let (rows, cols) = x.shape();
    let report = SvdReport {
        input: subject.display().to_string(),
        shape: [rows, cols],
        singular_values: svd.s.clone(),
        residuals: svd.residuals.clone(),
        orthogonality: svd.orthogonality,
        method: in_words(svd.method),
        cost: session.cost(),
        written,
    };
    output::print(&report, shared.json)
}

/// Says how the factors were found.
fn in_words(method: SvdMethod) -> String {
    let ways =
        |ways: BlockWays| format!("{} blocks by cholesky, {} by householder", ways.n_cholesky, ways.n_reflections);
    match method {
        SvdMethod::Tsqr(blocks) => format!("tsqr ({})", ways(blocks)),
        SvdMethod::TransposedTsqr(blocks) => format!("tsqr of the transpose ({})", ways(blocks)),
        SvdMethod::Gram => "gram".into(),
        _ => "compressed".into(),
    }
}

/// Returns the matrix and what to call it.
fn matrix(args: &SvdArgs) -> Outcome<(Array, PathBuf)> {
    let chunk_rows = args.chunk_rows.map(|rows| rows as u64);
    if let Some(path) = &args.file {
        let x = Input::open(path)?.x;
        return Ok((chunk_rows.map_or(x.clone(), |rows| x.with_block_rows(rows)), path.clone()));
    }
    // clap has made sure that there is a shape where there is no file.
    let (rows, cols) = args.random.unwrap_or((1, 1));
    let x = random::uniform(rows, cols, args.seed.unwrap_or(0), chunk_rows);
    Ok((x, Path::new(&format!("random {rows}x{cols}")).to_owned()))
}

fn save(svd: &Svd, mut staging: Staging, session: &Session) -> Outcome<Vec<String>> {
    if let Some(u) = &svd.u {
        save_array(u, staging.place("u.npy"), session)?;
    }
    npy::save_vector(staging.place("s.npy"), &svd.s)?;
    // A file is written by rows; of a wide matrix those of vt are as long as the data, and come out a block of columns at a
    // time.
    let vt = match svd.shape {
        (rows, cols) if rows < cols => persisted_by_columns(&svd.vt, session)?,
        _ => svd.vt.clone(),
    };
    save_array(&vt, staging.place("vt.npy"), session)?;
    Ok(staging.finish()?.iter().map(|path| path.display().to_string()).collect())
}

fn persisted_by_columns(x: &Array, session: &Session) -> Outcome<Array> {
    let chunks = x.transpose().persist(&session.cluster).map_err(|error| session.fail(error))?;
    Ok(chunks.transpose())
}

/// Writes a matrix, some whole rows at a time.
pub(crate) fn save_array(x: &Array, path: PathBuf, session: &Session) -> Outcome<()> {
    npy::save_array(&session.cluster, x, path, None).map_err(|error| match error {
        // It names the file that could not be written.
        Error::Io { .. } => error.into(),
        other => session.fail(other),
    })?;
    session.interrupt.check()
}

impl Report for SvdReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let n_values = self.singular_values.len();
        let mut text = format!("{}: {rows} x {cols}, {n_values} singular values\n\n", self.input);
        let mut lines = vec![["number", "singular value", "residual"].map(String::from).to_vec()];
        for (i, (value, residual)) in self.singular_values.iter().zip(&self.residuals).enumerate().take(MAX_TABLE_ROWS)
        {
            lines.push(vec![(i + 1).to_string(), significant(*value), format!("{residual:.1e}")]);
        }
        text += &table(&lines);
        if n_values > MAX_TABLE_ROWS {
            text += &format!("({} more: --json prints them, --out writes them)\n", n_values - MAX_TABLE_ROWS);
        }
        text += &format!("\northogonality of the long vectors: {:.1e}\n", self.orthogonality);
        text += &format!("method: {}\n", self.method);
        text += &self.cost.text();
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}
