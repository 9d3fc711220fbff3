//! Variances of genes beside what their means lead one to expect: what the flavours `seurat_v3` and `seurat_v3_paper` rank by.
//!
//! Stuart et al. (2019, Comprehensive integration of single-cell data, Cell 177, methods "Feature selection for individual
//! datasets"): the logarithm of the variance is fitted on that of the mean by loess, counts are standardised by the mean and
//! the expected deviation, what is above √n is lowered to it, and genes are ranked by the variance of the result. Only what
//! is above is clipped. The squares are taken about the mean, zeros by their number, so that no digits cancel.

use std::ops::Range;
use std::sync::Arc;

use super::dispersion::{chosen, median};
use super::loess::{loess, loess_bytes};
use super::{GeneMoments, HvgFlavor, HvgOptions, NAME};
use crate::array::{Array, Block, BlockInfo};
use crate::cells::aggregate::{Deal, visit};
use crate::error::{Error, Result};
use crate::runtime::{Blocks, Cluster};

/// The ranking of genes over one batch or several.
pub(super) struct Ranking {
    pub(super) highly_variable: Vec<bool>,
    /// The median of the ranks among the top genes of the batches, from 0; NaN for a gene that is not among them in any.
    pub(super) ranks: Vec<f64>,
    /// The mean over the batches.
    pub(super) variances_norm: Vec<f64>,
    /// In how many batches each gene is among the top ones.
    pub(super) n_batches: Vec<u64>,
}

/// Ranks genes by their standardised variances, one row for each batch.
pub(super) fn rank(standardised: &[Vec<f64>], n_genes: usize, flavor: HvgFlavor, n_top: usize) -> Ranking {
    let mut ranks_of = vec![Vec::new(); n_genes];
    for batch in standardised {
        let mut order: Vec<usize> = (0..n_genes).collect();
        // Greatest first, NaN last.
        let key = |gene: &usize| if batch[*gene].is_nan() { f64::INFINITY } else { -batch[*gene] };
        order.sort_by(|a, b| key(a).total_cmp(&key(b)));
        order.iter().take(n_top).enumerate().for_each(|(rank, gene)| ranks_of[*gene].push(rank as f64));
    }
    let n_batches: Vec<u64> = ranks_of.iter().map(|ranks| ranks.len() as u64).collect();
    let ranks: Vec<f64> = ranks_of.iter_mut().map(|ranks| median(ranks)).collect();
    let mut order: Vec<usize> = (0..n_genes).collect();
    // NaN is above all numbers in the total order, and so comes last.
    let by_rank = |a: &usize, b: &usize| ranks[*a].total_cmp(&ranks[*b]);
    let by_batches = |a: &usize, b: &usize| n_batches[*b].cmp(&n_batches[*a]);
    match flavor {
        HvgFlavor::SeuratV3Paper => order.sort_by(|a, b| by_batches(a, b).then(by_rank(a, b))),
        _ => order.sort_by(|a, b| by_rank(a, b).then(by_batches(a, b))),
    }
    let mean = |gene: usize| standardised.iter().map(|batch| batch[gene]).sum::<f64>() / standardised.len() as f64;
    let variances_norm = (0..n_genes).map(mean).collect();
    Ranking { highly_variable: chosen(&order, n_top), ranks, variances_norm, n_batches }
}

/// What a count is compared with, and what came of it.
#[derive(Clone, Copy)]
struct Standard {
    mean: f64,
    most: f64,
    squares: f64,
}

/// Returns the variance that loess expects of each gene in each batch; of genes that do not vary it is 1.
pub(super) fn expected_variances(cluster: &Cluster, batches: &[GeneMoments], span: f64) -> Result<Vec<Vec<f64>>> {
    let n_genes = batches.first().map_or(0, |batch| batch.means.len());
    let blocks = Blocks { n: batches.len(), projected_bytes: loess_bytes(n_genes), ..Blocks::named("hvg loess") };
    let batches: Arc<[GeneMoments]> = batches.into();
    cluster.map_blocks(&blocks, move |index, _| {
        let batch = &batches[index];
        let varying: Vec<usize> = (0..n_genes).filter(|gene| batch.variances[*gene] > 0.0).collect();
        let log = |values: &[f64]| varying.iter().map(|gene| values[*gene].log10()).collect::<Vec<_>>();
        let (means, variances) = (log(&batch.means), log(&batch.variances));
        if let Some(at) = means.iter().position(|mean| !mean.is_finite()) {
            let found = format!("{} for gene {}", batch.means[varying[at]], varying[at]);
            return Err(Error::bad_argument(NAME, "mean", found, "above 0: this flavour takes counts"));
        }
        let fitted = loess(&means, &variances, span)?;
        let mut expected = vec![1.0; n_genes];
        varying.iter().zip(fitted).for_each(|(gene, fitted)| expected[*gene] = 10f64.powf(fitted));
        Ok(expected)
    })
}

/// Returns the variance of standardised and clipped counts of each gene in each batch, by a pass over the data; and whether
/// all values are counts.
pub(super) fn standardised_variances(
    cluster: &Cluster,
    x: &Array,
    codes: &Arc<[u32]>,
    batches: &[GeneMoments],
    options: &HvgOptions,
) -> Result<(Vec<Vec<f64>>, bool)> {
    let expected = expected_variances(cluster, batches, options.span)?;
    let n_batches = batches.len();
    let standard = |batch: usize, gene: usize| {
        let (moments, deviation) = (&batches[batch], expected[batch][gene].sqrt());
        let mean = moments.means[gene];
        Standard { mean, most: deviation * (moments.n as f64).sqrt() + mean, squares: 0.0 }
    };
    let deal = Deal::new(cluster, x, NAME, n_batches, (n_batches * size_of::<Standard>()) as u64)?;
    let (mut found, mut counts) = (vec![Vec::new(); n_batches], true);
    let standards_of = |genes: &Range<usize>| -> Vec<Standard> {
        (0..n_batches).flat_map(|batch| genes.clone().map(move |gene| standard(batch, gene))).collect()
    };
    let start = |genes: Range<usize>| {
        let standards = standards_of(&genes);
        let codes = codes.clone();
        let empty = move || (standards.clone(), true);
        let add = move |(standards, counts): &mut (Vec<Standard>, bool), block: &Block, info: BlockInfo| {
            let first = info.row_offset as usize;
            visit(block, &codes[first..first + block.rows()], &genes, standards, |standard, count| {
                let apart = count.min(standard.most) - standard.mean;
                standard.squares += apart * apart;
                *counts &= count > 0.0 && count as u64 as f64 == count;
            });
            Ok(())
        };
        let join = |(mut mine, a): (Vec<Standard>, bool), (theirs, b): (Vec<Standard>, bool)| {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| mine.squares += theirs.squares);
            Ok((mine, a && b))
        };
        deal.x.start_row_runs(cluster, deal.runs(options.progress.clone()), empty, add, Ok, join)
    };
    deal.each_strip(start, |genes, of_strip| {
        let (standards, are_counts) = of_strip.unwrap_or_else(|| (standards_of(&genes), true));
        counts &= are_counts;
        for (batch, standards) in standards.chunks(genes.len().max(1)).enumerate() {
            let finish = |(gene, standard): (usize, &Standard)| {
                let moments = &batches[batch];
                let zeros = (moments.n - u64::from(moments.nonzero[gene])) as f64;
                let squares = standard.squares + zeros * (standard.mean * standard.mean);
                squares / (moments.degrees() * expected[batch][gene])
            };
            found[batch].extend(genes.clone().zip(standards).map(finish));
        }
        Ok(())
    })?;
    Ok((found, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_medians_over_the_batches_in_which_a_gene_is_among_the_top() {
        let standardised = [vec![4.0, 3.0, 2.0, 1.0], vec![1.0, 4.0, 3.0, 2.0], vec![4.0, 1.0, 2.0, 3.0]];
        let found = rank(&standardised, 4, HvgFlavor::SeuratV3, 2);
        // Gene 0 is first in two batches; 1 second and first; 2 second in one; 3 second in one.
        assert_eq!(found.ranks, [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(found.n_batches, [2, 2, 1, 1]);
        assert_eq!(found.highly_variable, [true, true, false, false]);
        assert_eq!(found.variances_norm, [3.0, 8.0 / 3.0, 7.0 / 3.0, 2.0]);
    }

    #[test]
    fn the_papers_order_asks_for_batches_first_and_the_other_for_ranks() {
        // Gene 0 leads one batch; gene 1 is second everywhere.
        let standardised = [vec![9.0, 3.0, 2.0], vec![1.0, 3.0, 9.0], vec![1.0, 4.0, 5.0]];
        let top = |flavor| rank(&standardised, 3, flavor, 2);
        assert_eq!(top(HvgFlavor::SeuratV3).ranks, [0.0, 1.0, 0.0]);
        assert_eq!(top(HvgFlavor::SeuratV3).highly_variable, [true, false, true]);
        assert_eq!(top(HvgFlavor::SeuratV3Paper).highly_variable, [false, true, true]);
    }
}
