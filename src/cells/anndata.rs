//! Annotated data: the matrix of cells × genes, what is known of each cell (obs), and of each gene (var).

use super::Frame;
use crate::array::Array;
use crate::error::{Error, Result};

/// A matrix of cells × genes with a row of `obs` for each cell and a row of `var` for each gene.
///
/// Opening one reads headers; the matrix is read block by block, names and columns when they are asked for.
#[derive(Clone, Debug)]
pub struct AnnData {
    /// The matrix: cells are rows, genes are columns.
    pub x: Array,
    /// What is known of each cell.
    pub obs: Frame,
    /// What is known of each gene.
    pub var: Frame,
}

impl AnnData {
    /// Joins a matrix and its two frames.
    ///
    /// # Errors
    /// `ShapeMismatch` when the frames' lengths are not the matrix' rows and columns.
    pub fn new(x: Array, obs: Frame, var: Frame) -> Result<Self> {
        if x.shape() == (obs.len(), var.len()) {
            return Ok(AnnData { x, obs, var });
        }
        Err(Error::ShapeMismatch {
            operation: "annotated data",
            left: x.shape(),
            right: (obs.len(), var.len()),
            expected: "X must have a row for each of obs and a column for each of var".into(),
        })
    }

    /// Returns the number of cells.
    pub fn n_obs(&self) -> u64 {
        self.obs.len()
    }

    /// Returns the number of genes.
    pub fn n_vars(&self) -> u64 {
        self.var.len()
    }

    /// Reads the cells' names.
    ///
    /// # Errors
    /// Whatever reading the file can fail with.
    pub fn obs_names(&self) -> Result<Vec<String>> {
        self.obs.row_names()
    }

    /// Reads the genes' names; they need not differ.
    ///
    /// # Errors
    /// Whatever reading the file can fail with.
    pub fn var_names(&self) -> Result<Vec<String>> {
        self.var.row_names()
    }
}
