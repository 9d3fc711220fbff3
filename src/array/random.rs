//! Random matrices whose numbers follow the element, not the chunk.
//!
//! The generator is ChaCha with 8 rounds: its output at any place is a function of the key and the place, so that
//! element `i` (counted row by row over the whole matrix) has the same value whatever the chunking, the number of
//! workers or the order of work. The key comes from the seed; uniform and normal numbers take separate streams.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::window::Window;
use super::{Array, BlockKind, DType, DenseBlock, Element, Expr};
use crate::error::{Error, Result};

/// Numbers that are drawn and converted at once: they stay in the first cache.
const TILE: usize = 512;

/// How the numbers are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Distribution {
    /// Even over [0, 1), in steps of 2⁻⁵³.
    Uniform,
    /// Normal with mean 0 and variance 1.
    Normal,
    /// Whole numbers, evenly from `low` to below `high`.
    Integers {
        /// The smallest of them.
        low: i64,
        /// The one beyond the largest.
        high: i64,
    },
}

impl Distribution {
    /// Returns the generator's stream: one for each distribution, so that their numbers have nothing in common.
    fn stream(self) -> u64 {
        match self {
            Distribution::Uniform => 0,
            Distribution::Normal => 1,
            Distribution::Integers { .. } => 2,
        }
    }
}

/// A random matrix.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Random {
    pub(super) distribution: Distribution,
    pub(super) seed: u64,
}

/// Describes a `rows × cols` matrix of uniform numbers in [0, 1), cut into `chunk_rows` rows (`None`: as fits).
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::random};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let small = random::uniform(5, 3, 7, Some(1)).compute(&cluster)?;
/// let large = random::uniform(5, 3, 7, Some(5)).compute(&cluster)?;
/// assert_eq!(small.to_nalgebra::<f64>(), large.to_nalgebra::<f64>(), "the same numbers for any chunking");
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn uniform(rows: u64, cols: u64, seed: u64, chunk_rows: impl Into<Option<u64>>) -> Array {
    random(Distribution::Uniform, rows, cols, seed, chunk_rows.into())
}

/// Describes a `rows × cols` matrix of standard normal numbers, cut into `chunk_rows` rows (`None`: as fits).
///
/// The last bits rest on the system's `ln`, `sin` and `cos`: the same on one machine, not promised across machines.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::{Over, random}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let x = random::normal(10_000, 2, 7, 1000);
/// let (mean, std) = (x.mean(&cluster, Over::Whole)?[0], x.std(&cluster, Over::Whole, 1)?[0]);
/// assert!(mean.abs() < 0.03 && (std - 1.0).abs() < 0.03);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn normal(rows: u64, cols: u64, seed: u64, chunk_rows: impl Into<Option<u64>>) -> Array {
    random(Distribution::Normal, rows, cols, seed, chunk_rows.into())
}

/// Describes a `rows × cols` matrix of `i64` from `low` to below `high`, each as likely as the others, cut into `chunk_rows` rows
/// (`None`: as fits).
///
/// A number takes 64 random bits and one multiplication, so that no value is likelier than another by more than one in 2⁶⁴ / (high −
/// low) (Lemire, "Fast random integer generation in an interval", 2019, without its rejection step, which would make a
/// value depend on how often others were drawn).
///
/// # Errors
///
/// [`Error::BadArgument`] when `high` is not above `low`.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::{DType, random}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let dice = random::integers(100, 2, 1, 7, 42, None)?.astype(DType::U8);
/// assert!(dice.compute(&cluster)?.to_vec::<u8>().iter().all(|pips| (1..=6).contains(pips)));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn integers(
    rows: u64,
    cols: u64,
    low: i64,
    high: i64,
    seed: u64,
    chunk_rows: impl Into<Option<u64>>,
) -> Result<Array> {
    let distribution = Distribution::Integers { low, high };
    Random { distribution, seed }.check()?;
    Ok(random(distribution, rows, cols, seed, chunk_rows.into()))
}

fn random(distribution: Distribution, rows: u64, cols: u64, seed: u64, chunk_rows: Option<u64>) -> Array {
    let numbers = Random { distribution, seed };
    let array = Array::new((rows, cols), numbers.dtype(), BlockKind::Dense, Expr::Random(numbers));
    chunk_rows.into_iter().fold(array, |array, rows| array.with_block_rows(rows))
}

impl Random {
    /// Returns the dtype of the numbers.
    pub(super) fn dtype(&self) -> DType {
        match self.distribution {
            Distribution::Uniform | Distribution::Normal => DType::F64,
            Distribution::Integers { .. } => DType::I64,
        }
    }

    /// Refuses a range of integers that holds none.
    pub(super) fn check(&self) -> Result<()> {
        match self.distribution {
            Distribution::Integers { low, high } if high <= low => {
                Err(Error::bad_argument("random integers", "high", high, format!("above low, which is {low}")))
            }
            _ => Ok(()),
        }
    }

    /// Draws the numbers of a window, of so many rows and columns, in a matrix of `cols` columns.
    pub(super) fn window(&self, cols: u64, window: &Window, shape: (usize, usize)) -> DenseBlock {
        match self.distribution {
            Distribution::Integers { low, high } => {
                let range = high.wrapping_sub(low) as u64;
                // The high half of a product with the range: evenly from 0 to below it.
                let drawn = |bits: u64| low.wrapping_add(((u128::from(bits) * u128::from(range)) >> 64) as i64);
                self.drawn(cols, window, shape, |start, out: &mut [i64]| {
                    let mut generator = self.generator(2 * start);
                    generator.fill_bytes(bytemuck::cast_slice_mut(out));
                    // The bytes are little-endian words by definition of the generator.
                    out.iter_mut().for_each(|value| *value = drawn(u64::from_le(*value as u64)));
                })
            }
            Distribution::Uniform | Distribution::Normal => {
                self.drawn(cols, window, shape, |start, out: &mut [f64]| self.fill(start, out))
            }
        }
    }

    /// Returns the generator at one of its words of 32 bits.
    fn generator(&self, word: u128) -> ChaCha8Rng {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(self.distribution.stream());
        generator.set_word_pos(word);
        generator
    }

    /// Fills a window, run by run of neighbouring elements.
    fn drawn<T: Element>(
        &self,
        cols: u64,
        window: &Window,
        (n_rows, n_cols): (usize, usize),
        fill: impl Fn(u128, &mut [T]),
    ) -> DenseBlock {
        let mut values = vec![T::default(); n_rows * n_cols];
        let first = |row: u64| u128::from(row) * u128::from(cols) + u128::from(window.cols.start);
        if n_cols as u64 == cols {
            fill(first(window.rows.start), &mut values);
        } else {
            // No columns, no values: and chunks of zero length do not exist.
            for (row, out) in window.rows.clone().zip(values.chunks_exact_mut(n_cols.max(1))) {
                fill(first(row), out);
            }
        }
        DenseBlock { rows: n_rows, cols: n_cols, values: values.into() }
    }

    /// Draws the numbers of the elements `start..`.
    fn fill(&self, start: u128, out: &mut [f64]) {
        let mut generator = self.generator(0);
        match self.distribution {
            // Integers are drawn as such.
            Distribution::Uniform | Distribution::Integers { .. } => {
                // An element takes two words of 32 bits.
                generator.set_word_pos(2 * start);
                out.chunks_mut(TILE).for_each(|tile| fill_uniform(&mut generator, tile));
            }
            Distribution::Normal => {
                // A pair of elements shares two uniform numbers: begin at the pair, and leave out what was not asked.
                let skip = (start % 2) as usize;
                generator.set_word_pos(2 * (start - skip as u128));
                let (head, rest) = out.split_at_mut(skip.min(out.len()));
                let mut pair = [0.0; 2];
                if let [first] = head {
                    fill_normal(&mut generator, &mut pair);
                    *first = pair[1];
                }
                let (pairs, tail) = rest.split_at_mut(rest.len() / 2 * 2);
                pairs.chunks_mut(TILE).for_each(|tile| fill_normal(&mut generator, tile));
                if let [last] = tail {
                    fill_normal(&mut generator, &mut pair);
                    *last = pair[0];
                }
            }
        }
    }
}

/// Fills with multiples of 2⁻⁵³ below 1.
fn fill_uniform(generator: &mut ChaCha8Rng, out: &mut [f64]) {
    generator.fill_bytes(bytemuck::cast_slice_mut(out));
    for value in out {
        // The bytes are little-endian words by definition of the generator; the signed conversion is one instruction.
        let bits = u64::from_le(value.to_bits());
        *value = (bits >> 11) as i64 as f64 * (1.0 / (1u64 << 53) as f64);
    }
}

/// Fills pairs with independent normal numbers, by Box and Muller.
fn fill_normal(generator: &mut ChaCha8Rng, out: &mut [f64]) {
    fill_uniform(generator, out);
    for pair in out.chunks_exact_mut(2) {
        // 1 − u lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - pair[0]).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * pair[1]).sin_cos();
        (pair[0], pair[1]) = (radius * cos, radius * sin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(distribution: Distribution, start: u128, len: usize) -> Vec<f64> {
        let mut values = vec![0.0; len];
        Random { distribution, seed: 7 }.fill(start, &mut values);
        values
    }

    #[test]
    fn any_run_of_elements_has_the_numbers_of_the_whole() {
        for distribution in [Distribution::Uniform, Distribution::Normal] {
            let whole = drawn(distribution, 0, 3 * TILE + 5);
            for start in [0, 1, 2, 7, TILE - 1, TILE, 2 * TILE + 3] {
                for len in [0, 1, 2, 3, TILE, TILE + 2] {
                    assert_eq!(drawn(distribution, start as u128, len), whole[start..start + len], "{start} {len}");
                }
            }
        }
    }

    #[test]
    fn integers_are_even_over_their_range_and_the_same_for_any_chunking() {
        let cluster = crate::Cluster::builder().workers(2).build().expect("defaults");
        let array = integers(6_000, 10, -3, 7, 11, 100).expect("a range");
        let whole = array.compute(&cluster).expect("small").to_vec::<i64>();
        assert_eq!(array.rechunk(999, 3).compute(&cluster).expect("small").to_vec::<i64>(), whole);
        for value in -3..7 {
            let found = whole.iter().filter(|v| **v == value).count() as f64;
            // 60,000 draws, one in ten: five standard deviations of a count of 6,000.
            assert!((found - 6_000.0).abs() < 5.0 * 5_400f64.sqrt(), "{value}: {found}");
        }
        let wide = integers(1, 4, i64::MIN, i64::MAX, 1, None).expect("a range").compute(&cluster).expect("small");
        assert!(wide.to_vec::<i64>().iter().any(|v| *v < 0) && wide.to_vec::<i64>().iter().any(|v| *v > 0));
        assert!(integers(1, 1, 5, 5, 1, None).is_err());
    }

    #[test]
    fn numbers_have_the_moments_of_their_distribution() {
        let n = 200_000;
        for (distribution, mean, variance) in
            [(Distribution::Uniform, 0.5, 1.0 / 12.0), (Distribution::Normal, 0.0, 1.0)]
        {
            let values = drawn(distribution, 1 << 40, n);
            let found = values.iter().sum::<f64>() / n as f64;
            let spread = values.iter().map(|v| (v - found).powi(2)).sum::<f64>() / n as f64;
            // Five standard errors: the seed is fixed, and a sound generator misses this once in a million seeds.
            assert!((found - mean).abs() < 5.0 * (variance / n as f64).sqrt(), "mean {found}");
            assert!((spread / variance - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt(), "variance {spread}");
        }
    }

    #[test]
    fn seeds_and_distributions_give_other_numbers() {
        let mut other = vec![0.0; 4];
        Random { distribution: Distribution::Uniform, seed: 8 }.fill(0, &mut other);
        let mine = drawn(Distribution::Uniform, 0, 4);
        assert!(mine.iter().zip(&other).all(|(a, b)| a != b));
        assert!(mine.iter().all(|v| (0.0..1.0).contains(v)));
    }
}
