//! What an array's metadata say, the same for both versions of the format.
//!
//! [`v2`] and [`v3`] turn their JSON into an [`ArrayMeta`]: everything that reading needs, checked. Sizes are positive
//! and their products fit, ranks agree, a chunk is at most 1 GiB, codecs are known and stand in an order that makes sense.
//! What is malformed is a [`Flaw`] of one kind, what is sound but not read here one of the other.

mod element;
mod fill;
mod v2;
mod v3;

use serde_json::Value;

use super::super::codecs::Codec;
pub(super) use element::{Element, Field};
pub(super) use fill::{Fill, widened};
pub(super) use v2::parse as parse_v2;
pub(super) use v3::parse as parse_v3;

/// Each decoded chunk is held in memory as a whole, and no real one is larger.
pub(super) const LARGEST_CHUNK: u64 = 1 << 30;

/// A shard's index has 16 bytes for each chunk.
const MOST_CHUNKS_IN_A_SHARD: u64 = 1 << 22;

/// NumPy's own limit.
const MOST_DIMENSIONS: usize = 64;

/// What is wrong with metadata.
#[derive(Debug)]
pub(super) enum Flaw {
    /// Malformed: what was expected, what was found.
    Bad(String, String),
    /// Sound, but not read by this version: what, and what would do instead.
    Unsupported(String, &'static str),
}

impl Flaw {
    pub(super) fn bad(expected: &str, found: impl Into<String>) -> Self {
        Flaw::Bad(expected.into(), found.into())
    }
}

/// How chunks are found in a shard.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shard {
    pub(super) at_end: bool,
    pub(super) checked: bool,
    pub(super) big_endian: bool,
}

/// How the key of a stored object is made of its place in the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Keys {
    /// Whether the key begins with `c`.
    pub(super) prefix: bool,
    pub(super) separator: char,
}

/// An array's metadata.
#[derive(Clone, Debug)]
pub(super) struct ArrayMeta {
    /// The length along each dimension; none for a single value.
    pub(super) shape: Vec<u64>,
    /// The shape of a stored object: a chunk, or a shard.
    pub(super) object: Vec<u64>,
    /// The shape of a chunk.
    pub(super) chunk: Vec<u64>,
    /// How chunks are found in an object, where it is a shard.
    pub(super) shard: Option<Shard>,
    pub(super) element: Element,
    pub(super) fill: Fill,
    /// The axes in the order in which a chunk's values are stored, slowest first.
    pub(super) order: Vec<usize>,
    /// From the stored bytes on, in the order in which they are undone.
    pub(super) codecs: Vec<Codec>,
    pub(super) keys: Keys,
}

impl ArrayMeta {
    /// Checks what both versions have in common.
    pub(super) fn check(self) -> Result<Self, Flaw> {
        let rank = self.shape.len();
        if rank > MOST_DIMENSIONS {
            return Err(Flaw::bad("at most 64 dimensions", format!("{rank}")));
        }
        for (what, shape) in [("a chunk", &self.object), ("an inner chunk", &self.chunk)] {
            if shape.len() != rank {
                let expected = format!("{what} of {rank} dimensions, as the array has");
                return Err(Flaw::Bad(expected, format!("shape {shape:?}")));
            }
        }
        let width = self.element.width().unwrap_or(1) as u64;
        let bytes = |shape: &[u64]| shape.iter().try_fold(width, |bytes, len| bytes.checked_mul((*len).max(1)));
        if bytes(&self.shape).is_none_or(|bytes| bytes >= 1 << 62) {
            return Err(Flaw::bad("a shape of fewer than 2^62 bytes", format!("{:?}", self.shape)));
        }
        if bytes(&self.chunk).is_none_or(|bytes| bytes > LARGEST_CHUNK) {
            return Err(Flaw::bad("a chunk of at most 1 GiB", format!("shape {:?} of {width} bytes", self.chunk)));
        }
        let divides = self.object.iter().zip(&self.chunk).all(|(object, chunk)| object.is_multiple_of(*chunk));
        let within = self.chunks_in_object().is_some_and(|chunks| chunks <= MOST_CHUNKS_IN_A_SHARD);
        if !divides || !within {
            let found = format!("shards {:?} of chunks {:?}", self.object, self.chunk);
            return Err(Flaw::bad("shards that are at most 4194304 whole chunks", found));
        }
        Ok(self)
    }

    /// Returns how many chunks an object is made of.
    pub(super) fn chunks_in_object(&self) -> Option<u64> {
        let counts = self.object.iter().zip(&self.chunk).map(|(object, chunk)| object / chunk);
        counts.into_iter().try_fold(1u64, u64::checked_mul)
    }
}

/// Reads lengths, each at least `least`.
fn lengths(json: Option<&Value>, what: &str, least: u64) -> Result<Vec<u64>, Flaw> {
    let found = || json.map_or_else(|| "none".to_string(), Value::to_string);
    let expected = || format!("{what}: whole numbers from {least} on");
    let items = json.and_then(Value::as_array).ok_or_else(|| Flaw::Bad(expected(), found()))?;
    let length = |item: &Value| item.as_u64().filter(|len| *len >= least && *len < 1 << 62);
    items.iter().map(length).collect::<Option<_>>().ok_or_else(|| Flaw::Bad(expected(), found()))
}

fn text_of<'a>(json: &'a Value, key: &str) -> Option<&'a str> {
    json.get(key)?.as_str()
}
