//! Arithmetic, comparison and logic between arrays, and between an array and a number or a vector.
//!
//! Shapes meet as in NumPy: a side with one row stands for every row, one with one column for every column. A number is a
//! `1 × 1` array that takes the other side's float type. Dtypes meet by [`DType::promoted`].

use super::binary::Binary;
use super::expr::Expr;
use super::grid::Cuts;
use super::window::Window;
use super::{Array, BlockKind, DType, DenseBlock};
use crate::error::{Error, Result};

/// The other side of an operation: an array, or a number.
#[derive(Clone, Debug)]
pub enum Operand {
    /// An array of the same shape, or of one row or one column.
    Array(Array),
    /// A number for every value.
    Number(f64),
}

impl From<&Array> for Operand {
    fn from(array: &Array) -> Self {
        Operand::Array(array.clone())
    }
}

impl From<Array> for Operand {
    fn from(array: Array) -> Self {
        Operand::Array(array)
    }
}

impl From<f64> for Operand {
    fn from(number: f64) -> Self {
        Operand::Number(number)
    }
}

macro_rules! operations {
    ($($(#[doc = $doc:literal])* $name:ident $op:ident;)*) => {$(
        $(#[doc = $doc])*
        ///
        /// # Errors
        ///
        /// Those of [`binary`](Self::binary).
        pub fn $name(&self, other: impl Into<Operand>) -> Result<Array> {
            self.binary(Binary::$op, other)
        }
    )*};
}

impl Array {
    /// Applies a function to each value and its counterpart in another array, a row vector (`1 × n`), a column vector (`m × 1`) or
    /// a number.
    ///
    /// Of CSR arrays: two of them give CSR; with a dense side, a product keeps the places of the CSR side, and so do a quotient
    /// by a dense side and whatever maps a zero and the number given to zero. There, what is not stored is not computed: zero
    /// stays zero also beside NaN and infinity. Everything else gives a dense array.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when the shapes do not meet; [`Error::Unsupported`] for two CSR arrays of which the function would
    /// fill the zeros, and for differences of truth values (as in NumPy).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Binary, DType}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let counts = Array::from_rows(&[[1u8, 5], [7, 3]])?;
    /// let means = Array::from_rows(&[[4.0, 4.0]])?;
    /// let centred = counts.subtract(&means)?;                      // one row stands for every row
    /// assert_eq!(centred.compute(&cluster)?.to_vec::<f64>(), [-3.0, 1.0, 3.0, -1.0]);
    /// let large = counts.binary(Binary::Greater, 3.0)?;
    /// assert_eq!((large.dtype(), large.compute(&cluster)?.to_vec::<bool>()), (DType::Bool, vec![false, true, true, false]));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn binary(&self, op: Binary, other: impl Into<Operand>) -> Result<Array> {
        let other = match other.into() {
            Operand::Array(array) => array,
            Operand::Number(number) => self.constant(number)?,
        };
        let shape = self.shape_with(&other, op)?;
        if op == Binary::Subtract && (self.dtype, other.dtype) == (DType::Bool, DType::Bool) {
            return Err(Error::Unsupported {
                what: "a difference of truth values".into(),
                instead: "use not_equal(), or cast one side with astype()".into(),
            });
        }
        // A vector beside a matrix is small; as CSR it would have to be searched.
        let dense_vector = |array: &Array| if array.shape == shape { array.clone() } else { array.to_dense() };
        let sides = [dense_vector(self), dense_vector(&other)];
        let number = sides.iter().find_map(Array::known_number);
        let kind = op.kind(sides[0].kind, sides[1].kind, number).ok_or_else(|| Error::Unsupported {
            what: format!("{} of two CSR arrays, which would fill them,", op.name()).into(),
            instead: "call to_dense() first".into(),
        })?;
        // The CSR side must be there whole, with all its places.
        let kind = if sides.iter().any(|side| side.kind == BlockKind::Csr && side.shape == shape) {
            kind
        } else {
            BlockKind::Dense
        };
        let (_, dtype) = op.dtypes(self.dtype, other.dtype);
        let whole = if self.shape == shape { self } else { &other };
        let (row_cuts, col_cuts) = (whole.row_cuts.clone(), whole.col_cuts.clone());
        let (row_cuts, col_cuts) = if whole.shape == shape { (row_cuts, col_cuts) } else { (None, None::<Cuts>) };
        Ok(Array { row_cuts, col_cuts, ..Array::new(shape, dtype, kind, Expr::Binary(sides, op)) })
    }

    /// Returns a number as a `1 × 1` array of the float type that this array's values meet it in.
    fn constant(&self, number: f64) -> Result<Array> {
        let dtype = if self.dtype == DType::F32 { DType::F32 } else { DType::F64 };
        Ok(Array::from_block(DenseBlock::new(1, 1, super::Values::from(vec![number]).cast(dtype))?))
    }

    /// Returns the number that the array is, when it is one number in memory.
    fn known_number(&self) -> Option<f64> {
        match &*self.expr {
            Expr::Memory(block) if block.shape() == (1, 1) && block.kind() == BlockKind::Dense => {
                Some(block.values().at(0))
            }
            _ => None,
        }
    }

    /// Returns the shape of a result with another array.
    fn shape_with(&self, other: &Array, op: Binary) -> Result<(u64, u64)> {
        let meet = |a: u64, b: u64| match (a, b) {
            (a, b) if a == b => Some(a),
            (1, n) | (n, 1) => Some(n),
            _ => None,
        };
        let shape = meet(self.rows(), other.rows()).zip(meet(self.cols(), other.cols()));
        shape.ok_or_else(|| Error::ShapeMismatch {
            operation: op.name(),
            left: self.shape,
            right: other.shape,
            expected: "give equal shapes, or one row or one column".into(),
        })
    }

    /// Returns the window of one side of an operation that a window of its result needs.
    pub(super) fn side_of(&self, window: &Window) -> Window {
        let along = |len: u64, range: &std::ops::Range<u64>| match (len, range.end - range.start) {
            (_, 0) => range.start.min(len)..range.start.min(len),
            (1, _) => 0..1,
            _ => range.clone(),
        };
        Window { rows: along(self.rows(), &window.rows), cols: along(self.cols(), &window.cols) }
    }

    operations! {
        /// Adds another array, a vector or a number.
        add Add;
        /// Takes another array, a vector or a number away.
        subtract Subtract;
        /// Multiplies value by value with another array, a vector or a number.
        multiply Multiply;
        /// Divides value by value by another array, a vector or a number, in floats.
        divide Divide;
        /// Raises each value to a power, in floats.
        power Power;
        /// Takes the smaller of each pair; NaN if either is.
        minimum Minimum;
        /// Takes the larger of each pair; NaN if either is.
        maximum Maximum;
        /// Tells where values are equal.
        equal Equal;
        /// Tells where values differ.
        not_equal NotEqual;
        /// Tells where values are smaller than those of the other side.
        less Less;
        /// Tells where values are smaller than those of the other side, or equal.
        less_equal LessEqual;
        /// Tells where values are larger than those of the other side.
        greater Greater;
        /// Tells where values are larger than those of the other side, or equal.
        greater_equal GreaterEqual;
        /// Tells where neither side is zero.
        logical_and LogicalAnd;
        /// Tells where at least one side is not zero.
        logical_or LogicalOr;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;
    use crate::array::Values;

    const ALL: [Binary; 15] = [
        Binary::Add,
        Binary::Subtract,
        Binary::Multiply,
        Binary::Divide,
        Binary::Power,
        Binary::Minimum,
        Binary::Maximum,
        Binary::Equal,
        Binary::NotEqual,
        Binary::Less,
        Binary::LessEqual,
        Binary::Greater,
        Binary::GreaterEqual,
        Binary::LogicalAnd,
        Binary::LogicalOr,
    ];

    fn cluster() -> Cluster {
        Cluster::builder().workers(2).build().expect("defaults")
    }

    /// Small counts, many of them zero.
    fn counts(rows: usize, cols: usize, seed: usize) -> Vec<f64> {
        (0..rows * cols).map(|i| ((i * 7 + seed * 3) % 5) as f64).map(|x| if x > 2.0 { 0.0 } else { x }).collect()
    }

    fn array(rows: usize, cols: usize, seed: usize, dtype: DType, csr: bool) -> Array {
        let values = Values::from(counts(rows, cols, seed)).cast(dtype);
        let array = Array::from_block(DenseBlock::new(rows, cols, values).expect("its shape"));
        if csr { array.to_csr().expect("few columns") } else { array }
    }

    /// What NumPy gives; `None` where a CSR side leaves a zero alone that NumPy would make something of.
    fn expected(op: Binary, a: f64, b: f64, stays: bool) -> f64 {
        if stays && op.of(a, b).is_nan() { 0.0 } else { op.of(a, b) }
    }

    #[test]
    fn every_function_of_every_pair_of_kinds_is_its_formula_on_any_grid() {
        let (cluster, (m, n)) = (cluster(), (7, 4));
        let shapes = [(m, n), (1, n), (m, 1), (1, 1)];
        for (op, (rows, cols)) in ALL.into_iter().flat_map(|op| shapes.map(|shape| (op, shape))) {
            for (left_csr, right_csr) in [(false, false), (false, true), (true, false), (true, true)] {
                let (left, right) = (array(m, n, 1, DType::F64, left_csr), array(rows, cols, 2, DType::F64, right_csr));
                let (a, b) = (counts(m, n, 1), counts(rows, cols, 2));
                for reversed in [false, true] {
                    let result = if reversed { right.binary(op, &left) } else { left.binary(op, &right) };
                    let result = match result {
                        Ok(result) => result,
                        // Only two CSR arrays are refused, and only where zeros would be filled.
                        Err(error) => {
                            assert!(left_csr && right_csr && op.of(0.0, 0.0) != 0.0, "{error}");
                            continue;
                        }
                    };
                    let stays = result.kind() == BlockKind::Csr;
                    let value = |i: usize, j: usize| {
                        let other = b[(i % rows) * cols + j % cols];
                        let pair = if reversed { (other, a[i * n + j]) } else { (a[i * n + j], other) };
                        expected(op, pair.0, pair.1, stays)
                    };
                    for result in [result.clone(), result.rechunk(2, 3)] {
                        let found = result.compute(&cluster).expect("small").to_vec::<f64>();
                        let wanted: Vec<f64> = (0..m * n).map(|at| value(at / n, at % n)).collect();
                        // The very same operation on the very same numbers.
                        let same = found.iter().zip(&wanted).all(|(f, w)| f == w || (f.is_nan() && w.is_nan()));
                        assert!(same, "{} {left_csr} {right_csr} {rows} x {cols}: {found:?} {wanted:?}", op.name());
                    }
                }
            }
        }
    }

    #[test]
    fn dtypes_meet_and_integers_wrap_as_in_numpy() {
        let cluster = cluster();
        let bytes = Array::from_slice(1, 2, &[200u8, 100]).expect("two values");
        let doubled = bytes.add(&bytes).expect("one shape");
        assert_eq!(
            (doubled.dtype(), doubled.compute(&cluster).expect("small").to_vec::<u8>()),
            (DType::U8, vec![144, 200])
        );
        let signed = Array::from_slice(1, 2, &[-1i8, 1]).expect("two values");
        let sum = bytes.add(&signed).expect("one shape");
        assert_eq!((sum.dtype(), sum.compute(&cluster).expect("small").to_vec::<i16>()), (DType::I16, vec![199, 101]));
        assert_eq!(bytes.divide(&bytes).expect("one shape").dtype(), DType::F64);
        assert_eq!(bytes.add(0.5).expect("a number").dtype(), DType::F64);
        let single = bytes.astype(DType::F32);
        assert_eq!(single.multiply(0.1).expect("a number").dtype(), DType::F32, "a number takes the array's type");
        let truth = bytes.greater(150.0).expect("a number");
        let both = truth.add(&truth).expect("one shape");
        assert_eq!(
            (both.dtype(), both.compute(&cluster).expect("small").to_vec::<bool>()),
            (DType::Bool, vec![true, false])
        );
        assert!(matches!(truth.subtract(&truth), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn comparing_a_sparse_array_with_a_number_keeps_it_sparse_where_zeros_fail() {
        let sparse = array(5, 4, 1, DType::U16, true);
        assert_eq!(sparse.greater(0.0).expect("a number").kind(), BlockKind::Csr);
        assert_eq!(sparse.less(1.0).expect("a number").kind(), BlockKind::Dense);
        assert_eq!(sparse.multiply(2.0).expect("a number").kind(), BlockKind::Csr);
    }

    #[test]
    fn no_rows_and_no_columns_have_results_too() {
        let cluster = cluster();
        for (rows, cols) in [(0, 3), (3, 0), (0, 0)] {
            for csr in [false, true] {
                let none = array(rows, cols, 1, DType::F32, csr);
                let sum = none.add(&none).expect("one shape").compute(&cluster).expect("nothing");
                assert_eq!(sum.shape(), (rows, cols));
                assert_eq!(
                    none.multiply(2.0).expect("a number").compute(&cluster).expect("nothing").shape(),
                    (rows, cols)
                );
            }
        }
    }

    #[test]
    fn shapes_that_do_not_meet_are_refused() {
        let error = array(3, 4, 1, DType::F64, false).add(array(3, 2, 1, DType::F64, false)).expect_err("4 and 2");
        assert!(matches!(error, Error::ShapeMismatch { operation: "add", .. }), "{error}");
    }
}
