//! A dense matrix of an `.h5ad` file: one data set of two dimensions, or of one for a single column.

use std::ops::Range;

use hdf5_reader::Dataset;

use super::element::read_values;
use super::file::{File, scratch_bytes};
use crate::array::{Block, BlockKind, DType, DenseBlock, Source, SourceAddress};
use crate::error::{Error, Result};
use crate::runtime::TaskContext;

/// A dense matrix that is read by runs of rows.
pub(super) struct DenseSource {
    file: File,
    place: String,
    shape: (u64, u64),
    dtype: DType,
    dataset: Dataset,
}

impl std::fmt::Debug for DenseSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DenseSource").field("file", &self.file).field("place", &self.place).finish_non_exhaustive()
    }
}

impl DenseSource {
    /// Opens the data set at `place` and compares its shape with what the file can hold.
    pub(super) fn open(file: &File, place: &str, dataset: Dataset) -> Result<Self> {
        let dtype = file.dtype(&dataset, place)?;
        let shape = match *dataset.shape() {
            [rows] => (rows, 1),
            [rows, cols] => (rows, cols),
            _ => {
                let found = format!("shape {:?}", dataset.shape());
                return Err(file.input().bad(place, "a matrix of two dimensions", found));
            }
        };
        let claimed = shape.0.checked_mul(shape.1).and_then(|n| n.checked_mul(dtype.size_of() as u64));
        let most = file.most_bytes();
        // The second condition bounds shapes such as (0, 2^63), which pass the product.
        if claimed.is_none_or(|bytes| bytes > most) || shape.0.max(shape.1) > most {
            let expected = format!("at most {most} bytes, which is what {} bytes of file can hold", file.input().len());
            return Err(file.input().bad(place, expected, format!("shape {shape:?}")));
        }
        Ok(DenseSource { file: file.clone(), place: place.into(), shape, dtype, dataset })
    }

    fn count(&self, rows: &Range<u64>) -> Result<u64> {
        if rows.start <= rows.end && rows.end <= self.shape.0 {
            return Ok((rows.end - rows.start) * self.shape.1);
        }
        Err(Error::OutOfRange { operation: "read rows", index: rows.end.max(rows.start), len: self.shape.0 })
    }
}

impl Source for DenseSource {
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
        let chunk = self.dataset.chunks().and_then(|dims| dims.first().copied()).map_or(1, u64::from);
        chunk.clamp(1, self.shape.0.max(1))
    }

    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        self.count(&rows)?;
        Ok(scratch_bytes(&self.dataset, self.dtype))
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        self.count(&rows)?;
        context.check()?;
        let values = read_values(&self.file, &self.dataset, &self.place, self.dtype, rows.clone())?;
        self.file.input().check_unchanged()?;
        DenseBlock::new((rows.end - rows.start) as usize, self.shape.1 as usize, values).map(Block::Dense)
    }

    fn address(&self) -> Option<SourceAddress> {
        self.file.input().address("h5ad", &self.place)
    }

    fn name(&self) -> String {
        format!("{}: {}", self.file.input().path().display(), self.place)
    }
}
