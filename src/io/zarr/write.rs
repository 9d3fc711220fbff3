//! A store being written: a folder under a temporary name.
//!
//! ```text
//! create   .name.part-PID-N beside the target
//! group    zarr.json, or .zgroup and .zattrs; kept for the metadata of all nodes together
//! array    the same; chunks are encoded on any lane and stored as files, in any order
//! finish   every chunk is there ▸ consolidated metadata ▸ syncfs ▸ renamed ▸ the parent folder synced
//! drop     (without finish) the temporary folder is removed
//! ```
//!
//! Chunks are whole: the last one is filled up, as Python's readers expect. With shards, a file is a chunk of
//! [`NewArray::chunk_rows`] rows that holds smaller chunks, each readable on its own. Metadata of all nodes stand together
//! at the root, as anndata writes them, so that readers list nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::super::codecs;
use super::super::tree::{ArrayWriter, Attribute, Attributes, Compression, NewArray, TreeWriter};
use super::encode::{ArrayLayout, zarr_type};
use super::new_folder::NewFolder;
use super::records;
use super::store::check_path;
use super::texts::to_any_length;
use super::tree::Version;
use crate::array::{DType, Values};
use crate::cells::Column;
use crate::error::{Error, Result};

/// How a store is to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreOptions {
    pub(crate) version: Version,
    /// The most bytes of a chunk within a shard; `None` writes chunks without shards, as version 2 always does.
    pub(crate) inner_bytes: Option<u64>,
}

/// A store that is being written.
#[derive(Debug)]
pub(crate) struct ZarrWriter {
    shared: Arc<Shared>,
    options: StoreOptions,
}

#[derive(Debug)]
struct Shared {
    folder: NewFolder,
    /// The metadata of all nodes: in version 2 by the names of their objects, in version 3 by their paths.
    nodes: Mutex<BTreeMap<String, Value>>,
    arrays: Mutex<Vec<Arc<Missing>>>,
}

/// The chunks of an array that are not stored yet.
#[derive(Debug)]
struct Missing {
    path: String,
    chunks: Mutex<BTreeSet<u64>>,
}

impl ZarrWriter {
    /// Begins a store that will replace one at `path`, but nothing else.
    pub(crate) fn create(path: &Path, options: StoreOptions) -> Result<Self> {
        let folder = NewFolder::create(path)?;
        let shared = Shared { folder, nodes: Mutex::default(), arrays: Mutex::default() };
        Ok(ZarrWriter { shared: Arc::new(shared), options })
    }

    /// Writes a node's metadata and keeps them.
    fn node(&self, path: &str, kind: &str, mut node: Map<String, Value>, attributes: Attributes) -> Result<()> {
        if !check_path(path) {
            let found = super::store::one_line(path);
            return Err(Error::bad_argument("write zarr", "path", found, "names without '/', '.' and '..'"));
        }
        let key = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}/{name}") };
        let attributes = Value::Object(attributes.iter().map(|(name, value)| (name.clone(), to_json(value))).collect());
        match self.options.version {
            Version::V2 => {
                node.insert("zarr_format".into(), 2.into());
                for (name, json) in [(format!(".z{kind}"), Value::Object(node)), (".zattrs".into(), attributes)] {
                    self.shared.put_json(&key(&name), &json)?;
                    self.shared.keep(key(&name), json);
                }
            }
            Version::V3 => {
                node.insert("zarr_format".into(), 3.into());
                node.insert("node_type".into(), kind.into());
                node.insert("attributes".into(), attributes);
                let node = Value::Object(node);
                self.shared.put_json(&key("zarr.json"), &node)?;
                self.shared.keep(path.into(), node);
            }
        }
        Ok(())
    }

    /// Creates an array of numbers whose one dimension, the first, is cut.
    pub(super) fn new_array(&self, new: &NewArray<'_>) -> Result<Arc<ZarrArrayWriter>> {
        let layout = ArrayLayout::new(new, &self.options)?;
        let kind =
            layout.metadata(zarr_type(new.dtype, self.options.version), fill_of(new.dtype), self.options.version);
        self.node(new.path, "array", kind, new.attributes.clone())?;
        let chunks = Mutex::new((0..layout.n_chunks()).collect());
        let missing = Arc::new(Missing { path: new.path.into(), chunks });
        self.shared.arrays.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&missing));
        let (shared, version) = (Arc::clone(&self.shared), self.options.version);
        Ok(Arc::new(ZarrArrayWriter { shared, layout, version, missing }))
    }
}

impl Shared {
    fn keep(&self, key: String, json: Value) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(key, json);
    }

    fn put_json(&self, key: &str, json: &Value) -> Result<()> {
        let text = serde_json::to_vec(json).expect("values of JSON are written into memory");
        self.folder.put(key, &text)
    }
}

impl TreeWriter for ZarrWriter {
    fn group(&self, path: &str, attributes: Attributes) -> Result<()> {
        self.node(path, "group", Map::new(), attributes)
    }

    fn array(&self, new: &NewArray<'_>) -> Result<Arc<dyn ArrayWriter>> {
        Ok(self.new_array(new)?)
    }

    fn numbers(&self, path: &str, shape: &[u64], values: &Values, attributes: Attributes) -> Result<()> {
        let chunk_rows = shape.first().copied().unwrap_or(1).max(1);
        let compression = if shape.is_empty() { Compression::None } else { Compression::Zstd(3) };
        let (dtype, shape) = (values.dtype(), shape.to_vec());
        let new = NewArray { path, shape, dtype, chunk_rows, compression, attributes };
        let array = self.new_array(&new)?;
        if values.is_empty() { Ok(()) } else { array.put(0, array.encode(values)?) }
    }

    fn texts(&self, path: &str, shape: &[u64], texts: &[Option<String>], attributes: Attributes) -> Result<()> {
        let chunk: Vec<u64> = shape.iter().map(|len| (*len).max(1)).collect();
        let node = match self.options.version {
            Version::V2 => json!({
                "shape": shape, "chunks": chunk, "dtype": "|O", "fill_value": "", "order": "C",
                "filters": [{"id": "vlen-utf8"}], "compressor": {"id": "zstd", "level": 3},
            }),
            Version::V3 => json!({
                "shape": shape, "data_type": "string", "fill_value": "", "storage_transformers": [],
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "codecs": [
                    {"name": "vlen-utf8", "configuration": {}},
                    {"name": "zstd", "configuration": {"level": 3, "checksum": false}},
                ],
            }),
        };
        let Value::Object(node) = node else { unreachable!("the macro was given an object") };
        self.node(path, "array", node, attributes)?;
        if texts.is_empty() {
            return Ok(());
        }
        let bytes = to_any_length(texts.iter().map(|text| text.as_deref().unwrap_or_default()));
        let stored = codecs::zstd(&bytes, 3).map_err(|source| Error::io("compress", path, source))?;
        self.shared.folder.put(&chunk_key(path, self.options.version, 0, shape.len()), &stored)
    }

    fn records(&self, path: &str, fields: &[(String, Column)], attributes: Attributes) -> Result<()> {
        let (node, bytes) = records::encode(fields, self.options.version);
        let Value::Object(node) = node else { unreachable!("metadata are an object") };
        self.node(path, "array", node, attributes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let stored = codecs::zstd(&bytes, 3).map_err(|source| Error::io("compress", path, source))?;
        self.shared.folder.put(&chunk_key(path, self.options.version, 0, 1), &stored)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        for array in self.shared.arrays.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            array.check_none()?;
        }
        let nodes = std::mem::take(&mut *self.shared.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        match self.options.version {
            Version::V2 => {
                self.shared.put_json(".zmetadata", &json!({"metadata": nodes, "zarr_consolidated_format": 1}))?;
            }
            Version::V3 => {
                let mut nodes = nodes;
                let mut root = nodes.remove("").unwrap_or_else(|| json!({"zarr_format": 3, "node_type": "group"}));
                // An array alone has no nodes below it.
                if root["node_type"] == "group" {
                    root["consolidated_metadata"] =
                        json!({"kind": "inline", "must_understand": false, "metadata": nodes});
                }
                self.shared.put_json("zarr.json", &root)?;
            }
        }
        self.shared.folder.commit()
    }
}

/// An array of a store that is being written.
#[derive(Debug)]
pub(super) struct ZarrArrayWriter {
    shared: Arc<Shared>,
    layout: ArrayLayout,
    version: Version,
    missing: Arc<Missing>,
}

impl Missing {
    fn check_none(&self) -> Result<()> {
        let missing = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = missing.first() else { return Ok(()) };
        let found = format!("{} missing, the first of them number {first}", missing.len());
        Err(Error::bad_argument("write zarr", "chunks", found, format!("all chunks of {:?}", self.path)))
    }
}

impl ArrayWriter for ZarrArrayWriter {
    fn scratch_bytes(&self) -> u64 {
        self.layout.scratch_bytes()
    }

    fn encode(&self, values: &Values) -> Result<Vec<u8>> {
        self.layout.encode(values).map_err(|source| Error::io("compress", self.missing.path.as_str(), source))
    }

    fn put(&self, chunk: u64, encoded: Vec<u8>) -> Result<()> {
        if chunk >= self.layout.n_chunks() {
            return Err(Error::OutOfRange { operation: "write zarr", index: chunk, len: self.layout.n_chunks() });
        }
        let key = chunk_key(&self.missing.path, self.version, chunk, self.layout.rank());
        self.shared.folder.put(&key, &encoded)?;
        self.missing.chunks.lock().unwrap_or_else(PoisonError::into_inner).remove(&chunk);
        Ok(())
    }
}

/// Returns the key of a chunk of whole rows.
fn chunk_key(path: &str, version: Version, chunk: u64, rank: usize) -> String {
    let (first, separator) = match version {
        Version::V2 => (None, "."),
        Version::V3 => (Some("c".to_string()), "/"),
    };
    let numbers = (0..rank).map(|axis| if axis == 0 { chunk.to_string() } else { "0".to_string() });
    let mut parts: Vec<String> = first.into_iter().chain(numbers).collect();
    if parts.is_empty() {
        parts.push("0".into());
    }
    let key = parts.join(separator);
    if path.is_empty() { key } else { format!("{path}/{key}") }
}

fn fill_of(dtype: DType) -> Value {
    match dtype {
        DType::Bool => false.into(),
        DType::F32 | DType::F64 => 0.0.into(),
        _ => 0.into(),
    }
}

fn to_json(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Text(text) => text.as_str().into(),
        Attribute::Texts(texts) => texts.as_slice().into(),
        Attribute::Bool(value) => (*value).into(),
        Attribute::Integers(values) => one_or_many(values),
        Attribute::Numbers(values) => one_or_many(values),
        Attribute::Other => Value::Null,
    }
}

/// One number stands alone: a list of one, as in a shape of a single dimension, no encoding uses.
fn one_or_many<T: Copy + Into<Value>>(values: &[T]) -> Value {
    match values {
        [one] => (*one).into(),
        many => many.iter().map(|value| (*value).into()).collect(),
    }
}
