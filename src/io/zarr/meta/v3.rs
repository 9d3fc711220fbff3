//! Version 3: `zarr.json` with a chain of codecs, which may be one that packs chunks into shards.
//!
//! The chain is read from the values to the bytes: transpositions, then what makes bytes of values (`bytes`, `vlen-utf8`,
//! or `sharding_indexed`, which has a chain of its own for the chunks inside), then compressions. Shards are read here when
//! nothing is done to them as a whole, which is how they are written: else every chunk would cost a whole shard.
//!
//! Source: Zarr core specification version 3, zarr-specs.readthedocs.io, §"Array metadata"; codecs/sharding-indexed v1.0.

use serde_json::Value;

use super::super::super::codecs::Codec;
use super::{ArrayMeta, Element, Fill, Flaw, Keys, Shard, lengths, text_of};

/// A chain of codecs.
#[derive(Default)]
struct Chain {
    order: Option<Vec<usize>>,
    big_endian: bool,
    sharding: Option<Value>,
    /// In the order in which they are undone.
    codecs: Vec<Codec>,
}

/// Reads the content of an array's `zarr.json`.
pub(in super::super) fn parse(json: &Value) -> Result<ArrayMeta, Flaw> {
    let shape = lengths(json.get("shape"), "shape", 0)?;
    let grid = json.get("chunk_grid").unwrap_or(&Value::Null);
    if text_of(grid, "name") != Some("regular") {
        let what = format!("the chunk grid {}", grid.get("name").unwrap_or(&Value::Null));
        return Err(Flaw::Unsupported(what, "store the array with a regular chunk grid"));
    }
    let object = lengths(grid.pointer("/configuration/chunk_shape"), "chunk_shape", 1)?;
    if json.get("storage_transformers").and_then(Value::as_array).is_some_and(|some| !some.is_empty()) {
        return Err(Flaw::Unsupported("storage transformers".into(), "store the array without"));
    }
    let dtype = json.get("data_type").ok_or_else(|| Flaw::bad("a data_type", "none"))?;
    let element = Element::v3(dtype)?;
    let fill = Fill::read(json.get("fill_value"), &element)?;
    let outer = chain(json.get("codecs"), &element)?;
    let (chain, chunk, shard) = match &outer.sharding {
        None => (outer, object.clone(), None),
        Some(_) if outer.order.is_some() || !outer.codecs.is_empty() => {
            let what = "shards that are transposed or compressed as a whole".into();
            return Err(Flaw::Unsupported(what, "compress the chunks inside the shards"));
        }
        Some(sharding) => {
            let inner = chain(sharding.get("codecs"), &element)?;
            if inner.sharding.is_some() {
                return Err(Flaw::Unsupported(
                    "shards within shards".into(),
                    "store the array with one level of shards",
                ));
            }
            (inner, lengths(sharding.get("chunk_shape"), "chunk_shape", 1)?, Some(index(sharding)?))
        }
    };
    let order = chain.order.unwrap_or_else(|| (0..shape.len()).collect());
    if order.len() != shape.len() {
        return Err(Flaw::bad("a transposition of all dimensions", format!("{order:?}")));
    }
    let element = element.with_order(chain.big_endian);
    let keys = keys(json.get("chunk_key_encoding"))?;
    ArrayMeta { shape, object, chunk, shard, element, fill, order, codecs: chain.codecs, keys }.check()
}

fn chain(json: Option<&Value>, element: &Element) -> Result<Chain, Flaw> {
    let expected = "codecs, one of which makes bytes of values";
    let codecs = json.and_then(Value::as_array).ok_or_else(|| Flaw::bad(expected, "none"))?;
    let (mut chain, mut bytes) = (Chain::default(), false);
    for json in codecs {
        let name = json.as_str().or_else(|| text_of(json, "name")).unwrap_or_default();
        let configuration = json.get("configuration").unwrap_or(&Value::Null);
        match (name, bytes) {
            ("transpose", false) => chain.order = Some(transposed(chain.order, configuration)?),
            ("bytes", false) => {
                chain.big_endian = text_of(configuration, "endian") == Some("big");
                bytes = *element != Element::Texts;
            }
            ("vlen-utf8", false) => bytes = *element == Element::Texts,
            ("sharding_indexed", false) => {
                chain.sharding = Some(configuration.clone());
                bytes = true;
            }
            (_, true) => chain.codecs.push(codec(name, configuration)?),
            _ => return Err(Flaw::bad(expected, super::super::store::one_line(&json.to_string()))),
        }
    }
    if !bytes {
        return Err(Flaw::bad(expected, "none that does for this type"));
    }
    chain.codecs.reverse();
    Ok(chain)
}

/// Follows one transposition by another.
fn transposed(before: Option<Vec<usize>>, configuration: &Value) -> Result<Vec<usize>, Flaw> {
    let axes = lengths(configuration.get("order"), "order", 0)?;
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    let rank = before.as_ref().map_or(axes.len(), Vec::len);
    if axes.len() != rank || !sorted.iter().copied().eq(0..axes.len() as u64) {
        return Err(Flaw::bad("an order that names each dimension once", format!("{axes:?}")));
    }
    let axes = axes.into_iter().map(|axis| axis as usize);
    Ok(match before {
        Some(before) => axes.map(|axis| before[axis]).collect(),
        None => axes.collect(),
    })
}

fn codec(name: &str, configuration: &Value) -> Result<Codec, Flaw> {
    match name.strip_prefix("numcodecs.").unwrap_or(name) {
        "blosc" => Ok(Codec::Blosc),
        "zstd" => Ok(Codec::Zstd),
        "gzip" => Ok(Codec::Gzip),
        "zlib" => Ok(Codec::Zlib),
        "lz4" => Ok(Codec::Lz4),
        "shuffle" => Ok(Codec::Shuffle(configuration.get("elementsize").and_then(Value::as_u64).unwrap_or(4) as usize)),
        "crc32c" => Ok(Codec::Crc32c),
        other => Err(Flaw::Unsupported(
            format!("the codec {other:?}"),
            "store the array with blosc, zstd, gzip or no compression",
        )),
    }
}

fn index(sharding: &Value) -> Result<Shard, Flaw> {
    let at_end = match sharding.get("index_location").map(Value::as_str) {
        None | Some(Some("end")) => true,
        Some(Some("start")) => false,
        other => return Err(Flaw::bad("the index_location \"start\" or \"end\"", format!("{other:?}"))),
    };
    let codecs = chain(sharding.get("index_codecs"), &Element::v3(&Value::from("uint64"))?)?;
    let checked = match codecs.codecs[..] {
        [] => false,
        [Codec::Crc32c] => true,
        _ => return Err(Flaw::Unsupported("a compressed index of shards".into(), "leave the index as it is")),
    };
    if codecs.order.is_some() || codecs.sharding.is_some() {
        return Err(Flaw::bad("an index of plain bytes", "one that is transposed or sharded"));
    }
    Ok(Shard { at_end, checked, big_endian: codecs.big_endian })
}

fn keys(json: Option<&Value>) -> Result<Keys, Flaw> {
    let json = json.unwrap_or(&Value::Null);
    let name = json.as_str().or_else(|| text_of(json, "name"));
    let prefix = match name {
        Some("default") => true,
        Some("v2") => false,
        other => return Err(Flaw::bad("the chunk_key_encoding \"default\" or \"v2\"", format!("{other:?}"))),
    };
    match (json.pointer("/configuration/separator").map(Value::as_str), prefix) {
        (None, true) | (Some(Some("/")), _) => Ok(Keys { prefix, separator: '/' }),
        (None, false) | (Some(Some(".")), _) => Ok(Keys { prefix, separator: '.' }),
        (other, _) => Err(Flaw::bad("the separator \".\" or \"/\"", format!("{other:?}"))),
    }
}
