//! Types of values: which dtype holds them, and those that the HDF5 library does not read by itself.

use std::ops::Range;

use hdf5_reader::error::{Error as H5Error, Result as H5Result};
use hdf5_reader::{ByteOrder, Dataset, Datatype, H5Type};

use super::super::values::read_as;
use super::file::File;
use crate::array::{DType, Values};
use crate::error::Result;

/// A truth value, stored by h5py as an enumeration of one byte.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Flag(pub(super) u8);

impl H5Type for Flag {
    fn hdf5_type() -> Datatype {
        u8::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], _: &Datatype) -> H5Result<Self> {
        match bytes {
            [byte] => Ok(Flag(u8::from(*byte != 0))),
            _ => Err(H5Error::InvalidData(format!("a truth value of {} bytes", bytes.len()))),
        }
    }

    fn element_size(_: &Datatype) -> usize {
        1
    }
}

/// A number of IEEE 754's binary16, widened.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Half(pub(super) f32);

impl H5Type for Half {
    fn hdf5_type() -> Datatype {
        f32::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], datatype: &Datatype) -> H5Result<Self> {
        match (bytes, datatype) {
            ([a, b], Datatype::FloatingPoint { size: 2, byte_order }) => Ok(Half(match byte_order {
                ByteOrder::LittleEndian => widened(u16::from_le_bytes([*a, *b])),
                ByteOrder::BigEndian => widened(u16::from_be_bytes([*a, *b])),
            })),
            _ => Err(H5Error::InvalidData(format!("a half float of {} bytes", bytes.len()))),
        }
    }

    fn element_size(_: &Datatype) -> usize {
        2
    }
}

/// Returns the number that 16 bits of binary16 stand for: a sign, 5 bits of exponent, 10 of fraction.
fn widened(bits: u16) -> f32 {
    let (exponent, fraction) = (bits >> 10 & 31, f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}

/// One element as it is stored: a string of fixed length, a reference to one of any length, a record.
#[derive(Clone, Debug)]
pub(super) struct Stored(pub(super) Box<[u8]>);

impl H5Type for Stored {
    fn hdf5_type() -> Datatype {
        u8::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], _: &Datatype) -> H5Result<Self> {
        Ok(Stored(bytes.into()))
    }

    fn element_size(_: &Datatype) -> usize {
        1
    }
}

/// Returns whether numbers of this type are half floats.
pub(super) fn is_half(datatype: &Datatype) -> bool {
    matches!(datatype, Datatype::FloatingPoint { size: 2, .. })
}

/// Reads a run of values of any dtype; for a matrix, a run of rows.
pub(super) fn read_values(
    file: &File,
    dataset: &Dataset,
    place: &str,
    dtype: DType,
    range: Range<u64>,
) -> Result<Values> {
    if dtype == DType::Bool {
        let flags = file.read::<Flag>(dataset, place, range)?;
        return Ok(Values::Bool(crate::array::Buffer::Owned(flags.into_iter().map(|flag| flag.0).collect())));
    }
    if is_half(dataset.dtype()) {
        let halves = file.read::<Half>(dataset, place, range)?;
        return Ok(halves.into_iter().map(|half| half.0).collect::<Vec<f32>>().into());
    }
    Ok(read_as!(dtype, T => file.read::<T>(dataset, place, range.clone())?))
}

/// Returns the dtype that holds values of this type exactly, if there is one.
pub(super) fn dtype_of(datatype: &Datatype) -> Option<DType> {
    Some(match datatype {
        Datatype::FixedPoint { size: 1, signed: false, .. } => DType::U8,
        Datatype::FixedPoint { size: 2, signed: false, .. } => DType::U16,
        Datatype::FixedPoint { size: 4, signed: false, .. } => DType::U32,
        Datatype::FixedPoint { size: 8, signed: false, .. } => DType::U64,
        Datatype::FixedPoint { size: 1, signed: true, .. } => DType::I8,
        Datatype::FixedPoint { size: 2, signed: true, .. } => DType::I16,
        Datatype::FixedPoint { size: 4, signed: true, .. } => DType::I32,
        Datatype::FixedPoint { size: 8, signed: true, .. } => DType::I64,
        Datatype::FloatingPoint { size: 2 | 4, .. } => DType::F32,
        Datatype::FloatingPoint { size: 8, .. } => DType::F64,
        // h5py stores bool as an enumeration of one byte: FALSE = 0, TRUE = 1.
        Datatype::Enum { base, members }
            if matches!(**base, Datatype::FixedPoint { size: 1, .. })
                && members.len() == 2
                && members.iter().any(|member| member.name == "TRUE") =>
        {
            DType::Bool
        }
        _ => return None,
    })
}

/// Returns a short name of a type, for messages.
pub(super) fn type_name(datatype: &Datatype) -> String {
    match datatype {
        Datatype::FloatingPoint { size, .. } => format!("float{}", 8 * u32::from(*size)),
        Datatype::FixedPoint { size, .. } => format!("int{}", 8 * u32::from(*size)),
        Datatype::String { .. } => "string".into(),
        Datatype::Compound { .. } => "compound".into(),
        Datatype::Array { .. } => "array".into(),
        Datatype::Enum { .. } => "enumeration".into(),
        Datatype::VarLen { .. } => "variable length".into(),
        Datatype::Opaque { .. } => "opaque".into(),
        Datatype::Reference { .. } => "reference".into(),
        Datatype::Bitfield { .. } => "bit field".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_floats_widen_as_ieee_754_says() {
        // NumPy: np.array([..], dtype=np.uint16).view(np.float16).astype(np.float32)
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.9604645e-8),
            (0x03ff, 6.097555e-5),
            (0x0400, 6.1035156e-5),
            (0x3555, 0.33325195),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, expected) in cases {
            assert_eq!(widened(bits), expected, "{bits:#06x}");
        }
        assert!(widened(0x7e00).is_nan() && widened(0x8000).is_sign_negative());
    }
}
