//! Records: one field of a run of them.
//!
//! The records are read in runs, and of each run only the field that is asked for is kept. A field may be an array of its
//! own (AnnData 0.6 and before keep the scores of a PCA so): its values follow one another, record after record.

use std::ops::Range;

use hdf5_reader::error::{Error as H5Error, Result as H5Result};
use hdf5_reader::{CompoundField, Dataset, Datatype, H5Type, StringSize};

use super::super::tree::Tree;
use super::element::{Flag, Half, Stored, dtype_of, is_half, type_name};
use super::file::{File, guarded};
use super::strings::{fixed_string, is_string, most_text, referenced_string};
use crate::array::{DType, Values};
use crate::cells::Column;
use crate::error::Result;

/// How many bytes of records are read at a time, and how many records at most.
const STEP_BYTES: u64 = 1 << 20;
const STEP: u64 = 1 << 12;

/// Where a field lies in a record, and what it is.
struct Field<'a> {
    place: String,
    offset: usize,
    /// The type of a value, and how many there are in a record.
    datatype: &'a Datatype,
    count: usize,
    /// The bytes of a value.
    width: usize,
    /// How many records are read at a time.
    step: u64,
}

/// Reads one field of a run of records.
pub(super) fn read(
    file: &File,
    table: &Dataset,
    place: &str,
    field: &CompoundField,
    range: Range<u64>,
) -> Result<Column> {
    let place = format!("{place}/{}", field.name);
    let field = Field::new(file, table, place, field)?;
    if is_string(field.datatype) {
        return field.strings(file, table, range).map(Column::Strings);
    }
    macro_rules! values {
        ($type:ty) => {
            field.values::<$type>(file, table, range)?
        };
    }
    let numbers: Values = match dtype_of(field.datatype) {
        Some(DType::Bool) => {
            let flags = values!(Flag).into_iter().map(|flag| Some(flag.0 != 0));
            return Ok(Column::Bools(flags.collect()));
        }
        Some(DType::U8) => values!(u8).into(),
        Some(DType::U16) => values!(u16).into(),
        Some(DType::U32) => values!(u32).into(),
        Some(DType::U64) => values!(u64).into(),
        Some(DType::I8) => values!(i8).into(),
        Some(DType::I16) => values!(i16).into(),
        Some(DType::I32) => values!(i32).into(),
        Some(DType::I64) => values!(i64).into(),
        Some(DType::F32) if is_half(field.datatype) => {
            values!(Half).into_iter().map(|half| half.0).collect::<Vec<f32>>().into()
        }
        Some(DType::F32) => values!(f32).into(),
        Some(DType::F64) => values!(f64).into(),
        None => {
            let what = format!("{}: a field of type {}", field.place, type_name(field.datatype));
            return Err(file.unsupported(&what, "read another column"));
        }
    };
    Ok(Column::Numbers(numbers.into()))
}

impl<'a> Field<'a> {
    fn new(file: &File, table: &Dataset, place: String, field: &'a CompoundField) -> Result<Self> {
        let (datatype, count) = match &field.datatype {
            Datatype::Array { base, dims } => (&**base, dims.iter().fold(1u64, |n, &len| n.saturating_mul(len))),
            other => (other, 1),
        };
        let width = match datatype {
            Datatype::String { size: StringSize::Fixed(len), .. } => *len as usize,
            text if is_string(text) => table.vlen_reference_size(),
            other => dtype_of(other).map_or(1, |dtype| if is_half(other) { 2 } else { dtype.size_of() }),
        };
        // A record holds the field, so that the number of its values is bounded by the record's size.
        let record = guarded(file.input(), &place, || table.raw_element_size())? as u64;
        let end = count.saturating_mul(width.max(1) as u64).saturating_add(field.byte_offset.into());
        if end > record {
            return Err(file.bad(&place, "a field within the record", "one that ends after it"));
        }
        let step = (STEP_BYTES / record.max(1)).clamp(1, STEP);
        Ok(Field { place, offset: field.byte_offset as usize, datatype, count: count as usize, width, step })
    }

    /// Gives the bytes of each value to a function, in order.
    fn each(
        &self,
        file: &File,
        table: &Dataset,
        range: Range<u64>,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        for start in range.clone().step_by(self.step as usize) {
            for record in file.read::<Stored>(table, &self.place, start..range.end.min(start + self.step))? {
                let short = || file.bad(&self.place, "a field within the record", "one that ends after it");
                let bytes = record.0.get(self.offset..self.offset + self.count * self.width).ok_or_else(short)?;
                bytes.chunks_exact(self.width.max(1)).try_for_each(&mut take)?;
            }
        }
        Ok(())
    }

    fn values<T: H5Type>(&self, file: &File, table: &Dataset, range: Range<u64>) -> Result<Vec<T>> {
        let mut values = Vec::new();
        self.each(file, table, range, |bytes| {
            values.push(guarded(file.input(), &self.place, || decode(bytes, self.datatype))?);
            Ok(())
        })?;
        Ok(values)
    }

    fn strings(&self, file: &File, table: &Dataset, range: Range<u64>) -> Result<Vec<Option<String>>> {
        let mut left = most_text(file);
        let mut texts = Vec::new();
        self.each(file, table, range, |bytes| {
            texts.push(Some(match self.datatype {
                Datatype::String { size: StringSize::Fixed(_), padding, .. } => fixed_string(bytes, *padding),
                _ => referenced_string(file, table, &self.place, bytes, &mut left)?,
            }));
            Ok(())
        })?;
        Ok(texts)
    }
}

fn decode<T: H5Type>(bytes: &[u8], datatype: &Datatype) -> H5Result<T> {
    if bytes.len() == T::element_size(datatype) {
        return T::from_bytes(bytes, datatype);
    }
    Err(H5Error::InvalidData(format!("a value of {} bytes", bytes.len())))
}
