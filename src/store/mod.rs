//! Bytes on disk, seen as memory. Knows no numbers.
//!
//! ```text
//! Spool    one per cluster: a private directory without names in it, a pool of maps
//!  └ Store      one per worker: segments that grow as they are needed
//!     └ Chunk      written once, sealed, then read-only for ever; its last clone gives the space back
//!        └ ChunkBytes   its bytes in memory, for as long as somebody reads them
//! ```
//!
//! **Writing** never goes through a map: room is allocated, bytes are written with `pwrite` and checksummed on the way,
//! then the chunk is sealed. So a full disk is [`Error::SpoolFull`] with both numbers, and what was
//! allocated for the chunk is given back.
//!
//! **Reading** maps the segment, read-only, and verifies a chunk's checksums whenever it comes back cold: a flipped bit,
//! a hole, another chunk's bytes are [`Error::ChunkDamaged`]. Mapped pages are cache: the kernel takes
//! them back when it needs memory, without asking and without harm, and [`Store::trim`] lets go of them early.
//!
//! **The SIGBUS guard** (on by default) turns a page that vanishes under a map, because the file was cut short or the
//! disk failed, into an error of [`ChunkBytes::check`]. It is a handler for SIGBUS that minds only our own maps
//! and passes everything else on to the handler that stood before, std's among them.
//!
//! **Kept out**: other users, by mode 0700 and by files without names. **Detected, not prevented**: a bad disk, and this
//! same user or root, who can reach anything of ours through `/proc`.
//!
//! This is for Linux: nameless files, holes and the guard are asked of its kernel.
//!
//! Always true: a range of a segment has one owner; what is sealed is never written; a process that is killed leaves no
//! bytes behind.

mod chunk;
mod directory;
mod filesystem;
mod header;
mod limits;
mod mapping;
mod pool;
mod segment;
mod sigbus;
mod space;
mod spool;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::io::Errno;

pub use chunk::{Chunk, ChunkBytes};
pub use filesystem::FileSystem;
#[cfg(feature = "mtx")]
pub(crate) use spool::scratch_file;
pub use spool::{Spool, SpoolOptions, Verify};
pub use writer::ChunkWriter;

use crate::error::{Error, Result};
use segment::{Extent, Segment};
use spool::SpoolShared;

/// Chunks from this size on start at a page, so that they can be evicted alone.
const LARGE_BYTES: u64 = 32 << 10;
/// What large chunks start at a multiple of.
const PAGE_GRANULE: u64 = 4096;

/// A worker's chunk files. Cloning shares them.
///
/// # Examples
///
/// ```
/// use allotment::store::{Spool, SpoolOptions};
/// let store = Spool::open(&SpoolOptions::default())?.store(0);
/// let chunk = store.write(&[b"to disk and back"])?;
/// assert_eq!(chunk.bytes()?.part(0), b"to disk and back");
/// drop(chunk);
/// assert_eq!(store.stats().chunks, 0);
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<StoreShared>,
}

/// What a store holds, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// The worker it belongs to.
    pub worker: usize,
    /// Chunks that live.
    pub chunks: u64,
    /// Bytes of them, with headers and padding.
    pub bytes: u64,
    /// Bytes ever sealed.
    pub written_bytes: u64,
    /// Segment files that are open: one descriptor each.
    pub segments: usize,
    /// Bytes of the chunks that were read since they were last evicted.
    pub mapped_bytes: u64,
    /// Maps in the whole spool.
    pub maps: usize,
    /// Chunks evicted so far.
    pub evictions: u64,
    /// Times that a chunk was found damaged.
    pub damaged: u64,
    /// Pages that vanished under a map, in the whole process.
    pub vanished_pages: u64,
}

/// What the clones of a store and its chunks share.
struct StoreShared {
    spool: Arc<SpoolShared>,
    worker: usize,
    segments: Mutex<Vec<Arc<Segment>>>,
    /// Chunks that were read since they were last evicted, by number.
    warm: Mutex<HashMap<u64, Weak<chunk::Shared>>>,
    chunks: AtomicU64,
    bytes: AtomicU64,
    written_bytes: AtomicU64,
    mapped_bytes: AtomicU64,
    evictions: AtomicU64,
    damaged: AtomicU64,
}

impl fmt::Debug for StoreShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.spool.directory.path();
        f.debug_struct("StoreShared").field("worker", &self.worker).field("dir", dir).finish_non_exhaustive()
    }
}

impl Store {
    fn new(spool: Arc<SpoolShared>, worker: usize) -> Self {
        let shared = StoreShared {
            spool,
            worker,
            segments: Mutex::default(),
            warm: Mutex::default(),
            chunks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            mapped_bytes: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        };
        Store { shared: Arc::new(shared) }
    }

    /// Writes the parts as one sealed chunk; each part starts at a multiple of 64 bytes.
    ///
    /// # Errors
    ///
    /// `SpoolFull` when the disk, or the limit on file sizes, has no room; `SpoolDir` when the directory is gone;
    /// `Forked` in a forked child; `Io` for what else the system says.
    pub fn write(&self, parts: &[&[u8]]) -> Result<Chunk> {
        let lengths: Vec<u64> = parts.iter().map(|part| part.len() as u64).collect();
        let mut writer = self.writer(&lengths)?;
        parts.iter().try_for_each(|part| writer.write(part))?;
        writer.seal()
    }

    /// Reserves a chunk of parts of these lengths, to be filled piece by piece.
    ///
    /// # Errors
    ///
    /// As for [`Store::write`].
    pub fn writer(&self, lengths: &[u64]) -> Result<ChunkWriter> {
        ChunkWriter::new(&self.shared, lengths)
    }

    /// Evicts the least recently used chunks that nobody reads, until at most `target_bytes` are mapped; returns how many
    /// bytes were let go.
    pub fn trim(&self, target_bytes: u64) -> u64 {
        self.shared.trim(target_bytes)
    }

    /// Returns what the store holds now.
    pub fn stats(&self) -> StoreStats {
        let shared = &self.shared;
        StoreStats {
            worker: shared.worker,
            chunks: shared.chunks.load(Ordering::Relaxed),
            bytes: shared.bytes.load(Ordering::Relaxed),
            written_bytes: shared.written_bytes.load(Ordering::Relaxed),
            segments: shared.segments().len(),
            mapped_bytes: shared.mapped_bytes.load(Ordering::Relaxed),
            maps: shared.spool.pool.len(),
            evictions: shared.evictions.load(Ordering::Relaxed),
            damaged: shared.damaged.load(Ordering::Relaxed),
            vanished_pages: sigbus::faults(),
        }
    }
}

impl StoreShared {
    /// Takes an extent for a run of `len` bytes and has the disk allocate it.
    fn take(self: &Arc<Self>, len: u64) -> Result<Extent> {
        let granule = if len < LARGE_BYTES { header::ALIGN } else { PAGE_GRANULE };
        let limit = limits::file_bytes();
        let rounded = len.next_multiple_of(granule);
        if rounded > limit - limit % granule {
            return Err(self.full(len));
        }
        let extent = self.place(rounded, granule, limit)?;
        extent.allocate().or_else(|errno| self.allocate_again(&extent, errno)).map_err(|errno| {
            // The extent's drop gives the range back; its disk it has given back already.
            self.refused("allocate a chunk in", len, errno)
        })?;
        Ok(extent)
    }

    /// Finds a free range, or makes a segment for it.
    fn place(self: &Arc<Self>, len: u64, granule: u64, limit: u64) -> Result<Extent> {
        let mut segments = self.segments();
        for segment in segments.iter().filter(|segment| segment.granule() == granule) {
            if let Some(offset) = segment.take(len, limit) {
                // A segment that somebody cut short keeps the chunks it has, and gets no new ones.
                if segment.is_whole() {
                    return Ok(Extent::new(self.clone(), segment.clone(), offset, len));
                }
                segment.give(offset, len);
            }
        }
        let segment = Arc::new(self.spool.new_segment(len, granule, limit)?);
        let offset = segment.take(len, limit).ok_or_else(|| self.full(len))?;
        segments.push(segment.clone());
        Ok(Extent::new(self.clone(), segment, offset, len))
    }

    /// Gives freed bytes back to a full disk and tries once more.
    fn allocate_again(&self, extent: &Extent, errno: Errno) -> Result<(), Errno> {
        if !matches!(errno, Errno::NOSPC | Errno::DQUOT) {
            return Err(errno);
        }
        self.segments().iter().for_each(|segment| segment.reclaim());
        extent.allocate()
    }

    /// Takes an extent's range back, and closes its segment when that was the last and another one is there.
    fn release(&self, segment: &Arc<Segment>, offset: u64, len: u64) {
        // A forked child has the parent's files: it must not give away what the parent reads.
        if !self.spool.directory.is_ours() {
            return;
        }
        // Held from giving back to closing, so that nobody takes a range of a segment that is being closed.
        let mut segments = self.segments();
        segment.give(offset, len);
        let is_needed =
            || segments.iter().any(|other| other.granule() == segment.granule() && other.id() != segment.id());
        if segment.is_empty() && is_needed() {
            segments.retain(|other| other.id() != segment.id());
            self.spool.pool.forget(segment);
            self.spool.open_segments.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn trim(&self, target_bytes: u64) -> u64 {
        let mut idle: Vec<Arc<chunk::Shared>> =
            self.warm().values().filter_map(Weak::upgrade).filter(|chunk| !chunk.is_pinned()).collect();
        idle.sort_by_key(|chunk| chunk.last_used());
        let mut evicted_bytes = 0;
        for chunk in &idle {
            if self.mapped_bytes.load(Ordering::Relaxed) <= target_bytes {
                break;
            }
            let mut warm = self.warm();
            if !chunk.is_pinned() && warm.remove(&chunk.id()).is_some() {
                chunk.evict(self.spool.drop_cache);
                self.mapped_bytes.fetch_sub(chunk.run_bytes(), Ordering::Relaxed);
                self.evictions.fetch_add(1, Ordering::Relaxed);
                evicted_bytes += chunk.run_bytes();
            }
        }
        evicted_bytes
    }

    /// Notes that a chunk is mapped; `mark` runs under the lock, so that eviction sees both or neither.
    fn note_warm(&self, chunk: &Arc<chunk::Shared>, mark: impl FnOnce()) {
        let mut warm = self.warm();
        mark();
        if warm.insert(chunk.id(), Arc::downgrade(chunk)).is_none() {
            self.mapped_bytes.fetch_add(chunk.run_bytes(), Ordering::Relaxed);
        }
    }

    fn note_sealed(&self, run_bytes: u64) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(run_bytes, Ordering::Relaxed);
        self.written_bytes.fetch_add(run_bytes, Ordering::Relaxed);
    }

    fn note_dropped(&self, chunk: u64, run_bytes: u64) {
        self.chunks.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(run_bytes, Ordering::Relaxed);
        if self.warm().remove(&chunk).is_some() {
            self.mapped_bytes.fetch_sub(run_bytes, Ordering::Relaxed);
        }
    }

    fn note_damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    fn full(&self, need: u64) -> Error {
        self.spool.full(need)
    }

    fn refused(&self, what: &'static str, need: u64, errno: Errno) -> Error {
        self.spool.refused(what, need, errno)
    }

    fn segments(&self) -> MutexGuard<'_, Vec<Arc<Segment>>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warm(&self) -> MutexGuard<'_, HashMap<u64, Weak<chunk::Shared>>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StoreShared {
    fn drop(&mut self) {
        for segment in self.segments().drain(..) {
            self.spool.pool.forget(&segment);
            self.spool.open_segments.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
