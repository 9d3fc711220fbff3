//! Quality of cells and genes in numbers, as scanpy's `pp.calculate_qc_metrics` gives them: one pass for all of them.
//!
//! | of each cell, in `obs` | of each gene, in `var` |
//! | --- | --- |
//! | `n_genes_by_counts`: genes that are not zero | `n_cells_by_counts`: cells that are not zero |
//! | `total_counts`: the sum | `total_counts`: the sum, `mean_counts`: over all cells |
//! | `pct_counts_in_top_50_genes`, 100, 200, 500: share of the largest values | `pct_dropout_by_counts`: share of cells that are zero |
//! | `total_counts_mt`, `pct_counts_mt`: of each group of genes | |
//!
//! and `log1p_` of the counts, totals and means. Shares are in percent; of a cell without counts they are NaN, as in scanpy.
//! Totals are `float64`, where scanpy keeps the dtype of the matrix.

use super::tally::{Asked, Tally, tally};
use super::{AnnData, Column};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// What `calculate_qc_metrics` takes when nothing is said.
const TOPS: [u64; 4] = [50, 100, 200, 500];

/// Settings of [`calculate_qc_metrics`].
#[derive(Clone)]
pub struct QcOptions {
    /// Columns of `var` with truth values, each a group of genes: `mt` for mitochondrial ones, say.
    pub qc_vars: Vec<String>,
    /// Ranks for the shares of a cell's largest values; `None` for those of 50, 100, 200 and 500 that there are genes for.
    pub percent_top: Option<Vec<u64>>,
    /// The layer to count, instead of `x`.
    pub layer: Option<String>,
    /// Whether to add logarithms of counts, totals and means.
    pub log1p: bool,
    /// Called as blocks finish.
    pub progress: Option<Progress>,
}

impl Default for QcOptions {
    fn default() -> Self {
        QcOptions { qc_vars: Vec::new(), percent_top: None, layer: None, log1p: true, progress: None }
    }
}

/// Adds the figures of quality to `obs` and `var`. One pass; besides the blocks only numbers for each cell and gene are held.
///
/// # Errors
/// `BadArgument` for a column of `var` that is missing or holds no truth values, for a layer that is missing, and for a rank
/// of `percent_top` that is 0 or above the number of genes; those of [`Array::reduce_blocks`].
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, cells::{self, Column, QcOptions}, io::h5ad};
/// let cluster = Cluster::builder().allowance("256MiB".parse()?).workers(2).build()?;
/// let mut data = h5ad::open("bench-data/neurons10k_csr_u16.h5ad")?;
/// let is_mt = data.var_names()?.iter().map(|name| Some(name.starts_with("mt-"))).collect();
/// data.var = data.var.with_column("mt", Column::Bools(is_mt))?;
/// let data = cells::calculate_qc_metrics(&cluster, &data, &QcOptions { qc_vars: vec!["mt".into()], ..Default::default() })?;
/// assert_eq!(data.obs.column("n_genes_by_counts")?.text(0).as_deref(), Some("70"));
/// assert_eq!(data.var.column("total_counts")?.len(), 1000);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn calculate_qc_metrics(cluster: &Cluster, data: &AnnData, options: &QcOptions) -> Result<AnnData> {
    let x = data.matrix("calculate_qc_metrics", options.layer.as_deref())?;
    let tops = ranks(options.percent_top.as_deref(), data.n_vars())?;
    let groups =
        options.qc_vars.iter().map(|name| data.var.mask("calculate_qc_metrics", name)).collect::<Result<_>>()?;
    let asked = Asked { groups, tops: tops.iter().map(|top| *top as usize).collect() };
    let found = tally(cluster, x, asked, options.progress.clone())?;
    let (obs, var) = (of_cells(&found, &tops, options), of_genes(&found, x, options.log1p));
    Ok(AnnData { obs: data.obs.with_columns(obs)?, var: data.var.with_columns(var)?, ..data.clone() })
}

/// Checks the ranks; returns them ascending.
fn ranks(asked: Option<&[u64]>, n_genes: u64) -> Result<Vec<u64>> {
    let Some(asked) = asked else { return Ok(TOPS.into_iter().filter(|top| *top <= n_genes).collect()) };
    let mut tops = asked.to_vec();
    tops.sort_unstable();
    match tops.iter().find(|top| !(1..=n_genes).contains(*top)) {
        None => Ok(tops),
        Some(top) => {
            let expected = format!("from 1 to the number of genes, {n_genes}");
            Err(Error::bad_argument("calculate_qc_metrics", "percent_top", top, expected))
        }
    }
}

fn percent(parts: &[f64], wholes: &[f64]) -> Vec<f64> {
    parts.iter().zip(wholes).map(|(part, whole)| part / whole * 100.0).collect()
}

/// Adds a column, and its logarithm where one is wanted.
fn push(columns: &mut Vec<(String, Column)>, name: String, values: &[f64], log1p: bool) {
    let logs: Vec<f64> = values.iter().map(|value| value.ln_1p()).collect();
    columns.push((name.clone(), Column::from(values.to_vec())));
    if log1p {
        columns.push((format!("log1p_{name}"), Column::from(logs)));
    }
}

/// Adds whole numbers, and their logarithm where one is wanted.
fn push_counts(columns: &mut Vec<(String, Column)>, name: &str, counts: &[u64], log1p: bool) {
    columns.push((name.into(), Column::from(counts.iter().map(|n| *n as i64).collect::<Vec<_>>())));
    if log1p {
        let logs: Vec<f64> = counts.iter().map(|n| (*n as f64).ln_1p()).collect();
        columns.push((format!("log1p_{name}"), Column::from(logs)));
    }
}

fn of_cells(found: &Tally, tops: &[u64], options: &QcOptions) -> Vec<(String, Column)> {
    let (mut columns, totals, log1p) = (Vec::new(), &found.rows.sums, options.log1p);
    push_counts(&mut columns, "n_genes_by_counts", &found.rows.nonzero, log1p);
    push(&mut columns, "total_counts".into(), totals, log1p);
    for (top, sums) in tops.iter().zip(&found.tops) {
        columns.push((format!("pct_counts_in_top_{top}_genes"), Column::from(percent(sums, totals))));
    }
    for (name, sums) in options.qc_vars.iter().zip(&found.groups) {
        push(&mut columns, format!("total_counts_{name}"), sums, log1p);
        columns.push((format!("pct_counts_{name}"), Column::from(percent(sums, totals))));
    }
    columns
}

fn of_genes(found: &Tally, x: &Array, log1p: bool) -> Vec<(String, Column)> {
    let (mut columns, n) = (Vec::new(), x.rows() as f64);
    let means: Vec<f64> = found.cols.sums.iter().map(|sum| sum / n).collect();
    let dropout: Vec<f64> = found.cols.nonzero.iter().map(|cells| (1.0 - *cells as f64 / n) * 100.0).collect();
    push_counts(&mut columns, "n_cells_by_counts", &found.cols.nonzero, false);
    push(&mut columns, "mean_counts".into(), &means, log1p);
    columns.push(("pct_dropout_by_counts".into(), Column::from(dropout)));
    push(&mut columns, "total_counts".into(), &found.cols.sums, log1p);
    columns
}

#[cfg(test)]
mod tests {
    use super::super::testing::{both_kinds, cluster, count, data_of, is_near};
    use super::*;

    fn numbers(frame: &super::super::Frame, name: &str) -> Vec<f64> {
        match frame.column(name).expect("it was added") {
            Column::Numbers(numbers) => numbers.to_f64(),
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn figures_are_those_of_their_definitions() {
        let mut data = data_of(20, 60, count);
        data.var = data.var.with_column("mt", Column::Bools((0..60).map(|j| Some(j % 5 == 0)).collect())).expect("60");
        let options = QcOptions { qc_vars: vec!["mt".into()], percent_top: Some(vec![50, 3]), ..Default::default() };
        for data in both_kinds(&data, 6) {
            let found = calculate_qc_metrics(&cluster(2), &data, &options).expect("small");
            let (total, top, mt) = ["total_counts", "pct_counts_in_top_3_genes", "pct_counts_mt"]
                .map(|name| numbers(&found.obs, name))
                .into();
            for i in 0..20 {
                let mut row: Vec<f64> = (0..60).map(|j| count(i, j)).collect();
                let of_mt: f64 = row.iter().step_by(5).sum();
                let sum: f64 = row.iter().sum();
                row.sort_by(|a, b| b.total_cmp(a));
                assert_eq!(total[i], sum);
                // A quotient and a product, each rounded once.
                assert!(is_near(top[i], (row[0] + row[1] + row[2]) / sum * 100.0, 4.0 * f64::EPSILON));
                assert!(is_near(mt[i], of_mt / sum * 100.0, 4.0 * f64::EPSILON));
            }
            let cells = numbers(&found.var, "n_cells_by_counts");
            assert_eq!(cells[7], (0..20).filter(|i| count(*i, 7) > 0.0).count() as f64);
            assert_eq!(numbers(&found.var, "pct_dropout_by_counts")[7], (1.0 - cells[7] / 20.0) * 100.0);
        }
    }

    #[test]
    fn columns_stand_in_scanpys_order() {
        let found = calculate_qc_metrics(&cluster(1), &data_of(3, 60, count), &QcOptions::default()).expect("small");
        let cells = ["n_genes_by_counts", "log1p_n_genes_by_counts", "total_counts", "log1p_total_counts"];
        assert_eq!(found.obs.columns()[..4], cells);
        assert_eq!(found.obs.columns()[4..], ["pct_counts_in_top_50_genes"]);
        let genes = ["n_cells_by_counts", "mean_counts", "log1p_mean_counts", "pct_dropout_by_counts"];
        assert_eq!(found.var.columns()[..4], genes);
        assert_eq!(found.var.columns()[4..], ["total_counts", "log1p_total_counts"]);
    }

    #[test]
    fn an_empty_cell_has_no_shares_and_wrong_requests_are_refused() {
        let data = data_of(2, 4, |i, j| (i * j) as f64);
        let top = |n| QcOptions { percent_top: Some(vec![n]), ..Default::default() };
        let found = calculate_qc_metrics(&cluster(1), &data, &top(2)).expect("small");
        let shares = numbers(&found.obs, "pct_counts_in_top_2_genes");
        assert!(shares[0].is_nan() && is_near(shares[1], 5.0 / 6.0 * 100.0, 4.0 * f64::EPSILON));
        for options in [top(0), top(5), QcOptions { qc_vars: vec!["mt".into()], ..Default::default() }] {
            assert!(calculate_qc_metrics(&cluster(1), &data, &options).is_err());
        }
        let none = calculate_qc_metrics(&cluster(1), &data_of(0, 4, count), &top(4)).expect("nothing");
        assert_eq!(none.obs.column("total_counts").expect("there").len(), 0);
    }
}
