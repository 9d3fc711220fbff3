//! Single-cell operations: expressions, products and reductions of arrays, with scanpy's names and numbers.
//!
//! Rows are cells, columns are genes. Everything here is built on [`Array`](crate::array::Array) and knows no file.

mod normalize;

pub use normalize::{log1p, normalize_total};
