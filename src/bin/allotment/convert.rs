//! `allotment convert`: the same data in another format, block by block, whatever their size.

use std::path::PathBuf;
use std::sync::Arc;

use allotment::ByteSize;
use allotment::array::{BlockKind, DType};
use clap::Args;
use serde::Serialize;

use crate::args::{Shared, at_least_one};
use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::output::{self, Report, fields};
use crate::plot::with_commas;
use crate::session::{Cost, Session};
use crate::target::{Target, WriteArgs};

/// Writes a file in another format: annotated data with all that belongs to them, or a matrix.
#[derive(Args, Debug)]
#[command(
    after_help = "A matrix without names, as of .npy or .mtx, becomes an array in .zarr where it is dense, and else annotated data\nwhose rows and columns are named by their numbers. In .npy there is room for the matrix alone.\n\nExample:\n  allotment convert bench-data/neurons10k_csr_u16.h5ad neurons.zarr --compression zstd=3"
)]
pub(crate) struct ConvertArgs {
    /// A .h5ad, .h5, .zarr, .zarr.zip, .mtx or .npy file, or a folder of Cell Ranger
    pub(crate) file: PathBuf,
    /// A name that ends in .h5ad, .zarr or .npy
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    /// Rows of a chunk of a dense matrix [default: about 1 MiB]
    #[arg(long, value_name = "ROWS", value_parser = at_least_one)]
    pub(crate) chunk_rows: Option<usize>,
    /// Write the matrix, layers and raw as dense ones
    #[arg(long, conflicts_with = "csr")]
    pub(crate) dense: bool,
    /// Write the matrix, layers and raw as sparse ones, by rows
    #[arg(long)]
    pub(crate) csr: bool,
    /// Convert the values of the matrix, as to float32; layers stay as they are
    #[arg(long, value_name = "DTYPE")]
    pub(crate) dtype: Option<DType>,
    /// Take this layer for the matrix
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
}

#[derive(Serialize)]
struct ConvertReport {
    file: String,
    shape: [u64; 2],
    dtype: &'static str,
    content: &'static str,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
}

/// Converts the file.
pub(crate) fn run(args: &ConvertArgs, shared: &Shared, interrupt: &Arc<Interrupt>) -> Outcome<()> {
    let mut target = Target::check(&args.out, &args.file, &args.write)?;
    target.chunk_rows = args.chunk_rows.map(|rows| rows as u64);
    target.kind = match (args.dense, args.csr) {
        (true, _) => Some(BlockKind::Dense),
        (_, true) => Some(BlockKind::Csr),
        _ => None,
    };
    if target.is_npy() && (args.csr || args.chunk_rows.is_some()) {
        let what = ".npy files are dense and have no chunks; leave --csr and --chunk-rows";
        return Err(Failure::Usage(format!("{}: {what}", args.out.display())));
    }
    let mut input = Input::open(&args.file)?;
    if let Some(layer) = &args.layer {
        input.take_layer(layer).map_err(|failure| failure.about(&args.file))?;
    }
    if let Some(dtype) = args.dtype {
        input.x = input.x.astype(dtype);
    }
    let session = Session::start(shared, interrupt, &args.file)?;
    if target.is_npy() && input.anndata.is_some() {
        session.reporter.note("a .npy file holds the matrix alone: names and all else are left out");
    }
    target.fitting(&mut input, &session)?;
    let content = target.write(&input, &session)?;
    let (rows, cols) = input.x.shape();
    let report = ConvertReport {
        file: args.file.display().to_string(),
        shape: [rows, cols],
        dtype: input.x.dtype().name(),
        content,
        read_bytes: size_of(&args.file),
        written_bytes: size_of(&args.out),
        cost: session.cost(),
        written: vec![args.out.display().to_string()],
    };
    output::print(&report, shared.json)
}

/// Returns the bytes of a file, or of all files of a folder, where they can be told.
pub(crate) fn size_of(path: &std::path::Path) -> Option<u64> {
    let meta = std::fs::metadata(path).ok()?;
    if !meta.is_dir() {
        return Some(meta.len());
    }
    let entries = std::fs::read_dir(path).ok()?;
    entries.map(|entry| entry.ok().and_then(|entry| size_of(&entry.path()))).sum()
}

impl Report for ConvertReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let size = |bytes: Option<u64>| bytes.map_or("unknown".into(), |bytes| ByteSize(bytes).to_string());
        let lines = fields(&[
            ("content", self.content.into()),
            ("dtype", self.dtype.into()),
            ("read from", size(self.read_bytes)),
            ("written", size(self.written_bytes)),
        ]);
        let text = format!("{}: {rows} x {cols}\n\n{lines}\n{}", self.file, self.cost.text());
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}
