//! A `csc_matrix`: values stored by columns, read by rows.
//!
//! The values of one row lie in as many places as it has values, so that reading it in place means reading everything.
//! Therefore the matrix is turned once, when the first block is read, and every block takes its rows from what that left:
//!
//! ```text
//! stored     |---window---|---window---|---window---|     a window: the same number of values, whatever their columns
//!                  ▼ sorted by row      ▼                 once, by whichever lanes read first; a chunk of the store each
//! rows a..b     ..[a..b]..    ..[a..b]..    ..[a..b]..    a run of every chunk; joined, each row's columns ascend
//! ```
//! So the file is read twice (its indices also when rows are first counted), however many blocks there are. What is in memory is
//! a window while it is sorted; the chunks are in the store of the cluster that read first, 8 bytes and a value for each
//! stored value, until the source is dropped.
//!
//! A window whose chunk cannot be read is turned again.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::super::csr_parts::CsrParts;
use super::compressed::{Compressed, into_block};
use super::parts;
use crate::array::{Block, BlockKind, Buffer, DType, Source, SourceAddress, Values, with_values};
use crate::error::Result;
use crate::runtime::TaskContext;
use crate::store::{Chunk, ChunkBytes};

/// How many values are turned at a time.
const WINDOW: u64 = 1 << 17;

/// A matrix stored by columns, read by runs of rows.
#[derive(Debug)]
pub(super) struct CscSource {
    matrix: Compressed,
    /// Where each row would begin if the matrix were stored by rows, once it was asked for.
    row_offsets: OnceLock<Result<Vec<u64>>>,
    /// The windows that were turned: rows, columns and values of each, sorted by row.
    turned: Vec<Mutex<Option<Chunk>>>,
    /// The window that the next lane turns.
    next: AtomicU64,
}

impl CscSource {
    /// Reads a matrix whose lines are columns.
    pub(super) fn new(matrix: Compressed) -> Self {
        let turned = (0..matrix.nnz().div_ceil(WINDOW)).map(|_| Mutex::new(None)).collect();
        CscSource { matrix, row_offsets: OnceLock::new(), turned, next: AtomicU64::new(0) }
    }

    fn window(&self, number: u64) -> Range<u64> {
        number * WINDOW..self.matrix.nnz().min((number + 1) * WINDOW)
    }

    fn windows(&self) -> u64 {
        self.turned.len() as u64
    }

    /// Returns where the rows, and the end of the last one, would begin.
    fn offsets(&self, rows: &Range<u64>) -> Result<&[u64]> {
        parts::check_rows(rows, self.matrix.minor)?;
        let offsets = self.row_offsets.get_or_init(|| self.count_rows()).as_ref().map_err(Clone::clone)?;
        Ok(&offsets[rows.start as usize..=rows.end as usize])
    }

    fn count_rows(&self) -> Result<Vec<u64>> {
        let rows = self.matrix.minor;
        parts::check_claim(&*self.matrix.tree, &self.matrix.place, Some(rows), &format!("{rows} rows"))?;
        let mut offsets = vec![0; rows as usize + 1];
        for number in 0..self.windows() {
            self.matrix.read_indices(self.window(number))?.into_iter().for_each(|row| offsets[row as usize + 1] += 1);
        }
        for row in 1..offsets.len() {
            offsets[row] += offsets[row - 1];
        }
        Ok(offsets)
    }

    /// Returns the rows, columns and values of a window, sorted by row; turns it where that was not done yet.
    fn turned(&self, number: u64, context: &TaskContext) -> Result<ChunkBytes> {
        let mut turned = self.turned[number as usize].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(bytes)) = turned.as_ref().map(Chunk::bytes) {
            return Ok(bytes);
        }
        let chunk = self.turn(number, context)?;
        let bytes = chunk.bytes()?;
        *turned = Some(chunk);
        Ok(bytes)
    }

    fn turn(&self, number: u64, context: &TaskContext) -> Result<Chunk> {
        context.check()?;
        let window = self.window(number);
        let rows = self.matrix.read_indices(window.clone())?;
        // A key is a row and a place in the window: sorted, they keep the order of the columns within a row.
        let mut keys: Vec<u64> = rows.iter().enumerate().map(|(at, &row)| u64::from(row) << 32 | at as u64).collect();
        drop(rows);
        keys.sort_unstable();
        let values = self.matrix.data.read(window.clone())?;
        let by_place = columns(&self.matrix.indptr, &window);
        let place = |key: &u64| (key & u64::from(u32::MAX)) as usize;
        let cols: Vec<u32> = keys.iter().map(|key| by_place[place(key)]).collect();
        drop(by_place);
        let rows: Vec<u32> = keys.iter().map(|key| (key >> 32) as u32).collect();
        let store = context.store()?;
        with_values!(&values, values => {
            let values: Vec<_> = keys.iter().map(|key| values[place(key)]).collect();
            store.write(&[bytemuck::cast_slice(&rows), bytemuck::cast_slice(&cols), bytemuck::cast_slice(&values)])
        })
    }

    /// Reads the columns and values of some rows, row after row, columns ascending.
    fn gather(&self, rows: &Range<u64>, context: &TaskContext) -> Result<(Vec<u32>, Values)> {
        // The lanes that come first share the work; whoever finds all windows taken waits for the last of them below.
        while let number = self.next.fetch_add(1, Ordering::Relaxed)
            && number < self.windows()
        {
            self.turned(number, context)?;
        }
        let offsets = self.offsets(rows)?;
        let n = (offsets[offsets.len() - 1] - offsets[0]) as usize;
        let (mut cols, mut values) = (vec![0u32; n], Values::zeros(self.matrix.dtype, n));
        let mut next: Vec<u64> = offsets.iter().map(|offset| offset - offsets[0]).collect();
        for number in 0..self.windows() {
            context.check()?;
            let bytes = self.turned(number, context)?;
            let window = Turned::new(&bytes, self.matrix.dtype);
            window.copy(rows, &mut next, &mut cols, &mut values);
            bytes.check()?;
        }
        self.matrix.tree.check_unchanged()?;
        Ok((cols, values))
    }
}

/// Returns the column of each value of a window.
fn columns(indptr: &[u64], window: &Range<u64>) -> Vec<u32> {
    let mut columns = Vec::with_capacity((window.end - window.start) as usize);
    let mut col = indptr.partition_point(|&offset| offset <= window.start).saturating_sub(1);
    let mut at = window.start;
    while at < window.end {
        let end = indptr[col + 1].min(window.end);
        columns.resize((end - window.start) as usize, col as u32);
        (at, col) = (end, col + 1);
    }
    columns
}

/// The three parts of a turned window.
struct Turned<'a> {
    rows: &'a [u32],
    cols: &'a [u32],
    values: Values,
}

impl<'a> Turned<'a> {
    fn new(bytes: &'a ChunkBytes, dtype: DType) -> Self {
        let (rows, cols) = (bytemuck::cast_slice(bytes.part(0)), bytemuck::cast_slice(bytes.part(1)));
        Turned { rows, cols, values: Values::mapped(dtype, bytes.clone(), 2) }
    }

    /// Copies what the window has of some rows to where `next` says that each row goes on.
    fn copy(&self, rows: &Range<u64>, next: &mut [u64], cols: &mut [u32], values: &mut Values) {
        let first = self.rows.partition_point(|&row| u64::from(row) < rows.start);
        let last = self.rows.partition_point(|&row| u64::from(row) < rows.end);
        macro_rules! copy {
            ($($variant:ident)*) => {
                match (values, &self.values) {
                    $((Values::$variant(Buffer::Owned(to)), Values::$variant(from)) => {
                        for at in first..last {
                            let place = &mut next[(u64::from(self.rows[at]) - rows.start) as usize];
                            // A file that changed since its rows were counted may have more here; the check after the
                            // last window says so.
                            if let (Some(col), Some(value)) = (cols.get_mut(*place as usize), to.get_mut(*place as usize)) {
                                (*col, *value) = (self.cols[at], from[at]);
                            }
                            *place += 1;
                        }
                    })*
                    _ => unreachable!("both are of the matrix' dtype, and zeros are owned"),
                }
            };
        }
        copy!(Bool U8 U16 U32 U64 I8 I16 I32 I64 F32 F64);
    }
}

impl Source for CscSource {
    fn shape(&self) -> (u64, u64) {
        (self.matrix.minor, self.matrix.major)
    }

    fn dtype(&self) -> DType {
        self.matrix.dtype
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Csr
    }

    fn nnz(&self) -> u64 {
        self.matrix.nnz()
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        let offsets = self.offsets(&rows)?;
        Ok(offsets[offsets.len() - 1] - offsets[0])
    }

    fn storage_rows(&self) -> u64 {
        1
    }

    /// Turning a window holds its rows, columns, keys and values, those that were read and those in order, at most.
    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        let offsets = self.offsets(&rows)?;
        let longest_row = offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let turning = WINDOW.min(self.nnz()) * (16 + 2 * self.matrix.dtype.size_of() as u64);
        Ok(self.matrix.scratch_bytes() + turning + offsets.len() as u64 * 8 + longest_row * 16)
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        let offsets = self.offsets(&rows)?;
        let indptr = offsets.iter().map(|offset| offset - offsets[0]).collect();
        let (indices, values) = self.gather(&rows, context)?;
        let parts = CsrParts { indptr, indices, values };
        into_block(parts, &self.matrix, rows.start, rows.end - rows.start, self.matrix.major).map(Block::Csr)
    }

    fn address(&self) -> Option<SourceAddress> {
        parts::address(&*self.matrix.tree, &self.matrix.place)
    }

    fn name(&self) -> String {
        parts::name(&*self.matrix.tree, &self.matrix.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_any_window_are_those_of_its_places() {
        let indptr = [0, 0, 3, 3, 3, 7, 8, 8];
        let all: Vec<u32> =
            indptr.windows(2).enumerate().flat_map(|(col, b)| (b[0]..b[1]).map(move |_| col as u32)).collect();
        for start in 0..8 {
            for end in start..=8 {
                assert_eq!(columns(&indptr, &(start..end)), all[start as usize..end as usize], "{start}..{end}");
            }
        }
    }
}
