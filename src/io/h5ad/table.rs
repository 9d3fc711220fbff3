//! `obs` and `var` as one table of rows: AnnData 0.6 and before.
//!
//! A data set of a compound type: one field is the row names (`index`), a column of categories is a field of codes whose
//! names stand in `uns/NAME_categories`. The rows are read in runs, and of each run only the field that is asked for is
//! kept.

use std::sync::Arc;

use hdf5_reader::{CompoundField, Dataset, Datatype, H5Type, StringSize};

use super::super::input::Input;
use super::element::Stored;
use super::file::{File, Node, dtype_of, guarded, type_name};
use super::frame::{checked_codes, texts};
use super::strings::{fixed_string, is_string, most_text, referenced_string};
use crate::array::DType;
use crate::cells::{Column, Frame, FrameReader};
use crate::error::Result;

/// How many rows are read at a time.
const STEP: u64 = 1 << 12;

/// A frame that is a table.
#[derive(Debug)]
struct TableFrame {
    input: Input,
    place: String,
    index: String,
}

/// Opens a data set of a compound type as a frame.
pub(super) fn open(file: &File, place: &str, dataset: &Dataset) -> Result<Frame> {
    let Datatype::Compound { fields, .. } = dataset.dtype() else {
        return Err(file.input().bad(place, "a table, one row each", type_name(dataset.dtype())));
    };
    let len = file.vector_len(dataset, place)?;
    let index = ["index", "_index"].into_iter().find(|name| fields.iter().any(|field| field.name == *name));
    let index = index.ok_or_else(|| file.input().bad(place, "a field 'index' of row names", "none"))?.to_string();
    let columns = fields.iter().map(|field| field.name.clone()).filter(|name| *name != index).collect();
    let reader = TableFrame { input: file.input().clone(), place: place.into(), index };
    Ok(Frame::new(len, columns, Arc::new(reader)))
}

impl FrameReader for TableFrame {
    fn row_names(&self) -> Result<Vec<String>> {
        let file = File::open(&self.input)?;
        let column = self.read(&file, &self.index)?;
        self.input.check_unchanged()?;
        Ok((0..column.len()).map(|row| column.text(row).unwrap_or_default()).collect())
    }

    fn column(&self, name: &str) -> Result<Column> {
        let file = File::open(&self.input)?;
        let column = self.read(&file, name)?;
        self.input.check_unchanged()?;
        let place = format!("uns/{name}_categories");
        let names = match (file.find("uns")?, &column) {
            (Some(Node::Group(_)), Column::Numbers(_)) => file.find(&place)?,
            _ => None,
        };
        match (names, column) {
            (Some(Node::Dataset(names)), Column::Numbers(codes)) => {
                let names = texts(&file, &names, &place)?;
                let codes = codes.to_f64().into_iter().map(|code| code as i64);
                checked_codes(&self.input, &format!("{}/{name}", self.place), codes, names, false)
            }
            (_, column) => Ok(column),
        }
    }
}

impl TableFrame {
    /// Reads one field of all rows.
    fn read(&self, file: &File, name: &str) -> Result<Column> {
        let missing = || self.input.bad(&self.place, format!("a table with a field {name:?}"), "another one");
        let Some(Node::Dataset(table)) = file.find(&self.place)? else { return Err(missing()) };
        let Datatype::Compound { fields, .. } = table.dtype() else { return Err(missing()) };
        let len = file.vector_len(&table, &self.place)?;
        let field = fields.iter().find(|field| field.name == name).ok_or_else(missing)?;
        let place = format!("{}/{name}", self.place);
        let mut column = if is_string(&field.datatype) {
            Column::Strings(Vec::new())
        } else {
            match dtype_of(&field.datatype) {
                Some(DType::Bool) => Column::Bools(Vec::new()),
                Some(_) => Column::from(Vec::<f64>::new()),
                None => {
                    let what = format!("{place}: a field of type {}", type_name(&field.datatype));
                    return Err(self.input.unsupported(what, "read another column"));
                }
            }
        };
        let mut left = most_text(file);
        let mut numbers: Vec<f64> = Vec::new();
        for start in (0..len).step_by(STEP as usize) {
            for row in file.read::<Stored>(&table, &place, start..len.min(start + STEP))? {
                let bytes = row.0.get(field.byte_offset as usize..).unwrap_or_default();
                match &mut column {
                    Column::Strings(values) => {
                        values.push(Some(self.string(file, &table, field, &place, bytes, &mut left)?));
                    }
                    Column::Bools(values) => values.push(bytes.first().map(|&byte| byte != 0)),
                    Column::Numbers(_) => {
                        numbers.push(guarded(&self.input, &place, || number(bytes, &field.datatype))?);
                    }
                    Column::Categories(_) => unreachable!("a field is read as strings, truth values or numbers"),
                }
            }
        }
        Ok(if let Column::Numbers(_) = column { Column::from(numbers) } else { column })
    }

    fn string(
        &self,
        file: &File,
        table: &Dataset,
        field: &CompoundField,
        place: &str,
        bytes: &[u8],
        left: &mut u64,
    ) -> Result<String> {
        let short = || self.input.bad(place, "a field within the row", "one that ends after it");
        match &field.datatype {
            Datatype::String { size: StringSize::Fixed(len), padding, .. } => {
                Ok(fixed_string(bytes.get(..*len as usize).ok_or_else(short)?, *padding))
            }
            _ => {
                let reference = bytes.get(..table.vlen_reference_size()).ok_or_else(short)?;
                referenced_string(file, table, place, reference, left)
            }
        }
    }
}

/// Reads a number of any type as float64.
fn number(bytes: &[u8], datatype: &Datatype) -> hdf5_reader::error::Result<f64> {
    Ok(match dtype_of(datatype) {
        Some(DType::U8) => u8::from_bytes(bytes, datatype)?.into(),
        Some(DType::U16) => u16::from_bytes(bytes, datatype)?.into(),
        Some(DType::U32) => u32::from_bytes(bytes, datatype)?.into(),
        Some(DType::U64) => exact(u64::from_bytes(bytes, datatype)?.into())?,
        Some(DType::I8) => i8::from_bytes(bytes, datatype)?.into(),
        Some(DType::I16) => i16::from_bytes(bytes, datatype)?.into(),
        Some(DType::I32) => i32::from_bytes(bytes, datatype)?.into(),
        Some(DType::I64) => exact(i64::from_bytes(bytes, datatype)?.into())?,
        Some(DType::F32) => f32::from_bytes(bytes, datatype)?.into(),
        Some(DType::F64) => f64::from_bytes(bytes, datatype)?,
        Some(DType::Bool) | None => return Err(hdf5_reader::error::Error::InvalidData("not a number".into())),
    })
}

/// Refuses integers that float64 would round.
fn exact(value: i128) -> hdf5_reader::error::Result<f64> {
    if value.unsigned_abs() <= 1 << 53 {
        return Ok(value as f64);
    }
    Err(hdf5_reader::error::Error::InvalidData("an integer beyond 2^53".into()))
}
