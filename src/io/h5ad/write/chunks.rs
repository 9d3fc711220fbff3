//! An array that is written chunk by chunk: shuffled and deflated on any lane, stored wherever the file ends, in any order.
//!
//! ```text
//! values ─▶ bytes of one weight together ─▶ deflate ─▶ the end of the file        encode, put
//!                                                      tree: chunk number ─▶ place, length     index, when all are there
//! ```
//! The tree is HDF5's B-tree of version 1, which every version of the library reads (File Format Specification 3.0,
//! §III.A.1). An array that is not compressed lies in one run, where a chunk's place follows from its number.

use std::io::Write;
use std::sync::{Arc, Mutex};

use flate2::write::ZlibEncoder;

use super::message::{Layout, Message, NOWHERE, Type, dataset, space};
use super::sink::Sink;
use crate::array::{DType, Values};
use crate::error::{Error, Result};
use crate::io::tree::ArrayWriter;
use crate::runtime::lock;

/// Half of the most children of a node: what a file that says nothing else has.
const HALF: usize = 32;
/// What zlib holds while it deflates: its window, its tables, and what waits to be written.
const DEFLATE_BYTES: u64 = 512 << 10;

/// Where a chunk is, and how long.
type Stored = (u64, u32);

/// An array being written.
#[derive(Debug)]
pub(super) struct Chunks {
    sink: Arc<Sink>,
    place: String,
    shape: Vec<u64>,
    dtype: DType,
    /// The length of a chunk along each dimension, where the values lie in chunks.
    dims: Vec<u32>,
    /// The bytes of a whole chunk.
    chunk_bytes: u64,
    /// The level of deflate; `None` where the values lie in one run.
    level: Option<u8>,
    /// Where the run begins.
    run: u64,
    stored: Mutex<Vec<Option<Stored>>>,
}

impl Chunks {
    /// Lays an array out: `chunk_rows` rows to a chunk, compressed at this level, or not at all.
    ///
    /// # Errors
    /// `BadArgument` for chunks of 4 GiB and more, which HDF5 does not have.
    pub(super) fn new(
        sink: &Arc<Sink>,
        place: &str,
        shape: &[u64],
        dtype: DType,
        chunk_rows: u64,
        level: Option<u8>,
    ) -> Result<Self> {
        let bytes = shape.iter().try_fold(dtype.size_of() as u64, |bytes, len| bytes.checked_mul(*len));
        let too_large = |what: &str| Error::bad_argument("write h5ad", "shape", format!("{place}: {shape:?}"), what);
        let bytes = bytes.ok_or_else(|| too_large("an array of less than 16 EiB"))?;
        let rows = shape.first().copied().unwrap_or(1);
        let step = chunk_rows.clamp(1, rows.max(1));
        let (sink, place, shape) = (sink.clone(), place.to_string(), shape.to_vec());
        let chunk_bytes = bytes / rows.max(1) * step;
        // Nothing has no chunks, and no place.
        let level = level.filter(|_| bytes > 0);
        if level.is_some() && u32::try_from(chunk_bytes).is_err() {
            return Err(too_large("chunks of less than 4 GiB: set fewer rows to a chunk"));
        }
        let lengths = [step].into_iter().chain(shape[1..].iter().copied()).map(|len| len as u32);
        let dims = if level.is_some() { lengths.collect() } else { Vec::new() };
        let run = if level.is_none() && bytes > 0 { sink.claim(bytes) } else { NOWHERE };
        let n_chunks = if bytes > 0 { rows.div_ceil(step) } else { 0 };
        let stored = Mutex::new(vec![None; n_chunks as usize]);
        Ok(Chunks { sink, place, shape, dtype, dims, chunk_bytes, level, run, stored })
    }

    /// Writes the tree and returns the messages of the array.
    ///
    /// # Errors
    /// `BadArgument` when a chunk is missing; `Io`.
    pub(super) fn messages(&self) -> Result<Vec<Message>> {
        let stored = lock(&self.stored);
        if let Some(missing) = stored.iter().position(Option::is_none) {
            let found = format!("{} of {} without chunk {missing}", self.place, self.sink.path().display());
            return Err(Error::bad_argument("write h5ad", "array", found, "all chunks written"));
        }
        let layout = match self.level {
            None => {
                let n: u64 = self.shape.iter().product::<u64>() * self.dtype.size_of() as u64;
                Layout::Contiguous(self.run, n)
            }
            Some(_) => Layout::Chunked(self.index(&stored)?, self.dims.clone()),
        };
        Ok(dataset(space(&self.shape), &Type::Number(self.dtype), &layout, self.level))
    }

    /// Writes the tree over the chunks, leaves first, and returns where its root is.
    fn index(&self, stored: &[Option<Stored>]) -> Result<u64> {
        // A node's entry: the number of its first chunk, that chunk's length, and where the child is.
        let chunks = stored.iter().flatten().zip(0u64..);
        let mut level: Vec<(u64, u32, u64)> = chunks.map(|((at, len), number)| (number, *len, *at)).collect();
        let mut height = 0;
        loop {
            level = self.nodes(&level, height, stored.len() as u64)?;
            if let [(_, _, root)] = level[..] {
                return Ok(root);
            }
            height += 1;
        }
    }

    /// Writes the nodes of one level and returns their entries.
    fn nodes(&self, children: &[(u64, u32, u64)], height: u8, n_chunks: u64) -> Result<Vec<(u64, u32, u64)>> {
        let key = 8 + 8 * (self.dims.len() + 1);
        let node_bytes = 24 + (2 * HALF + 1) * key + 2 * HALF * 8;
        let parts: Vec<_> = children.chunks(2 * HALF).collect();
        let first = self.sink.claim((node_bytes * parts.len()) as u64);
        let address = |part: usize| first + (node_bytes * part) as u64;
        let mut entries = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let mut node = b"TREE\x01".to_vec();
            node.push(height);
            node.extend_from_slice(&(part.len() as u16).to_le_bytes());
            let left = at.checked_sub(1).map_or(NOWHERE, address);
            let right = if at + 1 < parts.len() { address(at + 1) } else { NOWHERE };
            node.extend_from_slice(&[left.to_le_bytes(), right.to_le_bytes()].concat());
            for (number, len, child) in part.iter() {
                self.push_key(&mut node, *number, *len);
                node.extend_from_slice(&child.to_le_bytes());
            }
            let (next, len) = parts.get(at + 1).map_or((n_chunks, 0), |next| (next[0].0, next[0].1));
            self.push_key(&mut node, next, len);
            node.resize(node_bytes, 0);
            self.sink.write_at(&node, address(at))?;
            entries.push((part[0].0, part[0].1, address(at)));
        }
        Ok(entries)
    }

    /// Appends a key: the chunk's length, that no filter was left out, and where its first value is in the array.
    fn push_key(&self, node: &mut Vec<u8>, chunk: u64, len: u32) {
        node.extend_from_slice(&len.to_le_bytes());
        node.extend_from_slice(&[0; 4]);
        let mut place = vec![0u64; self.dims.len() + 1];
        place[0] = chunk * u64::from(self.dims[0]);
        place.iter().for_each(|at| node.extend_from_slice(&at.to_le_bytes()));
    }
}

impl ArrayWriter for Chunks {
    fn scratch_bytes(&self) -> u64 {
        match self.level {
            // Shuffled; deflated, which can grow by a few bytes in each 16 KiB, in a buffer that doubles.
            Some(_) => 3 * self.chunk_bytes + (self.chunk_bytes >> 8) + DEFLATE_BYTES,
            None => self.chunk_bytes,
        }
    }

    fn encode(&self, values: &Values) -> Result<Vec<u8>> {
        let bytes = little_endian(values);
        let Some(level) = self.level else { return Ok(bytes) };
        let shuffled = shuffled(&bytes, self.dtype.size_of(), self.chunk_bytes as usize);
        drop(bytes);
        let room = Vec::with_capacity(shuffled.len() / 4 + 64);
        let mut encoder = ZlibEncoder::new(room, flate2::Compression::new(u32::from(level)));
        let failed = |source| Error::io("compress", self.sink.path(), source);
        encoder.write_all(&shuffled).map_err(failed)?;
        encoder.finish().map_err(failed)
    }

    fn put(&self, chunk: u64, encoded: Vec<u8>) -> Result<()> {
        let (found, n) = (chunk as usize, lock(&self.stored).len() as u64);
        if chunk >= n {
            return Err(Error::OutOfRange { operation: "write a chunk", index: chunk, len: n });
        }
        let at = match self.level {
            Some(_) => self.sink.append(&encoded)?,
            None => {
                let at = self.run + chunk * self.chunk_bytes;
                self.sink.write_at(&encoded, at)?;
                at
            }
        };
        // A chunk is shorter than 4 GiB, and deflate adds too little to matter to one that is far below.
        let len = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
        lock(&self.stored)[found] = Some((at, len));
        Ok(())
    }
}

/// Returns the values' bytes as a file has them.
pub(super) fn little_endian(values: &Values) -> Vec<u8> {
    let mut bytes = values.as_bytes().to_vec();
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(values.dtype().size_of()).for_each(<[u8]>::reverse);
    }
    bytes
}

/// Puts all first bytes of the values together, then all second ones, and so on; a chunk that is not full ends in zeros.
fn shuffled(bytes: &[u8], size: usize, chunk_bytes: usize) -> Vec<u8> {
    let mut all = vec![0; chunk_bytes];
    if size == 1 {
        all[..bytes.len()].copy_from_slice(bytes);
        return all;
    }
    for (weight, run) in all.chunks_exact_mut(chunk_bytes / size).enumerate() {
        for (to, value) in run.iter_mut().zip(bytes.chunks_exact(size)) {
            *to = value[weight];
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_puts_bytes_of_one_weight_together_and_fills_up() {
        assert_eq!(shuffled(&[1, 2, 3, 4], 2, 6), [1, 3, 0, 2, 4, 0]);
        assert_eq!(shuffled(&[1, 2], 1, 3), [1, 2, 0]);
    }
}
