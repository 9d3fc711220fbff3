//! How highly variable genes are asked for: the flavours, and settings with scanpy's defaults.

use crate::runtime::Progress;

/// How genes are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HvgFlavor {
    /// By dispersions of what the logarithms were taken of, normalised by mean and deviation in bins of equal width.
    Seurat,
    /// By dispersions of the logarithms, normalised by median and median deviation in bins of equally many genes.
    CellRanger,
    /// By variances of counts beside those that loess expects; of several batches by the median rank.
    SeuratV3,
    /// The same; of several batches by in how many a gene is among the top ones.
    SeuratV3Paper,
}

impl HvgFlavor {
    /// Returns scanpy's name.
    pub fn name(self) -> &'static str {
        match self {
            HvgFlavor::Seurat => "seurat",
            HvgFlavor::CellRanger => "cell_ranger",
            HvgFlavor::SeuratV3 => "seurat_v3",
            HvgFlavor::SeuratV3Paper => "seurat_v3_paper",
        }
    }

    pub(super) fn takes_counts(self) -> bool {
        matches!(self, HvgFlavor::SeuratV3 | HvgFlavor::SeuratV3Paper)
    }
}

/// Settings of [`highly_variable_genes`](super::highly_variable_genes); the defaults are scanpy's.
#[derive(Clone)]
pub struct HvgOptions {
    /// How genes are ranked.
    pub flavor: HvgFlavor,
    /// How many genes to select; then the cut-offs have no say. `seurat_v3` takes 2,000 where none is given.
    pub n_top_genes: Option<usize>,
    /// Means must be above this.
    pub min_mean: f64,
    /// Means must be below this.
    pub max_mean: f64,
    /// Normalised dispersions must be above this.
    pub min_disp: f64,
    /// Normalised dispersions must be below this.
    pub max_disp: f64,
    /// How many bins `seurat` puts genes into.
    pub n_bins: usize,
    /// The share of genes that loess looks at around a mean, above 0 and at most 1.
    pub span: f64,
    /// The column of obs that names each cell's batch: genes are ranked within each.
    pub batch_key: Option<String>,
    /// The base of the logarithms that `seurat` takes back. Where it is not given that of `uns/log1p/base`, or e.
    pub log1p_base: Option<f64>,
    /// Whether to warn when `seurat_v3` is given what are no counts.
    pub check_values: bool,
    /// The layer to take instead of X.
    pub layer: Option<String>,
    /// Called as the tasks of a pass finish.
    pub progress: Option<Progress>,
}

impl Default for HvgOptions {
    fn default() -> Self {
        HvgOptions {
            flavor: HvgFlavor::Seurat,
            n_top_genes: None,
            min_mean: 0.0125,
            max_mean: 3.0,
            min_disp: 0.5,
            max_disp: f64::INFINITY,
            n_bins: 20,
            span: 0.3,
            batch_key: None,
            log1p_base: None,
            check_values: true,
            layer: None,
            progress: None,
        }
    }
}
