//! The header of a `.npy` file: magic, version, and a Python dictionary of three entries.
//!
//! ```text
//! \x93NUMPY  major minor  length (2 bytes in version 1, else 4)  {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }
//! ```
//! The text is read by a parser of exactly this grammar: nothing is evaluated, and whatever else Python would accept
//! there is refused. No length is believed before it is compared with the length of the file.

use super::super::input::Input;
use crate::array::DType;
use crate::error::Result;

/// A longer header than NumPy writes for any array that is not structured.
const LONGEST: u64 = 64 << 10;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) dtype: DType,
    pub(super) big_endian: bool,
    pub(super) fortran_order: bool,
    pub(super) rows: u64,
    pub(super) cols: u64,
    /// Where the values begin.
    pub(super) data_offset: u64,
}

impl Header {
    /// Reads the header and compares what it claims with the length of the file.
    pub(super) fn read(input: &Input) -> Result<Self> {
        let head = input.head(12)?;
        if head.len() < 10 || &head[..6] != b"\x93NUMPY" {
            return Err(input.bad("byte 0", "\\x93NUMPY, the first bytes of a .npy file", "something else"));
        }
        let (start, length) = match (head[6], head.len()) {
            (1, _) => (10, u64::from(u16::from_le_bytes([head[8], head[9]]))),
            (2 | 3, 12) => (12, u64::from(u32::from_le_bytes([head[8], head[9], head[10], head[11]]))),
            (version, _) => return Err(input.bad("byte 6", "version 1, 2 or 3", format!("version {version}"))),
        };
        let data_offset = start + length;
        if length > LONGEST || data_offset > input.len() {
            let found = format!("{length} bytes of header in a file of {}", input.len());
            return Err(input.bad("byte 8", format!("at most {LONGEST} bytes of header, all in the file"), found));
        }
        let mut text = vec![0; length as usize];
        input.read_exact_at(&mut text, start)?;
        let entries = Parser { input, text: &text, at: 0, start }.entries()?;
        let header = Self::from_entries(input, &entries, data_offset)?;
        header.check_length(input)?;
        Ok(header)
    }

    fn from_entries(input: &Input, entries: &[(String, Value)], data_offset: u64) -> Result<Self> {
        let entry = |key: &str| {
            let mut found = entries.iter().filter(|(k, _)| k == key).map(|(_, value)| value);
            match (found.next(), found.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(input.bad("header", format!("one entry '{key}'"), "none or several")),
            }
        };
        let (dtype, big_endian) = match entry("descr")? {
            Value::Text(descr) => parse_descr(input, descr)?,
            Value::List => return Err(input.unsupported("a structured dtype", "save the fields as one plain array")),
            _ => return Err(input.bad("header", "'descr' to be a dtype such as '<f8'", "something else")),
        };
        let Value::Bool(fortran_order) = *entry("fortran_order")? else {
            return Err(input.bad("header", "'fortran_order' to be True or False", "something else"));
        };
        let Value::Tuple(shape) = entry("shape")? else {
            return Err(input.bad("header", "'shape' to be a tuple of numbers", "something else"));
        };
        let (rows, cols) = match shape[..] {
            [n] => (n, 1),
            [rows, cols] => (rows, cols),
            _ => {
                let what = format!("an array of {} dimensions, shape {shape:?}", shape.len());
                return Err(input.unsupported(what, "reshape it to two dimensions: rows, columns"));
            }
        };
        Ok(Header { dtype, big_endian, fortran_order, rows, cols, data_offset })
    }

    /// Returns the bytes of all values, or `None` where the product overflows.
    fn nbytes(&self) -> Option<u64> {
        self.rows.checked_mul(self.cols)?.checked_mul(self.dtype.size_of() as u64)
    }

    fn check_length(&self, input: &Input) -> Result<()> {
        let expected = self.nbytes().and_then(|nbytes| nbytes.checked_add(self.data_offset));
        // The second condition bounds shapes such as (0, 2^63), which pass the product.
        if expected == Some(input.len()) && self.rows.max(self.cols) <= u64::from(u32::MAX) << 16 {
            return Ok(());
        }
        let asked = format!("{} x {} values of {} bytes", self.rows, self.cols, self.dtype.size_of());
        let place = format!("byte {}", self.data_offset);
        let found = format!("{} bytes", input.len() - self.data_offset);
        Err(input.bad(place, format!("{asked} and the end of the file"), found))
    }
}

/// Reads a dtype: byte order and type, such as `<f8`.
fn parse_descr(input: &Input, descr: &str) -> Result<(DType, bool)> {
    let (order, kind) = descr.split_at_checked(1).unwrap_or(("", ""));
    let dtype = match kind {
        "b1" => DType::Bool,
        "u1" => DType::U8,
        "u2" => DType::U16,
        "u4" => DType::U32,
        "u8" => DType::U64,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "f4" => DType::F32,
        "f8" => DType::F64,
        "O" | "O4" | "O8" => {
            let instead = "object arrays hold pickled Python objects, which are never read; save a numeric array";
            return Err(input.unsupported("an array of dtype object", instead));
        }
        _ => {
            let instead = "save it as bool, an integer of 1 to 8 bytes, float32 or float64";
            return Err(input.unsupported(format!("an array of dtype {descr:?}"), instead));
        }
    };
    match order {
        "<" | "|" | "=" => Ok((dtype, false)),
        ">" => Ok((dtype, true)),
        _ => Err(input.bad("header", "a dtype that begins with its byte order: < > = |", descr)),
    }
}

/// A value of the header's dictionary.
#[derive(Debug)]
enum Value {
    Text(String),
    Bool(bool),
    Tuple(Vec<u64>),
    /// A structured dtype, whose fields are not read.
    List,
}

/// Reads the dictionary from left to right; every step moves `at` forward or ends.
struct Parser<'a> {
    input: &'a Input,
    text: &'a [u8],
    at: usize,
    start: u64,
}

impl Parser<'_> {
    fn entries(mut self) -> Result<Vec<(String, Value)>> {
        self.expect(b'{')?;
        let mut entries = Vec::new();
        loop {
            if self.accept(b'}') {
                break;
            }
            let key = self.quoted()?;
            self.expect(b':')?;
            let value = self.value()?;
            let is_list = matches!(value, Value::List);
            entries.push((key, value));
            // The end of a structured dtype is not looked for: such a file is refused whatever follows.
            if is_list {
                return Ok(entries);
            }
            if !self.accept(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        self.skip_space();
        if self.at == self.text.len() { Ok(entries) } else { Err(self.unexpected("only spaces after the dictionary")) }
    }

    fn value(&mut self) -> Result<Value> {
        match self.peek() {
            Some(b'\'' | b'"') => Ok(Value::Text(self.quoted()?)),
            Some(b'(') => Ok(Value::Tuple(self.tuple()?)),
            Some(b'[') => Ok(Value::List),
            _ if self.word("True") => Ok(Value::Bool(true)),
            _ if self.word("False") => Ok(Value::Bool(false)),
            _ => Err(self.unexpected("a string, True, False or a tuple")),
        }
    }

    fn tuple(&mut self) -> Result<Vec<u64>> {
        self.expect(b'(')?;
        let mut numbers = Vec::new();
        while !self.accept(b')') {
            numbers.push(self.number()?);
            if !self.accept(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(numbers)
    }

    fn number(&mut self) -> Result<u64> {
        self.skip_space();
        let digits = self.text[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = String::from_utf8_lossy(&self.text[self.at..self.at + digits]);
        let number = text.parse().map_err(|_| self.unexpected("a length that 64 bits hold"))?;
        self.at += digits;
        Ok(number)
    }

    fn quoted(&mut self) -> Result<String> {
        let quote = match self.peek() {
            Some(quote @ (b'\'' | b'"')) => quote,
            _ => return Err(self.unexpected("a quoted string")),
        };
        let rest = &self.text[self.at + 1..];
        let Some(length) = rest.iter().position(|&b| b == quote) else {
            return Err(self.unexpected("a closing quote"));
        };
        self.at += length + 2;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word.as_bytes());
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn skip_space(&mut self) {
        self.at += self.text[self.at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.text.get(self.at).copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.accept(byte) { Ok(()) } else { Err(self.unexpected(&format!("{:?}", char::from(byte)))) }
    }

    fn unexpected(&self, expected: &str) -> crate::error::Error {
        let rest = &self.text[self.at..self.text.len().min(self.at + 16)];
        let found = format!("{:?}", String::from_utf8_lossy(rest));
        self.input.bad(format!("byte {}", self.start + self.at as u64), expected, found)
    }
}
