//! Genes of mean zero and variance one, as scanpy's `pp.scale` gives them, without filling a sparse matrix.
//!
//! ```text
//!   (x − mean) / std, clipped   =   what is not zero   +   1 · offsetᵀ,   offset = what a zero becomes
//!                                   ───────────────        ─────────
//!                                   as sparse as x         a number for each gene
//! ```
//!
//! A sparse matrix is kept as that sum: the first part is an expression like any other, the second a row. Principal
//! components are those of the first part, because a row that all cells share has no variance; who needs the numbers
//! themselves asks for [`Scaled::to_dense`]. Clipping keeps the form: what is clipped stays where it stood.
//!
//! Always true: means and variances are in f64, of one pass, with n − 1; a gene that does not vary is divided by 1; integers
//! become `f64`, as in scanpy, and floats are rounded once.

use std::sync::Arc;

use super::{AnnData, Column};
use crate::array::{Array, Block, BlockInfo, BlockKind, BlockMap, DType, Kernel, Over, Statistic, Values};
use crate::error::{Error, Result};
use crate::runtime::Cluster;

/// Settings of [`scale`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// Whether the mean is taken from each gene.
    pub zero_center: bool,
    /// Values above this become this, and, if the mean is taken, those below its negative become its negative.
    pub max_value: Option<f64>,
    /// The cells whose mean and variance count, and which are scaled; the others stay as they are.
    pub mask: Option<Vec<bool>>,
    /// Whether a sparse matrix that is centred becomes a dense one.
    pub densify: bool,
}

impl Default for Scale {
    fn default() -> Self {
        Scale { zero_center: true, max_value: None, mask: None, densify: false }
    }
}

/// A scaled matrix: `x`, and where there is an offset, a row that is to be added to every row of it.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// The matrix, dense or as sparse as it was.
    pub x: Array,
    /// What a zero became, for each gene, where `x` was kept sparse.
    pub offset: Option<Vec<f64>>,
    /// The mean of each gene before.
    pub mean: Vec<f64>,
    /// The standard deviation of each gene before; 1 where it does not vary.
    pub std: Vec<f64>,
}

impl Scaled {
    /// Returns the scaled matrix with all its values, as an expression.
    ///
    /// # Errors
    /// None that can happen to a result of [`scale`].
    pub fn to_dense(&self) -> Result<Array> {
        let dense = self.x.to_dense();
        let Some(offset) = &self.offset else { return Ok(dense) };
        let row = Array::from_slice(1, offset.len(), offset)?;
        Ok(dense.add(&row)?.astype(self.x.dtype()))
    }
}

/// Scales each column to mean zero and variance one. One pass for means and variances; scaling itself is lazy.
///
/// A sparse matrix stays sparse: see [`Scaled::offset`]. Means and deviations come home, a number for each column.
///
/// # Errors
/// `BadArgument` for a limit that is not above zero and for a mask of another length; `Unsupported` for a mask on a
/// sparse matrix; those of [`Array::reduce_many`].
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::Array, cells::{Scale, scale}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = Array::from_rows(&[[0.0, 1.0], [0.0, 1.0], [3.0, 1.0]])?.to_csr()?;
/// let scaled = scale(&cluster, &x, &Scale::default())?;
/// let offset = scaled.offset.clone().expect("it was sparse and stays so");
/// assert!((offset[0] + 1.0 / 3f64.sqrt()).abs() < 1e-15);
/// let values = scaled.to_dense()?.compute(&cluster)?.to_vec::<f64>();
/// assert!((values[4] - 2.0 / 3f64.sqrt()).abs() < 1e-15 && values[5] == 0.0);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn scale(cluster: &Cluster, x: &Array, options: &Scale) -> Result<Scaled> {
    check(x, options)?;
    let x = if x.dtype().is_float() { x.clone() } else { x.astype(DType::F64) };
    let counted = match &options.mask {
        Some(mask) => x.select_rows(mask.clone())?,
        None => x.clone(),
    };
    let (mean, std) = mean_and_std(cluster, &counted)?;
    let is_kept_sparse = x.kind() == BlockKind::Csr && !(options.zero_center && options.densify);
    let (x, offset) = match is_kept_sparse {
        true => scale_sparse(&x, &mean, &std, options)?,
        false => (scale_dense(&x.to_dense(), &mean, &std, options)?, None),
    };
    Ok(Scaled { x, offset, mean, std })
}

fn check(x: &Array, options: &Scale) -> Result<()> {
    if let Some(most) = options.max_value.filter(|most| most.is_nan() || *most <= 0.0) {
        return Err(Error::bad_argument("scale", "max_value", most, "above zero"));
    }
    match &options.mask {
        Some(mask) if mask.len() as u64 != x.rows() => {
            let found = format!("{} truth values", mask.len());
            Err(Error::bad_argument("scale", "mask", found, format!("{}, one for each cell", x.rows())))
        }
        Some(_) if x.kind() == BlockKind::Csr && !options.densify => Err(Error::Unsupported {
            what: "scaling some cells of a sparse matrix".into(),
            instead: "ask for a dense one with densify, or select the cells first".into(),
        }),
        _ => Ok(()),
    }
}

fn mean_and_std(cluster: &Cluster, x: &Array) -> Result<(Vec<f64>, Vec<f64>)> {
    let each = |statistic| (statistic, Over::EachColumn);
    let mut found = x.reduce_many(cluster, &[each(Statistic::Mean), each(Statistic::Var { ddof: 1 })], None)?;
    let (variance, mean) = (found.pop().unwrap_or_default(), found.pop().unwrap_or_default());
    // Of one cell nothing varies.
    let is_constant = |variance: f64| variance == 0.0 || x.rows() < 2;
    let std = variance.iter().map(|variance| if is_constant(*variance) { 1.0 } else { variance.sqrt() }).collect();
    Ok((mean, std))
}

fn scale_sparse(x: &Array, mean: &[f64], std: &[f64], options: &Scale) -> Result<(Array, Option<Vec<f64>>)> {
    let factors: Vec<f64> = std.iter().map(|std| 1.0 / std).collect();
    let scaled = x.scale_cols(&factors)?;
    if !options.zero_center {
        let most = options.max_value;
        return Ok((most.map_or(Ok(scaled.clone()), |most| scaled.clip(f64::NEG_INFINITY, most))?, None));
    }
    let offset: Vec<f64> = mean.iter().zip(std).map(|(mean, std)| -mean / std).collect();
    let Some(most) = options.max_value else { return Ok((scaled, Some(offset))) };
    // What is clipped at ±most after the offset is clipped at ±most less the offset before.
    let bounds: Vec<(f64, f64)> = offset.iter().map(|offset| (-most - offset, most - offset)).collect();
    let offset = offset.iter().map(|offset| offset.max(-most).min(most)).collect();
    Ok((scaled.apply(Kernel::ClipCols(bounds.into()))?, Some(offset)))
}

fn scale_dense(x: &Array, mean: &[f64], std: &[f64], options: &Scale) -> Result<Array> {
    let mean = if options.zero_center { mean.to_vec() } else { vec![0.0; mean.len()] };
    let most = options.max_value.unwrap_or(f64::INFINITY);
    let least = if options.zero_center { -most } else { f64::NEG_INFINITY };
    let columns: Arc<[(f64, f64)]> = mean.into_iter().zip(std.iter().copied()).collect();
    let mask: Option<Arc<[bool]>> = options.mask.clone().map(Into::into);
    let change = move |mut block: Block, info: BlockInfo| {
        let is_left = |row: usize| mask.as_ref().is_some_and(|mask| !mask[info.row_offset as usize + row]);
        let of = |value: f64, (mean, std): (f64, f64)| {
            let scaled = (value - mean) / std;
            if scaled.is_nan() { scaled } else { scaled.max(least).min(most) }
        };
        match block.values_mut() {
            Values::F32(values) => {
                change_rows(values.to_mut(), &columns, is_left, |value, of_col| of(f64::from(value), of_col) as f32);
            }
            Values::F64(values) => change_rows(values.to_mut(), &columns, is_left, of),
            other => return Err(Error::bad_argument("scale", "dtype", other.dtype(), "float32 or float64")),
        }
        Ok(block)
    };
    x.map_blocks(BlockMap::new("scale", x.cols(), x.dtype(), BlockKind::Dense, change))
}

/// Changes every value by its column's mean and deviation, but in rows that are left as they are.
fn change_rows<T: Copy>(
    values: &mut [T],
    columns: &[(f64, f64)],
    is_left: impl Fn(usize) -> bool,
    of: impl Fn(T, (f64, f64)) -> T,
) {
    // No columns, no values: and chunks of zero length do not exist.
    let rows = values.chunks_exact_mut(columns.len().max(1)).enumerate();
    for (_, values) in rows.filter(|(row, _)| !is_left(*row)) {
        values.iter_mut().zip(columns).for_each(|(value, of_col)| *value = of(*value, *of_col));
    }
}

impl AnnData {
    /// Scales `x`; `var` gets `mean` and `std` (`mean with mask`, `std with mask`), as by scanpy's `pp.scale`.
    ///
    /// A sparse `x` that is centred stays sparse, and `var` gets `scaled_zero`, what a zero became: the scaled matrix is
    /// `x` and that row added to every row. Its principal components, [`pca`](super::pca())'s, are those of `x`. With
    /// `densify` `x` becomes dense, as in scanpy.
    ///
    /// # Errors
    /// Those of [`scale`].
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::BlockKind, cells::Scale, io::h5ad};
    /// let cluster = Cluster::builder().allowance("256MiB".parse()?).workers(2).build()?;
    /// let data = h5ad::open("bench-data/neurons10k_csr_u16.h5ad")?.log1p(None)?;
    /// let scaled = data.scale(&cluster, &Scale { max_value: Some(10.0), ..Default::default() })?;
    /// assert_eq!(scaled.x.kind(), BlockKind::Csr);
    /// assert_eq!(scaled.var.columns()[scaled.var.columns().len() - 3..], ["mean", "std", "scaled_zero"]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn scale(&self, cluster: &Cluster, options: &Scale) -> Result<AnnData> {
        let Scaled { x, offset, mean, std } = scale(cluster, &self.x, options)?;
        let suffix = if options.mask.is_some() { " with mask" } else { "" };
        let mut columns =
            vec![(format!("mean{suffix}"), Column::from(mean)), (format!("std{suffix}"), Column::from(std))];
        columns.extend(offset.map(|offset| ("scaled_zero".to_string(), Column::from(offset))));
        Ok(AnnData { x, var: self.var.with_columns(columns)?, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{both_kinds, cluster, count, data_of, values};
    use super::*;

    /// The slow, obvious version.
    fn naive(rows: usize, cols: usize, value: &dyn Fn(usize, usize) -> f64, options: &Scale) -> Vec<f64> {
        let counts = |i: usize| options.mask.as_ref().is_none_or(|mask| mask[i]);
        let n = (0..rows).filter(|i| counts(*i)).count() as f64;
        let mean = |j: usize| (0..rows).filter(|i| counts(*i)).map(|i| value(i, j)).sum::<f64>() / n;
        let of = |i: usize, j: usize| {
            let squares = (0..rows).filter(|i| counts(*i)).map(|i| (value(i, j) - mean(j)).powi(2)).sum::<f64>();
            let std = if n < 2.0 || squares == 0.0 { 1.0 } else { (squares / (n - 1.0)).sqrt() };
            let scaled = (value(i, j) - if options.zero_center { mean(j) } else { 0.0 }) / std;
            let most = options.max_value.unwrap_or(f64::INFINITY);
            let clipped = scaled.min(most).max(if options.zero_center { -most } else { f64::NEG_INFINITY });
            if counts(i) { clipped } else { value(i, j) }
        };
        (0..rows * cols).map(|at| of(at / cols, at % cols)).collect()
    }

    #[test]
    fn values_are_those_of_the_definition_sparse_or_dense_clipped_or_not() {
        // One column is constant, one without zeros; a mean of some deviations, so that zero itself is clipped.
        let value = |i: usize, j: usize| match j {
            0 => 3.0,
            1 => 20.0 + (i % 3) as f64,
            _ => count(i, j),
        };
        for (rows, block_rows) in [(30, 7), (1, 1), (2, 9)] {
            for zero_center in [true, false] {
                for (max_value, densify) in [(None, false), (Some(1.5), false), (Some(1.5), true)] {
                    let options = Scale { zero_center, max_value, mask: None, densify };
                    let expected = naive(rows, 6, &value, &options);
                    for data in both_kinds(&data_of(rows, 6, value), block_rows) {
                        let found = scale(&cluster(2), &data.x, &options).expect("small");
                        let is_sparse = data.x.kind() == BlockKind::Csr && !(densify && zero_center);
                        assert_eq!(found.x.kind() == BlockKind::Csr, is_sparse);
                        let found = values(&cluster(1), &found.to_dense().expect("alike"));
                        // Beside a mean of 27 deviations an offset is rounded to 27 ε.
                        let near = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 60.0 * f64::EPSILON);
                        assert!(near, "{options:?} {found:?} {expected:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_mask_says_which_cells_count_and_are_scaled() {
        let mask: Vec<bool> = (0..12).map(|i| i % 3 != 0).collect();
        let options = Scale { mask: Some(mask), densify: true, ..Default::default() };
        let expected = naive(12, 4, &count, &options);
        for data in both_kinds(&data_of(12, 4, count), 5) {
            let found = data.scale(&cluster(2), &options).expect("small");
            let near = values(&cluster(1), &found.x).iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-14);
            assert!(near, "a dozen numbers of about one");
            assert_eq!(found.var.columns(), ["mean with mask", "std with mask"]);
        }
    }

    #[test]
    fn integers_become_double_and_single_stays_single() {
        for (dtype, expected) in [(DType::U8, DType::F64), (DType::F32, DType::F32)] {
            for data in both_kinds(&data_of(9, 4, |i, j| (i * j % 4) as f64), 4) {
                let found = scale(&cluster(1), &data.x.astype(dtype), &Scale::default()).expect("small");
                assert_eq!((found.x.dtype(), found.to_dense().expect("alike").dtype()), (expected, expected));
            }
        }
    }

    #[test]
    fn limits_below_zero_and_masks_that_do_not_fit_are_refused() {
        let [dense, sparse] = both_kinds(&data_of(3, 2, count), 2);
        let with_mask = |n| Scale { mask: Some(vec![true; n]), ..Default::default() };
        assert!(dense.scale(&cluster(1), &Scale { max_value: Some(-1.0), ..Default::default() }).is_err());
        assert!(dense.scale(&cluster(1), &with_mask(2)).is_err());
        assert!(matches!(sparse.scale(&cluster(1), &with_mask(3)), Err(Error::Unsupported { .. })));
    }
}
