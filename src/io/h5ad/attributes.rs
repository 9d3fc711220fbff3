//! Attributes of an HDF5 object as the tree's values.

use hdf5_reader::{Attribute as Stored, Datatype};

use super::super::tree::Attribute;
use super::element::{Flag, dtype_of};
use super::file::{File, guarded};
use super::strings::is_string;
use crate::array::DType;
use crate::error::Result;

/// An attribute of more elements than this is no encoding's: the names of a frame's columns are the longest ones.
const MOST_ELEMENTS: u64 = 1 << 20;

/// Returns an attribute's value; what cannot be read as what it claims to be is `Other`, for its reader to refuse.
pub(super) fn value(file: &File, place: &str, stored: &Stored) -> Result<Attribute> {
    guarded(file.input(), place, || Ok(read(stored).unwrap_or(Attribute::Other)))
}

fn read(stored: &Stored) -> Option<Attribute> {
    if stored.num_elements().ok()? > MOST_ELEMENTS {
        return None;
    }
    if is_string(&stored.datatype) {
        return Some(match stored.shape[..] {
            [] => Attribute::Text(stored.read_string().ok()?),
            _ => Attribute::Texts(stored.read_strings().ok()?),
        });
    }
    match (dtype_of(&stored.datatype)?, &stored.datatype) {
        (DType::Bool, _) => stored.read_1d::<Flag>().ok()?.first().map(|flag| Attribute::Bool(flag.0 != 0)),
        (DType::F32, Datatype::FloatingPoint { size: 4, .. }) => {
            Some(Attribute::Numbers(stored.read_1d::<f32>().ok()?.into_iter().map(f64::from).collect()))
        }
        (DType::F64, _) => Some(Attribute::Numbers(stored.read_1d::<f64>().ok()?)),
        (dtype, _) => integers(stored, dtype).map(Attribute::Integers),
    }
}

/// Returns integers of any width; one beyond 2⁶³ becomes -1, which no length is.
fn integers(stored: &Stored, dtype: DType) -> Option<Vec<i64>> {
    macro_rules! read {
        ($t:ty) => {
            stored.read_1d::<$t>().ok()?.into_iter().map(|x| i64::try_from(x).unwrap_or(-1)).collect()
        };
    }
    Some(match dtype {
        DType::U8 => read!(u8),
        DType::U16 => read!(u16),
        DType::U32 => read!(u32),
        DType::U64 => read!(u64),
        DType::I8 => read!(i8),
        DType::I16 => read!(i16),
        DType::I32 => read!(i32),
        DType::I64 => stored.read_1d::<i64>().ok()?,
        DType::Bool | DType::F32 | DType::F64 => return None,
    })
}
