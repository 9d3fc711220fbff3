//! From stored objects to the values of chunks.
//!
//! An object is a chunk, or a shard: then its index is read, and of the chunks inside only those that are wanted. Stored
//! bytes are compared with what a chunk of this size can take before they are read, every codec stops at the declared
//! size, and what comes out must have exactly that size. Numbers leave in this machine's order of bytes, half floats as
//! float32, truth values as 0 and 1.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::codecs::{self, Codec};
use super::array::ZarrArray;
use super::grid::{each_place, places, touched};
use super::meta::{Element, Keys, Shard, widened};
use super::store::Object;
use crate::array::DType;
use crate::error::Result;

/// A run touches at most so many chunks: each costs an opened file, whether it is there or not.
const MOST_CHUNKS: u64 = 1 << 18;

/// An index entry of a chunk that is not stored.
const MISSING: u64 = u64::MAX;

impl ZarrArray {
    /// Calls the function with the origin and the decoded bytes of every stored chunk that the window touches.
    pub(super) fn each_chunk(
        &self,
        window: &[Range<u64>],
        mut call: impl FnMut(&[u64], Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let chunks: Vec<Range<u64>> =
            window.iter().zip(&self.meta.chunk).map(|(range, &len)| touched(range, len)).collect();
        if places(&chunks) > MOST_CHUNKS {
            let found = format!("{} chunks of shape {:?}", places(&chunks), self.meta.chunk);
            return Err(self.store.bad(&self.place, &format!("at most {MOST_CHUNKS} chunks in a run"), &found));
        }
        let objects: Vec<Range<u64>> =
            window.iter().zip(&self.meta.object).map(|(range, &len)| touched(range, len)).collect();
        each_place(&objects, |at| {
            let key = self.key(at);
            let Some(object) = self.store.object(&key, self.most_stored_object())? else { return Ok(()) };
            match &self.meta.shard {
                None => {
                    let stored = self.stored(&key, &object, 0..object.len())?;
                    object.check_unchanged()?;
                    let origin: Vec<u64> = at.iter().zip(&self.meta.chunk).map(|(at, len)| at * len).collect();
                    call(&origin, self.decode(&key, stored)?)
                }
                Some(shard) => self.each_inner(&key, &object, shard, at, &chunks, &mut call),
            }
        })
    }

    /// Does the same for the chunks of one shard.
    fn each_inner(
        &self,
        key: &str,
        object: &Object,
        shard: &Shard,
        at: &[u64],
        chunks: &[Range<u64>],
        call: &mut impl FnMut(&[u64], Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let index = self.index(key, object, shard)?;
        let inner: Vec<u64> =
            self.meta.object.iter().zip(&self.meta.chunk).map(|(object, chunk)| object / chunk).collect();
        let own = at.iter().zip(&inner).map(|(at, count)| at * count..(at + 1) * count);
        let wanted: Vec<Range<u64>> =
            own.zip(chunks).map(|(own, wanted)| own.start.max(wanted.start)..own.end.min(wanted.end)).collect();
        each_place(&wanted, |chunk| {
            let number = chunk.iter().zip(&inner).fold(0, |number, (at, count)| number * count + at % count);
            let [offset, len] = [0, 1].map(|word| {
                let start = (2 * number as usize + word) * 8;
                let bytes = std::array::from_fn(|byte| index[start + byte]);
                if shard.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
            });
            if (offset, len) == (MISSING, MISSING) {
                return Ok(());
            }
            let Some(end) = offset.checked_add(len).filter(|end| *end <= object.len()) else {
                let found = format!("{len} bytes from {offset} on, of {}", object.len());
                return Err(self.store.bad(key, "chunks that lie inside their shard", &found));
            };
            let stored = self.stored(key, object, offset..end)?;
            let origin: Vec<u64> = chunk.iter().zip(&self.meta.chunk).map(|(at, len)| at * len).collect();
            call(&origin, self.decode(key, stored)?)
        })?;
        object.check_unchanged()
    }

    /// Reads a shard's index.
    fn index(&self, key: &str, object: &Object, shard: &Shard) -> Result<Vec<u8>> {
        let len = self.index_bytes() + if shard.checked { 4 } else { 0 };
        let Some(rest) = object.len().checked_sub(len) else {
            let found = format!("a shard of {} bytes", object.len());
            return Err(self.store.bad(key, &format!("an index of {len} bytes"), &found));
        };
        let bytes = object.read(if shard.at_end { rest..object.len() } else { 0..len })?;
        match shard.checked {
            false => Ok(bytes),
            true => Codec::Crc32c
                .decode(&bytes, bytes.len())
                .map_err(|why| self.store.bad(key, "an index of a shard", &why)),
        }
    }

    /// Reads the stored bytes of a chunk, if they are no more than one of this size can have.
    fn stored(&self, key: &str, object: &Object, range: Range<u64>) -> Result<Vec<u8>> {
        let (len, most) = (range.end - range.start, self.most_stored());
        if len > most {
            return Err(self.store.bad(key, &format!("a chunk of at most {most} bytes"), &format!("{len} bytes")));
        }
        object.read(range)
    }

    /// Turns stored bytes into values.
    fn decode(&self, key: &str, stored: Vec<u8>) -> Result<Vec<u8>> {
        // The decoders refuse what is malformed; should one panic all the same, that is an error of this store.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.undo_codecs(stored)));
        let bytes = decoded.unwrap_or_else(|_| Err("bytes on which a decoder panicked".into()));
        let bytes = bytes.map_err(|why| self.store.bad(key, "a chunk of the stated codecs", &why))?;
        let expected = self.decoded_bytes();
        match self.meta.element.width() {
            Some(_) if bytes.len() as u64 != expected => {
                let found = format!("{} bytes", bytes.len());
                Err(self.store.bad(key, &format!("a chunk of {expected} bytes"), &found))
            }
            _ => Ok(native(bytes, &self.meta.element)),
        }
    }

    fn undo_codecs(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let (limit, between) = (self.decoded_bytes() as usize, self.most_stored() as usize);
        for (number, codec) in self.meta.codecs.iter().enumerate() {
            let last = number + 1 == self.meta.codecs.len();
            bytes = codec.decode(&bytes, if last { limit } else { between })?;
        }
        Ok(bytes)
    }

    /// Returns the bytes of a chunk before half floats are widened; of texts, the most.
    fn decoded_bytes(&self) -> u64 {
        match self.meta.element.width() {
            // Checked when the metadata were read: at most 1 GiB.
            Some(width) => self.meta.chunk.iter().product::<u64>() * width as u64,
            None => self.most_bytes.min(super::meta::LARGEST_CHUNK),
        }
    }

    /// Returns the most bytes that a chunk can be stored in: no codec makes data longer than by an eighth.
    fn most_stored(&self) -> u64 {
        self.decoded_bytes() + self.decoded_bytes() / 8 + 1024
    }

    fn most_stored_object(&self) -> u64 {
        match self.meta.shard {
            None => self.most_stored(),
            Some(_) => {
                self.most_stored().saturating_mul(self.chunks_in_object()).saturating_add(self.index_bytes() + 4)
            }
        }
    }

    fn chunks_in_object(&self) -> u64 {
        self.meta.chunks_in_object().expect("checked when the metadata were read")
    }

    fn index_bytes(&self) -> u64 {
        16 * self.chunks_in_object()
    }

    /// Returns what [`each_chunk`](Self::each_chunk) holds at most: a chunk as it is stored, decoded and made native, what
    /// the codecs hold between, and a shard's index, as read and without its checksum.
    pub(super) fn scratch(&self) -> u64 {
        let decoded = self.decoded_bytes();
        let index = if self.meta.shard.is_some() { 2 * self.index_bytes() + 8 } else { 0 };
        let widened = if matches!(self.meta.element, Element::Number { half: true, .. }) { 2 * decoded } else { 0 };
        let codecs = codecs::scratch_bytes(&self.meta.codecs, decoded);
        let steps = [self.most_stored(), decoded, widened, codecs, index, 4096];
        steps.into_iter().fold(0, u64::saturating_add)
    }

    /// Returns the key of an object by its place in the grid.
    fn key(&self, at: &[u64]) -> String {
        let Keys { prefix, separator } = self.meta.keys;
        let mut key = self.place.clone();
        if !key.is_empty() {
            key.push('/');
        }
        let numbers: Vec<String> = at.iter().map(u64::to_string).collect();
        let numbers = numbers.join(separator.encode_utf8(&mut [0; 4]));
        match (prefix, self.is_scalar) {
            (true, true) => key.push('c'),
            (true, false) => key.push_str(&format!("c{separator}{numbers}")),
            (false, _) => key.push_str(&numbers),
        }
        key
    }
}

/// Turns stored numbers into this machine's; all else stays.
pub(super) fn native(mut bytes: Vec<u8>, element: &Element) -> Vec<u8> {
    let Element::Number { dtype, half, big_endian } = element else { return bytes };
    if *big_endian != cfg!(target_endian = "big") {
        let width = if *half { 2 } else { dtype.size_of() };
        bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    if *dtype == DType::Bool {
        bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    if *half {
        let mut wide = Vec::with_capacity(2 * bytes.len());
        for pair in bytes.chunks_exact(2) {
            wide.extend_from_slice(&widened(u16::from_ne_bytes([pair[0], pair[1]])).to_ne_bytes());
        }
        return wide;
    }
    bytes
}
