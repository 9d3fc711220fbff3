//! Normalising counts, as scanpy's `pp.normalize_total` and `pp.log1p` do: two expressions, nothing is computed here.
//!
//! As in scanpy, integers become `f32` first. A cell's total is summed and its factor taken in `f64`, and each value is
//! rounded once, so that results are within an `f32` rounding of scanpy's.

use crate::array::{Array, DType};

/// Scales each cell so that its counts sum to `target_sum`; cells without counts stay zero.
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

/// Takes ln(1 + x) of every value; zeros stay zero, so that a CSR array stays sparse.
pub fn log1p(x: &Array) -> Array {
    to_single(x).log1p()
}

/// Casts integers and truth values to `f32`, and leaves floats as they are.
fn to_single(x: &Array) -> Array {
    if x.dtype().is_float() { x.clone() } else { x.astype(DType::F32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ByteSize, Cluster};

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
}
