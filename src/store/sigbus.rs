//! The SIGBUS guard: a page that vanishes under one of our maps is an error, not the end of the process.
//!
//! ```text
//! fault ─▶ on_sigbus ─▶ inside a watched map?  yes: note the page in the map's slot, put a page of zeros there, go on
//!                                              no:  the handler that stood before (std's, the program's, or the end)
//! ```
//!
//! The signal can strike on any thread at any instruction, so the handler takes no lock and allocates nothing: it
//! reads a fixed table of atomics. A slot's numbers are guarded by a version that is odd while they change; a slot
//! that is changing cannot be the one that faults, because its map is not yet, or no longer, read.
//! The table is the one global of the crate: a signal belongs to the process, not to a cluster. It holds nothing but
//! the addresses of maps.
#![expect(unsafe_code, reason = "a signal handler, and the system calls that install it, have no safe form")]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How many maps can be watched at once, in all spools of the process.
pub(super) const SLOTS: usize = 4096;

static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];
/// Slots that were ever in use: the handler looks no further.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Slots below `USED` that are free again.
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
/// Pages replaced since the process started.
static FAULTS: AtomicU64 = AtomicU64::new(0);
/// What stood before; `None` when the guard could not be installed.
static PREVIOUS: OnceLock<Option<libc::sigaction>> = OnceLock::new();
/// The size of a page, as the handler may not ask for it.
static PAGE: AtomicUsize = AtomicUsize::new(4096);

/// One watched map.
struct Slot {
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    /// The lowest and the highest page that vanished: `first > last` says that none did.
    first: AtomicUsize,
    last: AtomicUsize,
}

impl Slot {
    const fn new() -> Self {
        Slot {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            first: AtomicUsize::new(usize::MAX),
            last: AtomicUsize::new(0),
        }
    }

    /// Changes the range. Only the slot's owner calls this, so that versions never change from two sides.
    fn assign(&self, start: usize, end: usize) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.first.store(usize::MAX, Ordering::Relaxed);
        self.last.store(0, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
    }

    fn holds(&self, address: usize) -> bool {
        let before = self.version.load(Ordering::Acquire);
        let (start, end) = (self.start.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let after = self.version.load(Ordering::Relaxed);
        before == after && before.is_multiple_of(2) && (start..end).contains(&address)
    }
}

/// Watches one map until it is dropped, which must be before the map goes.
#[derive(Debug)]
pub(super) struct Watch {
    index: usize,
}

impl Watch {
    /// Watches `len` bytes from `start`; `None` when the table is full or the handler could not be installed.
    pub(super) fn new(start: usize, len: usize) -> Option<Self> {
        if !install() {
            return None;
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let index = free.pop().or_else(|| {
            let next = USED.load(Ordering::Relaxed);
            (next < SLOTS).then(|| {
                USED.store(next + 1, Ordering::Release);
                next
            })
        })?;
        TABLE[index].assign(start, start + len);
        Some(Watch { index })
    }

    /// Returns the pages between the first and the last one that vanished, as addresses from start to end.
    pub(super) fn vanished(&self) -> Option<(usize, usize)> {
        let slot = &TABLE[self.index];
        let (first, last) = (slot.first.load(Ordering::Acquire), slot.last.load(Ordering::Acquire));
        (first <= last).then(|| (first, last + PAGE.load(Ordering::Relaxed)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        TABLE[self.index].assign(0, 0);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}

/// Returns how many pages the guard has replaced since the process started.
pub(super) fn faults() -> u64 {
    FAULTS.load(Ordering::Relaxed)
}

/// Installs the handler, once for the process; returns whether it stands.
fn install() -> bool {
    let previous = PREVIOUS.get_or_init(|| {
        PAGE.store(rustix::param::page_size(), Ordering::Relaxed);
        // SAFETY: all zeros is a valid `sigaction`: no handler, no flags, an empty mask.
        let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: a null new action only asks; `previous` is a live local that the call fills.
        let asked = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) };
        (asked == 0).then_some(previous)
    });
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        if previous.is_none() {
            return false;
        }
        // SAFETY: all zeros is a valid `sigaction`, as above.
        let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
        ours.sa_sigaction = on_sigbus as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        // On the alternate stack, because std's handler, which we call for what is not ours, may run there after a
        // stack overflow.
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `ours` is a live, filled action whose handler has the three arguments that SA_SIGINFO promises and
        // lives as long as the process; PREVIOUS, which it reads, is already set.
        unsafe { libc::sigaction(libc::SIGBUS, &ours, std::ptr::null_mut()) == 0 }
    })
}

extern "C" fn on_sigbus(signal: libc::c_int, details: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a `siginfo_t` of its own that lives until the handler returns (SA_SIGINFO is set).
    let code = unsafe { (*details).si_code };
    // SAFETY: as above; for SIGBUS the address field is the one that is filled.
    let address = unsafe { (*details).si_addr() } as usize;
    // A positive code is a fault; others were sent by a program, and their address means nothing.
    if code <= 0 || !replace(address) {
        pass_on(signal, code, details, context);
    }
}

/// Puts zeros where the page vanished, if it is in a watched map.
fn replace(address: usize) -> bool {
    let size = PAGE.load(Ordering::Relaxed);
    let page = address - address % size;
    let used = USED.load(Ordering::Acquire).min(SLOTS);
    let Some(slot) = TABLE[..used].iter().find(|slot| slot.holds(address)) else { return false };
    // Noted before the zeros can be read, so that whoever read them finds the note.
    slot.first.fetch_min(page, Ordering::AcqRel);
    slot.last.fetch_max(page, Ordering::AcqRel);
    FAULTS.fetch_add(1, Ordering::Relaxed);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: errno's address is this thread's own and always valid; the interrupted code may be about to read it.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the page lies in a map of ours, found by `holds`, that cannot go while this thread reads it (its reader
    // holds an `Arc` of it). Maps start and end at pages, so nothing but that map is replaced; it is read-only before
    // and after, and the later `munmap` of the whole range takes this page with it. mmap is a bare system call.
    let mapped = unsafe { libc::mmap(page as *mut libc::c_void, size, libc::PROT_READ, flags, -1, 0) };
    // SAFETY: as for the read above.
    unsafe { *libc::__errno_location() = errno };
    mapped != libc::MAP_FAILED
}

/// Does what would have been done without us.
fn pass_on(signal: libc::c_int, code: libc::c_int, details: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let (handler, flags) = match PREVIOUS.get() {
        Some(Some(previous)) => (previous.sa_sigaction, previous.sa_flags),
        _ => (libc::SIG_DFL, 0),
    };
    // The kernel does not let a program ignore a fault, only a signal that was sent.
    if handler == libc::SIG_IGN && code <= 0 {
        return;
    }
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // SAFETY: all zeros is a valid `sigaction`: the default action.
        let default: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: `default` is a live local, and sigaction may be called in a handler.
        unsafe { libc::sigaction(signal, &default, std::ptr::null_mut()) };
        // SAFETY: raise takes no pointer. It only marks the signal, which is blocked while its handler runs and ends the
        // process on return.
        unsafe { libc::raise(signal) };
    } else if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: the address is neither of the two constants, so it is the function that was installed, and its flags
        // say that it takes three arguments. We pass on exactly what the kernel gave us.
        let call: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { std::mem::transmute(handler) };
        call(signal, details, context);
    } else {
        // SAFETY: as above, without SA_SIGINFO: a function of one argument.
        let call: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
        call(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_its_range_and_nothing_after_it_was_given_back() {
        let slot = Slot::new();
        assert!(!slot.holds(0));
        slot.assign(4096, 12288);
        assert!(!slot.holds(4095) && slot.holds(4096) && slot.holds(12287) && !slot.holds(12288));
        slot.version.fetch_add(1, Ordering::Relaxed);
        assert!(!slot.holds(5000), "a slot that is changing matches nothing");
        slot.version.fetch_add(1, Ordering::Relaxed);
        slot.assign(0, 0);
        assert!(!slot.holds(5000));
    }

    #[test]
    fn a_new_watch_knows_nothing_of_the_slots_last_map() {
        let first = Watch::new(1 << 40, 4096).unwrap();
        TABLE[first.index].first.store(1 << 40, Ordering::Relaxed);
        TABLE[first.index].last.store(1 << 40, Ordering::Relaxed);
        assert_eq!(first.vanished(), Some((1 << 40, (1 << 40) + 4096)));
        let index = first.index;
        TABLE[index].assign(1 << 40, (1 << 40) + 4096);
        assert_eq!(first.vanished(), None);
    }
}
