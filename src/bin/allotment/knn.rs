//! `allotment knn`: the exact nearest neighbours of every row, as the graph that scanpy takes or as two `.npy` files.
//!
//! A cell counts as its own first neighbour, as in scanpy: of `-n 15` fourteen others are found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotment::Error;
use allotment::array::{Array, Block, DType, DenseBlock};
use allotment::cells::{self, AnnData, Metric, NeighborsOptions};
use allotment::io::npy::NpyWriter;
use clap::Args;
use serde::Serialize;

use crate::annotated::{self, check_target, is_annotated};
use crate::args::Shared;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Report, fields};
use crate::pipeline::{MetricChoice, at_least_two};
use crate::plot::with_commas;
use crate::session::{Cost, Session};
use crate::staging::Staging;

/// Up to so many genes are places themselves, as in scanpy.
const FEW_GENES: u64 = 50;

/// Finds the nearest neighbours of every row, exactly.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  allotment knn bench-data/pbmc68k_reduced.h5ad --rep X_pca -n 15 --out graph.h5ad")]
pub(crate) struct KnnArgs {
    /// Any file that is read; rows are cells
    pub(crate) file: PathBuf,
    /// The matrix of obsm that tells where cells are, or X [default: X_pca; X of up to 50 columns or of a plain matrix]
    #[arg(long, value_name = "NAME")]
    pub(crate) rep: Option<String>,
    /// How many neighbours, the row itself among them
    #[arg(long, short = 'n', value_name = "N", default_value_t = 15, value_parser = at_least_two)]
    pub(crate) neighbors: usize,
    /// What is near
    #[arg(long, value_enum, default_value_t = MetricChoice::Euclidean)]
    pub(crate) metric: MetricChoice,
    /// Write annotated data with scanpy's graph (.h5ad or .zarr), or indices.npy and distances.npy into a directory
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: PathBuf,
    /// Replace what has the output's name
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Serialize)]
struct KnnReport {
    file: String,
    rep: String,
    shape: [u64; 2],
    neighbors: usize,
    metric: &'static str,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
}

/// Finds the neighbours and delivers them.
pub(crate) fn run(args: &KnnArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    let is_file = is_annotated(&args.out);
    if is_file {
        check_target(&args.out, args.overwrite, &args.file)?;
    } else if let Some(taken) = taken(&args.out).filter(|_| !args.overwrite) {
        return Err(Error::bad_input(&taken, "the output", "a new name, or --overwrite", "a file of that name").into());
    }
    let data = annotated::open(&args.file).map_err(|failure| failure.about(&args.file))?;
    let (rep, places) = places(args, &data)?;
    let session = Session::start(shared, interrupt, &args.file)?;
    if args.neighbors as u64 > places.rows() {
        let what = format!("--neighbors is {} but there are {} rows", args.neighbors, places.rows());
        return Err(session.refuse(&what));
    }
    let written = if is_file {
        let options = NeighborsOptions {
            n_neighbors: args.neighbors,
            metric: args.metric.into(),
            use_rep: Some(rep.clone()),
            progress: session.progress("neighbors"),
            ..NeighborsOptions::default()
        };
        let found = cells::neighbors(&session.cluster, &data, &options).map_err(|e| session.fail(e))?;
        vec![annotated::write(&session, &found, &args.out, args.overwrite)?]
    } else {
        let staging = Staging::open(&args.out, interrupt)?;
        save(&places, args, staging, &session)?
    };
    interrupt.check()?;
    let report = KnnReport {
        file: args.file.display().to_string(),
        rep,
        shape: [places.rows(), places.cols()],
        neighbors: args.neighbors,
        metric: Metric::from(args.metric).name(),
        cost: session.cost(),
        written,
    };
    output::print(&report, shared.json)
}

const INDICES: &str = "indices.npy";
const DISTANCES: &str = "distances.npy";

/// Returns the first of the two files that is there already.
fn taken(dir: &Path) -> Option<PathBuf> {
    [INDICES, DISTANCES].map(|name| dir.join(name)).into_iter().find(|path| path.exists())
}

/// Returns where cells are, and what that is called.
fn places(args: &KnnArgs, data: &AnnData) -> Outcome<(String, Array)> {
    let matrices: Vec<&String> = data.obsm.iter().filter(|(_, table)| table.array().is_some()).map(|x| x.0).collect();
    let usual = || if data.n_vars() > FEW_GENES && !data.obsm.is_empty() { "X_pca" } else { "X" };
    let name = args.rep.clone().unwrap_or_else(|| usual().into());
    if name == "X" {
        return Ok((name, data.x.clone()));
    }
    match data.obsm.get(&name).and_then(|table| table.array()) {
        Some(array) => Ok((name, array.clone())),
        None => {
            let known = matrices.iter().map(|name| format!(", {name}")).collect::<String>();
            Err(Failure::Usage(format!("--rep {name}: {} has X{known}", args.file.display())))
        }
    }
}

/// Writes for every row its neighbours and their distances, the nearest first.
fn save(places: &Array, args: &KnnArgs, mut staging: Staging, session: &Session) -> Outcome<Vec<String>> {
    let (cluster, k) = (&session.cluster, args.neighbors - 1);
    let progress = session.progress("knn");
    let found = cells::knn(cluster, places, k, args.metric.into(), progress).map_err(|e| session.fail(e))?;
    let rows = places.rows();
    let mut indices = NpyWriter::create(staging.place(INDICES), DType::I64, rows, k as u64)?;
    let mut distances = NpyWriter::create(staging.place(DISTANCES), DType::F64, rows, k as u64)?;
    for block in found.blocks(cluster).map_err(|e| session.fail(e))? {
        let (near, far) = by_distance(block.map_err(|e| session.fail(e))?, k)?;
        indices.write(&near)?;
        distances.write(&far)?;
    }
    indices.finish()?;
    distances.finish()?;
    Ok(staging.finish()?.iter().map(|path| path.display().to_string()).collect())
}

/// Sorts each row's `k` neighbours; of equal distances the lower row is first.
fn by_distance(block: Block, k: usize) -> Result<(Block, Block), Error> {
    let rows = block.rows();
    let (mut indices, mut distances) = (Vec::with_capacity(rows * k), Vec::with_capacity(rows * k));
    let csr = block.into_csr()?;
    for row in 0..rows {
        let mut pairs: Vec<(f64, u32)> = csr.row(row).map(|at| (csr.values.at(at), csr.indices[at])).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        indices.extend(pairs.iter().map(|(_, of)| i64::from(*of)));
        distances.extend(pairs.iter().map(|(distance, _)| *distance));
    }
    Block::Csr(csr).check()?;
    Ok((DenseBlock::new(rows, k, indices)?.into(), DenseBlock::new(rows, k, distances)?.into()))
}

impl Report for KnnReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let lines = fields(&[
            ("places", format!("{}, {rows} x {cols}", self.rep)),
            ("neighbours", format!("{} of each row, itself among them", self.neighbors)),
            ("metric", self.metric.into()),
        ]);
        let text = format!("{}\n\n{lines}\n{}", self.file, self.cost.text());
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}
