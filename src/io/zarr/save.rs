//! A matrix written as a plain array, its chunks computed, encoded and stored by the lanes that computed them.

use std::path::Path;
use std::sync::Arc;

use super::super::Compression;
use super::super::tree::{ArrayWriter, Attributes, NewArray, TreeWriter};
use super::tree::Version;
use super::write::{StoreOptions, ZarrWriter};
use crate::array::{Array, Block, BlockInfo, BlockKind, Working};
use crate::error::Result;
use crate::runtime::{Cluster, Progress, TaskContext};

/// How an array is saved.
///
/// # Examples
///
/// ```
/// use allotment::io::Compression;
/// use allotment::io::zarr::{SaveOptions, Version};
/// let options = SaveOptions { version: Version::V2, compression: Compression::BloscLz4, ..Default::default() };
/// assert_eq!(options.chunk_rows, None);
/// ```
#[derive(Clone)]
pub struct SaveOptions {
    /// The version of the format.
    pub version: Version,
    /// How chunks are compressed.
    pub compression: Compression,
    /// The rows of a chunk, or of a shard where there are shards; `None` takes those of the computation's blocks, so
    /// that each task writes one file.
    pub chunk_rows: Option<u64>,
    /// The most bytes of a chunk within a shard, before compression; `None` writes chunks without shards. A file is then
    /// still written whole, but read in smaller pieces. Of version 3 only.
    pub shard_chunk_bytes: Option<u64>,
    /// Is told the number of chunks that are done and of all.
    pub progress: Option<Progress>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        let (version, compression) = (Version::V3, Compression::Zstd(3));
        SaveOptions { version, compression, chunk_rows: None, shard_chunk_bytes: None, progress: None }
    }
}

impl std::fmt::Debug for SaveOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all = f.debug_struct("SaveOptions");
        all.field("version", &self.version).field("compression", &self.compression);
        all.field("chunk_rows", &self.chunk_rows).field("shard_chunk_bytes", &self.shard_chunk_bytes);
        all.finish_non_exhaustive()
    }
}

/// Computes an array and stores it as a folder at `path`, as its dtype, of shape rows × columns, in chunks of whole rows; CSR
/// arrays are filled up with zeros. Chunks are compressed and written in parallel. The store appears whole or not at all; a
/// Zarr store or an empty folder of that name is replaced, anything else refused.
///
/// # Errors
/// `TooBig` before any work when a chunk does not fit a worker; `BadInput` when there is something else at the path;
/// `BadArgument` for chunks above 1 GiB; those of the blocks; `Io`, as for a full disk.
///
/// # Examples
///
/// ```
/// use allotment::array::random;
/// use allotment::io::zarr::{SaveOptions, save_array};
/// use allotment::{Cluster, io};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("squares.zarr");
/// let array = random::uniform(1000, 4, 7, None).square();
/// save_array(&cluster, &array, &path, &SaveOptions { chunk_rows: Some(300), ..Default::default() })?;
/// assert_eq!(io::describe(&path)?.chunks, Some(vec![300, 4]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn save_array(cluster: &Cluster, array: &Array, path: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
    let store = StoreOptions { version: options.version, inner_bytes: options.shard_chunk_bytes };
    let writer = ZarrWriter::create(path.as_ref(), store)?;
    let array = match options.chunk_rows {
        Some(rows) => array.clone().with_block_rows(rows.max(1)),
        None => array.clone().whole_rows(),
    };
    // Twice the bytes of a row: what is encoded, and a CSR block's rows filled up.
    let row_bytes = array.cols().saturating_mul(array.dtype().size_of() as u64);
    let guess = Working { per_row: row_bytes.saturating_mul(8), fixed: 16 << 20, kept: 0 };
    let plan = array.plan_for(cluster, "save zarr", guess)?;
    let new = NewArray {
        path: "",
        shape: vec![array.rows(), array.cols()],
        dtype: array.dtype(),
        chunk_rows: plan.block_rows.max(1),
        compression: options.compression,
        attributes: Attributes::new(),
    };
    let chunks = writer.new_array(&new)?;
    let array = array.with_block_rows(new.chunk_rows);
    let filled = if array.kind() == BlockKind::Csr { row_bytes } else { 0 };
    let working = Working { per_row: filled, fixed: chunks.scratch_bytes(), kept: 0 };
    if array.rows() > 0 && array.cols() > 0 {
        let chunks = Arc::clone(&chunks);
        let store = move |block: Block, info: BlockInfo, _: &TaskContext| {
            let encoded = match &block {
                Block::Dense(dense) => chunks.encode(&dense.values)?,
                Block::Csr(csr) => chunks.encode(&csr.to_dense().values)?,
            };
            // What was read of a damaged chunk must not get a name.
            block.check()?;
            chunks.put(info.index as u64, encoded)
        };
        array.map_block_results(cluster, "save zarr", working, store, options.progress.clone())?;
    }
    Box::new(writer).finish()
}
