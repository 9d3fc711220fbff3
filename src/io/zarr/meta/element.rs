//! What an array's elements are: numbers, texts of a fixed or any length, records, or something else.
//!
//! Version 2 names types as NumPy's array interface does (`<f4`, `|S18`, `|O` with a filter, or a list of fields);
//! version 3 by words (`float32`, `string`), some with a configuration (`fixed_length_utf32`, `struct`).

use serde_json::Value;

use super::{Flaw, text_of};
use crate::array::DType;

/// The type of an element.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Element {
    /// A number or truth value; half floats are stored in two bytes and read as float32.
    Number { dtype: DType, half: bool, big_endian: bool },
    /// Code points of four bytes, ended by zeros.
    Utf32 { chars: usize, big_endian: bool },
    /// Bytes, ended by zeros.
    Bytes { len: usize },
    /// Texts of any length.
    Texts,
    /// Fields in a row.
    Record { fields: Vec<Field>, width: usize },
    /// A type that is not read, and how many bytes one takes where that is known.
    Other { name: String, width: Option<usize> },
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Field {
    pub(in super::super) name: String,
    pub(in super::super) offset: usize,
    pub(in super::super) element: Element,
}

/// No element is wider.
const WIDEST: usize = 1 << 20;

/// Records within records are named, not read.
const OTHER_RECORD: &str = "a record within a record";

impl Element {
    /// Returns the stored bytes of one, or `None` where they differ.
    pub(in super::super) fn width(&self) -> Option<usize> {
        match self {
            Element::Number { half: true, .. } => Some(2),
            Element::Number { dtype, .. } => Some(dtype.size_of()),
            Element::Utf32 { chars, .. } => Some(4 * chars),
            Element::Bytes { len } => Some(*len),
            Element::Record { width, .. } => Some(*width),
            Element::Other { width, .. } => *width,
            Element::Texts => None,
        }
    }

    /// Returns the same element stored in the other order of bytes.
    pub(super) fn with_order(self, big: bool) -> Element {
        match self {
            Element::Number { dtype, half, .. } => Element::Number { dtype, half, big_endian: big },
            Element::Utf32 { chars, .. } => Element::Utf32 { chars, big_endian: big },
            Element::Record { fields, width } => {
                let fields =
                    fields.into_iter().map(|field| Field { element: field.element.with_order(big), ..field }).collect();
                Element::Record { fields, width }
            }
            other => other,
        }
    }

    /// Reads version 2's name of a type; `texts` when a filter turns objects into texts.
    pub(super) fn v2(json: &Value, texts: bool) -> Result<Element, Flaw> {
        let found = || Flaw::bad("the name of a NumPy type, or a list of fields", json.to_string());
        if let Some(fields) = json.as_array() {
            let named = fields.iter().map(|field| {
                let parts = field.as_array().filter(|parts| parts.len() >= 2).ok_or_else(found)?;
                let name = parts[0].as_str().ok_or_else(found)?.to_string();
                let element = Element::v2(&parts[1], false)?;
                // A third part is the shape of an array within the record.
                let repeated = parts.get(2).map_or(Some(1), product).filter(|n| *n <= WIDEST).ok_or_else(found)?;
                Ok((name, if parts.len() == 2 { element } else { many(&element, repeated) }))
            });
            return record(named.collect::<Result<_, Flaw>>()?);
        }
        let name = json.as_str().ok_or_else(found)?;
        let mut letters = name.chars();
        let (order, kind) = (letters.next().ok_or_else(found)?, letters.next().ok_or_else(found)?);
        if !matches!(order, '<' | '>' | '|' | '=') || !name.is_ascii() {
            return Err(found());
        }
        let count: usize = letters.as_str().split('[').next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        if count > WIDEST {
            return Err(found());
        }
        Ok(match (kind, count) {
            ('O', _) if texts => Element::Texts,
            ('O', _) => Element::Other { name: "object".into(), width: None },
            ('U', chars) => Element::Utf32 { chars, big_endian: order == '>' },
            ('S' | 'a', len) => Element::Bytes { len },
            ('b' | 'i' | 'u' | 'f', _) => number(kind, count, order == '>').ok_or_else(found)?,
            ('c' | 'm' | 'M' | 'V', width) => Element::Other { name: name.into(), width: Some(width) },
            _ => return Err(found()),
        })
    }

    /// Reads version 3's name of a type.
    pub(super) fn v3(json: &Value) -> Result<Element, Flaw> {
        let found = || Flaw::bad("the name of a data type", json.to_string());
        let name = json.as_str().or_else(|| text_of(json, "name")).ok_or_else(found)?;
        let configuration = json.get("configuration").unwrap_or(&Value::Null);
        let bytes = configuration.get("length_bytes").and_then(Value::as_u64);
        let bytes = bytes.map(|len| usize::try_from(len).ok().filter(|len| *len <= WIDEST).ok_or_else(found));
        let bytes = bytes.transpose()?;
        if name == "struct" || name == "structured" {
            let fields = configuration.get("fields").and_then(Value::as_array).ok_or_else(found)?;
            let named = fields.iter().map(|field| {
                let (name, element) = match field.as_array().map(Vec::as_slice) {
                    Some([name, element]) => (name.as_str(), element),
                    _ => (text_of(field, "name"), field.get("data_type").ok_or_else(found)?),
                };
                Ok((name.ok_or_else(found)?.to_string(), Element::v3(element)?))
            });
            return record(named.collect::<Result<_, Flaw>>()?);
        }
        let number = |kind, bits: &str| bits.parse().ok().and_then(|bits: usize| number(kind, bits / 8, false));
        let known = match name {
            "bool" => number('b', "8"),
            "string" | "vlen-utf8" => Some(Element::Texts),
            "fixed_length_utf32" => bytes.map(|len| Element::Utf32 { chars: len / 4, big_endian: false }),
            "null_terminated_bytes" | "fixed_length_bytes" => bytes.map(|len| Element::Bytes { len }),
            _ => name.strip_prefix("uint").map(|bits| number('u', bits)).unwrap_or_else(|| {
                let signed = name.strip_prefix("int").and_then(|bits| number('i', bits));
                signed.or_else(|| name.strip_prefix("float").and_then(|bits| number('f', bits)))
            }),
        };
        Ok(known.unwrap_or_else(|| Element::Other { name: name.into(), width: bytes.or_else(|| width_of(name)) }))
    }
}

/// Returns the bytes of the types of version 3 that are known but not read.
fn width_of(name: &str) -> Option<usize> {
    match name {
        "complex64" | "numpy.datetime64" | "numpy.timedelta64" => Some(8),
        "complex128" => Some(16),
        "bfloat16" => Some(2),
        _ => name.strip_prefix('r')?.parse::<usize>().ok().map(|bits| bits / 8).filter(|len| *len <= WIDEST),
    }
}

fn number(kind: char, size: usize, big_endian: bool) -> Option<Element> {
    let dtype = match (kind, size) {
        ('b', 1) => DType::Bool,
        ('u', 1) => DType::U8,
        ('u', 2) => DType::U16,
        ('u', 4) => DType::U32,
        ('u', 8) => DType::U64,
        ('i', 1) => DType::I8,
        ('i', 2) => DType::I16,
        ('i', 4) => DType::I32,
        ('i', 8) => DType::I64,
        ('f', 2 | 4) => DType::F32,
        ('f', 8) => DType::F64,
        _ => return None,
    };
    Some(Element::Number { dtype, half: (kind, size) == ('f', 2), big_endian })
}

fn product(shape: &Value) -> Option<usize> {
    let lengths = match shape.as_array() {
        Some(lengths) => lengths.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>()?,
        None => vec![shape.as_u64()?],
    };
    lengths.into_iter().try_fold(1usize, |product, len| product.checked_mul(usize::try_from(len).ok()?))
}

/// Several elements where a record has an array: known by their width only.
fn many(element: &Element, count: usize) -> Element {
    let width = element.width().and_then(|width| width.checked_mul(count));
    Element::Other { name: "an array within a record".into(), width }
}

fn record(named: Vec<(String, Element)>) -> Result<Element, Flaw> {
    let mut offset = 0usize;
    let mut fields = Vec::new();
    for (name, element) in named {
        let Some(width) = element.width().filter(|width| offset + width <= WIDEST) else {
            return Err(Flaw::Unsupported(
                format!("records whose field {name:?} has no fixed width, or more than 1 MiB"),
                "store its fields as arrays of their own",
            ));
        };
        let element = match element {
            Element::Record { .. } => Element::Other { name: OTHER_RECORD.into(), width: Some(width) },
            other => other,
        };
        fields.push(Field { name, offset, element });
        offset += width;
    }
    if fields.is_empty() {
        return Err(Flaw::bad("records of at least one field", "none"));
    }
    Ok(Element::Record { fields, width: offset })
}
