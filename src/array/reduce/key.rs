//! Keys: unsigned integers that stand in the order of the values, for every dtype.
//!
//! What is compared, counted or searched by order is done on keys, so that there is one algorithm for eleven dtypes and
//! integers beyond 2⁵³ stay exact. A signed integer's key has its sign bit flipped; a float's has all bits flipped when
//! it is negative and the sign bit when not, which is the order of IEEE 754 §5.10. Two things are brought together
//! first: −0.0 becomes 0.0, and every NaN becomes one that stands after all numbers.

use crate::array::values::{Buffer, Values, map_values};
use crate::array::{DType, Element};

/// A value with a key. Truth values go as the bytes that store them.
pub(super) trait Key: Element {
    /// Returns the key: of as many bits as the value has, greater for a greater value.
    fn key(self) -> u64;

    /// Returns the value of a key.
    fn of_key(key: u64) -> Self;
}

macro_rules! unsigned_keys {
    ($($type:ty),*) => {$(
        impl Key for $type {
            #[inline]
            fn key(self) -> u64 {
                u64::from(self)
            }
            fn of_key(key: u64) -> Self {
                key as $type
            }
        }
    )*};
}

macro_rules! signed_keys {
    ($($type:ty, $unsigned:ty;)*) => {$(
        impl Key for $type {
            #[inline]
            fn key(self) -> u64 {
                u64::from((self ^ <$type>::MIN).cast_unsigned())
            }
            fn of_key(key: u64) -> Self {
                (key as $unsigned).cast_signed() ^ <$type>::MIN
            }
        }
    )*};
}

macro_rules! float_keys {
    ($($type:ty, $unsigned:ty;)*) => {$(
        impl Key for $type {
            #[inline]
            fn key(self) -> u64 {
                const SIGN: $unsigned = 1 << (<$unsigned>::BITS - 1);
                if self.is_nan() {
                    return u64::from(<$unsigned>::MAX);
                }
                // Adding zero turns −0.0 into 0.0 and leaves all else.
                let bits = (self + 0.0).to_bits();
                u64::from(if bits & SIGN == 0 { bits | SIGN } else { !bits })
            }
            fn of_key(key: u64) -> Self {
                const SIGN: $unsigned = 1 << (<$unsigned>::BITS - 1);
                match key as $unsigned {
                    <$unsigned>::MAX => <$type>::NAN,
                    bits if bits & SIGN == 0 => <$type>::from_bits(!bits),
                    bits => <$type>::from_bits(bits ^ SIGN),
                }
            }
        }
    )*};
}

unsigned_keys!(u8, u16, u32, u64);
signed_keys! { i8, u8; i16, u16; i32, u32; i64, u64; }
float_keys! { f32, u32; f64, u64; }

/// Returns the greatest key of a dtype: for floats, NaN's.
pub(super) fn last_key(dtype: DType) -> u64 {
    u64::MAX >> (64 - 8 * dtype.size_of())
}

/// Returns the key of zero.
pub(super) fn zero_key(dtype: DType) -> u64 {
    match dtype {
        DType::Bool | DType::U8 | DType::U16 | DType::U32 | DType::U64 => 0,
        _ => last_key(dtype) / 2 + 1,
    }
}

/// Returns the values of keys.
pub(super) fn values_of_keys(dtype: DType, keys: &[u64]) -> Values {
    fn values<T: Key>(_dtype_of: &[T], keys: &[u64]) -> Buffer<T> {
        keys.iter().map(|key| T::of_key(*key)).collect::<Vec<T>>().into()
    }
    map_values!(&Values::zeros(dtype, 0), buffer => values(buffer, keys))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::values::with_values;

    /// Ascending values of a dtype, from the least to the greatest that there is.
    fn ascending(dtype: DType) -> Values {
        match dtype {
            DType::Bool => bool::into_values(vec![false, true]),
            DType::I64 => i64::into_values(vec![i64::MIN, -(1 << 53) - 1, -(1 << 53), -1, 0, 1, i64::MAX]),
            DType::U64 => u64::into_values(vec![0, 1, 1 << 53, (1 << 53) + 1, u64::MAX]),
            DType::F64 => {
                let tiny = f64::from_bits(1);
                f64::into_values(vec![
                    f64::NEG_INFINITY,
                    f64::MIN,
                    -1.0,
                    -tiny,
                    0.0,
                    tiny,
                    1.0,
                    f64::MAX,
                    f64::INFINITY,
                ])
            }
            DType::F32 => {
                let tiny = f32::from_bits(1);
                f32::into_values(vec![
                    f32::NEG_INFINITY,
                    f32::MIN,
                    -1.0,
                    -tiny,
                    0.0,
                    tiny,
                    1.0,
                    f32::MAX,
                    f32::INFINITY,
                ])
            }
            // Casting floats saturates: the least and the greatest are at the ends.
            other => {
                Values::from(vec![-1e9f64, -70.0, 0.0, 1.0, 100.0, 1e10]).cast(DType::I64).cast(DType::F64).cast(other)
            }
        }
    }

    fn keys(values: &Values) -> Vec<u64> {
        with_values!(values, buffer => buffer.iter().map(|value| value.key()).collect())
    }

    #[test]
    fn keys_stand_in_the_order_of_the_values_and_give_them_back() {
        for dtype in DType::ALL {
            let values = ascending(dtype);
            let keys = keys(&values);
            assert!(keys.is_sorted() && keys.iter().all(|key| *key <= last_key(dtype)), "{dtype}: {keys:?}");
            assert!(dtype == DType::Bool || keys.first() < keys.last(), "{dtype}");
            assert_eq!(values_of_keys(dtype, &keys).as_bytes(), values.as_bytes(), "{dtype}");
            assert!(keys.contains(&zero_key(dtype)), "{dtype}");
            assert_eq!(values_of_keys(dtype, &[zero_key(dtype)]).at(0), 0.0, "{dtype}");
        }
    }

    #[test]
    fn zeros_of_either_sign_are_one_and_nans_are_one_that_is_last() {
        assert_eq!((-0.0f64).key(), 0.0f64.key());
        for nan in [f64::NAN, -f64::NAN, f64::from_bits(f64::NAN.to_bits() | 77)] {
            assert_eq!(nan.key(), last_key(DType::F64));
            assert_eq!((nan as f32).key(), last_key(DType::F32));
        }
        assert!(f64::of_key(last_key(DType::F64)).is_nan() && f32::of_key(last_key(DType::F32)).is_nan());
    }
}
