//! Reductions: sum, mean, variance and number of non-zeros, of the whole, of each row or of each column.
//!
//! Whatever is asked together shares one pass. Each block gives its share, shares join in block order, and the end is
//! taken once: the same bits on any number of workers. Everything is computed in `f64`; integers beyond 2⁵³ are rounded.
//! NaN is not skipped. Zeros that a CSR array leaves out count as values, zeros that it stores do not count as non-zero.

use super::moments::{Moments, Wanted};
use super::{Array, Block, Working};
use crate::error::Result;
use crate::runtime::{Cluster, Progress};

/// What to compute of a group of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Statistic {
    /// The sum; 0 for no values.
    Sum,
    /// The mean; NaN for no values.
    Mean,
    /// The variance: squares about the mean over `n - ddof`; NaN when `n` is not above `ddof`.
    Var {
        /// What is taken from the number of values: 0 for a population, 1 for a sample.
        ddof: u64,
    },
    /// The number of values that are not zero; NaN is not zero.
    Nnz,
}

/// Which values make a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// All of them: one answer.
    Whole,
    /// Those of a row: one answer for each row. The answers come home, as many as there are rows.
    EachRow,
    /// Those of a column: one answer for each column.
    EachColumn,
}

/// The moments that a pass collects, by group.
#[derive(Default)]
struct Partial {
    whole: Option<Moments>,
    rows: Option<Moments>,
    columns: Option<Moments>,
}

/// What a pass must collect.
#[derive(Clone, Copy, Default)]
struct Request {
    whole: Option<Wanted>,
    rows: Option<Wanted>,
    columns: Option<Wanted>,
}

impl Request {
    fn of(reductions: &[(Statistic, Over)]) -> Request {
        let mut request = Request::default();
        for (statistic, over) in reductions {
            let wanted = match over {
                Over::Whole => &mut request.whole,
                Over::EachRow => &mut request.rows,
                Over::EachColumn => &mut request.columns,
            };
            let wanted = wanted.get_or_insert_default();
            wanted.squares |= matches!(statistic, Statistic::Var { .. });
            wanted.nnz |= matches!(statistic, Statistic::Nnz);
        }
        request
    }

    /// Returns what a task holds: two shares while they join and those that wait for theirs, and on the way what the
    /// variance of columns needs.
    fn working(self, cols: u64) -> Working {
        const GROUP: u64 = 32;
        let columns = if self.columns.is_some() { (5 * GROUP).saturating_mul(cols) } else { 0 };
        let per_row = if self.rows.is_some() { 2 * GROUP } else { 0 };
        Working { fixed: columns.saturating_add(1024), per_row, kept: columns / 5 }
    }

    fn share(self, block: &Block) -> Partial {
        Partial {
            whole: self.whole.map(|wanted| Moments::of_whole(block, wanted)),
            rows: self.rows.map(|wanted| Moments::of_rows(block, wanted)),
            columns: self.columns.map(|wanted| Moments::of_columns(block, wanted)),
        }
    }

    /// Returns the share of no rows.
    fn none(self, cols: usize) -> Partial {
        Partial {
            whole: self.whole.map(|wanted| Moments::none(1, wanted)),
            rows: self.rows.map(|wanted| Moments::none(0, wanted)),
            columns: self.columns.map(|wanted| Moments::none(cols, wanted)),
        }
    }
}

impl Partial {
    fn join(self, other: Partial) -> Partial {
        Partial {
            whole: self.whole.zip(other.whole).map(|(a, b)| a.join(b)),
            rows: self.rows.zip(other.rows).map(|(a, b)| a.append(b)),
            columns: self.columns.zip(other.columns).map(|(a, b)| a.join(b)),
        }
    }

    fn finish(&self, statistic: Statistic, over: Over) -> Vec<f64> {
        let moments = match over {
            Over::Whole => &self.whole,
            Over::EachRow => &self.rows,
            Over::EachColumn => &self.columns,
        };
        let Some(moments) = moments else { return Vec::new() };
        let n = moments.n;
        match statistic {
            Statistic::Sum => moments.sums.iter().map(|sum| sum.value()).collect(),
            Statistic::Mean => moments.sums.iter().map(|sum| sum.value() / n as f64).collect(),
            Statistic::Var { ddof } if n <= ddof => vec![f64::NAN; moments.sums.len()],
            Statistic::Var { ddof } => moments.squares.iter().map(|squares| squares / (n - ddof) as f64).collect(),
            Statistic::Nnz => moments.nnz.iter().map(|nnz| *nnz as f64).collect(),
        }
    }
}

impl Array {
    /// Computes several statistics in one pass; the answers stand in the order of the questions.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over, Statistic}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 2.0], [3.0, 6.0]])?;
    /// let asked = [(Statistic::Mean, Over::EachColumn), (Statistic::Var { ddof: 1 }, Over::EachColumn)];
    /// let found = array.reduce_many(&cluster, &asked, None)?;
    /// assert_eq!(found, [[2.0, 4.0], [2.0, 8.0]]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn reduce_many(
        &self,
        cluster: &Cluster,
        reductions: &[(Statistic, Over)],
        progress: Option<Progress>,
    ) -> Result<Vec<Vec<f64>>> {
        if reductions.is_empty() {
            return Ok(Vec::new());
        }
        let request = Request::of(reductions);
        let none = request.none(super::expr::to_usize(self.cols())?);
        let partial = self.reduce_blocks(
            cluster,
            "reduce",
            request.working(self.cols()),
            move |block, _, _| Ok(request.share(block)),
            |a, b| Ok(a.join(b)),
            progress,
        )?;
        let partial = partial.unwrap_or(none);
        Ok(reductions.iter().map(|(statistic, over)| partial.finish(*statistic, *over)).collect())
    }

    fn reduce_one(&self, cluster: &Cluster, statistic: Statistic, over: Over) -> Result<Vec<f64>> {
        Ok(self.reduce_many(cluster, &[(statistic, over)], None)?.pop().unwrap_or_default())
    }

    /// Sums the values of each group.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    pub fn sum(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Sum, over)
    }

    /// Takes the mean of each group; NaN for no values.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    pub fn mean(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Mean, over)
    }

    /// Takes the variance of each group: squares about the mean over `n - ddof`.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    pub fn var(&self, cluster: &Cluster, over: Over, ddof: u64) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Var { ddof }, over)
    }

    /// Counts the values of each group that are not zero.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    pub fn nnz(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Nnz, over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{BlockKind, DType, random};

    fn cluster(workers: usize) -> Cluster {
        Cluster::builder().allowance(crate::ByteSize(64 << 20)).workers(workers).build().expect("sound settings")
    }

    /// Reads a NIST file: its values, its certified mean and its certified standard deviation.
    fn nist(name: &str) -> Option<(Vec<f64>, f64, f64)> {
        let path = format!("{}/../shared/data/reference/nist_univariate/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: {path} is not there");
            return None;
        };
        // Two layouts: `mean = 1.5`, and `Sample Mean   ybar:  1.5`. The value is the last word of either.
        let certified = |keys: [&str; 2]| -> f64 {
            let line = text.lines().find(|line| keys.iter().any(|key| line.starts_with(key)));
            line.and_then(|line| line.split_whitespace().last()?.parse().ok()).expect("a certified number")
        };
        let values: Vec<f64> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        assert_eq!(values.len() as f64, certified(["n  ", "Number of Observations"]), "{name}");
        Some((
            values,
            certified(["mean", "Sample Mean"]),
            certified(["standardDeviation", "Sample Standard Deviation"]),
        ))
    }

    #[test]
    fn means_and_deviations_are_those_that_nist_certifies() {
        for name in ["Lew", "Lottery", "Mavro", "PiDigits", "NumAcc1", "NumAcc2"] {
            let Some((values, mean, deviation)) = nist(name) else { return };
            for block_rows in [1, 7, 10_000] {
                let array =
                    Array::from_slice(values.len(), 1, &values).expect("one column").with_block_rows(block_rows);
                let found_mean = array.mean(&cluster(2), Over::EachColumn).expect("small")[0];
                let found = array.var(&cluster(2), Over::Whole, 1).expect("small")[0].sqrt();
                // The file gives fifteen digits, of which the last is rounded; and a value as such is rounded to so much
                // of its size, which a deviation far below the mean shows.
                assert!((found_mean - mean).abs() <= 1e-14 * mean.abs(), "{name}: {found_mean} {mean}");
                let tolerance = 1e-14 * deviation + f64::EPSILON * mean.abs();
                assert!((found - deviation).abs() <= tolerance, "{name} by {block_rows}: {found} {deviation}");
            }
        }
    }

    #[test]
    fn a_large_mean_does_not_drown_a_small_variance() {
        // NIST's NumAcc3 and NumAcc4 by their definition: certified deviation 0.1 about means of 1e6 and 1e7.
        for centre in [1e6, 1e7] {
            let mut values = vec![centre + 0.2];
            (0..500).for_each(|_| values.extend([centre + 0.1, centre + 0.3]));
            let array = Array::from_slice(1001, 1, &values).expect("one column").with_block_rows(10);
            let found = array.var(&cluster(2), Over::EachColumn, 1).expect("small")[0].sqrt();
            // The values themselves are rounded to `centre * EPSILON`, against a deviation of 0.1.
            assert!((found - 0.1).abs() <= centre * f64::EPSILON, "{found}");
        }
    }

    #[test]
    fn the_number_of_workers_changes_no_bit() {
        let array = random::normal(5_000, 7, 3, 128).to_csr().expect("seven columns");
        let asked = [Statistic::Sum, Statistic::Mean, Statistic::Var { ddof: 0 }, Statistic::Nnz];
        let asked: Vec<_> =
            asked.into_iter().flat_map(|s| [Over::Whole, Over::EachRow, Over::EachColumn].map(|o| (s, o))).collect();
        let bits = |workers| -> Vec<Vec<u64>> {
            let found = array.reduce_many(&cluster(workers), &asked, None).expect("small");
            found.into_iter().map(|answer| answer.into_iter().map(f64::to_bits).collect()).collect()
        };
        let one = bits(1);
        assert_eq!(one[1].len(), 5_000);
        assert!([2, 5].into_iter().all(|workers| bits(workers) == one));
    }

    #[test]
    fn no_values_have_a_sum_and_no_mean() {
        for kind in [BlockKind::Dense, BlockKind::Csr] {
            let none = Array::zeros(0, 2, DType::F32, kind).expect("two columns");
            assert_eq!(none.sum(&cluster(2), Over::EachColumn).expect("nothing"), [0.0, 0.0]);
            assert!(none.mean(&cluster(2), Over::EachColumn).expect("nothing").iter().all(|mean| mean.is_nan()));
            assert!(none.mean(&cluster(2), Over::EachRow).expect("nothing").is_empty());
            assert!(none.var(&cluster(2), Over::Whole, 0).expect("nothing")[0].is_nan());
            let narrow = Array::zeros(3, 0, DType::F32, kind).expect("no columns");
            assert_eq!(narrow.nnz(&cluster(2), Over::EachRow).expect("nothing"), [0.0; 3]);
            assert!(narrow.var(&cluster(2), Over::EachColumn, 1).expect("nothing").is_empty());
        }
    }

    #[test]
    fn one_value_has_no_sample_variance_and_nan_spoils_its_own_column_only() {
        let array = Array::from_rows(&[[1.0, f64::NAN]]).expect("one row");
        assert!(array.var(&cluster(1), Over::EachColumn, 1).expect("small").iter().all(|var| var.is_nan()));
        let means = array.mean(&cluster(1), Over::EachColumn).expect("small");
        assert!(means[0] == 1.0 && means[1].is_nan());
        assert_eq!(array.nnz(&cluster(1), Over::Whole).expect("small"), [2.0], "NaN is not zero");
    }
}
