//! What `uns` holds, read into values; matrices and frames stay in the file until they are asked for.
//!
//! Nothing here hides the data: what cannot be read is [`Value::Unknown`] with the reason, and what is much stays in the file. A
//! container may be a maze (HDF5 groups can contain themselves) and a header may claim anything, so that depth, number
//! of values and bytes are bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::tree::{Elements, NodeKind, Tree, TreeArray};
use super::{column, frame, matrix, parts};
use crate::array::{Array, DType};
use crate::cells::{Tensor, Value};
use crate::error::Result;

/// Numbers of two dimensions beyond this many bytes, or of one beyond the second, are left in the file as a matrix.
const SMALL_MATRIX_BYTES: u64 = 1 << 20;
const LARGEST_VALUE_BYTES: u64 = 16 << 20;

/// All numbers and texts of one reading have at most this many bytes in sum.
const MOST_BYTES: u64 = 256 << 20;
const MOST_VALUES: u32 = 1 << 16;
const MOST_DEPTH: u32 = 32;

/// Reads the members of a group, without those that are named.
pub(super) fn open(tree: &Arc<dyn Tree>, group: &str, without: &[String]) -> Result<BTreeMap<String, Value>> {
    if tree.find(group)? != Some(NodeKind::Group) {
        return Ok(BTreeMap::new());
    }
    let mut reading = Reading { tree, values: MOST_VALUES, bytes: MOST_BYTES };
    reading.members(group, without, 0)
}

/// One reading, and what it may still take.
struct Reading<'a> {
    tree: &'a Arc<dyn Tree>,
    values: u32,
    bytes: u64,
}

impl Reading<'_> {
    fn members(&mut self, group: &str, without: &[String], depth: u32) -> Result<BTreeMap<String, Value>> {
        let mut members = BTreeMap::new();
        for (name, kind) in self.tree.members(group)? {
            if self.values == 0 {
                members.insert(
                    name,
                    Value::Unknown(format!("{group}: not read, as uns has more than {MOST_VALUES} values")),
                );
                break;
            }
            if !without.contains(&name) {
                self.values -= 1;
                let place = parts::join(group, &name);
                let value = match kind {
                    NodeKind::Group => self.group(&place, depth + 1),
                    NodeKind::Array => self.array(&place),
                };
                members.insert(name, value.unwrap_or_else(|why| Value::Unknown(why.to_string())));
            }
        }
        Ok(members)
    }

    fn group(&mut self, place: &str, depth: u32) -> Result<Value> {
        let encoding = parts::encoding(&**self.tree, place)?;
        let is_matrix = || -> Result<bool> {
            let attributes = self.tree.attributes(place)?;
            Ok(attributes.contains_key("h5sparse_format") && self.tree.find(&format!("{place}/indptr"))?.is_some())
        };
        match encoding.as_str() {
            "csr_matrix" | "csc_matrix" => self.matrix(place),
            "" if is_matrix()? => self.matrix(place),
            "dataframe" => frame::open(self.tree, place).map(Value::Frame),
            "categorical" | "nullable-integer" | "nullable-boolean" | "nullable-string-array" => {
                // Codes and masks have a byte at least; the names are few.
                self.take(place, column::len(&**self.tree, place)?.saturating_mul(8))?;
                column::read(&**self.tree, place, None).map(Value::Column)
            }
            "" | "dict" | "anndata" | "raw" if depth < MOST_DEPTH => self.members(place, &[], depth).map(Value::Group),
            "" | "dict" => Err(self.tree.bad(place, &format!("at most {MOST_DEPTH} groups in groups"), "more")),
            other => Ok(Value::Unknown(format!("{place}: encoding-type {other:?}"))),
        }
    }

    fn matrix(&self, place: &str) -> Result<Value> {
        matrix::open(self.tree, place).map(|matrix| Value::Matrix(Array::from_source(matrix.source)))
    }

    fn array(&mut self, place: &str) -> Result<Value> {
        let array = self.tree.array(place)?;
        let shape = array.shape().to_vec();
        let encoding = parts::encoding(&**self.tree, place)?;
        let len = shape.iter().fold(1u64, |n, &len| n.saturating_mul(len));
        let rows = 0..shape.first().copied().unwrap_or(1);
        match array.elements() {
            _ if encoding == "null" => Ok(Value::Null),
            Elements::Texts => {
                // The texts themselves are bounded by the container; a text in memory has a header of its own.
                self.take(place, len.saturating_mul(32))?;
                let texts = array.read_texts(rows)?;
                Ok(match (encoding.as_str(), &shape[..], &texts[..]) {
                    ("bytes", [], [Some(text)]) => Value::Bytes(text.clone().into_bytes()),
                    (_, [], [Some(text)]) => Value::Text(text.clone()),
                    _ => Value::Texts(shape, texts),
                })
            }
            Elements::Records(fields) => self.records(&*array, fields, len),
            Elements::Numbers(dtype) => self.numbers(&array, *dtype, shape.clone(), len),
            Elements::Other(name) => Ok(Value::Unknown(format!("{place}: values of type {name}"))),
        }
    }

    fn records(&mut self, array: &dyn TreeArray, fields: &[String], len: u64) -> Result<Value> {
        let mut columns = Vec::with_capacity(fields.len());
        for name in fields {
            self.take(array.place(), len.saturating_mul(16))?;
            columns.push((name.clone(), array.read_field(name)?));
        }
        Ok(Value::Records(columns))
    }

    fn numbers(&mut self, array: &Arc<dyn TreeArray>, dtype: DType, shape: Vec<u64>, len: u64) -> Result<Value> {
        let bytes = len.saturating_mul(dtype.size_of() as u64);
        let most = if shape.len() == 2 { SMALL_MATRIX_BYTES } else { LARGEST_VALUE_BYTES };
        if bytes > most && (shape.len() == 1 || shape.len() == 2) {
            return self.matrix(array.place());
        }
        self.take(array.place(), bytes)?;
        let values = array.read(0..shape.first().copied().unwrap_or(1))?;
        Ok(Value::Numbers(Tensor { shape, values }))
    }

    /// Takes bytes from what this reading may hold.
    fn take(&mut self, place: &str, bytes: u64) -> Result<()> {
        match self.bytes.checked_sub(bytes) {
            Some(left) if bytes <= 4 * LARGEST_VALUE_BYTES => self.bytes = left,
            _ => {
                let expected = format!("at most {} bytes in uns", self.bytes.min(4 * LARGEST_VALUE_BYTES));
                return Err(self.tree.bad(place, &expected, &format!("{bytes}")));
            }
        }
        Ok(())
    }
}
