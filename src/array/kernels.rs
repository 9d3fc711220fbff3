//! Kernels: pure functions on blocks, a closed set known by name, applied in place.
//!
//! Values are `f32` or `f64` by the time a kernel sees them ([`DType::to_float`](super::DType::to_float)); factors are
//! `f64` and each product is rounded once. A kernel that maps 0 to 0 leaves a CSR block's zeros out; the others are
//! refused on CSR when the expression is built, because they would fill it.

use std::sync::Arc;

use super::Block;
use super::values::Values;
use crate::error::{Error, Result};

/// A function on blocks, known by name: the part of a plan that another process could run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Kernel {
    /// ln(1 + x).
    Log1p,
    /// eˣ − 1.
    Expm1,
    /// eˣ.
    Exp,
    /// √x; NaN below zero.
    Sqrt,
    /// |x|.
    Abs,
    /// −x.
    Negate,
    /// x².
    Square,
    /// x times a number.
    Scale(f64),
    /// x plus a number.
    Add(f64),
    /// ln x.
    Ln,
    /// The logarithm to base 2.
    Log2,
    /// The logarithm to base 10.
    Log10,
    /// sin x.
    Sin,
    /// cos x.
    Cos,
    /// tan x.
    Tan,
    /// The hyperbolic tangent.
    Tanh,
    /// The largest whole number not above x.
    Floor,
    /// The smallest whole number not below x.
    Ceil,
    /// The nearest whole number; of two the even one, as in NumPy.
    Round,
    /// −1, 0 or 1; NaN for NaN.
    Sign,
    /// 1 / x.
    Reciprocal,
    /// x to a power.
    Power(f64),
    /// x, but not below the first number nor above the second; NaN stays.
    Clip(f64, f64),
    /// Each row times its own number.
    ScaleRows(Arc<[f64]>),
    /// Each column times its own number.
    ScaleCols(Arc<[f64]>),
    /// Each column clipped to its own bounds, and moved so that zero stays zero: `clip(x) − clip(0)`; NaN stays.
    ClipCols(Arc<[(f64, f64)]>),
    /// Each row scaled so that it sums to this; a row that sums to zero stays as it is.
    NormalizeRows(f64),
}

/// Changes every value, in the float type that it has.
macro_rules! each {
    ($values:expr, $value:ident => $new:expr) => {
        match $values {
            Values::F32(buffer) => buffer.to_mut().iter_mut().for_each(|$value| *$value = $new),
            Values::F64(buffer) => buffer.to_mut().iter_mut().for_each(|$value| *$value = $new),
            other => return Err(not_float(other)),
        }
    };
}

/// Runs an expression with the values as a slice to write to, whichever float they are.
macro_rules! floats {
    ($values:expr, $slice:ident => $body:expr) => {
        match $values {
            Values::F32(buffer) => {
                let $slice = buffer.to_mut();
                $body
            }
            Values::F64(buffer) => {
                let $slice = buffer.to_mut();
                $body
            }
            other => return Err(not_float(other)),
        }
    };
}

fn not_float(values: &Values) -> Error {
    Error::bad_argument("kernel", "dtype", values.dtype(), "float32 or float64: cast with astype first")
}

impl Kernel {
    /// Returns the kernel's name.
    pub fn name(&self) -> &'static str {
        match self {
            Kernel::Log1p => "log1p",
            Kernel::Expm1 => "expm1",
            Kernel::Exp => "exp",
            Kernel::Sqrt => "sqrt",
            Kernel::Abs => "abs",
            Kernel::Negate => "negate",
            Kernel::Square => "square",
            Kernel::Scale(_) => "scale",
            Kernel::Add(_) => "add",
            Kernel::Ln => "ln",
            Kernel::Log2 => "log2",
            Kernel::Log10 => "log10",
            Kernel::Sin => "sin",
            Kernel::Cos => "cos",
            Kernel::Tan => "tan",
            Kernel::Tanh => "tanh",
            Kernel::Floor => "floor",
            Kernel::Ceil => "ceil",
            Kernel::Round => "round",
            Kernel::Sign => "sign",
            Kernel::Reciprocal => "reciprocal",
            Kernel::Power(_) => "power",
            Kernel::Clip(..) => "clip",
            Kernel::ScaleRows(_) => "scale_rows",
            Kernel::ScaleCols(_) => "scale_cols",
            Kernel::ClipCols(_) => "clip_cols",
            Kernel::NormalizeRows(_) => "normalize_rows",
        }
    }

    /// Returns whether zeros stay zero, so that a CSR block need not be filled.
    pub fn keeps_zeros(&self) -> bool {
        match self {
            Kernel::Exp | Kernel::Cos | Kernel::Ln | Kernel::Log2 | Kernel::Log10 | Kernel::Reciprocal => false,
            Kernel::Add(term) => *term == 0.0,
            Kernel::Power(power) => *power > 0.0,
            Kernel::Clip(least, most) => *least <= 0.0 && *most >= 0.0,
            _ => true,
        }
    }

    /// Returns whether a value depends on others of its row.
    pub(super) fn needs_whole_rows(&self) -> bool {
        matches!(self, Kernel::NormalizeRows(_))
    }

    /// Returns the anonymous bytes that applying it to a block of so many rows takes besides the block.
    pub fn scratch_bytes(&self, rows: u64) -> u64 {
        match self {
            // Two numbers for each row: where it ends, and its sum or factor.
            Kernel::NormalizeRows(_) | Kernel::ScaleRows(_) => rows.saturating_add(1).saturating_mul(16),
            _ => 0,
        }
    }

    /// Changes a block whose first value stands in this row and column of the array.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when the values are not floats, [`Error::ShapeMismatch`] when the factors are too few.
    #[expect(clippy::useless_conversion, reason = "one of the two float types is f64 already")]
    pub fn apply(&self, block: &mut Block, (row_offset, col_offset): (u64, u64)) -> Result<()> {
        let values = block.values_mut();
        match self {
            Kernel::Log1p => each!(values, v => v.ln_1p()),
            Kernel::Expm1 => each!(values, v => v.exp_m1()),
            Kernel::Exp => each!(values, v => v.exp()),
            Kernel::Sqrt => each!(values, v => v.sqrt()),
            Kernel::Abs => each!(values, v => v.abs()),
            Kernel::Negate => each!(values, v => -*v),
            Kernel::Square => each!(values, v => *v * *v),
            Kernel::Scale(factor) => each!(values, v => (f64::from(*v) * factor) as _),
            Kernel::Add(term) => each!(values, v => (f64::from(*v) + term) as _),
            Kernel::Ln => each!(values, v => v.ln()),
            Kernel::Log2 => each!(values, v => v.log2()),
            Kernel::Log10 => each!(values, v => v.log10()),
            Kernel::Sin => each!(values, v => v.sin()),
            Kernel::Cos => each!(values, v => v.cos()),
            Kernel::Tan => each!(values, v => v.tan()),
            Kernel::Tanh => each!(values, v => v.tanh()),
            Kernel::Floor => each!(values, v => v.floor()),
            Kernel::Ceil => each!(values, v => v.ceil()),
            Kernel::Round => each!(values, v => v.round_ties_even()),
            // Not `signum`, which gives zero a sign of one.
            Kernel::Sign => each!(values, v => if *v == 0.0 { *v } else { v.signum() }),
            Kernel::Reciprocal => each!(values, v => v.recip()),
            Kernel::Power(power) => each!(values, v => f64::from(*v).powf(*power) as _),
            // Not `clamp`, which panics when the bounds are reversed.
            Kernel::Clip(least, most) => {
                each!(values, v => if v.is_nan() { *v } else { f64::from(*v).max(*least).min(*most) as _ })
            }
            Kernel::ScaleRows(factors) => {
                let rows = row_offset as usize..row_offset as usize + block.rows();
                let found = (row_offset + block.rows() as u64, factors.len() as u64);
                let factors = factors.get(rows).ok_or_else(|| too_few("scale_rows", found))?;
                scale_rows(block, factors)?;
            }
            Kernel::ScaleCols(factors) => {
                let cols = col_offset as usize..col_offset as usize + block.cols();
                let found = (col_offset + block.cols() as u64, factors.len() as u64);
                let factors = factors.get(cols).ok_or_else(|| too_few("scale_cols", found))?;
                change_cols(block, |col, value| value * factors[col])?;
            }
            Kernel::ClipCols(bounds) => {
                let cols = col_offset as usize..col_offset as usize + block.cols();
                let found = (col_offset + block.cols() as u64, bounds.len() as u64);
                let bounds = bounds.get(cols).ok_or_else(|| too_few("clip_cols", found))?;
                // Not `clamp`, which panics when the bounds are reversed.
                let clip = |value: f64, (least, most): (f64, f64)| value.max(least).min(most);
                let moved = |value, bounds| clip(value, bounds) - clip(0.0, bounds);
                change_cols(block, |col, value| if value.is_nan() { value } else { moved(value, bounds[col]) })?;
            }
            Kernel::NormalizeRows(target) => {
                let factors: Vec<f64> = row_sums(block)?.iter().map(|sum| normalising_factor(*sum, *target)).collect();
                scale_rows(block, &factors)?;
            }
        }
        Ok(())
    }
}

fn too_few(operation: &'static str, (need, found): (u64, u64)) -> Error {
    Error::ShapeMismatch { operation, left: (need, 1), right: (found, 1), expected: "give one factor for each".into() }
}

/// Returns what a row that sums to `sum` is multiplied with: 1 where no factor would do.
fn normalising_factor(sum: f64, target: f64) -> f64 {
    if sum == 0.0 { 1.0 } else { target / sum }
}

/// Returns where the stored values of each row end; they begin where those of the row before end.
fn row_ends(block: &Block) -> Vec<usize> {
    match block {
        Block::Dense(b) => (1..=b.rows).map(|row| row * b.cols).collect(),
        Block::Csr(b) => b.indptr[1..].iter().map(|end| *end as usize).collect(),
    }
}

/// Returns the sum of each row in f64, in the order of the columns.
#[expect(clippy::useless_conversion, reason = "one of the two float types is f64 already")]
fn row_sums(block: &mut Block) -> Result<Vec<f64>> {
    let ends = row_ends(block);
    let mut start = 0;
    Ok(floats!(block.values_mut(), values => {
        let sum = |end: usize| {
            let row = std::mem::replace(&mut start, end)..end;
            values[row].iter().map(|value| f64::from(*value)).sum()
        };
        ends.into_iter().map(sum).collect()
    }))
}

#[expect(clippy::useless_conversion, reason = "one of the two float types is f64 already")]
fn scale_rows(block: &mut Block, factors: &[f64]) -> Result<()> {
    let ends = row_ends(block);
    let mut start = 0;
    floats!(block.values_mut(), values => for (end, factor) in ends.into_iter().zip(factors) {
        for value in &mut values[std::mem::replace(&mut start, end)..end] {
            *value = (f64::from(*value) * factor) as _;
        }
    });
    Ok(())
}

/// Changes every stored value by its column.
#[expect(clippy::useless_conversion, reason = "one of the two float types is f64 already")]
fn change_cols(block: &mut Block, change: impl Fn(usize, f64) -> f64) -> Result<()> {
    // No columns, no values: and chunks of zero length do not exist.
    let cols = block.cols().max(1);
    match block {
        Block::Dense(b) => floats!(&mut b.values, values => for row in values.chunks_exact_mut(cols) {
            row.iter_mut().enumerate().for_each(|(col, value)| *value = change(col, f64::from(*value)) as _);
        }),
        Block::Csr(b) => floats!(&mut b.values, values => for (value, col) in values.iter_mut().zip(b.indices.iter()) {
            *value = change(*col as usize, f64::from(*value)) as _;
        }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{CsrBlock, DenseBlock};

    const VALUES: [f64; 6] = [1.0, 0.0, 3.0, 0.0, 0.0, 0.0];

    fn applied(kernel: &Kernel, csr: bool, single: bool, row_offset: u64) -> Vec<f64> {
        let mut values = Values::from(VALUES.to_vec());
        if single {
            values = values.cast(crate::array::DType::F32);
        }
        let dense = DenseBlock::new(2, 3, values).expect("six values");
        let mut block = if csr { dense.to_csr().expect("three columns").into() } else { Block::from(dense) };
        kernel.apply(&mut block, (row_offset, 0)).expect("floats");
        block.to_vec()
    }

    #[test]
    fn each_kernel_is_its_formula_in_both_kinds_and_both_floats() {
        type Formula = fn(f64) -> f64;
        let cases: [(Kernel, Formula); 23] = [
            (Kernel::Ln, f64::ln),
            (Kernel::Log2, f64::log2),
            (Kernel::Log10, f64::log10),
            (Kernel::Sin, f64::sin),
            (Kernel::Cos, f64::cos),
            (Kernel::Tan, f64::tan),
            (Kernel::Tanh, f64::tanh),
            (Kernel::Floor, f64::floor),
            (Kernel::Ceil, f64::ceil),
            (Kernel::Round, f64::round_ties_even),
            (Kernel::Sign, |x| if x == 0.0 { 0.0 } else { x.signum() }),
            (Kernel::Reciprocal, |x| 1.0 / x),
            (Kernel::Power(2.5), |x| x.powf(2.5)),
            (Kernel::Clip(-1.0, 2.0), |x| x.clamp(-1.0, 2.0)),
            (Kernel::Log1p, |x| x.ln_1p()),
            (Kernel::Expm1, |x| x.exp_m1()),
            (Kernel::Exp, f64::exp),
            (Kernel::Sqrt, f64::sqrt),
            (Kernel::Abs, f64::abs),
            (Kernel::Negate, |x| -x),
            (Kernel::Square, |x| x * x),
            (Kernel::Scale(2.5), |x| 2.5 * x),
            (Kernel::Add(-1.5), |x| x - 1.5),
        ];
        for (kernel, formula) in cases {
            for (csr, single) in [(false, false), (false, true), (true, false), (true, true)] {
                if csr && !kernel.keeps_zeros() {
                    continue;
                }
                for (found, value) in applied(&kernel, csr, single, 0).into_iter().zip(VALUES) {
                    // Two roundings of the float type: of the function and of its result.
                    let tolerance = if single { 2.0 * f64::from(f32::EPSILON) } else { 2.0 * f64::EPSILON };
                    let expected = formula(value);
                    assert!(
                        found == expected || (found - expected).abs() <= tolerance * expected.abs(),
                        "{} {found} {expected}",
                        kernel.name()
                    );
                }
            }
        }
    }

    #[test]
    fn rows_are_normalised_and_empty_ones_left() {
        for csr in [false, true] {
            assert_eq!(applied(&Kernel::NormalizeRows(8.0), csr, false, 0), [2.0, 0.0, 6.0, 0.0, 0.0, 0.0]);
        }
    }

    #[test]
    fn rows_and_columns_are_scaled_by_their_own_factors() {
        for csr in [false, true] {
            let rows = Kernel::ScaleRows([9.0, 10.0, 100.0].into());
            assert_eq!(applied(&rows, csr, false, 1), [10.0, 0.0, 30.0, 0.0, 0.0, 0.0], "the offset counts");
            let cols = Kernel::ScaleCols([2.0, 3.0, 4.0].into());
            assert_eq!(applied(&cols, csr, false, 0), [2.0, 0.0, 12.0, 0.0, 0.0, 0.0]);
            let clipped = Kernel::ClipCols([(-1.0, 0.5), (0.0, 0.0), (1.0, 2.5)].into());
            assert_eq!(applied(&clipped, csr, false, 0), [0.5, 0.0, 1.5, 0.0, 0.0, 0.0], "zero stays zero");
        }
    }

    #[test]
    fn too_few_factors_and_integers_are_refused() {
        let mut block = Block::from(DenseBlock::new(1, 2, vec![1.0, 2.0]).expect("two values"));
        assert!(Kernel::ScaleRows([1.0].into()).apply(&mut block, (1, 0)).is_err());
        assert!(Kernel::ScaleCols([1.0].into()).apply(&mut block, (0, 0)).is_err());
        let mut counts = Block::from(CsrBlock::new(1, 1, vec![0, 1], vec![0], vec![1u8]).expect("sound"));
        let error = Kernel::Log1p.apply(&mut counts, (0, 0)).expect_err("integers");
        assert!(error.to_string().contains("uint8"), "{error}");
    }
}
