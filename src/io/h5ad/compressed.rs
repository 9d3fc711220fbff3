//! The three vectors of a compressed matrix, `indptr`, `indices` and `data`: what `csr_matrix` and `csc_matrix` share.
//!
//! Along the *major* axis (rows of a CSR matrix, columns of a CSC matrix) the values of one line lie together:
//! `indptr[i] .. indptr[i + 1]`; `indices` has each value's place along the other axis. `indptr` is read and checked when
//! the file is opened (8 bytes a line are kept): it begins with 0, never decreases, and ends with the length of the other
//! two. So every window lies within them. Each index is checked when it is read. Rows whose columns do not ascend
//! strictly are sorted, and values at one place are summed, as SciPy reads them.

use std::ops::Range;

use hdf5_reader::Dataset;

use super::super::csr_parts::CsrParts;
use super::element::read_integers;
use super::file::{File, Node, scratch_bytes};
use crate::array::{CsrBlock, DType};
use crate::error::Result;

/// How many offsets or wide indices are converted at a time.
const STEP: u64 = 1 << 16;

/// A compressed matrix in a file.
pub(super) struct Compressed {
    pub(super) file: File,
    pub(super) place: String,
    /// How many lines there are, and how long they are.
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) dtype: DType,
    pub(super) indptr: Vec<u64>,
    pub(super) data: Dataset,
    indices: Dataset,
    index_dtype: DType,
}

impl std::fmt::Debug for Compressed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressed").field("file", &self.file).field("place", &self.place).finish_non_exhaustive()
    }
}

impl Compressed {
    /// Opens the group at `place` and checks its offsets.
    pub(super) fn open(file: &File, place: &str, major: u64, minor: u64) -> Result<Self> {
        let part = |name: &str| {
            let path = format!("{place}/{name}");
            match file.find(&path)? {
                Some(Node::Dataset(dataset)) if dataset.ndim() == 1 => Ok(*dataset),
                Some(_) => Err(file.input().bad(&path, "a vector", "something else")),
                None => Err(file.input().bad(place, format!("a vector '{name}'"), "none of that name")),
            }
        };
        let (indptr, indices, data) = (part("indptr")?, part("indices")?, part("data")?);
        let dtype = file.dtype(&data, &format!("{place}/data"))?;
        let index_dtype = file.dtype(&indices, &format!("{place}/indices"))?;
        // The largest index stands for every one that 32 bits do not hold, and must never be in range.
        if minor > u64::from(u32::MAX) {
            return Err(file.input().unsupported(format!("{place}: lines of {minor} values"), "split the matrix"));
        }
        let nnz = data.shape()[0];
        check_lengths(file, place, [major, indptr.shape()[0], indices.shape()[0], nnz])?;
        check_size(file, place, major, nnz, (dtype.size_of() + index_dtype.size_of()) as u64)?;
        let indptr = read_indptr(file, &indptr, &format!("{place}/indptr"), nnz)?;
        let (file, place) = (file.clone(), place.into());
        Ok(Compressed { file, place, major, minor, dtype, indptr, data, indices, index_dtype })
    }

    /// Returns the number of stored values.
    pub(super) fn nnz(&self) -> u64 {
        self.data.shape()[0]
    }

    /// Returns how the values are chunked in the file.
    pub(super) fn chunks(&self) -> Option<Vec<u32>> {
        self.data.chunks()
    }

    /// Returns the name of the place of the values, for messages.
    pub(super) fn data_place(&self) -> String {
        format!("{}/data", self.place)
    }

    /// Returns the bytes that reading windows holds besides the windows; the two vectors are read one after the other.
    pub(super) fn scratch_bytes(&self) -> u64 {
        let decoding = scratch_bytes(&self.data, self.dtype).max(scratch_bytes(&self.indices, self.index_dtype));
        decoding + STEP * 16
    }

    /// Reads the indices of a window of values, each checked against the length of a line.
    pub(super) fn read_indices(&self, window: Range<u64>) -> Result<Vec<u32>> {
        let place = format!("{}/indices", self.place);
        // The usual types need no second copy: a negative index has a value that the check refuses.
        match self.index_dtype {
            DType::I32 => {
                let indices = self.file.read::<i32>(&self.indices, &place, window.clone())?;
                let indices: Vec<u32> = bytemuck::cast_vec(indices);
                return self.check_indices(indices, &place, window.start);
            }
            DType::U32 => {
                let indices = self.file.read::<u32>(&self.indices, &place, window.clone())?;
                return self.check_indices(indices, &place, window.start);
            }
            _ => {}
        }
        let mut indices = Vec::with_capacity((window.end - window.start) as usize);
        for start in window.clone().step_by(STEP as usize) {
            let wide = read_integers(&self.file, &self.indices, &place, start..window.end.min(start + STEP))?;
            // What 32 bits do not hold becomes the largest index, which no matrix has: the check names its place.
            indices.extend(wide.into_iter().map(|index| u32::try_from(index).unwrap_or(u32::MAX)));
        }
        self.check_indices(indices, &place, window.start)
    }

    fn check_indices(&self, indices: Vec<u32>, place: &str, start: u64) -> Result<Vec<u32>> {
        match indices.iter().position(|&index| u64::from(index) >= self.minor) {
            None => Ok(indices),
            Some(at) => {
                let place = format!("{place}[{}]", start + at as u64);
                let expected = format!("an index from 0 to {}", self.minor.saturating_sub(1));
                let found = match self.index_dtype {
                    DType::I32 => (indices[at] as i32).to_string(),
                    _ => indices[at].to_string(),
                };
                Err(self.file.input().bad(place, expected, found))
            }
        }
    }
}

fn check_lengths(file: &File, place: &str, [lines, indptr, indices, data]: [u64; 4]) -> Result<()> {
    if lines.checked_add(1) != Some(indptr) {
        let expected = format!("{lines} lines, so {lines} + 1 offsets");
        return Err(file.input().bad(format!("{place}/indptr"), expected, indptr.to_string()));
    }
    if indices != data {
        let expected = format!("as many as in {place}/data, {data}");
        return Err(file.input().bad(format!("{place}/indices"), expected, indices.to_string()));
    }
    Ok(())
}

fn check_size(file: &File, place: &str, lines: u64, nnz: u64, width: u64) -> Result<()> {
    let (claimed, most) = (lines.saturating_mul(4).max(nnz.saturating_mul(width)), file.most_bytes());
    if claimed <= most {
        return Ok(());
    }
    let expected = format!("at most {most} bytes, which is what {} bytes of file can hold", file.input().len());
    Err(file.input().bad(place, expected, format!("{claimed} bytes claimed")))
}

/// Reads the offsets and checks that they begin with 0, never decrease and end with the number of values.
fn read_indptr(file: &File, dataset: &Dataset, place: &str, nnz: u64) -> Result<Vec<u64>> {
    let len = dataset.shape()[0];
    let mut indptr = Vec::with_capacity(len as usize);
    let mut last = 0;
    for start in (0..len).step_by(STEP as usize) {
        for offset in read_integers(file, dataset, place, start..len.min(start + STEP))? {
            let at = format!("{place}[{}]", indptr.len());
            let Ok(offset) = u64::try_from(offset) else {
                return Err(file.input().bad(at, "no negative offset", offset.to_string()));
            };
            if offset < last || offset > nnz || (indptr.is_empty() && offset != 0) {
                let expected = match indptr.len() {
                    0 => "0".to_string(),
                    _ => format!("an offset from {last} to {nnz}"),
                };
                return Err(file.input().bad(at, expected, offset.to_string()));
            }
            last = offset;
            indptr.push(offset);
        }
    }
    if last != nnz {
        return Err(file.input().bad(format!("{place}[{}]", len.saturating_sub(1)), nnz.to_string(), last.to_string()));
    }
    Ok(indptr)
}

/// Sorts each row and sums values at one place; `first` is the number of the first row, for messages.
pub(super) fn into_block(parts: CsrParts, matrix: &Compressed, first: u64, rows: u64, cols: u64) -> Result<CsrBlock> {
    parts.into_sorted(rows as usize, cols as usize).map_err(|row| {
        let place = format!("{}, row {}", matrix.data_place(), first + row as u64);
        let expected = format!("values at one place whose sum {} holds", matrix.dtype);
        matrix.file.input().bad(place, expected, "a larger sum")
    })
}
