//! Chunked arrays. (Interface sketch; the array branch completes it.)
mod block;
mod source;

pub use block::{Block, BlockKind, Buffer, CsrBlock, DType, DenseBlock, Values};
pub use source::Source;
