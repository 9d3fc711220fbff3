//! Writing `.npy`: version 1, C order, little-endian, as a stream of blocks.

use std::path::Path;

use super::super::new_file::NewFile;
use crate::array::{Array, Block, DType};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// Writes a matrix of known shape block by block; the file appears under its name when [`NpyWriter::finish`] returns.
///
/// Dropped before that, it leaves nothing behind.
///
/// # Examples
///
/// ```
/// use allotment::array::{Block, Buffer, DType, DenseBlock, Values};
/// use allotment::io::npy::NpyWriter;
/// let folder = tempfile::tempdir()?;
/// let mut writer = NpyWriter::create(folder.path().join("x.npy"), DType::F64, 2, 2)?;
/// for row in [[1.0, 2.0], [3.0, 4.0]] {
///     let values = Values::F64(Buffer::Owned(row.to_vec()));
///     writer.write(&Block::Dense(DenseBlock { rows: 1, cols: 2, values }))?;
/// }
/// writer.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the file appears only after finish()"]
pub struct NpyWriter {
    file: NewFile,
    dtype: DType,
    shape: (u64, u64),
    rows_written: u64,
}

impl NpyWriter {
    /// Starts a file of `rows` × `cols` values.
    ///
    /// # Errors
    /// `Io` when the directory cannot be written to.
    pub fn create(path: impl AsRef<Path>, dtype: DType, rows: u64, cols: u64) -> Result<Self> {
        let mut file = NewFile::create(path.as_ref())?;
        file.write(&header(dtype, &format!("({rows}, {cols})")))?;
        Ok(NpyWriter { file, dtype, shape: (rows, cols), rows_written: 0 })
    }

    /// Appends the rows of a block; CSR blocks are filled up with zeros, a row at a time.
    ///
    /// # Errors
    /// `BadArgument` when the block's dtype is another one, `ShapeMismatch` when its columns are, or when it has more
    /// rows than are left; `Io`, as for a full disk.
    pub fn write(&mut self, block: &Block) -> Result<()> {
        let (rows, cols, values) = match block {
            Block::Dense(dense) => (dense.rows, dense.cols, &dense.values),
            Block::Csr(csr) => (csr.rows, csr.cols, &csr.values),
        };
        let (dtype, bytes) = (values.dtype(), values.as_bytes());
        if dtype != self.dtype {
            return Err(Error::bad_argument("write npy", "dtype", dtype, self.dtype.name()));
        }
        let left = self.shape.0 - self.rows_written;
        if cols as u64 != self.shape.1 || rows as u64 > left {
            return Err(Error::ShapeMismatch {
                operation: "write npy",
                left: self.shape,
                right: (rows as u64, cols as u64),
                expected: format!("at most {left} more rows of {} columns", self.shape.1).into(),
            });
        }
        match block {
            Block::Dense(_) => self.write_values(bytes)?,
            Block::Csr(csr) => self.write_csr(&csr.indptr, &csr.indices, bytes)?,
        }
        self.rows_written += rows as u64;
        Ok(())
    }

    fn write_csr(&mut self, indptr: &[u64], indices: &[u32], bytes: &[u8]) -> Result<()> {
        let width = self.dtype.size_of();
        let mut row = vec![0; self.shape.1 as usize * width];
        for bounds in indptr.windows(2) {
            row.fill(0);
            for at in bounds[0] as usize..bounds[1] as usize {
                let col = indices[at] as usize;
                row[col * width..][..width].copy_from_slice(&bytes[at * width..][..width]);
            }
            self.write_values(&row)?;
        }
        Ok(())
    }

    fn write_values(&mut self, bytes: &[u8]) -> Result<()> {
        if cfg!(target_endian = "little") {
            return self.file.write(bytes);
        }
        bytes.chunks_exact(self.dtype.size_of()).try_for_each(|value| {
            let swapped: Vec<u8> = value.iter().rev().copied().collect();
            self.file.write(&swapped)
        })
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// `ShapeMismatch` when rows are missing, `Io` when the disk fails; nothing is left behind then.
    pub fn finish(self) -> Result<()> {
        if self.rows_written != self.shape.0 {
            return Err(Error::ShapeMismatch {
                operation: "write npy",
                left: self.shape,
                right: (self.rows_written, self.shape.1),
                expected: format!("all rows of {} to be written", self.file.path().display()).into(),
            });
        }
        self.file.commit()
    }
}

/// Computes an array and stores it under a name, as its dtype, a bounded number of blocks of whole rows ahead of the file; CSR arrays
/// are filled up with zeros. The file appears whole or not at all.
///
/// # Errors
/// `TooBig` before any work when no block of whole rows fits a worker; those of the blocks; `Io`, as for a full disk.
///
/// # Examples
///
/// ```
/// use allotment::array::random;
/// use allotment::{Cluster, io};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let path = tempfile::tempdir()?.keep().join("squares.npy");
/// io::npy::save_array(&cluster, &random::uniform(1000, 4, 7, None).square(), &path, None)?;
/// assert_eq!(io::open(&path)?.x().shape(), (1000, 4));
/// # std::fs::remove_dir_all(path.parent().expect("a directory"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn save_array(cluster: &Cluster, array: &Array, path: impl AsRef<Path>, progress: Option<Progress>) -> Result<()> {
    let mut writer = NpyWriter::create(path, array.dtype(), array.rows(), array.cols())?;
    let blocks = array.clone().whole_rows().blocks(cluster)?;
    let total = blocks.plan().tasks;
    for (done, block) in blocks.enumerate() {
        let block = block?;
        writer.write(&block)?;
        // What was read of a damaged chunk must not get a name.
        block.check()?;
        if let Some(progress) = &progress {
            progress(done + 1, total);
        }
    }
    writer.finish()
}

/// Saves a small matrix, row-major, as float64.
///
/// # Errors
/// `ShapeMismatch` when there are not `rows` × `cols` values; `Io` when the file cannot be written.
pub fn save_matrix(path: impl AsRef<Path>, rows: usize, cols: usize, values: &[f64]) -> Result<()> {
    if rows.checked_mul(cols) != Some(values.len()) {
        return Err(Error::ShapeMismatch {
            operation: "save npy",
            left: (rows as u64, cols as u64),
            right: (values.len() as u64, 1),
            expected: "rows × columns values".into(),
        });
    }
    save(path.as_ref(), &format!("({rows}, {cols})"), values)
}

/// Saves a vector as float64, with one dimension.
///
/// # Errors
/// `Io` when the file cannot be written.
pub fn save_vector(path: impl AsRef<Path>, values: &[f64]) -> Result<()> {
    save(path.as_ref(), &format!("({},)", values.len()), values)
}

fn save(path: &Path, shape: &str, values: &[f64]) -> Result<()> {
    let mut file = NewFile::create(path)?;
    file.write(&header(DType::F64, shape))?;
    values.iter().try_for_each(|value| file.write(&value.to_le_bytes()))?;
    file.commit()
}

/// Returns the header of version 1: padded with spaces, so that the values begin at a multiple of 64 bytes.
fn header(dtype: DType, shape: &str) -> Vec<u8> {
    let kind = match dtype {
        DType::Bool => "b",
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => "u",
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => "i",
        DType::F32 | DType::F64 => "f",
    };
    let width = dtype.size_of();
    let order = if width == 1 { "|" } else { "<" };
    let mut text = format!("{{'descr': '{order}{kind}{width}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    // At most 43 characters of shape: 65,535 is far away.
    let length = u16::try_from(text.len()).expect("two lengths of at most 20 digits each are short");
    [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], text.as_bytes()].concat()
}
