//! Runs of values, as blocks bring them, into the chunks of an array, as storage wants them.
//!
//! ```text
//! blocks     |----- 0 -----|------- 1 -------|---- 2 ----|       one task each, on any lane, in any order
//! chunks     |---|---|---|-+-|---|---|---|---|-+-|---|---|
//!                          ▲                   ▲ a seam: who brings its last part joins, compresses and stores it
//! ```
//! A chunk that lies in one block is compressed and stored by that block's task. So nothing is computed twice, and no thread
//! but the lanes has values in its hands.
//!
//! Always true: what waits at a seam keeps its bytes reserved; as blocks begin in order, no more seams are open than two for
//! each running task, and one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::array::Values;
use crate::error::Result;
use crate::io::tree::ArrayWriter;
use crate::runtime::{Reservation, keep, lock};

/// An array that is fed by runs of its values, row-major.
#[derive(Debug)]
pub(super) struct Feed {
    array: Arc<dyn ArrayWriter>,
    /// How many values the array has.
    len: u64,
    /// How many values a whole chunk has.
    chunk: u64,
    /// Chunks of which some parts are there: by their numbers, parts by the places of their first values.
    open: Mutex<HashMap<u64, BTreeMap<u64, Part>>>,
}

/// A part of a chunk, and the bytes that stay reserved for it.
#[derive(Debug)]
struct Part {
    values: Values,
    _reserved: Option<Reservation>,
}

impl Feed {
    /// Feeds an array of `len` values in chunks of `chunk`, at least 1.
    pub(super) fn new(array: Arc<dyn ArrayWriter>, len: u64, chunk: u64) -> Self {
        Feed { array, len, chunk: chunk.max(1), open: Mutex::default() }
    }

    /// Returns the bytes that adding a run holds at most besides it, for values of so many bytes: a copy of a chunk, what
    /// compressing it takes, and the parts at both ends.
    pub(super) fn scratch_bytes(&self, value_bytes: u64) -> u64 {
        let chunk = self.chunk.min(self.len).saturating_mul(value_bytes);
        chunk.saturating_mul(4).saturating_add(self.array.scratch_bytes())
    }

    /// Adds `n` values from `start` on, of which `part` copies any; adding them again is no harm.
    pub(super) fn add(&self, start: u64, n: u64, part: impl Fn(Range<usize>) -> Values) -> Result<()> {
        let end = start + n;
        let mut at = start;
        while at < end {
            let number = at / self.chunk;
            let chunk = number * self.chunk..((number + 1) * self.chunk).min(self.len);
            let next = end.min(chunk.end);
            let values = part((at - start) as usize..(next - start) as usize);
            let whole = if at == chunk.start && next == chunk.end {
                Some(values)
            } else {
                self.joined(number, at, values, chunk.end - chunk.start)?
            };
            if let Some(values) = whole {
                self.array.put(number, self.array.encode(&values)?)?;
            }
            at = next;
        }
        Ok(())
    }

    /// Adds a part to a chunk of so many values, and takes the chunk when that was the last one.
    fn joined(&self, chunk: u64, at: u64, values: Values, n: u64) -> Result<Option<Values>> {
        let mut open = lock(&self.open);
        let parts = open.entry(chunk).or_default();
        let reserved = keep(values.nbytes());
        parts.insert(at, Part { values, _reserved: reserved });
        if parts.values().map(|part| part.values.len() as u64).sum::<u64>() < n {
            return Ok(None);
        }
        let parts = open.remove(&chunk).unwrap_or_default();
        drop(open);
        let mut parts = parts.into_values();
        let Some(Part { mut values, _reserved }) = parts.next() else { return Ok(None) };
        for part in parts {
            values.extend(&part.values, 0..part.values.len())?;
        }
        Ok(Some(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the chunks it is given.
    #[derive(Debug, Default)]
    struct Kept(Mutex<BTreeMap<u64, Vec<u8>>>);

    impl ArrayWriter for Kept {
        fn scratch_bytes(&self) -> u64 {
            0
        }

        fn encode(&self, values: &Values) -> Result<Vec<u8>> {
            Ok(values.to_vec::<u8>())
        }

        fn put(&self, chunk: u64, encoded: Vec<u8>) -> Result<()> {
            lock(&self.0).insert(chunk, encoded);
            Ok(())
        }
    }

    #[test]
    fn runs_of_any_length_in_any_order_become_the_chunks_of_the_whole() {
        let all: Vec<u8> = (0..103).collect();
        for (chunk, cuts) in [
            (10, vec![0, 103]),
            (10, vec![0, 10, 20, 103]),
            (10, vec![0, 3, 5, 7, 44, 44, 99, 103]),
            (1, vec![0, 50, 103]),
            (200, vec![0, 1, 2, 103]),
        ] {
            let mut runs: Vec<Range<usize>> = cuts.windows(2).map(|pair| pair[0]..pair[1]).collect();
            for _ in 0..runs.len() {
                runs.rotate_left(1);
                let kept = Arc::new(Kept::default());
                let feed = Feed::new(kept.clone(), 103, chunk);
                for run in runs.iter().chain(&runs[..1]) {
                    let part = |places: Range<usize>| Values::from(all[run.start..run.end][places].to_vec());
                    feed.add(run.start as u64, run.len() as u64, part).expect("nothing fails here");
                }
                let chunks: Vec<Vec<u8>> = lock(&kept.0).values().cloned().collect();
                let expected: Vec<Vec<u8>> = all.chunks(chunk as usize).map(<[u8]>::to_vec).collect();
                assert_eq!(chunks, expected, "{runs:?} in chunks of {chunk}");
            }
        }
    }
}
