//! A graph of cells that are near each other, as scanpy's `pp.neighbors` leaves it, so that `tl.leiden` and `tl.umap` go on.
//!
//! Neighbours are exact ([`knn`](mod@super::knn)). Their weights are UMAP's (McInnes, Healy and Melville, "UMAP", 2018,
//! section 3.1 and appendix C): the nearest of a cell weighs 1, the others exp(−(d − ρ)/σ), with σ such that the weights of k neighbours
//! add up to log₂ k; then a pair's two weights are joined as w + w′ − ww′.
//!
//! ```text
//!   obsm["X_pca"] ─▶ knn ─▶ obsp["distances"]        CSR float64, n_neighbors − 1 in each row
//!                     └───▶ obsp["connectivities"]   CSR float32, symmetric        uns["neighbors"]: their names, params
//! ```
//!
//! As in scanpy a cell counts as its own first neighbour. Weights are joined on one lane, in memory: 52 bytes for each
//! neighbour of each cell, reserved beforehand and refused where they do not fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::knn::{Metric, knn, no_neighbours};
use super::{AnnData, Value, on_lane};
use crate::array::{Array, Block, CsrBlock};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// Settings of [`neighbors`].
#[derive(Clone)]
pub struct NeighborsOptions {
    /// How many neighbours, the cell itself among them.
    pub n_neighbors: usize,
    /// What is near.
    pub metric: Metric,
    /// The matrix of `obsm` that tells where cells are; `None` for `X_pca`, or for `x` itself where there are 50 genes or fewer.
    pub use_rep: Option<String>,
    /// How many of its first columns; `None` for all.
    pub n_pcs: Option<u64>,
    /// The name in `uns`, and the beginning of the names in `obsp`, instead of `neighbors`.
    pub key_added: Option<String>,
    /// Called as blocks finish.
    pub progress: Option<Progress>,
}

impl Default for NeighborsOptions {
    fn default() -> Self {
        NeighborsOptions {
            n_neighbors: 15,
            metric: Metric::Euclidean,
            use_rep: None,
            n_pcs: None,
            key_added: None,
            progress: None,
        }
    }
}

/// Adds the graph of nearest neighbours. Of fewer cells than neighbours asked for, one and half of the cells are taken, as in
/// scanpy.
///
/// # Errors
/// `BadArgument` for fewer than two neighbours, a matrix that is missing, or more columns than it has; `TooBig` when the
/// weights do not fit a worker; those of [`knn`](super::knn()).
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, cells::{self, NeighborsOptions, PcaOptions}, io::h5ad};
/// let cluster = Cluster::builder().allowance("256MiB".parse()?).workers(2).build()?;
/// let data = h5ad::open("bench-data/pbmc68k_reduced.h5ad")?;
/// let data = cells::pca(&cluster, &data, &PcaOptions { n_comps: Some(10), ..Default::default() })?;
/// let data = cells::neighbors(&cluster, &data, &NeighborsOptions::default())?;
/// assert_eq!(data.obsp["distances"].shape(), (700, 700));
/// assert_eq!(data.uns["neighbors"].get("distances_key").and_then(|key| key.text()), Some("distances"));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn neighbors(cluster: &Cluster, data: &AnnData, options: &NeighborsOptions) -> Result<AnnData> {
    if options.n_neighbors < 2 {
        let expected = "at least 2: a cell counts as its own first neighbour";
        return Err(Error::bad_argument("neighbors", "n_neighbors", options.n_neighbors, expected));
    }
    let (n, places) = (data.n_obs(), places(data, options)?);
    let fewer = 1 + (n / 2) as usize;
    let n_neighbors = if options.n_neighbors as u64 > n { fewer } else { options.n_neighbors };
    let (distances, weights) = match n {
        0 | 1 => (no_neighbours(n)?, no_neighbours(n)?.astype(crate::array::DType::F32)),
        _ => {
            let distances = knn(cluster, &places, n_neighbors - 1, options.metric, options.progress.clone())?;
            let weights = connectivities(cluster, &distances, n_neighbors)?;
            (distances, weights)
        }
    };
    let mut data = data.clone();
    let key = |part: &str| options.key_added.as_ref().map_or(part.to_string(), |key| format!("{key}_{part}"));
    let (distances_key, weights_key) = (key("distances"), key("connectivities"));
    data.obsp.insert(distances_key.clone(), distances);
    data.obsp.insert(weights_key.clone(), weights);
    let uns = Value::group([
        ("connectivities_key", Value::Text(weights_key)),
        ("distances_key", Value::Text(distances_key)),
        ("params", params(options, n_neighbors)),
    ]);
    data.uns.insert(options.key_added.clone().unwrap_or_else(|| "neighbors".into()), uns);
    Ok(data)
}

/// Returns where cells are.
fn places(data: &AnnData, options: &NeighborsOptions) -> Result<Array> {
    let places = match options.use_rep.as_deref() {
        Some("X") => &data.x,
        None if data.n_vars() <= 50 => &data.x,
        name => data.embedding("neighbors", name.unwrap_or("X_pca"))?,
    };
    match options.n_pcs {
        Some(n_pcs) if n_pcs > places.cols() => {
            let expected = format!("at most {}, the columns of the matrix", places.cols());
            Err(Error::bad_argument("neighbors", "n_pcs", n_pcs, expected))
        }
        Some(n_pcs) => places.select_columns(0..n_pcs),
        None => Ok(places.clone()),
    }
}

fn params(options: &NeighborsOptions, n_neighbors: usize) -> Value {
    let mut params = BTreeMap::from([
        ("n_neighbors".to_string(), Value::from(n_neighbors as i64)),
        ("method".to_string(), Value::from("umap")),
        ("random_state".to_string(), Value::from(0i64)),
        ("metric".to_string(), Value::from(options.metric.name())),
    ]);
    params.extend(options.use_rep.as_deref().map(|name| ("use_rep".to_string(), Value::from(name))));
    params.extend(options.n_pcs.map(|n_pcs| ("n_pcs".to_string(), Value::from(n_pcs as i64))));
    Value::Group(params)
}

/// Returns UMAP's weights of a graph of distances.
fn connectivities(cluster: &Cluster, distances: &Array, n_neighbors: usize) -> Result<Array> {
    let n = distances.rows();
    // Distances, weights, weights turned over, and at most twice as many joined; offsets and places of rows.
    let bytes = n * (n_neighbors as u64 - 1) * (12 + 8 + 8 + 2 * 12) + n * 48;
    let allowance = cluster.allowance();
    if bytes > allowance {
        return Err(Error::too_big("neighbors: weights (take fewer neighbours)", bytes, allowance, allowance));
    }
    let block = distances.compute(cluster)?.into_csr()?;
    let block = Arc::new(block);
    let joined = on_lane(cluster, "connectivities", bytes, move || union(weights(&block, n_neighbors)))?;
    Ok(Array::from_block(Block::Csr(joined)))
}

/// Weights of pairs, row by row: offsets, columns, weights; none is zero.
struct Weights {
    indptr: Vec<usize>,
    cols: Vec<u32>,
    weights: Vec<f32>,
}

fn weights(distances: &CsrBlock, n_neighbors: usize) -> Weights {
    let values = distances.values.to_vec::<f64>();
    let mean = values.iter().sum::<f64>() / (distances.rows * n_neighbors) as f64;
    let nnz = values.len();
    let mut found = Weights { indptr: vec![0], cols: Vec::with_capacity(nnz), weights: Vec::with_capacity(nnz) };
    for row in 0..distances.rows {
        let of_row = distances.row(row);
        let (rho, sigma) = smoothed(&values[of_row.clone()], n_neighbors, mean);
        for at in of_row {
            let beyond = values[at] - rho;
            let weight = if beyond <= 0.0 || sigma == 0.0 { 1.0 } else { (-beyond / sigma).exp() as f32 };
            if weight != 0.0 {
                found.cols.push(distances.indices[at]);
                found.weights.push(weight);
            }
        }
        found.indptr.push(found.cols.len());
    }
    found
}

/// Sums of weights are brought this close to their target,
const TOLERANCE: f64 = 1e-5;
/// in so many halvings at most;
const HALVINGS: usize = 64;
/// and σ is at least this share of the mean distance.
const LEAST_SCALE: f64 = 1e-3;

/// Returns the distance to the nearest that is not at the same place, and the scale of the others.
fn smoothed(distances: &[f64], n_neighbors: usize, mean_of_all: f64) -> (f64, f64) {
    let target = (n_neighbors as f64).log2();
    let nearest = distances.iter().copied().filter(|distance| *distance > 0.0).fold(f64::INFINITY, f64::min);
    let rho = if nearest.is_finite() { nearest } else { 0.0 };
    let sum = |sigma: f64| -> f64 {
        distances.iter().map(|distance| if *distance > rho { (-(distance - rho) / sigma).exp() } else { 1.0 }).sum()
    };
    let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..HALVINGS {
        let found = sum(sigma);
        if (found - target).abs() < TOLERANCE {
            break;
        }
        if found > target {
            high = sigma;
        } else {
            low = sigma;
        }
        sigma = if high.is_finite() { f64::midpoint(low, high) } else { 2.0 * sigma };
    }
    // The cell itself counts, at distance zero.
    let mean = if rho > 0.0 { distances.iter().sum::<f64>() / n_neighbors as f64 } else { mean_of_all };
    (rho, sigma.max(LEAST_SCALE * mean))
}

/// Turns pairs over, so that rows become columns; columns ascend in each row.
fn turned(of: &Weights, n: usize) -> Weights {
    let mut indptr = vec![0usize; n + 1];
    of.cols.iter().for_each(|col| indptr[*col as usize + 1] += 1);
    (0..n).for_each(|row| indptr[row + 1] += indptr[row]);
    let (mut next, mut cols, mut weights) = (indptr.clone(), vec![0; of.cols.len()], vec![0.0; of.cols.len()]);
    for row in 0..n {
        for at in of.indptr[row]..of.indptr[row + 1] {
            let place = &mut next[of.cols[at] as usize];
            (cols[*place], weights[*place]) = (row as u32, of.weights[at]);
            *place += 1;
        }
    }
    Weights { indptr, cols, weights }
}

/// Joins each pair's two weights: w + w′ − ww′.
fn union(of: Weights) -> Result<CsrBlock> {
    let n = of.indptr.len() - 1;
    let other = turned(&of, n);
    let most = of.cols.len() + other.cols.len();
    let (mut indptr, mut cols, mut weights) = (vec![0u64], Vec::with_capacity(most), Vec::with_capacity(most));
    for row in 0..n {
        let (mut a, mut b) = (of.indptr[row], other.indptr[row]);
        let (a_end, b_end) = (of.indptr[row + 1], other.indptr[row + 1]);
        while a < a_end || b < b_end {
            let (a_col, b_col) = (of.cols[..a_end].get(a), other.cols[..b_end].get(b));
            let col = a_col.into_iter().chain(b_col).copied().min().expect("one of the two is not at its end");
            let take = |weights: &[f32], at: &mut usize, known: Option<&u32>| {
                if known != Some(&col) {
                    return 0.0;
                }
                *at += 1;
                weights[*at - 1]
            };
            let (one, two) = (take(&of.weights, &mut a, a_col), take(&other.weights, &mut b, b_col));
            cols.push(col);
            weights.push(one + two - one * two);
        }
        indptr.push(cols.len() as u64);
    }
    CsrBlock::new(n, n, indptr, cols, weights)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{cluster, count, data_of, values};
    use super::*;

    #[test]
    fn weights_are_symmetric_from_zero_to_one_and_add_up_to_the_target_before_they_are_joined() {
        let distances: Vec<f64> = (1..15).map(|i| 2.0 + f64::from(i) * 0.3).collect();
        let (rho, sigma) = smoothed(&distances, 15, 1.0);
        let sum: f64 = distances.iter().map(|d| (-(d - rho) / sigma).exp()).sum();
        assert!(rho == 2.3 && (sum - 15f64.log2()).abs() < TOLERANCE);
        let data = data_of(40, 6, count);
        let found = neighbors(&cluster(2), &data, &NeighborsOptions::default()).expect("small");
        found.check().expect("forty by forty");
        let weights = values(&cluster(1), &found.obsp["connectivities"]);
        for i in 0..40 {
            assert!((0..40).any(|j| weights[i * 40 + j] == 1.0), "a nearest neighbour weighs one");
            assert!((0..40).all(|j| weights[i * 40 + j] == weights[j * 40 + i] && weights[i * 40 + j] <= 1.0));
        }
    }

    #[test]
    fn few_cells_have_fewer_neighbours_and_one_has_none() {
        let found = |n| {
            neighbors(&cluster(1), &data_of(n, 3, |i, j| (i * i + j) as f64), &NeighborsOptions::default())
                .expect("small")
        };
        let params = found(6).uns["neighbors"].get("params").and_then(|params| params.get("n_neighbors")?.number());
        assert_eq!(params, Some(4.0));
        for n in [0, 1] {
            assert_eq!(values(&cluster(1), &found(n).obsp["distances"]), vec![0.0; n]);
        }
        assert_eq!(values(&cluster(1), &found(2).obsp["connectivities"]), [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn missing_matrices_and_one_neighbour_are_refused() {
        let data = data_of(9, 60, count);
        let of = |options: NeighborsOptions| neighbors(&cluster(1), &data, &options);
        let error = of(NeighborsOptions::default()).expect_err("no PCA").to_string();
        assert!(error.contains("\"X_pca\""), "{error}");
        assert!(of(NeighborsOptions { n_neighbors: 1, ..Default::default() }).is_err());
        let rep = |n_pcs| NeighborsOptions { use_rep: Some("X".into()), n_pcs, n_neighbors: 3, ..Default::default() };
        assert!(of(rep(Some(61))).is_err());
        let named = NeighborsOptions { key_added: Some("mine".into()), ..rep(Some(4)) };
        let found = of(named).expect("small");
        assert!(found.obsp.contains_key("mine_distances") && found.uns.contains_key("mine"));
    }
}
