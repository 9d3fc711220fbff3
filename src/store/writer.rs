//! Filling a chunk: reserve, write in order, seal.
//!
//! ```text
//! run: │ header 64 │ part 0 │pad│ part 1 │pad│ …     every part starts at a multiple of 64
//! ```
//!
//! The disk's room is reserved before the first byte, so that a full disk is an error at the start and not in the
//! middle. Small pieces are gathered and written together; large ones go straight from the caller's buffer.

use std::io::IoSlice;
use std::sync::Arc;

use super::StoreShared;
use super::chunk::Chunk;
use super::header::{ALIGN, BLOCK, Checksums, HEADER, Header};
use super::segment::Extent;
use crate::error::{Error, Result};

/// Pieces are gathered up to this many bytes.
const GATHER: usize = 64 << 10;

/// Where the parts of a chunk stand in its run.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Start and length of each part.
    pub(super) parts: Box<[(u64, u64)]>,
    /// Bytes of all, with header and padding.
    pub(super) run_bytes: u64,
}

impl Layout {
    /// Lays parts of these lengths out; `None` when their sum is beyond what a file can hold.
    fn new(lengths: &[u64]) -> Option<Self> {
        let mut at = HEADER;
        let mut parts = Vec::with_capacity(lengths.len());
        for &len in lengths {
            parts.push((at, len));
            at = at.checked_add(len)?.checked_next_multiple_of(ALIGN)?;
        }
        (at <= i64::MAX as u64 / 2).then(|| Layout { parts: parts.into(), run_bytes: at })
    }
}

/// A chunk under construction. Dropping it unsealed gives its space back.
///
/// # Examples
///
/// ```
/// use allotment::store::{Spool, SpoolOptions};
/// let spool = Spool::open(&SpoolOptions::default())?;
/// let mut writer = spool.store(0).writer(&[8, 3])?;
/// writer.write(b"streamed")?;
/// writer.write(b"in")?; // pieces may be cut anywhere
/// writer.write(b"!")?;
/// let chunk = writer.seal()?;
/// assert_eq!(chunk.bytes()?.part(1), b"in!");
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a chunk that is not sealed is lost"]
pub struct ChunkWriter {
    store: Arc<StoreShared>,
    extent: Extent,
    header: Header,
    layout: Layout,
    checksums: Checksums,
    gathered: Vec<u8>,
    /// Bytes of the run that were accepted.
    position: u64,
    /// The part being filled.
    part: usize,
    broken: bool,
}

impl ChunkWriter {
    /// Reserves room for parts of these lengths.
    pub(super) fn new(store: &Arc<StoreShared>, lengths: &[u64]) -> Result<Self> {
        if !store.spool.directory.is_ours() {
            return Err(Error::Forked);
        }
        let layout = Layout::new(lengths).ok_or_else(|| store.full(u64::MAX))?;
        let extent = store.take(layout.run_bytes)?;
        let header = store.spool.next_header(layout.run_bytes);
        Ok(ChunkWriter {
            store: store.clone(),
            extent,
            header,
            layout,
            checksums: Checksums::default(),
            gathered: header.to_bytes().to_vec(),
            position: HEADER,
            part: 0,
            broken: false,
        })
    }

    /// Writes the next bytes: parts are filled one after the other, cut wherever the caller likes.
    ///
    /// # Errors
    ///
    /// `BadArgument` for more bytes than were reserved, `SpoolFull` or `Io` when the disk refuses. The chunk cannot be sealed
    /// after that.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let Some(room) = self.room_in_part()? else {
                self.broken = true;
                let reserved: u64 = self.layout.parts.iter().map(|(_, len)| len).sum();
                let expected = format!("no more than the {reserved} bytes that were reserved");
                return Err(Error::bad_argument("write a chunk", "bytes", format!("{} more", bytes.len()), expected));
            };
            let (now, later) = bytes.split_at(room.min(bytes.len() as u64).min(BLOCK as u64) as usize);
            self.push(now)?;
            bytes = later;
        }
        Ok(())
    }

    /// Ends the chunk: from now on its bytes are read-only.
    ///
    /// # Errors
    ///
    /// `BadArgument` when fewer bytes were written than reserved, or an earlier write failed; else as for `write`.
    pub fn seal(mut self) -> Result<Chunk> {
        let missing = self.room_in_part()?;
        if missing.is_some() || self.broken {
            let expected = format!("{} bytes, all written without an error", self.layout.run_bytes);
            return Err(Error::bad_argument("seal a chunk", "bytes", format!("{} written", self.position), expected));
        }
        self.flush(&[])?;
        let (sealed, checksums) = (self.extent.seal(), self.checksums.finish());
        Ok(Chunk::new(sealed, self.header, self.layout, checksums))
    }

    /// Returns how many bytes the current part still takes, moving on past full ones; `None` after the last.
    fn room_in_part(&mut self) -> Result<Option<u64>> {
        while let Some(&(start, len)) = self.layout.parts.get(self.part) {
            if self.position < start + len {
                return Ok(Some(start + len - self.position));
            }
            let padding = self.position.next_multiple_of(ALIGN) - self.position;
            self.push(&[0; ALIGN as usize][..padding as usize])?;
            self.part += 1;
        }
        Ok(None)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksums.update(bytes);
        self.position += bytes.len() as u64;
        if self.gathered.len() + bytes.len() <= GATHER {
            self.gathered.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush(bytes)
    }

    /// Writes what was gathered, then `bytes`.
    fn flush(&mut self, bytes: &[u8]) -> Result<()> {
        let at = self.position - (self.gathered.len() + bytes.len()) as u64;
        let written = self.extent.write(at, &mut [IoSlice::new(&self.gathered), IoSlice::new(bytes)]);
        self.gathered.clear();
        written.map_err(|errno| {
            self.broken = true;
            self.store.refused("write a chunk in", self.layout.run_bytes, errno)
        })
    }
}
