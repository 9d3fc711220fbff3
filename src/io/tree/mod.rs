//! What HDF5 and Zarr have in common: a tree of groups and arrays with attributes.
//!
//! AnnData lays the same tree over both, so its encodings are read and written once (`io::anndata`), over these
//! traits, and each container implements them. A path is names joined by `/`, without one at the start; the root is the
//! empty path.
//!
//! **Reading.** Opening a node reads its header; an array is read by runs along its first dimension, from any number of
//! lanes at once, and holds besides the answer at most what [`TreeArray::scratch_bytes`] says. What a header claims is
//! compared with what the container can hold before anything is allocated for it ([`Tree::most_bytes`]), and every error
//! names the file and the node.
//!
//! **Writing.** A tree is written under a temporary name and appears when [`TreeWriter::finish`] returns; dropped before,
//! it leaves nothing. Numbers go in whole storage chunks: [`ArrayWriter::encode`] compresses, on any lane, and
//! [`ArrayWriter::put`] stores, in any order.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::array::{DType, Values};
use crate::cells::Column;
use crate::error::{Error, Result};

/// An attribute's value, or a small thing that is told with a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attribute {
    Text(String),
    Texts(Vec<String>),
    Bool(bool),
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    /// None, or of a type that no encoding uses.
    Other,
}

impl Attribute {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Attribute::Text(text) => Some(text),
            Attribute::Texts(texts) if texts.len() == 1 => texts.first().map(String::as_str),
            _ => None,
        }
    }

    /// Returns a truth value, which older writers store as a number.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self {
            Attribute::Bool(flag) => Some(*flag),
            Attribute::Integers(values) => values.first().map(|value| *value != 0),
            _ => None,
        }
    }

    pub(crate) fn integers(&self) -> Option<&[i64]> {
        match self {
            Attribute::Integers(values) => Some(values),
            _ => None,
        }
    }
}

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, Attribute>;

/// Whether a node is a group or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Group,
    Array,
}

/// What an array's elements are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Elements {
    /// Numbers or truth values, read as this dtype (half floats as float32).
    Numbers(DType),
    /// Texts, of fixed or any length.
    Texts,
    /// Records: the names of their fields.
    Records(Vec<String>),
    /// Something else: its name, for messages.
    Other(String),
}

/// A container open for reading.
pub(crate) trait Tree: Debug + Send + Sync {
    /// Returns the name of the format, as in a plan's address: `h5ad`, `zarr`.
    fn format(&self) -> &'static str;
    /// Returns the path of the file or folder.
    fn path(&self) -> &Path;
    /// Returns the bytes that the container takes in storage.
    fn stored_bytes(&self) -> u64;
    /// Returns the most bytes that all data of this container can have, however they are compressed.
    fn most_bytes(&self) -> u64;
    /// Returns another handle on the same container with caches of its own, for a reading that should leave none behind.
    fn reopen(&self) -> Result<Arc<dyn Tree>>;
    /// Returns an error when the container was replaced, cut or written to since it was opened.
    fn check_unchanged(&self) -> Result<()>;
    /// Returns what has this path, or `None`.
    fn find(&self, path: &str) -> Result<Option<NodeKind>>;
    /// Returns the members of a group by name, sorted.
    fn members(&self, group: &str) -> Result<Vec<(String, NodeKind)>>;
    /// Returns the attributes of a group or array.
    fn attributes(&self, path: &str) -> Result<Attributes>;
    /// Opens an array.
    fn array(&self, path: &str) -> Result<Arc<dyn TreeArray>>;

    /// Builds the error of a malformed place in this container.
    fn bad(&self, place: &str, expected: &str, found: &str) -> Error {
        Error::bad_input(self.path(), if place.is_empty() { "/" } else { place }, expected, found)
    }

    /// Builds the error of a sound container that holds something this version does not read.
    fn unsupported(&self, what: &str, instead: &str) -> Error {
        Error::Unsupported {
            what: format!("{}: {what}", self.path().display()).into(),
            instead: instead.to_string().into(),
        }
    }
}

/// An array of a container.
pub(crate) trait TreeArray: Debug + Send + Sync {
    /// Returns its path in the container.
    fn place(&self) -> &str;
    /// Returns the length along each dimension; a single value has none.
    fn shape(&self) -> &[u64];
    /// Returns what its elements are.
    fn elements(&self) -> &Elements;
    /// Returns the shape of a storage chunk (of an inner chunk where chunks are sharded); `None` when it is not chunked.
    fn chunks(&self) -> Option<Vec<u64>>;
    /// Returns the anonymous bytes that reading any run holds at most besides the answer.
    fn scratch_bytes(&self) -> u64;
    /// Reads the numbers of a run along the first dimension, all others whole, row-major; of a single value, `0..1`.
    fn read(&self, range: Range<u64>) -> Result<Values>;
    /// Reads the texts of a run along the first dimension, all others whole, row-major; of a single one, `0..1`.
    fn read_texts(&self, range: Range<u64>) -> Result<Vec<Option<String>>>;
    /// Reads one field of all records; a field that is an array itself gives its values record after record.
    fn read_field(&self, name: &str) -> Result<Column>;
    /// Reads one field of a run of records, as [`TreeArray::read_field`] reads it of all.
    fn read_field_run(&self, name: &str, range: Range<u64>) -> Result<Column> {
        let records = self.shape().first().copied().unwrap_or(1).max(1);
        let column = self.read_field(name)?;
        let width = column.len() / records as usize;
        Ok(column.slice(range.start as usize * width..range.end as usize * width))
    }
}

/// How the numbers of a file are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all: the fastest, and the largest.
    None,
    /// Deflate, which every reader knows, 0 to 9, after bytes of the same weight were put together.
    Gzip(u8),
    /// Zstandard, 1 to 22.
    Zstd(i32),
    /// LZ4 in blosc, with bytes shuffled: fast.
    BloscLz4,
}

/// What an array that is to be written is like.
#[derive(Clone, Debug)]
pub(crate) struct NewArray<'a> {
    pub(crate) path: &'a str,
    pub(crate) shape: Vec<u64>,
    pub(crate) dtype: DType,
    /// The lengths of a storage chunk along each dimension. Only the first dimension is cut: the others are whole.
    pub(crate) chunk_rows: u64,
    pub(crate) compression: Compression,
    pub(crate) attributes: Attributes,
}

/// A container being written, under a temporary name.
pub(crate) trait TreeWriter: Debug + Send + Sync {
    /// Creates a group; the root with the empty path, first. Parents are created before their members.
    fn group(&self, path: &str, attributes: Attributes) -> Result<()>;
    /// Creates an array of numbers, to be filled chunk by chunk.
    fn array(&self, new: &NewArray<'_>) -> Result<Arc<dyn ArrayWriter>>;
    /// Writes a single number or an array that is in memory whole; `values.len()` is the product of the shape.
    fn numbers(&self, path: &str, shape: &[u64], values: &Values, attributes: Attributes) -> Result<()>;
    /// Writes texts, or a single one when the shape is empty; a missing one becomes an empty text.
    fn texts(&self, path: &str, shape: &[u64], texts: &[Option<String>], attributes: Attributes) -> Result<()>;
    /// Writes nothing, where a value could stand; a container that has no word for it takes `false`.
    fn null(&self, path: &str, attributes: Attributes) -> Result<()> {
        self.numbers(path, &[], &Values::zeros(DType::Bool, 1), attributes)
    }
    /// Writes bytes as a single value.
    fn bytes(&self, path: &str, bytes: &[u8], attributes: Attributes) -> Result<()> {
        let _unused = (bytes, attributes);
        Err(unwritable(path, "bytes"))
    }
    /// Writes records: named fields of one length.
    fn records(&self, path: &str, fields: &[(String, Column)], attributes: Attributes) -> Result<()> {
        let _unused = (fields, attributes);
        Err(unwritable(path, "records"))
    }
    /// Makes everything durable and gives it its name. Every array must have all its chunks.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Builds the error of a value that a container cannot hold.
pub(crate) fn unwritable(path: &str, what: &str) -> Error {
    Error::Unsupported {
        what: format!("writing {path}, which is {what},").into(),
        instead: "take it out of the data, or write another format".into(),
    }
}

/// An array being written.
pub(crate) trait ArrayWriter: Debug + Send + Sync {
    /// Returns the anonymous bytes that encoding a chunk holds besides its values: the answer included.
    fn scratch_bytes(&self) -> u64;
    /// Compresses the values of a chunk; the last one may be short.
    fn encode(&self, values: &Values) -> Result<Vec<u8>>;
    /// Stores chunk number `chunk` along the first dimension.
    fn put(&self, chunk: u64, encoded: Vec<u8>) -> Result<()>;
}
