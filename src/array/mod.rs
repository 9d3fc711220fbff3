//! Chunked arrays.
mod block;
mod csr;
mod dtype;
mod source;
mod values;

pub use block::{Block, BlockKind, DenseBlock, StoredBlock};
pub use csr::CsrBlock;
pub use dtype::{DType, Element};
pub use source::Source;
pub use values::{Buffer, Values};
