//! Records of a store that is being written: NumPy's structured arrays, one chunk each.
//!
//! Texts are code points of four bytes, as many as the longest one of a field has, since fields have a fixed width.
//! Version 3 has no word for records yet; this is what Python's zarr writes and reads.

use serde_json::{Value, json};

use super::encode::zarr_type;
use super::tree::Version;
use crate::array::{DType, Values};
use crate::cells::Column;

/// A field of records, ready to be laid beside the others.
struct Field {
    name: String,
    kind: Value,
    width: usize,
    /// `width` bytes for each record.
    bytes: Vec<u8>,
}

/// Returns the metadata of a vector of records, and its only chunk before compression.
pub(super) fn encode(fields: &[(String, Column)], version: Version) -> (Value, Vec<u8>) {
    let n = fields.first().map_or(0, |(_, column)| column.len());
    let fields: Vec<Field> = fields.iter().map(|(name, column)| field(name, column, version)).collect();
    let width = fields.iter().map(|field| field.width).sum();
    let mut bytes = Vec::with_capacity(n * width);
    for row in 0..n {
        for field in &fields {
            bytes.extend_from_slice(&field.bytes[row * field.width..(row + 1) * field.width]);
        }
    }
    let names: Vec<Value> = fields.iter().map(|field| json!([field.name, field.kind])).collect();
    let (chunk, fill) = (n.max(1), zeros_in_base64(width));
    let node = match version {
        Version::V2 => json!({
            "shape": [n], "chunks": [chunk], "dtype": names, "fill_value": fill, "order": "C",
            "filters": null, "compressor": {"id": "zstd", "level": 3},
        }),
        Version::V3 => json!({
            "shape": [n], "data_type": {"name": "structured", "configuration": {"fields": names}}, "fill_value": fill,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunk]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": 3, "checksum": false}},
            ],
            "storage_transformers": [],
        }),
    };
    (node, bytes)
}

fn field(name: &str, column: &Column, version: Version) -> Field {
    let (kind, width, bytes) = match column {
        Column::Numbers(numbers) => number(numbers.values(), version),
        Column::Bools(all) => {
            let flags: Vec<u8> = all.iter().map(|flag| u8::from(flag.unwrap_or_default())).collect();
            (zarr_type(DType::Bool, version), 1, flags)
        }
        texts => text(texts, version),
    };
    Field { name: name.into(), kind, width, bytes }
}

fn number(values: &Values, version: Version) -> (Value, usize, Vec<u8>) {
    let (dtype, mut bytes) = (values.dtype(), values.as_bytes().to_vec());
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(dtype.size_of()).for_each(<[u8]>::reverse);
    }
    (zarr_type(dtype, version), dtype.size_of(), bytes)
}

fn text(column: &Column, version: Version) -> (Value, usize, Vec<u8>) {
    let texts: Vec<String> = (0..column.len()).map(|row| column.text(row).unwrap_or_default()).collect();
    let longest = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
    let mut bytes = Vec::with_capacity(4 * longest * texts.len());
    for text in &texts {
        let end = bytes.len() + 4 * longest;
        bytes.extend(text.chars().flat_map(|letter| u32::from(letter).to_le_bytes()));
        bytes.resize(end, 0);
    }
    let kind = match version {
        Version::V2 => format!("<U{longest}").into(),
        Version::V3 => json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 4 * longest}}),
    };
    (kind, 4 * longest, bytes)
}

/// Returns so many zero bytes as base64 writes them.
fn zeros_in_base64(n: usize) -> String {
    let end = ["", "AA==", "AAA="][n % 3];
    "AAAA".repeat(n / 3) + end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Categories;
    use crate::io::tree::{Attributes, Tree, TreeWriter};
    use crate::io::zarr::tree::ZarrTree;
    use crate::io::zarr::write::{StoreOptions, ZarrWriter};

    #[test]
    fn records_are_read_back_field_by_field() {
        let texts = vec![Some("MS4A1".to_string()), None, Some("Häm".into())];
        let codes = Categories::new(vec![1, 0, -1], vec!["b".into(), "tt".into()]);
        let fields = vec![
            ("names".to_string(), Column::Strings(texts)),
            ("scores".to_string(), Column::from(vec![1.5f32, f32::NAN, -2.0])),
            ("kept".to_string(), Column::Bools(vec![Some(true), Some(false), None])),
            ("kind".to_string(), Column::Categories(codes)),
        ];
        for version in [Version::V2, Version::V3] {
            let folder = tempfile::tempdir().expect("a temporary directory");
            let path = folder.path().join("r.zarr");
            let writer = ZarrWriter::create(&path, StoreOptions { version, inner_bytes: None }).expect("create");
            writer.group("", Attributes::new()).expect("the root");
            writer.records("r", &fields, Attributes::new()).expect("records");
            Box::new(writer).finish().expect("finish");
            let read = ZarrTree::open(&path).expect("open").array("r").expect("an array");
            let found = |name: &str| read.read_field(name).expect(name);
            assert_eq!(found("scores"), fields[1].1);
            let texts = |name: &str| (0..3).map(|row| found(name).text(row).unwrap_or_default()).collect::<Vec<_>>();
            assert_eq!(texts("names"), ["MS4A1", "", "Häm"]);
            assert_eq!(texts("kind"), ["tt", "b", ""]);
            assert_eq!(texts("kept"), ["true", "false", "false"]);
        }
    }

    #[test]
    fn no_bytes_and_a_few_are_base64() {
        assert_eq!([0, 1, 2, 3, 4].map(zeros_in_base64), ["", "AA==", "AAA=", "AAAA", "AAAAAA=="]);
    }
}
