//! Highly variable genes, in scanpy's four flavours.
//!
//! ```text
//!   seurat, cell_ranger     logarithms ─▶ one pass: mean and variance of each gene in each batch ─▶ dispersion.rs
//!   seurat_v3, its paper's  counts ─────▶ the same pass ─▶ loess.rs ─▶ a pass over clipped counts ─▶ v3.rs
//! ```
//!
//! All batches share a pass: it is the one of [`aggregate`](super::aggregate()), whose groups are the batches, and gives the
//! same bits with any number of workers and any allowance. Selections and their edge cases are those of scanpy 1.12, but genes
//! are told apart by their place where it goes by their names, and batches without a cell are left out.

mod dispersion;
mod loess;
mod options;
mod v3;

pub use options::{HvgFlavor, HvgOptions};

use std::sync::Arc;

use super::aggregate::{Groups, NO_GROUP, Squared, Sweep, matrix};
use super::{AnnData, Column, Frame, Value};
use crate::array::{Array, DType, Plan};
use crate::error::{Error, Result};
use crate::runtime::Cluster;

const NAME: &str = "highly_variable_genes";

/// Which genes vary, and by what they were ranked; each list has an entry for each gene.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HighlyVariable {
    /// How genes were ranked.
    pub flavor: HvgFlavor,
    /// Which genes were selected.
    pub highly_variable: Vec<bool>,
    /// The columns of numbers, in the order in which scanpy adds them to var: `means`, `dispersions`, `dispersions_norm`, or
    /// `highly_variable_rank`, `means`, `variances`, `variances_norm`.
    pub numbers: Vec<(&'static str, Vec<f64>)>,
    /// In how many batches each gene was selected, where there are batches.
    pub n_batches: Option<Vec<u64>>,
    /// How many batches there are: 1 where no column names them.
    pub batches: usize,
    /// Whether all values were counts, where that was checked.
    pub are_counts: Option<bool>,
}

impl HighlyVariable {
    /// Returns one of the columns of numbers.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.numbers.iter().find(|(known, _)| *known == name).map(|(_, values)| &values[..])
    }

    /// Returns the places of the selected genes, ascending.
    pub fn selected(&self) -> Vec<u64> {
        (0..).zip(&self.highly_variable).filter(|(_, selected)| **selected).map(|(gene, _)| gene).collect()
    }

    /// Returns what scanpy adds to var, as a frame of these names.
    ///
    /// # Errors
    /// `BadArgument` when there is not a name for each gene.
    pub fn to_frame(&self, names: Vec<String>) -> Result<Frame> {
        let selected = Column::Bools(self.highly_variable.iter().copied().map(Some).collect());
        let mut columns = vec![("highly_variable".to_string(), selected)];
        columns.extend(self.numbers.iter().map(|(name, values)| (name.to_string(), Column::from(values.clone()))));
        if let Some(n) = &self.n_batches {
            let counts: Vec<i64> = n.iter().map(|n| *n as i64).collect();
            columns.push(("highly_variable_nbatches".into(), Column::from(counts)));
            if !self.flavor.takes_counts() {
                let everywhere = n.iter().map(|n| Some(*n == self.batches as u64)).collect();
                columns.push(("highly_variable_intersection".into(), Column::Bools(everywhere)));
            }
        }
        Frame::in_memory(names, columns)
    }

    /// Returns what scanpy writes to `uns/hvg`.
    pub fn uns(&self) -> Value {
        Value::group([("flavor", self.flavor.name().into())])
    }
}

/// The moments of each gene in a batch.
#[derive(Clone, Debug, Default)]
struct GeneMoments {
    /// Cells.
    n: u64,
    means: Vec<f64>,
    /// Squares about the mean over n − 1; 0 for a single cell.
    variances: Vec<f64>,
    /// How many values are not zero.
    nonzero: Vec<u32>,
    /// How many values are above zero.
    present: Vec<u32>,
}

impl GeneMoments {
    /// Returns n − 1, but at least 1.
    fn degrees(&self) -> f64 {
        self.n.saturating_sub(1).max(1) as f64
    }

    /// Returns the genes that some cell expresses, and where they stand.
    fn expressed(&self) -> (GeneMoments, Vec<usize>) {
        let there: Vec<usize> = (0..self.present.len()).filter(|gene| self.present[*gene] > 0).collect();
        let genes = GeneMoments {
            n: self.n,
            means: there.iter().map(|gene| self.means[*gene]).collect(),
            variances: there.iter().map(|gene| self.variances[*gene]).collect(),
            nonzero: there.iter().map(|gene| self.nonzero[*gene]).collect(),
            present: there.iter().map(|gene| self.present[*gene]).collect(),
        };
        (genes, there)
    }
}

/// Finds genes that vary more than others of like expression.
///
/// `Seurat` and `CellRanger` take logarithms, as [`log1p`](super::log1p) gives them, and read the data once; the others take
/// counts and read them twice. Cells of no batch (a missing label) have no say, but in the `means` and `variances` of
/// `SeuratV3`, which are those of all cells.
///
/// # Errors
/// `BadArgument` for settings that make no sense, a column or layer that there is not, and a gene whose values are not all
/// finite, or for `SeuratV3` too few of whose genes vary; `TooBig` before any work when a block does not fit the allowance; those
/// of the blocks.
///
/// # Examples
/// ```
/// use allotment::cells::{AnnData, Frame, HvgOptions, highly_variable_genes, log1p};
/// use allotment::{Cluster, array::Array};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let names = |n: usize| Frame::in_memory((0..n).map(|i| i.to_string()).collect(), vec![]);
/// let counts = Array::from_rows(&[[1.0, 0.0, 2.0], [1.0, 9.0, 3.0], [2.0, 0.0, 2.0], [1.0, 0.0, 3.0]])?;
/// let data = AnnData::new(log1p(&counts), names(4)?, names(3)?)?;
///
/// let found = highly_variable_genes(&cluster, &data, &HvgOptions { n_top_genes: Some(1), ..Default::default() })?;
/// let frame = found.to_frame(data.var_names()?)?;
/// assert_eq!(frame.columns(), ["highly_variable", "means", "dispersions", "dispersions_norm"]);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn highly_variable_genes(cluster: &Cluster, data: &AnnData, options: &HvgOptions) -> Result<HighlyVariable> {
    let job = Job::new(data, options)?;
    let moments = job.moments(cluster)?;
    check_finite(&moments, data)?;
    if options.flavor.takes_counts() { job.by_variance(cluster, &moments) } else { job.by_dispersion(data, &moments) }
}

impl HvgOptions {
    /// Returns what [`highly_variable_genes`] will take, without computing anything.
    ///
    /// # Errors
    /// Those of [`highly_variable_genes`] that are known before any work.
    pub fn plan(&self, cluster: &Cluster, data: &AnnData) -> Result<Plan> {
        let job = Job::new(data, self)?;
        let pass = job.sweep().deal::<Squared>(cluster, &job.x)?.plan(cluster)?;
        if self.flavor.takes_counts() { Ok(pass.clone().then("hvg clipped counts", &pass)) } else { Ok(pass) }
    }
}

/// Checked settings.
struct Job<'a> {
    /// What moments are taken of.
    x: Array,
    /// The batch of each cell; for counts those of no batch are one of their own, the last.
    codes: Arc<[u32]>,
    sizes: Vec<u64>,
    n_batches: usize,
    options: &'a HvgOptions,
}

impl<'a> Job<'a> {
    fn new(data: &AnnData, options: &'a HvgOptions) -> Result<Job<'a>> {
        let refuse = |what, found: String, expected: &str| Err(Error::bad_argument(NAME, what, found, expected));
        match options {
            HvgOptions { n_top_genes: Some(0), .. } => return refuse("n_top_genes", "0".into(), "at least 1"),
            HvgOptions { n_bins: 0, .. } => return refuse("n_bins", "0".into(), "at least 1"),
            HvgOptions { log1p_base: Some(base), .. } if base.is_nan() || *base <= 0.0 || *base == 1.0 => {
                return refuse("log1p_base", base.to_string(), "above 0 and not 1");
            }
            _ => {}
        }
        let x = matrix(data, options.layer.as_deref(), NAME)?;
        let (mut codes, mut sizes) = match &options.batch_key {
            Some(key) => {
                let groups = Groups::of(&data.obs, std::slice::from_ref(key))?;
                (groups.of_cells, groups.sizes)
            }
            None => (vec![0; data.obs.len() as usize], vec![data.obs.len()]),
        };
        let n_batches = sizes.len();
        if n_batches == 0 {
            return refuse("batch_key", "a column without a label".into(), "a batch for some cell");
        }
        if options.flavor.takes_counts() {
            let outside = codes.iter_mut().filter(|code| **code == NO_GROUP);
            sizes.push(outside.map(|code| *code = n_batches as u32).count() as u64);
        }
        let x = if options.flavor == HvgFlavor::Seurat { without_logarithms(x, data, options) } else { x.clone() };
        Ok(Job { x, codes: codes.into(), sizes, n_batches, options })
    }

    fn sweep(&self) -> Sweep {
        Sweep {
            name: NAME,
            groups: self.codes.clone(),
            n_groups: self.sizes.len(),
            above: 0.0,
            ends: false,
            progress: self.options.progress.clone(),
        }
    }

    /// Takes the moments of all groups of cells in one pass.
    fn moments(&self, cluster: &Cluster) -> Result<Vec<GeneMoments>> {
        let mut found: Vec<GeneMoments> =
            self.sizes.iter().map(|n| GeneMoments { n: *n, ..GeneMoments::default() }).collect();
        self.sweep().run::<Squared>(cluster, &self.x, |tallies| {
            let width = tallies.genes.len();
            for (at, seen) in tallies.seen().enumerate() {
                let batch = &mut found[at / width];
                let moments = seen.moments(batch.n);
                batch.means.push(moments.mean);
                batch.variances.push(moments.squares / batch.degrees());
                batch.nonzero.push(seen.nonzero);
                batch.present.push(seen.present);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn by_dispersion(&self, data: &AnnData, moments: &[GeneMoments]) -> Result<HighlyVariable> {
        let (found, highly_variable, n_batches) = match self.options.batch_key {
            None => {
                let found = dispersion::dispersions(&moments[0], self.options.flavor, self.options.n_bins);
                let highly_variable = found.select(self.options);
                (found, highly_variable, None)
            }
            Some(_) => {
                let merged = dispersion::merge(moments, &data.var_names()?, self.options);
                (merged.found, merged.highly_variable, Some(merged.n_batches))
            }
        };
        let numbers =
            vec![("means", found.means), ("dispersions", found.dispersions), ("dispersions_norm", found.normalised)];
        let (flavor, batches) = (self.options.flavor, self.n_batches);
        Ok(HighlyVariable { flavor, highly_variable, numbers, n_batches, batches, are_counts: None })
    }

    fn by_variance(&self, cluster: &Cluster, moments: &[GeneMoments]) -> Result<HighlyVariable> {
        let (options, batches) = (self.options, &moments[..self.n_batches]);
        let (standardised, counts) = v3::standardised_variances(cluster, &self.x, &self.codes, batches, options)?;
        if options.check_values && !counts {
            tracing::warn!(
                "{NAME}: {} expects counts, but some values are not whole or negative",
                options.flavor.name()
            );
        }
        let n_genes = moments[0].means.len();
        let ranking = v3::rank(&standardised, n_genes, options.flavor, options.n_top_genes.unwrap_or(2000));
        let (means, variances) = of_all(moments, n_genes);
        let numbers = vec![
            ("highly_variable_rank", ranking.ranks),
            ("means", means),
            ("variances", variances),
            ("variances_norm", ranking.variances_norm),
        ];
        Ok(HighlyVariable {
            flavor: options.flavor,
            highly_variable: ranking.highly_variable,
            numbers,
            n_batches: options.batch_key.as_ref().map(|_| ranking.n_batches),
            batches: self.n_batches,
            are_counts: options.check_values.then_some(counts),
        })
    }
}

/// Takes the logarithms back, as an expression.
fn without_logarithms(x: &Array, data: &AnnData, options: &HvgOptions) -> Array {
    let recorded = || data.uns.get("log1p").and_then(|log1p| log1p.get("base")).and_then(Value::number);
    let floats = if x.dtype().is_float() { x.clone() } else { x.astype(DType::F64) };
    match options.log1p_base.or_else(recorded) {
        Some(base) => floats.scale(base.ln()).expm1(),
        None => floats.expm1(),
    }
}

/// Refuses genes with a NaN or an infinity, which would spoil the bins of others.
fn check_finite(batches: &[GeneMoments], data: &AnnData) -> Result<()> {
    let infinite = |batch: &GeneMoments| {
        let finite = |(mean, variance): (&f64, &f64)| mean.is_finite() && variance.is_finite();
        if batch.n == 0 { None } else { batch.means.iter().zip(&batch.variances).position(|gene| !finite(gene)) }
    };
    let Some(gene) = batches.iter().find_map(infinite) else { return Ok(()) };
    let name = data.var_names()?.get(gene).cloned().unwrap_or_default();
    let found = format!("a mean or variance of gene {gene} ({name:?}) that is not finite");
    Err(Error::bad_argument(NAME, "values", found, "finite values without NaN, whose exponentials do not overflow"))
}

/// Joins the moments of groups into means and variances of all cells, by Chan's formula.
fn of_all(groups: &[GeneMoments], n_genes: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut n, mut means, mut squares) = (0.0, vec![0.0; n_genes], vec![0.0; n_genes]);
    for group in groups.iter().filter(|group| group.n > 0) {
        let (m, all) = (group.n as f64, n + group.n as f64);
        for gene in 0..n_genes {
            let apart = group.means[gene] - means[gene];
            means[gene] += apart * (m / all);
            squares[gene] += group.variances[gene] * group.degrees() + apart * apart * (n * m / all);
        }
        n = all;
    }
    squares.iter_mut().for_each(|squares| *squares /= (n - 1.0).max(1.0));
    (means, squares)
}

#[cfg(test)]
mod tests;
