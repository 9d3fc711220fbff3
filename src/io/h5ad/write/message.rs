//! The messages of object headers: what an HDF5 object is, in bytes.
//!
//! Written are the versions of HDF5 1.8, which every reader since 2008 knows: data spaces 2, data types 1, fill values 3,
//! layouts 3, filters 2, links 1, attributes 3 (HDF5 File Format Specification 3.0, §IV.A.2).

use crate::array::DType;

/// An address that leads nowhere.
pub(super) const NOWHERE: u64 = u64::MAX;

/// A message: its type, and its body.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

/// What is written where: a run of numbers and bytes, little-endian.
macro_rules! bytes {
    ($($part:expr),* $(,)?) => {{
        let mut all: Vec<u8> = Vec::new();
        $(all.extend_from_slice(&$part[..]);)*
        all
    }};
}

/// What an element is.
#[derive(Clone, Debug)]
pub(super) enum Type {
    /// A number or a truth value.
    Number(DType),
    /// A text of any length, UTF-8: a length, an address and a number.
    Text,
    /// So many bytes.
    Bytes(u32),
    /// Named fields, one after another.
    Record(Vec<(String, Type)>),
}

impl Type {
    /// Returns how many bytes an element takes.
    pub(super) fn size(&self) -> u32 {
        match self {
            Type::Number(dtype) => dtype.size_of() as u32,
            Type::Text => 16,
            Type::Bytes(n) => *n,
            Type::Record(fields) => fields.iter().map(|(_, field)| field.size()).sum(),
        }
    }

    /// Returns the body of a data type message.
    pub(super) fn encoded(&self) -> Vec<u8> {
        match self {
            Type::Number(DType::Bool) => boolean(),
            Type::Number(dtype) if dtype.is_float() => float(self.size()),
            Type::Number(dtype) => integer(self.size(), is_signed(*dtype)),
            // Class 9, variable length: of text, ended by NUL in memory, UTF-8; of bytes.
            Type::Text => bytes!([0x19, 1, 1, 0], 16u32.to_le_bytes(), integer(1, false)),
            // Class 3, text of fixed length, filled up with NUL, ASCII.
            Type::Bytes(n) => bytes!([0x13, 1, 0, 0], n.to_le_bytes()),
            Type::Record(fields) => record(fields, self.size()),
        }
    }
}

fn is_signed(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64)
}

/// Class 0: its length, its sign, and that all of its bits count.
fn integer(size: u32, signed: bool) -> Vec<u8> {
    bytes!([0x10, u8::from(signed) << 3, 0, 0], size.to_le_bytes(), [0, 0], (8 * size as u16).to_le_bytes())
}

/// Class 1, of IEEE 754: where the sign, the exponent and the mantissa are, and the exponent's bias.
fn float(size: u32) -> Vec<u8> {
    let (sign, exponent, exponent_bits, mantissa_bits, bias) =
        if size == 4 { (31, 23, 8, 23, 127u32) } else { (63, 52, 11, 52, 1023) };
    let places = [exponent, exponent_bits, 0, mantissa_bits];
    bytes!(
        [0x11, 0x20, sign, 0],
        size.to_le_bytes(),
        [0, 0],
        (8 * size as u16).to_le_bytes(),
        places,
        bias.to_le_bytes()
    )
}

/// Class 8, as h5py writes truth values: FALSE and TRUE of int8.
fn boolean() -> Vec<u8> {
    bytes!([0x18, 2, 0, 0], 1u32.to_le_bytes(), integer(1, true), b"FALSE\0\0\0", b"TRUE\0\0\0\0", [0, 1])
}

/// Class 6: each field's name, place, and type; none is an array.
fn record(fields: &[(String, Type)], size: u32) -> Vec<u8> {
    let mut all = bytes!([0x16], (fields.len() as u16).to_le_bytes(), [0], size.to_le_bytes());
    let mut place = 0u32;
    for (name, field) in fields {
        all.extend_from_slice(name.as_bytes());
        // At least one NUL, up to a multiple of eight.
        all.resize(all.len() + 8 - name.len() % 8, 0);
        all.extend_from_slice(&bytes!(place.to_le_bytes(), [0; 28], field.encoded()));
        place += field.size();
    }
    all
}

/// Returns the body of a data space message: a single value where there is no dimension.
pub(super) fn space(shape: &[u64]) -> Vec<u8> {
    let mut all = vec![2, shape.len() as u8, 0, u8::from(!shape.is_empty())];
    shape.iter().for_each(|len| all.extend_from_slice(&len.to_le_bytes()));
    all
}

/// A data space that holds nothing, not even a single value.
pub(super) fn no_space() -> Vec<u8> {
    vec![2, 0, 0, 2]
}

/// How an array's values lie in the file.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// In one run: where, and how many bytes.
    Contiguous(u64, u64),
    /// In chunks of so many values along each dimension: where their tree is.
    Chunked(u64, Vec<u32>),
}

/// Returns the messages of a data set.
pub(super) fn dataset(space: Vec<u8>, element: &Type, layout: &Layout, filters: Option<u8>) -> Vec<Message> {
    // What was not written is zero. Space is taken late (2) where it is one run, and chunk by chunk (3) otherwise.
    let (late, place) = match layout {
        Layout::Contiguous(address, n) => (2, bytes!([3, 1], address.to_le_bytes(), n.to_le_bytes())),
        Layout::Chunked(tree, dims) => {
            let mut place = bytes!([3, 2, dims.len() as u8 + 1], tree.to_le_bytes());
            dims.iter().for_each(|len| place.extend_from_slice(&len.to_le_bytes()));
            place.extend_from_slice(&element.size().to_le_bytes());
            (3, place)
        }
    };
    let mut all = vec![
        Message { kind: 0x01, body: space },
        Message { kind: 0x03, body: element.encoded() },
        Message { kind: 0x05, body: vec![3, late | 2 << 2] },
        Message { kind: 0x08, body: place },
    ];
    if let Some(level) = filters {
        let shuffle = bytes!([2, 0], [0, 0], [1, 0], element.size().to_le_bytes());
        let deflate = bytes!([1, 0], [1, 0], [1, 0], u32::from(level).to_le_bytes());
        let n = if element.size() > 1 { 2 } else { 1 };
        let shuffle = if n == 2 { shuffle } else { Vec::new() };
        all.push(Message { kind: 0x0b, body: bytes!([2, n], shuffle, deflate) });
    }
    all
}

/// Returns the messages of a group with these members: their links lie in its header, however many there are.
pub(super) fn group<'a>(members: impl Iterator<Item = (&'a str, u64)>) -> Vec<Message> {
    let mut all = vec![
        Message { kind: 0x02, body: bytes!([0, 0], NOWHERE.to_le_bytes(), NOWHERE.to_le_bytes()) },
        Message { kind: 0x0a, body: vec![0, 0] },
    ];
    for (name, address) in members {
        // The name is UTF-8 (bit 4, then 1), and its length takes two bytes (bits 0 and 1 are 1).
        let head = bytes!([1, 0x11, 1], (name.len() as u16).to_le_bytes());
        all.push(Message { kind: 0x06, body: bytes!(head, name.as_bytes(), address.to_le_bytes()) });
    }
    all
}

/// Returns the message of an attribute.
pub(super) fn attribute(name: &str, space: &[u8], element: &Type, value: &[u8]) -> Message {
    let element = element.encoded();
    let lengths = [name.len() + 1, element.len(), space.len()].map(|len| (len as u16).to_le_bytes());
    let head = bytes!([3, 0], lengths.concat(), [1]);
    Message { kind: 0x0c, body: bytes!(head, name.as_bytes(), [0], element, space, value) }
}

/// Returns an object header of these messages, or the message that is too long for one.
pub(super) fn header(messages: &[Message]) -> Result<Vec<u8>, &Message> {
    let mut body = Vec::new();
    for message in messages {
        let len = u16::try_from(message.body.len()).map_err(|_| message)?;
        body.extend_from_slice(&bytes!([message.kind], len.to_le_bytes(), [0], message.body));
    }
    // Version 2; the length takes four bytes (bits 0 and 1 are 2).
    let mut all = bytes!(b"OHDR", [2, 2], (body.len() as u32).to_le_bytes(), body);
    all.extend_from_slice(&hdf5_core::jenkins_lookup3(&all).to_le_bytes());
    Ok(all)
}

/// How many bytes the superblock takes, which is the file's beginning.
pub(super) const SUPERBLOCK: u64 = 48;

/// Returns the superblock, version 2: where the file ends, and where its root is.
pub(super) fn superblock(end: u64, root: u64) -> Vec<u8> {
    let head = bytes!(b"\x89HDF\r\n\x1a\n", [2, 8, 8, 0]);
    let mut all = bytes!(head, 0u64.to_le_bytes(), NOWHERE.to_le_bytes(), end.to_le_bytes(), root.to_le_bytes());
    all.extend_from_slice(&hdf5_core::jenkins_lookup3(&all).to_le_bytes());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_encoded_as_h5py_encodes_them() {
        // h5py.h5t.py_create(numpy.dtype(..)).encode()[2:], without the two bytes in front of a data type's message.
        let hex = |element: &Type| element.encoded().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&Type::Number(DType::I32)), "100800000400000000002000");
        assert_eq!(hex(&Type::Number(DType::U16)), "100000000200000000001000");
        assert_eq!(hex(&Type::Number(DType::F32)), "11201f000400000000002000170800177f000000");
        assert_eq!(hex(&Type::Number(DType::F64)), "11203f000800000000004000340b0034ff030000");
        assert_eq!(hex(&Type::Text), "1901010010000000100000000100000000000800");
    }

    #[test]
    fn a_message_that_no_header_can_hold_is_told_apart() {
        let long = Message { kind: 0x0c, body: vec![0; 65_536] };
        assert_eq!(header(&[long]).map_err(|message| message.kind), Err(0x0c));
    }
}
