//! AnnData's `.h5ad`: an HDF5 file of cells × genes, read in pure Rust.
//!
//! ```text
//! /X             a matrix: a data set (dense), or a group of indptr, indices, data (csr, csc)
//! /obs  /var     row names and columns, as groups (frame) or, before 0.7, as tables (table)
//! /layers/..     more matrices of the same shape      /raw/X   the matrix before genes were selected
//! ```
//! Opening reads headers, and for a sparse matrix its `indptr`. Blocks are read by any number of lanes at once, each
//! holding its block and what [`crate::array::Source::scratch_bytes`] says; names and columns are read when they are
//! asked for. Every call of the HDF5 library goes through `file`, which bounds and guards it.
//!
//! Read are the current layout and those of AnnData 0.7 and 0.8 (groups, `__categories`) and 0.5 and 0.6 (tables,
//! `h5sparse_format`); uncompressed, gzip, lzf, szip, with or without shuffle and checksums. A matrix stored by columns
//! (`csc_matrix`) is read too, slowly (`csc`). Zstd and blosc compression are refused with what to do instead.

mod compressed;
mod csc;
mod csr;
mod dense;
mod element;
mod file;
mod frame;
mod lzf;
mod strings;
mod table;
mod write;

use std::path::Path;
use std::sync::Arc;

use super::input::Input;
use super::{Description, WriteOptions};
use crate::array::{Array, Source};
use crate::cells::{AnnData, Frame};
use crate::error::{Error, Result};
use crate::runtime::Cluster;
use compressed::Compressed;
use csc::CscSource;
use csr::CsrSource;
use dense::DenseSource;
use file::{File, Node};
use write::Hdf5Writer;

/// Opens an `.h5ad` file: `X`, `obs` and `var`.
///
/// # Errors
/// `Io` when the file cannot be read; `BadInput`, with the object and what was found, when it is not what the format
/// promises; `Unsupported` for what the format allows and this version does not read.
///
/// # Examples
///
/// ```
/// use allotment::io::h5ad;
/// let cells = h5ad::open("bench-data/pbmc68k_reduced.h5ad")?;
/// assert_eq!((cells.n_obs(), cells.n_vars()), (700, 765));
/// assert_eq!(cells.obs.column("bulk_labels")?.text(0).as_deref(), Some("CD14+ Monocyte"));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<AnnData> {
    let file = File::open(&Input::open(path.as_ref())?)?;
    let x = matrix(&file, "X")?.source;
    let (obs, var) = (frame(&file, "obs")?, frame(&file, "var")?);
    AnnData::new(Array::from_source(x), obs, var).map_err(|error| match error {
        Error::ShapeMismatch { left, right, .. } => {
            file.input().bad("X", format!("shape {right:?}, the lengths of obs and var"), format!("{left:?}"))
        }
        other => other,
    })
}

/// Opens one matrix of an `.h5ad` file by its path in it, such as `X`, `layers/counts` or `raw/X`.
///
/// # Errors
/// As [`open`].
pub fn open_matrix(path: impl AsRef<Path>, place: &str) -> Result<Array> {
    let file = File::open(&Input::open(path.as_ref())?)?;
    matrix(&file, place.trim_matches('/')).map(|matrix| Array::from_source(matrix.source))
}

/// Writes annotated data as an `.h5ad` file: [`io::write`](super::write) whatever the path's ending.
///
/// # Errors
/// Those of [`io::write`](super::write); `Unsupported` for a compression that not every reader of HDF5 knows, and for a frame of
/// more than 4000 columns, whose names HDF5 has no room for.
///
/// # Examples
///
/// ```
/// use allotment::array::Array;
/// use allotment::cells::{AnnData, Column, Frame, Value};
/// use allotment::{Cluster, io};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let obs = Frame::in_memory(vec!["a".into(), "b".into()], vec![("age".into(), Column::from(vec![31i32, 58]))])?;
/// let var = Frame::in_memory(vec!["CD3E".into()], Vec::new())?;
/// let mut data = AnnData::new(Array::from_rows(&[[1.5f32], [0.0]])?, obs, var)?;
/// data.uns.insert("pca".into(), Value::group([("variance_ratio", Value::vector(vec![0.7, 0.2]))]));
/// let path = tempfile::tempdir()?.keep().join("two.h5ad");
/// io::h5ad::write(&cluster, &data, &path, &io::WriteOptions::default())?;
/// assert_eq!(io::h5ad::open(&path)?.obs.column("age")?.text(1).as_deref(), Some("58"));
/// # std::fs::remove_dir_all(path.parent().expect("a folder"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(cluster: &Cluster, cells: &AnnData, path: impl AsRef<Path>, options: &WriteOptions) -> Result<()> {
    let path = path.as_ref();
    super::anndata::write::write(cluster, cells, path, || Hdf5Writer::create(path), options)
}

/// Describes an `.h5ad` file, reading only headers.
pub(super) fn describe(path: &Path) -> Result<Description> {
    let cells = open(path)?;
    let file = File::open(&Input::open(path)?)?;
    let x = matrix(&file, "X")?;
    let layers = match file.find("layers")? {
        Some(Node::Group(_)) => {
            let (groups, datasets) = file.members("layers")?;
            groups.into_iter().chain(datasets).collect()
        }
        _ => Vec::new(),
    };
    let described = Description::new("h5ad", &*x.source, x.chunks, file.input().len());
    let (obs_columns, var_columns) = (cells.obs.columns().to_vec(), cells.var.columns().to_vec());
    Ok(Description { obs_columns, var_columns, layers, ..described })
}

/// A matrix of the file.
struct Matrix {
    source: Arc<dyn Source>,
    /// How its values are chunked in the file.
    chunks: Option<Vec<u64>>,
}

/// Opens the matrix at `place`.
fn matrix(file: &File, place: &str) -> Result<Matrix> {
    let wide = |dims: Vec<u32>| dims.into_iter().map(u64::from).collect();
    let group = match file.find(place)? {
        Some(Node::Dataset(dataset)) => {
            let chunks = dataset.chunks().map(wide);
            return Ok(Matrix { source: Arc::new(DenseSource::open(file, place, *dataset)?), chunks });
        }
        Some(group) => group,
        None => return Err(missing(file, place)),
    };
    let text = |name| file.text_attribute(&group, place, name);
    let encoding = match text("encoding-type")? {
        Some(encoding) => encoding,
        // Before AnnData 0.7.
        None => text("h5sparse_format")?.unwrap_or_default(),
    };
    match encoding.as_str() {
        "csr_matrix" | "csr" => {
            let (rows, cols) = sparse_shape(file, &group, place)?;
            let matrix = Compressed::open(file, place, rows, cols)?;
            let chunks = matrix.chunks().map(wide);
            Ok(Matrix { source: Arc::new(CsrSource(matrix)), chunks })
        }
        "csc_matrix" | "csc" => {
            let (rows, cols) = sparse_shape(file, &group, place)?;
            let matrix = Compressed::open(file, place, cols, rows)?;
            if cols > u64::from(u32::MAX) {
                return Err(file.input().unsupported(format!("{place}: {cols} columns"), "split it by columns"));
            }
            let chunks = matrix.chunks().map(wide);
            Ok(Matrix { source: Arc::new(CscSource::new(matrix)), chunks })
        }
        other => Err(file.input().bad(place, "a dense matrix or a csr_matrix", format!("encoding-type {other:?}"))),
    }
}

fn missing(file: &File, place: &str) -> Error {
    let is_tenx = file.find("matrix/barcodes").is_ok_and(|found| found.is_some());
    if is_tenx {
        let instead = "convert it in Python: scanpy.read_10x_h5(..).write_h5ad(..)";
        return file.input().unsupported("a 10x Genomics .h5 file", instead);
    }
    file.input().bad(place, "a matrix", "nothing of that name")
}

/// Reads the shape of a sparse matrix, which only an attribute states.
fn sparse_shape(file: &File, group: &Node, place: &str) -> Result<(u64, u64)> {
    let name = match file.attribute(group, place, "shape")? {
        Some(_) => "shape",
        None => "h5sparse_shape",
    };
    let attribute = file.attribute(group, place, name)?;
    let shape = attribute.as_ref().map(element::attribute_integers).unwrap_or_default();
    match shape[..] {
        [rows, cols] if rows >= 0 && cols >= 0 => Ok((rows as u64, cols as u64)),
        _ => {
            let expected = "two lengths that are not negative";
            Err(file.input().bad(format!("attribute '{name}' of {place}"), expected, format!("{shape:?}")))
        }
    }
}

fn frame(file: &File, place: &str) -> Result<Frame> {
    match file.find(place)? {
        Some(Node::Dataset(dataset)) => table::open(file, place, &dataset),
        Some(group) => frame::open(file, place, group),
        None => Err(file.input().bad(place, "the names and columns of the matrix", "nothing of that name")),
    }
}

#[cfg(test)]
mod mutants;
#[cfg(test)]
mod tests;
