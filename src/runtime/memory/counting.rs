//! An allocator that counts: how much a stretch of work held at most, known to the byte.
//!
//! ```text
//!   alloc, free ──▶ this thread: live, peak ── every 8 KiB of change ──▶ the process: live, peak
//!                        ▲
//!        Region: one task's stretch; a nested one counts for itself
//! ```
//!
//! A program installs [`CountingAllocator`] with `#[global_allocator]`; everything is passed on to the system's allocator.
//! Counting is two additions to cells of the thread: no lock, and no shared cache line but once in 8 KiB of change. The
//! counters are signed, because a thread may free what another allocated; a region sees what its thread did since it began.
//!
//! Always true: counting allocates nothing; a region's peak is never below what its thread held beyond the region's beginning;
//! the process' figures are right to within 8 KiB for each thread there ever was.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Changes of a thread that the process need not hear of yet.
const LOT: i64 = 8 << 10;

static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

thread_local! {
    // Constant and without a destructor: reading it neither allocates nor fails, not even while the thread ends.
    static HERE: Counters = const { Counters { live: Cell::new(0), peak: Cell::new(0), told: Cell::new(0) } };
}

/// What one thread allocated less what it freed.
struct Counters {
    live: Cell<i64>,
    /// The most since the innermost region began.
    peak: Cell<i64>,
    /// How much of `live` the process' counter has.
    told: Cell<i64>,
}

impl Counters {
    fn more(&self, bytes: usize) {
        let live = self.live.get() + bytes as i64;
        self.live.set(live);
        if live > self.peak.get() {
            self.peak.set(live);
        }
        if live - self.told.get() > LOT {
            self.tell(live);
        }
    }

    fn less(&self, bytes: usize) {
        let live = self.live.get() - bytes as i64;
        self.live.set(live);
        if self.told.get() - live > LOT {
            self.tell(live);
        }
    }

    #[cold]
    fn tell(&self, live: i64) {
        let change = live - self.told.replace(live);
        // Relaxed is enough: the counters guard no other memory.
        let all = LIVE.fetch_add(change, Relaxed) + change;
        PEAK.fetch_max(all, Relaxed);
    }
}

/// The system's allocator, and a count of what passes through it.
///
/// With it installed, the [reports](crate::Cluster::runs) of runs say how much their tasks held at most.
///
/// # Examples
///
/// ```
/// use allotment::{Blocks, ByteSize, Cluster, CountingAllocator};
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator;
///
/// fn main() -> allotment::Result<()> {
///     let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
///     let blocks = Blocks { n: 4, projected_bytes: 1 << 20, ..Blocks::named("zeros") };
///     cluster.map_blocks(&blocks, |_, _| Ok(vec![1u8; 1 << 19].len()))?;
///     let report = cluster.runs().pop().expect("one run has ended");
///     assert!(report.peak_bytes.is_some_and(|peak| (1 << 19..1 << 20).contains(&peak)));
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

impl CountingAllocator {
    /// Returns whether this program allocates through it.
    pub fn is_installed() -> bool {
        static FOUND: OnceLock<bool> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let live = || HERE.with(|here| here.live.get());
            let before = live();
            let probe = black_box(Box::new(0u64));
            let counted = live() != before;
            drop(probe);
            counted
        })
    }

    /// Returns the bytes that the process has allocated and not freed; 0 where the allocator is not installed.
    pub fn live_bytes() -> u64 {
        // What one thread freed may be told before another tells that it allocated it.
        u64::try_from(LIVE.load(Relaxed)).unwrap_or(0)
    }

    /// Returns the most bytes that the process held since the start, or since [`reset_peak`](Self::reset_peak).
    pub fn peak_bytes() -> u64 {
        u64::try_from(PEAK.load(Relaxed)).unwrap_or(0)
    }

    /// Begins a new peak at what is held now.
    pub fn reset_peak() {
        PEAK.store(LIVE.load(Relaxed), Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator has no safe form")]
// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting touches cells of the
// thread and atomics, allocates nothing and does not unwind.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract, which is the same there.
        let ptr = unsafe { System.alloc(layout) };
        if !ptr.is_null() {
            HERE.with(|here| here.more(layout.size()));
        }
        ptr
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc_zeroed`'s contract, which is the same there.
        let ptr = unsafe { System.alloc_zeroed(layout) };
        if !ptr.is_null() {
            HERE.with(|here| here.more(layout.size()));
        }
        ptr
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        HERE.with(|here| here.less(layout.size()));
        // SAFETY: `ptr` came from `System` with this layout, as every allocation here does, and is not used again.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: `ptr` came from `System` with this layout, and the caller keeps `realloc`'s contract for the new size.
        let moved = unsafe { System.realloc(ptr, layout, new_size) };
        if !moved.is_null() {
            // Counted as both at once: while the system copied, both may have been there.
            HERE.with(|here| {
                here.more(new_size);
                here.less(layout.size());
            });
        }
        moved
    }
}

/// A stretch of work on this thread, such as one task: from [`begin`](Self::begin) until it is dropped.
pub(crate) struct Region {
    began_at: i64,
    outer_peak: i64,
    /// It belongs to its thread's counters.
    _here: PhantomData<*const ()>,
}

impl Region {
    /// Begins a region inside those of this thread that have begun; `None` where nothing is counted.
    pub(crate) fn begin() -> Option<Self> {
        CountingAllocator::is_installed().then(|| {
            HERE.with(|here| {
                let began_at = here.live.get();
                Region { began_at, outer_peak: here.peak.replace(began_at), _here: PhantomData }
            })
        })
    }

    /// Returns the most that was held since it began, beyond what was there then.
    pub(crate) fn peak_bytes(&self) -> u64 {
        HERE.with(|here| (here.peak.get() - self.began_at).max(0) as u64)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // What it held for a while was its own; what it leaves behind is there for the region around it.
        HERE.with(|here| here.peak.set(self.outer_peak.max(here.live.get())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static COUNTING: CountingAllocator = CountingAllocator;

    fn bytes(n: usize) -> Vec<u8> {
        black_box(vec![1; n])
    }

    #[test]
    fn a_region_knows_its_peak_to_the_byte_and_not_what_was_there_before() {
        assert!(CountingAllocator::is_installed());
        let before = bytes(5000);
        let region = Region::begin().expect("installed");
        drop(bytes(300));
        let held = bytes(200);
        drop(before);
        drop(bytes(1000));
        assert_eq!(region.peak_bytes(), 300, "5000 bytes that were there were freed meanwhile");
        drop(held);
    }

    #[test]
    fn a_nested_region_counts_for_itself_and_leaves_what_it_keeps() {
        let outer = Region::begin().expect("installed");
        let inner = Region::begin().expect("installed");
        drop(bytes(10_000));
        let kept = bytes(64);
        assert_eq!(inner.peak_bytes(), 10_000);
        drop(inner);
        assert_eq!(outer.peak_bytes(), 64);
        drop(bytes(100));
        assert_eq!(outer.peak_bytes(), 164);
        drop(kept);
    }

    #[test]
    fn what_another_thread_allocated_may_be_freed_here() {
        let (given, peak) = std::thread::spawn(|| {
            let region = Region::begin().expect("installed");
            let given = bytes(100_000);
            let peak = region.peak_bytes();
            (given, peak)
        })
        .join()
        .expect("it does not panic");
        assert_eq!(peak, 100_000);
        let region = Region::begin().expect("installed");
        drop(given);
        assert_eq!(region.peak_bytes(), 0);
        drop(bytes(50_000));
        assert_eq!(region.peak_bytes(), 0, "it holds less than when it began");
        drop(bytes(100_001));
        assert_eq!(region.peak_bytes(), 1);
    }

    #[test]
    fn a_buffer_that_grows_counts_as_old_and_new() {
        let region = Region::begin().expect("installed");
        let mut grows: Vec<u8> = Vec::with_capacity(1000);
        grows.push(1);
        grows.reserve_exact(2999);
        assert_eq!(region.peak_bytes(), 4000);
        grows.shrink_to(500);
        drop(black_box(grows));
        assert_eq!(region.peak_bytes(), 4000);
    }

    #[test]
    fn the_process_hears_of_every_large_allocation() {
        let before = CountingAllocator::live_bytes();
        // Never touched, so that it costs nothing but its count.
        let large = black_box(Vec::<u8>::with_capacity(512 << 20));
        // Other tests allocate and free meanwhile, far less than half of this.
        assert!(CountingAllocator::live_bytes() > before.saturating_add(256 << 20));
        assert!(CountingAllocator::peak_bytes() >= 512 << 20);
        drop(large);
    }
}
