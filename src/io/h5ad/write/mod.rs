//! Writing HDF5: a file of groups, arrays and attributes, from any number of lanes at once.
//!
//! ```text
//! superblock │ chunks, heaps of texts, in the order in which they came │ trees of chunks │ headers │    a file
//!     ▲                                                                                     │
//!     └──────────────────────────── written last: where the root's header is ◀─────────────┘
//! ```
//! Chunks are compressed by whoever has their values, and stored wherever the file ends at that moment. What an object is
//! (its header) is known when all of it is written, so headers come at the end, members before their groups.
//!
//! No library that this project could use takes chunks that are compressed already: they would compress one after
//! another, on one thread, or hold the file in memory. So this folder writes HDF5 itself, as version 1.8 of the C library
//! does when it is asked for its latest format: superblock 2, object headers 2, links in the groups' headers, trees of
//! version 1 over chunks, texts in global heaps (HDF5 File Format Specification 3.0, The HDF Group).
//!
//! Always true: nothing is under the file's name before [`TreeWriter::finish`]; what is held in memory is a heap of 64 KiB,
//! the attributes, and 16 bytes for each chunk.

mod chunks;
mod heap;
mod message;
mod sink;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::array::Values;
use crate::cells::Column;
use crate::error::{Error, Result};
use crate::io::new_file::NewFile;
use crate::io::tree::{ArrayWriter, Attribute, Attributes, Compression, NewArray, TreeWriter, unwritable};
use crate::runtime::lock;
use chunks::{Chunks, little_endian};
use heap::Heap;
use message::{
    Layout, Message, NOWHERE, SUPERBLOCK, Type, attribute, dataset, group, header, no_space, space, superblock,
};
use sink::Sink;

/// An HDF5 file being written.
#[derive(Debug)]
pub(crate) struct Hdf5Writer {
    /// The temporary file, which goes when this is dropped.
    file: NewFile,
    sink: Arc<Sink>,
    heap: Mutex<Heap>,
    /// What was created, by its path.
    nodes: Mutex<BTreeMap<String, Node>>,
}

/// An object of the file, with its attributes.
#[derive(Debug)]
struct Node {
    content: Content,
    attributes: Vec<Message>,
}

#[derive(Debug)]
enum Content {
    Group,
    /// An array whose values are there.
    Written(Vec<Message>),
    /// An array whose chunks are being written.
    Chunks(Arc<Chunks>),
}

impl Hdf5Writer {
    /// Starts a file that will have this name.
    ///
    /// # Errors
    /// `Io` when the folder cannot be written to; `BadInput` when the path is a folder.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = NewFile::create(path)?;
        let sink = Arc::new(Sink::new(file.handle()?, path, SUPERBLOCK));
        Ok(Hdf5Writer { file, sink, heap: Mutex::default(), nodes: Mutex::default() })
    }

    /// Adds an object.
    fn add(&self, path: &str, content: Content, attributes: Attributes) -> Result<()> {
        let encoded = attributes.iter().map(|(name, value)| self.attribute(path, name, value));
        let node = Node { content, attributes: encoded.collect::<Result<_>>()? };
        lock(&self.nodes).insert(path.to_string(), node);
        Ok(())
    }

    /// Adds an array whose bytes are there.
    fn add_bytes(&self, path: &str, shape: &[u64], of: &Type, bytes: &[u8], attributes: Attributes) -> Result<()> {
        let at = if bytes.is_empty() { NOWHERE } else { self.sink.append(bytes)? };
        let layout = Layout::Contiguous(at, bytes.len() as u64);
        self.add(path, Content::Written(dataset(space(shape), of, &layout, None)), attributes)
    }

    /// Stores texts and returns what stands for them.
    fn insert_texts<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Result<Vec<u8>> {
        let mut heap = lock(&self.heap);
        let mut all = Vec::with_capacity(texts.size_hint().0 * 16);
        for text in texts {
            all.extend_from_slice(&heap.insert(text.as_bytes(), &self.sink)?);
        }
        Ok(all)
    }

    /// Returns the message of an attribute.
    fn attribute(&self, path: &str, name: &str, value: &Attribute) -> Result<Message> {
        let number = |dtype| Type::Number(dtype);
        let (shape, element, bytes) = match value {
            Attribute::Text(text) => (vec![], Type::Text, self.insert_texts([text.as_str()].into_iter())?),
            Attribute::Texts(texts) => {
                (vec![texts.len() as u64], Type::Text, self.insert_texts(texts.iter().map(String::as_str))?)
            }
            Attribute::Bool(value) => (vec![], number(crate::array::DType::Bool), vec![u8::from(*value)]),
            Attribute::Integers(all) => vector(Values::from(all.clone())),
            Attribute::Numbers(all) => vector(Values::from(all.clone())),
            Attribute::Other => return Err(unwritable(path, &format!("with its attribute {name}"))),
        };
        Ok(attribute(name, &space(&shape), &element, &bytes))
    }

    /// Writes an object's header and returns where it is.
    fn write_header(&self, path: &str, mut messages: Vec<Message>, node: &Node) -> Result<u64> {
        messages.extend_from_slice(&node.attributes);
        let encoded = header(&messages).map_err(|long| Error::Unsupported {
            what: format!("{}: a header of {} bytes at /{path}", self.sink.path().display(), long.body.len()).into(),
            instead: "HDF5 has 64 KiB for an attribute, 4000 names of columns: write fewer columns, or Zarr".into(),
        })?;
        self.sink.append(&encoded)
    }

    /// Writes all headers, members before their groups, and returns where the root's is.
    fn write_headers(&self) -> Result<u64> {
        let nodes = lock(&self.nodes);
        // Where the objects are that have no group yet, by their path: a group's members are together, and follow it.
        let mut written: BTreeMap<&str, u64> = BTreeMap::new();
        for (path, node) in nodes.iter().rev() {
            let messages = match &node.content {
                Content::Written(messages) => messages.clone(),
                Content::Chunks(chunks) => chunks.messages()?,
                Content::Group => {
                    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
                    // What lies deeper has its group already, and is gone from here.
                    let inside = written.range(&*prefix..).map(|(place, _)| *place);
                    let members: Vec<&str> = inside.take_while(|place| place.starts_with(&prefix)).collect();
                    let links = members
                        .into_iter()
                        .filter_map(|place| written.remove(place).map(|address| (&place[prefix.len()..], address)));
                    group(links)
                }
            };
            let address = self.write_header(path, messages, node)?;
            written.insert(path, address);
        }
        match (written.remove(""), written.keys().next()) {
            (Some(root), None) => Ok(root),
            (_, orphan) => {
                let found = format!("{orphan:?} in no group");
                Err(Error::bad_argument("write h5ad", "tree", found, "a root, and parents before their members"))
            }
        }
    }
}

/// Returns the shape, element and bytes of a vector.
fn vector(values: Values) -> (Vec<u64>, Type, Vec<u8>) {
    (vec![values.len() as u64], Type::Number(values.dtype()), little_endian(&values))
}

impl TreeWriter for Hdf5Writer {
    fn group(&self, path: &str, attributes: Attributes) -> Result<()> {
        self.add(path, Content::Group, attributes)
    }

    fn array(&self, new: &NewArray<'_>) -> Result<Arc<dyn ArrayWriter>> {
        let level = match new.compression {
            Compression::None => None,
            Compression::Gzip(level) => Some(level.min(9)),
            other => {
                return Err(Error::Unsupported {
                    what: format!("{}: compressing by {other:?}", self.sink.path().display()).into(),
                    instead: "HDF5 of every program reads Gzip".into(),
                });
            }
        };
        let chunks = Arc::new(Chunks::new(&self.sink, new.path, &new.shape, new.dtype, new.chunk_rows, level)?);
        self.add(new.path, Content::Chunks(chunks.clone()), new.attributes.clone())?;
        Ok(chunks)
    }

    fn numbers(&self, path: &str, shape: &[u64], values: &Values, attributes: Attributes) -> Result<()> {
        self.add_bytes(path, shape, &Type::Number(values.dtype()), &little_endian(values), attributes)
    }

    fn texts(&self, path: &str, shape: &[u64], texts: &[Option<String>], attributes: Attributes) -> Result<()> {
        let references = self.insert_texts(texts.iter().map(|text| text.as_deref().unwrap_or_default()))?;
        self.add_bytes(path, shape, &Type::Text, &references, attributes)
    }

    fn null(&self, path: &str, attributes: Attributes) -> Result<()> {
        let element = Type::Number(crate::array::DType::F32);
        let messages = dataset(no_space(), &element, &Layout::Contiguous(NOWHERE, 0), None);
        self.add(path, Content::Written(messages), attributes)
    }

    fn bytes(&self, path: &str, bytes: &[u8], attributes: Attributes) -> Result<()> {
        // A text of fixed length has at least one byte, which is NUL where there is nothing.
        let bytes = if bytes.is_empty() { &[0] } else { bytes };
        self.add_bytes(path, &[], &Type::Bytes(bytes.len() as u32), bytes, attributes)
    }

    fn records(&self, path: &str, fields: &[(String, Column)], attributes: Attributes) -> Result<()> {
        let n = fields.first().map_or(0, |(_, column)| column.len());
        let encoded = fields.iter().map(|(name, column)| Ok((name.clone(), self.field(column)?)));
        let encoded: Vec<(String, (Type, Vec<u8>))> = encoded.collect::<Result<_>>()?;
        let mut rows = Vec::new();
        for row in 0..n {
            for (_, (element, bytes)) in &encoded {
                let size = element.size() as usize;
                rows.extend_from_slice(&bytes[row * size..(row + 1) * size]);
            }
        }
        let element = Type::Record(encoded.into_iter().map(|(name, (element, _))| (name, element)).collect());
        self.add_bytes(path, &[n as u64], &element, &rows, attributes)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        lock(&self.heap).flush(&self.sink)?;
        let root = self.write_headers()?;
        self.sink.fill_up()?;
        self.sink.write_at(&superblock(self.sink.end(), root), 0)?;
        self.file.commit()
    }
}

impl Hdf5Writer {
    /// Encodes the column of a record: what an element is, and the bytes of all.
    fn field(&self, column: &Column) -> Result<(Type, Vec<u8>)> {
        Ok(match column {
            Column::Numbers(numbers) => (Type::Number(numbers.dtype()), little_endian(numbers.values())),
            Column::Bools(all) => {
                let bytes = all.iter().map(|value| u8::from(value.unwrap_or_default())).collect();
                (Type::Number(crate::array::DType::Bool), bytes)
            }
            Column::Strings(all) => {
                (Type::Text, self.insert_texts(all.iter().map(|text| text.as_deref().unwrap_or_default()))?)
            }
            Column::Categories(all) => {
                let names = (0..all.codes.len()).map(|row| all.name(row).unwrap_or_default());
                (Type::Text, self.insert_texts(names)?)
            }
        })
    }
}
