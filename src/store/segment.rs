//! Segments: nameless files that many chunks share, and the extents that chunks have in them.
//!
//! ```text
//! segment (sparse, at its final length from the start)
//! ┌────────┬──────────────┬─────┬────────┬───────────────────────────────┐
//! │ extent │ extent       │free │ extent │ free: takes no disk           │
//! └────────┴──────────────┴─────┴────────┴───────────────────────────────┘
//! ```
//!
//! An [`Extent`] is the right to write a range; sealing it turns it into the right to read it; dropping either gives
//! the range back. So no range has two owners, and what is sealed is never written. Freed ranges are kept for the
//! next chunk up to 32 MiB a segment, and punched out of the file beyond that.

use std::fs::File;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::Errno;

use super::StoreShared;
use super::space::Space;

/// Freed bytes that a segment may keep on the disk: a chunk written over them costs no allocation.
const KEEP_BYTES: u64 = 32 << 20;
/// Free runs shorter than this are not punched: the file system works in blocks, and a call has its cost.
const PUNCH_BYTES: u64 = 64 << 10;

/// A nameless file of chunks.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    id: u64,
    capacity: u64,
    granule: u64,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    space: Space,
    /// Freed bytes that still take disk, roughly: it decides when to punch, nothing else.
    loose: u64,
}

impl Segment {
    /// Takes an empty file and gives it its final length, without taking disk.
    pub(super) fn new(file: File, id: u64, capacity: u64, granule: u64) -> Result<Self, Errno> {
        rustix::fs::ftruncate(&file, capacity)?;
        Ok(Segment { file, id, capacity, granule, free: Mutex::new(Free { space: Space::new(capacity), loose: 0 }) })
    }

    /// Returns the file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the segment's number in its spool.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the file's length.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns what every extent starts and ends at a multiple of.
    pub(super) fn granule(&self) -> u64 {
        self.granule
    }

    /// Returns whether no extent is left.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().space.taken() == 0
    }

    /// Returns whether the file still has its length: what is beyond the end of a file cannot be read through a map.
    pub(super) fn is_whole(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() >= self.capacity)
    }

    /// Takes a range that ends at or before `limit`.
    pub(super) fn take(&self, len: u64, limit: u64) -> Option<u64> {
        let mut free = self.lock();
        let offset = free.space.take(len, limit)?;
        free.loose = free.loose.saturating_sub(len);
        Some(offset)
    }

    /// Gives a range back, and with it disk, once the segment keeps enough.
    pub(super) fn give(&self, offset: u64, len: u64) {
        let mut free = self.lock();
        let (start, run) = free.space.give(offset, len);
        free.loose += len;
        if free.loose > KEEP_BYTES.min(self.capacity / 8) && run >= PUNCH_BYTES {
            free.loose = free.loose.saturating_sub(run);
            // Under the lock, so that nobody writes into the run meanwhile. A file system that cannot punch keeps the
            // bytes for the next chunk, which is all that is lost.
            let _ = self.punch(start, run);
        }
    }

    /// Gives all free bytes back to the file system.
    pub(super) fn reclaim(&self) {
        let mut free = self.lock();
        free.loose = 0;
        for (offset, len) in free.space.free_runs().filter(|(_, len)| *len >= PUNCH_BYTES) {
            let _ = self.punch(offset, len);
        }
    }

    fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        rustix::fs::fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A range of a segment that its owner may write.
#[derive(Debug)]
pub(super) struct Extent {
    store: Arc<StoreShared>,
    segment: Arc<Segment>,
    offset: u64,
    len: u64,
}

impl Extent {
    /// Owns a range that was just taken from `segment`.
    pub(super) fn new(store: Arc<StoreShared>, segment: Arc<Segment>, offset: u64, len: u64) -> Self {
        Extent { store, segment, offset, len }
    }

    /// Makes sure that the disk has room for the whole range, or that it has given nothing away.
    pub(super) fn allocate(&self) -> Result<(), Errno> {
        let segment = &self.segment;
        match rustix::fs::fallocate(&segment.file, FallocateFlags::KEEP_SIZE, self.offset, self.len) {
            // Without fallocate the write itself finds the disk full, which is later but as clean.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => {
                // ext4 keeps what it could allocate, so a full disk would stay full.
                let _ = segment.punch(self.offset, self.len);
                Err(errno)
            }
        }
    }

    /// Writes all slices one after the other, from `at` bytes into the range.
    pub(super) fn write(&self, at: u64, slices: &mut [IoSlice<'_>]) -> Result<(), Errno> {
        let (mut slices, mut at) = (slices, at);
        let total: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        assert!(at + total <= self.len, "a writer stays inside its extent");
        // Empty slices would make a call that writes nothing look like a full disk.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match rustix::io::pwritev(&self.segment.file, slices, self.offset + at) {
                Ok(0) => return Err(Errno::NOSPC),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut slices, written);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Ends writing for ever.
    pub(super) fn seal(self) -> Sealed {
        Sealed(self)
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        self.store.release(&self.segment, self.offset, self.len);
    }
}

/// A range of a segment that nobody writes any more.
#[derive(Debug)]
pub(super) struct Sealed(Extent);

impl Sealed {
    /// Returns the store whose segment it is.
    pub(super) fn store(&self) -> &Arc<StoreShared> {
        &self.0.store
    }

    /// Returns the segment.
    pub(super) fn segment(&self) -> &Segment {
        &self.0.segment
    }

    /// Returns where in the segment it starts.
    pub(super) fn offset(&self) -> u64 {
        self.0.offset
    }

    /// Returns its length, a multiple of the segment's granule.
    pub(super) fn len(&self) -> u64 {
        self.0.len
    }

    /// Lets the kernel drop the range from its cache, once written back.
    pub(super) fn drop_cache(&self) {
        let len = std::num::NonZeroU64::new(self.0.len);
        let _ = rustix::fs::fadvise(&self.0.segment.file, self.0.offset, len, Advice::DontNeed);
    }
}
