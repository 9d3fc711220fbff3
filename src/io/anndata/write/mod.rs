//! Writing annotated data: all of its parts, in the encodings of AnnData 0.8 and later, over any container.
//!
//! ```text
//! /                anndata 0.1.0
//! X  layers/..     array 0.2.0 or csr_matrix 0.1.0 (matrix)       obs  var      dataframe 0.2.0 (frame)
//! obsm  varm  obsp  varp                                           uns           dict 0.1.0, nested (value)
//! raw              raw 0.1.0: X, var, varm
//! ```
//! Matrices are computed and written block by block, on the lanes ([`feed`]); names and columns pass through one after
//! another. Nothing is under the file's name before all is there, and what fails leaves nothing behind.

mod feed;
mod frame;
mod matrix;
mod value;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::array::BlockKind;
use crate::cells::{AnnData, Table};
use crate::error::{Error, Result};
use crate::io::tree::{Attribute, Attributes, Compression, TreeWriter};
use crate::runtime::{Cluster, Progress};

/// How annotated data are written.
#[derive(Clone)]
pub struct WriteOptions {
    /// How matrices are compressed.
    pub compression: Compression,
    /// The rows to a chunk of a dense matrix; about 1 MiB when it is not set.
    pub chunk_rows: Option<u64>,
    /// The stored values to a chunk of a CSR matrix.
    pub chunk_values: u64,
    /// Whether `X`, the layers and the raw matrix become dense or CSR; as they are when it is not set.
    pub kind: Option<BlockKind>,
    /// Whether a file of that name may be replaced.
    pub overwrite: bool,
    /// Whether values of `uns` that are not understood are left out, rather than refused.
    pub skip_unknown: bool,
    /// Told of the blocks of each matrix.
    pub progress: Option<Progress>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions {
            compression: Compression::Gzip(4),
            chunk_rows: None,
            chunk_values: 1 << 16,
            kind: None,
            overwrite: false,
            skip_unknown: false,
            progress: None,
        }
    }
}

impl std::fmt::Debug for WriteOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let WriteOptions { compression, chunk_rows, chunk_values, kind, overwrite, .. } = self;
        write!(f, "WriteOptions({compression:?}, {chunk_rows:?}, {chunk_values}, {kind:?}, overwrite: {overwrite})")
    }
}

/// One attempt to write.
struct Job<'a> {
    cluster: &'a Cluster,
    writer: &'a dyn TreeWriter,
    options: &'a WriteOptions,
    /// Whether the headers' numbers of stored values are taken for true.
    believing: bool,
    /// Set when they were not.
    miscounted: Arc<AtomicBool>,
}

/// Writes annotated data to a container that `create` begins under this path.
///
/// # Errors
/// `BadInput` when the file exists and may not be replaced, or is one that the data are read from; `ShapeMismatch` when a
/// part does not fit; `TooBig` before work on a matrix no block of which fits a worker; whatever the blocks and the container fail with.
pub(crate) fn write<W: TreeWriter + 'static>(
    cluster: &Cluster,
    cells: &AnnData,
    path: &Path,
    create: impl Fn() -> Result<W>,
    options: &WriteOptions,
) -> Result<()> {
    cells.check()?;
    check_target(cells, path, options)?;
    match attempt(cluster, cells, Box::new(create()?), options, true) {
        Err((_, true)) => attempt(cluster, cells, Box::new(create()?), options, false),
        other => other,
    }
    .map_err(|(error, _)| error)
}

/// Writes once; a failure says whether it was that rows stored another number of values than the headers said.
fn attempt(
    cluster: &Cluster,
    cells: &AnnData,
    writer: Box<dyn TreeWriter>,
    options: &WriteOptions,
    believing: bool,
) -> Result<(), (Error, bool)> {
    let miscounted = Arc::new(AtomicBool::new(false));
    let job = Job { cluster, writer: &*writer, options, believing, miscounted: miscounted.clone() };
    let failed = |error| (error, believing && miscounted.load(Ordering::Relaxed));
    job.all(cells).map_err(failed)?;
    writer.finish().map_err(|error| (error, false))
}

/// Refuses a name that is taken.
fn check_target(cells: &AnnData, path: &Path, options: &WriteOptions) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let refused = |expected: &str, found: &str| Err(Error::bad_input(path, "the path", expected, found));
    if !options.overwrite {
        return refused("a name that is not taken, or leave to overwrite", "a file of that name");
    }
    let same = |other: &str| place_of(path).is_some_and(|place| place_of(Path::new(other)) == Some(place));
    let raw = cells.raw.iter().map(|raw| &raw.x);
    let tables = cells.obsm.values().chain(cells.varm.values()).filter_map(Table::array);
    let others = cells.layers.values().chain(cells.obsp.values()).chain(cells.varp.values());
    let mut arrays = std::iter::once(&cells.x).chain(others).chain(raw).chain(tables);
    if arrays.any(|array| array.addresses().iter().any(|address| same(&address.path))) {
        return refused("another name", "the file that the data are read from");
    }
    Ok(())
}

/// Returns what tells a file from all others: its device and its number there.
fn place_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Returns the attributes that say how a node is encoded.
fn encoding(name: &str, version: &str) -> Attributes {
    let pair = [("encoding-type", name), ("encoding-version", version)];
    pair.into_iter().map(|(key, value)| (key.to_string(), Attribute::Text(value.to_string()))).collect()
}

impl Job<'_> {
    fn all(&self, cells: &AnnData) -> Result<()> {
        self.writer.group("", encoding("anndata", "0.1.0"))?;
        self.frame("obs", &cells.obs)?;
        self.frame("var", &cells.var)?;
        self.matrix("X", &cells.x)?;
        self.arrays("layers", &cells.layers, |place, array| self.matrix(place, array))?;
        self.arrays("obsp", &cells.obsp, |place, array| self.matrix_as_is(place, array))?;
        self.arrays("varp", &cells.varp, |place, array| self.matrix_as_is(place, array))?;
        self.arrays("obsm", &cells.obsm, |place, table| self.table(place, table))?;
        self.arrays("varm", &cells.varm, |place, table| self.table(place, table))?;
        self.arrays("uns", &cells.uns, |place, value| self.value(place, value))?;
        let Some(raw) = &cells.raw else { return Ok(()) };
        self.writer.group("raw", encoding("raw", "0.1.0"))?;
        self.matrix("raw/X", &raw.x)?;
        self.frame("raw/var", &raw.var)?;
        self.arrays("raw/varm", &raw.varm, |place, table| self.table(place, table))
    }

    /// Writes a group of named parts.
    fn arrays<T>(&self, path: &str, parts: &BTreeMap<String, T>, write: impl Fn(&str, &T) -> Result<()>) -> Result<()> {
        self.writer.group(path, encoding("dict", "0.1.0"))?;
        parts.iter().try_for_each(|(name, part)| write(&self.member(path, name)?, part))
    }

    fn table(&self, path: &str, table: &Table) -> Result<()> {
        match table {
            Table::Array(array) => self.matrix_as_is(path, array),
            Table::Frame(frame) => self.frame(path, frame),
        }
    }

    /// Returns the path of a member of a group.
    ///
    /// # Errors
    /// `BadArgument` for a name that no container can hold: an empty one, `.`, `..`, or one with `/` or NUL in it.
    fn member(&self, group: &str, name: &str) -> Result<String> {
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            let expected = "a name that is not empty and without '/': rename it";
            return Err(Error::bad_argument("write annotated data", "name", format!("{name:?} in {group}"), expected));
        }
        Ok(format!("{group}/{name}"))
    }
}
