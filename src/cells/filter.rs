//! Leaving out cells and genes with too few or too many counts, as scanpy's `pp.filter_cells` and `pp.filter_genes` do.
//!
//! Counts are a cell's (or gene's) sum; genes of a cell (cells of a gene) are those with a value above zero. Limits belong to
//! what is kept: `min_genes: Some(200)` keeps a cell of 200. scanpy takes one limit a call; several here are several calls
//! there, in one pass. What is counted is counted of the data as they were given, before anything is left out.

use super::tally::{Asked, Counts, tally};
use super::{AnnData, Column};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::runtime::Cluster;

/// Which cells to keep; at least one limit is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellLimits {
    /// At least this sum.
    pub min_counts: Option<f64>,
    /// At most this sum.
    pub max_counts: Option<f64>,
    /// Values above zero in at least so many genes.
    pub min_genes: Option<u64>,
    /// Values above zero in at most so many genes.
    pub max_genes: Option<u64>,
}

/// Which genes to keep; at least one limit is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GeneLimits {
    /// At least this sum.
    pub min_counts: Option<f64>,
    /// At most this sum.
    pub max_counts: Option<f64>,
    /// Values above zero in at least so many cells.
    pub min_cells: Option<u64>,
    /// Values above zero in at most so many cells.
    pub max_cells: Option<u64>,
}

/// What a filter found: for each cell, or each gene, whether it stays, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Filtered {
    /// Whether it stays.
    pub keep: Vec<bool>,
    /// Its sum.
    pub counts: Vec<f64>,
    /// How many of its values are above zero.
    pub positive: Vec<u64>,
}

/// The limits of either, by one set of names.
struct Limits {
    operation: &'static str,
    counts: [Option<f64>; 2],
    number: [Option<u64>; 2],
}

impl Limits {
    fn check(&self) -> Result<()> {
        if self.counts == [None; 2] && self.number == [None; 2] {
            return Err(Error::bad_argument(self.operation, "limits", "none", "at least one"));
        }
        Ok(())
    }

    fn apply(&self, found: Counts) -> Filtered {
        let within = |counts: f64, number: u64| {
            // A sum that is not a number is within no limit, as in NumPy.
            self.counts[0].is_none_or(|least| counts >= least)
                && self.counts[1].is_none_or(|most| counts <= most)
                && self.number[0].is_none_or(|least| number >= least)
                && self.number[1].is_none_or(|most| number <= most)
        };
        let keep = found.sums.iter().zip(&found.positive).map(|(counts, number)| within(*counts, *number)).collect();
        Filtered { keep, counts: found.sums, positive: found.positive }
    }

    /// Returns the columns that scanpy adds: of what was limited.
    fn columns(&self, found: &Filtered, number: &str) -> Vec<(String, Column)> {
        let mut columns = Vec::new();
        if self.number != [None; 2] {
            let numbers: Vec<i64> = found.positive.iter().map(|number| *number as i64).collect();
            columns.push((number.to_string(), Column::from(numbers)));
        }
        if self.counts != [None; 2] {
            columns.push(("n_counts".to_string(), Column::from(found.counts.clone())));
        }
        columns
    }
}

impl CellLimits {
    fn limits(&self) -> Limits {
        let (counts, number) = ([self.min_counts, self.max_counts], [self.min_genes, self.max_genes]);
        Limits { operation: "filter cells", counts, number }
    }
}

impl GeneLimits {
    fn limits(&self) -> Limits {
        let (counts, number) = ([self.min_counts, self.max_counts], [self.min_cells, self.max_cells]);
        Limits { operation: "filter genes", counts, number }
    }
}

/// Tells which cells of a matrix stay within limits. One pass.
///
/// # Errors
/// `BadArgument` without a limit; those of [`Array::reduce_blocks`].
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::Array, cells::{CellLimits, filter_cells}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = Array::from_rows(&[[1u16, 3, 0], [0, 0, 7], [1, 1, 1]])?;
/// let found = filter_cells(&cluster, &x, &CellLimits { min_genes: Some(2), ..Default::default() })?;
/// assert_eq!((found.keep, found.positive), (vec![true, false, true], vec![2, 1, 3]));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn filter_cells(cluster: &Cluster, x: &Array, limits: &CellLimits) -> Result<Filtered> {
    let limits = limits.limits();
    limits.check()?;
    Ok(limits.apply(tally(cluster, x, Asked::default(), None)?.rows))
}

/// Tells which genes of a matrix stay within limits. One pass.
///
/// # Errors
/// As [`filter_cells`].
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::Array, cells::{GeneLimits, filter_genes}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = Array::from_rows(&[[1u16, 3, 0], [0, 0, 7], [1, 1, 1]])?;
/// let found = filter_genes(&cluster, &x, &GeneLimits { max_counts: Some(4.0), ..Default::default() })?;
/// assert_eq!((found.keep, found.counts), (vec![true, true, false], vec![2.0, 4.0, 8.0]));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn filter_genes(cluster: &Cluster, x: &Array, limits: &GeneLimits) -> Result<Filtered> {
    let limits = limits.limits();
    limits.check()?;
    Ok(limits.apply(tally(cluster, x, Asked::default(), None)?.cols))
}

impl AnnData {
    /// Keeps the cells within limits; `obs` gets `n_genes` where genes are limited and `n_counts` where counts are, as by
    /// scanpy's `pp.filter_cells`. One pass over `x`; what is kept is selected lazily.
    ///
    /// # Errors
    /// As [`filter_cells`].
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, cells::CellLimits, io::h5ad};
    /// let cluster = Cluster::builder().allowance("256MiB".parse()?).workers(2).build()?;
    /// let cells = h5ad::open("bench-data/neurons10k_csr_u16.h5ad")?;
    /// let kept = cells.filter_cells(&cluster, &CellLimits { min_genes: Some(100), ..Default::default() })?;
    /// assert_eq!(kept.x.shape(), (1255, 1000));
    /// assert!(kept.obs.columns().contains(&"n_genes".to_string()));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn filter_cells(&self, cluster: &Cluster, limits: &CellLimits) -> Result<AnnData> {
        let found = filter_cells(cluster, &self.x, limits)?;
        let obs = self.obs.with_columns(limits.limits().columns(&found, "n_genes"))?;
        AnnData { obs, ..self.clone() }.select(found.keep, ..)
    }

    /// Keeps the genes within limits; `var` gets `n_cells` where cells are limited and `n_counts` where counts are, as by
    /// scanpy's `pp.filter_genes`. One pass over `x`; what is kept is selected lazily.
    ///
    /// # Errors
    /// As [`filter_cells`].
    pub fn filter_genes(&self, cluster: &Cluster, limits: &GeneLimits) -> Result<AnnData> {
        let found = filter_genes(cluster, &self.x, limits)?;
        let var = self.var.with_columns(limits.limits().columns(&found, "n_cells"))?;
        AnnData { var, ..self.clone() }.select(.., found.keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{both_kinds, cluster, count, data_of, values};
    use super::*;

    #[test]
    fn what_is_within_the_limits_stays_with_all_that_belongs_to_it() {
        let cluster = cluster(2);
        let sum = |i: usize| (0..9).map(|j| count(i, j)).sum::<f64>();
        let genes = |i: usize| (0..9).filter(|j| count(i, *j) > 0.0).count();
        let limits =
            CellLimits { min_counts: Some(4.0), max_counts: Some(40.0), min_genes: Some(2), max_genes: Some(4) };
        let expected: Vec<usize> =
            (0..40).filter(|i| (4.0..=40.0).contains(&sum(*i)) && (2..=4).contains(&genes(*i))).collect();
        assert!(!expected.is_empty() && expected.len() < 40);
        for data in both_kinds(&data_of(40, 9, count), 7) {
            let kept = data.filter_cells(&cluster, &limits).expect("small");
            let rows: Vec<f64> = expected.iter().flat_map(|i| (0..9).map(|j| count(*i, j))).collect();
            assert_eq!(values(&cluster, &kept.x), rows);
            assert_eq!(kept.obs.columns(), ["n_genes", "n_counts"]);
            let text = kept.obs.column("n_genes").expect("there").text(0);
            assert_eq!(text, Some(genes(expected[0]).to_string()));
        }
    }

    #[test]
    fn genes_are_counted_over_cells_and_values_below_zero_are_not() {
        let data = data_of(6, 3, |i, j| if j == 1 { -1.0 } else { (i * j) as f64 });
        for data in both_kinds(&data, 4) {
            let limits = GeneLimits { min_cells: Some(1), ..Default::default() };
            let kept = data.filter_genes(&cluster(1), &limits).expect("small");
            assert_eq!(kept.var_names().expect("names"), ["gene 2"]);
            assert_eq!(kept.var.column("n_cells").expect("there"), Column::from(vec![5i64]));
        }
    }

    #[test]
    fn no_limit_is_refused_and_no_cells_are_no_trouble() {
        let data = data_of(0, 3, count);
        assert!(data.filter_cells(&cluster(1), &CellLimits::default()).is_err());
        let limits = GeneLimits { min_counts: Some(1.0), ..Default::default() };
        assert_eq!(data.filter_genes(&cluster(1), &limits).expect("nothing").x.shape(), (0, 0));
    }
}
