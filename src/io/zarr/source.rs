//! A plain array of numbers as a matrix: of two dimensions, or of one for a single column.
//!
//! Chunks may be cut along the columns, too; a run of rows then gathers from several side by side.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::super::input::check_rows;
use super::super::tree::{Elements, Tree, TreeArray};
use super::array::ZarrArray;
use super::tree::ZarrTree;
use crate::array::{Block, BlockKind, DType, DenseBlock, Source, SourceAddress};
use crate::error::Result;
use crate::runtime::TaskContext;

/// An array of a Zarr store that is read by runs of rows.
#[derive(Clone, Debug)]
pub struct ZarrSource {
    tree: Arc<ZarrTree>,
    array: Arc<ZarrArray>,
    shape: (u64, u64),
    dtype: DType,
}

impl ZarrSource {
    /// Opens the array at a place of a store.
    pub(super) fn open(tree: Arc<ZarrTree>, place: &str) -> Result<Self> {
        let array = tree.open_array(place)?;
        let Elements::Numbers(dtype) = *array.elements() else {
            return Err(tree.bad(place, "an array of numbers", &format!("{:?}", array.elements())));
        };
        let shape = match *array.shape() {
            [rows] => (rows, 1),
            [rows, cols] => (rows, cols),
            ref other => return Err(tree.bad(place, "a matrix of one or two dimensions", &format!("shape {other:?}"))),
        };
        Ok(ZarrSource { tree, array: Arc::new(array), shape, dtype })
    }

    /// Returns the shape of a storage chunk.
    pub(super) fn chunks(&self) -> Option<Vec<u64>> {
        self.array.chunks()
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.tree.stored_bytes()
    }

    fn count(&self, rows: &Range<u64>) -> Result<u64> {
        check_rows(rows, self.shape.0)?;
        Ok((rows.end - rows.start) * self.shape.1)
    }
}

impl Source for ZarrSource {
    fn shape(&self) -> (u64, u64) {
        self.shape
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Dense
    }

    fn nnz(&self) -> u64 {
        self.shape.0 * self.shape.1
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        self.count(&rows)
    }

    fn storage_rows(&self) -> u64 {
        let rows = self.array.chunks().and_then(|chunk| chunk.first().copied()).unwrap_or(1);
        rows.clamp(1, self.shape.0.max(1))
    }

    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        self.count(&rows)?;
        Ok(self.array.scratch_bytes())
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        self.count(&rows)?;
        context.check()?;
        let values = self.array.numbers(rows.clone(), self.dtype)?;
        self.tree.check_unchanged()?;
        DenseBlock::new((rows.end - rows.start) as usize, self.shape.1 as usize, values).map(Block::Dense)
    }

    fn address(&self) -> Option<SourceAddress> {
        let path = std::path::absolute(self.tree.path()).ok()?.to_str()?.to_string();
        Some(SourceAddress { format: "zarr".into(), path, item: self.array.place().into() })
    }

    fn name(&self) -> String {
        let path = self.tree.path().display();
        match self.array.place() {
            "" => path.to_string(),
            place => format!("{path}: {place}"),
        }
    }
}

/// Opens an array of numbers as a matrix; a vector is one column.
///
/// `path` is the folder of the array itself, or a zip file of it, or the path of an array below one: `x.zarr`, `x.zarr.zip`,
/// `cells.zarr/X`, `cells.zarr.zip/layers/counts`.
///
/// # Errors
/// `Io` when it cannot be read; `BadInput` when there is no such array, it is malformed, or it has no numbers or more than
/// two dimensions; `Unsupported` for codecs and chunk grids that this version does not read.
///
/// # Examples
///
/// ```
/// use allotment::array::{Source, random};
/// use allotment::io::zarr::{self, SaveOptions};
/// use allotment::Cluster;
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("x.zarr");
/// zarr::save_array(&cluster, &random::uniform(1000, 4, 7, None), &path, &SaveOptions::default())?;
/// assert_eq!(zarr::open_array(&path)?.shape(), (1000, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_array(path: impl AsRef<Path>) -> Result<ZarrSource> {
    let path = path.as_ref();
    // Below a zip file there are no folders: the rest of the path is a place in it.
    let zip = path.ancestors().skip(1).find(|above| above.is_file());
    let (file, place) = match zip {
        Some(zip) => (zip, path.strip_prefix(zip).unwrap_or(Path::new("")).to_string_lossy().into_owned()),
        None => (path, String::new()),
    };
    ZarrSource::open(Arc::new(ZarrTree::open(file)?), &place)
}
