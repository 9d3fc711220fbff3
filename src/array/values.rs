//! A run of values of one dtype: in anonymous memory, or inside a mapped chunk.
//!
//! [`Values`] is the only place where a dtype is matched on: kernels are written once over a slice of `T` and reached
//! through [`with_values!`]. Mapped values are read-only for ever; who wants to change them takes a copy.

use std::ops::{Deref, Range};

use super::{DType, Element};
use crate::error::{Error, Result};
use crate::store::ChunkBytes;

/// A run of values: owned, or one part of a mapped chunk.
#[derive(Clone, Debug)]
pub enum Buffer<T> {
    /// Anonymous memory.
    Owned(Vec<T>),
    /// Part `part` of a mapped chunk.
    Mapped {
        /// The chunk.
        bytes: ChunkBytes,
        /// Which of its parts.
        part: usize,
    },
}

impl<T: bytemuck::Pod> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Buffer::Owned(values) => values,
            // An empty part has no address worth aligning.
            Buffer::Mapped { bytes, part } if bytes.part(*part).is_empty() => &[],
            Buffer::Mapped { bytes, part } => bytemuck::cast_slice(bytes.part(*part)),
        }
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Self {
        Buffer::Owned(values)
    }
}

impl<T: bytemuck::Pod> Buffer<T> {
    /// Returns the values in anonymous memory: those that are there already without a copy.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Buffer::Owned(values) => values,
            mapped => mapped.to_vec(),
        }
    }

    /// Returns the values for writing, after copying them out of a chunk if they are there.
    pub fn to_mut(&mut self) -> &mut Vec<T> {
        if let Buffer::Mapped { .. } = self {
            *self = Buffer::Owned(self.to_vec());
        }
        match self {
            Buffer::Owned(values) => values,
            Buffer::Mapped { .. } => unreachable!("it was copied above"),
        }
    }

    /// Returns an error when the chunk's pages vanished while they were read.
    ///
    /// # Errors
    ///
    /// [`Error::ChunkDamaged`]: what was computed from the values is void.
    pub fn check(&self) -> Result<()> {
        match self {
            Buffer::Owned(_) => Ok(()),
            Buffer::Mapped { bytes, .. } => bytes.check(),
        }
    }

    /// Returns the anonymous bytes that the values hold: none when they are mapped.
    pub fn anonymous_bytes(&self) -> u64 {
        match self {
            Buffer::Owned(values) => size_of_val(values.as_slice()) as u64,
            Buffer::Mapped { .. } => 0,
        }
    }
}

/// Values of one dtype. `Bool` is stored as bytes 0 and 1.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants are those of DType and documented there")]
pub enum Values {
    Bool(Buffer<u8>),
    U8(Buffer<u8>),
    U16(Buffer<u16>),
    U32(Buffer<u32>),
    U64(Buffer<u64>),
    I8(Buffer<i8>),
    I16(Buffer<i16>),
    I32(Buffer<i32>),
    I64(Buffer<i64>),
    F32(Buffer<f32>),
    F64(Buffer<f64>),
}

/// Runs an expression with the buffer of whichever variant is there; truth values appear as `u8`.
macro_rules! with_values {
    ($values:expr, $buffer:ident => $body:expr) => {
        match $values {
            $crate::array::Values::Bool($buffer) => $body,
            $crate::array::Values::U8($buffer) => $body,
            $crate::array::Values::U16($buffer) => $body,
            $crate::array::Values::U32($buffer) => $body,
            $crate::array::Values::U64($buffer) => $body,
            $crate::array::Values::I8($buffer) => $body,
            $crate::array::Values::I16($buffer) => $body,
            $crate::array::Values::I32($buffer) => $body,
            $crate::array::Values::I64($buffer) => $body,
            $crate::array::Values::F32($buffer) => $body,
            $crate::array::Values::F64($buffer) => $body,
        }
    };
}
pub(crate) use with_values;

/// Like [`with_values!`] for a body that gives a new buffer, wrapped in the same variant.
macro_rules! map_values {
    ($values:expr, $buffer:ident => $body:expr) => {
        match $values {
            $crate::array::Values::Bool($buffer) => $crate::array::Values::Bool($body),
            $crate::array::Values::U8($buffer) => $crate::array::Values::U8($body),
            $crate::array::Values::U16($buffer) => $crate::array::Values::U16($body),
            $crate::array::Values::U32($buffer) => $crate::array::Values::U32($body),
            $crate::array::Values::U64($buffer) => $crate::array::Values::U64($body),
            $crate::array::Values::I8($buffer) => $crate::array::Values::I8($body),
            $crate::array::Values::I16($buffer) => $crate::array::Values::I16($body),
            $crate::array::Values::I32($buffer) => $crate::array::Values::I32($body),
            $crate::array::Values::I64($buffer) => $crate::array::Values::I64($body),
            $crate::array::Values::F32($buffer) => $crate::array::Values::F32($body),
            $crate::array::Values::F64($buffer) => $crate::array::Values::F64($body),
        }
    };
}
pub(crate) use map_values;

/// Collects a buffer's values as another type by Rust's `as`: integers wrap, floats saturate into integers.
macro_rules! cast_to {
    ($buffer:ident, $type:ty) => {
        Buffer::Owned($buffer.iter().map(|value| *value as $type).collect())
    };
}

/// Returns whether a value is zero, of its own type; NaN is not.
pub(super) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Values {
    /// Returns the dtype.
    pub fn dtype(&self) -> DType {
        match self {
            Values::Bool(_) => DType::Bool,
            Values::U8(_) => DType::U8,
            Values::U16(_) => DType::U16,
            Values::U32(_) => DType::U32,
            Values::U64(_) => DType::U64,
            Values::I8(_) => DType::I8,
            Values::I16(_) => DType::I16,
            Values::I32(_) => DType::I32,
            Values::I64(_) => DType::I64,
            Values::F32(_) => DType::F32,
            Values::F64(_) => DType::F64,
        }
    }

    /// Returns how many values there are.
    pub fn len(&self) -> usize {
        with_values!(self, buffer => buffer.len())
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes that the values take.
    pub fn nbytes(&self) -> u64 {
        (self.len() * self.dtype().size_of()) as u64
    }

    /// Returns the anonymous bytes among them: none when they are mapped.
    pub fn anonymous_bytes(&self) -> u64 {
        with_values!(self, buffer => buffer.anonymous_bytes())
    }

    /// Returns the values when they are of type `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::slice(self)
    }

    /// Returns the values as bytes of this machine's order.
    pub fn as_bytes(&self) -> &[u8] {
        with_values!(self, buffer => bytemuck::cast_slice(buffer))
    }

    /// Returns one value as `f64`; integers beyond 2⁵³ are rounded.
    ///
    /// # Panics
    ///
    /// When `index` is not below [`len`](Self::len).
    pub fn at(&self, index: usize) -> f64 {
        #[expect(clippy::unnecessary_cast, reason = "one of the eleven types is f64 already")]
        let value = with_values!(self, buffer => buffer[index] as f64);
        value
    }

    /// Copies a run of the values.
    ///
    /// # Panics
    ///
    /// When the range reaches beyond the values.
    pub fn slice(&self, range: Range<usize>) -> Values {
        map_values!(self, buffer => Buffer::Owned(buffer[range].to_vec()))
    }

    /// Returns no values of a dtype, with room for some.
    pub fn with_capacity(dtype: DType, capacity: usize) -> Values {
        match dtype {
            DType::Bool => Values::Bool(Vec::with_capacity(capacity).into()),
            DType::U8 => Values::U8(Vec::with_capacity(capacity).into()),
            DType::U16 => Values::U16(Vec::with_capacity(capacity).into()),
            DType::U32 => Values::U32(Vec::with_capacity(capacity).into()),
            DType::U64 => Values::U64(Vec::with_capacity(capacity).into()),
            DType::I8 => Values::I8(Vec::with_capacity(capacity).into()),
            DType::I16 => Values::I16(Vec::with_capacity(capacity).into()),
            DType::I32 => Values::I32(Vec::with_capacity(capacity).into()),
            DType::I64 => Values::I64(Vec::with_capacity(capacity).into()),
            DType::F32 => Values::F32(Vec::with_capacity(capacity).into()),
            DType::F64 => Values::F64(Vec::with_capacity(capacity).into()),
        }
    }

    /// Returns `len` zeros of a dtype.
    pub fn zeros(dtype: DType, len: usize) -> Values {
        map_values!(Values::with_capacity(dtype, 0), _empty => Buffer::Owned(vec![Default::default(); len]))
    }

    /// Appends a run of other values of the same dtype.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when the dtypes differ.
    pub fn extend(&mut self, other: &Values, range: Range<usize>) -> Result<()> {
        macro_rules! same {
            ($($variant:ident)*) => {
                match (&mut *self, other) {
                    $((Values::$variant(to), Values::$variant(from)) => to.to_mut().extend_from_slice(&from[range]),)*
                    (to, from) => return Err(Error::bad_argument("vstack", "dtype", from.dtype(), to.dtype().name())),
                }
            };
        }
        same!(Bool U8 U16 U32 U64 I8 I16 I32 I64 F32 F64);
        Ok(())
    }

    /// Returns the values as another dtype; of the same dtype, without a copy.
    ///
    /// Integers wrap into narrower ones, floats saturate into integers (NaN becomes 0), and what is not zero is true.
    pub fn cast(self, dtype: DType) -> Values {
        if self.dtype() == dtype {
            return self;
        }
        with_values!(&self, buffer => match dtype {
            DType::Bool => Values::Bool(Buffer::Owned(buffer.iter().map(|v| u8::from(!is_zero(v))).collect())),
            DType::U8 => Values::U8(cast_to!(buffer, u8)),
            DType::U16 => Values::U16(cast_to!(buffer, u16)),
            DType::U32 => Values::U32(cast_to!(buffer, u32)),
            DType::U64 => Values::U64(cast_to!(buffer, u64)),
            DType::I8 => Values::I8(cast_to!(buffer, i8)),
            DType::I16 => Values::I16(cast_to!(buffer, i16)),
            DType::I32 => Values::I32(cast_to!(buffer, i32)),
            DType::I64 => Values::I64(cast_to!(buffer, i64)),
            DType::F32 => Values::F32(cast_to!(buffer, f32)),
            DType::F64 => Values::F64(cast_to!(buffer, f64)),
        })
    }

    /// Copies the values as `T`, converted as by [`cast`](Self::cast) where they are of another type.
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        T::slice(self).map_or_else(|| T::collect(self), <[T]>::to_vec)
    }

    /// Returns an error when the chunk's pages vanished while they were read.
    ///
    /// # Errors
    ///
    /// [`Error::ChunkDamaged`]: what was computed from the values is void.
    pub fn check(&self) -> Result<()> {
        with_values!(self, buffer => buffer.check())
    }

    /// Views one part of a mapped chunk as values of a dtype.
    pub(crate) fn mapped(dtype: DType, bytes: ChunkBytes, part: usize) -> Values {
        match dtype {
            DType::Bool => Values::Bool(Buffer::Mapped { bytes, part }),
            DType::U8 => Values::U8(Buffer::Mapped { bytes, part }),
            DType::U16 => Values::U16(Buffer::Mapped { bytes, part }),
            DType::U32 => Values::U32(Buffer::Mapped { bytes, part }),
            DType::U64 => Values::U64(Buffer::Mapped { bytes, part }),
            DType::I8 => Values::I8(Buffer::Mapped { bytes, part }),
            DType::I16 => Values::I16(Buffer::Mapped { bytes, part }),
            DType::I32 => Values::I32(Buffer::Mapped { bytes, part }),
            DType::I64 => Values::I64(Buffer::Mapped { bytes, part }),
            DType::F32 => Values::F32(Buffer::Mapped { bytes, part }),
            DType::F64 => Values::F64(Buffer::Mapped { bytes, part }),
        }
    }
}

impl<T: Element> From<Vec<T>> for Values {
    fn from(values: Vec<T>) -> Self {
        T::into_values(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casting_follows_numpy_where_numpy_is_defined() {
        let values = Values::from(vec![-1.5f64, 0.0, 3.9, 300.0]);
        assert_eq!(values.to_vec::<i32>(), [-1, 0, 3, 300]);
        assert_eq!(values.to_vec::<bool>(), [true, false, true, true]);
        assert_eq!(Values::from(vec![300i32, -1]).to_vec::<u8>(), [44, 255], "integers wrap");
        assert_eq!(Values::from(vec![true, false]).to_vec::<f32>(), [1.0, 0.0]);
        assert_eq!(Values::from(vec![f64::NAN]).to_vec::<i64>(), [0]);
        assert_eq!(Values::from(vec![f64::NAN]).to_vec::<bool>(), [true], "NaN is not zero");
    }

    #[test]
    fn every_dtype_can_be_made_extended_and_read() {
        for dtype in DType::ALL {
            let mut values = Values::zeros(dtype, 2);
            values.extend(&Values::from(vec![1u8]).cast(dtype), 0..1).expect("one dtype");
            assert_eq!((values.dtype(), values.len(), values.at(2)), (dtype, 3, 1.0));
            assert_eq!(values.nbytes() as usize, values.as_bytes().len());
            assert_eq!(values.slice(1..3).to_vec::<f64>(), [0.0, 1.0]);
        }
    }

    #[test]
    fn values_of_two_dtypes_do_not_mix() {
        let mut values = Values::from(vec![1u8]);
        let error = values.extend(&Values::from(vec![1.0f32]), 0..1).expect_err("two dtypes");
        assert!(error.to_string().contains("uint8") && error.to_string().contains("float32"), "{error}");
    }
}
