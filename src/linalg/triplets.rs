//! The last look at singular vectors: one pass that turns a few right vectors into singular triplets and says how good they are.
//!
//! From vectors V the pass gives R of `A V`, whose SVD turns V so that `A V` has orthogonal columns, of length σ, each good
//! to `ε σ₁` however small; and `Aᵀ(A V)`, which must be `σ² v`. What is reported is therefore measured, not hoped.

use std::sync::Arc;

use nalgebra::DMatrix;

use super::dense::{SmallSvd, svd_bytes, svd_small};
use super::operator::Operator;
use super::rows::add_turned;
use super::{on_lane, signs};
use crate::array::Array;
use crate::error::Result;
use crate::runtime::{Cluster, Progress};

/// Singular triplets without the left vectors, which are products with the array.
pub(crate) struct Triplets {
    /// Largest first.
    pub(crate) s: Vec<f64>,
    /// One row for each, its entry of largest magnitude positive.
    pub(crate) vt: DMatrix<f64>,
    /// How many are above rounding.
    pub(crate) rank: usize,
    /// `‖Aᵀu − σ v‖ / σ`; beyond the rank `‖A v‖ / s[0]`.
    pub(crate) residuals: Vec<f64>,
    /// The largest entry of `|UᵀU − I|` within the rank.
    pub(crate) orthogonality: f64,
    /// Better vectors of unit length, not orthogonal, one for each that was given: along `AᵀA v`; beyond the rank `v`.
    pub(crate) next: DMatrix<f64>,
}

/// Turns orthonormal vectors (as rows, at least `k` of them) into the `k` singular triplets they hold, by one pass.
pub(crate) fn triplets(
    cluster: &Cluster,
    operator: &Operator,
    vectors: &Arc<DMatrix<f64>>,
    k: usize,
    progress: Option<Progress>,
) -> Result<Triplets> {
    let (image, look) = operator.look_at(cluster, vectors, progress)?;
    let ((l, p), shape, scale) = (vectors.shape(), operator.array().shape(), operator.scale());
    let (bytes, vectors) = (triplets_bytes(l, p), vectors.clone());
    on_lane(cluster, operator.operation(), bytes, move || {
        let SmallSvd { s, vt: turn, .. } = svd_small(&square(&look.r, l))?;
        let (mut vt, mut image_t) = (DMatrix::zeros(l, p), DMatrix::zeros(l, p));
        add_turned(&turn, &vectors, &mut vt)?;
        add_turned(&turn, &image, &mut image_t)?;
        for (j, sign) in signs::fix_rows(&mut vt).into_iter().enumerate() {
            image_t.row_mut(j).scale_mut(sign);
        }
        let rank = rank_of(&s, shape);
        let error = |j: usize| (image_t.row(j) / s[j] - vt.row(j) * s[j]).norm() / s[j];
        let beyond = |j: usize| if s[0] > 0.0 { s[j] / s[0] } else { 0.0 };
        let residuals = (0..k).map(|j| if j < rank { error(j) } else { beyond(j) }).collect();
        let orthogonality = orthogonality(&look.gram, &turn, &s[..rank.min(k)]);
        for j in 0..l {
            let next = if j < rank { image_t.row(j).normalize() } else { vt.row(j).into_owned() };
            image_t.set_row(j, &next);
        }
        let s = s[..k].iter().map(|value| value / scale).collect();
        let vt = vt.rows(0, k).into_owned();
        Ok(Triplets { s, vt, rank: rank.min(k), residuals, orthogonality, next: image_t })
    })
}

/// Returns what turning `l` vectors of length `p` takes after the pass.
pub(crate) fn triplets_bytes(l: usize, p: usize) -> u64 {
    svd_bytes(l, l) + (10 * l * l * 8 + 6 * l * p * 8) as u64
}

/// Returns U = (A − mean) V Σ⁻¹ as an expression; columns beyond the rank are zero.
pub(crate) fn left_vectors(array: &Array, mean: &[f64], vt: &DMatrix<f64>, s: &[f64], rank: usize) -> Result<Array> {
    let right = DMatrix::from_fn(vt.ncols(), vt.nrows(), |i, j| if j < rank { vt[(j, i)] / s[j] } else { 0.0 });
    if mean.is_empty() {
        return array.matmul(&right);
    }
    array.matmul_centred(&right, mean)
}

/// Returns R with as many rows as columns, the missing ones zero.
fn square(r: &DMatrix<f64>, l: usize) -> DMatrix<f64> {
    r.clone().resize_vertically(l, 0.0)
}

/// Returns how many singular values stand out of the rounding, by the rule of NumPy and MATLAB.
fn rank_of(s: &[f64], shape: (u64, u64)) -> usize {
    let noise = shape.0.max(shape.1) as f64 * f64::EPSILON * s.first().copied().unwrap_or(0.0);
    s.iter().take_while(|&&value| value > noise).count()
}

fn orthogonality(gram: &DMatrix<f64>, turn: &DMatrix<f64>, s: &[f64]) -> f64 {
    let full = DMatrix::from_fn(gram.nrows(), gram.ncols(), |i, j| gram[(i.min(j), i.max(j))]);
    let turned = turn * full * turn.transpose();
    let off = |i: usize, j: usize| (turned[(i, j)] / s[i] / s[j] - if i == j { 1.0 } else { 0.0 }).abs();
    (0..s.len()).flat_map(|j| (0..=j).map(move |i| (i, j))).map(|(i, j)| off(i, j)).fold(0.0, f64::max)
}
