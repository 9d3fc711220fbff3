//! Single-cell data: a matrix of cells × genes, and what is known of each cell and each gene.

mod anndata;
mod frame;

pub use anndata::AnnData;
pub use frame::{Categories, Column, Frame, FrameReader};
