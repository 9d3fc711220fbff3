//! Texts of any length, in global heaps: runs of the file, each of which holds some thousand of them.
//!
//! ```text
//! GCOL  length │ 1  text │ 2  text │ …  │ 0  what is left      a text is known by the heap's address and its number
//! ```
//! Always true: one heap is open and held in memory, of [`HEAP`] bytes or of as many as its only text needs.

use super::message::NOWHERE;
use super::sink::Sink;
use crate::error::Result;

/// The length of a heap.
const HEAP: usize = 64 << 10;
/// What stands before the first text.
const HEAD: usize = 16;
/// A heap numbers its texts by two bytes.
const MOST_TEXTS: u16 = u16::MAX - 1;

/// The heap that takes texts now.
#[derive(Debug)]
pub(super) struct Heap {
    /// Where it will be written; nowhere before the first text.
    address: u64,
    /// Its length in the file.
    len: usize,
    bytes: Vec<u8>,
    n_texts: u16,
}

impl Default for Heap {
    fn default() -> Self {
        Heap { address: NOWHERE, len: 0, bytes: Vec::new(), n_texts: 0 }
    }
}

impl Heap {
    /// Takes a text and returns what stands for it in the file: its length, the heap, its number there.
    pub(super) fn insert(&mut self, text: &[u8], sink: &Sink) -> Result<[u8; 16]> {
        let mut reference = [0; 16];
        if text.is_empty() {
            return Ok(reference);
        }
        let taken = HEAD + text.len().next_multiple_of(8);
        if self.bytes.len() + taken > self.len || self.n_texts == MOST_TEXTS {
            self.flush(sink)?;
            self.len = HEAP.max(HEAD + taken);
            self.address = sink.claim(self.len as u64);
            self.bytes.extend_from_slice(b"GCOL\x01\0\0\0");
            self.bytes.extend_from_slice(&(self.len as u64).to_le_bytes());
        }
        self.n_texts += 1;
        self.bytes.extend_from_slice(&self.n_texts.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 6]);
        self.bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(text);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        reference[..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
        reference[4..12].copy_from_slice(&self.address.to_le_bytes());
        reference[12..].copy_from_slice(&u32::from(self.n_texts).to_le_bytes());
        Ok(reference)
    }

    /// Writes what is there; the next text opens a heap of its own.
    pub(super) fn flush(&mut self, sink: &Sink) -> Result<()> {
        let free = self.len - self.bytes.len();
        if free >= HEAD {
            // Number 0 is what is left, this head included; a rest that is shorter has none.
            self.bytes.extend_from_slice(&[0; 8]);
            self.bytes.extend_from_slice(&(free as u64).to_le_bytes());
        }
        if self.len > 0 {
            self.bytes.resize(self.len, 0);
            sink.write_at(&self.bytes, self.address)?;
        }
        self.bytes.clear();
        (self.address, self.len, self.n_texts) = (NOWHERE, 0, 0);
        Ok(())
    }
}
