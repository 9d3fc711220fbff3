//! MatrixMarket's `.mtx`, compressed by gzip or not: a matrix as text.
//!
//! Sparse (`coordinate`) and dense (`array`) matrices of reals, integers and patterns, general, symmetric and
//! skew-symmetric; complex ones are refused. Entries may come in any order, and those at one place are added, as SciPy
//! does. Integers that all fit 32 bits are `int32`, others `int64`; reals and patterns are `float64` (a pattern's entries
//! are 1), as `scipy.io.mmread` gives them.
//!
//! Text cannot be read by rows, so opening a file parses it, which checks every line, into a nameless file on the disk
//! where chunks go (`stage`); blocks are read from there. The format: Boisvert, Pozo, Remington, *The Matrix Market
//! Exchange Formats*, NISTIR 5935 (1996).

mod header;
mod lines;
mod stage;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::csr_parts::CsrParts;
use super::input::{Input, check_rows};
use crate::array::{Block, BlockKind, Buffer, DType, DenseBlock, Source, SourceAddress, Values};
use crate::error::{Error, Result};
use crate::runtime::TaskContext;
pub(super) use lines::{Lines, shown};
use stage::{Kind, Staged};

/// Opens a MatrixMarket file.
///
/// # Errors
/// `Io` when it cannot be read; `BadInput`, with the line, when it is malformed; `Unsupported` when it is complex;
/// `SpoolDir` and `SpoolFull` when there is no place for its entries on disk.
///
/// # Examples
///
/// ```
/// use allotment::array::Source;
/// use allotment::io::mtx;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("a.mtx");
/// std::fs::write(&path, "%%MatrixMarket matrix coordinate integer general\n2 3 2\n1 3 5\n2 1 7\n")?;
/// let a = mtx::open(&path)?;
/// assert_eq!((a.shape(), a.nnz(), a.dtype().name()), ((2, 3), 2, "int32"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<MtxSource> {
    MtxSource::open(path.as_ref(), false)
}

/// Opens a MatrixMarket file with rows and columns exchanged: cells as rows of a file whose columns are cells.
///
/// # Errors
/// As [`open`].
pub fn open_transposed(path: impl AsRef<Path>) -> Result<MtxSource> {
    MtxSource::open(path.as_ref(), true)
}

/// A MatrixMarket file, staged: read by runs of rows.
#[derive(Debug)]
pub struct MtxSource {
    input: Input,
    staged: Staged,
    transposed: bool,
}

impl MtxSource {
    fn open(path: &Path, transposed: bool) -> Result<Self> {
        let input = Input::open(path)?;
        let staged = stage::stage(&input, transposed)?;
        Ok(MtxSource { input, staged, transposed })
    }

    fn entries(&self, rows: &Range<u64>) -> Option<Range<u64>> {
        let indptr = self.staged.indptr.as_ref()?;
        Some(indptr[rows.start as usize]..indptr[rows.end as usize])
    }

    fn read<T: bytemuck::Pod>(&self, n: usize, at: u64) -> Result<Vec<T>> {
        let mut values = vec![T::zeroed(); n];
        let bytes = bytemuck::cast_slice_mut(&mut values);
        let read = self.staged.file.read_exact_at(bytes, at);
        read.map_err(|source| Error::io("read", "a scratch file beside the chunks", source))?;
        Ok(values)
    }

    fn values(&self, n: usize, at: u64) -> Result<Values> {
        Ok(match self.staged.values {
            Kind::Real => Values::F64(Buffer::Owned(self.read(n, at)?)),
            Kind::Int64 => Values::I64(Buffer::Owned(self.read(n, at)?)),
            Kind::Int32 => Values::I32(Buffer::Owned(self.read::<i64>(n, at)?.into_iter().map(|x| x as i32).collect())),
        })
    }
}

impl Source for MtxSource {
    fn shape(&self) -> (u64, u64) {
        (self.staged.rows, self.staged.cols)
    }

    fn dtype(&self) -> DType {
        match self.staged.values {
            Kind::Real => DType::F64,
            Kind::Int64 => DType::I64,
            Kind::Int32 => DType::I32,
        }
    }

    fn kind(&self) -> BlockKind {
        if self.staged.indptr.is_some() { BlockKind::Csr } else { BlockKind::Dense }
    }

    fn nnz(&self) -> u64 {
        match &self.staged.indptr {
            Some(indptr) => indptr.last().copied().unwrap_or(0),
            None => self.staged.rows * self.staged.cols,
        }
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        check_rows(&rows, self.staged.rows)?;
        Ok(match self.entries(&rows) {
            Some(entries) => entries.end - entries.start,
            None => (rows.end - rows.start) * self.staged.cols,
        })
    }

    fn storage_rows(&self) -> u64 {
        1
    }

    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        let nnz = self.nnz_of(rows.clone())?;
        // Narrow integers are stored wide; a row that is not sorted is sorted in a copy of that row.
        let wide = if self.staged.values == Kind::Int32 { 8 * nnz } else { 0 };
        let lengths = self.staged.indptr.iter().flat_map(|indptr| {
            indptr[rows.start as usize..=rows.end as usize].windows(2).map(|pair| pair[1] - pair[0])
        });
        Ok(wide + 16 * lengths.max().unwrap_or(0))
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        check_rows(&rows, self.staged.rows)?;
        context.check()?;
        let (n_rows, n_cols) = ((rows.end - rows.start) as usize, self.staged.cols as usize);
        let Some(entries) = self.entries(&rows) else {
            let values = self.values(n_rows * n_cols, rows.start * self.staged.cols * 8)?;
            return DenseBlock::new(n_rows, n_cols, values).map(Block::Dense);
        };
        let n = (entries.end - entries.start) as usize;
        let indices = self.read(n, entries.start * 4)?;
        context.check()?;
        let values = self.values(n, stage::values_offset(self.nnz()) + entries.start * 8)?;
        let offsets = self.staged.indptr.iter().flatten();
        let offsets = offsets.skip(rows.start as usize).take(n_rows + 1).map(|offset| offset - entries.start);
        let parts = CsrParts { indptr: offsets.collect(), indices, values };
        parts.into_sorted(n_rows, n_cols).map(Block::Csr).map_err(|row| {
            let line = if self.transposed { "column" } else { "row" };
            let place = format!("{line} {}", rows.start + 1 + row as u64);
            self.input.bad(place, format!("values at one place whose sum {} holds", self.dtype()), "a larger sum")
        })
    }

    fn address(&self) -> Option<SourceAddress> {
        self.input.address("mtx", if self.transposed { "transposed" } else { "" })
    }

    fn name(&self) -> String {
        self.input.path().display().to_string()
    }
}
