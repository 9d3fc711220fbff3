//! NumPy's `.npy`: one dense matrix, read by runs of rows, written as a stream of blocks.
//!
//! Versions 1, 2 and 3; C and Fortran order; both byte orders; bool, integers, float32 and float64. A vector reads as
//! one column. Arrays of Python objects are pickles and are always refused. The header's claims are compared with the
//! length of the file before memory is allocated for them (`header`), reads are positional and bounded by the run of
//! rows that is asked for, and what is written appears under its name only when it is whole (`write`).

mod header;
mod write;

use std::ops::Range;
use std::path::Path;

use super::input::{Input, check_rows};
use super::values::read_as;
use crate::array::{Block, BlockKind, DType, DenseBlock, Source, SourceAddress};
use crate::error::Result;
use crate::runtime::TaskContext;
use header::Header;

pub use write::{NpyWriter, save_array, save_matrix, save_vector};

/// Fortran order is read through a buffer of at most this many bytes.
const COLUMN_BUFFER: usize = 64 << 10;

/// Opens a `.npy` file as a matrix; a vector is one column.
///
/// # Errors
/// `Io` when the file cannot be read; `BadInput` when it is not what the format promises; `Unsupported` for three
/// dimensions and for dtypes that are not bool, integers, float32 or float64.
///
/// # Examples
///
/// ```
/// use allotment::array::Source;
/// use allotment::io::npy;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("x.npy");
/// npy::save_matrix(&path, 2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(npy::open(&path)?.shape(), (2, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<NpySource> {
    let input = Input::open(path.as_ref())?;
    let header = Header::read(&input)?;
    Ok(NpySource { input, header })
}

/// A `.npy` file that is read by runs of rows.
#[derive(Clone, Debug)]
pub struct NpySource {
    input: Input,
    header: Header,
}

impl Source for NpySource {
    fn shape(&self) -> (u64, u64) {
        (self.header.rows, self.header.cols)
    }

    fn dtype(&self) -> DType {
        self.header.dtype
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Dense
    }

    fn nnz(&self) -> u64 {
        self.header.rows * self.header.cols
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        check_rows(&rows, self.header.rows)?;
        Ok((rows.end - rows.start) * self.header.cols)
    }

    fn storage_rows(&self) -> u64 {
        1
    }

    fn scratch_bytes(&self, rows: Range<u64>) -> Result<u64> {
        check_rows(&rows, self.header.rows)?;
        Ok(if self.header.fortran_order { COLUMN_BUFFER as u64 } else { 0 })
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        check_rows(&rows, self.header.rows)?;
        context.check()?;
        let values = read_as!(self.header.dtype, T => self.read::<T>(rows.clone(), context)?);
        self.input.check_unchanged()?;
        DenseBlock::new((rows.end - rows.start) as usize, self.header.cols as usize, values).map(Block::Dense)
    }

    fn address(&self) -> Option<SourceAddress> {
        self.input.address("npy", "")
    }

    fn name(&self) -> String {
        self.input.path().display().to_string()
    }
}

impl NpySource {
    /// Reads the rows in row-major, native order.
    fn read<T: bytemuck::Pod>(&self, rows: Range<u64>, context: &TaskContext) -> Result<Vec<T>> {
        let (n_rows, cols) = ((rows.end - rows.start) as usize, self.header.cols as usize);
        // The header's shape was compared with the length of the file: this is at most what the file holds.
        let mut values = vec![T::zeroed(); n_rows * cols];
        if self.header.fortran_order {
            self.read_columns(rows, &mut values, context)?;
        } else {
            let offset = self.header.data_offset + rows.start * self.header.cols * size_of::<T>() as u64;
            self.input.read_exact_at(bytemuck::cast_slice_mut(&mut values), offset)?;
        }
        self.to_native(&mut values);
        Ok(values)
    }

    /// Reads the rows of one column after the other, through a bounded buffer, into their places.
    fn read_columns<T: bytemuck::Pod>(&self, rows: Range<u64>, values: &mut [T], context: &TaskContext) -> Result<()> {
        let cols = self.header.cols as usize;
        let mut buffer = vec![T::zeroed(); values.len().min(COLUMN_BUFFER / size_of::<T>())];
        for col in 0..cols {
            context.check()?;
            let mut row = rows.start;
            while row < rows.end {
                let run = ((rows.end - row) as usize).min(buffer.len());
                let at = col as u64 * self.header.rows + row;
                let offset = self.header.data_offset + at * size_of::<T>() as u64;
                self.input.read_exact_at(bytemuck::cast_slice_mut(&mut buffer[..run]), offset)?;
                let first = (row - rows.start) as usize;
                for (i, value) in buffer[..run].iter().enumerate() {
                    values[(first + i) * cols + col] = *value;
                }
                row += run as u64;
            }
        }
        Ok(())
    }

    /// Turns values as the file has them into native ones; for bool, as NumPy does, whatever is not 0 is true.
    fn to_native<T: bytemuck::Pod>(&self, values: &mut [T]) {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
        if self.header.big_endian != cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(self.header.dtype.size_of()).for_each(<[u8]>::reverse);
        }
        if self.header.dtype == DType::Bool {
            bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
    }
}

#[cfg(test)]
mod tests;
