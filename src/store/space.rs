//! Which bytes of a segment are free. Pure: no file, no lock.
//!
//! Invariant: free runs never touch or overlap (neighbours are joined at once), and `by_offset` and `by_length`
//! hold the same runs. A request takes the shortest run that holds it, so that long runs stay long.

use std::collections::{BTreeMap, BTreeSet};

/// The free bytes of one segment.
#[derive(Debug)]
pub(super) struct Space {
    by_offset: BTreeMap<u64, u64>,
    by_length: BTreeSet<(u64, u64)>,
    taken: u64,
}

impl Space {
    /// Starts with all bytes free.
    pub(super) fn new(capacity: u64) -> Self {
        let mut space = Space { by_offset: BTreeMap::new(), by_length: BTreeSet::new(), taken: 0 };
        space.insert(0, capacity);
        space
    }

    /// Takes `len` bytes that end at or before `limit` and returns where they start; `None` when no free run will do.
    pub(super) fn take(&mut self, len: u64, limit: u64) -> Option<u64> {
        let ends_in_time = |offset: u64| offset.checked_add(len).is_some_and(|end| end <= limit);
        let (run, offset) = *self.by_length.range((len, 0)..).find(|(_, offset)| ends_in_time(*offset))?;
        self.remove(offset, run);
        if run > len {
            self.insert(offset + len, run - len);
        }
        self.taken += len;
        Some(offset)
    }

    /// Gives a run back, joins it with its free neighbours, and returns the joined run's start and length.
    pub(super) fn give(&mut self, offset: u64, len: u64) -> (u64, u64) {
        self.taken -= len;
        let (mut start, mut end) = (offset, offset + len);
        if let Some((&before, &run)) = self.by_offset.range(..offset).next_back()
            && before + run == offset
        {
            self.remove(before, run);
            start = before;
        }
        if let Some(&run) = self.by_offset.get(&end) {
            self.remove(end, run);
            end += run;
        }
        self.insert(start, end - start);
        (start, end - start)
    }

    /// Returns how many bytes are taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns every free run, as start and length.
    pub(super) fn free_runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.by_offset.iter().map(|(&offset, &len)| (offset, len))
    }

    fn insert(&mut self, offset: u64, len: u64) {
        self.by_offset.insert(offset, len);
        self.by_length.insert((len, offset));
    }

    fn remove(&mut self, offset: u64, len: u64) {
        self.by_offset.remove(&offset);
        self.by_length.remove(&(len, offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // The slow, obvious version: one bool per byte.
        #[test]
        fn runs_agree_with_a_map_of_single_bytes(steps in proptest::collection::vec((any::<bool>(), 1u64..40, any::<usize>()), 1..200)) {
            const CAPACITY: u64 = 256;
            let mut space = Space::new(CAPACITY);
            let mut bytes = vec![false; CAPACITY as usize];
            let mut held: Vec<(u64, u64)> = Vec::new();
            for (take, len, which) in steps {
                if take {
                    let longest = bytes.split(|taken| *taken).map(<[bool]>::len).max().unwrap_or(0) as u64;
                    match space.take(len, CAPACITY) {
                        Some(offset) => {
                            let run = &mut bytes[offset as usize..(offset + len) as usize];
                            prop_assert!(run.iter().all(|taken| !taken), "handed out twice");
                            run.fill(true);
                            held.push((offset, len));
                        }
                        None => prop_assert!(longest < len, "refused {len} although {longest} were free"),
                    }
                } else if !held.is_empty() {
                    let (offset, len) = held.swap_remove(which % held.len());
                    bytes[offset as usize..(offset + len) as usize].fill(false);
                    space.give(offset, len);
                }
                prop_assert_eq!(space.taken(), bytes.iter().filter(|taken| **taken).count() as u64);
                let free: u64 = space.free_runs().map(|(_, len)| len).sum();
                prop_assert_eq!(free, CAPACITY - space.taken());
            }
        }
    }

    #[test]
    fn nothing_is_handed_out_beyond_the_limit() {
        let mut space = Space::new(1000);
        assert_eq!(space.take(100, 99), None);
        assert_eq!(space.take(100, 100), Some(0));
        assert_eq!(space.take(1, 100), None);
        assert_eq!(space.take(900, 1000), Some(100));
    }

    #[test]
    fn a_freed_run_joins_both_neighbours() {
        let mut space = Space::new(300);
        for offset in [0, 100, 200] {
            assert_eq!(space.take(100, 300), Some(offset));
        }
        space.give(0, 100);
        space.give(200, 100);
        assert_eq!(space.give(100, 100), (0, 300));
        assert_eq!(space.taken(), 0);
    }
}
