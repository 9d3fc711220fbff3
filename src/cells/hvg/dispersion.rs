//! Dispersions of genes beside those of genes with a like mean: what the flavours `seurat` and `cell_ranger` rank by.
//!
//! A dispersion is a gene's variance over its mean. Genes are put into bins by their means, and a dispersion is normalised by the
//! middle and the spread of its bin (Satija et al. 2015; Zheng et al. 2017), with scanpy's edge cases: bins are closed on the
//! right, the first one reaches a thousandth of the range further down; a bin's spread leaves out what is not a number, and of
//! a bin with a single gene is that gene's own dispersion, so that it is normalised to 1. What is not a number is
//! never among the top genes, and counts as 0 beside cut-offs, which are strict.

use super::{GeneMoments, HvgFlavor, HvgOptions};

/// The deviation of the normal distribution below which half of it lies: makes a median deviation a standard deviation.
const NORMAL_QUARTILE: f64 = 0.674_489_750_196_081_7;

/// What is found of each gene.
#[derive(Clone, Debug, Default)]
pub(super) struct Dispersions {
    pub(super) means: Vec<f64>,
    pub(super) dispersions: Vec<f64>,
    pub(super) normalised: Vec<f64>,
}

/// Takes the middle and the spread of a bin.
type Ends = fn(&mut [f64]) -> (f64, f64);

/// Computes means, dispersions and normalised dispersions of genes; means are finite.
pub(super) fn dispersions(genes: &GeneMoments, flavor: HvgFlavor, n_bins: usize) -> Dispersions {
    let mut means: Vec<f64> = genes.means.iter().map(|mean| if *mean == 0.0 { 1e-12 } else { *mean }).collect();
    let mut dispersions: Vec<f64> = genes.variances.iter().zip(&means).map(|(var, mean)| var / mean).collect();
    let (edges, ends): (_, Ends) = match flavor {
        HvgFlavor::Seurat => {
            dispersions.iter_mut().for_each(|x| *x = if *x == 0.0 { f64::NAN } else { x.ln() });
            means.iter_mut().for_each(|mean| *mean = mean.ln_1p());
            (equal_edges(&means, n_bins), mean_and_deviation)
        }
        _ => (percentile_edges(&means), median_and_deviation),
    };
    let bins: Vec<Option<usize>> = means.iter().map(|mean| bin(&edges, *mean)).collect();
    let mut members = vec![Vec::new(); edges.len()];
    for (bin, dispersion) in bins.iter().zip(&dispersions).filter(|(_, dispersion)| !dispersion.is_nan()) {
        bin.iter().for_each(|bin| members[*bin].push(*dispersion));
    }
    let ends: Vec<(f64, f64)> = members.iter_mut().map(|members| ends(members)).collect();
    let normalise = |(bin, dispersion): (&Option<usize>, &f64)| {
        bin.map_or(f64::NAN, |bin| (dispersion - ends[bin].0) / ends[bin].1)
    };
    let normalised = bins.iter().zip(&dispersions).map(normalise).collect();
    Dispersions { means, dispersions, normalised }
}

/// Cuts the range of some numbers into equal parts, as `pandas.cut` does.
fn equal_edges(values: &[f64], n_bins: usize) -> Vec<f64> {
    let ends = |f: fn(f64, f64) -> f64| values.iter().copied().reduce(f);
    let (Some(mut low), Some(mut high)) = (ends(f64::min), ends(f64::max)) else { return Vec::new() };
    let adjust = if low == high {
        let beside = |x: f64| if x == 0.0 { 0.001 } else { 0.001 * x.abs() };
        (low, high) = (low - beside(low), high + beside(high));
        0.0
    } else {
        (high - low) * 0.001
    };
    let step = (high - low) / n_bins as f64;
    let mut edges: Vec<f64> = (0..=n_bins).map(|at| at as f64 * step + low).collect();
    edges[n_bins] = high;
    edges[0] -= adjust;
    edges
}

/// Cuts at the percentiles 10, 15, … 100, and has room for what is beyond; equal edges are one.
fn percentile_edges(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let percentiles = (2..=20).filter(|_| !sorted.is_empty()).map(|at| percentile(&sorted, f64::from(5 * at)));
    let mut edges: Vec<f64> = [f64::NEG_INFINITY].into_iter().chain(percentiles).chain([f64::INFINITY]).collect();
    edges.dedup();
    edges
}

/// Takes a percentile of sorted numbers, between two of them as NumPy interpolates.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let place = percent / 100.0 * (sorted.len() - 1) as f64;
    let low = place.floor();
    let (a, b) = (sorted[low as usize], sorted[(low as usize + 1).min(sorted.len() - 1)]);
    let (share, apart) = (place - low, b - a);
    if share < 0.5 { a + apart * share } else { b - apart * (1.0 - share) }
}

/// Returns the bin of a value, bins being closed on the right.
fn bin(edges: &[f64], value: f64) -> Option<usize> {
    let right = edges.partition_point(|edge| *edge < value);
    (right > 0 && right < edges.len()).then(|| right - 1)
}

/// Returns the mean and the standard deviation of a bin; of a single gene 0 and its dispersion.
fn mean_and_deviation(values: &mut [f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (0.0, mean);
    }
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

/// Returns the median of a bin and the median deviation from it, scaled to be a standard deviation where values are normal.
fn median_and_deviation(values: &mut [f64]) -> (f64, f64) {
    let middle = median(values);
    let mut apart: Vec<f64> = values.iter().map(|x| (x - middle).abs()).collect();
    (middle, median(&mut apart) / NORMAL_QUARTILE)
}

/// Returns the median, and leaves the values sorted; NaN for none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

impl Dispersions {
    /// Selects genes: the top ones, or those within the cut-offs.
    pub(super) fn select(&self, options: &HvgOptions) -> Vec<bool> {
        let Some(n) = options.n_top_genes else { return self.within(options) };
        let mut numbers: Vec<f64> = self.normalised.iter().copied().filter(|x| !x.is_nan()).collect();
        numbers.sort_unstable_by(|a, b| b.total_cmp(a));
        match n.min(numbers.len()) {
            0 => vec![false; self.normalised.len()],
            // Genes that tie with the last one are selected too; NaN is not at least anything.
            n => self.normalised.iter().map(|x| *x >= numbers[n - 1]).collect(),
        }
    }

    /// Selects genes within the cut-offs, which do not belong to what they bound.
    fn within(&self, options: &HvgOptions) -> Vec<bool> {
        let within = |(mean, normalised): (&f64, &f64)| {
            // As NumPy's `nan_to_num`: NaN counts as 0, an infinity as the largest number.
            let normalised = if normalised.is_nan() { 0.0 } else { normalised.clamp(f64::MIN, f64::MAX) };
            *mean > options.min_mean
                && *mean < options.max_mean
                && normalised > options.min_disp
                && normalised < options.max_disp
        };
        self.means.iter().zip(&self.normalised).map(within).collect()
    }
}

/// What is found of genes over several batches.
pub(super) struct Merged {
    pub(super) found: Dispersions,
    pub(super) highly_variable: Vec<bool>,
    /// In how many batches each gene is selected.
    pub(super) n_batches: Vec<u64>,
}

/// Selects genes in each batch by itself, among those that the batch has, and joins what was found: means over the batches,
/// and by how many of them select a gene. Of genes that tie the first by name comes first.
pub(super) fn merge(batches: &[GeneMoments], names: &[String], options: &HvgOptions) -> Merged {
    let n_genes = names.len();
    let mut of_batches = Vec::with_capacity(batches.len());
    let mut n_batches = vec![0; n_genes];
    for batch in batches {
        let (genes, there) = batch.expressed();
        let found = dispersions(&genes, options.flavor, options.n_bins);
        let selected = found.select(options);
        there.iter().zip(selected).for_each(|(gene, selected)| n_batches[*gene] += u64::from(selected));
        of_batches.push(found.spread(&there, n_genes));
    }
    let mean_of = |of: fn(&Dispersions) -> &Vec<f64>| -> Vec<f64> {
        (0..n_genes).map(|gene| mean_of_numbers(of_batches.iter().map(|batch| of(batch)[gene]))).collect()
    };
    let mut found = Dispersions {
        means: mean_of(|found| &found.means),
        dispersions: mean_of(|found| &found.dispersions),
        normalised: mean_of(|found| &found.normalised),
    };
    let highly_variable = match options.n_top_genes {
        Some(n) => {
            let mut order: Vec<usize> = (0..n_genes).collect();
            let last_nan = |x: f64| if x.is_nan() { f64::NEG_INFINITY } else { x };
            order.sort_by(|a, b| {
                let by_batches = n_batches[*b].cmp(&n_batches[*a]);
                let dispersion = |gene: &usize| last_nan(found.normalised[*gene]);
                by_batches.then(dispersion(b).total_cmp(&dispersion(a))).then_with(|| names[*a].cmp(&names[*b]))
            });
            chosen(&order, n)
        }
        None => {
            found.normalised.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = 0.0);
            found.within(options)
        }
    };
    Merged { found, highly_variable, n_batches }
}

/// Marks the first so many of an order.
pub(super) fn chosen(order: &[usize], n: usize) -> Vec<bool> {
    let mut chosen = vec![false; order.len()];
    order.iter().take(n).for_each(|gene| chosen[*gene] = true);
    chosen
}

/// Returns the mean of those that are numbers.
fn mean_of_numbers(values: impl Iterator<Item = f64>) -> f64 {
    let (n, sum) = values.filter(|x| !x.is_nan()).fold((0.0, 0.0), |(n, sum), x| (n + 1.0, sum + x));
    sum / n
}

impl Dispersions {
    /// Puts what was found of some genes to its places among all; what is not there is 0.
    fn spread(self, places: &[usize], n: usize) -> Dispersions {
        let spread = |values: Vec<f64>| {
            let mut all = vec![0.0; n];
            places.iter().zip(values).for_each(|(place, value)| all[*place] = value);
            all
        };
        Dispersions {
            means: spread(self.means),
            dispersions: spread(self.dispersions),
            normalised: spread(self.normalised),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_those_of_pandas_and_numpy() {
        // pandas.cut([1., 2., 4., 5.], 4, retbins=True): edges 0.996, 2, 3, 4, 5
        let edges = equal_edges(&[5.0, 1.0, 4.0, 2.0], 4);
        assert_eq!(edges, [1.0 - 0.004, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!([1.0, 2.0, 2.1, 5.0, 5.1].map(|x| bin(&edges, x)), [Some(0), Some(0), Some(1), Some(3), None]);
        // pandas.cut([3., 3.], 1, retbins=True): edges 2.997, 3.003
        assert_eq!(equal_edges(&[3.0, 3.0], 1), [2.997, 3.0 + 0.003]);
        // numpy.percentile(numpy.arange(8.), [10, 15, 95]): 0.7000000000000001, 1.05, 6.6499999999999995
        let sorted: Vec<f64> = (0..8).map(f64::from).collect();
        assert_eq!([10.0, 15.0, 95.0].map(|q| percentile(&sorted, q)), [0.7000000000000001, 1.05, 6.6499999999999995]);
        assert_eq!(percentile_edges(&[1.0; 5]), [f64::NEG_INFINITY, 1.0, f64::INFINITY]);
    }

    #[test]
    fn a_single_gene_in_its_bin_is_normalised_to_one_and_ties_are_all_selected() {
        let genes = GeneMoments {
            n: 10,
            means: vec![1.0, 1.1, 50.0, 20.0, 0.0],
            variances: vec![2.0, 3.0, 500.0, 100.0, 0.0],
            nonzero: vec![5; 5],
            present: vec![5; 5],
        };
        let found = dispersions(&genes, HvgFlavor::Seurat, 20);
        assert_eq!(found.normalised[2..4], [1.0, 1.0]);
        assert!(found.normalised[4].is_nan(), "no variance has no logarithm");
        let top = |n| found.select(&HvgOptions { n_top_genes: Some(n), ..HvgOptions::default() });
        assert_eq!(top(1), [false, false, true, true, false]);
        assert_eq!(top(9), [true, true, true, true, false]);
    }
}
