//! Annotated data: the matrix of cells × genes, what is known of each cell (obs), and of each gene (var).

use std::collections::BTreeMap;

use super::{Frame, Value};
use crate::array::Array;
use crate::error::{Error, Result};

/// A matrix of cells × genes with a row of `obs` for each cell and a row of `var` for each gene, and what belongs to them.
///
/// Opening one reads headers; matrices are read block by block, names and columns when they are asked for. The fields
/// are those of Python's `anndata.AnnData`, and mean the same.
#[derive(Clone, Debug)]
pub struct AnnData {
    /// The matrix: cells are rows, genes are columns.
    pub x: Array,
    /// What is known of each cell.
    pub obs: Frame,
    /// What is known of each gene.
    pub var: Frame,
    /// Further matrices of the shape of `x`: counts beside logarithms, say.
    pub layers: BTreeMap<String, Array>,
    /// Matrices and frames with a row for each cell: scores of a PCA, places in a plane.
    pub obsm: BTreeMap<String, Table>,
    /// Matrices and frames with a row for each gene: loadings of a PCA.
    pub varm: BTreeMap<String, Table>,
    /// Matrices of cells × cells: graphs of neighbours.
    pub obsp: BTreeMap<String, Array>,
    /// Matrices of genes × genes.
    pub varp: BTreeMap<String, Array>,
    /// Everything else: parameters, colours, results.
    pub uns: BTreeMap<String, Value>,
    /// The matrix before genes were selected or values were scaled.
    pub raw: Option<Raw>,
}

/// A matrix of the same cells with genes of its own, as it was before genes were selected.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The matrix: the cells of the data, and all genes.
    pub x: Array,
    /// What is known of each of these genes.
    pub var: Frame,
    /// Matrices and frames with a row for each of these genes.
    pub varm: BTreeMap<String, Table>,
}

/// What has a row for each cell or gene.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Table {
    /// Numbers, of any number of columns.
    Array(Array),
    /// Named columns.
    Frame(Frame),
}

impl Table {
    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        match self {
            Table::Array(array) => array.rows(),
            Table::Frame(frame) => frame.len(),
        }
    }

    /// Returns the matrix, where this is one.
    pub fn array(&self) -> Option<&Array> {
        match self {
            Table::Array(array) => Some(array),
            Table::Frame(_) => None,
        }
    }
}

impl From<Array> for Table {
    fn from(array: Array) -> Self {
        Table::Array(array)
    }
}

impl From<Frame> for Table {
    fn from(frame: Frame) -> Self {
        Table::Frame(frame)
    }
}

impl AnnData {
    /// Joins a matrix and its two frames; everything else is empty.
    ///
    /// # Errors
    /// `ShapeMismatch` when the frames' lengths are not the matrix' rows and columns.
    pub fn new(x: Array, obs: Frame, var: Frame) -> Result<Self> {
        if x.shape() == (obs.len(), var.len()) {
            let (layers, obsm, varm) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            let (obsp, varp, uns) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            return Ok(AnnData { x, obs, var, layers, obsm, varm, obsp, varp, uns, raw: None });
        }
        Err(Error::ShapeMismatch {
            operation: "annotated data",
            left: x.shape(),
            right: (obs.len(), var.len()),
            expected: "X must have a row for each of obs and a column for each of var".into(),
        })
    }

    /// Checks that every part has as many rows and columns as there are cells and genes.
    ///
    /// # Errors
    /// `ShapeMismatch` that names the part.
    pub fn check(&self) -> Result<()> {
        let (n, p) = (self.n_obs(), self.n_vars());
        let raw = self.raw.iter().map(|raw| ("raw".to_string(), raw.x.shape(), (n, raw.var.len())));
        let named = |parts: &BTreeMap<String, Array>, slot: &str, expected: (u64, u64)| {
            parts.iter().map(|(name, array)| (format!("{slot}/{name}"), array.shape(), expected)).collect::<Vec<_>>()
        };
        let tables = |parts: &BTreeMap<String, Table>, slot: &str, rows: u64| {
            let one = |(name, table): (&String, &Table)| {
                let cols = table.array().map_or(0, Array::cols);
                (format!("{slot}/{name}"), (table.rows(), cols), (rows, cols))
            };
            parts.iter().map(one).collect::<Vec<_>>()
        };
        let parts = [("X".to_string(), self.x.shape(), (n, p))].into_iter().chain(raw);
        let parts = parts.chain(named(&self.layers, "layers", (n, p)));
        let parts = parts.chain(named(&self.obsp, "obsp", (n, n))).chain(named(&self.varp, "varp", (p, p)));
        let mut parts = parts.chain(tables(&self.obsm, "obsm", n)).chain(tables(&self.varm, "varm", p));
        match parts.find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((place, found, expected)) => Err(Error::ShapeMismatch {
                operation: "annotated data",
                left: found,
                right: expected,
                expected: format!("{place} must be {} × {}", expected.0, expected.1).into(),
            }),
        }
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
