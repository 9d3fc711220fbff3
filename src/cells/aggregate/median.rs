//! The median of each gene in each group: exact, from the values themselves where zeros do not decide.
//!
//! Where more than half of a group's values are zero, the median is zero, and nothing is read. Of the other genes and groups the
//! values are gathered and sorted, so many genes at a time as there is room for: how many values there are is known from
//! the tallies. Each such strip is one task that reads the data once.

use std::ops::Range;
use std::sync::Arc;

use super::sweep::{Deal, take_turns};
use super::tally::{Seen, Tallies, Tally, visit};
use crate::array::{Array, Block, BlockInfo, RowRuns, Working};
use crate::error::{Error, Result};
use crate::linalg::whole_rows;
use crate::runtime::Cluster;

const NAME: &str = "aggregate medians";

/// Finds the medians of the genes of some tallies: groups × genes, row by row.
///
/// # Errors
/// `TooBig` when the values of one gene do not fit the allowance; those of the blocks.
pub(super) fn medians<T: Tally>(
    cluster: &Cluster,
    x: &Array,
    groups: &Arc<[u32]>,
    sizes: &[u64],
    tallies: &Tallies<T>,
) -> Result<Vec<f64>> {
    let genes = tallies.genes.clone();
    let width = genes.len();
    let wanted: Vec<u32> = tallies.seen().enumerate().map(|(at, seen)| to_gather(&seen, sizes[at / width])).collect();
    let mut found = vec![0.0; wanted.len()];
    let x = whole_rows(x);
    let strips = strips(cluster, &x, &wanted, width)?;
    let (sizes, wanted): (Arc<[u64]>, Arc<[u32]>) = (sizes.into(), wanted.into());
    let start = |at: usize| {
        let (strip, bytes) = strips[at].clone();
        let (wanted, sizes, groups) = (wanted.clone(), sizes.clone(), groups.clone());
        let columns = genes.start + strip.start..genes.start + strip.end;
        let counts = strip.clone();
        let empty = move || Gathered::new(wanted.chunks_exact(width).flat_map(|row| &row[counts.clone()]));
        let add = move |gathered: &mut Gathered, block: &Block, info: BlockInfo| {
            let first = info.row_offset as usize;
            gathered.add(block, &groups[first..first + block.rows()], &columns)
        };
        let end = move |gathered: Gathered| gathered.medians(&sizes, strip.len());
        let working = Working { fixed: bytes, per_row: 0, kept: 0 };
        let runs = RowRuns { name: NAME, rows: x.rows().max(1), working, progress: None };
        x.start_row_runs(cluster, runs, empty, add, end, |a: Vec<Option<f64>>, _| Ok(a))
    };
    take_turns(strips.len(), cluster.lanes().max(1), start, |at, medians| {
        let strip = strips[at].0.clone();
        for (row, medians) in found.chunks_exact_mut(width).zip(medians.unwrap_or_default().chunks(strip.len())) {
            for (found, median) in row[strip.clone()].iter_mut().zip(medians) {
                *found = median.unwrap_or(*found);
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns how many values must be looked at: all that are not zero, or none where zeros decide.
fn to_gather(seen: &Seen, n: u64) -> u32 {
    let undecided = 2 * u64::from(seen.nonzero) >= n || !seen.sum.is_finite();
    if undecided { seen.nonzero } else { 0 }
}

/// Cuts genes into strips whose values fit, with the bytes of each; genes that want nothing at the end are left out.
fn strips(cluster: &Cluster, x: &Array, wanted: &[u32], width: usize) -> Result<Vec<(Range<usize>, u64)>> {
    let n_groups = wanted.len().checked_div(width).unwrap_or(0) as u64;
    let mut bytes = vec![n_groups * size_of::<Slot>() as u64; width];
    for row in wanted.chunks_exact(width.max(1)) {
        bytes.iter_mut().zip(row).for_each(|(bytes, n)| *bytes += 8 * u64::from(*n));
    }
    let total: u64 = bytes.iter().sum();
    let lanes = cluster.lanes().max(1) as u64;
    let room = Deal::room(cluster, x, NAME)? / 2;
    let most = room.min(total.div_ceil(lanes)).max(1);
    let mut strips: Vec<(Range<usize>, u64)> = Vec::new();
    for (gene, bytes) in bytes.into_iter().enumerate() {
        match strips.last_mut() {
            Some((strip, held)) if *held + bytes <= most => (strip.end, *held) = (gene + 1, *held + bytes),
            _ => strips.push((gene..gene + 1, bytes)),
        }
    }
    let wants = |strip: &Range<usize>| wanted.chunks_exact(width).any(|row| row[strip.clone()].iter().any(|n| *n > 0));
    strips.retain(|(strip, _)| wants(strip));
    Ok(strips)
}

/// Where the values of a gene in a group stand.
struct Slot {
    next: usize,
    end: usize,
}

/// Values by group and gene.
struct Gathered {
    slots: Vec<Slot>,
    values: Vec<f64>,
}

impl Gathered {
    fn new<'a>(counts: impl Iterator<Item = &'a u32>) -> Self {
        let mut end = 0;
        let slots = counts.map(|count| {
            let next = end;
            end += *count as usize;
            Slot { next, end }
        });
        let slots = slots.collect();
        Gathered { slots, values: vec![0.0; end] }
    }

    fn add(&mut self, block: &Block, groups: &[u32], genes: &Range<usize>) -> Result<()> {
        let values = &mut self.values;
        visit(block, groups, genes, &mut self.slots, |slot, value| {
            if slot.next < slot.end {
                values[slot.next] = value;
                slot.next += 1;
            }
        });
        Ok(())
    }

    /// Takes the median of each slot that has values.
    fn medians(mut self, sizes: &[u64], width: usize) -> Result<Vec<Option<f64>>> {
        let mut start = 0;
        let mut medians = Vec::with_capacity(self.slots.len());
        for (at, slot) in self.slots.iter().enumerate() {
            if slot.next != slot.end {
                let found = format!("{} of {} that were counted before", slot.next - start, slot.end - start);
                return Err(Error::bad_argument("aggregate", "number of values", found, "the same in every pass"));
            }
            let values = &mut self.values[start..slot.end];
            medians.push((!values.is_empty()).then(|| median(values, sizes[at / width])));
            start = slot.end;
        }
        Ok(medians)
    }
}

/// Returns the median of `n` values, of which these are the ones that are not zero; NaN where one is.
fn median(values: &mut [f64], n: u64) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    values.sort_unstable_by(f64::total_cmp);
    let zeros = n - values.len() as u64;
    let below = values.partition_point(|value| *value < 0.0) as u64;
    let at = |rank: u64| match rank {
        rank if rank < below => values[rank as usize],
        rank if rank < below + zeros => 0.0,
        rank => values[(rank - zeros) as usize],
    };
    if n % 2 == 1 { at(n / 2) } else { (at(n / 2 - 1) + at(n / 2)) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_stand_between_what_is_below_and_above() {
        let cases: [(&[f64], u64, f64); 7] = [
            (&[3.0, 1.0, 2.0], 3, 2.0),
            (&[3.0, 1.0], 4, 0.5),
            (&[-3.0, 1.0], 3, 0.0),
            (&[-3.0, -1.0, -2.0], 4, -1.5),
            (&[-3.0, 4.0], 2, 0.5),
            (&[5.0], 1, 5.0),
            (&[1.0, f64::NAN], 9, f64::NAN),
        ];
        for (values, n, expected) in cases {
            let found = median(&mut values.to_vec(), n);
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{values:?} {found}");
        }
    }
}
