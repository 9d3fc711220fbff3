//! Principal components of cells, left where scanpy's `pp.pca` leaves them.
//!
//! | part | what | shape, dtype |
//! | --- | --- | --- |
//! | `obsm["X_pca"]` | the cells in terms of the components, as chunks on the workers | cells × components, `float32` |
//! | `varm["PCs"]` | the components; zeros for genes that were left out | genes × components, `float64` |
//! | `uns["pca"]` | `params`, `variance`, `variance_ratio` | components |
//!
//! The work is [`linalg::pca`]'s: exact or to a residual that it reports, centred without filling a sparse matrix, in f64;
//! in each component the entry of largest magnitude is positive.

use std::collections::BTreeMap;

use nalgebra::DMatrix;

use super::{AnnData, Table, Value};
use crate::array::{Array, DType};
use crate::error::{Error, Result};
use crate::linalg::{self, Pca, PcaSolver};
use crate::runtime::{Cluster, Progress};

/// How many components are found when nothing is said, as in scanpy.
const N_COMPS: u64 = 50;
/// The column that scanpy marks variable genes in.
const HIGHLY_VARIABLE: &str = "highly_variable";

/// Which genes are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Genes {
    /// Those that `var["highly_variable"]` marks; all where there is no such column.
    #[default]
    HighlyVariable,
    /// All of them.
    All,
    /// Those that a column of `var` marks.
    Marked(String),
}

/// Settings of [`pca`].
#[derive(Clone)]
pub struct PcaOptions {
    /// How many components; `None` for 50, or one less than the smaller of cells and genes where that is 50 or less.
    pub n_comps: Option<usize>,
    /// Which genes are taken.
    pub genes: Genes,
    /// The layer to take, instead of `x`.
    pub layer: Option<String>,
    /// Whether the genes' values are first left as chunks on the workers: then one pass reads what they are computed from, and
    /// all passes of the solver read chunks.
    pub persist: bool,
    /// The name of the three parts, instead of `X_pca`, `PCs` and `pca`.
    pub key_added: Option<String>,
    /// How the components are found.
    pub solver: PcaSolver,
    /// Of the random start of the iterative solvers.
    pub seed: u64,
    /// The dtype of the cells' scores.
    pub dtype: DType,
    /// Called as blocks finish; all passes count.
    pub progress: Option<Progress>,
}

impl Default for PcaOptions {
    fn default() -> Self {
        PcaOptions {
            n_comps: None,
            genes: Genes::default(),
            layer: None,
            persist: false,
            key_added: None,
            solver: PcaSolver::Auto,
            seed: 0,
            dtype: DType::F32,
            progress: None,
        }
    }
}

/// Adds the principal components of the cells: two passes over the data by the covariance, more by the iterative solvers.
///
/// # Errors
/// `BadArgument` for a column or layer that is missing and for scores of an integer dtype; those of [`linalg::pca`].
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, cells::{self, PcaOptions}, io::h5ad};
/// let cluster = Cluster::builder().allowance("256MiB".parse()?).workers(2).build()?;
/// let data = h5ad::open("bench-data/pbmc68k_reduced.h5ad")?;
/// let data = cells::pca(&cluster, &data, &PcaOptions { n_comps: Some(10), ..Default::default() })?;
/// assert_eq!(data.obsm["X_pca"].array().map(|scores| scores.shape()), Some((700, 10)));
/// assert_eq!(data.varm["PCs"].rows(), 765);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn pca(cluster: &Cluster, data: &AnnData, options: &PcaOptions) -> Result<AnnData> {
    if !options.dtype.is_float() {
        return Err(Error::bad_argument("pca", "dtype", options.dtype, "float32 or float64"));
    }
    let x = data.matrix("pca", options.layer.as_deref())?;
    let genes = marked(data, &options.genes)?;
    let taken = genes.as_ref().map_or(Ok(x.clone()), |genes| x.select_columns(genes.clone()))?;
    let taken = if options.persist { taken.persist_regrouped(cluster, options.progress.clone())? } else { taken };
    let least = taken.rows().min(taken.cols());
    let usual = if least <= N_COMPS { least.saturating_sub(1) } else { N_COMPS };
    let settings = linalg::PcaOptions {
        components: options.n_comps.unwrap_or(usual as usize).into(),
        ddof: 1,
        solver: options.solver,
        seed: options.seed,
        progress: options.progress.clone(),
    };
    let found = linalg::pca(cluster, &taken, &settings)?;
    data.with_components(&found, genes.as_deref(), options)
}

impl AnnData {
    /// Adds components that were found of these cells where [`pca`] leaves its own. `genes` are the places of the genes that were
    /// taken, in the order of the components' columns; `None` for all. Of the options those that name parts have a say.
    ///
    /// # Errors
    /// `ShapeMismatch` when the components are not of these cells and genes; `OutOfRange` for a gene that there is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, cells::PcaOptions, io::h5ad, linalg};
    /// let cluster = Cluster::builder().allowance("256MiB".parse()?).workers(2).build()?;
    /// let data = h5ad::open("bench-data/pbmc68k_reduced.h5ad")?;
    /// let settings = linalg::PcaOptions { components: 0.5.into(), ..Default::default() };
    /// let found = linalg::pca(&cluster, &data.x, &settings)?;
    /// let data = data.with_components(&found, None, &PcaOptions::default())?;
    /// assert_eq!(data.varm["PCs"].rows(), 765);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn with_components(&self, found: &Pca, genes: Option<&[u64]>, options: &PcaOptions) -> Result<AnnData> {
        let n_taken = genes.map_or(self.n_vars(), |genes| genes.len() as u64);
        let (k, expected) = (found.scores.cols(), (self.n_obs(), n_taken));
        if (found.scores.rows(), found.components.ncols() as u64) != expected {
            return Err(Error::ShapeMismatch {
                operation: "add components",
                left: (found.scores.rows(), found.components.ncols() as u64),
                right: expected,
                expected: format!("scores of {} cells and components of {} genes", expected.0, expected.1).into(),
            });
        }
        if let Some(index) = genes.unwrap_or_default().iter().copied().find(|gene| *gene >= self.n_vars()) {
            return Err(Error::OutOfRange { operation: "add components", index, len: self.n_vars() });
        }
        let mut data = self.clone();
        let key = |usual: &str| options.key_added.clone().unwrap_or_else(|| usual.to_string());
        data.obsm.insert(key("X_pca"), Table::Array(found.scores.astype(options.dtype)));
        let loadings = loadings(&found.components, genes, (self.n_vars() as usize, k as usize));
        data.varm.insert(key("PCs"), Table::Array(loadings));
        let column = genes.and(options.genes.column());
        let mut params = BTreeMap::from([
            ("zero_center".to_string(), Value::from(true)),
            ("use_highly_variable".to_string(), Value::from(column == Some(HIGHLY_VARIABLE))),
            ("mask_var".to_string(), column.map_or(Value::Null, Value::from)),
        ]);
        params.extend(options.layer.as_deref().map(|layer| ("layer".to_string(), Value::from(layer))));
        let uns = [
            ("params", Value::Group(params)),
            ("variance", Value::vector(found.explained_variance.clone())),
            ("variance_ratio", Value::vector(found.explained_variance_ratio.clone())),
        ];
        data.uns.insert(key("pca"), Value::group(uns));
        Ok(data)
    }
}

impl Genes {
    /// Returns the column of `var` that marks them.
    fn column(&self) -> Option<&str> {
        match self {
            Genes::All => None,
            Genes::HighlyVariable => Some(HIGHLY_VARIABLE),
            Genes::Marked(name) => Some(name),
        }
    }
}

/// Finds the places of the genes that are taken; nothing for all genes.
fn marked(data: &AnnData, genes: &Genes) -> Result<Option<Vec<u64>>> {
    let Some(column) = genes.column() else { return Ok(None) };
    if *genes == Genes::HighlyVariable && !data.var.columns().iter().any(|name| name == column) {
        return Ok(None);
    }
    let mask = data.var.mask("pca", column)?;
    Ok(Some((0..).zip(mask).filter(|(_, taken)| *taken).map(|(gene, _)| gene).collect()))
}

/// Returns the components as columns, a row for each gene: zeros for those that were left out.
fn loadings(components: &DMatrix<f64>, genes: Option<&[u64]>, (n_vars, k): (usize, usize)) -> Array {
    let Some(genes) = genes else { return Array::from_nalgebra(&components.transpose()) };
    let mut all = DMatrix::zeros(n_vars, k);
    genes.iter().zip(components.column_iter()).for_each(|(gene, c)| all.set_row(*gene as usize, &c.transpose()));
    Array::from_nalgebra(&all)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{both_kinds, cluster, count, data_of, values};
    use super::super::{Column, Scale};
    use super::*;

    fn vector(value: &Value, name: &str) -> Vec<f64> {
        match value.get(name) {
            Some(Value::Numbers(tensor)) => tensor.values.to_vec(),
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn parts_stand_where_scanpy_looks_for_them_and_rebuild_the_matrix() {
        let mask: Vec<bool> = (0..8).map(|j| j != 2 && j != 5).collect();
        let mut data = data_of(30, 8, count);
        let column = Column::Bools(mask.iter().copied().map(Some).collect());
        data.var = data.var.with_column("highly_variable", column).expect("eight genes");
        let kinds = both_kinds(&data, 7);
        for (data, persist) in kinds.iter().flat_map(|data| [(data, false), (data, true)]) {
            let options = PcaOptions { n_comps: Some(6), dtype: DType::F64, persist, ..Default::default() };
            let found = pca(&cluster(2), data, &options);
            let found = found.expect("small");
            found.check().expect("shapes are right");
            let scores =
                found.obsm["X_pca"].array().expect("numbers").compute(&cluster(1)).expect("small").to_nalgebra::<f64>();
            let loadings =
                found.varm["PCs"].array().expect("numbers").compute(&cluster(1)).expect("small").to_nalgebra::<f64>();
            let rebuilt = scores * loadings.transpose();
            for j in 0..8 {
                let mean = (0..30).map(|i| count(i, j)).sum::<f64>() / 30.0;
                for i in 0..30 {
                    let expected = if mask[j] { count(i, j) - mean } else { 0.0 };
                    // Numbers up to 200, through eigenvectors of squares.
                    assert!((rebuilt[(i, j)] - expected).abs() < 1e-10);
                }
            }
            let uns = &found.uns["pca"];
            let ratio: f64 = vector(uns, "variance_ratio").iter().sum();
            assert!((ratio - 1.0).abs() < 1e-12, "all components of six genes hold all of their variance");
            let params = uns.get("params").expect("parameters");
            assert_eq!(params.get("mask_var").and_then(Value::text), Some("highly_variable"));
            assert_eq!(params.get("use_highly_variable").and_then(Value::number), Some(1.0));
        }
    }

    #[test]
    fn components_of_a_scaled_sparse_matrix_are_those_of_the_dense_one() {
        let options = PcaOptions { n_comps: Some(3), dtype: DType::F64, ..Default::default() };
        let scores = |data: &AnnData, densify| {
            let scaled = data.scale(&cluster(2), &Scale { max_value: Some(2.0), densify, ..Default::default() });
            let found = pca(&cluster(2), &scaled.expect("small"), &options).expect("small");
            values(&cluster(1), found.obsm["X_pca"].array().expect("numbers"))
        };
        let [dense, sparse] = both_kinds(&data_of(40, 9, count), 11);
        let expected = scores(&dense, false);
        for found in [scores(&sparse, false), scores(&sparse, true)] {
            // Scores of about one, from another order of additions; the gaps between the variances are not small.
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-10));
        }
    }

    #[test]
    fn the_usual_number_of_components_is_scanpys() {
        let number = |rows, cols| {
            let found = pca(&cluster(1), &data_of(rows, cols, count), &PcaOptions::default()).expect("small");
            found.obsm["X_pca"].array().expect("numbers").cols()
        };
        assert_eq!((number(60, 51), number(60, 50), number(9, 60)), (50, 49, 8));
    }

    #[test]
    fn missing_columns_and_layers_are_refused() {
        let data = data_of(9, 4, count);
        for options in [
            PcaOptions { genes: Genes::Marked("mine".into()), ..Default::default() },
            PcaOptions { layer: Some("counts".into()), ..Default::default() },
            PcaOptions { dtype: DType::I32, ..Default::default() },
        ] {
            assert!(matches!(pca(&cluster(1), &data, &options), Err(Error::BadArgument { .. })));
        }
        let named = PcaOptions { key_added: Some("mine".into()), ..Default::default() };
        let found = pca(&cluster(1), &data, &named).expect("small");
        assert!(found.obsm.contains_key("mine") && found.varm.contains_key("mine") && found.uns.contains_key("mine"));
    }
}
