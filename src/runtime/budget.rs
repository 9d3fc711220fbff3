//! The ledger: how many bytes each worker may hold, and who holds them.
//!
//! Every worker has a [`Budget`] of `allowance` bytes; all budgets of a cluster share one [`Ledger`] total. Bytes are
//! taken as a [`Reservation`] before they are used and given back by dropping it, which is the only way.
//!
//! Always true: live reservations of a worker never sum to more than its limit, and those of all workers never to more
//! than the sum of the limits, except by the three grants that admission makes knowingly (`core/admission.rs`):
//! a loan of what idle workers do not use, the oversize task that runs alone, and the metered overdraft of nested
//! waits. The counters are atomics because a running task grows and shrinks without the core's lock; the model
//! checker runs them (`--cfg allotment_loom`).

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// What all workers of a cluster hold together.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: AtomicU64,
    used: AtomicU64,
    peak: AtomicU64,
}

impl Ledger {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Ledger { limit: AtomicU64::new(0), used: AtomicU64::new(0), peak: AtomicU64::new(0) })
    }

    /// Returns the sum of the limits of all workers.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(SeqCst)
    }

    /// Returns the bytes that are reserved now, by all workers.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(SeqCst)
    }

    /// Returns the most that was ever reserved at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(SeqCst)
    }

    /// Returns the bytes that nobody has reserved.
    pub(crate) fn free(&self) -> u64 {
        self.limit().saturating_sub(self.used())
    }

    fn note_peak(&self, now: u64) {
        self.peak.fetch_max(now, SeqCst);
    }
}

/// One worker's share of the ledger.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    ledger: Arc<Ledger>,
}

impl Budget {
    /// Opens an account of `limit` bytes, which raises the ledger's total by as much until it is closed by dropping.
    pub(crate) fn new(ledger: &Arc<Ledger>, limit: u64) -> Arc<Self> {
        ledger.limit.fetch_add(limit, SeqCst);
        Arc::new(Budget { limit, used: AtomicU64::new(0), ledger: ledger.clone() })
    }

    /// Returns the allowance.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the bytes reserved now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(SeqCst)
    }

    /// Returns what a task on this worker could still take.
    pub(crate) fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used()).min(self.ledger.free())
    }

    /// Takes `bytes` where both the worker and the cluster have room, all or nothing.
    pub(crate) fn try_reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        take(&self.used, self.limit, bytes)?;
        let Some(total) = take(&self.ledger.used, self.ledger.limit(), bytes) else {
            self.used.fetch_sub(bytes, SeqCst);
            return None;
        };
        self.ledger.note_peak(total);
        Some(Reservation { budget: self.clone(), bytes })
    }

    /// Takes `bytes` that the worker has no room for but the cluster has: a loan from those who are idle.
    pub(crate) fn try_borrow(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let total = take(&self.ledger.used, self.ledger.limit(), bytes)?;
        self.used.fetch_add(bytes, SeqCst);
        self.ledger.note_peak(total);
        Some(Reservation { budget: self.clone(), bytes })
    }

    /// Takes `bytes` that nobody has room for. Only admission may: for the task that runs alone, and for the overdraft.
    /// What is counted stays a number of 64 bits, whatever a task says that it needs.
    pub(crate) fn overdraw(self: &Arc<Self>, bytes: u64) -> Reservation {
        let mut used = self.ledger.used();
        loop {
            let bytes = bytes.min(u64::MAX - used);
            match self.ledger.used.compare_exchange_weak(used, used + bytes, SeqCst, SeqCst) {
                Ok(_) => {
                    self.used.fetch_add(bytes, SeqCst);
                    self.ledger.note_peak(used + bytes);
                    return Reservation { budget: self.clone(), bytes };
                }
                Err(seen) => used = seen,
            }
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.ledger.limit.fetch_sub(self.limit, SeqCst);
    }
}

/// Adds `bytes` to `used` unless that would pass `limit`; returns the new sum.
fn take(used: &AtomicU64, limit: u64, bytes: u64) -> Option<u64> {
    let mut now = used.load(SeqCst);
    loop {
        let next = now.checked_add(bytes).filter(|next| *next <= limit)?;
        match used.compare_exchange_weak(now, next, SeqCst, SeqCst) {
            Ok(_) => return Some(next),
            Err(seen) => now = seen,
        }
    }
}

/// Bytes taken from a worker's budget; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping a reservation gives its bytes back at once"]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Returns how many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a part of it out, at most all: together the two hold what the one held.
    pub(crate) fn split(&mut self, bytes: u64) -> Reservation {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Reservation { budget: self.budget.clone(), bytes }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, SeqCst);
        self.budget.ledger.used.fetch_sub(self.bytes, SeqCst);
    }
}

#[cfg(all(test, not(allotment_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_all_or_nothing_and_comes_back_on_drop() {
        let ledger = Ledger::new();
        let budget = Budget::new(&ledger, 100);
        let first = budget.try_reserve(60).expect("60 of 100 fit");
        assert!(budget.try_reserve(41).is_none());
        assert_eq!((budget.used(), ledger.used(), first.bytes()), (60, 60, 60));
        drop(first);
        assert_eq!((budget.used(), ledger.used(), ledger.peak()), (0, 0, 60));
    }

    #[test]
    fn a_part_that_is_split_off_outlives_the_rest() {
        let ledger = Ledger::new();
        let budget = Budget::new(&ledger, 100);
        let mut whole = budget.try_reserve(60).expect("60 of 100 fit");
        let part = whole.split(20);
        assert_eq!((whole.bytes(), part.bytes(), budget.used(), ledger.peak()), (40, 20, 60, 60));
        let rest = whole.split(1000);
        assert_eq!((whole.bytes(), rest.bytes()), (0, 40), "no more than there is");
        drop((whole, rest));
        assert_eq!((budget.used(), ledger.used()), (20, 20));
        drop(part);
        assert_eq!((budget.used(), ledger.used()), (0, 0));
    }

    #[test]
    fn a_loan_never_passes_the_sum_of_all_allowances() {
        let ledger = Ledger::new();
        let (one, two) = (Budget::new(&ledger, 100), Budget::new(&ledger, 100));
        let held = two.try_reserve(50).expect("fits");
        assert!(one.try_borrow(151).is_none());
        let loan = one.try_borrow(150).expect("150 of 200 are free");
        assert!(two.try_reserve(1).is_none(), "the loan used the room of the second worker");
        drop((held, loan));
        assert_eq!(ledger.free(), 200);
        drop(two);
        assert_eq!(ledger.limit(), 100);
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let ledger = Ledger::new();
        let budget = Budget::new(&ledger, 1 << 40);
        let _held = budget.try_reserve(1).expect("fits");
        assert!(budget.try_reserve(u64::MAX).is_none());
        assert!(budget.try_borrow(u64::MAX).is_none());
        let lone = budget.overdraw(u64::MAX);
        assert_eq!((lone.bytes(), budget.used(), ledger.used()), (u64::MAX - 1, u64::MAX, u64::MAX));
        let nothing = budget.overdraw(u64::MAX);
        assert_eq!(nothing.bytes(), 0);
        drop((lone, nothing));
        assert_eq!((budget.used(), ledger.used()), (1, 1));
    }
}

#[cfg(all(test, allotment_loom))]
mod model {
    use super::*;

    /// Two tasks reserve at once on two workers; whatever the interleaving, nothing passes a limit and all comes back.
    #[test]
    fn loom_reservations_never_pass_the_limit() {
        loom::model(|| {
            let ledger = Ledger::new();
            let (one, two) = (Budget::new(&ledger, 10), Budget::new(&ledger, 10));
            let thread = {
                let (two, ledger) = (two.clone(), ledger.clone());
                loom::thread::spawn(move || {
                    let loan = two.try_borrow(15);
                    assert!(ledger.used() <= 20);
                    drop(loan);
                })
            };
            let first = one.try_reserve(6);
            let second = one.try_reserve(6);
            assert!(!(first.is_some() && second.is_some()), "12 of 10 were granted");
            assert!(one.used() <= 10 && ledger.used() <= 20);
            drop((first, second));
            thread.join().expect("the thread ends");
            assert_eq!((ledger.used(), one.used(), two.used()), (0, 0, 0));
        });
    }
}
