//! Zarr: chunked arrays in a tree of groups, in a folder or in a zip file; versions 2 and 3, read and written.
//!
//! ```text
//! store     a folder, or a zip file, as keys and objects that are read by position
//! meta      what .zarray and zarr.json say, checked, the same for both versions
//! grid      which chunks a run touches, and where their values go
//! chunk     from a stored object, or a part of a shard, to the values of a chunk
//! array     runs of numbers, texts, fields of records
//! tree      groups, arrays and attributes: what AnnData is read from
//! source    a plain array as a matrix
//! write     the same tree written; save  a matrix written in parallel
//! ```
//!
//! What is always true: nothing is allocated for a size that the metadata merely claim, beyond one chunk of at most 1 GiB;
//! every decoder stops at the declared size of a chunk; no path leads out of the store; a store that is being written has
//! another name until it is whole.
//!
//! Codecs that are read: blosc (LZ4, zstd, zlib, blosclz; bytes or bits shuffled), zstd, gzip, zlib, LZ4, shuffle, crc32c,
//! shards; written: gzip, zstd, blosc with LZ4, shards. The codecs are called without a library above them, as the ones
//! there are decode to the end of the stream, however long it is.

mod array;
mod chunk;
mod encode;
mod grid;
#[cfg(test)]
mod lies;
mod meta;
#[cfg(test)]
mod mutants;
mod new_folder;
mod records;
mod save;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod texts;
mod tree;
mod write;
#[cfg(test)]
mod write_tests;

use std::path::Path;
use std::sync::Arc;

use super::tree::{NodeKind, Tree};
use super::{Description, Opened, WriteOptions, anndata};
use crate::array::Array;
use crate::cells::AnnData;
use crate::error::Result;
use crate::runtime::Cluster;
pub use save::{SaveOptions, save_array};
pub use source::{ZarrSource, open_array};
pub use tree::Version;
use tree::ZarrTree;
use write::{StoreOptions, ZarrWriter};

/// What a store's root is.
enum Root {
    /// A plain array of numbers.
    Array(ZarrSource),
    /// A group, which may be annotated data.
    Group(Arc<ZarrTree>),
}

fn root(path: &Path) -> Result<Root> {
    let tree = Arc::new(ZarrTree::open(path)?);
    match tree.find("")? {
        Some(NodeKind::Array) => ZarrSource::open(tree, "").map(Root::Array),
        _ => Ok(Root::Group(tree)),
    }
}

/// Opens a store: an array as a matrix, a group as annotated data.
pub(super) fn open(path: &Path) -> Result<Opened> {
    match root(path)? {
        Root::Array(source) => Ok(Opened::Array(Array::from_source(Arc::new(source)))),
        Root::Group(tree) => anndata::open(checked(tree)?).map(Opened::AnnData),
    }
}

/// Opens the matrix at a place of a store.
pub(super) fn open_matrix(path: &str, place: &str) -> Result<Array> {
    let tree = Arc::new(ZarrTree::open(Path::new(path))?);
    let place = place.trim_matches('/');
    match tree.find(place)? {
        Some(NodeKind::Group) => anndata::open_matrix(tree, place),
        _ => Ok(Array::from_source(Arc::new(ZarrSource::open(tree, place)?))),
    }
}

/// Describes a store, reading only metadata.
pub(super) fn describe(path: &Path) -> Result<Description> {
    match root(path)? {
        Root::Array(source) => {
            let (chunks, bytes) = (source.chunks(), source.stored_bytes());
            Ok(Description::new("zarr", &source, chunks, bytes))
        }
        Root::Group(tree) => anndata::describe(checked(tree)?),
    }
}

/// Refuses a group without the names of rows and columns, which annotated data always have.
fn checked(tree: Arc<ZarrTree>) -> Result<Arc<ZarrTree>> {
    if tree.find("obs")?.is_some() && tree.find("var")?.is_some() {
        return Ok(tree);
    }
    Err(tree.unsupported("a group of arrays", "open one of its arrays, as the path of the store with /X at its end"))
}

/// Writes annotated data as a Zarr store of version 3: [`io::write`](super::write) whatever the path's ending.
///
/// # Errors
/// Those of [`io::write`](super::write).
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, io};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let folder = tempfile::tempdir()?;
/// let cells = io::h5ad::open("bench-data/pbmc68k_reduced.h5ad")?;
/// io::zarr::write(&cluster, &cells, folder.path().join("pbmc.zarr"), &io::WriteOptions::default())?;
/// assert_eq!(io::open(folder.path().join("pbmc.zarr"))?.x().shape(), (700, 765));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(cluster: &Cluster, cells: &AnnData, path: impl AsRef<Path>, options: &WriteOptions) -> Result<()> {
    let path = path.as_ref();
    anndata::write::write(cluster, cells, path, || ZarrWriter::create(path, StoreOptions::default()), options)
}
