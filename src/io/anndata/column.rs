//! One value for each row: a column of a frame, or a vector of its own in `uns`.
//!
//! | column | stored as | since |
//! | --- | --- | --- |
//! | numbers, truth values, strings | a vector | 0.7 |
//! | categories | a group of `codes` (-1: missing) and `categories` | 0.8 |
//! | categories | a vector of codes, and the names in `__categories/NAME` beside it | 0.7 |
//! | nullable integers, truth values, strings | a group of `values` and `mask` (true: missing) | 0.8 |
//!
//! Categories may be numbers or truth values: their names are these written out, and their dtype is kept.

use std::sync::Arc;

use super::super::tree::{Attributes, Elements, NodeKind, Tree, TreeArray};
use super::parts;
use crate::array::{DType, Values};
use crate::cells::{Categories, Column, Numbers};
use crate::error::Result;

/// Reads the column at a place, which must have `len` values where that is given; compared before they are read.
pub(super) fn read(tree: &dyn Tree, place: &str, len: Option<u64>) -> Result<Column> {
    match tree.find(place)? {
        Some(NodeKind::Array) => vector(tree, &*tree.array(place)?, len),
        Some(NodeKind::Group) => group(tree, place, len),
        None => Err(tree.bad(place, "a column", "nothing of that name")),
    }
}

/// Returns how many values the column at a place has, from headers.
pub(super) fn len(tree: &dyn Tree, place: &str) -> Result<u64> {
    let values = match tree.find(place)? {
        Some(NodeKind::Group) if parts::encoding(tree, place)? == "categorical" => format!("{place}/codes"),
        Some(NodeKind::Group) => format!("{place}/values"),
        _ => place.to_string(),
    };
    parts::vector_len(tree, &*parts::array(tree, &values)?)
}

/// Reads a vector of numbers, truth values or strings.
pub(super) fn vector(tree: &dyn Tree, array: &dyn TreeArray, len: Option<u64>) -> Result<Column> {
    let range = 0..checked_len(tree, array, len)?;
    Ok(match array.elements() {
        Elements::Texts => Column::Strings(array.read_texts(range)?),
        Elements::Numbers(DType::Bool) => Column::Bools(flags(&array.read(range)?).map(Some).collect()),
        Elements::Numbers(_) => Column::Numbers(array.read(range)?.into()),
        other => {
            let what = format!("{}: a column of type {}", array.place(), parts::name_of(other));
            return Err(tree.unsupported(&what, "read another column"));
        }
    })
}

fn checked_len(tree: &dyn Tree, array: &dyn TreeArray, len: Option<u64>) -> Result<u64> {
    // A single category was once stored as a single value.
    if len.is_none() && array.shape().is_empty() {
        return Ok(1);
    }
    let found = parts::vector_len(tree, array)?;
    match len {
        Some(len) if len != found => {
            Err(tree.bad(array.place(), &format!("{len} values, as there are rows"), &found.to_string()))
        }
        _ => Ok(found),
    }
}

fn flags(values: &Values) -> impl Iterator<Item = bool> {
    values.to_vec::<bool>().into_iter()
}

/// Reads a column that is a group.
fn group(tree: &dyn Tree, place: &str, len: Option<u64>) -> Result<Column> {
    let attributes = tree.attributes(place)?;
    let encoding = parts::encoding(tree, place)?;
    let part = |name: &str| parts::array(tree, &format!("{place}/{name}"));
    match encoding.as_str() {
        "categorical" => {
            let codes = part("codes")?;
            checked_len(tree, &*codes, len)?;
            categories(tree, &*codes, &format!("{place}/categories"), is_ordered(&attributes))
        }
        "nullable-integer" | "nullable-boolean" | "nullable-string-array" => {
            let (values, mask) = (part("values")?, part("mask")?);
            let found = checked_len(tree, &*values, len)?;
            checked_len(tree, &*mask, Some(found))?;
            let missing = flags(&mask.read(0..found)?).collect();
            masked(vector(tree, &*values, None)?, missing)
        }
        _ => Err(tree.unsupported(&format!("{place}: a column of type {encoding:?}"), "read another column")),
    }
}

/// Returns whether the categories of a node with these attributes are said to be ordered.
pub(super) fn is_ordered(attributes: &Attributes) -> bool {
    attributes.get("ordered").and_then(|ordered| ordered.flag()).unwrap_or(false)
}

/// Marks as missing what the mask says is.
fn masked(column: Column, missing: Vec<bool>) -> Result<Column> {
    fn kept<T>(values: Vec<Option<T>>, missing: &[bool]) -> Vec<Option<T>> {
        values.into_iter().zip(missing).map(|(value, missing)| value.filter(|_| !missing)).collect()
    }
    Ok(match column {
        Column::Numbers(numbers) => Column::Numbers(Numbers::nullable(numbers.values().clone(), missing)?),
        Column::Strings(texts) => Column::Strings(kept(texts, &missing)),
        Column::Bools(flags) => Column::Bools(kept(flags, &missing)),
        other => other,
    })
}

/// Joins a vector of codes and the names at a place.
pub(super) fn categories(tree: &dyn Tree, codes: &dyn TreeArray, names: &str, ordered: bool) -> Result<Column> {
    let len = parts::vector_len(tree, codes)?;
    let codes_of = parts::read_integers(tree, codes, 0..len)?;
    named(tree, codes.place(), codes_of.into_iter(), names, ordered)
}

/// Joins codes and the names at a place: checks that each code is a name's place or -1.
pub(super) fn named(
    tree: &dyn Tree,
    place: &str,
    codes: impl Iterator<Item = i64>,
    names: &str,
    ordered: bool,
) -> Result<Column> {
    let (names, numeric) = category_names(read(tree, names, None)?);
    let n_names = names.len() as i64;
    let check = |(row, code): (usize, i64)| {
        let bad = || {
            let expected = format!("-1 or the place of one of {n_names} categories");
            tree.bad(&format!("{place}[{row}]"), &expected, &code.to_string())
        };
        let code = i32::try_from(code).map_err(|_| bad())?;
        if code >= -1 && i64::from(code) < n_names { Ok(code) } else { Err(bad()) }
    };
    let codes = codes.enumerate().map(check).collect::<Result<_>>()?;
    Ok(Column::Categories(Categories { codes, names, ordered, numeric }))
}

/// Returns the names of categories as text, and their dtype where they are numbers or truth values.
fn category_names(column: Column) -> (Vec<String>, Option<DType>) {
    let numeric = match &column {
        Column::Numbers(values) => Some(values.dtype()),
        Column::Bools(_) => Some(DType::Bool),
        Column::Strings(_) | Column::Categories(_) => None,
    };
    (texts(column), numeric)
}

/// Returns every value as text: some writers keep names of rows that are numbers.
pub(super) fn texts(column: Column) -> Vec<String> {
    let other = if let Column::Numbers(_) = column { "nan" } else { "" };
    match column {
        Column::Strings(texts) => texts.into_iter().map(Option::unwrap_or_default).collect(),
        column => (0..column.len()).map(|row| column.text(row).unwrap_or_else(|| other.into())).collect(),
    }
}

/// Opens the array that a column of codes of AnnData 0.7 refers to for its names, if it is one.
pub(super) fn legacy_names(tree: &dyn Tree, frame: &str, name: &str) -> Result<Option<Arc<dyn TreeArray>>> {
    let place = format!("{frame}/__categories/{name}");
    match tree.find(&place)? {
        Some(NodeKind::Array) => tree.array(&place).map(Some),
        _ => Ok(None),
    }
}
