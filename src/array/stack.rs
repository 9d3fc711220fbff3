//! Arrays put together: one below the other, or beside each other.

use super::expr::Expr;
use super::grid::Cuts;
use super::{Array, BlockKind, csr};
use crate::error::{Error, Result};

impl Array {
    /// Puts arrays one below the other. They need one number of columns, one dtype and one kind: cast with
    /// [`astype`](Self::astype), [`to_dense`](Self::to_dense) or [`to_csr`](Self::to_csr) first.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for no arrays, or when dtypes or kinds differ; [`Error::ShapeMismatch`] when the numbers of columns do.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let (a, b) = (Array::from_rows(&[[1, 2]])?, Array::from_rows(&[[3, 4], [5, 6]])?);
    /// assert_eq!(Array::vstack(&[a, b])?.compute(&cluster)?.to_vec::<i32>(), [1, 2, 3, 4, 5, 6]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn vstack(arrays: &[Array]) -> Result<Array> {
        let first = check_alike("vstack", arrays, |array| array.cols())?;
        let cuts = Cuts::of_lengths(arrays.iter().map(Array::rows))?;
        let runs = |array: &Array| -> Option<Vec<u64>> {
            let cuts = array.row_cuts.as_ref()?;
            Some((0..cuts.n_runs()).map(|i| cuts.run(i).end - cuts.run(i).start).collect())
        };
        // The grids stand one below the other, too, where all have one.
        let lengths: Option<Vec<Vec<u64>>> = arrays.iter().map(runs).collect();
        let row_cuts = lengths.map(|lengths| Cuts::of_lengths(lengths.into_iter().flatten())).transpose()?;
        let stacked =
            Array::new((cuts.len(), first.cols()), first.dtype, first.kind, Expr::VStack(arrays.to_vec(), cuts));
        Ok(Array { row_cuts, col_cuts: first.col_cuts.clone(), ..stacked })
    }

    /// Puts arrays beside each other. They need one number of rows, one dtype and one kind: cast with
    /// [`astype`](Self::astype), [`to_dense`](Self::to_dense) or [`to_csr`](Self::to_csr) first.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for no arrays, or when dtypes or kinds differ; [`Error::ShapeMismatch`] when the numbers of rows
    /// do; [`Error::Unsupported`] for CSR with more columns than 32 bits can number.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let (a, b) = (Array::from_rows(&[[1], [2]])?, Array::from_rows(&[[3, 4], [5, 6]])?);
    /// assert_eq!(Array::hstack(&[a, b])?.compute(&cluster)?.to_vec::<i32>(), [1, 3, 4, 2, 5, 6]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn hstack(arrays: &[Array]) -> Result<Array> {
        let first = check_alike("hstack", arrays, |array| array.rows())?;
        let cuts = Cuts::of_lengths(arrays.iter().map(Array::cols))?;
        if first.kind == BlockKind::Csr {
            csr::check_cols(cuts.len())?;
        }
        let shape = (first.rows(), cuts.len());
        let beside = Array::new(shape, first.dtype, first.kind, Expr::HStack(arrays.to_vec(), cuts));
        Ok(Array { row_cuts: first.row_cuts.clone(), ..beside })
    }
}

/// Refuses no arrays and arrays that differ in dtype, kind or the length that must be one; returns the first.
fn check_alike<'a>(operation: &'static str, arrays: &'a [Array], length: fn(&Array) -> u64) -> Result<&'a Array> {
    let refuse = || Error::bad_argument(operation, "number of arrays", 0, "at least 1");
    let first = arrays.first().ok_or_else(refuse)?;
    for other in arrays {
        if length(other) != length(first) {
            let expected = format!("all arrays need the {} of the first", length(first)).into();
            return Err(Error::ShapeMismatch { operation, left: first.shape, right: other.shape, expected });
        }
        if (other.dtype, other.kind) != (first.dtype, first.kind) {
            let (found, expected) =
                (format!("{} {}", other.kind, other.dtype), format!("{} {}, as the first", first.kind, first.dtype));
            return Err(Error::bad_argument(operation, "kind and dtype", found, expected));
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;
    use crate::array::random;

    #[test]
    fn rows_or_columns_cut_apart_and_stacked_are_the_array_on_any_grid() {
        let cluster = Cluster::builder().workers(2).build().expect("defaults");
        let whole = random::uniform(20, 6, 3, None).persist(&cluster).expect("small");
        for array in [whole.clone(), whole.to_csr().expect("few columns"), whole.transpose().rechunk(4, 20).transpose()]
        {
            let expected = array.compute(&cluster).expect("small").to_vec::<f64>();
            let rows = [0..7, 7..7, 7..20].map(|part| array.select_rows(part).expect("within"));
            let cols = [0..1, 1..1, 1..6].map(|part| array.select_columns(part).expect("within"));
            for joined in [Array::vstack(&rows), Array::hstack(&cols)] {
                let joined = joined.expect("alike");
                for joined in [joined.clone(), joined.clone().with_block_rows(3), joined.rechunk(5, 4)] {
                    assert_eq!(joined.compute(&cluster).expect("small").to_vec::<f64>(), expected);
                    assert_eq!(
                        joined.persist(&cluster).and_then(|a| a.compute(&cluster)).expect("small").to_vec::<f64>(),
                        expected
                    );
                }
            }
        }
    }

    #[test]
    fn a_stack_keeps_the_grids_of_its_parts() {
        let parts = [random::uniform(5, 2, 1, 2), random::uniform(4, 2, 1, 3)];
        let stacked = Array::vstack(&parts).expect("alike");
        assert_eq!(stacked.row_cuts().map(Cuts::n_runs), Some(5));
    }

    #[test]
    fn unlike_arrays_are_not_stacked() {
        let a = random::uniform(5, 2, 1, 2);
        assert!(Array::vstack(&[]).is_err());
        assert!(Array::vstack(&[a.clone(), random::uniform(5, 3, 1, 2)]).is_err());
        assert!(Array::hstack(&[a.clone(), random::uniform(4, 2, 1, 2)]).is_err());
        let error = Array::hstack(&[a.clone(), a.to_csr().expect("two columns")]).expect_err("two kinds");
        assert!(error.to_string().contains("csr float64") && error.to_string().contains("dense float64"), "{error}");
    }
}
