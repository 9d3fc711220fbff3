//! Single-cell data, a matrix of cells × genes and what is known of each cell and each gene, and operations on it:
//! expressions, products and reductions of arrays, with scanpy's names and numbers.
//!
//! Rows are cells, columns are genes. Everything here is built on [`Array`](crate::array::Array) and knows no file.

mod aggregate;
mod anndata;
mod concat;
mod filter;
mod frame;
mod frame_views;
mod hvg;
mod knn;
mod neighbors;
mod normalize;
mod numbers;
mod parts;
mod pca;
mod qc;
mod sample;
mod scale;
mod select;
mod stacked;
mod tally;
#[cfg(test)]
mod testing;
mod value;

pub use aggregate::{AggregateOptions, Aggregation, aggregate};
pub use anndata::{AnnData, Raw, Table};
pub use concat::{Concat, Join, concat};
pub use filter::{CellLimits, Filtered, GeneLimits, filter_cells, filter_genes};
pub use frame::{Categories, Column, Frame, FrameReader};
pub use hvg::{HighlyVariable, HvgFlavor, HvgOptions, highly_variable_genes};
pub use knn::{Metric, knn};
pub use neighbors::{NeighborsOptions, neighbors};
pub use normalize::{NormalizeTotal, log1p, normalize_total, normalize_total_with};
pub use numbers::Numbers;
pub use pca::{Genes, PcaOptions, pca};
pub use qc::{QcOptions, calculate_qc_metrics};
pub use sample::{Amount, Sample, sample};
pub use scale::{Scale, Scaled, scale};
pub use select::Choice;
pub use value::{Tensor, Value};

use parts::{on_lane, whole_rows};
