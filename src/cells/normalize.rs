//! Normalising counts, as scanpy's `pp.normalize_total` and `pp.log1p` do.
//!
//! ```text
//!   target given                  x ─▶ rows scaled                                            no pass
//!   target is the median          x ─▶ sums ─▶ median of those above zero; then as above      one
//!   highly expressed left out     x ─▶ sums, genes above a share of them; sums of the others  two
//! ```
//!
//! As in scanpy, integers become `f32` first. A cell's total is summed and its factor taken in `f64`, and each value is
//! rounded once, so that results are within an `f32` rounding of scanpy's. A cell whose total is zero stays as it is.

use super::tally::{Asked, tally};
use super::{AnnData, Value, whole_rows};
use crate::array::{Array, Block, DType, Element, Over, Working, with_values};
use crate::error::{Error, Result};
use crate::runtime::Cluster;

/// Settings of [`normalize_total_with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalizeTotal {
    /// What each cell is to sum to; `None` for the median of the cells' sums that are above zero.
    pub target_sum: Option<f64>,
    /// Whether genes that make up more than `max_fraction` of any cell count towards no cell's sum. They are scaled all the
    /// same.
    pub exclude_highly_expressed: bool,
    /// The share of a cell's sum above which a gene is highly expressed.
    pub max_fraction: f64,
}

impl Default for NormalizeTotal {
    fn default() -> Self {
        NormalizeTotal { target_sum: None, exclude_highly_expressed: false, max_fraction: 0.05 }
    }
}

impl From<f64> for NormalizeTotal {
    fn from(target_sum: f64) -> Self {
        NormalizeTotal { target_sum: Some(target_sum), ..Default::default() }
    }
}

/// Scales each cell so that its counts sum to `target_sum`; cells without counts stay zero. Nothing is computed here.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::Array, cells};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let counts = Array::from_rows(&[[1u16, 3], [0, 0], [2, 0]])?;
/// let normalized = cells::log1p(&cells::normalize_total(&counts, 8.0)).compute(&cluster)?;
/// assert_eq!(normalized.to_vec::<f32>(), [2f32, 6.0, 0.0, 0.0, 8.0, 0.0].map(f32::ln_1p));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn normalize_total(x: &Array, target_sum: f64) -> Array {
    to_single(x).normalize_rows(target_sum)
}

/// Scales each cell to one sum, that of the settings: the median of the cells' sums, if none is given.
///
/// With a target and no gene left out nothing is computed here, as by [`normalize_total`]; the median takes one pass for
/// the sums, leaving genes out another one. Scaling itself is lazy.
///
/// # Errors
/// `BadArgument` for a target that is not a positive number or a share that is not from 0 to 1; those of
/// [`Array::reduce_blocks`].
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::Array, cells::{NormalizeTotal, normalize_total_with}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let counts = Array::from_rows(&[[1u16, 3], [0, 0], [2, 0]])?;
/// // The sums above zero are 4 and 2, their median is 3.
/// let normalized = normalize_total_with(&cluster, &counts, &NormalizeTotal::default())?;
/// assert_eq!(normalized.compute(&cluster)?.to_vec::<f32>(), [0.75, 2.25, 0.0, 0.0, 3.0, 0.0]);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn normalize_total_with(cluster: &Cluster, x: &Array, options: &NormalizeTotal) -> Result<Array> {
    let refuse =
        |argument, found: f64, expected: &str| Err(Error::bad_argument("normalize_total", argument, found, expected));
    if let Some(target) = options.target_sum.filter(|target| !(target.is_finite() && *target > 0.0)) {
        return refuse("target_sum", target, "a positive number");
    }
    if !(0.0..=1.0).contains(&options.max_fraction) {
        return refuse("max_fraction", options.max_fraction, "from 0 to 1");
    }
    if options.exclude_highly_expressed {
        let genes = others(cluster, x, options.max_fraction)?;
        let sums = x.select_columns(genes)?.sum(cluster, Over::EachRow)?;
        let target = options.target_sum.unwrap_or_else(|| median_of_positive(&sums));
        let factors: Vec<f64> = sums.iter().map(|sum| if *sum == 0.0 { 1.0 } else { target / sum }).collect();
        return to_single(x).scale_rows(&factors);
    }
    let target = match options.target_sum {
        Some(target) => target,
        None => median_of_positive(&tally(cluster, x, Asked::default(), None)?.rows.sums),
    };
    Ok(normalize_total(x, target))
}

/// Takes the median of the numbers above zero; 1, which changes nothing, where there is none.
fn median_of_positive(sums: &[f64]) -> f64 {
    let mut positive: Vec<f64> = sums.iter().copied().filter(|sum| *sum > 0.0).collect();
    positive.sort_unstable_by(f64::total_cmp);
    let n = positive.len();
    match n {
        0 => 1.0,
        _ if n % 2 == 1 => positive[n / 2],
        _ => positive[n / 2 - 1].midpoint(positive[n / 2]),
    }
}

/// Tells which genes make up no more than a share of every cell.
fn others(cluster: &Cluster, x: &Array, max_fraction: f64) -> Result<Vec<bool>> {
    let cols = x.cols();
    // Two masks while they are joined.
    let working = Working { fixed: 2 * cols, per_row: 0, kept: cols };
    let map = move |block: &Block, _: _, _: &_| Ok(within_share(block, max_fraction));
    let join = |mut a: Vec<bool>, b: Vec<bool>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a &= b);
        Ok(a)
    };
    let found = whole_rows(x).reduce_blocks(cluster, "highly expressed", working, map, join, None)?;
    Ok(found.unwrap_or_else(|| vec![true; cols as usize]))
}

fn within_share(block: &Block, max_fraction: f64) -> Vec<bool> {
    let (rows, cols) = block.shape();
    let mut within = vec![true; cols];
    with_values!(block.values(), values => for row in 0..rows {
        let stored = match block {
            Block::Dense(_) => row * cols..(row + 1) * cols,
            Block::Csr(csr) => csr.row(row),
        };
        let most = max_fraction * values[stored.clone()].iter().map(|value| value.to_f64()).sum::<f64>();
        for at in stored.clone().filter(|at| values[*at].to_f64() > most) {
            match block {
                Block::Dense(_) => within[at - stored.start] = false,
                Block::Csr(csr) => within[csr.indices[at] as usize] = false,
            }
        }
    });
    within
}

/// Takes ln(1 + x) of every value; zeros stay zero, so that a CSR array stays sparse.
pub fn log1p(x: &Array) -> Array {
    to_single(x).log1p()
}

/// Casts integers and truth values to `f32`, and leaves floats as they are.
fn to_single(x: &Array) -> Array {
    if x.dtype().is_float() { x.clone() } else { x.astype(DType::F32) }
}

impl AnnData {
    /// Scales each cell of `x` to one sum, by [`normalize_total_with`].
    ///
    /// # Errors
    /// Those of [`normalize_total_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, cells::NormalizeTotal, io::h5ad};
    /// let cluster = Cluster::builder().allowance("256MiB".parse()?).workers(2).build()?;
    /// let data = h5ad::open("bench-data/neurons10k_csr_u16.h5ad")?;
    /// let logs = data.normalize_total(&cluster, &NormalizeTotal::from(1e4))?.log1p(Some(2.0))?;
    /// assert_eq!(logs.uns["log1p"].get("base").and_then(|base| base.number()), Some(2.0));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn normalize_total(&self, cluster: &Cluster, options: &NormalizeTotal) -> Result<AnnData> {
        Ok(AnnData { x: normalize_total_with(cluster, &self.x, options)?, ..self.clone() })
    }

    /// Takes the logarithm of 1 + x of every value of `x`, to a base or the natural one, and notes the base in
    /// `uns["log1p"]`, where the choice of variable genes looks for it.
    ///
    /// # Errors
    /// `BadArgument` for a base that is not above 0 or is 1.
    pub fn log1p(&self, base: Option<f64>) -> Result<AnnData> {
        if let Some(base) = base.filter(|base| !(*base > 0.0 && base.is_finite() && *base != 1.0)) {
            return Err(Error::bad_argument("log1p", "base", base, "above 0 and not 1"));
        }
        let mut data = self.clone();
        data.x = log1p(&self.x);
        if let Some(base) = base {
            data.x = data.x.scale(1.0 / base.ln());
        }
        data.uns.insert("log1p".into(), Value::group([("base", base.map_or(Value::Null, Value::from))]));
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{both_kinds, cluster, count, data_of, is_near, values};
    use super::*;
    use crate::ByteSize;

    #[test]
    fn counts_of_any_dtype_become_the_same_logarithms() {
        let cluster = Cluster::builder().allowance(ByteSize(64 << 20)).workers(2).build().expect("sound settings");
        let counts: Vec<u8> = (0..60).map(|i| if i % 3 == 0 { i % 11 } else { 0 }).collect();
        let naive: Vec<f64> = counts
            .chunks(6)
            .flat_map(|row| {
                let sum: f64 = row.iter().map(|v| f64::from(*v)).sum();
                row.iter().map(move |v| if sum == 0.0 { 0.0 } else { (f64::from(*v) * 1e4 / sum).ln_1p() })
            })
            .collect();
        for dtype in DType::ALL.into_iter().filter(|dtype| *dtype != DType::Bool) {
            let dense = Array::from_slice(10, 6, &counts).expect("sixty counts").astype(dtype);
            for array in [dense.clone(), dense.to_csr().expect("six columns")] {
                let result = log1p(&normalize_total(&array, 1e4));
                assert_eq!(result.dtype(), if dtype == DType::F64 { DType::F64 } else { DType::F32 });
                let found = result.with_block_rows(3).compute(&cluster).expect("small").to_vec::<f64>();
                for (found, naive) in found.into_iter().zip(&naive) {
                    // Two roundings to f32: of the scaled count, of its logarithm.
                    assert!(
                        (found - naive).abs() <= 2.0 * f64::from(f32::EPSILON) * naive.abs(),
                        "{dtype} {found} {naive}"
                    );
                }
            }
        }
    }

    /// The slow, obvious version.
    fn naive(rows: usize, cols: usize, options: &NormalizeTotal) -> Vec<f64> {
        let total =
            |i: usize, of: &dyn Fn(usize) -> bool| (0..cols).filter(|j| of(*j)).map(|j| count(i, j)).sum::<f64>();
        let is_high = |j: usize| (0..rows).any(|i| count(i, j) > options.max_fraction * total(i, &|_| true));
        let counts = |j: usize| !(options.exclude_highly_expressed && is_high(j));
        let sums: Vec<f64> = (0..rows).map(|i| total(i, &counts)).collect();
        let mut above: Vec<f64> = sums.iter().copied().filter(|sum| *sum > 0.0).collect();
        above.sort_by(f64::total_cmp);
        let median = (above[(above.len() - 1) / 2] + above[above.len() / 2]) / 2.0;
        let target = options.target_sum.unwrap_or(median);
        let scaled = |i: usize, j: usize| if sums[i] == 0.0 { count(i, j) } else { count(i, j) / sums[i] * target };
        (0..rows * cols).map(|at| scaled(at / cols, at % cols)).collect()
    }

    #[test]
    fn targets_medians_and_genes_left_out_are_those_of_the_definition() {
        let data = data_of(21, 13, count);
        for target_sum in [Some(1e4), None] {
            for (exclude_highly_expressed, max_fraction) in [(false, 0.05), (true, 0.5), (true, 0.8)] {
                let options = NormalizeTotal { target_sum, exclude_highly_expressed, max_fraction };
                let expected = naive(21, 13, &options);
                for data in both_kinds(&data, 4) {
                    let found = data.normalize_total(&cluster(2), &options).expect("small");
                    let found = values(&cluster(1), &found.x);
                    // A quotient and a product more or less.
                    assert!(
                        found.iter().zip(&expected).all(|(a, b)| is_near(*a, *b, 8.0 * f64::EPSILON)),
                        "{options:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn cells_without_counts_stay_and_no_cells_have_no_median() {
        for data in both_kinds(&data_of(3, 2, |_, _| 0.0), 2) {
            let found = data.normalize_total(&cluster(1), &NormalizeTotal::default()).expect("zeros");
            assert_eq!(values(&cluster(1), &found.x), [0.0; 6]);
        }
        let none = data_of(0, 2, count).normalize_total(&cluster(1), &NormalizeTotal::default()).expect("nothing");
        assert_eq!(none.x.shape(), (0, 2));
    }

    #[test]
    fn logarithms_of_another_base_are_scaled_and_noted_and_bad_settings_refused() {
        let data = data_of(4, 3, count);
        let found = data.log1p(Some(10.0)).expect("a base");
        for (found, i) in values(&cluster(1), &found.x).into_iter().zip(0..) {
            // The library's logarithm, a quotient and a product.
            assert!(is_near(found, (1.0 + count(i / 3, i % 3)).log10(), 4.0 * f64::EPSILON));
        }
        assert!(matches!(data.log1p(None).expect("natural").uns["log1p"].get("base"), Some(Value::Null)));
        assert!(data.log1p(Some(1.0)).is_err() && data.log1p(Some(-2.0)).is_err());
        for bad in [NormalizeTotal::from(0.0), NormalizeTotal { max_fraction: 1.5, ..1.0.into() }] {
            assert!(normalize_total_with(&cluster(1), &data.x, &bad).is_err());
        }
    }
}
