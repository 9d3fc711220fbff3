//! Functions of two blocks, value by value: arithmetic, comparison, logic.
//!
//! Both sides are brought to one dtype first ([`DType::promoted`]), then the function runs in that type: integers wrap, as in
//! NumPy. A side with one row or one column stands for all of them and is never copied out. Of two CSR blocks only places
//! where something is stored are visited, so a function that makes something of two zeros is refused on them when the
//! expression is built; where one side is dense, multiplication and division keep the places of the other.

use std::ops::Range;

use super::values::{Values, with_values};
use super::{Block, BlockKind, CsrBlock, DType, DenseBlock, Element};
use crate::error::{Error, Result};

/// A function of two values, named as in NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Binary {
    /// a + b; of truth values, or.
    Add,
    /// a − b.
    Subtract,
    /// a · b; of truth values, and.
    Multiply,
    /// a / b, in floats.
    Divide,
    /// aᵇ, in floats.
    Power,
    /// The smaller one; NaN if either is.
    Minimum,
    /// The larger one; NaN if either is.
    Maximum,
    /// Whether a = b.
    Equal,
    /// Whether a ≠ b.
    NotEqual,
    /// Whether a < b.
    Less,
    /// Whether a ≤ b.
    LessEqual,
    /// Whether a > b.
    Greater,
    /// Whether a ≥ b.
    GreaterEqual,
    /// Whether neither is zero.
    LogicalAnd,
    /// Whether one is not zero.
    LogicalOr,
}

impl Binary {
    /// Returns the function's name.
    pub fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Subtract => "subtract",
            Binary::Multiply => "multiply",
            Binary::Divide => "divide",
            Binary::Power => "power",
            Binary::Minimum => "minimum",
            Binary::Maximum => "maximum",
            Binary::Equal => "equal",
            Binary::NotEqual => "not_equal",
            Binary::Less => "less",
            Binary::LessEqual => "less_equal",
            Binary::Greater => "greater",
            Binary::GreaterEqual => "greater_equal",
            Binary::LogicalAnd => "logical_and",
            Binary::LogicalOr => "logical_or",
        }
    }

    /// Returns whether the results are truth values.
    fn tells(self) -> bool {
        use Binary::{Add, Divide, Maximum, Minimum, Multiply, Power, Subtract};
        !matches!(self, Add | Subtract | Multiply | Divide | Power | Minimum | Maximum)
    }

    /// Returns the dtype that both sides are brought to, and that of the results.
    pub(super) fn dtypes(self, left: DType, right: DType) -> (DType, DType) {
        let both = left.promoted(right);
        match self {
            Binary::Divide | Binary::Power if !both.is_float() => (DType::F64, DType::F64),
            _ if self.tells() => (both, DType::Bool),
            _ => (both, both),
        }
    }

    /// Returns what becomes of two values.
    pub(super) fn of(self, left: f64, right: f64) -> f64 {
        if self.tells() { f64::from(u8::from(self.is_true(left, right))) } else { self.number(left, right) }
    }

    /// Returns the kind of the results, or `None` for two CSR arrays of which it would fill the zeros.
    ///
    /// `beside` is the value of the side that is one number, if one is.
    pub(super) fn kind(self, left: BlockKind, right: BlockKind, beside: Option<f64>) -> Option<BlockKind> {
        let keeps = |left, right| self.of(left, right) == 0.0;
        match (left, right) {
            (BlockKind::Dense, BlockKind::Dense) => Some(BlockKind::Dense),
            (BlockKind::Csr, BlockKind::Csr) => keeps(0.0, 0.0).then_some(BlockKind::Csr),
            (BlockKind::Csr, BlockKind::Dense) => {
                let stays = matches!(self, Binary::Multiply | Binary::Divide) || beside.is_some_and(|b| keeps(0.0, b));
                Some(if stays { BlockKind::Csr } else { BlockKind::Dense })
            }
            (BlockKind::Dense, BlockKind::Csr) => {
                let stays = self == Binary::Multiply || beside.is_some_and(|b| keeps(b, 0.0));
                Some(if stays { BlockKind::Csr } else { BlockKind::Dense })
            }
        }
    }

    fn is_true<T: Number>(self, a: T, b: T) -> bool {
        let zero = T::default();
        match self {
            Binary::Equal => a == b,
            Binary::NotEqual => a != b,
            Binary::Less => a < b,
            Binary::LessEqual => a <= b,
            Binary::Greater => a > b,
            Binary::GreaterEqual => a >= b,
            Binary::LogicalAnd => a != zero && b != zero,
            _ => a != zero || b != zero,
        }
    }

    fn number<T: Number>(self, a: T, b: T) -> T {
        match self {
            Binary::Add => a.plus(b),
            Binary::Subtract => a.minus(b),
            Binary::Multiply => a.times(b),
            Binary::Divide => a.over(b),
            Binary::Power => a.to_the(b),
            Binary::Minimum => a.min_of(b),
            _ => a.max_of(b),
        }
    }

    /// Returns the function as it is for truth values, which are stored as bytes 0 and 1.
    fn of_truth(self) -> Binary {
        match self {
            Binary::Add => Binary::Maximum,
            Binary::Multiply => Binary::Minimum,
            other => other,
        }
    }

    /// Applies the function to two blocks, which give a block of so many rows and columns.
    pub(super) fn apply(self, left: Block, right: Block, kind: BlockKind, shape: (usize, usize)) -> Result<Block> {
        let (both, result) = self.dtypes(left.dtype(), right.dtype());
        let op = if both == DType::Bool { self.of_truth() } else { self };
        let (left, right) = (left.cast(both), right.cast(both));
        let block = match kind {
            BlockKind::Dense => {
                let (left, right) = (left.into_dense(), right.into_dense());
                DenseBlock { rows: shape.0, cols: shape.1, values: op.dense(&left, &right, shape)? }.into()
            }
            BlockKind::Csr => match (left, right) {
                (Block::Csr(a), Block::Csr(b)) => op.merged(&a, &b)?.into(),
                (Block::Csr(a), Block::Dense(b)) => op.kept(a, &b, false)?.into(),
                (Block::Dense(a), Block::Csr(b)) => op.kept(b, &a, true)?.into(),
                (Block::Dense(_), Block::Dense(_)) => {
                    return Err(Error::bad_argument(self.name(), "kind", "dense", "one CSR side"));
                }
            },
        };
        // Truth values were told as bytes of their own.
        debug_assert_eq!(Block::dtype(&block), if op.tells() { DType::Bool } else { result });
        Ok(block)
    }

    /// Walks two dense blocks side by side.
    fn dense(self, left: &DenseBlock, right: &DenseBlock, (rows, cols): (usize, usize)) -> Result<Values> {
        let len = rows * cols;
        if (left.rows, left.cols) == (rows, cols) && (right.rows, right.cols) == (rows, cols) {
            return with_pair(
                &left.values,
                &right.values,
                PairOf { op: self, places: || (0..len).map(|i| (i, i)), len },
            );
        }
        let (a_at, b_at) = (Places::of(left, rows, cols), Places::of(right, rows, cols));
        let places = || (0..rows).flat_map(move |i| (0..cols).map(move |j| (a_at.at(i, j), b_at.at(i, j))));
        with_pair(&left.values, &right.values, PairOf { op: self, places, len })
    }

    /// Merges two CSR blocks row by row; what is stored in one only meets a zero of the other.
    fn merged(self, a: &CsrBlock, b: &CsrBlock) -> Result<CsrBlock> {
        let most = if self == Binary::Multiply { a.nnz().min(b.nnz()) } else { a.nnz() + b.nnz() };
        let (mut indptr, mut indices) = (Vec::with_capacity(a.rows + 1), Vec::with_capacity(most));
        // Where each result comes from; one past the end stands for zero.
        let (mut from_a, mut from_b) = (Vec::with_capacity(most), Vec::with_capacity(most));
        indptr.push(0u64);
        for row in 0..a.rows {
            merge_row(a, b, row, self == Binary::Multiply, |col, at_a, at_b| {
                indices.push(col);
                from_a.push(at_a);
                from_b.push(at_b);
            });
            indptr.push(indices.len() as u64);
        }
        let places = || from_a.iter().copied().zip(from_b.iter().copied());
        let values = with_pair(&a.values, &b.values, PairOf { op: self, places, len: indices.len() })?;
        Ok(CsrBlock { rows: a.rows, cols: a.cols, indptr: indptr.into(), indices: indices.into(), values })
    }

    /// Applies the function where a CSR block stores something; `reversed` when the dense side stands on the left.
    fn kept(self, csr: CsrBlock, dense: &DenseBlock, reversed: bool) -> Result<CsrBlock> {
        let at = Places::of(dense, csr.rows, csr.cols);
        let columns = &csr.indices[..];
        let csr_ref = &csr;
        let entries = move || (0..csr_ref.rows).flat_map(move |row| csr_ref.row(row).map(move |entry| (row, entry)));
        let len = csr.nnz();
        let values = if reversed {
            let places = || entries().map(|(row, entry)| (at.at(row, columns[entry] as usize), entry));
            with_pair(&dense.values, &csr.values, PairOf { op: self, places, len })?
        } else {
            let places = || entries().map(|(row, entry)| (entry, at.at(row, columns[entry] as usize)));
            with_pair(&csr.values, &dense.values, PairOf { op: self, places, len })?
        };
        Ok(CsrBlock { values, ..csr })
    }
}

/// Calls `visit` with each column that a row of the result has, and where its two values are stored.
fn merge_row(a: &CsrBlock, b: &CsrBlock, row: usize, common_only: bool, mut visit: impl FnMut(u32, usize, usize)) {
    let (mut left, mut right): (Range<usize>, Range<usize>) = (a.row(row), b.row(row));
    loop {
        let col_a = (!left.is_empty()).then(|| a.indices[left.start]);
        let col_b = (!right.is_empty()).then(|| b.indices[right.start]);
        let (take_a, take_b) = match (col_a, col_b) {
            (None, None) => return,
            (Some(x), Some(y)) => (x <= y, y <= x),
            (x, _) => (x.is_some(), x.is_none()),
        };
        if take_a && take_b || !common_only {
            let col = if take_a { a.indices[left.start] } else { b.indices[right.start] };
            let at = |taken: bool, place: usize| if taken { place } else { usize::MAX };
            visit(col, at(take_a, left.start), at(take_b, right.start));
        }
        left.start += usize::from(take_a);
        right.start += usize::from(take_b);
    }
}

/// Where the values of a dense block stand that may have one row or one column for all.
#[derive(Clone, Copy)]
struct Places {
    down: usize,
    right: usize,
}

impl Places {
    fn of(block: &DenseBlock, rows: usize, cols: usize) -> Places {
        let down = if block.rows == 1 && rows != 1 { 0 } else { block.cols };
        Places { down, right: if block.cols == 1 && cols != 1 { 0 } else { 1 } }
    }

    #[inline]
    fn at(self, row: usize, col: usize) -> usize {
        row * self.down + col * self.right
    }
}

/// A function, the places of its arguments in two runs of values, and how many there are.
struct PairOf<F> {
    op: Binary,
    places: F,
    len: usize,
}

/// Applies a function to pairs of values of one dtype; a place beyond the values is a zero.
fn with_pair<I: Iterator<Item = (usize, usize)>>(
    left: &Values,
    right: &Values,
    pair: PairOf<impl Fn() -> I>,
) -> Result<Values> {
    fn run<T: Number, I: Iterator<Item = (usize, usize)>>(a: &[T], b: &[T], pair: &PairOf<impl Fn() -> I>) -> Values {
        let at = |values: &[T], place: usize| values.get(place).copied().unwrap_or_default();
        let op = pair.op;
        if op.tells() {
            let mut told: Vec<u8> = Vec::with_capacity(pair.len);
            told.extend((pair.places)().map(|(i, j)| u8::from(op.is_true(at(a, i), at(b, j)))));
            return Values::Bool(told.into());
        }
        let mut numbers: Vec<T> = Vec::with_capacity(pair.len);
        numbers.extend((pair.places)().map(|(i, j)| op.number(at(a, i), at(b, j))));
        numbers.into()
    }
    let is_bool = left.dtype() == DType::Bool;
    let values = with_values!(left, a => {
        let other = stored_as(right);
        let refuse = || Error::bad_argument(pair.op.name(), "dtype", right.dtype(), left.dtype().name());
        run(a, other.ok_or_else(refuse)?, &pair)
    });
    // Bytes that were truth values are truth values again.
    Ok(match values {
        Values::U8(buffer) if is_bool => Values::Bool(buffer),
        values => values,
    })
}

/// Returns the values when they are stored as `T`; truth values are bytes.
fn stored_as<T: Number>(values: &Values) -> Option<&[T]> {
    match values {
        Values::Bool(bytes) if T::DTYPE == DType::U8 => bytemuck::try_cast_slice(&bytes[..]).ok(),
        values => T::slice(values),
    }
}

/// A type that is computed with: integers wrap, floats follow IEEE 754.
trait Number: Element + bytemuck::Pod + PartialOrd {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn over(self, other: Self) -> Self;
    fn to_the(self, other: Self) -> Self;
    /// The smaller one; NaN if either is.
    fn min_of(self, other: Self) -> Self;
    /// The larger one; NaN if either is.
    fn max_of(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            // Quotients and powers are taken in floats; these are for completeness.
            fn over(self, other: Self) -> Self { self.checked_div(other).unwrap_or(0) }
            fn to_the(self, other: Self) -> Self { u32::try_from(other).map_or(0, |power| self.wrapping_pow(power)) }
            fn min_of(self, other: Self) -> Self { self.min(other) }
            fn max_of(self, other: Self) -> Self { self.max(other) }
        }
    )*};
}
integers!(u8 u16 u32 u64 i8 i16 i32 i64);

macro_rules! floats {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn plus(self, other: Self) -> Self { self + other }
            fn minus(self, other: Self) -> Self { self - other }
            fn times(self, other: Self) -> Self { self * other }
            fn over(self, other: Self) -> Self { self / other }
            fn to_the(self, other: Self) -> Self { self.powf(other) }
            fn min_of(self, other: Self) -> Self { if self <= other || self.is_nan() { self } else { other } }
            fn max_of(self, other: Self) -> Self { if self >= other || self.is_nan() { self } else { other } }
        }
    )*};
}
floats!(f32 f64);
