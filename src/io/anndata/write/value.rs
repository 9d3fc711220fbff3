//! `uns`: values of any kind, in groups of groups.

use super::{Job, encoding};
use crate::cells::Value;
use crate::error::Result;
use crate::io::tree::unwritable;

impl Job<'_> {
    /// Writes a value under a path.
    pub(super) fn value(&self, path: &str, value: &Value) -> Result<()> {
        match value {
            Value::Null => self.writer.null(path, encoding("null", "0.1.0")),
            Value::Text(text) => {
                self.writer.texts(path, &[], std::slice::from_ref(&Some(text.clone())), encoding("string", "0.2.0"))
            }
            Value::Bytes(bytes) => self.writer.bytes(path, bytes, encoding("bytes", "0.2.0")),
            Value::Numbers(tensor) => {
                let name = if tensor.shape.is_empty() { "numeric-scalar" } else { "array" };
                self.writer.numbers(path, &tensor.shape, &tensor.values, encoding(name, "0.2.0"))
            }
            Value::Texts(shape, texts) => self.texts(path, shape, texts),
            Value::Column(column) => self.column(path, column),
            Value::Frame(frame) => self.frame(path, frame),
            Value::Records(fields) => self.writer.records(path, fields, encoding("rec-array", "0.2.0")),
            Value::Matrix(array) => self.matrix_as_is(path, array),
            Value::Group(members) => {
                self.writer.group(path, encoding("dict", "0.1.0"))?;
                members.iter().try_for_each(|(name, value)| self.value(&self.member(path, name)?, value))
            }
            Value::Unknown(_) if self.options.skip_unknown => Ok(()),
            Value::Unknown(what) => Err(unwritable(path, &format!("of the unknown encoding {what:?}"))),
        }
    }
}
