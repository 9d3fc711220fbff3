//! Frames one below the other: names and columns are joined when they are asked for.
//!
//! | columns of | become |
//! | --- | --- |
//! | categories without order, or of the same names | categories: the names sorted, unless all frames have the same |
//! | numbers | numbers of the dtype that holds all of them; floats where a value is missing |
//! | truth values | truth values |
//! | different kinds | text |
//!
//! Always true: of a frame that lacks a column all values of it are missing.

use std::collections::{BTreeSet, HashMap};

use super::{Categories, Column, Frame, FrameReader};
use crate::array::{DType, Values};
use crate::error::Result;

/// Frames one below the other.
#[derive(Debug)]
pub(super) struct Stacked {
    pub(super) frames: Vec<Frame>,
    /// What is appended to the names of each, if anything.
    pub(super) suffixes: Option<Vec<String>>,
}

impl FrameReader for Stacked {
    fn row_names(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for (i, frame) in self.frames.iter().enumerate() {
            let suffix = self.suffixes.as_ref().map_or("", |suffixes| &suffixes[i]);
            all.extend(frame.row_names()?.into_iter().map(|name| name + suffix));
        }
        Ok(all)
    }

    fn column(&self, name: &str) -> Result<Column> {
        let of = |frame: &Frame| match frame.columns().iter().any(|known| known == name) {
            true => frame.column(name).map(Some),
            false => Ok(None),
        };
        let parts = self.frames.iter().map(of).collect::<Result<Vec<_>>>()?;
        let lengths: Vec<usize> = self.frames.iter().map(|frame| frame.len() as usize).collect();
        Ok(joined(&parts, &lengths))
    }
}

/// Joins columns; of a set without the column all values are missing. Columns of different kinds become text.
fn joined(parts: &[Option<Column>], lengths: &[usize]) -> Column {
    let there = || parts.iter().flatten();
    if is_one_kind_of_categories(parts) {
        return Column::Categories(joined_categories(parts, lengths));
    }
    if there().all(|part| matches!(part, Column::Bools(_))) {
        return Column::Bools(values_of(parts, lengths, |part, row| match part {
            Column::Bools(values) => values[row],
            _ => None,
        }));
    }
    let is_plain = |part: &Column| matches!(part, Column::Numbers(numbers) if numbers.missing().is_none());
    if there().all(is_plain) && parts.iter().all(Option::is_some) {
        let numbers = || there().filter_map(|part| if let Column::Numbers(n) = part { Some(n.values()) } else { None });
        let dtype = numbers().map(Values::dtype).reduce(DType::promoted).expect("there is at least one set");
        let mut all = Values::with_capacity(dtype, lengths.iter().sum());
        for values in numbers() {
            all.extend(&values.clone().cast(dtype), 0..values.len()).expect("both are of that dtype");
        }
        return Column::Numbers(all.into());
    }
    if there().all(|part| matches!(part, Column::Numbers(_))) {
        let numbers = values_of(parts, lengths, |part, row| match part {
            Column::Numbers(numbers) if !numbers.is_missing(row) => Some(numbers.values().at(row)),
            _ => None,
        });
        let dtypes = there().filter_map(|part| if let Column::Numbers(n) = part { Some(n.dtype()) } else { None });
        let dtype = dtypes.reduce(DType::promoted).filter(|dtype| dtype.is_float()).unwrap_or(DType::F64);
        let numbers: Vec<f64> = numbers.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        return Column::Numbers(Values::from(numbers).cast(dtype).into());
    }
    Column::Strings(values_of(parts, lengths, |part, row| part.text(row)))
}

fn values_of<T>(
    parts: &[Option<Column>],
    lengths: &[usize],
    value: impl Fn(&Column, usize) -> Option<T>,
) -> Vec<Option<T>> {
    let mut all = Vec::with_capacity(lengths.iter().sum());
    for (part, len) in parts.iter().zip(lengths) {
        all.extend((0..*len).map(|row| part.as_ref().and_then(|part| value(part, row))));
    }
    all
}

fn categories_of(part: &Option<Column>) -> Option<&Categories> {
    if let Some(Column::Categories(of)) = part { Some(of) } else { None }
}

/// Tells whether all columns are categories that can be joined: without order, or with the same names in the same one.
fn is_one_kind_of_categories(parts: &[Option<Column>]) -> bool {
    let first = parts.iter().find_map(categories_of);
    let is_alike = |of: &Categories| {
        let is_plain = |of: &Categories| !of.ordered && of.numeric.is_none();
        let is_same = |a: &Categories| (&a.names, a.ordered, a.numeric) == (&of.names, of.ordered, of.numeric);
        first.is_some_and(|first| is_same(first) || (is_plain(first) && is_plain(of)))
    };
    parts.iter().filter(|part| part.is_some()).all(|part| categories_of(part).is_some_and(is_alike))
}

/// Joins categories: the names sorted, unless all have the same.
fn joined_categories(parts: &[Option<Column>], lengths: &[usize]) -> Categories {
    let all: Vec<&Vec<String>> = parts.iter().filter_map(categories_of).map(|of| &of.names).collect();
    let names: Vec<String> = match all.iter().all(|names| *names == all[0]) {
        true => all.first().map(|names| names.to_vec()).unwrap_or_default(),
        false => all.iter().copied().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
    };
    let places: HashMap<&str, i32> = names.iter().map(String::as_str).zip(0..).collect();
    let mut codes = Vec::with_capacity(lengths.iter().sum());
    for (part, len) in parts.iter().zip(lengths) {
        let code = |row| categories_of(part).and_then(|of| of.name(row)).map_or(-1, |name| places[name]);
        codes.extend((0..*len).map(code));
    }
    let (ordered, numeric) = parts.iter().find_map(categories_of).map_or((false, None), |of| (of.ordered, of.numeric));
    Categories { codes, names, ordered, numeric }
}
