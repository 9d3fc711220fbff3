//! The types a matrix' values can have, as values ([`DType`]) and as Rust types ([`Element`]).
//!
//! An array knows its dtype at run time, as in NumPy, so that a file decides it and not the program's author. Where
//! numbers enter or leave, the dtype meets a Rust type through [`Element`], which is implemented for these and no others.

use std::fmt;
use std::str::FromStr;

use super::values::{is_zero, with_values};
use super::{Buffer, Values};
use crate::error::{Error, Result};

/// The type of a matrix' values, named as in NumPy.
///
/// # Examples
///
/// ```
/// use allotment::array::DType;
/// assert_eq!("uint16".parse::<DType>()?, DType::U16);
/// assert_eq!(DType::F32.to_string(), "float32");
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum DType {
    /// Truth values, one byte each, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl DType {
    /// Lists every dtype, in the order of their declaration.
    pub const ALL: [DType; 11] = [
        DType::Bool,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F32,
        DType::F64,
    ];

    /// Returns how many bytes one value takes.
    pub fn size_of(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::U16 | DType::I16 => 2,
            DType::U32 | DType::I32 | DType::F32 => 4,
            DType::U64 | DType::I64 | DType::F64 => 8,
        }
    }

    /// Returns NumPy's name of it.
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "uint8",
            DType::U16 => "uint16",
            DType::U32 => "uint32",
            DType::U64 => "uint64",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::F32 => "float32",
            DType::F64 => "float64",
        }
    }

    /// Returns whether values are `f32` or `f64`.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }

    /// Returns the smallest dtype that holds values of both, by NumPy's rules for arrays: `int64` and `uint64` meet in
    /// `float64`, and so does an integer of 32 bits or more with `float32`.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::array::DType;
    /// assert_eq!(DType::U8.promoted(DType::I8), DType::I16);
    /// assert_eq!(DType::I16.promoted(DType::F32), DType::F32);
    /// assert_eq!(DType::I32.promoted(DType::F32), DType::F64);
    /// ```
    pub fn promoted(self, other: DType) -> DType {
        use DType::{Bool, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64};
        let signed =
            |bytes: usize| [I8, I16, I32, I64].into_iter().find(|dtype| dtype.size_of() >= bytes).unwrap_or(F64);
        let is_signed = |dtype: DType| matches!(dtype, I8 | I16 | I32 | I64);
        match (self, other) {
            (a, b) if a == b => a,
            (Bool, dtype) | (dtype, Bool) => dtype,
            (a, b) if a.is_float() || b.is_float() => a.to_float().max(b.to_float()),
            (a, b) if is_signed(a) == is_signed(b) => {
                if a.size_of() >= b.size_of() {
                    a
                } else {
                    b
                }
            }
            // A signed type must be twice as wide as the unsigned one that it is to hold.
            (a, b) => {
                let (signed_one, unsigned) = if is_signed(a) { (a, b) } else { (b, a) };
                match unsigned {
                    U8 | U16 | U32 => signed(signed_one.size_of().max(2 * unsigned.size_of())),
                    U64 | Bool | I8 | I16 | I32 | I64 | F32 | F64 => F64,
                }
            }
        }
    }

    /// Returns the float that elementwise kernels compute in: floats stay, types of at most 16 bits become `f32`, which
    /// holds each of their values exactly, and wider ones become `f64`.
    pub fn to_float(self) -> DType {
        match self {
            DType::Bool | DType::U8 | DType::I8 | DType::U16 | DType::I16 | DType::F32 => DType::F32,
            DType::U32 | DType::U64 | DType::I32 | DType::I64 | DType::F64 => DType::F64,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DType {
    type Err = Error;

    /// Reads NumPy's names ("float32"), its short forms ("f4") and Rust's names ("f32").
    fn from_str(text: &str) -> Result<Self> {
        let short = |dtype: DType| -> (String, String) {
            let letter = &dtype.name()[..1];
            (format!("{letter}{}", dtype.size_of()), format!("{letter}{}", 8 * dtype.size_of()))
        };
        let matches = |dtype: &DType| {
            let (numpy, rust) = short(*dtype);
            // One byte is ambiguous between NumPy's "i8" (eight bytes) and Rust's (eight bits): Rust's meaning is taken.
            let numpy_applies = !matches!(text, "i8" | "u8");
            text == dtype.name() || (*dtype != DType::Bool && (text == rust || (numpy_applies && text == numpy)))
        };
        DType::ALL.into_iter().find(matches).ok_or_else(|| Error::BadArgument {
            operation: "dtype",
            argument: "name",
            found: format!("{text:?}").into(),
            expected: "one of bool, uint8 to uint64, int8 to int64, float32, float64".into(),
        })
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that values of a matrix can have. Implemented for the types of [`DType`] and closed to others.
pub trait Element: sealed::Sealed + Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The dtype of this type.
    const DTYPE: DType;

    /// Returns the values when they are of this type.
    fn slice(values: &Values) -> Option<&[Self]>;

    /// Copies values of any dtype as this type, converted as by [`Values::cast`].
    fn collect(values: &Values) -> Vec<Self>;

    /// Wraps values of this type.
    fn into_values(values: Vec<Self>) -> Values;

    /// Returns the value as `f64`; integers beyond 2⁵³ are rounded.
    fn to_f64(self) -> f64;
}

macro_rules! element {
    ($($type:ty, $variant:ident;)*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            fn slice(values: &Values) -> Option<&[Self]> {
                match values {
                    Values::$variant(buffer) => Some(buffer),
                    _ => None,
                }
            }
            #[allow(clippy::unnecessary_cast, reason = "one of the eleven types is the target itself")]
            fn collect(values: &Values) -> Vec<Self> {
                with_values!(values, buffer => buffer.iter().map(|value| *value as $type).collect())
            }
            fn into_values(values: Vec<Self>) -> Values {
                Values::$variant(Buffer::Owned(values))
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}

element! {
    u8, U8; u16, U16; u32, U32; u64, U64;
    i8, I8; i16, I16; i32, I32; i64, I64;
    f32, F32; f64, F64;
}

impl sealed::Sealed for bool {}
impl Element for bool {
    const DTYPE: DType = DType::Bool;

    /// Returns `None` also for bytes that are neither 0 nor 1.
    fn slice(values: &Values) -> Option<&[Self]> {
        match values {
            Values::Bool(buffer) => bytemuck::checked::try_cast_slice(buffer).ok(),
            _ => None,
        }
    }

    fn collect(values: &Values) -> Vec<Self> {
        with_values!(values, buffer => buffer.iter().map(|value| !is_zero(value)).collect())
    }

    fn into_values(values: Vec<Self>) -> Values {
        Values::Bool(Buffer::Owned(values.into_iter().map(u8::from).collect()))
    }

    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for dtype in DType::ALL {
            assert_eq!(dtype.to_string().parse::<DType>().ok(), Some(dtype));
        }
        assert_eq!("f4".parse::<DType>().ok(), Some(DType::F32));
        assert_eq!("i64".parse::<DType>().ok(), Some(DType::I64));
        assert_eq!("u8".parse::<DType>().ok(), Some(DType::U8));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_that_exist() {
        let error = "object".parse::<DType>().expect_err("no such dtype");
        assert!(error.to_string().contains("float32"), "{error}");
    }

    #[test]
    fn two_dtypes_meet_where_numpy_says() {
        // The rows of `numpy.result_type` for each pair, in the order of `ALL`: NumPy 2.4.
        let table = [
            "b1 u1 u2 u4 u8 i1 i2 i4 i8 f4 f8",
            "u1 u1 u2 u4 u8 i2 i2 i4 i8 f4 f8",
            "u2 u2 u2 u4 u8 i4 i4 i4 i8 f4 f8",
            "u4 u4 u4 u4 u8 i8 i8 i8 i8 f8 f8",
            "u8 u8 u8 u8 u8 f8 f8 f8 f8 f8 f8",
            "i1 i2 i4 i8 f8 i1 i2 i4 i8 f4 f8",
            "i2 i2 i4 i8 f8 i2 i2 i4 i8 f4 f8",
            "i4 i4 i4 i8 f8 i4 i4 i4 i8 f8 f8",
            "i8 i8 i8 i8 f8 i8 i8 i8 i8 f8 f8",
            "f4 f4 f4 f8 f8 f4 f4 f8 f8 f4 f8",
            "f8 f8 f8 f8 f8 f8 f8 f8 f8 f8 f8",
        ];
        for (left, row) in DType::ALL.into_iter().zip(table) {
            for (right, expected) in DType::ALL.into_iter().zip(row.split(' ')) {
                let found = left.promoted(right);
                assert_eq!(format!("{}{}", &found.name()[..1], found.size_of()), expected, "{left} and {right}");
            }
        }
    }

    #[test]
    fn a_type_meets_only_its_own_dtype() {
        let values = u16::into_values(vec![1, 2]);
        assert_eq!(u16::slice(&values), Some(&[1u16, 2][..]));
        assert_eq!(i16::slice(&values), None);
        let truth = bool::into_values(vec![true, false]);
        assert_eq!(bool::slice(&truth), Some(&[true, false][..]));
        assert_eq!(bool::slice(&Values::Bool(Buffer::Owned(vec![2]))), None, "2 is not a truth value");
    }
}
