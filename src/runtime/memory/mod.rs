//! What the host can give and what this process holds: `/proc`, cgroups, resource limits, swap.
//!
//! ```text
//!  /proc/meminfo ─────────────────▶ total, available, free swap ─┐
//!  /proc/self/cgroup, mountinfo ──▶ hierarchy.rs, cgroup.rs ─────┼─▶ HostMemory::available ─▶ sizing
//!  /proc/self/limits + status ────▶ RLIMIT_DATA, RLIMIT_AS ──────┘
//!  /proc/self/status ─────────────▶ process.rs: ProcessMemory, PeakMeter
//!  every allocation ──────────────▶ counting.rs: CountingAllocator, the peak of a task
//! ```
//!
//! Always true: the answer is the lowest of all sources and names the one that won. Nothing is cached, so a limit
//! that is lowered while the process runs shows at the next [`HostMemory::read`] (0.13 ms; once a second is
//! plenty). A cgroup file that exists but cannot be understood is no limit, and is listed in
//! [`HostMemory::unread`]. Only a missing `/proc/meminfo` is an error. Off Linux, `sysinfo` answers.

#[cfg(target_os = "linux")]
mod cgroup;
mod counting;
#[cfg(target_os = "linux")]
mod hierarchy;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;
#[cfg(target_os = "linux")]
mod proc;
mod process;
#[cfg(all(test, target_os = "linux"))]
mod tree;

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
pub use counting::CountingAllocator;
pub(crate) use counting::Region;
pub use process::{PeakMeter, ProcessMemory};

/// Where the system's files are mounted: the real places by default, a recorded tree in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// The process file system, `/proc`.
    pub proc: PathBuf,
    /// The device and control file system, `/sys`. Mount points under `/sys` are looked up here.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots { proc: "/proc".into(), sys: "/sys".into() }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Memory only; swap comes on top.
    Ram,
    /// Swap only.
    Swap,
    /// Memory and swap together.
    RamAndSwap,
}

/// One limit that binds this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Where it was read: a file, or a resource limit's name.
    pub source_name: Arc<str>,
    /// What it counts.
    pub kind: LimitKind,
    /// The limit itself.
    pub limit_bytes: u64,
    /// What is left of it: the limit, less what is used and cannot be reclaimed at once.
    pub remaining_bytes: u64,
}

/// What the host can give, as of one moment.
///
/// # Examples
///
/// ```
/// use allotment::runtime::memory::{HostMemory, Roots};
/// let host = HostMemory::read(&Roots::default())?;
/// let (bytes, source_name) = host.available(false);
/// assert!(bytes <= host.total_bytes, "{source_name} gives more than there is");
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMemory {
    /// Memory of the whole machine (`MemTotal`).
    pub total_bytes: u64,
    /// What can be had without swapping (`MemAvailable`), never more than the total.
    pub available_bytes: u64,
    /// Free swap of the whole machine (`SwapFree`).
    pub swap_free_bytes: u64,
    /// Every limit on this process: cgroups from its own up to the root, then resource limits.
    pub limits: Vec<Limit>,
    meminfo_name: Arc<str>,
    unread: Vec<PathBuf>,
}

impl HostMemory {
    /// Reads what the host can give now.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) or [`Error::BadInput`](crate::Error::BadInput) when `meminfo` cannot be read or names no total; off Linux,
    /// [`Error::Unsupported`](crate::Error::Unsupported) when the system is not known to `sysinfo`.
    pub fn read(roots: &Roots) -> Result<Self> {
        #[cfg(target_os = "linux")]
        return proc::host(roots);
        #[cfg(not(target_os = "linux"))]
        return {
            let _ = roots;
            portable::host()
        };
    }

    /// Returns how many bytes this process may still take, and the source that set that number.
    ///
    /// Without swap it is the lowest of `MemAvailable` and what remains of every limit. With swap, what is free in
    /// swap — and allowed by every cgroup's swap limit — is added, but never past a limit on memory and swap together.
    pub fn available(&self, count_swap: bool) -> (u64, Arc<str>) {
        let (ram, ram_name) = self.lowest_remaining(LimitKind::Ram, self.available_bytes, &self.meminfo_name);
        let swap = if count_swap {
            self.lowest_remaining(LimitKind::Swap, self.swap_free_bytes, &self.meminfo_name).0
        } else {
            0
        };
        self.lowest_remaining(LimitKind::RamAndSwap, ram.saturating_add(swap), &ram_name)
    }

    /// Returns the lowest hard limit on memory, whatever is used of it, and its source; `MemTotal` counts as one.
    pub fn lowest_limit(&self) -> (u64, Arc<str>) {
        let on_memory = self.limits.iter().filter(|limit| limit.kind != LimitKind::Swap);
        match on_memory.min_by_key(|limit| limit.limit_bytes) {
            Some(limit) if limit.limit_bytes < self.total_bytes => (limit.limit_bytes, limit.source_name.clone()),
            _ => (self.total_bytes, self.meminfo_name.clone()),
        }
    }

    /// Returns the files that exist but could not be read or understood, and so were left out.
    pub fn unread(&self) -> &[PathBuf] {
        &self.unread
    }

    /// The first of the lowest wins, so that a limit merely repeated by a later file keeps its own name.
    fn lowest_remaining(&self, kind: LimitKind, start: u64, start_name: &Arc<str>) -> (u64, Arc<str>) {
        let same_kind = self.limits.iter().filter(|limit| limit.kind == kind);
        match same_kind.min_by_key(|limit| limit.remaining_bytes) {
            Some(limit) if limit.remaining_bytes < start => (limit.remaining_bytes, limit.source_name.clone()),
            _ => (start, start_name.clone()),
        }
    }
}
