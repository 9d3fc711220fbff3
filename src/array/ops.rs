//! The lazy operations: each checks what it can, adds a node to the expression, and computes nothing.

use nalgebra::DMatrix;

use super::expr::Expr;
use super::grid::Cuts;
use super::matmul::Product;
use super::select::{Columns, Selection};
use super::{Array, BlockKind, BlockMap, DType, Kernel, csr};
use crate::error::{Error, Result};

impl Array {
    /// Returns the array with another node on top that leaves the rows where they are.
    pub(super) fn node(&self, cols: u64, dtype: DType, kind: BlockKind, expr: Expr) -> Array {
        // Cuts of columns that are no longer there say nothing; that rows are whole still does.
        let col_cuts = match &self.col_cuts {
            Some(cuts) if cols == self.cols() => Some(cuts.clone()),
            Some(cuts) if cuts.n_runs() == 1 => Some(Cuts::whole(cols)),
            _ => None,
        };
        Array { row_cuts: self.row_cuts.clone(), col_cuts, ..Array::new((self.rows(), cols), dtype, kind, expr) }
    }

    /// Applies a kernel to every block. Integers and truth values are cast to [`DType::to_float`] first.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a kernel that would fill a CSR array's zeros, [`Error::ShapeMismatch`] when there is not
    /// one factor for each row or column.
    pub fn apply(&self, kernel: Kernel) -> Result<Array> {
        if self.kind == BlockKind::Csr && !kernel.keeps_zeros() {
            return Err(Error::Unsupported {
                what: format!("{} of a CSR array, which would fill it,", kernel.name()).into(),
                instead: "call to_dense() first".into(),
            });
        }
        let factors = match &kernel {
            Kernel::ScaleRows(factors) => Some((factors.len() as u64, self.rows())),
            Kernel::ScaleCols(factors) => Some((factors.len() as u64, self.cols())),
            Kernel::ClipCols(bounds) => Some((bounds.len() as u64, self.cols())),
            _ => None,
        };
        if let Some((found, needed)) = factors.filter(|(found, needed)| found != needed) {
            return Err(Error::ShapeMismatch {
                operation: kernel.name(),
                left: self.shape,
                right: (found, 1),
                expected: format!("give {needed} factors").into(),
            });
        }
        Ok(self.with_kernel(kernel))
    }

    /// Adds a kernel that any float array takes.
    pub(super) fn with_kernel(&self, kernel: Kernel) -> Array {
        let input = self.astype(self.dtype.to_float());
        self.node(input.cols(), input.dtype, input.kind, Expr::Kernel(input, kernel))
    }

    /// Adds a number to every value of a dense array.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a CSR array, which it would fill.
    pub fn add_scalar(&self, term: f64) -> Result<Array> {
        self.apply(Kernel::Add(term))
    }

    /// Multiplies each row with its own factor.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when there is not one factor for each row.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]])?;
    /// assert_eq!(array.scale_rows(&[1.0, 10.0])?.compute(&cluster)?.to_vec::<f64>(), [1.0, 2.0, 30.0, 40.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn scale_rows(&self, factors: &[f64]) -> Result<Array> {
        self.apply(Kernel::ScaleRows(factors.into()))
    }

    /// Multiplies each column with its own factor.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when there is not one factor for each column.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]])?;
    /// assert_eq!(array.scale_cols(&[1.0, 10.0])?.compute(&cluster)?.to_vec::<f64>(), [1.0, 20.0, 3.0, 40.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn scale_cols(&self, factors: &[f64]) -> Result<Array> {
        self.apply(Kernel::ScaleCols(factors.into()))
    }

    /// Scales each row so that it sums to `target`; a row that sums to zero stays as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let counts = Array::from_rows(&[[1.0, 3.0], [0.0, 0.0]])?;
    /// assert_eq!(counts.normalize_rows(100.0).compute(&cluster)?.to_vec::<f64>(), [25.0, 75.0, 0.0, 0.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn normalize_rows(&self, target: f64) -> Array {
        self.with_kernel(Kernel::NormalizeRows(target))
    }

    /// Converts every value to another dtype: integers wrap into narrower ones, floats saturate into integers.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, DType}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.9, -1.0, 300.0]])?;
    /// assert_eq!(array.astype(DType::U8).compute(&cluster)?.to_vec::<u8>(), [1, 0, 255]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn astype(&self, dtype: DType) -> Array {
        if dtype == self.dtype {
            return self.clone();
        }
        self.node(self.cols(), dtype, self.kind, Expr::AsType(self.clone()))
    }

    /// Makes the blocks dense.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::array::{Array, BlockKind};
    /// let csr = Array::from_rows(&[[0.0, 5.0]])?.to_csr()?;
    /// assert_eq!((csr.kind(), csr.to_dense().kind()), (BlockKind::Csr, BlockKind::Dense));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn to_dense(&self) -> Array {
        self.to_kind(BlockKind::Dense)
    }

    /// Makes the blocks CSR, without their zeros.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when there are more columns than 32 bits can number.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let csr = Array::from_rows(&[[0.0, 5.0], [0.0, 0.0]])?.to_csr()?;
    /// assert_eq!(csr.nnz(&cluster, Over::Whole)?, [1.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn to_csr(&self) -> Result<Array> {
        csr::check_cols(self.cols())?;
        Ok(self.to_kind(BlockKind::Csr))
    }

    fn to_kind(&self, kind: BlockKind) -> Array {
        if kind == self.kind {
            return self.clone();
        }
        self.node(self.cols(), self.dtype, kind, Expr::ToKind(self.clone()))
    }

    /// Keeps some columns, in the order and as often as given: `None` keeps all, an empty list none.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`] for a column that does not exist, [`Error::BadArgument`] for a mask of another length.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1, 2, 3], [4, 5, 6]])?;
    /// assert_eq!(array.select_columns(vec![2, 0])?.compute(&cluster)?.to_vec::<i32>(), [3, 1, 6, 4]);
    /// assert_eq!(array.select_columns(0..1)?.compute(&cluster)?.to_vec::<i32>(), [1, 4]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn select_columns(&self, columns: impl Into<Columns>) -> Result<Array> {
        let Some(selection) = Selection::new(columns.into(), self.cols())? else { return Ok(self.clone()) };
        let cols = selection.len() as u64;
        Ok(self.node(cols, self.dtype, self.kind, Expr::SelectColumns(self.clone(), selection)))
    }

    /// Exchanges rows and columns, and the chunk grid with them. Turning twice is the array itself.
    ///
    /// A tall array's transpose is wide and, unless [`rechunk`](Self::rechunk) says otherwise, cut along its columns: each block is
    /// a block of the array, turned over.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let turned = Array::from_rows(&[[1, 2, 3], [4, 5, 6]])?.transpose();
    /// assert_eq!(turned.shape(), (3, 2));
    /// assert_eq!(turned.compute(&cluster)?.to_vec::<i32>(), [1, 4, 2, 5, 3, 6]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn transpose(&self) -> Array {
        let (rows, cols) = self.shape;
        // An axis of no length has no runs of rows, but one of columns.
        let as_cols = |cuts: &Cuts| if cuts.n_runs() == 0 { Cuts::whole(cuts.len()) } else { cuts.clone() };
        let (row_cuts, col_cuts) = (self.col_cuts.clone(), self.row_cuts.as_ref().map(as_cols));
        let turned = match &*self.expr {
            Expr::Transpose(input) => input.clone(),
            _ => Array::new((cols, rows), self.dtype, self.kind, Expr::Transpose(self.clone())),
        };
        Array { row_cuts, col_cuts, ..turned }
    }

    /// Multiplies with a small dense matrix on the right; the result is dense `f64`.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when the matrix does not have as many rows as the array has columns.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 2.0], [3.0, 4.0]])?.to_csr()?;
    /// let right = nalgebra::DMatrix::from_column_slice(2, 1, &[1.0, 10.0]);
    /// assert_eq!(array.matmul(&right)?.compute(&cluster)?.to_vec::<f64>(), [21.0, 43.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn matmul(&self, right: &DMatrix<f64>) -> Result<Array> {
        self.matmul_minus(right, &[])
    }

    /// Multiplies with a small dense matrix on the right and takes the same row from every row of the product:
    /// `X·V − 1·rᵀ`. An empty row takes nothing. For the product of the centred array give the mean itself to
    /// [`matmul_centred`](Self::matmul_centred): with `r = meanᵀ·V` the digits that the two share are lost.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when the shapes do not meet.
    pub fn matmul_minus(&self, right: &DMatrix<f64>, minus: &[f64]) -> Result<Array> {
        let shape = (right.nrows() as u64, right.ncols() as u64);
        if shape.0 != self.cols() {
            let expected = format!("give a matrix of {} rows", self.cols()).into();
            return Err(Error::ShapeMismatch { operation: "matmul", left: self.shape, right: shape, expected });
        }
        if !minus.is_empty() && minus.len() as u64 != shape.1 {
            let expected = "give one number for each column of the product, or none".into();
            let right = (1, minus.len() as u64);
            return Err(Error::ShapeMismatch { operation: "matmul", left: shape, right, expected });
        }
        let product = Product::new(right, minus);
        Ok(self.node(shape.1, DType::F64, BlockKind::Dense, Expr::MatMul(self.clone(), product)))
    }

    /// Multiplies the array less a row with a small dense matrix on the right: `(X − 1·meanᵀ)·V`, dense `f64`.
    ///
    /// A mean far larger than the deviations costs no digits: of dense blocks the row is taken before the product; a CSR block
    /// is not filled, and where what the row gives nearly cancels the product, both are summed with twice the digits. An error is
    /// at most `16 (p + 3) ε Σ |x − mean| max|V|`, over the `p` columns.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when the matrix or the row does not have as many rows, or numbers, as the array has columns.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::Array};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1e15 + 1.0, 5.0], [1e15 + 3.0, 5.0]])?;
    /// let scores = array.matmul_centred(&nalgebra::DMatrix::from_column_slice(2, 1, &[0.1, 1.0]), &[1e15 + 2.0, 5.0])?;
    /// assert_eq!(scores.compute(&cluster)?.to_vec::<f64>(), [-0.1, 0.1]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn matmul_centred(&self, right: &DMatrix<f64>, mean: &[f64]) -> Result<Array> {
        let shape = (right.nrows() as u64, right.ncols() as u64);
        if shape.0 != self.cols() || mean.len() as u64 != self.cols() {
            let expected = format!("give a matrix of {0} rows and a row of {0} numbers", self.cols()).into();
            let right = if shape.0 == self.cols() { (1, mean.len() as u64) } else { shape };
            return Err(Error::ShapeMismatch { operation: "matmul", left: self.shape, right, expected });
        }
        let product = Product::centred(right, mean);
        Ok(self.node(shape.1, DType::F64, BlockKind::Dense, Expr::MatMul(self.clone(), product)))
    }

    /// Applies a function of the caller's to every block. What it returns is checked against what it promised.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when it promises CSR blocks of more columns than 32 bits can number.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{BlockKind, BlockMap, DType, DenseBlock, random}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// // The number of each row: what a block knows of its place.
    /// let numbers = BlockMap::new("row numbers", 1, DType::U64, BlockKind::Dense, |block, info| {
    ///     let first = info.row_offset;
    ///     let numbers: Vec<u64> = (first..first + block.rows() as u64).collect();
    ///     Ok(DenseBlock::new(block.rows(), 1, numbers)?.into())
    /// });
    /// let array = random::uniform(7, 3, 1, 2).map_blocks(numbers)?;
    /// assert_eq!(array.compute(&cluster)?.to_vec::<u64>(), [0, 1, 2, 3, 4, 5, 6]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn map_blocks(&self, map: BlockMap) -> Result<Array> {
        if map.kind == BlockKind::Csr {
            csr::check_cols(map.cols)?;
        }
        Ok(self.node(map.cols, map.dtype, map.kind, Expr::MapBlocks(self.clone(), map)))
    }
}
