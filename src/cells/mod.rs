//! Single-cell data, a matrix of cells × genes and what is known of each cell and each gene, and operations on it:
//! expressions, products and reductions of arrays, with scanpy's names and numbers.
//!
//! Rows are cells, columns are genes. Everything here is built on [`Array`](crate::array::Array) and knows no file.

mod aggregate;
mod anndata;
mod frame;
mod hvg;
mod normalize;
mod numbers;
mod value;

pub use aggregate::{AggregateOptions, Aggregation, aggregate};
pub use anndata::{AnnData, Raw, Table};
pub use frame::{Categories, Column, Frame, FrameReader};
pub use hvg::{HighlyVariable, HvgFlavor, HvgOptions, highly_variable_genes};
pub use normalize::{log1p, normalize_total};
pub use numbers::Numbers;
pub use value::{Tensor, Value};
