//! Frames: a group with an array for the rows' names and one for each column, in the encodings of AnnData 0.8 and later.
//!
//! | column | encoding |
//! | --- | --- |
//! | numbers, truth values, texts, none missing | `array`, `string-array` |
//! | whole numbers, truth values, texts, some missing | `nullable-integer`, `nullable-boolean`, `nullable-string-array`: values and a mask |
//! | floats, some masked | `array`, with NaN where one is masked |
//! | categories | `categorical`: codes, in the narrowest type that has them, and names in their own type |

use super::{Job, encoding};
use crate::array::{DType, Element, Values};
use crate::cells::{Categories, Column, Frame, Numbers};
use crate::error::{Error, Result};
use crate::io::tree::Attribute;

/// The name of the array of the rows' names.
const INDEX: &str = "_index";

impl Job<'_> {
    /// Writes a frame under a path.
    pub(super) fn frame(&self, path: &str, frame: &Frame) -> Result<()> {
        if frame.columns().iter().any(|column| column == INDEX) {
            return Err(Error::bad_argument("write a frame", "columns", format!("{path}/{INDEX}"), "another name"));
        }
        let mut attributes = encoding("dataframe", "0.2.0");
        attributes.insert("_index".into(), Attribute::Text(INDEX.into()));
        attributes.insert("column-order".into(), Attribute::Texts(frame.columns().to_vec()));
        self.writer.group(path, attributes)?;
        let names: Vec<Option<String>> = frame.row_names()?.into_iter().map(Some).collect();
        self.writer.texts(&format!("{path}/{INDEX}"), &[frame.len()], &names, encoding("string-array", "0.2.0"))?;
        drop(names);
        for name in frame.columns() {
            self.column(&self.member(path, name)?, &frame.column(name)?)?;
        }
        Ok(())
    }

    /// Writes a column under a path.
    pub(super) fn column(&self, path: &str, column: &Column) -> Result<()> {
        match column {
            Column::Numbers(numbers) => self.numbers(path, numbers),
            Column::Bools(all) => {
                let values: Vec<bool> = all.iter().map(|value| value.unwrap_or_default()).collect();
                let missing = all.iter().map(Option::is_none).collect();
                self.nullable(path, "nullable-boolean", &Values::from(values), missing)
            }
            Column::Strings(all) if all.iter().all(Option::is_some) => self.texts(path, &[all.len() as u64], all),
            Column::Strings(all) => {
                self.writer.group(path, encoding("nullable-string-array", "0.1.0"))?;
                self.texts(&format!("{path}/values"), &[all.len() as u64], all)?;
                self.array(&format!("{path}/mask"), &Values::from(all.iter().map(Option::is_none).collect::<Vec<_>>()))
            }
            Column::Categories(categories) => self.categories(path, categories),
        }
    }

    fn numbers(&self, path: &str, numbers: &Numbers) -> Result<()> {
        match numbers.missing() {
            None => self.array(path, numbers.values()),
            // No encoding has floats with a mask: what is missing is NaN, as in Python.
            Some(_) if numbers.dtype().is_float() => {
                self.array(path, &Values::from(numbers.to_f64()).cast(numbers.dtype()))
            }
            Some(missing) => {
                self.writer.group(path, encoding("nullable-integer", "0.1.0"))?;
                self.array(&format!("{path}/values"), numbers.values())?;
                self.array(&format!("{path}/mask"), &Values::from(missing.to_vec()))
            }
        }
    }

    /// Writes values and a mask, or the values alone where none is missing.
    fn nullable(&self, path: &str, name: &str, values: &Values, missing: Vec<bool>) -> Result<()> {
        if !missing.contains(&true) {
            return self.array(path, values);
        }
        self.writer.group(path, encoding(name, "0.1.0"))?;
        self.array(&format!("{path}/values"), values)?;
        self.array(&format!("{path}/mask"), &Values::from(missing))
    }

    /// Writes a vector of numbers.
    pub(super) fn array(&self, path: &str, values: &Values) -> Result<()> {
        self.writer.numbers(path, &[values.len() as u64], values, encoding("array", "0.2.0"))
    }

    /// Writes texts, of one dimension or more.
    pub(super) fn texts(&self, path: &str, shape: &[u64], texts: &[Option<String>]) -> Result<()> {
        self.writer.texts(path, shape, texts, encoding("string-array", "0.2.0"))
    }

    fn categories(&self, path: &str, categories: &Categories) -> Result<()> {
        let mut attributes = encoding("categorical", "0.2.0");
        attributes.insert("ordered".into(), Attribute::Bool(categories.ordered));
        self.writer.group(path, attributes)?;
        let codes = Values::from(categories.codes.clone());
        let narrow = match categories.names.len() {
            0..=127 => DType::I8,
            128..=32_767 => DType::I16,
            _ => DType::I32,
        };
        self.array(&format!("{path}/codes"), &codes.cast(narrow))?;
        let names = &categories.names;
        let place = format!("{path}/categories");
        let read = match categories.numeric {
            Some(dtype) if dtype.is_float() => numbers::<f64>(names, dtype),
            Some(DType::Bool) => names
                .iter()
                .map(|name| name.to_ascii_lowercase().parse().ok())
                .collect::<Option<Vec<bool>>>()
                .map(Values::from),
            Some(DType::U64) => numbers::<u64>(names, DType::U64),
            Some(dtype) => numbers::<i64>(names, dtype),
            None => None,
        };
        match read {
            Some(values) => self.array(&place, &values),
            // Names that are no numbers, whatever they are said to be, are written as they are.
            None => {
                let texts: Vec<Option<String>> = names.iter().cloned().map(Some).collect();
                self.texts(&place, &[names.len() as u64], &texts)
            }
        }
    }
}

/// Reads names as numbers of a dtype; `None` when one of them is none.
fn numbers<T: Element + std::str::FromStr>(names: &[String], dtype: DType) -> Option<Values> {
    let all: Option<Vec<T>> = names.iter().map(|name| name.parse().ok()).collect();
    all.map(|all| Values::from(all).cast(dtype))
}
