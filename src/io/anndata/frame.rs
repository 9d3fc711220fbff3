//! `obs` and `var`: as groups with a member for each column (since AnnData 0.7), or as one table of records (before).
//!
//! Of a table one field is the row names (`index`, else the first), and a column of categories is a field of codes whose
//! names stand in `uns/NAME_categories`. The container is opened anew for each reading: what a library caches of names
//! should not stay in memory beside the matrix.

use std::sync::Arc;

use super::super::tree::{Attribute, Attributes, Elements, NodeKind, Tree};
use super::{column, parts};
use crate::cells::{Column, Frame, FrameReader, Numbers};
use crate::error::Result;

/// Opens the frame at a place.
pub(super) fn open(tree: &Arc<dyn Tree>, place: &str) -> Result<Frame> {
    match tree.find(place)? {
        Some(NodeKind::Group) => group(tree, place),
        Some(NodeKind::Array) => table(tree, place),
        None => Err(tree.bad(place, "the names and columns of the matrix", "nothing of that name")),
    }
}

/// A frame that is a group or a table: its reader.
#[derive(Debug)]
struct StoredFrame {
    tree: Arc<dyn Tree>,
    place: String,
    index: String,
    len: u64,
    is_table: bool,
}

fn group(tree: &Arc<dyn Tree>, place: &str) -> Result<Frame> {
    let members = tree.members(place)?;
    let attributes = tree.attributes(place)?;
    let is_member = |name: &str| members.iter().any(|(known, _)| known == name);
    let index = match attributes.get("_index").and_then(Attribute::text) {
        Some(index) => index.to_string(),
        None => ["_index", "index"].into_iter().find(|name| is_member(name)).map_or_else(
            || Err(tree.bad(place, "an attribute '_index' that names the row names", "none")),
            |name| Ok(name.to_string()),
        )?,
    };
    let len = column::len(&**tree, &format!("{place}/{index}"))?;
    let columns = column_names(&attributes, &members, &index);
    let reader = StoredFrame { tree: Arc::clone(tree), place: place.into(), index, len, is_table: false };
    Ok(Frame::new(len, columns, Arc::new(reader)))
}

/// Returns the columns in the order that the file states, or, where it states none, in that of its members.
fn column_names(attributes: &Attributes, members: &[(String, NodeKind)], index: &str) -> Vec<String> {
    let names = members.iter().map(|(name, _)| name.clone()).filter(|name| name != index && name != "__categories");
    let names: Vec<String> = names.collect();
    match attributes.get("column-order") {
        // An empty order is stored as an empty vector of numbers, and names what is not there only in broken files.
        Some(Attribute::Texts(order)) => {
            order.iter().filter(|name| names.binary_search(name).is_ok()).cloned().collect()
        }
        Some(Attribute::Text(one)) if names.contains(one) => vec![one.clone()],
        _ => names,
    }
}

fn table(tree: &Arc<dyn Tree>, place: &str) -> Result<Frame> {
    let array = tree.array(place)?;
    let Elements::Records(fields) = array.elements() else {
        return Err(tree.bad(place, "a table, one row each", &parts::name_of(array.elements())));
    };
    let len = parts::vector_len(&**tree, &*array)?;
    let index = ["index", "_index"].into_iter().find(|name| fields.iter().any(|field| field == name));
    let index = index.or(fields.first().map(String::as_str));
    let index = index.ok_or_else(|| tree.bad(place, "a field of row names", "no field"))?.to_string();
    let columns = fields.iter().filter(|name| **name != index).cloned().collect();
    let reader = StoredFrame { tree: Arc::clone(tree), place: place.into(), index, len, is_table: true };
    Ok(Frame::new(len, columns, Arc::new(reader)))
}

impl FrameReader for StoredFrame {
    fn row_names(&self) -> Result<Vec<String>> {
        let tree = self.tree.reopen()?;
        let names = match self.is_table {
            true => self.field(&*tree, &self.index)?,
            false => column::read(&*tree, &format!("{}/{}", self.place, self.index), Some(self.len))?,
        };
        tree.check_unchanged()?;
        Ok(column::texts(names))
    }

    fn column(&self, name: &str) -> Result<Column> {
        let tree = self.tree.reopen()?;
        let column = match self.is_table {
            true => self.table_column(&*tree, name)?,
            false => self.group_column(&*tree, name)?,
        };
        tree.check_unchanged()?;
        Ok(column)
    }
}

impl StoredFrame {
    fn group_column(&self, tree: &dyn Tree, name: &str) -> Result<Column> {
        let place = format!("{}/{name}", self.place);
        match (tree.find(&place)?, column::legacy_names(tree, &self.place, name)?) {
            (None, _) => Err(tree.bad(&self.place, &format!("a column {name:?}"), "none of that name")),
            (Some(NodeKind::Array), Some(names)) => {
                let codes = tree.array(&place)?;
                self.check_len(tree, &place, parts::vector_len(tree, &*codes)?)?;
                let ordered = column::is_ordered(&tree.attributes(names.place())?);
                column::categories(tree, &*codes, names.place(), ordered)
            }
            _ => column::read(tree, &place, Some(self.len)),
        }
    }

    fn table_column(&self, tree: &dyn Tree, name: &str) -> Result<Column> {
        let column = self.field(tree, name)?;
        let names = format!("uns/{name}_categories");
        match &column {
            // A column of obs and one of var may have one name, and only one of them these categories.
            Column::Numbers(codes) if is_codes(codes, n_names(tree, &names)?) => {
                let codes = codes.to_f64().into_iter().map(|code| code as i64);
                column::named(tree, &format!("{}/{name}", self.place), codes, &names, false)
            }
            _ => Ok(column),
        }
    }

    fn field(&self, tree: &dyn Tree, name: &str) -> Result<Column> {
        let column = parts::array(tree, &self.place)?.read_field(name)?;
        self.check_len(tree, &format!("{}/{name}", self.place), column.len() as u64)?;
        Ok(column)
    }

    /// Checks that there is a value for each row.
    fn check_len(&self, tree: &dyn Tree, place: &str, len: u64) -> Result<()> {
        if len == self.len {
            return Ok(());
        }
        Err(tree.bad(place, &format!("{} values, as there are rows", self.len), &len.to_string()))
    }
}

/// Returns how many names of categories there are at a place, `None` where there is no such place.
fn n_names(tree: &dyn Tree, place: &str) -> Result<Option<u64>> {
    match tree.find(place)? {
        Some(NodeKind::Array) => Ok(Some(tree.array(place)?.shape().first().copied().unwrap_or(1))),
        _ => Ok(None),
    }
}

/// Returns whether numbers are integers that are all places of so many names, or -1.
fn is_codes(numbers: &Numbers, names: Option<u64>) -> bool {
    let Some(names) = names else { return false };
    let is_code = |code: f64| (-1.0..names as f64).contains(&code);
    !numbers.dtype().is_float() && (0..numbers.len()).all(|row| is_code(numbers.values().at(row)))
}
