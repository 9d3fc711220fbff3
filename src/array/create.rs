//! Arrays from what a program has: rows, slices, nalgebra and sprs matrices, blocks, sources; and zeros.
//!
//! A matrix that is handed over is copied once, into a block outside the workers; tasks copy their rows out of it.

use std::sync::Arc;

use nalgebra::DMatrix;
use sprs::{CsMatI, SpIndex};

use super::expr::Expr;
use super::grid::{Cuts, Grid};
use super::{Array, Block, BlockKind, CsrBlock, DType, DenseBlock, Element, Source, StoredBlock, csr};
use crate::error::{Error, Result};

impl Array {
    /// Describes the matrix that a source reads.
    pub fn from_source(source: Arc<dyn Source>) -> Array {
        Array::new(source.shape(), source.dtype(), source.kind(), Expr::Source(source))
    }

    /// Describes a matrix of zeros.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for CSR with more columns than 32 bits can number.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, BlockKind, DType, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let empty = Array::zeros(1 << 40, 20_000, DType::F32, BlockKind::Csr)?;   // takes no room
    /// assert_eq!(empty.select_rows(0..1000)?.sum(&cluster, Over::Whole)?, [0.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn zeros(rows: u64, cols: u64, dtype: DType, kind: BlockKind) -> Result<Array> {
        if kind == BlockKind::Csr {
            csr::check_cols(cols)?;
        }
        Ok(Array::new((rows, cols), dtype, kind, Expr::Zeros))
    }

    /// Takes a matrix that is one block.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, CsrBlock, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// // Two rows; the second holds 5 in column 2.
    /// let block = CsrBlock::new(2, 3, vec![0, 0, 1], vec![2], vec![5u16])?;
    /// assert_eq!(Array::from_block(block).sum(&cluster, Over::EachRow)?, [0.0, 5.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn from_block(block: impl Into<Block>) -> Array {
        let block = block.into();
        let (rows, cols) = block.shape();
        let (dtype, kind) = (block.dtype(), block.kind());
        Array::new((rows as u64, cols as u64), dtype, kind, Expr::Memory(Arc::new(block)))
    }

    /// Takes a matrix in blocks of rows, which become its chunk grid; some may have no rows.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] without a block, or when dtypes or kinds differ; [`Error::ShapeMismatch`] when the numbers of
    /// columns do.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::array::{Array, Block, DenseBlock};
    /// let block = |rows: usize| DenseBlock::new(rows, 2, vec![1.0; 2 * rows]).map(Block::from);
    /// let array = Array::from_blocks([block(3)?, block(0)?, block(1)?])?;
    /// assert_eq!((array.shape(), array.row_cuts().map(|cuts| cuts.n_runs())), ((4, 2), Some(3)));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn from_blocks(blocks: impl IntoIterator<Item = Block>) -> Result<Array> {
        let mut blocks = blocks.into_iter();
        let refuse = || Error::bad_argument("from_blocks", "number of blocks", 0, "at least 1");
        let mut whole = blocks.next().ok_or_else(refuse)?;
        let mut lengths = vec![whole.rows() as u64];
        for block in blocks {
            whole.append_rows(&block, 0..block.rows())?;
            lengths.push(block.rows() as u64);
        }
        Ok(Array { row_cuts: Some(Cuts::of_lengths(lengths)?), ..Array::from_block(whole) })
    }

    /// Takes a matrix whose blocks of rows lie in chunks, in row order; they become its chunk grid.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] without a block; [`Error::ShapeMismatch`] when the numbers of columns, dtypes or kinds differ.
    pub fn from_stored(blocks: Vec<StoredBlock>) -> Result<Array> {
        let refuse = || Error::bad_argument("from_stored", "number of blocks", 0, "at least 1");
        let first = blocks.first().ok_or_else(refuse)?.clone();
        let cols = first.shape().1 as u64;
        let unlike =
            |b: &&StoredBlock| (b.shape().1, b.dtype(), b.kind()) != (first.shape().1, first.dtype(), first.kind());
        if let Some(other) = blocks.iter().find(unlike) {
            return Err(Error::ShapeMismatch {
                operation: "from_stored",
                left: (first.shape().0 as u64, cols),
                right: (other.shape().0 as u64, other.shape().1 as u64),
                expected: "all blocks need the first one's columns, dtype and kind".into(),
            });
        }
        let cuts = Cuts::of_lengths(blocks.iter().map(|block| block.shape().0 as u64))?;
        let rows = blocks.iter().map(|block| block.shape().0 as u64).sum();
        let expr = Expr::Chunks(blocks, Grid::of_rows(cuts.clone(), cols));
        Ok(Array { row_cuts: Some(cuts), ..Array::new((rows, cols), first.dtype(), first.kind(), expr) })
    }

    /// Copies rows of one length. No rows have no columns.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when a row is longer or shorter than the first.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1u8, 2], [3, 4]])?;
    /// assert_eq!(array.compute(&cluster)?.to_vec::<u8>(), [1, 2, 3, 4]);
    /// assert!(Array::from_rows(&[vec![1.0], vec![]]).is_err());
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn from_rows<T: Element, R: AsRef<[T]>>(rows: &[R]) -> Result<Array> {
        let cols = rows.first().map_or(0, |row| row.as_ref().len());
        if let Some((i, row)) = rows.iter().enumerate().find(|(_, row)| row.as_ref().len() != cols) {
            return Err(Error::ShapeMismatch {
                operation: "from_rows",
                left: (1, cols as u64),
                right: (1, row.as_ref().len() as u64),
                expected: format!("row {i} must be as long as row 0").into(),
            });
        }
        let values: Vec<T> = rows.iter().flat_map(|row| row.as_ref().iter().copied()).collect();
        Ok(Array::from_block(DenseBlock::new(rows.len(), cols, values)?))
    }

    /// Copies row-major values.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when there are not `rows * cols` values.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_slice(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// assert_eq!(array.transpose().compute(&cluster)?.to_vec::<f64>(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn from_slice<T: Element>(rows: usize, cols: usize, values: &[T]) -> Result<Array> {
        Ok(Array::from_block(DenseBlock::new(rows, cols, values.to_vec())?))
    }

    /// Copies a nalgebra matrix.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let matrix = nalgebra::DMatrix::from_row_slice(2, 2, &[1.0, 2.0, 3.0, 4.0]);
    /// let doubled = Array::from_nalgebra(&matrix).scale(2.0).compute(&cluster)?;
    /// assert_eq!(doubled.to_nalgebra::<f64>(), matrix * 2.0);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn from_nalgebra<T: Element + nalgebra::Scalar>(matrix: &DMatrix<T>) -> Array {
        Array::from_block(DenseBlock::from_nalgebra(matrix))
    }

    /// Copies a sprs matrix; one that is stored by columns is turned.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when there are more columns than 32 bits can number.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let mut triplets = sprs::TriMat::new((2, 3));
    /// triplets.add_triplet(1, 2, 5.0);
    /// let array = Array::from_sprs(&triplets.to_csr::<usize>())?;
    /// assert_eq!(array.compute(&cluster)?.to_vec::<f64>(), [0.0, 0.0, 0.0, 0.0, 0.0, 5.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn from_sprs<T: Element, I: SpIndex, P: SpIndex>(matrix: &CsMatI<T, I, P>) -> Result<Array> {
        Ok(Array::from_block(CsrBlock::from_sprs(matrix)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    fn computed(array: &Array) -> (Vec<f64>, (u64, u64)) {
        let cluster = Cluster::builder().build().expect("defaults");
        (array.compute(&cluster).expect("small").to_vec(), array.shape())
    }

    #[test]
    fn every_constructor_gives_its_values_back() {
        let values = [1.0, 0.0, 0.0, 2.0, 0.0, 3.0];
        let expected = (values.to_vec(), (3, 2));
        let matrix = DMatrix::from_row_slice(3, 2, &values);
        let csr = DenseBlock::from_nalgebra(&matrix).to_csr().expect("two columns");
        let slices = [0..1, 1..1, 1..3].map(|rows| Block::from(csr.clone()).slice_rows(rows));
        for array in [
            Array::from_slice(3, 2, &values).expect("six values"),
            Array::from_rows(&[[1.0, 0.0], [0.0, 2.0], [0.0, 3.0]]).expect("rows of two"),
            Array::from_nalgebra(&matrix),
            Array::from_sprs(&csr.to_sprs::<f64>()).expect("two columns"),
            Array::from_blocks(slices).expect("alike"),
        ] {
            assert_eq!(computed(&array), expected, "{array:?}");
        }
    }

    #[test]
    fn zeros_are_zeros_in_both_kinds() {
        for kind in [BlockKind::Dense, BlockKind::Csr] {
            for (rows, cols) in [(0, 2), (2, 0), (3, 2)] {
                let array = Array::zeros(rows, cols, DType::I16, kind).expect("few columns");
                assert_eq!(computed(&array), (vec![0.0; (rows * cols) as usize], (rows, cols)));
            }
        }
        assert!(Array::zeros(1, 1 << 33, DType::U8, BlockKind::Csr).is_err());
    }

    #[test]
    fn ragged_rows_and_unlike_blocks_are_refused() {
        let error = Array::from_rows(&[vec![1.0], vec![1.0, 2.0]]).expect_err("ragged");
        assert!(error.to_string().contains("row 1"), "{error}");
        assert!(Array::from_slice(2, 2, &[1u8]).is_err());
        assert!(Array::from_blocks([]).is_err());
    }
}
