//! The values of one chunk, in memory: dense (row-major) or CSR.
//!
//! A block is what kernels work on. Its buffers are anonymous memory or parts of a mapped chunk; [`Block::store`] turns
//! the one into the other. A block that was read from a chunk must be [checked](Block::check) after the last read and
//! before anything computed from it is given away.

use std::ops::Range;

use nalgebra::DMatrix;

use super::values::{Buffer, Values, with_values};
use super::{CsrBlock, DType, Element};
use crate::error::{Error, Result};
use crate::store::{Chunk, ChunkBytes, Store};

/// Dense or CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Row-major values.
    Dense,
    /// Compressed rows.
    Csr,
}

impl std::fmt::Display for BlockKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            BlockKind::Dense => "dense",
            BlockKind::Csr => "csr",
        })
    }
}

/// `rows × cols` values, row-major.
#[derive(Clone, Debug)]
pub struct DenseBlock {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows * cols` values.
    pub values: Values,
}

impl DenseBlock {
    /// Wraps row-major values.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when there are not `rows * cols` values.
    pub fn new(rows: usize, cols: usize, values: impl Into<Values>) -> Result<Self> {
        let values = values.into();
        if rows.checked_mul(cols) != Some(values.len()) {
            let expected = format!("{rows} x {cols} values");
            return Err(Error::bad_argument("dense block", "number of values", values.len(), expected));
        }
        Ok(DenseBlock { rows, cols, values })
    }

    /// Returns the bytes that dense values of this shape and dtype take.
    pub fn nbytes_of(rows: u64, cols: u64, dtype: DType) -> u64 {
        rows.saturating_mul(cols).saturating_mul(dtype.size_of() as u64)
    }

    /// Copies the rows of another shape of matrix, nalgebra's, which lies column-major.
    pub fn from_nalgebra<T: Element + nalgebra::Scalar>(matrix: &DMatrix<T>) -> Self {
        let (rows, cols) = matrix.shape();
        let values: Vec<T> = (0..rows).flat_map(|i| (0..cols).map(move |j| matrix[(i, j)])).collect();
        DenseBlock { rows, cols, values: values.into() }
    }

    /// Returns the values as a CSR block; zeros are left out, NaN is kept.
    pub fn to_csr(&self) -> Result<CsrBlock> {
        CsrBlock::from_dense(self)
    }
}

/// The values of one chunk.
#[derive(Clone, Debug)]
pub enum Block {
    /// Row-major values.
    Dense(DenseBlock),
    /// Compressed rows.
    Csr(CsrBlock),
}

impl From<DenseBlock> for Block {
    fn from(block: DenseBlock) -> Self {
        Block::Dense(block)
    }
}

impl From<CsrBlock> for Block {
    fn from(block: CsrBlock) -> Self {
        Block::Csr(block)
    }
}

impl Block {
    /// Returns rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Block::Dense(b) => (b.rows, b.cols),
            Block::Csr(b) => (b.rows, b.cols),
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.shape().0
    }

    /// Returns the number of columns.
    pub fn cols(&self) -> usize {
        self.shape().1
    }

    /// Returns whether the block is dense or CSR.
    pub fn kind(&self) -> BlockKind {
        match self {
            Block::Dense(_) => BlockKind::Dense,
            Block::Csr(_) => BlockKind::Csr,
        }
    }

    /// Returns the stored values: all of a dense block, those that are not left out of a CSR block.
    pub fn values(&self) -> &Values {
        match self {
            Block::Dense(b) => &b.values,
            Block::Csr(b) => &b.values,
        }
    }

    /// Returns the stored values, to be changed or replaced by as many.
    pub fn values_mut(&mut self) -> &mut Values {
        match self {
            Block::Dense(b) => &mut b.values,
            Block::Csr(b) => &mut b.values,
        }
    }

    /// Returns the dtype.
    pub fn dtype(&self) -> DType {
        self.values().dtype()
    }

    /// Returns the bytes that the block takes, wherever they are.
    pub fn nbytes(&self) -> u64 {
        match self {
            Block::Dense(b) => b.values.nbytes(),
            Block::Csr(b) => CsrBlock::nbytes_of(b.rows as u64, b.values.len() as u64, b.values.dtype()),
        }
    }

    /// Returns the anonymous bytes among them: those that can get a process killed.
    pub fn anonymous_bytes(&self) -> u64 {
        match self {
            Block::Dense(b) => b.values.anonymous_bytes(),
            Block::Csr(b) => b.values.anonymous_bytes() + b.indptr.anonymous_bytes() + b.indices.anonymous_bytes(),
        }
    }

    /// Returns the block with its values as another dtype.
    pub fn cast(self, dtype: DType) -> Block {
        match self {
            Block::Dense(b) => Block::Dense(DenseBlock { values: b.values.cast(dtype), ..b }),
            Block::Csr(b) => Block::Csr(CsrBlock { values: b.values.cast(dtype), ..b }),
        }
    }

    /// Returns the block as a dense one; a dense one as it is.
    pub fn into_dense(self) -> DenseBlock {
        match self {
            Block::Dense(b) => b,
            Block::Csr(b) => b.to_dense(),
        }
    }

    /// Returns the block as a CSR one; a CSR one as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when there are more columns than `u32` can number.
    pub fn into_csr(self) -> Result<CsrBlock> {
        match self {
            Block::Dense(b) => b.to_csr(),
            Block::Csr(b) => Ok(b),
        }
    }

    /// Copies all values, zeros too, row by row.
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        match self {
            Block::Dense(b) => b.values.to_vec(),
            Block::Csr(b) => b.to_dense().values.to_vec(),
        }
    }

    /// Copies all values, zeros too, into nalgebra's column-major form.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::array::{Block, DenseBlock};
    /// let block = Block::from(DenseBlock::new(2, 2, vec![1.0, 2.0, 3.0, 4.0])?);
    /// assert_eq!(block.to_nalgebra::<f64>()[(0, 1)], 2.0);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn to_nalgebra<T: Element + nalgebra::Scalar>(&self) -> DMatrix<T> {
        let (rows, cols) = self.shape();
        DMatrix::from_row_slice(rows, cols, &self.to_vec::<T>())
    }

    /// Returns an error when pages of the mapped chunks vanished while they were read.
    ///
    /// # Errors
    ///
    /// [`Error::ChunkDamaged`]: what was computed from the block is void.
    pub fn check(&self) -> Result<()> {
        self.values().check()?;
        match self {
            Block::Dense(_) => Ok(()),
            Block::Csr(b) => b.indptr.check().and_then(|()| b.indices.check()),
        }
    }

    /// Returns the chunk that the stored values are mapped from.
    pub(super) fn mapping(&self) -> Option<&ChunkBytes> {
        with_values!(self.values(), buffer => match buffer {
            Buffer::Owned(_) => None,
            Buffer::Mapped { bytes, .. } => Some(bytes),
        })
    }

    /// Returns how many stored values some rows have.
    pub(super) fn nnz_of_rows(&self, rows: Range<u64>) -> u64 {
        match self {
            Block::Dense(b) => (rows.end - rows.start) * b.cols as u64,
            Block::Csr(b) => b.indptr[rows.end as usize] - b.indptr[rows.start as usize],
        }
    }

    /// Makes room for so many more rows and stored values, or says that there is none.
    pub(super) fn try_reserve(&mut self, rows: usize, nnz: usize) -> Result<()> {
        let bytes = match self {
            Block::Dense(b) => (nnz * b.values.dtype().size_of()) as u64,
            Block::Csr(b) => CsrBlock::nbytes_of(rows as u64, nnz as u64, b.values.dtype()),
        };
        let mut done = with_values!(self.values_mut(), buffer => buffer.to_mut().try_reserve_exact(nnz));
        if let Block::Csr(b) = self {
            done = done.and_then(|()| b.indptr.to_mut().try_reserve_exact(rows));
            done = done.and_then(|()| b.indices.to_mut().try_reserve_exact(nnz));
        }
        done.map_err(|_| Error::OutOfMemory { what: "the computed array".into(), bytes })
    }

    /// Writes the block as one sealed chunk.
    ///
    /// # Errors
    ///
    /// Those of [`Store::write`]: a full disk, a failed write; and [`Block::check`]'s.
    pub fn store(&self, store: &Store) -> Result<StoredBlock> {
        let (rows, cols) = self.shape();
        let chunk = match self {
            Block::Dense(b) => store.write(&[b.values.as_bytes()])?,
            Block::Csr(b) => store.write(&[
                b.values.as_bytes(),
                bytemuck::cast_slice(&b.indptr),
                bytemuck::cast_slice(&b.indices),
            ])?,
        };
        self.check()?;
        Ok(StoredBlock { rows, cols, nnz: self.values().len(), dtype: self.dtype(), kind: self.kind(), chunk })
    }
}

/// A block that lies in a chunk file. Cloning shares it; the last clone gives the space back.
#[derive(Clone, Debug)]
pub struct StoredBlock {
    rows: usize,
    cols: usize,
    nnz: usize,
    dtype: DType,
    kind: BlockKind,
    chunk: Chunk,
}

impl StoredBlock {
    /// Maps the block: its bytes are cache that the kernel takes back without asking.
    ///
    /// # Errors
    ///
    /// [`Error::ChunkDamaged`] when the chunk is not what was sealed.
    pub fn block(&self) -> Result<Block> {
        let bytes = self.chunk.bytes()?;
        let (rows, cols) = self.shape();
        let values = Values::mapped(self.dtype, bytes.clone(), 0);
        Ok(match self.kind {
            BlockKind::Dense => Block::Dense(DenseBlock { rows, cols, values }),
            BlockKind::Csr => {
                let indptr = Buffer::Mapped { bytes: bytes.clone(), part: 1 };
                Block::Csr(CsrBlock { rows, cols, indptr, indices: Buffer::Mapped { bytes, part: 2 }, values })
            }
        })
    }

    /// Returns rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }

    /// Returns the number of stored values.
    pub fn nnz(&self) -> usize {
        self.nnz
    }

    /// Returns the dtype.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns whether the block is dense or CSR.
    pub fn kind(&self) -> BlockKind {
        self.kind
    }

    /// Returns the chunk.
    pub fn chunk(&self) -> &Chunk {
        &self.chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Spool, SpoolOptions};

    fn store() -> Store {
        Spool::open(&SpoolOptions::default()).expect("a spool").store(0)
    }

    fn both_kinds(dtype: DType) -> [Block; 2] {
        let values = Values::from(vec![1u8, 0, 0, 2, 3, 0]).cast(dtype);
        let dense = DenseBlock::new(3, 2, values).expect("six values");
        [dense.to_csr().expect("two columns").into(), dense.into()]
    }

    #[test]
    fn a_stored_block_comes_back_mapped_with_the_same_values() {
        let store = store();
        for dtype in DType::ALL {
            for block in both_kinds(dtype) {
                let back = block.store(&store).and_then(|stored| stored.block()).expect("a stored block");
                assert_eq!(
                    back.to_vec::<f64>(),
                    [1.0, 0.0, 0.0, 2.0, 3.0, 0.0].map(|v: f64| match dtype {
                        DType::Bool => v.min(1.0),
                        _ => v,
                    })
                );
                assert_eq!((back.dtype(), back.kind(), back.shape()), (dtype, block.kind(), (3, 2)));
                assert_eq!((back.anonymous_bytes(), back.nbytes()), (0, block.nbytes()));
                assert_eq!(block.anonymous_bytes(), block.nbytes());
            }
        }
    }

    #[test]
    fn an_empty_block_is_stored_too() {
        let empty = Block::from(DenseBlock::new(0, 3, Vec::<f32>::new()).expect("no values"));
        let csr = Block::from(empty.clone().into_csr().expect("three columns"));
        for block in [empty, csr] {
            let back = block.store(&store()).and_then(|stored| stored.block()).expect("nothing to write");
            assert_eq!((back.shape(), back.to_vec::<f32>()), ((0, 3), vec![]));
        }
    }

    #[test]
    fn nalgebra_matrices_go_there_and_back() {
        let matrix = DMatrix::from_fn(3, 2, |i, j| (10 * i + j) as f64);
        let block = Block::from(DenseBlock::from_nalgebra(&matrix));
        assert_eq!(block.to_vec::<i32>(), [0, 1, 10, 11, 20, 21]);
        assert_eq!(block.to_nalgebra::<f64>(), matrix);
    }

    #[test]
    fn a_wrong_number_of_values_is_refused() {
        assert!(DenseBlock::new(2, 2, vec![1.0; 3]).is_err());
        assert!(DenseBlock::new(usize::MAX, 2, vec![1.0; 3]).is_err(), "no overflow");
    }
}
