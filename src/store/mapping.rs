//! Segment bytes seen as memory: map, watch, advise, unmap.
//!
//! A whole segment is mapped, shared and read-only, at its final length; what is handed out are the bytes of one
//! sealed extent, for as long as both the extent and the map are borrowed. Nobody writes through a map: there is no
//! writable one.
#![expect(unsafe_code, reason = "bytes of a map can only be had from a raw pointer; the proof stands at the block")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};

use super::segment::{Sealed, Segment};
use super::sigbus::Watch;

/// A segment in the address space.
#[derive(Debug)]
pub(super) struct Mapping {
    // Dropped in this order: the watch ends before the addresses go to somebody else.
    watch: Option<Watch>,
    raw: MmapRaw,
    segment: u64,
    id: u64,
}

impl Mapping {
    /// Maps a whole segment; with `guarded`, only if the SIGBUS guard can watch it.
    pub(super) fn new(segment: &Segment, guarded: bool) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let len = usize::try_from(segment.capacity()).map_err(io::Error::other)?;
        let file: &File = segment.file();
        let raw = MmapOptions::new().len(len).map_raw_read_only(file)?;
        // What is read ahead is asked for by `populate`. A page that the kernel took back in between comes alone: with the
        // device's read-ahead it would bring megabytes that a nearly full memory limit has no room for.
        let _ = raw.advise(Advice::Random);
        let watch = if guarded {
            let watch = Watch::new(raw.as_ptr().addr(), len);
            Some(watch.ok_or_else(|| io::Error::other("the SIGBUS guard has no room for another map"))?)
        } else {
            None
        };
        // Relaxed is enough: only that no number comes twice matters.
        Ok(Mapping { watch, raw, segment: segment.id(), id: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    /// Returns the number that no other map of this process ever has.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Returns the bytes of a sealed extent of the mapped segment.
    pub(super) fn bytes<'a>(&'a self, sealed: &'a Sealed) -> &'a [u8] {
        let range = self.place(sealed);
        // SAFETY: `place` has shown that the range lies inside the map, which `self` keeps in place for `'a` (only
        // `drop` unmaps it). Its bytes do not change for `'a`: a `Sealed` is made by ending the only writer of its
        // range, and the range is given to another writer, or punched, only when the `Sealed` is dropped, which `'a`
        // forbids; other writers of this segment have other ranges, and there is no writable map. The file has no
        // name and its descriptor is not shared, so another process can reach it only through /proc as the same user
        // or root, with which it could as well write to our memory. Should the file be cut short, the guard puts
        // zeros there once, which is a change that `Pinned::check` reports before a result is used. Any bit pattern is
        // a valid `u8`.
        unsafe { std::slice::from_raw_parts(self.raw.as_ptr().add(range.start), range.len()) }
    }

    /// Returns the place in the extent of the first page that may have vanished.
    ///
    /// The guard notes the lowest and the highest page, so an extent between the two is suspected although it may be
    /// whole: a fresh map and its checksums tell.
    pub(super) fn vanished_in(&self, sealed: &Sealed) -> Option<u64> {
        let (first, last) = self.watch.as_ref()?.vanished()?;
        let range = self.place(sealed);
        let start = self.raw.as_ptr().addr() + range.start;
        (first < start + range.len() && last > start).then(|| first.saturating_sub(start) as u64)
    }

    /// Returns whether any page has vanished.
    pub(super) fn is_poisoned(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.vanished().is_some())
    }

    /// Asks for an extent's pages window by window, each read ahead while the one before arrives; they would come one by
    /// one without it.
    ///
    /// Pages that are being read cannot be taken back. Asked for in one call they come in steps of the device's
    /// read-ahead, 8 MiB on some, and a few lanes at once fill a memory limit with them, which gets the process killed.
    pub(super) fn populate(&self, sealed: &Sealed) {
        const WINDOW: usize = 1 << 20;
        let range = self.place(sealed);
        // Kernels before 5.14 do not know it, and a damaged file refuses it: both show when the bytes are read.
        let advise = |advice, start: usize| {
            let len = range.end.saturating_sub(start).min(WINDOW);
            let _ = self.raw.advise_range(advice, start, len);
        };
        advise(Advice::WillNeed, range.start);
        for start in range.clone().step_by(WINDOW) {
            advise(Advice::WillNeed, (start + WINDOW).min(range.end));
            advise(Advice::PopulateRead, start);
        }
    }

    /// Gives up the extent's own pages; the next reader faults them in again.
    pub(super) fn forget(&self, sealed: &Sealed) {
        let range = self.place(sealed);
        let page = rustix::param::page_size();
        let (start, end) = (range.start.next_multiple_of(page), range.end - range.end % page);
        if start < end {
            // SAFETY: the pages are part of this shared, read-only map of a file: MADV_DONTNEED drops them from the
            // page table, and whoever reads them next, even now on another thread, gets the same bytes from the file.
            let _ = unsafe { self.raw.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        }
    }

    /// Returns whether all pages of the extent are in memory now; where the kernel does not say, they are not.
    pub(super) fn is_resident(&self, sealed: &Sealed) -> bool {
        const WINDOW: usize = 1024;
        let range = self.place(sealed);
        let page = rustix::param::page_size();
        let (mut start, mut answers) = (range.start - range.start % page, [0_u8; WINDOW]);
        while start < range.end {
            let len = (range.end - start).min(WINDOW * page);
            let address = self.raw.as_ptr().wrapping_add(start).cast_mut().cast();
            // SAFETY: `address` is the start of a page of this map, `len` bytes from there are inside it, and the
            // kernel writes one byte into `answers` for each of at most WINDOW pages. It reads nothing of ours.
            let asked = unsafe { libc::mincore(address, len, answers.as_mut_ptr()) };
            if asked != 0 || answers[..len.div_ceil(page)].iter().any(|answer| answer & 1 == 0) {
                return false;
            }
            start += len;
        }
        true
    }

    fn place(&self, sealed: &Sealed) -> Range<usize> {
        let (start, len) = (sealed.offset() as usize, sealed.len() as usize);
        assert!(sealed.segment().id() == self.segment, "an extent is read through the map of its own segment");
        let end = start.checked_add(len).filter(|end| *end <= self.raw.len());
        start..end.expect("an extent lies inside its segment, and the map is as long as the segment")
    }
}
