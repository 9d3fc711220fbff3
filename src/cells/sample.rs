//! Some cells and genes at random: so many, or a share, with a seed; lazily, with all that belongs to them.
//!
//! Without replacement cells are drawn by selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm
//! S): one walk from the first to the last, each kept with the chance that makes all choices of that size as likely. So they
//! stay in their order, and a file is read once from beginning to end. With replacement they are drawn one by one and sorted.
//!
//! Always true: the same seed draws the same cells on every machine; genes are drawn from a stream of their own, so that the
//! cells drawn do not depend on whether genes are.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{AnnData, Choice};
use crate::error::{Error, Result};

/// How many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// So many.
    Number(u64),
    /// This share of all of them, rounded down.
    Fraction(f64),
}

/// What [`sample`] draws.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// How many cells; `None` keeps all, undrawn.
    pub cells: Option<Amount>,
    /// How many genes; `None` keeps all, undrawn.
    pub genes: Option<Amount>,
    /// Whether one may be drawn more than once.
    pub replace: bool,
    /// The same seed draws the same.
    pub seed: u64,
}

impl Sample {
    /// Draws cells and genes so that this share of the matrix' area is left: √share of the rows and of the columns,
    /// each rounded down.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::cells::{self, Sample};
    /// use allotment::io::h5ad;
    /// let data = h5ad::open("bench-data/neurons10k_csr_u16.h5ad")?;
    /// let small = cells::sample(&data, &Sample::of_area(0.01, 7))?;
    /// assert_eq!(small.x.shape(), (1000, 100));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn of_area(share: f64, seed: u64) -> Self {
        let side = Some(Amount::Fraction(share.sqrt()));
        Sample { cells: side, genes: side, replace: false, seed }
    }
}

/// Keeps cells and genes drawn at random, in their order. Nothing is read.
///
/// # Errors
/// `BadArgument` for a share below 0 or not a number, and, without replacement, for more than there are.
///
/// # Examples
///
/// ```
/// use allotment::cells::{self, Amount, Sample};
/// use allotment::io::h5ad;
/// let data = h5ad::open("bench-data/pbmc68k_reduced.h5ad")?;
/// let few = cells::sample(&data, &Sample { cells: Some(Amount::Number(20)), seed: 1, ..Default::default() })?;
/// assert_eq!(few.x.shape(), (20, 765));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn sample(data: &AnnData, options: &Sample) -> Result<AnnData> {
    let choice = |amount: Option<Amount>, n: u64, stream: u64| -> Result<Choice> {
        let Some(amount) = amount else { return Ok(Choice::from(..)) };
        let wanted = wanted(amount, n, options.replace)?;
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        random.set_stream(stream);
        Ok(Choice::from(if options.replace {
            with_replacement(&mut random, wanted, n)
        } else {
            drawn(&mut random, wanted, n)
        }))
    };
    let (cells, genes) = (choice(options.cells, data.n_obs(), 0)?, choice(options.genes, data.n_vars(), 1)?);
    data.select(cells, genes)
}

fn wanted(amount: Amount, n: u64, replace: bool) -> Result<u64> {
    let refuse = |found: String| {
        let expected =
            if replace { "0 or more".into() } else { format!("from 0 to all {n}, or draw with replacement") };
        Err(Error::bad_argument("sample", "amount", found, expected))
    };
    match amount {
        Amount::Number(0) => Ok(0),
        Amount::Number(number) if replace && n > 0 || number <= n => Ok(number),
        Amount::Number(number) => refuse(number.to_string()),
        Amount::Fraction(share) if share >= 0.0 && share.is_finite() && (replace || share <= 1.0) => {
            Ok((share * n as f64) as u64)
        }
        Amount::Fraction(share) => refuse(format!("the share {share}")),
    }
}

/// Returns a whole number below `n`, each as likely, by Lemire's method ("Fast random integer generation in an interval",
/// 2019, section 4): draws that would make some likelier are drawn again.
fn below(random: &mut ChaCha8Rng, n: u64) -> u64 {
    let unfair = n.wrapping_neg() % n;
    loop {
        let product = u128::from(random.next_u64()) * u128::from(n);
        if product as u64 >= unfair {
            return (product >> 64) as u64;
        }
    }
}

/// Draws so many of the first `n` numbers, ascending, none twice.
fn drawn(random: &mut ChaCha8Rng, wanted: u64, n: u64) -> Vec<u64> {
    let mut kept = Vec::with_capacity(wanted as usize);
    for place in 0..n {
        let left = wanted - kept.len() as u64;
        if left > 0 && below(random, n - place) < left {
            kept.push(place);
        }
    }
    kept
}

fn with_replacement(random: &mut ChaCha8Rng, wanted: u64, n: u64) -> Vec<u64> {
    let mut kept: Vec<u64> = (0..wanted).map(|_| below(random, n)).collect();
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::super::testing::{count, data_of};
    use super::*;

    fn numbers(data: &AnnData) -> Vec<String> {
        data.obs_names().expect("names")
    }

    #[test]
    fn so_many_are_drawn_in_order_and_the_same_for_a_seed() {
        let data = data_of(50, 20, count);
        let draw = |seed, genes| {
            sample(&data, &Sample { cells: Some(Amount::Number(10)), genes, seed, replace: false })
                .expect("fewer than fifty")
        };
        let first = draw(1, None);
        assert_eq!((first.n_obs(), first.n_vars()), (10, 20));
        let places: Vec<u64> =
            numbers(&first).iter().map(|name| name["cell ".len()..].parse().expect("a number")).collect();
        assert!(places.is_sorted_by(|a, b| a < b));
        assert_eq!(numbers(&first), numbers(&draw(1, Some(Amount::Fraction(0.26)))), "whatever is drawn of the genes");
        assert_ne!(numbers(&first), numbers(&draw(2, None)));
        assert_eq!(draw(1, Some(Amount::Fraction(0.26))).n_vars(), 5, "0.26 of 20, rounded down");
    }

    #[test]
    fn every_choice_is_as_likely() {
        let mut times = [0u32; 10];
        for seed in 0..3000 {
            drawn(&mut ChaCha8Rng::seed_from_u64(seed), 3, 10).into_iter().for_each(|place| times[place as usize] += 1);
        }
        // 3000 draws of 3 in 10: a count has mean 900 and deviation 25; five of them.
        assert!(times.iter().all(|times| times.abs_diff(900) < 125), "{times:?}");
    }

    #[test]
    fn replacement_draws_more_than_there_are_and_all_and_none_are_drawn_too() {
        let data = data_of(5, 3, count);
        let of = |amount, replace| sample(&data, &Sample { cells: Some(amount), replace, ..Default::default() });
        assert_eq!(of(Amount::Number(12), true).expect("with replacement").n_obs(), 12);
        assert_eq!(of(Amount::Fraction(2.0), true).expect("with replacement").n_obs(), 10);
        assert_eq!(numbers(&of(Amount::Number(5), false).expect("all")), numbers(&data));
        assert_eq!(of(Amount::Fraction(0.0), false).expect("none").n_obs(), 0);
        for (amount, replace) in [
            (Amount::Number(6), false),
            (Amount::Fraction(1.1), false),
            (Amount::Fraction(f64::NAN), true),
            (Amount::Fraction(-0.1), true),
        ] {
            assert!(of(amount, replace).is_err(), "{amount:?}");
        }
        let none = data_of(0, 3, count);
        assert!(
            sample(&none, &Sample { cells: Some(Amount::Number(1)), replace: true, ..Default::default() }).is_err()
        );
    }
}
