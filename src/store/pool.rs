//! The maps of a spool: at most so many, the least recently used goes first.
//!
//! Invariant: never more maps than the limit. When all are in use, a reader gets `None` and copies instead, so that
//! the kernel's limit on maps, which the whole program shares, is never reached through us.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mapping::Mapping;
use super::segment::Segment;

/// The maps of a spool, by segment.
#[derive(Debug)]
pub(super) struct Pool {
    limit: usize,
    guarded: bool,
    maps: Mutex<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    by_segment: HashMap<u64, (Arc<Mapping>, u64)>,
    clock: u64,
}

impl Pool {
    /// Makes an empty pool of at most `limit` maps, each watched by the SIGBUS guard if `guarded`.
    pub(super) fn new(limit: usize, guarded: bool) -> Self {
        Pool { limit, guarded, maps: Mutex::default() }
    }

    /// Returns the segment's map, made if needed; `None` when no further one can be had.
    pub(super) fn acquire(&self, segment: &Segment) -> Option<Arc<Mapping>> {
        let mut maps = self.lock();
        maps.clock += 1;
        let now = maps.clock;
        if let Some((mapping, used)) = maps.by_segment.get_mut(&segment.id()) {
            if !mapping.is_poisoned() {
                *used = now;
                return Some(mapping.clone());
            }
            // Zeros stand where pages vanished. A fresh map shows what the file holds now.
            maps.by_segment.remove(&segment.id());
        }
        if maps.by_segment.len() >= self.limit && !maps.drop_oldest() {
            return None;
        }
        let mapping = Arc::new(Mapping::new(segment, self.guarded).ok()?);
        maps.by_segment.insert(segment.id(), (mapping.clone(), now));
        Some(mapping)
    }

    /// Returns the segment's map if there is one.
    pub(super) fn existing(&self, segment: &Segment) -> Option<Arc<Mapping>> {
        self.lock().by_segment.get(&segment.id()).map(|(mapping, _)| mapping.clone())
    }

    /// Drops the map of a segment that is gone.
    pub(super) fn forget(&self, segment: &Segment) {
        self.lock().by_segment.remove(&segment.id());
    }

    /// Returns how many maps there are.
    pub(super) fn len(&self) -> usize {
        self.lock().by_segment.len()
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    /// Drops the least recently used map that nobody reads; returns whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let idle = self.by_segment.iter().filter(|(_, (mapping, _))| Arc::strong_count(mapping) == 1);
        let Some(oldest) = idle.min_by_key(|(_, (_, used))| *used).map(|(segment, _)| *segment) else { return false };
        self.by_segment.remove(&oldest);
        true
    }
}
