//! Single-cell data, a matrix of cells × genes and what is known of each cell and each gene, and operations on it:
//! expressions, products and reductions of arrays, with scanpy's names and numbers.
//!
//! Rows are cells, columns are genes. Everything here is built on [`Array`](crate::array::Array) and knows no file.

mod anndata;
mod frame;
mod frame_views;
mod normalize;
mod numbers;
mod select;
#[cfg(test)]
mod testing;
mod value;

pub use anndata::{AnnData, Raw, Table};
pub use frame::{Categories, Column, Frame, FrameReader};
pub use normalize::{log1p, normalize_total};
pub use numbers::Numbers;
pub use select::Choice;
pub use value::{Tensor, Value};
