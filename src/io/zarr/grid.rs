//! Which chunks a run of an array touches, and where their values go.
//!
//! ```text
//!        axis 1 ──▶            a chunk's values that lie in the run are copied
//!   ┌──────┬──────┬───┐        in pieces along the last axis: one slice where the
//!   │      │      │   │        chunk is stored row-major, value by value where it
//! ──┼──────┼──────┼───┼──      is transposed
//!   │ run  │ run  │ru │
//! ──┼──────┼──────┼───┼──      chunks at the end are stored whole, too: what lies
//!   └──────┴──────┴───┘        beyond the array is skipped
//! ```

use std::ops::Range;

use crate::error::Result;

/// Calls the function with every place of a grid, the last axis fastest.
pub(super) fn each_place(grid: &[Range<u64>], mut call: impl FnMut(&[u64]) -> Result<()>) -> Result<()> {
    if grid.iter().any(Range::is_empty) {
        return Ok(());
    }
    let mut place: Vec<u64> = grid.iter().map(|range| range.start).collect();
    loop {
        call(&place)?;
        let Some(axis) = (0..grid.len()).rev().find(|&axis| place[axis] + 1 < grid[axis].end) else { return Ok(()) };
        place[axis] += 1;
        for later in axis + 1..grid.len() {
            place[later] = grid[later].start;
        }
    }
}

/// Returns which cells of a length the range touches along an axis.
pub(super) fn touched(range: &Range<u64>, cell: u64) -> Range<u64> {
    if range.is_empty() { 0..0 } else { range.start / cell..range.end.div_ceil(cell) }
}

/// Returns how many places a grid has, capped.
pub(super) fn places(grid: &[Range<u64>]) -> u64 {
    grid.iter().fold(1u64, |places, range| places.saturating_mul(range.end - range.start))
}

/// A run of values that are copied at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    /// The place of the first value in the chunk, and how far the next one is.
    pub(super) from: usize,
    pub(super) step: usize,
    /// The place of the first value in the answer, where the others follow.
    pub(super) to: usize,
    pub(super) len: usize,
}

/// Calls the function with every piece of a chunk that lies in the window.
///
/// `origin` is the place of the chunk's first value, `order` its axes from the slowest to the fastest as they are stored.
pub(super) fn each_piece(
    chunk: &[u64],
    origin: &[u64],
    order: &[usize],
    window: &[Range<u64>],
    mut call: impl FnMut(Piece),
) -> Result<()> {
    let rank = chunk.len();
    let mut steps = vec![1u64; rank];
    for at in (0..rank.saturating_sub(1)).rev() {
        steps[order[at]] = steps[order[at + 1]] * chunk[order[at + 1]];
    }
    let mut strides = vec![1u64; rank];
    for axis in (0..rank.saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * (window[axis + 1].end - window[axis + 1].start);
    }
    let mut common: Vec<Range<u64>> = (0..rank)
        .map(|axis| origin[axis].max(window[axis].start)..(origin[axis] + chunk[axis]).min(window[axis].end))
        .collect();
    let last = common[rank - 1].clone();
    // The last axis is walked by the piece itself.
    common[rank - 1].end = common[rank - 1].end.min(last.start + 1);
    each_place(&common, |place| {
        let sum = |weights: &[u64], starts: &dyn Fn(usize) -> u64| -> u64 {
            (0..rank).map(|axis| (place[axis] - starts(axis)) * weights[axis]).sum()
        };
        let from = sum(&steps, &|axis| origin[axis]) as usize;
        let to = sum(&strides, &|axis| window[axis].start) as usize;
        call(Piece { from, step: steps[rank - 1] as usize, to, len: (last.end - last.start) as usize });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value of every chunk, looked up one by one.
    #[test]
    fn pieces_put_every_value_where_it_belongs_in_any_order_of_axes() {
        let shape = [5u64, 7, 4];
        let value = |place: &[u64]| place[0] * 10_000 + place[1] * 100 + place[2];
        for (chunk, order) in [([2, 3, 4], [0, 1, 2]), ([2, 3, 3], [2, 1, 0]), ([5, 2, 1], [1, 2, 0])] {
            for rows in [0..5, 1..4, 3..5, 2..2] {
                let window = [rows.clone(), 0..7, 0..4];
                let mut found = vec![u64::MAX; ((rows.end - rows.start) * 28) as usize];
                let grid: Vec<Range<u64>> =
                    window.iter().zip(chunk).map(|(range, cell)| touched(range, cell)).collect();
                each_place(&grid, |at| {
                    let origin: Vec<u64> = at.iter().zip(chunk).map(|(at, len)| at * len).collect();
                    // The chunk as it is stored: its axes in `order`, the last one fastest.
                    let mut stored = Vec::new();
                    let axes: Vec<Range<u64>> = order.iter().map(|&axis| 0..chunk[axis]).collect();
                    each_place(&axes, |inner| {
                        let mut place = origin.clone();
                        (0..3).for_each(|at| place[order[at]] += inner[at]);
                        stored.push(value(&place));
                        Ok(())
                    })?;
                    each_piece(&chunk, &origin, &order, &window, |piece| {
                        (0..piece.len).for_each(|i| found[piece.to + i] = stored[piece.from + i * piece.step]);
                    })
                })
                .expect("no call fails");
                let mut expected = Vec::new();
                each_place(&window, |place| {
                    expected.push(value(place));
                    Ok(())
                })
                .expect("no call fails");
                assert_eq!(found, expected, "chunks {chunk:?} in order {order:?}, rows {rows:?} of {shape:?}");
            }
        }
    }
}
