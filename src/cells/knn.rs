//! Exact nearest neighbours of every row of a matrix, block against block.
//!
//! ```text
//!   x ─▶ centred (or of length one), as chunks
//!   block i ─▶ for each block j: products a·b ─▶ ‖a‖² + ‖b‖² − 2ab ─▶ those that may be among the k nearest
//!                                                                     └▶ Σ (a − b)², sorted in ─▶ CSR rows, a chunk
//! ```
//!
//! The products say only who may be near: their error is bounded, and whoever could be nearer than the worst of the k at
//! hand, that bound granted, is measured again coordinate by coordinate. So distances have no cancellation and the
//! answer is that of a loop over all pairs. Of equal distances the lower row is nearer.
//!
//! Always true: a task holds a block, its products with one other and k neighbours for each row, however many rows there
//! are; the same bits for any number of workers.

use std::sync::Arc;

use nalgebra::DMatrix;

use super::whole_rows;
use crate::array::{
    Array, Block, BlockInfo, BlockKind, CsrBlock, DType, DenseBlock, Over, StoredBlock, Values, Working,
};
use crate::error::{Error, Result};
use crate::linalg::rows_times_components;
use crate::runtime::{Blocks, Cluster, Progress, TaskContext};

/// Rows of a block: products of two are 2 MiB.
const BLOCK_ROWS: u64 = 512;
/// What the product of two blocks packs, at most.
const PACKED_BYTES: u64 = 4 << 20;

/// What is near.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// √Σ(a − b)².
    #[default]
    Euclidean,
    /// 1 − ab / (‖a‖‖b‖), from 0 to 2; 1 from and to a row of zeros.
    Cosine,
}

impl Metric {
    /// Returns the name that scanpy knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Euclidean => "euclidean",
            Metric::Cosine => "cosine",
        }
    }
}

/// Finds for each row the `k` rows nearest to it, itself left out: a CSR array of rows × rows in `float64`, with `k` distances
/// in each row (stored also where they are zero), as chunks on the workers.
///
/// # Errors
/// `BadArgument` when `k` is 0 or not below the number of rows; `NonFinite` with the place of a NaN or an infinity;
/// `Unsupported` for more rows than 32 bits can number; `TooBig` when two blocks do not fit a worker.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::Array, cells::{Metric, knn}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = Array::from_rows(&[[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])?;
/// let near = knn(&cluster, &x, 1, Metric::Euclidean, None)?;
/// let expected = [0.0, 0.0, 1.0, 0.0, 0.0, 18f64.sqrt(), 1.0, 0.0, 0.0];
/// assert_eq!(near.compute(&cluster)?.to_vec::<f64>(), expected);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn knn(cluster: &Cluster, x: &Array, k: usize, metric: Metric, progress: Option<Progress>) -> Result<Array> {
    let (n, p) = (x.rows(), x.cols() as usize);
    if k == 0 || k as u64 >= n {
        return Err(Error::bad_argument("knn", "k", k, format!("above 0 and below the number of rows, {n}")));
    }
    if u32::try_from(n).is_err() {
        let instead = "search among fewer rows".into();
        return Err(Error::Unsupported {
            what: format!("knn of {n} rows, more than 32 bits can number,").into(),
            instead,
        });
    }
    let rows: Arc<[StoredBlock]> = prepared(cluster, x, metric)?.into();
    let (b, k_bytes) = (BLOCK_ROWS.min(n), (k * 16) as u64);
    let projected_bytes = b * (8 * p as u64 + 8 * b + 2 * k_bytes + 64) + PACKED_BYTES;
    let run = Blocks { n: rows.len(), projected_bytes, progress, ..Blocks::named("knn") };
    let search = move |index: usize, context: &TaskContext| {
        let near = nearest_of(&rows, index, k, metric, context)?;
        Block::from(csr_of(near, k, n as usize, metric)?).store(&context.store()?)
    };
    Array::from_stored(cluster.map_blocks(&run, search)?)
}

/// Leaves the rows as chunks, in double: less the mean row, which brings lengths down, or each of length one.
fn prepared(cluster: &Cluster, x: &Array, metric: Metric) -> Result<Vec<StoredBlock>> {
    let mean = match metric {
        Metric::Euclidean => x.mean(cluster, Over::EachColumn)?,
        Metric::Cosine => vec![0.0; x.cols() as usize],
    };
    let working = Working { fixed: 0, per_row: 2 * 8 * x.cols(), kept: 0 };
    let prepare = move |block: Block, info: BlockInfo, context: &TaskContext| {
        let ((rows, cols), mut values) = (block.shape(), block.to_vec::<f64>());
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let (row, col) = (info.row_offset + (at / cols) as u64, (at % cols) as u64);
            return Err(Error::NonFinite { operation: "knn", row, col, value: values[at] });
        }
        for row in values.chunks_exact_mut(cols.max(1)) {
            match metric {
                Metric::Euclidean => row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean),
                Metric::Cosine => to_length_one(row),
            }
        }
        Block::from(DenseBlock::new(rows, cols, values)?).store(&context.store()?)
    };
    whole_rows(x).with_block_rows(BLOCK_ROWS).map_block_results(cluster, "knn rows", working, prepare, None)
}

/// Divides a row by its length; zeros stay.
fn to_length_one(row: &mut [f64]) {
    // The largest first, so that no square overflows or vanishes.
    let largest = row.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    if largest > 0.0 {
        row.iter_mut().for_each(|value| *value /= largest);
        let length = squares(row).sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
}

fn squares(row: &[f64]) -> f64 {
    row.iter().map(|value| value * value).sum()
}

/// The nearest of one row so far, nearest first.
struct Nearest {
    found: Vec<(f64, u32)>,
    k: usize,
}

impl Nearest {
    /// Returns what a candidate's measure may be at most.
    fn bound(&self) -> f64 {
        if self.found.len() < self.k { f64::INFINITY } else { self.found[self.k - 1].0 }
    }

    fn offer(&mut self, measure: f64, row: u32) {
        let place = self.found.partition_point(|(known, of)| (*known, *of) < (measure, row));
        if place < self.k {
            self.found.truncate(self.k - 1);
            self.found.insert(place, (measure, row));
        }
    }
}

fn values_of(block: &Block) -> &[f64] {
    match block.values() {
        Values::F64(buffer) => buffer,
        _ => unreachable!("rows are prepared in double"),
    }
}

/// Finds the nearest of each row of a block among all rows.
fn nearest_of(
    rows: &[StoredBlock],
    index: usize,
    k: usize,
    metric: Metric,
    context: &TaskContext,
) -> Result<Vec<Nearest>> {
    let own = rows[index].block()?;
    let ((n_own, p), a) = (own.shape(), values_of(&own));
    let (matrix, lengths) = (DMatrix::from_row_slice(n_own, p, a), lengths_of(a, n_own, p));
    let mut near: Vec<Nearest> = (0..n_own).map(|_| Nearest { found: Vec::with_capacity(k), k }).collect();
    let mut products = vec![0.0; n_own * rows.iter().map(|block| block.shape().0).max().unwrap_or(0)];
    let (first_own, mut first) = (index * BLOCK_ROWS as usize, 0);
    for other in rows {
        context.check()?;
        let other = other.block()?;
        let (n_other, b) = (other.rows(), values_of(&other));
        let products = &mut products[..n_own * n_other];
        rows_times_components(b, n_other, &matrix, products)?;
        // A product of p terms is off by p ε of the lengths at most, a length likewise.
        let slack = 4.0 * (p as f64 + 4.0) * f64::EPSILON;
        for (j, length) in lengths_of(b, n_other, p).into_iter().enumerate() {
            for i in 0..n_own {
                let (both, row) = (lengths[i] + length, first + j);
                let least = both - 2.0 * products[j * n_own + i] - slack * both;
                if least <= near[i].bound() && row != first_own + i {
                    let measure = measure(metric, (&a[i * p..][..p], lengths[i]), (&b[j * p..][..p], length));
                    near[i].offer(measure, row as u32);
                }
            }
        }
        other.check()?;
        first += n_other;
    }
    own.check()?;
    Ok(near)
}

fn lengths_of(rows: &[f64], n: usize, p: usize) -> Vec<f64> {
    (0..n).map(|row| squares(&rows[row * p..][..p])).collect()
}

/// Measures a pair coordinate by coordinate: the square of the distance, of rows of length one where directions count.
fn measure(metric: Metric, (a, a_length): (&[f64], f64), (b, b_length): (&[f64], f64)) -> f64 {
    if metric == Metric::Cosine && (a_length == 0.0 || b_length == 0.0) {
        return 2.0;
    }
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Puts neighbours in the order of the columns, and measures into distances.
fn csr_of(near: Vec<Nearest>, k: usize, n: usize, metric: Metric) -> Result<CsrBlock> {
    let (mut indices, mut values) = (Vec::with_capacity(near.len() * k), Vec::with_capacity(near.len() * k));
    let rows = near.len();
    for mut row in near {
        row.found.sort_unstable_by_key(|(_, of)| *of);
        indices.extend(row.found.iter().map(|(_, of)| *of));
        values.extend(row.found.iter().map(|(measure, _)| match metric {
            Metric::Euclidean => measure.sqrt(),
            // Of vectors of length one: ‖a − b‖² = 2 − 2ab.
            Metric::Cosine => measure / 2.0,
        }));
    }
    let indptr: Vec<u64> = (0..=rows).map(|row| (row * k) as u64).collect();
    CsrBlock::new(rows, n, indptr, indices, values)
}

/// Returns no neighbours of no rows, or of one.
pub(super) fn no_neighbours(n: u64) -> Result<Array> {
    Array::zeros(n, n, DType::F64, BlockKind::Csr)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{cluster, count, data_of, values};
    use super::*;

    /// The slow, obvious version.
    fn naive(x: &[f64], p: usize, k: usize, metric: Metric) -> Vec<f64> {
        let (rows, n): (Vec<&[f64]>, usize) = (x.chunks(p).collect(), x.len() / p);
        let mut all = vec![0.0; n * n];
        for i in 0..n {
            let distance = |j: usize| match metric {
                Metric::Euclidean => rows[i].iter().zip(rows[j]).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
                Metric::Cosine => {
                    let (dot, lengths) = (
                        rows[i].iter().zip(rows[j]).map(|(a, b)| a * b).sum::<f64>(),
                        squares(rows[i]) * squares(rows[j]),
                    );
                    if lengths == 0.0 { 1.0 } else { 1.0 - dot / lengths.sqrt() }
                }
            };
            let mut near: Vec<(f64, usize)> = (0..n).filter(|j| *j != i).map(|j| (distance(j), j)).collect();
            near.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
            near[..k].iter().for_each(|(distance, j)| all[i * n + j] = *distance);
        }
        all
    }

    #[test]
    fn neighbours_are_those_of_a_loop_over_all_pairs_of_any_kind_and_dtype() {
        // Uneven numbers far from zero, so that no two distances are equal and products cancel.
        let value = |i: usize, j: usize| 100.0 + ((i * 37 + j * 101) as f64 * 0.754_877_666).fract() * (1.0 + j as f64);
        for n in [2usize, 40, 1100] {
            let data = data_of(n, 5, value);
            let single = data.x.astype(DType::F32);
            for (x, k) in [(data.x.clone(), 1), (single, n.min(8) - 1), (data.x.to_csr().expect("five"), n.min(16) - 1)]
            {
                let all = values(&cluster(1), &x);
                for metric in [Metric::Euclidean, Metric::Cosine] {
                    let found = knn(&cluster(2), &x, k, metric, None).expect("small");
                    let found_values = values(&cluster(1), &found);
                    let expected = naive(&all, 5, k, metric);
                    // The loop's cosines are off by a few ε of 1; lengths of 200 less their mean by as much.
                    let near = found_values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-13);
                    assert!(near, "{n} rows, {k} neighbours, {metric:?}");
                    assert_eq!(found.nnz(&cluster(1), Over::Whole).expect("small"), [(n * k) as f64]);
                    assert_eq!(
                        values(&cluster(1), &knn(&cluster(1), &x, k, metric, None).expect("small")),
                        found_values
                    );
                }
            }
        }
    }

    #[test]
    fn of_equal_rows_the_lower_is_nearer_and_zero_distances_are_stored() {
        let x = Array::from_rows(&[[1.0], [1.0], [1.0], [5.0]]).expect("four rows");
        let Block::Csr(found) =
            knn(&cluster(1), &x, 2, Metric::Euclidean, None).expect("small").compute(&cluster(1)).expect("small")
        else {
            panic!("distances are sparse")
        };
        assert_eq!((&found.indices[..], found.nnz()), (&[1, 2, 0, 2, 0, 1, 0, 1][..], 8));
        assert_eq!(found.values.to_vec::<f64>(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 4.0]);
        let zeros = Array::from_rows(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]).expect("three rows");
        let found = values(&cluster(1), &knn(&cluster(1), &zeros, 2, Metric::Cosine, None).expect("small"));
        assert_eq!(found, [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn too_many_neighbours_and_what_is_no_number_are_refused() {
        let data = data_of(5, 3, count);
        assert!(knn(&cluster(1), &data.x, 5, Metric::Euclidean, None).is_err());
        assert!(knn(&cluster(1), &data.x, 0, Metric::Euclidean, None).is_err());
        let bad = data_of(5, 3, |i, j| if (i, j) == (3, 1) { f64::INFINITY } else { count(i, j) });
        let error = knn(&cluster(1), &bad.x, 2, Metric::Cosine, None).expect_err("an infinity");
        assert!(matches!(error, Error::NonFinite { row: 3, col: 1, .. }), "{error}");
    }
}
