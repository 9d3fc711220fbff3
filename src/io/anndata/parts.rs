//! What every encoding needs of a tree: arrays that must be there, vectors of a length that storage can hold, integers.

use std::ops::Range;
use std::sync::Arc;

pub(super) use super::super::input::check_rows;
use super::super::tree::{Attribute, Elements, NodeKind, Tree, TreeArray};
use crate::array::{DType, SourceAddress};
use crate::error::Result;

/// Opens an array that must be there.
pub(super) fn array(tree: &dyn Tree, place: &str) -> Result<Arc<dyn TreeArray>> {
    match tree.find(place)? {
        Some(NodeKind::Array) => tree.array(place),
        Some(NodeKind::Group) => Err(tree.bad(place, "an array", "a group")),
        None => Err(tree.bad(place, "an array", "nothing of that name")),
    }
}

/// Joins the names of a path.
pub(super) fn join(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_string() } else { format!("{group}/{name}") }
}

/// Returns an attribute that is a text, or `None`.
pub(super) fn text_attribute(tree: &dyn Tree, place: &str, name: &str) -> Result<Option<String>> {
    match tree.attributes(place)?.get(name) {
        None => Ok(None),
        Some(attribute) => match attribute.text() {
            Some(text) => Ok(Some(text.to_string())),
            None => Err(tree.bad(&attribute_place(name, place), "a text", kind_of(attribute))),
        },
    }
}

/// Returns how a node says that it is encoded; empty where it does not say.
pub(super) fn encoding(tree: &dyn Tree, place: &str) -> Result<String> {
    Ok(text_attribute(tree, place, "encoding-type")?.unwrap_or_default())
}

/// Names an attribute, for messages.
pub(super) fn attribute_place(name: &str, place: &str) -> String {
    format!("attribute '{name}' of {}", if place.is_empty() { "/" } else { place })
}

fn kind_of(attribute: &Attribute) -> &'static str {
    match attribute {
        Attribute::Text(_) => "a text",
        Attribute::Texts(_) => "several texts",
        Attribute::Bool(_) => "a truth value",
        Attribute::Integers(_) | Attribute::Numbers(_) => "numbers",
        Attribute::Other => "something else",
    }
}

/// Returns the bytes that an element takes at least.
pub(super) fn width(elements: &Elements) -> u64 {
    match elements {
        Elements::Numbers(dtype) => dtype.size_of() as u64,
        _ => 1,
    }
}

/// Returns a short name of what the elements are, for messages.
pub(super) fn name_of(elements: &Elements) -> String {
    match elements {
        Elements::Numbers(dtype) => dtype.name().to_string(),
        Elements::Texts => "string".into(),
        Elements::Records(_) => "compound".into(),
        Elements::Other(name) => name.clone(),
    }
}

/// Returns the dtype of an array of numbers.
pub(super) fn dtype(tree: &dyn Tree, array: &dyn TreeArray) -> Result<DType> {
    match array.elements() {
        Elements::Numbers(dtype) => Ok(*dtype),
        other => {
            let what = format!("{}: values of type {}", array.place(), name_of(other));
            Err(tree.unsupported(&what, "store them as bool, an integer of 1 to 8 bytes, float32 or float64"))
        }
    }
}

/// Returns the length of a vector, which must be one that the storage can hold.
pub(super) fn vector_len(tree: &dyn Tree, array: &dyn TreeArray) -> Result<u64> {
    match *array.shape() {
        [len] if len.saturating_mul(width(array.elements())) <= tree.most_bytes() => Ok(len),
        [len] => Err(tree.bad(array.place(), "no more values than the file can hold", &len.to_string())),
        _ => Err(tree.bad(array.place(), "a vector", &format!("shape {:?}", array.shape()))),
    }
}

/// Reads a run of integers of any width, as they are.
pub(super) fn read_integers(tree: &dyn Tree, array: &dyn TreeArray, range: Range<u64>) -> Result<Vec<i64>> {
    match dtype(tree, array)? {
        DType::U64 => {
            let values = array.read(range)?;
            let narrow =
                |&x: &u64| i64::try_from(x).map_err(|_| tree.bad(array.place(), "at most 2^63 - 1", &x.to_string()));
            values.as_slice::<u64>().unwrap_or_default().iter().map(narrow).collect()
        }
        DType::Bool | DType::F32 | DType::F64 => Err(tree.bad(array.place(), "integers", "another type")),
        _ => Ok(array.read(range)?.to_vec::<i64>()),
    }
}

/// Returns an error unless the claimed bytes are no more than the storage can hold.
pub(super) fn check_claim(tree: &dyn Tree, place: &str, claimed: Option<u64>, found: &str) -> Result<()> {
    let most = tree.most_bytes();
    if claimed.is_some_and(|bytes| bytes <= most) {
        return Ok(());
    }
    let expected = format!("at most {most} bytes, which is what {} bytes of file can hold", tree.stored_bytes());
    Err(tree.bad(place, &expected, found))
}

/// Returns where a matrix of the tree is for another process; `None` for a path that is no text.
pub(super) fn address(tree: &dyn Tree, item: &str) -> Option<SourceAddress> {
    let text = tree.path().to_str()?;
    // An address in a network is one wherever the process runs.
    let path = match text.contains("://") {
        true => text.to_string(),
        false => std::path::absolute(tree.path()).ok()?.to_str()?.to_string(),
    };
    Some(SourceAddress { format: tree.format().into(), path, item: item.into() })
}

/// Names a matrix, for messages.
pub(super) fn name(tree: &dyn Tree, place: &str) -> String {
    format!("{}: {place}", tree.path().display())
}
