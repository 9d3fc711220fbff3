//! Types of values that the HDF5 library does not read by itself: truth values, and elements as they are stored.

use hdf5_reader::error::{Error as H5Error, Result as H5Result};
use hdf5_reader::{Attribute, Dataset, Datatype, H5Type};
use std::ops::Range;

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

/// One element as it is stored: a string of fixed length, a reference to one of any length, a row of a legacy table.
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
    Ok(read_as!(dtype, T => file.read::<T>(dataset, place, range.clone())?))
}

/// Reads a run of integers of any width, as they are.
pub(super) fn read_integers(file: &File, dataset: &Dataset, place: &str, range: Range<u64>) -> Result<Vec<i64>> {
    macro_rules! widened {
        ($t:ty) => {
            file.read::<$t>(dataset, place, range)?.into_iter().map(i64::from).collect()
        };
    }
    Ok(match file.dtype(dataset, place)? {
        DType::I8 => widened!(i8),
        DType::I16 => widened!(i16),
        DType::I32 => widened!(i32),
        DType::I64 => file.read::<i64>(dataset, place, range)?,
        DType::U8 => widened!(u8),
        DType::U16 => widened!(u16),
        DType::U32 => widened!(u32),
        DType::U64 => {
            let values = file.read::<u64>(dataset, place, range)?;
            let narrow =
                |x: u64| i64::try_from(x).map_err(|_| file.input().bad(place, "at most 2^63 - 1", x.to_string()));
            values.into_iter().map(narrow).collect::<Result<_>>()?
        }
        DType::Bool | DType::F32 | DType::F64 => return Err(file.input().bad(place, "integers", "another type")),
    })
}

/// Returns the integers of an attribute, none where it holds something else.
pub(super) fn attribute_integers(attribute: &Attribute) -> Vec<i64> {
    if attribute.num_elements().is_ok_and(|n| n > 16) {
        return Vec::new();
    }
    let narrow = |x: u64| i64::try_from(x).unwrap_or(-1);
    let widen = |values: Vec<i32>| values.into_iter().map(i64::from).collect();
    let signed = attribute.read_1d::<i64>().ok().or_else(|| attribute.read_1d::<i32>().ok().map(widen));
    let unsigned = || attribute.read_1d::<u64>().ok().map(|values| values.into_iter().map(narrow).collect());
    signed.or_else(unsigned).unwrap_or_default()
}
