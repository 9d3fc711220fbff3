//! The spool of a cluster: one private directory, the maps of all its stores, their common limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::directory::{self, Directory};
use super::filesystem::FileSystem;
use super::header::Header;
use super::pool::Pool;
use super::segment::Segment;
use super::{Store, limits, sigbus};
use crate::bytes::ByteSize;
use crate::error::{Error, Result};

/// When a chunk's checksums are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Verify {
    /// At every call of `Chunk::bytes`.
    Always,
    /// When it comes back cold: at its first reading, and after it was evicted or the kernel took its pages.
    #[default]
    Cold,
    /// Never: for a disk that checks itself.
    Never,
}

/// Settings of a spool.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Where the spool makes its directory: `None` is `$ALLOTMENT_SPOOL`, else `/var/tmp`.
    pub dir: Option<PathBuf>,
    /// When checksums are verified.
    pub verify: Verify,
    /// Whether a page that vanishes under a map is an error (true) or ends the process with SIGBUS.
    ///
    /// The guard is a signal handler; it passes on whatever is not about a map of ours to the handler that stood before.
    /// A program that installs its own SIGBUS handler later must pass on as well, or set this to false.
    pub sigbus_guard: bool,
    /// Whether a file system in memory will do. Its chunks are memory that no budget counts.
    pub allow_ram: bool,
    /// How long a segment is; a larger chunk gets one of its own.
    pub segment_bytes: ByteSize,
    /// How many maps there may be (0 copies every chunk); `None` is under a tenth of what the kernel allows the process.
    pub max_maps: Option<usize>,
    /// Whether an evicted chunk also leaves the kernel's cache, once written back.
    pub drop_cache: bool,
    /// The kind of file system, where `statfs` cannot tell: an overlay over NFS, a FUSE of a local disk.
    pub file_system: Option<FileSystem>,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        SpoolOptions {
            dir: None,
            verify: Verify::Cold,
            sigbus_guard: true,
            allow_ram: false,
            segment_bytes: ByteSize(256 << 20),
            max_maps: None,
            drop_cache: false,
            file_system: None,
        }
    }
}

/// The spool of one cluster. Cloning shares it; the last handle, store or chunk removes its directory.
///
/// # Examples
///
/// ```
/// use allotment::store::{Spool, SpoolOptions};
/// let spool = Spool::open(&SpoolOptions::default())?;
/// let store = spool.store(0);
/// let chunk = store.write(&[&[1, 2, 3]])?;
/// assert_eq!(chunk.bytes()?.part(0), [1, 2, 3]);
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Spool {
    pub(super) shared: Arc<SpoolShared>,
}

/// What the stores and chunks of a spool share.
#[derive(Debug)]
pub(super) struct SpoolShared {
    pub(super) directory: Directory,
    pub(super) verify: Verify,
    pub(super) drop_cache: bool,
    /// Whether chunks are copied rather than mapped.
    pub(super) copies: bool,
    pub(super) pool: Pool,
    segment_bytes: u64,
    /// Segments that are open, in all stores.
    pub(super) open_segments: AtomicUsize,
    next_segment: AtomicU64,
    next_chunk: AtomicU64,
    clock: AtomicU64,
}

impl Spool {
    /// Makes a private, locked directory, and sweeps those that dead processes left beside it.
    ///
    /// # Errors
    ///
    /// `SpoolDir` when the place belongs to somebody else, is in memory, or cannot hold files; `BadSetting` for a segment
    /// size that makes no sense.
    pub fn open(options: &SpoolOptions) -> Result<Self> {
        let segment_bytes = options.segment_bytes.0;
        if !(64 << 10..=1 << 40).contains(&segment_bytes) {
            let (found, expected) = (options.segment_bytes.to_string().into(), "from 64 KiB to 1 TiB".into());
            return Err(Error::BadSetting { setting: "segment_bytes", found, expected });
        }
        let directory = Directory::create(&directory::parent_path(options.dir.as_deref()))?;
        let kind = options.file_system.map_or_else(|| directory.file_system(), Ok)?;
        if kind == FileSystem::Ram && !options.allow_ram {
            return Err(
                directory.unusable("it is in memory (tmpfs), which chunks are meant to save; allow_ram permits it")
            );
        }
        // A map that the guard cannot watch is not made, so it need not be tried.
        let watched = if options.sigbus_guard { sigbus::SLOTS } else { usize::MAX };
        let max_maps = options.max_maps.unwrap_or_else(limits::maps).min(watched);
        let shared = SpoolShared {
            verify: options.verify,
            drop_cache: options.drop_cache,
            copies: kind == FileSystem::Remote,
            pool: Pool::new(max_maps, options.sigbus_guard),
            segment_bytes,
            open_segments: AtomicUsize::new(0),
            next_segment: AtomicU64::new(1),
            next_chunk: AtomicU64::new(1),
            clock: AtomicU64::new(1),
            directory,
        };
        // A file system that cannot hold a nameless file is found out now, and not by the first task.
        shared.directory.create_file()?;
        Ok(Spool { shared: Arc::new(shared) })
    }

    /// Makes a store for one worker; the number shows in its statistics.
    pub fn store(&self, worker: usize) -> Store {
        Store::new(self.shared.clone(), worker)
    }

    /// Returns where the directory is. It is empty: chunk files have no names.
    pub fn dir(&self) -> &Path {
        self.shared.directory.path()
    }

    /// Returns how many bytes are free for chunks.
    pub fn free_bytes(&self) -> u64 {
        self.shared.directory.free_bytes()
    }

    /// Removes the directory now. Chunks that were sealed stay readable; room for new ones ends with the open segments.
    pub fn close(&self) {
        self.shared.directory.remove();
    }
}

/// Creates a file without a name on the disk where chunks would go: the kernel frees it when it is closed, whatever
/// kills the process.
///
/// # Errors
///
/// `SpoolDir` when the place belongs to somebody else or cannot hold files.
#[cfg(feature = "mtx")]
pub(crate) fn scratch_file() -> Result<std::fs::File> {
    let directory = Directory::create(&directory::parent_path(None))?;
    let file = directory.create_file();
    directory.remove();
    file
}

impl SpoolShared {
    /// Returns a time that grows with every reading of a chunk.
    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// Names the next chunk.
    pub(super) fn next_header(&self, run_bytes: u64) -> Header {
        let chunk = self.next_chunk.fetch_add(1, Ordering::Relaxed);
        Header { session: self.directory.session(), chunk, run_bytes }
    }

    /// Makes a segment that holds `len` bytes in granules and is no longer than `limit`.
    pub(super) fn new_segment(&self, len: u64, granule: u64, limit: u64) -> Result<Segment> {
        let open = self.open_segments.load(Ordering::Relaxed);
        let wished = limits::segment_bytes(self.segment_bytes, open, limits::descriptors());
        let capacity = wished.max(len).min(limit - limit % granule);
        let file = self.directory.create_file()?;
        let id = self.next_segment.fetch_add(1, Ordering::Relaxed);
        let segment =
            Segment::new(file, id, capacity, granule).map_err(|errno| self.refused("make a segment in", len, errno))?;
        self.open_segments.fetch_add(1, Ordering::Relaxed);
        Ok(segment)
    }

    /// Turns what the system said about a write into an error of ours.
    pub(super) fn refused(&self, what: &'static str, need: u64, errno: rustix::io::Errno) -> Error {
        use rustix::io::Errno;
        match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => self.full(need),
            errno => Error::io(what, &**self.directory.path(), errno.into()),
        }
    }

    /// Builds the error of a file system that has no room for `need` bytes.
    pub(super) fn full(&self, need: u64) -> Error {
        let free = self.directory.free_bytes().min(limits::file_bytes());
        Error::SpoolFull { dir: self.directory.path().clone(), need, free }
    }
}
