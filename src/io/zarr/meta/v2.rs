//! Version 2: `.zarray` of a NumPy type, one compressor and perhaps filters.
//!
//! Source: Zarr storage specification version 2, zarr-specs.readthedocs.io, "Arrays"; codecs as numcodecs names them.

use serde_json::Value;

use super::super::super::codecs::Codec;
use super::{ArrayMeta, Element, Fill, Flaw, Keys, lengths, text_of};

/// Reads the content of a `.zarray`.
pub(in super::super) fn parse(json: &Value) -> Result<ArrayMeta, Flaw> {
    let shape = lengths(json.get("shape"), "shape", 0)?;
    // An array without elements may state chunks of no length.
    let least = u64::from(!shape.contains(&0));
    let chunk: Vec<u64> = lengths(json.get("chunks"), "chunks", least)?.into_iter().map(|len| len.max(1)).collect();
    let (filters, texts) = filters(json.get("filters"))?;
    let dtype = json.get("dtype").ok_or_else(|| Flaw::bad("a dtype", "none"))?;
    let element = Element::v2(dtype, texts)?;
    let mut codecs = Vec::new();
    match json.get("compressor") {
        None | Some(Value::Null) => {}
        Some(compressor) => codecs.push(codec(compressor)?),
    }
    codecs.extend(filters);
    let mut order: Vec<usize> = (0..shape.len()).collect();
    match text_of(json, "order") {
        Some("C") => {}
        Some("F") => order.reverse(),
        other => return Err(Flaw::bad("the order \"C\" or \"F\"", format!("{other:?}"))),
    }
    let separator = match json.get("dimension_separator").map(Value::as_str) {
        None | Some(Some(".")) => '.',
        Some(Some("/")) => '/',
        other => return Err(Flaw::bad("the dimension_separator \".\" or \"/\"", format!("{other:?}"))),
    };
    let fill = Fill::read(json.get("fill_value"), &element)?;
    let (object, keys) = (chunk.clone(), Keys { prefix: false, separator });
    ArrayMeta { shape, object, chunk, shard: None, element, fill, order, codecs, keys }.check()
}

/// Reads the filters: the codecs among them, in the order in which they are undone, and whether objects are texts.
fn filters(json: Option<&Value>) -> Result<(Vec<Codec>, bool), Flaw> {
    let Some(filters) = json.and_then(Value::as_array) else { return Ok((Vec::new(), false)) };
    let (mut codecs, mut texts) = (Vec::new(), false);
    for filter in filters.iter().rev() {
        match text_of(filter, "id") {
            Some("vlen-utf8") => texts = true,
            _ => codecs.push(codec(filter)?),
        }
    }
    Ok((codecs, texts))
}

fn codec(json: &Value) -> Result<Codec, Flaw> {
    match text_of(json, "id") {
        Some("blosc") => Ok(Codec::Blosc),
        Some("zstd") => Ok(Codec::Zstd),
        Some("gzip") => Ok(Codec::Gzip),
        Some("zlib") => Ok(Codec::Zlib),
        Some("lz4") => Ok(Codec::Lz4),
        Some("shuffle") => Ok(Codec::Shuffle(json.get("elementsize").and_then(Value::as_u64).unwrap_or(4) as usize)),
        Some("crc32c") => Ok(Codec::Crc32c),
        Some(other) => Err(Flaw::Unsupported(
            format!("the codec {other:?}"),
            "store the array with blosc, zstd, gzip, zlib, lz4 or no compressor",
        )),
        None => Err(Flaw::bad("a codec with an id", json.to_string())),
    }
}
