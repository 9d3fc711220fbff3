//! The three vectors of a compressed matrix, `indptr`, `indices` and `data`: what `csr_matrix` and `csc_matrix` share.
//!
//! Along the *major* axis (rows of a CSR matrix, columns of a CSC matrix) the values of one line lie together:
//! `indptr[i] .. indptr[i + 1]`; `indices` has each value's place along the other axis. `indptr` is read and checked when
//! the file is opened (8 bytes a line are kept): it begins with 0, never decreases, and ends with the length of the other
//! two. So every window lies within them. Each index is checked when it is read. Rows whose columns do not ascend
//! strictly are sorted, and values at one place are summed, as SciPy reads them.

use std::ops::Range;
use std::sync::Arc;

use super::super::csr_parts::CsrParts;
use super::super::tree::{NodeKind, Tree, TreeArray};
use super::parts;
use crate::array::{CsrBlock, DType, Values};
use crate::error::Result;

/// How many offsets or wide indices are converted at a time.
const STEP: u64 = 1 << 16;

/// A compressed matrix in a file.
#[derive(Debug)]
pub(crate) struct Compressed {
    pub(super) tree: Arc<dyn Tree>,
    /// Where the matrix is, as an address names it.
    pub(super) place: String,
    /// How many lines there are, and how long they are.
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) dtype: DType,
    pub(super) indptr: Vec<u64>,
    pub(super) data: Arc<dyn TreeArray>,
    indices: Arc<dyn TreeArray>,
    index_dtype: DType,
}

impl Compressed {
    /// Opens the group at `place` and checks its offsets.
    pub(crate) fn open(tree: &Arc<dyn Tree>, place: &str, major: u64, minor: u64) -> Result<Self> {
        let part = |name: &str| {
            let path = format!("{place}/{name}");
            match tree.find(&path)? {
                Some(NodeKind::Array) => match tree.array(&path)? {
                    array if array.shape().len() == 1 => Ok(array),
                    _ => Err(tree.bad(&path, "a vector", "something else")),
                },
                Some(NodeKind::Group) => Err(tree.bad(&path, "a vector", "something else")),
                None => Err(tree.bad(place, &format!("a vector '{name}'"), "none of that name")),
            }
        };
        let (indptr, indices, data) = (part("indptr")?, part("indices")?, part("data")?);
        let (dtype, index_dtype) = (parts::dtype(&**tree, &*data)?, parts::dtype(&**tree, &*indices)?);
        // The largest index stands for every one that 32 bits do not hold, and must never be in range.
        if minor > u64::from(u32::MAX) {
            return Err(tree.unsupported(&format!("{place}: lines of {minor} values"), "split the matrix"));
        }
        let nnz = data.shape()[0];
        check_lengths(&**tree, place, [major, indptr.shape()[0], indices.shape()[0], nnz])?;
        let claimed = major.saturating_mul(4).max(nnz.saturating_mul((dtype.size_of() + index_dtype.size_of()) as u64));
        parts::check_claim(&**tree, place, Some(claimed), &format!("{claimed} bytes claimed"))?;
        let indptr = read_indptr(&**tree, &*indptr, nnz)?;
        let (tree, place) = (Arc::clone(tree), place.into());
        Ok(Compressed { tree, place, major, minor, dtype, indptr, data, indices, index_dtype })
    }

    /// Returns the number of stored values.
    pub(super) fn nnz(&self) -> u64 {
        self.data.shape()[0]
    }

    /// Returns how many values a storage chunk holds, where they are chunked.
    pub(super) fn chunk(&self) -> Option<u64> {
        self.data.chunks().and_then(|dims| dims.first().copied())
    }

    /// Returns the bytes that reading windows holds besides the windows; the two vectors are read one after the other.
    pub(super) fn scratch_bytes(&self) -> u64 {
        self.data.scratch_bytes().max(self.indices.scratch_bytes()) + STEP * 16
    }

    /// Reads the indices of a window of values, each checked against the length of a line.
    pub(super) fn read_indices(&self, window: Range<u64>) -> Result<Vec<u32>> {
        // The usual types need no second copy: a negative index has a value that the check refuses.
        match self.index_dtype {
            DType::I32 | DType::U32 => {
                let indices = match self.indices.read(window.clone())? {
                    Values::I32(indices) => bytemuck::cast_vec(indices.into_vec()),
                    other => other.to_vec::<u32>(),
                };
                return self.check_indices(indices, window.start);
            }
            _ => {}
        }
        let mut indices = Vec::with_capacity((window.end - window.start) as usize);
        for start in window.clone().step_by(STEP as usize) {
            let wide = parts::read_integers(&*self.tree, &*self.indices, start..window.end.min(start + STEP))?;
            // What 32 bits do not hold becomes the largest index, which no matrix has: the check names its place.
            indices.extend(wide.into_iter().map(|index| u32::try_from(index).unwrap_or(u32::MAX)));
        }
        self.check_indices(indices, window.start)
    }

    fn check_indices(&self, indices: Vec<u32>, start: u64) -> Result<Vec<u32>> {
        match indices.iter().position(|&index| u64::from(index) >= self.minor) {
            None => Ok(indices),
            Some(at) => {
                let place = format!("{}[{}]", self.indices.place(), start + at as u64);
                let expected = format!("an index from 0 to {}", self.minor.saturating_sub(1));
                let found = match self.index_dtype {
                    DType::I32 => (indices[at] as i32).to_string(),
                    _ => indices[at].to_string(),
                };
                Err(self.tree.bad(&place, &expected, &found))
            }
        }
    }
}

fn check_lengths(tree: &dyn Tree, place: &str, [lines, indptr, indices, data]: [u64; 4]) -> Result<()> {
    if lines.checked_add(1) != Some(indptr) {
        let expected = format!("{lines} lines, so {lines} + 1 offsets");
        return Err(tree.bad(&format!("{place}/indptr"), &expected, &indptr.to_string()));
    }
    if indices != data {
        let expected = format!("as many as in {place}/data, {data}");
        return Err(tree.bad(&format!("{place}/indices"), &expected, &indices.to_string()));
    }
    Ok(())
}

/// Reads the offsets and checks that they begin with 0, never decrease and end with the number of values.
fn read_indptr(tree: &dyn Tree, array: &dyn TreeArray, nnz: u64) -> Result<Vec<u64>> {
    let (len, place) = (array.shape()[0], array.place());
    let mut indptr = Vec::with_capacity(len as usize);
    let mut last = 0;
    for start in (0..len).step_by(STEP as usize) {
        for offset in parts::read_integers(tree, array, start..len.min(start + STEP))? {
            let at = || format!("{place}[{}]", indptr.len());
            let Ok(offset) = u64::try_from(offset) else {
                return Err(tree.bad(&at(), "no negative offset", &offset.to_string()));
            };
            if offset < last || offset > nnz || (indptr.is_empty() && offset != 0) {
                let expected = match indptr.len() {
                    0 => "0".to_string(),
                    _ => format!("an offset from {last} to {nnz}"),
                };
                return Err(tree.bad(&at(), &expected, &offset.to_string()));
            }
            last = offset;
            indptr.push(offset);
        }
    }
    if last != nnz {
        let at = format!("{place}[{}]", len.saturating_sub(1));
        return Err(tree.bad(&at, &nnz.to_string(), &last.to_string()));
    }
    Ok(indptr)
}

/// Sorts each row and sums values at one place; `first` is the number of the first row, for messages.
pub(super) fn into_block(parts: CsrParts, matrix: &Compressed, first: u64, rows: u64, cols: u64) -> Result<CsrBlock> {
    parts.into_sorted(rows as usize, cols as usize).map_err(|row| {
        let place = format!("{}, row {}", matrix.data.place(), first + row as u64);
        let expected = format!("values at one place whose sum {} holds", matrix.dtype);
        matrix.tree.bad(&place, &expected, "a larger sum")
    })
}
