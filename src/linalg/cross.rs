//! The product of a tall array's transpose with another of the same rows: `XᵀY`, in one pass over both.

use nalgebra::DMatrix;

use super::check_fits;
use super::products::{Shifted, times_bytes};
use super::tsqr::columns;
use crate::array::{Array, Block, BlockKind, Working};
use crate::error::Result;
use crate::runtime::{Cluster, Progress};

/// Returns `XᵀY`, columns of `x` × columns of `y`.
///
/// Either may be dense or CSR, on any grid; of two CSR arrays the one with fewer columns is taken as dense, a block at a time. Products
/// are added up in f64, blocks in a fixed tree: the same bits on any number of workers.
///
/// # Errors
/// [`Error::ShapeMismatch`](crate::Error::ShapeMismatch) when the arrays have not the same number of rows;
/// [`Error::TooBig`](crate::Error::TooBig) when the product does not fit the allowance twice.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::cross};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]])?.to_csr()?;
/// let y = Array::from_rows(&[[1.0], [10.0]])?;
/// assert_eq!(cross(&cluster, &x, &y, None)?.as_slice(), [31.0, 42.0]);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn cross(cluster: &Cluster, x: &Array, y: &Array, progress: Option<Progress>) -> Result<DMatrix<f64>> {
    // The left side is worked on as it is stored, the right side as dense rows.
    let turned = match (x.kind(), y.kind()) {
        (BlockKind::Dense, BlockKind::Csr) => true,
        (BlockKind::Csr, BlockKind::Dense) => false,
        _ => y.cols() > x.cols(),
    };
    if turned {
        return Ok(cross_of(cluster, y, x, progress)?.unwrap_or_else(|| empty(y, x)));
    }
    let product = cross_of(cluster, x, y, progress)?.unwrap_or_else(|| empty(x, y));
    Ok(product.transpose())
}

fn empty(stored: &Array, dense: &Array) -> DMatrix<f64> {
    DMatrix::zeros(dense.cols() as usize, stored.cols() as usize)
}

/// Returns `denseᵀ · stored`.
fn cross_of(
    cluster: &Cluster,
    stored: &Array,
    dense: &Array,
    progress: Option<Progress>,
) -> Result<Option<DMatrix<f64>>> {
    let (p, q) = (columns(stored, "cross")?, columns(dense, "cross")?);
    let product = (p as u64).saturating_mul(q as u64).saturating_mul(8);
    // Two partials while they are joined; the dense side's rows in f64.
    let fixed = product.saturating_mul(2).saturating_add(times_bytes(p));
    let working = Working { fixed, per_row: 8 * q as u64, kept: product };
    check_fits(cluster, fixed, || format!("cross of {p} and {q} columns (select fewer columns)"))?;
    stored.reduce_pairs(
        cluster,
        dense,
        "cross",
        working,
        move |stored: &Block, dense: &Block, _, _| {
            let mut product = DMatrix::zeros(q, p);
            Shifted::new(stored, &[]).add_transposed_times(&dense.to_vec::<f64>(), &mut product)?;
            Ok(product)
        },
        |left, right| Ok(left + right),
        progress,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::testing::noise;

    #[test]
    fn every_pair_of_kinds_gives_the_plain_product_whatever_the_grids() {
        let cluster = Cluster::builder().allowance(crate::ByteSize(64 << 20)).workers(2).build().unwrap();
        for (n, p, q) in [(203, 7, 3), (203, 3, 7), (1, 4, 2), (0, 4, 2), (5, 0, 2), (5, 2, 0)] {
            let (a, b) = (noise(n, p, 1), noise(n, q, 2).map(|x| if x < 0.0 { 0.0 } else { x }));
            let expected = a.transpose() * &b;
            let arrays = |m: &DMatrix<f64>, rows| {
                let dense = Array::from_nalgebra(m).with_block_rows(rows);
                [dense.clone(), dense.to_csr().unwrap(), dense.rechunk(11, 2)]
            };
            for x in arrays(&a, 20) {
                for y in arrays(&b, 33) {
                    let found = cross(&cluster, &x, &y, None).unwrap();
                    assert_eq!(found.shape(), (p, q));
                    // Sums of at most 203 products below one, in another order: n ε.
                    assert!(expected.is_empty() || (found - &expected).amax() < 203.0 * f64::EPSILON);
                }
            }
        }
        let (x, y) = (Array::from_nalgebra(&noise(3, 1, 1)), Array::from_nalgebra(&noise(4, 1, 1)));
        assert!(cross(&cluster, &x, &y, None).is_err());
    }

    #[test]
    fn the_number_of_workers_changes_no_bit() {
        let x = crate::array::random::normal(5_000, 20, 3, 100).to_csr().unwrap();
        let y = crate::array::random::normal(5_000, 4, 4, None);
        let bits = |workers| {
            let cluster = Cluster::builder().allowance(crate::ByteSize(64 << 20)).workers(workers).build().unwrap();
            cross(&cluster, &x, &y, None).unwrap().map(f64::to_bits)
        };
        let one = bits(1);
        assert!([2, 5].into_iter().all(|workers| bits(workers) == one));
    }
}
