//! The named parts beside the matrix: layers, obsm, varm, obsp, varp.
//!
//! Each is a group with a member for each part, or, of `obsm` and `varm` before AnnData 0.7, a table of records with a field
//! for each. A part that this version does not read, or that has another shape than it must, does not hide the others: it
//! refuses when it is asked for ([`super::refused`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::tree::{Elements, NodeKind, Tree};
use super::{frame, matrix, parts, refused};
use crate::array::Array;
use crate::cells::Table;
use crate::error::{Error, Result};

/// Returns the names of the parts of a slot.
pub(super) fn names(tree: &dyn Tree, slot: &str) -> Result<Vec<String>> {
    match tree.find(slot)? {
        None => Ok(Vec::new()),
        Some(NodeKind::Group) => Ok(tree.members(slot)?.into_iter().map(|(name, _)| name).collect()),
        Some(NodeKind::Array) => match tree.array(slot)?.elements() {
            Elements::Records(fields) => Ok(fields.clone()),
            _ => Ok(Vec::new()),
        },
    }
}

/// Opens the matrices of a slot, which all have this shape.
pub(super) fn arrays(tree: &Arc<dyn Tree>, slot: &str, shape: (u64, u64)) -> Result<BTreeMap<String, Array>> {
    let one = |name: String| {
        let place = parts::join(slot, &name);
        let opened = matrix::open(tree, &place).and_then(|matrix| {
            let found = matrix.source.shape();
            check(&**tree, &place, found == shape, &format!("shape {shape:?}"), &format!("{found:?}"))?;
            Ok(Array::from_source(matrix.source))
        });
        let array = opened.unwrap_or_else(|why| refused::array(parts::name(&**tree, &place), shape, why));
        (name, array)
    };
    Ok(names(&**tree, slot)?.into_iter().map(one).collect())
}

/// Opens the matrices and frames of a slot, which all have so many rows.
pub(super) fn tables(tree: &Arc<dyn Tree>, slot: &str, rows: u64) -> Result<BTreeMap<String, Table>> {
    let one = |name: String| {
        let place = parts::join(slot, &name);
        let opened = table(tree, &place).and_then(|table| {
            let found = table.rows();
            check(&**tree, &place, found == rows, &format!("{rows} rows"), &found.to_string())?;
            Ok(table)
        });
        let refused = |why| refused::frame(parts::name(&**tree, &place), rows, why).into();
        (name, opened.unwrap_or_else(refused))
    };
    Ok(names(&**tree, slot)?.into_iter().map(one).collect())
}

fn check(tree: &dyn Tree, place: &str, is_sound: bool, expected: &str, found: &str) -> Result<()> {
    if is_sound { Ok(()) } else { Err(tree.bad(place, expected, found)) }
}

fn table(tree: &Arc<dyn Tree>, place: &str) -> Result<Table> {
    if tree.find(place)? == Some(NodeKind::Group) {
        match parts::encoding(&**tree, place)?.as_str() {
            "dataframe" => return frame::open(tree, place).map(Table::Frame),
            "awkward-array" => return Err(ragged(&**tree, place)),
            _ => {}
        }
    }
    matrix::open(tree, place).map(|matrix| Array::from_source(matrix.source).into())
}

/// Builds the refusal of an array whose rows have different lengths.
pub(super) fn ragged(tree: &dyn Tree, place: &str) -> Error {
    tree.unsupported(&format!("{place}: an awkward-array, whose rows have different lengths"), "remove it in Python")
}
