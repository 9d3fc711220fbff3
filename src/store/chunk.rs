//! A sealed chunk, and its bytes in memory.
//!
//! A chunk is *cold* until its bytes were checked in the map that is read now: at first, and after it was evicted, its
//! map was dropped, or the kernel took pages back. Coming back from cold, its header and every checksum are verified.
//! Where chunks cannot be mapped (a network file system, no room for another map) each call reads a verified copy.
//! What is not seen: a page that the kernel takes back and reads again between that check and the last use.

use std::fmt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::header::{BLOCK, HEADER, Header};
use super::mapping::Mapping;
use super::segment::Sealed;
use super::writer::Layout;
use super::{StoreShared, Verify};
use crate::error::{Error, Result};

/// A sealed run of bytes. Cloning shares it; the last clone gives the space back.
///
/// # Examples
///
/// ```
/// use allotment::store::{Spool, SpoolOptions};
/// let spool = Spool::open(&SpoolOptions::default())?;
/// let chunk = spool.store(0).write(&[b"left", b"right"])?;
/// let bytes = chunk.bytes()?;
/// assert_eq!((bytes.part(0), bytes.part(1)), (&b"left"[..], &b"right"[..]));
/// bytes.check()?; // nothing vanished while we read
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chunk {
    shared: Arc<Shared>,
}

/// What all clones of a chunk share.
pub(super) struct Shared {
    sealed: Sealed,
    header: Header,
    layout: Layout,
    checksums: Box<[u32]>,
    /// How many `ChunkBytes` read it: while there are any, it is not evicted.
    pins: AtomicU32,
    last_used: AtomicU64,
    /// The map in which it was verified; 0 while it is cold.
    warm_in: AtomicU64,
}

impl Chunk {
    /// Takes what a writer has sealed.
    pub(super) fn new(sealed: Sealed, header: Header, layout: Layout, checksums: Box<[u32]>) -> Self {
        sealed.store().note_sealed(layout.run_bytes);
        let (pins, last_used, warm_in) = (AtomicU32::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Chunk { shared: Arc::new(Shared { sealed, header, layout, checksums, pins, last_used, warm_in }) }
    }

    /// Returns how many bytes all parts hold.
    pub fn nbytes(&self) -> u64 {
        self.shared.layout.parts.iter().map(|(_, len)| len).sum()
    }

    /// Returns how many parts it has.
    pub fn n_parts(&self) -> usize {
        self.shared.layout.parts.len()
    }

    /// Maps the chunk, verifying its checksums when it comes back cold.
    ///
    /// # Errors
    ///
    /// `ChunkDamaged` when the file no longer holds what was sealed; `Io` or `OutOfMemory` when it cannot be read.
    pub fn bytes(&self) -> Result<ChunkBytes> {
        let shared = &self.shared;
        let store = shared.store();
        // Pinned before anything is read, so that nobody evicts it between here and the end.
        let pin = Pin::new(shared.clone());
        shared.last_used.store(store.spool.tick(), Ordering::Relaxed);
        let mapping = if store.spool.copies { None } else { store.spool.pool.acquire(shared.sealed.segment()) };
        let bytes = match mapping {
            Some(mapping) => ChunkBytes { pinned: Arc::new(Pinned { backing: Backing::Mapped(mapping), pin }) },
            None => ChunkBytes { pinned: Arc::new(Pinned { backing: Backing::Copied(shared.read()?), pin }) },
        };
        shared.admit(&bytes.pinned).inspect_err(|_| store.note_damaged())?;
        Ok(bytes)
    }
}

impl Shared {
    fn store(&self) -> &Arc<StoreShared> {
        self.sealed.store()
    }

    /// Returns the number that no other chunk of the spool has.
    pub(super) fn id(&self) -> u64 {
        self.header.chunk
    }

    /// Returns how many bytes its run takes.
    pub(super) fn run_bytes(&self) -> u64 {
        self.layout.run_bytes
    }

    /// Returns when it was used last, on the spool's own clock.
    pub(super) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    /// Returns whether somebody reads it.
    pub(super) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }

    /// Makes it cold: its pages are given up, and the next reader verifies it again.
    pub(super) fn evict(&self, drop_cache: bool) {
        self.warm_in.store(0, Ordering::Release);
        if let Some(mapping) = self.store().spool.pool.existing(self.sealed.segment()) {
            mapping.forget(&self.sealed);
        }
        if drop_cache {
            self.sealed.drop_cache();
        }
    }

    /// Does what the kernel does under pressure: takes the pages back without telling anybody.
    #[cfg(test)]
    fn reclaim(&self) -> bool {
        let mapping = self.store().spool.pool.existing(self.sealed.segment()).expect("it was read");
        self.sealed.segment().file().sync_data().expect("the disk takes it");
        mapping.forget(&self.sealed);
        self.sealed.drop_cache();
        !mapping.is_resident(&self.sealed)
    }

    /// Lets a reader have the bytes: verifies what is cold.
    fn admit(self: &Arc<Self>, pinned: &Pinned) -> Result<()> {
        let store = self.store();
        let Backing::Mapped(mapping) = &pinned.backing else {
            return if store.spool.verify == Verify::Never { Ok(()) } else { self.verify(pinned) };
        };
        // A file cut short inside a page raises no signal, so its length is asked for each time.
        self.check_length()?;
        // Pages that the kernel took back will come from the disk again, so they are as cold as evicted ones.
        let is_new = self.warm_in.load(Ordering::Acquire) != mapping.id();
        let is_cold = is_new || !mapping.is_resident(&self.sealed);
        if is_cold {
            mapping.populate(&self.sealed);
        }
        if store.spool.verify == Verify::Always || (is_cold && store.spool.verify == Verify::Cold) {
            self.verify(pinned)?;
        }
        if is_new {
            store.note_warm(self, || self.warm_in.store(mapping.id(), Ordering::Release));
        }
        Ok(())
    }

    fn verify(&self, pinned: &Pinned) -> Result<()> {
        let run = pinned.run();
        let (header, body) = run.split_at(HEADER as usize);
        let in_header = self.header.check(header);
        pinned.check_vanished()?;
        in_header.map_err(|(expected, found)| self.damaged(0, expected, found))?;
        for (index, (block, sealed)) in body.chunks(BLOCK).zip(&self.checksums).enumerate() {
            let found = crc32fast::hash(block);
            // Asked after each block, so that a file cut short costs the faults of one block and not of all.
            pinned.check_vanished()?;
            if found != *sealed {
                let offset = HEADER + (index * BLOCK) as u64;
                return Err(self.damaged(offset, format!("checksum {sealed:08x}"), format!("checksum {found:08x}")));
            }
        }
        Ok(())
    }

    /// Compares the file's length with what it must be: beyond its end there is nothing to read.
    fn check_length(&self) -> Result<()> {
        let capacity = self.sealed.segment().capacity();
        let found = self.sealed.segment().file().metadata().map_err(|source| self.unreadable(source))?.len();
        if found >= capacity {
            return Ok(());
        }
        let offset = found.saturating_sub(self.sealed.offset()).min(self.layout.run_bytes);
        Err(self.damaged(offset, format!("a file of {capacity} bytes"), format!("one of {found}")))
    }

    /// Reads the run into memory of our own.
    fn read(&self) -> Result<AlignedBytes> {
        let run_bytes = self.layout.run_bytes;
        let mut copy = AlignedBytes::new(run_bytes)?;
        match self.sealed.segment().file().read_exact_at(copy.bytes_mut(), self.sealed.offset()) {
            Ok(()) => Ok(copy),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.store().note_damaged();
                Err(self.damaged(0, format!("{run_bytes} bytes"), "the end of the file"))
            }
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn damaged(&self, offset: u64, expected: impl AsRef<str>, found: impl AsRef<str>) -> Error {
        Error::ChunkDamaged {
            file: self.store().spool.directory.path().clone(),
            chunk: self.header.chunk,
            offset,
            expected: expected.as_ref().into(),
            found: found.as_ref().into(),
        }
    }

    fn unreadable(&self, source: std::io::Error) -> Error {
        Error::io("read a chunk of", &**self.store().spool.directory.path(), source)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if *self.warm_in.get_mut() != 0 {
            self.evict(false);
        }
        self.store().note_dropped(self.header.chunk, self.layout.run_bytes);
    }
}

/// The bytes of a chunk in memory, as long as this lives.
#[derive(Clone, Debug)]
pub struct ChunkBytes {
    pinned: Arc<Pinned>,
}

impl ChunkBytes {
    /// Returns one part, aligned to 64 bytes.
    ///
    /// # Panics
    ///
    /// When there is no such part, as an index into a slice does.
    pub fn part(&self, index: usize) -> &[u8] {
        let (start, len) = self.pinned.pin.0.layout.parts[index];
        &self.pinned.run()[start as usize..(start + len) as usize]
    }

    /// Returns how many parts there are.
    pub fn n_parts(&self) -> usize {
        self.pinned.pin.0.layout.parts.len()
    }

    /// Confirms, after the bytes were used, that nothing vanished from under them.
    ///
    /// A chunk between two pages that vanished is suspected as well, although it may be whole: another call of
    /// [`Chunk::bytes`] looks at the file itself, and tells.
    ///
    /// # Errors
    ///
    /// `ChunkDamaged` when the file was cut short or a page could not be read: what was computed is void.
    pub fn check(&self) -> Result<()> {
        let shared = &self.pinned.pin.0;
        let result = match &self.pinned.backing {
            Backing::Copied(_) => Ok(()),
            Backing::Mapped(_) => self.pinned.check_vanished().and_then(|()| shared.check_length()),
        };
        result.inspect_err(|_| shared.store().note_damaged())
    }
}

/// A chunk that somebody reads.
#[derive(Debug)]
struct Pin(Arc<Shared>);

impl Pin {
    fn new(shared: Arc<Shared>) -> Self {
        shared.pins.fetch_add(1, Ordering::AcqRel);
        Pin(shared)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Debug)]
struct Pinned {
    // Dropped before the pin, so that an unpinned chunk is not read.
    backing: Backing,
    pin: Pin,
}

#[derive(Debug)]
enum Backing {
    Mapped(Arc<Mapping>),
    Copied(AlignedBytes),
}

impl Pinned {
    fn run(&self) -> &[u8] {
        let run_bytes = self.pin.0.layout.run_bytes as usize;
        match &self.backing {
            Backing::Mapped(mapping) => &mapping.bytes(&self.pin.0.sealed)[..run_bytes],
            Backing::Copied(copy) => copy.bytes(),
        }
    }

    fn check_vanished(&self) -> Result<()> {
        let Backing::Mapped(mapping) = &self.backing else { return Ok(()) };
        match mapping.vanished_in(&self.pin.0.sealed) {
            None => Ok(()),
            Some(offset) => Err(self.pin.0.damaged(offset, "a page of the file", "none (SIGBUS)")),
        }
    }
}

/// Anonymous memory that starts at a multiple of 64 bytes.
struct AlignedBytes {
    room: Vec<u8>,
    start: usize,
    len: usize,
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBytes({} bytes)", self.len)
    }
}

impl AlignedBytes {
    fn new(len: u64) -> Result<Self> {
        let refused = || Error::OutOfMemory { what: "a copy of a chunk".into(), bytes: len };
        let align = super::header::ALIGN as usize;
        let size = usize::try_from(len).ok().and_then(|len| len.checked_add(align)).ok_or_else(refused)?;
        let mut room = Vec::new();
        room.try_reserve_exact(size).map_err(|_| refused())?;
        room.resize(size, 0);
        // The vector is never grown, so its bytes, and with them this offset, stay where they are.
        let start = room.as_ptr().align_offset(align);
        Ok(AlignedBytes { start, len: size - align, room })
    }

    fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.start + self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Spool, SpoolOptions};

    #[test]
    fn pages_that_the_kernel_took_back_are_verified_again() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let options = SpoolOptions { dir: Some(dir.path().into()), allow_ram: true, ..Default::default() };
        let chunk = Spool::open(&options).unwrap().store(0).write(&[&[5; 100_000]]).unwrap();
        chunk.bytes().unwrap();
        let file = chunk.shared.sealed.segment().file();
        file.write_all_at(&[6], chunk.shared.sealed.offset() + 50_000).unwrap();
        assert!(chunk.bytes().is_ok(), "while its pages stay in memory, a verified chunk is trusted");
        if !chunk.shared.reclaim() {
            println!("skipped: /var/tmp is in memory, or its pages cannot be dropped");
            return;
        }
        assert!(matches!(chunk.bytes(), Err(Error::ChunkDamaged { .. })));
    }

    #[test]
    fn a_copy_starts_at_a_multiple_of_64_whatever_its_length() {
        for len in [0, 1, 63, 64, 100_001] {
            let mut copy = AlignedBytes::new(len).unwrap();
            copy.bytes_mut().fill(1);
            assert_eq!((copy.bytes().len() as u64, copy.bytes().as_ptr().addr() % 64), (len, 0));
        }
        assert!(matches!(AlignedBytes::new(u64::MAX), Err(Error::OutOfMemory { bytes: u64::MAX, .. })));
    }
}
