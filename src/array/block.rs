//! The values of one chunk, in memory: dense (row-major) or CSR. (Interface sketch; the array branch completes it.)
use std::ops::Deref;

use crate::store::ChunkBytes;

/// The type of a matrix' values, as in NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "sketch")]
pub enum DType {
    Bool,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F32,
    F64,
}

/// Dense or CSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Row-major values.
    Dense,
    /// Compressed rows.
    Csr,
}

/// A run of values: owned, or one part of a mapped chunk.
#[derive(Clone, Debug)]
pub enum Buffer<T> {
    /// Anonymous memory.
    Owned(Vec<T>),
    /// Part `part` of a mapped chunk.
    Mapped {
        /// The chunk.
        bytes: ChunkBytes,
        /// Which of its parts.
        part: usize,
    },
}

impl<T: bytemuck::Pod> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Buffer::Owned(values) => values,
            Buffer::Mapped { bytes, part } => bytemuck::cast_slice(bytes.part(*part)),
        }
    }
}

/// Values of one dtype. `Bool` is stored as bytes 0 and 1.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "sketch")]
pub enum Values {
    Bool(Buffer<u8>),
    U8(Buffer<u8>),
    U16(Buffer<u16>),
    U32(Buffer<u32>),
    U64(Buffer<u64>),
    I8(Buffer<i8>),
    I16(Buffer<i16>),
    I32(Buffer<i32>),
    I64(Buffer<i64>),
    F32(Buffer<f32>),
    F64(Buffer<f64>),
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

/// Compressed rows; within a row the indices ascend strictly.
#[derive(Clone, Debug)]
pub struct CsrBlock {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows + 1` offsets, the first 0.
    pub indptr: Buffer<u64>,
    /// Column of each stored value.
    pub indices: Buffer<u32>,
    /// The stored values.
    pub values: Values,
}

/// The values of one chunk.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "sketch")]
pub enum Block {
    Dense(DenseBlock),
    Csr(CsrBlock),
}
