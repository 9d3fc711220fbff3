//! Quantiles: which order statistics they lie between, and those of rows, which a task has in memory; columns of a wide dense
//! array are rows of its transpose.
//!
//! The quantile `q` of `n` values is at place `q·(n − 1)` of them in order, counted from 0; between two it is
//! interpolated linearly (Hyndman and Fan, "Sample quantiles in statistical packages", 1996, definition 7; NumPy's default).
//! Half-way between two it is their mean, rounded once, so that the median is NumPy's `median`.

use super::Over;
use super::key::{Key, last_key, values_of_keys, zero_key};
use super::rows::check_kept;
use super::selection::order_statistics;
use crate::array::expr::to_usize;
use crate::array::values::with_values;
use crate::array::{Array, Block, BlockInfo, BlockKind, DType, DenseBlock, Working};
use crate::error::Result;
use crate::runtime::{Cluster, Progress, keep};

/// A strip of columns has about so many bytes; so few and so many columns, so that short runs of each row are worth while and
/// the lanes have enough to do; and there are at least so many strips.
const STRIP_BYTES: u64 = 2 << 20;
const MOST_STRIP_BYTES: u64 = 16 << 20;
const LEAST_WIDTH: u64 = 16;
const MOST_WIDTH: u64 = 1024;
const LEAST_STRIPS: u64 = 16;

/// Where some quantiles lie among `n` values.
#[derive(Clone, Debug)]
struct Places {
    /// The ranks that are needed, ascending, counted from 0.
    ranks: Vec<u64>,
    /// For each quantile: between which of the ranks, and how far from the first to the second.
    between: Vec<(usize, usize, f64)>,
}

impl Places {
    fn of(quantiles: &[f64], n: u64) -> Places {
        let place = |q: &f64| {
            let place = q * (n - 1) as f64;
            let low = (place as u64).min(n - 1);
            let part = place - low as f64;
            (low, if part > 0.0 { (low + 1).min(n - 1) } else { low }, part)
        };
        let places: Vec<(u64, u64, f64)> = quantiles.iter().map(place).collect();
        let mut ranks: Vec<u64> = places.iter().flat_map(|(low, high, _)| [*low, *high]).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let at = |rank: &u64| ranks.binary_search(rank).expect("it was put there");
        let between = places.iter().map(|(low, high, part)| (at(low), at(high), *part)).collect();
        Places { ranks, between }
    }

    /// Returns the quantiles, one list for each, from the keys of the ranks in each group.
    fn answers(&self, keys: &[u64], dtype: DType) -> Vec<Vec<f64>> {
        let values = values_of_keys(dtype, keys).to_vec::<f64>();
        let groups = values.chunks(self.ranks.len());
        let answer = |(low, high, part): &(usize, usize, f64)| {
            groups.clone().map(|v| between(v[*low], v[*high], *part)).collect()
        };
        self.between.iter().map(answer).collect()
    }
}

/// Interpolates from the nearer end, so that the ends are met exactly.
fn between(low: f64, high: f64, part: f64) -> f64 {
    let apart = high - low;
    match part {
        // Equal infinities have no difference.
        _ if low == high || part == 0.0 => low,
        0.5 => low.midpoint(high),
        // One end is infinite, or finite ends are further apart than any number.
        _ if apart.is_infinite() => low * (1.0 - part) + high * part,
        _ if part < 0.5 => low + apart * part,
        _ => high - apart * (1.0 - part),
    }
}

/// Finds quantiles of each group: a list of answers for each quantile; none where groups have no values.
pub(super) fn quantiles(
    array: &Array,
    cluster: &Cluster,
    over: Over,
    quantiles: &[f64],
    progress: Option<Progress>,
) -> Result<Vec<Vec<f64>>> {
    let (_, n) = over.groups(array)?;
    if quantiles.is_empty() || n == 0 {
        return Ok(Vec::new());
    }
    let places = Places::of(quantiles, n);
    if over == Over::EachRow {
        return of_rows(array, cluster, places, progress);
    }
    if over == Over::EachColumn
        && let Some(columns) = in_strips(array, cluster)?
    {
        return of_rows(&columns, cluster, places, progress);
    }
    let keys = order_statistics(array, cluster, over, &places.ranks, progress)?;
    Ok(places.answers(&keys, array.dtype()))
}

/// Returns the transpose of a wide dense array in strips of whole columns, which one pass selects from; `None` where there
/// are too few columns for that, where strips do not fit, and where one costs more than its own values, as of a file, whose rows
/// are read whole. Counting, which is left then, gives the same values.
fn in_strips(array: &Array, cluster: &Cluster) -> Result<Option<Array>> {
    let (rows, cols) = array.shape();
    let column = DenseBlock::nbytes_of(rows, 1, array.dtype()).max(1);
    let width = (STRIP_BYTES / column).clamp(LEAST_WIDTH, MOST_WIDTH).min(cols / LEAST_STRIPS);
    let strip = width.saturating_mul(column);
    if array.kind() != BlockKind::Dense || width < LEAST_WIDTH || strip > MOST_STRIP_BYTES {
        return Ok(None);
    }
    let strips = array.transpose().with_block_rows(width);
    let Ok(plan) = strips.plan_for(cluster, "quantile", 2 * strip) else { return Ok(None) };
    let is_cheap = plan.projected_bytes <= 8 * strip && plan.bytes_read <= array.plan(cluster)?.bytes_read;
    Ok(is_cheap.then_some(strips))
}

fn of_rows(array: &Array, cluster: &Cluster, places: Places, progress: Option<Progress>) -> Result<Vec<Vec<f64>>> {
    let (ranks, answers) = (places.ranks.len() as u64, places.between.len() as u64);
    // A row's keys; of each row the keys of its ranks, their values and the answers.
    // The answers, and room for them among those of all rows, stay reserved until all have come.
    let kept = 16 * answers;
    let per_row = 16 * ranks + 8 * answers + kept;
    let working = Working { fixed: array.cols().saturating_mul(8), per_row, kept: 0 };
    let (array, rows) = (array.clone().whole_rows(), to_usize(array.rows())?);
    check_kept(cluster, "quantile", &array.plan_for(cluster, "quantile", working)?, kept)?;
    let n_answers = places.between.len();
    let map = move |block: Block, _: BlockInfo, _: &_| {
        let keys = with_values!(block.values(), values => keys_of_rows(&block, values, &places.ranks));
        Ok((places.answers(&keys, block.dtype()), keep(kept * block.rows() as u64)))
    };
    let blocks = array.map_block_results(cluster, "quantile", working, map, progress)?;
    let mut joined: Vec<Vec<f64>> = (0..n_answers).map(|_| Vec::with_capacity(rows)).collect();
    for (block, _kept) in blocks {
        joined.iter_mut().zip(block).for_each(|(joined, answers)| joined.extend(answers));
    }
    Ok(joined)
}

/// Returns the keys of these ranks in each row, one row after another.
fn keys_of_rows<T: Key>(block: &Block, values: &[T], ranks: &[u64]) -> Vec<u64> {
    let (rows, cols) = block.shape();
    let (mut found, mut keys) = (Vec::with_capacity(rows * ranks.len()), Vec::with_capacity(cols));
    let (zero, last) = (zero_key(T::DTYPE), last_key(T::DTYPE));
    for row in 0..rows {
        let stored = match block {
            Block::Dense(_) => row * cols..(row + 1) * cols,
            Block::Csr(b) => b.row(row),
        };
        keys.clear();
        keys.extend(values[stored].iter().map(|value| value.key()));
        if keys.len() == cols {
            let spoilt = T::DTYPE.is_float() && keys.contains(&last);
            put_in_place(&mut keys, 0, ranks);
            found.extend(ranks.iter().map(|rank| if spoilt { last } else { keys[*rank as usize] }));
            continue;
        }
        keys.sort_unstable();
        let spoilt = T::DTYPE.is_float() && keys.last() == Some(&last);
        // The zeros that are left out stand between the negative values and the others.
        let (negative, left_out) = (keys.partition_point(|key| *key < zero), cols - keys.len());
        found.extend(ranks.iter().map(|rank| match *rank as usize {
            _ if spoilt => last,
            rank if rank < negative => keys[rank],
            rank if rank < negative + left_out => zero,
            rank => keys[rank - left_out],
        }));
    }
    found
}

/// Moves the keys of some ranks (ascending) to their places, those below before them and those above behind (Hoare 1961,
/// algorithm 65, as the standard library has it); `first` is the rank of the first key.
fn put_in_place(keys: &mut [u64], first: u64, ranks: &[u64]) {
    let Some(rank) = ranks.get(ranks.len() / 2) else { return };
    let (below, above) = (&ranks[..ranks.len() / 2], &ranks[ranks.len() / 2 + 1..]);
    let (left, _, right) = keys.select_nth_unstable((rank - first) as usize);
    put_in_place(left, first, below);
    put_in_place(right, rank + 1, above);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // np.quantile([1, 2, 4, 8, 16], q), whose places are 0, 1, 1.2, 2.8, 3.4 and 4.
        let values = [1.0, 2.0, 4.0, 8.0, 16.0].map(f64::key);
        let asked = [0.0, 0.25, 0.3, 0.7, 0.85, 1.0];
        let places = Places::of(&asked, 5);
        let keys: Vec<u64> = places.ranks.iter().map(|rank| values[*rank as usize]).collect();
        let found: Vec<f64> = places.answers(&keys, DType::F64).concat();
        for (found, expected) in found.iter().zip([1.0, 2.0, 2.4, 7.2, 11.2, 16.0]) {
            // `q` itself is rounded, and the place with it: 5 · ε times a distance of at most 8.
            assert!((found - expected).abs() <= 40.0 * f64::EPSILON, "{found} {expected}");
        }
    }

    #[test]
    fn columns_of_a_wide_array_are_selected_from_in_one_pass() {
        let cluster = crate::runtime::Cluster::builder().allowance(crate::ByteSize(64 << 20)).workers(2).build();
        let cluster = cluster.expect("sound settings");
        // Ties everywhere, and a NaN in the fourth column.
        let made = crate::array::random::integers(101, 700, 0, 9, 5, 20).expect("a range").astype(DType::F64);
        let mut values = made.compute(&cluster).expect("small").to_vec::<f64>();
        values[50 * 700 + 3] = f64::NAN;
        let x = Array::from_slice(101, 700, &values).expect("its values").with_block_rows(20);
        for x in [x.persist(&cluster).expect("small"), x] {
            let passes = cluster.runs().len();
            let found = x.quantile(&cluster, Over::EachColumn, 0.26).expect("small");
            let is_stored = x.storage_step(false) == 20;
            assert_eq!(cluster.runs().len() - passes == 1, is_stored, "what is in memory is cut out of its rows");
            for (col, found) in found.iter().enumerate() {
                let mut column: Vec<f64> = (0..101).map(|row| values[row * 700 + col]).collect();
                column.sort_by(f64::total_cmp);
                // 0.26 · 100 is place 26, but for rounding: the neighbours differ by 1 at most.
                let near = (found - column[26]).abs() < 1e-13;
                assert!(if col == 3 { found.is_nan() } else { near }, "column {col}: {found}");
            }
        }
    }

    #[test]
    fn interpolation_meets_its_ends_and_survives_the_ends_of_the_numbers() {
        assert_eq!(between(0.1, 0.3, 0.0), 0.1);
        assert_eq!(between(f64::INFINITY, f64::INFINITY, 0.3), f64::INFINITY);
        assert_eq!(between(f64::NEG_INFINITY, 5.0, 0.25), f64::NEG_INFINITY);
        assert!(between(f64::NEG_INFINITY, f64::INFINITY, 0.25).is_nan(), "nothing lies half-way between these");
        assert_eq!(between(f64::MIN, f64::MAX, 0.5), 0.0);
        let found = between(f64::MIN, f64::MAX, 0.75) / f64::MAX;
        // Two products and a sum are rounded.
        assert!((found - 0.5).abs() <= 2.0 * f64::EPSILON, "{found}");
        assert!(between(1.0, f64::NAN, 0.25).is_nan());
    }
}
