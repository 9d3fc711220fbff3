//! The lines of a text file, compressed by gzip or not, each with its number.
//!
//! A line is at most 1 MiB long, and what is decompressed at most what gzip can make of a file of that length, so that a
//! bomb is an error and not a full disk.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::super::input::Input;
use crate::error::{Error, Result};

/// No line of a matrix or a list of names is longer.
const LONGEST_LINE: u64 = 1 << 20;

/// The most that deflate can expand.
const MOST_EXPANSION: u64 = 1032;

/// A text file that is read line by line.
pub(in crate::io) struct Lines {
    input: Input,
    text: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
}

/// A file that is read from its start, by position, so that clones of the handle do not move one another.
struct Cursor {
    file: Arc<std::fs::File>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Returns the most bytes of text that this file can hold.
pub(in crate::io) fn most_text(input: &Input) -> Result<u64> {
    let expansion = if is_gzip(input)? { MOST_EXPANSION } else { 1 };
    Ok(input.len().saturating_mul(expansion))
}

fn is_gzip(input: &Input) -> Result<bool> {
    Ok(input.head(2)? == [0x1f, 0x8b])
}

impl Lines {
    /// Starts at the first line.
    pub(in crate::io) fn open(input: &Input) -> Result<Self> {
        let file = BufReader::with_capacity(1 << 16, Cursor { file: input.file(), at: 0 });
        let text: Box<dyn BufRead + Send> = match is_gzip(input)? {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))),
            false => Box::new(file),
        };
        Ok(Lines { input: input.clone(), text, line: Vec::new(), number: 0 })
    }

    /// Returns the next line without its end, or `None` after the last one.
    pub(in crate::io) fn next(&mut self) -> Result<Option<&[u8]>> {
        self.line.clear();
        self.number += 1;
        let mut text = (&mut self.text).take(LONGEST_LINE + 1);
        if let Err(source) = text.read_until(b'\n', &mut self.line) {
            self.input.check_unchanged()?;
            return Err(match source.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    self.bad("more compressed text", "the end of the file: it was cut")
                }
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
                    self.bad("text compressed by gzip", &source.to_string())
                }
                _ => Error::io("read", self.input.path(), source),
            });
        }
        if self.line.len() as u64 > LONGEST_LINE {
            return Err(self.bad(&format!("a line of at most {LONGEST_LINE} bytes"), "a longer one"));
        }
        if self.line.is_empty() {
            self.input.check_unchanged()?;
            return Ok(None);
        }
        let end = self.line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        Ok(Some(&self.line[..end]))
    }

    /// Builds the error of a malformed line: the one that was read last.
    pub(in crate::io) fn bad(&self, expected: &str, found: &str) -> Error {
        self.input.bad(format!("line {}", self.number), expected, found)
    }
}

/// Returns the line as text for a message: short, and without what would upset a terminal.
pub(in crate::io) fn shown(line: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(&line[..line.len().min(60)]).escape_debug().collect();
    format!("\"{text}{}\"", if line.len() > 60 { ".." } else { "" })
}
