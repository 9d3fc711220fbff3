//! A Zarr store as a tree of groups and arrays, whichever version it is.
//!
//! Where the metadata of all nodes stand in one object (`.zmetadata`, or `consolidated_metadata` in the root's `zarr.json`)
//! that is what counts, as it does for Python's reader, and nothing is listed; else each node's own are read when it is
//! asked for. A store has no length that bounds its data, since chunks that are not stored are full of the fill value: what
//! is read whole may be as long as deflate could have made of what is stored, and a little.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::super::tree::{Attribute, Attributes, NodeKind, Tree, TreeArray};
use super::array::ZarrArray;
use super::meta::{self, Flaw};
use super::store::{Store, check_path, one_line};
use crate::error::{Error, Result};

/// Metadata of all nodes of a store together are no longer.
const MOST_METADATA: u64 = 256 << 20;

/// What deflate can expand.
const MOST_EXPANSION: u64 = 1032;

/// What even a store of a few bytes may be read as: a few million fill values.
const LEAST_BOUND: u64 = 64 << 20;

/// A version of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub enum Version {
    /// Version 2: `.zarray`, `.zgroup` and `.zattrs`; what AnnData wrote up to 2025, and all readers know.
    V2,
    /// Version 3: `zarr.json`; chunks can be packed into shards.
    #[default]
    V3,
}

/// A node's metadata.
#[derive(Debug)]
struct Node {
    kind: NodeKind,
    /// What describes it, and in version 3 its attributes too.
    json: Value,
    /// The attributes of version 2.
    attributes: Option<Value>,
}

/// A store that is open for reading.
#[derive(Debug)]
pub(crate) struct ZarrTree {
    store: Arc<Store>,
    version: Version,
    /// The metadata of all nodes but the root, where the store has them together.
    together: Option<BTreeMap<String, Arc<Node>>>,
    root: Arc<Node>,
}

impl ZarrTree {
    /// Opens a folder or a zip file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let store = Arc::new(Store::open(path)?);
        let tree = match json_at(&store, "zarr.json")? {
            Some(json) => Self::open_v3(store, json)?,
            None => Self::open_v2(store)?,
        };
        Ok(tree)
    }

    fn open_v3(store: Arc<Store>, json: Value) -> Result<Self> {
        let root = v3_node(&store, "zarr.json", json)?;
        let together = root.json.pointer("/consolidated_metadata/metadata").and_then(Value::as_object);
        let together = together.map(|nodes| {
            let node =
                |(path, json): (&String, &Value)| Ok((path.clone(), Arc::new(v3_node(&store, path, json.clone())?)));
            nodes.iter().filter(|(path, _)| check_path(path)).map(node).collect::<Result<_>>()
        });
        Ok(ZarrTree { together: together.transpose()?, version: Version::V3, root: Arc::new(root), store })
    }

    fn open_v2(store: Arc<Store>) -> Result<Self> {
        let Some(root) = v2_node(&store, "")? else {
            let expected = "a Zarr store, which holds zarr.json, .zgroup or .zarray";
            return Err(store.bad("", expected, "none of them"));
        };
        let together = match json_at(&store, ".zmetadata")? {
            None => None,
            Some(mut json) => match json.get_mut("metadata").map(Value::take) {
                Some(Value::Object(objects)) => Some(v2_nodes(objects)),
                _ => return Err(store.bad(".zmetadata", "an object 'metadata'", "none")),
            },
        };
        Ok(ZarrTree { store, version: Version::V2, together, root: Arc::new(root) })
    }

    fn node(&self, path: &str) -> Result<Option<Arc<Node>>> {
        if path.is_empty() {
            return Ok(Some(Arc::clone(&self.root)));
        }
        if !check_path(path) {
            return Err(self.store.bad("the name of a node", "names that stay inside the store", path));
        }
        if let Some(nodes) = &self.together {
            return Ok(nodes.get(path).map(Arc::clone));
        }
        let node = match self.version {
            Version::V2 => v2_node(&self.store, path)?,
            Version::V3 => {
                let key = format!("{path}/zarr.json");
                json_at(&self.store, &key)?.map(|json| v3_node(&self.store, &key, json)).transpose()?
            }
        };
        Ok(node.map(Arc::new))
    }

    /// Opens an array as what it is.
    pub(super) fn open_array(&self, path: &str) -> Result<ZarrArray> {
        let node = self.node(path)?.filter(|node| node.kind == NodeKind::Array);
        let node = node.ok_or_else(|| self.store.bad(path, "an array", "none"))?;
        let parsed = match self.version {
            Version::V2 => meta::parse_v2(&node.json),
            Version::V3 => meta::parse_v3(&node.json),
        };
        let meta = parsed.map_err(|flaw| match flaw {
            Flaw::Bad(expected, found) => self.store.bad(path, &expected, &found),
            Flaw::Unsupported(what, instead) => {
                self.unsupported(&format!("{}: {}", if path.is_empty() { "/" } else { path }, one_line(&what)), instead)
            }
        })?;
        Ok(ZarrArray::new(Arc::clone(&self.store), path.into(), meta, self.most_bytes()))
    }
}

/// Reads an object of JSON, or `None`.
fn json_at(store: &Store, key: &str) -> Result<Option<Value>> {
    let Some(bytes) = store.read(key, MOST_METADATA)? else { return Ok(None) };
    match serde_json::from_slice(&bytes) {
        Ok(json @ Value::Object(_)) => Ok(Some(json)),
        Ok(_) => Err(store.bad(key, "an object of JSON", "another value")),
        Err(error) => Err(store.bad(key, "JSON", &error.to_string())),
    }
}

fn v3_node(store: &Store, key: &str, json: Value) -> Result<Node> {
    let kind = match json.get("node_type").and_then(Value::as_str) {
        Some("array") => NodeKind::Array,
        Some("group") => NodeKind::Group,
        other => return Err(store.bad(key, "the node_type \"array\" or \"group\"", &format!("{other:?}"))),
    };
    match json.get("zarr_format").and_then(Value::as_u64) {
        Some(3) => Ok(Node { kind, json, attributes: None }),
        other => Err(store.bad(key, "the zarr_format 3", &format!("{other:?}"))),
    }
}

fn v2_node(store: &Store, path: &str) -> Result<Option<Node>> {
    let key = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}/{name}") };
    let (kind, json) = match json_at(store, &key(".zarray"))? {
        Some(json) => (NodeKind::Array, json),
        None => match json_at(store, &key(".zgroup"))? {
            Some(json) => (NodeKind::Group, json),
            None => return Ok(None),
        },
    };
    Ok(Some(Node { kind, json, attributes: json_at(store, &key(".zattrs"))? }))
}

/// Sorts the objects of a `.zmetadata` by node.
fn v2_nodes(objects: serde_json::Map<String, Value>) -> BTreeMap<String, Arc<Node>> {
    let (mut nodes, mut attributes): (BTreeMap<String, Node>, BTreeMap<String, Value>) = Default::default();
    for (key, json) in objects {
        let (path, name) = key.rsplit_once('/').unwrap_or(("", &key));
        if !check_path(path) {
            continue;
        }
        let kind = match name {
            ".zarray" => NodeKind::Array,
            ".zgroup" => NodeKind::Group,
            ".zattrs" => {
                attributes.insert(path.into(), json);
                continue;
            }
            _ => continue,
        };
        nodes.insert(path.into(), Node { kind, json, attributes: None });
    }
    let whole = |(path, node): (String, Node)| {
        let attributes = attributes.remove(&path);
        (path, Arc::new(Node { attributes, ..node }))
    };
    nodes.into_iter().map(whole).collect()
}

impl Tree for ZarrTree {
    fn format(&self) -> &'static str {
        "zarr"
    }

    fn path(&self) -> &Path {
        self.store.path()
    }

    fn stored_bytes(&self) -> u64 {
        self.store.stored_bytes()
    }

    fn most_bytes(&self) -> u64 {
        self.stored_bytes().saturating_mul(MOST_EXPANSION).saturating_add(LEAST_BOUND)
    }

    fn reopen(&self) -> Result<Arc<dyn Tree>> {
        self.check_unchanged()?;
        Ok(Arc::new(ZarrTree::open(self.path())?))
    }

    fn check_unchanged(&self) -> Result<()> {
        self.store.check_unchanged()
    }

    fn find(&self, path: &str) -> Result<Option<NodeKind>> {
        Ok(self.node(path)?.map(|node| node.kind))
    }

    fn members(&self, group: &str) -> Result<Vec<(String, NodeKind)>> {
        if self.node(group)?.is_none_or(|node| node.kind != NodeKind::Group) {
            return Err(self.bad(group, "a group", "none"));
        }
        let path = |name: &str| if group.is_empty() { name.to_string() } else { format!("{group}/{name}") };
        if let Some(nodes) = &self.together {
            let prefix = path("");
            let below =
                nodes.range(prefix.clone()..).map_while(|(path, node)| Some((path.strip_prefix(&prefix)?, node)));
            let direct = below.filter(|(name, _)| !name.is_empty() && !name.contains('/'));
            return Ok(direct.map(|(name, node)| (name.to_string(), node.kind)).collect());
        }
        let mut members = Vec::new();
        for name in self.store.folders(group)?.into_iter().filter(|name| check_path(name)) {
            if let Some(kind) = self.find(&path(&name))? {
                members.push((name, kind));
            }
        }
        members.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(members)
    }

    fn attributes(&self, path: &str) -> Result<Attributes> {
        let Some(node) = self.node(path)? else { return Err(self.bad(path, "a group or an array", "none")) };
        let json = match self.version {
            Version::V2 => node.attributes.as_ref(),
            Version::V3 => node.json.get("attributes"),
        };
        let Some(json) = json.and_then(Value::as_object) else { return Ok(Attributes::new()) };
        Ok(json.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
    }

    fn array(&self, path: &str) -> Result<Arc<dyn TreeArray>> {
        Ok(Arc::new(self.open_array(path)?))
    }

    fn bad(&self, place: &str, expected: &str, found: &str) -> Error {
        self.store.bad(place, expected, found)
    }
}

fn attribute(json: &Value) -> Attribute {
    match json {
        Value::String(text) => Attribute::Text(text.clone()),
        Value::Bool(value) => Attribute::Bool(*value),
        Value::Number(_) => numbers(std::slice::from_ref(json)),
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_string)).collect();
            texts.map_or_else(|| numbers(items), Attribute::Texts)
        }
        Value::Null | Value::Object(_) => Attribute::Other,
    }
}

fn numbers(items: &[Value]) -> Attribute {
    if let Some(integers) = items.iter().map(Value::as_i64).collect() {
        return Attribute::Integers(integers);
    }
    items.iter().map(Value::as_f64).collect::<Option<_>>().map_or(Attribute::Other, Attribute::Numbers)
}
