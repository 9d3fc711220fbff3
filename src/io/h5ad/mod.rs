//! HDF5 files, in Rust but for the decoder of zstd: AnnData's `.h5ad`, and Cell Ranger's `.h5`.
//!
//! This folder is the container: a tree of groups and data sets. What lies in it is read by `io::anndata`, or by `io::tenx`
//! where Cell Ranger wrote it. Every call of the HDF5 library goes through `file`, which bounds and guards it; a data set is
//! an `array`, of numbers (`element`), `strings` or `records`.
//!
//! Read are data uncompressed or compressed with gzip, lzf, szip, lz4 or zstd, with or without shuffle and checksums.
//! Blosc is refused with what to do instead.

mod array;
mod attributes;
mod element;
mod file;
mod lzf;
mod records;
mod strings;
mod write;

use std::path::Path;
use std::sync::Arc;

use super::input::Input;
use super::tree::Tree;
use super::{Description, WriteOptions, anndata, tenx};
use crate::array::Array;
use crate::cells::AnnData;
use crate::error::Result;
use crate::runtime::Cluster;
use file::File;
use write::Hdf5Writer;

/// Opens an `.h5ad` file, or the counts of Cell Ranger's `.h5`: all parts of the annotated data.
///
/// Opening reads headers, the offsets of sparse matrices, and `uns`. What is wrong with a layer, or with another part beside
/// X, obs, var and raw, is told when that part is read.
///
/// # Errors
/// `Io` when the file cannot be read; `BadInput`, with the object and what was found, when it is not what the format
/// promises; `Unsupported` for what the format allows and this version does not read, and for a file without X.
///
/// # Examples
///
/// ```
/// use allotment::io::h5ad;
/// let cells = h5ad::open("bench-data/pbmc68k_reduced.h5ad")?;
/// assert_eq!((cells.n_obs(), cells.n_vars()), (700, 765));
/// assert_eq!(cells.obs.column("bulk_labels")?.text(0).as_deref(), Some("CD14+ Monocyte"));
/// assert_eq!(cells.obsm["X_pca"].array().map(|scores| scores.shape()), Some((700, 50)));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<AnnData> {
    let tree = tree(path.as_ref())?;
    match &tenx::h5::groups(&*tree)?[..] {
        [] => anndata::open(tree),
        groups => tenx::h5::open(&tree, groups),
    }
}

/// Opens one matrix of the file by its path in it, such as `X`, `layers/counts` or `raw/X`; in Cell Ranger's files by the
/// name of the genome, or `matrix`.
///
/// # Errors
/// As [`open`].
pub fn open_matrix(path: impl AsRef<Path>, place: &str) -> Result<Array> {
    let tree = tree(path.as_ref())?;
    let place = place.trim_matches('/');
    match tenx::h5::groups(&*tree)?.iter().any(|group| group == place) {
        true => tenx::h5::open_matrix(&tree, place),
        false => anndata::open_matrix(tree, place),
    }
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

/// Describes the file, reading only headers.
pub(super) fn describe(path: &Path) -> Result<Description> {
    let tree = tree(path)?;
    match &tenx::h5::groups(&*tree)?[..] {
        [] => anndata::describe(tree),
        groups => tenx::h5::describe(&tree, groups),
    }
}

fn tree(path: &Path) -> Result<Arc<dyn Tree>> {
    Ok(Arc::new(File::open(&Input::open(path)?)?))
}

#[cfg(test)]
mod encodings;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
