//! Opens 700 blood cells, finds their principal components, and prints which kind of cell lies where on the first one.

use std::collections::BTreeMap;

use allotment::io::h5ad;
use allotment::linalg::{PcaOptions, pca};
use allotment::{Cluster, Result};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench-data/pbmc68k_reduced.h5ad");

pub(crate) fn main() -> Result<()> {
    let cluster = Cluster::builder().workers(2).allowance("128MiB".parse()?).build()?;

    // Opening reads headers; the matrix is read block by block, by the workers that need it.
    let cells = h5ad::open(FILE)?;
    println!("{} cells x {} genes", cells.n_obs(), cells.n_vars());

    // The mean is taken off without ever storing a centred matrix.
    let found = pca(&cluster, &cells.x, &PcaOptions { components: 5.into(), ..PcaOptions::default() })?;
    for (i, share) in found.explained_variance_ratio.iter().enumerate() {
        println!("component {}: {:.1} % of the variance", i + 1, 100.0 * share);
    }

    // Scores are an array of cells x components; this one is small enough to bring home.
    let scores = found.scores.compute(&cluster)?.to_nalgebra::<f64>();

    // The cell types stand in a column of `obs`.
    let labels = cells.obs.column("bulk_labels")?;
    let mut along: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for cell in 0..scores.nrows() {
        along.entry(labels.text(cell).unwrap_or_default()).or_default().push(scores[(cell, 0)]);
    }
    let mut means: Vec<(f64, String)> =
        along.into_iter().map(|(label, values)| (values.iter().sum::<f64>() / values.len() as f64, label)).collect();
    means.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (mean, label) in means {
        println!("{mean:6.1}  {label}");
    }
    Ok(())
}
