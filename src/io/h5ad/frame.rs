//! `obs` and `var` as groups: one member per column, since AnnData 0.7.
//!
//! | column | stored as | since |
//! | --- | --- | --- |
//! | numbers, truth values, strings | a vector | 0.7 |
//! | categories | a group of `codes` (-1: missing) and `categories` | 0.8 |
//! | categories | a vector of codes, and the names in `__categories/NAME` beside it | 0.7 |
//! | nullable integers, truth values, strings | a group of `values` and `mask` (true: missing) | 0.8 |
//!
//! The file is opened anew for each reading: names live in the file's heap, and what the library caches of it should
//! not stay in memory beside the matrix.

use hdf5_reader::Dataset;

use super::super::input::Input;
use super::element::{Flag, read_integers, read_values};
use super::file::{File, Node, type_name};
use super::strings::{is_string, read_strings};
use crate::array::DType;
use crate::cells::{Categories, Column, Frame, FrameReader, Numbers};
use crate::error::Result;

/// A frame that is a group.
#[derive(Debug)]
pub(super) struct GroupFrame {
    input: Input,
    place: String,
    index: String,
    len: u64,
}

/// Opens a group as a frame.
pub(super) fn open(file: &File, place: &str, group: Node) -> Result<Frame> {
    let (_, datasets) = file.members(place)?;
    let index = match file.text_attribute(&group, place, "_index")? {
        Some(index) => index,
        None => ["_index", "index"].into_iter().find(|name| datasets.iter().any(|known| known == name)).map_or_else(
            || Err(file.input().bad(place, "an attribute '_index' that names the row names", "none")),
            |name| Ok(name.to_string()),
        )?,
    };
    let names = dataset(file, &format!("{place}/{index}"))?;
    let len = file.vector_len(&names, &format!("{place}/{index}"))?;
    let columns = column_names(file, place, &group, &index)?;
    let reader = GroupFrame { input: file.input().clone(), place: place.into(), index, len };
    Ok(Frame::new(len, columns, std::sync::Arc::new(reader)))
}

/// Returns the columns in the order that the file states, or, where it states none, in that of its members.
fn column_names(file: &File, place: &str, group: &Node, index: &str) -> Result<Vec<String>> {
    let (groups, datasets) = file.members(place)?;
    let is_column = |name: &String| name != index && name != "__categories";
    let members: Vec<String> = datasets.into_iter().chain(groups).filter(is_column).collect();
    let order = file.attribute(group, place, "column-order")?.and_then(|order| order.read_strings().ok());
    Ok(match order {
        // An empty order is stored as an empty vector of numbers, and names what is not there only in broken files.
        Some(order) => order.into_iter().filter(|name| members.contains(name)).collect(),
        None => members,
    })
}

impl FrameReader for GroupFrame {
    fn row_names(&self) -> Result<Vec<String>> {
        let file = File::open(&self.input)?;
        let place = format!("{}/{}", self.place, self.index);
        let names = dataset(&file, &place)?;
        self.check_len(&file, &names, &place)?;
        // Some writers keep a numeric index.
        let names = texts(&file, &names, &place)?;
        self.input.check_unchanged()?;
        Ok(names)
    }

    fn column(&self, name: &str) -> Result<Column> {
        let file = File::open(&self.input)?;
        let place = format!("{}/{name}", self.place);
        let column = match file.find(&place)? {
            Some(Node::Dataset(values)) => {
                self.check_len(&file, &values, &place)?;
                match self.legacy_categories(&file, name)? {
                    Some((names, ordered)) => categories(&file, &place, &values, names, ordered)?,
                    None => read_vector(&file, &values, &place)?,
                }
            }
            Some(group) => self.read_group(&file, &place, &group)?,
            None => return Err(self.input.bad(&self.place, format!("a column {name:?}"), "none of that name")),
        };
        self.input.check_unchanged()?;
        Ok(column)
    }
}

impl GroupFrame {
    /// Reads the names that a column of codes of AnnData 0.7 refers to.
    fn legacy_categories(&self, file: &File, name: &str) -> Result<Option<(Vec<String>, bool)>> {
        let parent = format!("{}/__categories", self.place);
        if file.find(&parent)?.is_none() {
            return Ok(None);
        }
        let place = format!("{parent}/{name}");
        match file.find(&place)? {
            Some(Node::Dataset(names)) => {
                let texts = texts(file, &names, &place)?;
                let ordered = is_ordered(file, &Node::Dataset(names), &place)?;
                Ok(Some((texts, ordered)))
            }
            _ => Ok(None),
        }
    }

    /// Checks, before it is read, that a vector has a value for each row.
    fn check_len(&self, file: &File, dataset: &Dataset, place: &str) -> Result<()> {
        let len = file.vector_len(dataset, place)?;
        if len == self.len {
            return Ok(());
        }
        Err(self.input.bad(place, format!("{} values, as there are rows", self.len), len.to_string()))
    }

    /// Reads a column that is a group.
    fn read_group(&self, file: &File, place: &str, group: &Node) -> Result<Column> {
        let encoding = file.text_attribute(group, place, "encoding-type")?.unwrap_or_default();
        let part = |name: &str| {
            let place = format!("{place}/{name}");
            let dataset = dataset(file, &place)?;
            if name != "categories" {
                self.check_len(file, &dataset, &place)?;
            }
            Ok((dataset, place))
        };
        match encoding.as_str() {
            "categorical" => {
                let ((codes, codes_place), (names, names_place)) = (part("codes")?, part("categories")?);
                let ordered = is_ordered(file, group, place)?;
                let names = texts(file, &names, &names_place)?;
                categories(file, &codes_place, &codes, names, ordered)
            }
            "nullable-integer" | "nullable-boolean" | "nullable-string-array" => {
                let ((values, values_place), (mask, mask_place)) = (part("values")?, part("mask")?);
                let mask = file.read::<Flag>(&mask, &mask_place, 0..self.len)?;
                masked(read_vector(file, &values, &values_place)?, &mask)
            }
            _ => Err(self.input.unsupported(format!("{place}: a column of type {encoding:?}"), "read another column")),
        }
    }
}

/// Opens a data set that must be there.
fn dataset(file: &File, place: &str) -> Result<Dataset> {
    match file.find(place)? {
        Some(Node::Dataset(dataset)) => Ok(*dataset),
        Some(Node::Group(_)) => Err(file.input().bad(place, "a data set", "a group")),
        None => Err(file.input().bad(place, "a data set", "nothing of that name")),
    }
}

/// Returns whether the categories of this group or data set are said to be ordered.
fn is_ordered(file: &File, node: &Node, place: &str) -> Result<bool> {
    let ordered = file.attribute(node, place, "ordered")?;
    Ok(ordered.is_some_and(|ordered| ordered.raw_data.first().is_some_and(|&byte| byte != 0)))
}

/// Marks as missing what the mask says is.
fn masked(column: Column, mask: &[Flag]) -> Result<Column> {
    let is_missing = |row: usize| mask.get(row).is_some_and(|flag| flag.0 != 0);
    Ok(match column {
        Column::Numbers(numbers) => {
            let missing = (0..numbers.len()).map(is_missing).collect();
            Column::Numbers(Numbers::nullable(numbers.values().clone(), missing)?)
        }
        Column::Strings(texts) => {
            Column::Strings(texts.into_iter().enumerate().map(|(row, x)| x.filter(|_| !is_missing(row))).collect())
        }
        Column::Bools(flags) => {
            Column::Bools(flags.into_iter().enumerate().map(|(row, x)| x.filter(|_| !is_missing(row))).collect())
        }
        other => other,
    })
}

/// Checks that each code is a name's place or -1.
pub(super) fn checked_codes(
    input: &Input,
    place: &str,
    codes: impl Iterator<Item = i64>,
    names: Vec<String>,
    ordered: bool,
) -> Result<Column> {
    let n_names = names.len() as i64;
    let check = |(row, code): (usize, i64)| {
        let expected = || format!("-1 or the place of one of {n_names} categories");
        let bad = || input.bad(format!("{place}[{row}]"), expected(), code.to_string());
        let code = i32::try_from(code).map_err(|_| bad())?;
        if code >= -1 && i64::from(code) < n_names { Ok(code) } else { Err(bad()) }
    };
    let codes = codes.enumerate().map(check).collect::<Result<_>>()?;
    Ok(Column::Categories(Categories { ordered, ..Categories::new(codes, names) }))
}

fn categories(file: &File, place: &str, codes: &Dataset, names: Vec<String>, ordered: bool) -> Result<Column> {
    let codes = read_integers(file, codes, place, 0..file.vector_len(codes, place)?)?;
    checked_codes(file.input(), place, codes.into_iter(), names, ordered)
}

/// Reads the names of categories, which may be strings, numbers or truth values.
pub(super) fn texts(file: &File, names: &Dataset, place: &str) -> Result<Vec<String>> {
    if is_string(names.dtype()) {
        return read_strings(file, names, place);
    }
    let column = read_vector(file, names, place)?;
    Ok((0..column.len()).map(|row| column.text(row).unwrap_or_else(|| "nan".into())).collect())
}

/// Reads a vector of numbers, truth values or strings.
pub(super) fn read_vector(file: &File, dataset: &Dataset, place: &str) -> Result<Column> {
    if is_string(dataset.dtype()) {
        return Ok(Column::Strings(read_strings(file, dataset, place)?.into_iter().map(Some).collect()));
    }
    let Ok(dtype) = file.dtype(dataset, place) else {
        let what = format!("{place}: a column of type {}", type_name(dataset.dtype()));
        return Err(file.input().unsupported(what, "read another column"));
    };
    let range = 0..file.vector_len(dataset, place)?;
    if dtype == DType::Bool {
        let flags = file.read::<Flag>(dataset, place, range)?;
        return Ok(Column::Bools(flags.into_iter().map(|flag| Some(flag.0 != 0)).collect()));
    }
    Ok(Column::Numbers(read_values(file, dataset, place, dtype, range)?.into()))
}
