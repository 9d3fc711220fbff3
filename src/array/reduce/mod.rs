//! Reductions: one answer for the whole, for each row or for each column, from sums to quantiles.
//!
//! ```text
//!   what is asked ──▶ one pass for all of it: sums, means, variances, extremes, counts     partial.rs, extremes.rs
//!                 ├─▶ one pass for the quantiles of rows, and of columns of what is wide    quantile.rs
//!                 └─▶ a few passes for those of other columns, and for those of the whole   selection.rs, histogram.rs
//! ```
//!
//! Each block gives its share, shares join in block order, and the end is taken once: the same bits on any number of
//! workers. Zeros that a CSR array leaves out are values like others. NaN is not skipped: it spoils the sums, the extremes
//! and the quantiles of its group, it is not zero, and it is true. Infinities are numbers.
//!
//! Sums are carried in two `f64` and answers are `f64`: integers are summed exactly up to 2⁵³ and rounded beyond.
//! Extremes, their places, counts and the values that a quantile lies between are found exactly for every dtype, also
//! where an `f64` cannot tell two integers apart.

mod extremes;
mod histogram;
mod key;
mod methods;
#[cfg(test)]
mod numpy;
#[cfg(test)]
mod oracle;
mod partial;
mod quantile;
mod rows;
mod selection;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::moments::Moments;
use super::{Array, DType, Plan};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};
use extremes::{End, Extremes};
use partial::{Request, Share};
use rows::{Rows, check_kept};

/// What to compute of a group of values.
///
/// A group without values has the sum 0, the counts 0, is true in all (`All`) and in none (`Any`), and has NaN for the
/// rest, where NumPy refuses some.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Statistic {
    /// The sum.
    Sum,
    /// The mean.
    Mean,
    /// The variance: squares about the mean over `n - ddof`; NaN when `n` is not above `ddof`.
    Var {
        /// What is taken from the number of values: 0 for a population, 1 for a sample.
        ddof: u64,
    },
    /// The standard deviation: the root of the variance.
    Std {
        /// As in [`Var`](Self::Var).
        ddof: u64,
    },
    /// The least value; NaN where one is.
    Min,
    /// The greatest value; NaN where one is.
    Max,
    /// The place of the first least value, or of the first NaN: a column of a row, a row of a column, and in the whole the
    /// number of the value, counted row by row. Exact below 2⁵³.
    ArgMin,
    /// The place of the first greatest value, or of the first NaN, as in [`ArgMin`](Self::ArgMin).
    ArgMax,
    /// The number of values that are not zero: a zero that is stored does not count, NaN does.
    CountNonzero,
    /// The number of stored values, as SciPy's `nnz`: all of a dense array, and of a CSR array those that are not left
    /// out, stored zeros among them.
    Nnz,
    /// 1 where a value is not zero, else 0.
    Any,
    /// 1 where no value is zero, else 0.
    All,
    /// The middle value, or the mean of the two; NaN where one is.
    Median,
    /// The value below which such a share of the values lies, 0 to 1: between two values it is interpolated linearly, as
    /// by NumPy's default method (Hyndman and Fan 1996, type 7). NaN where a value is; but two neighbours of which one is
    /// infinite give that infinity, where NumPy's arithmetic gives NaN.
    Quantile(f64),
}

impl Statistic {
    /// Returns the share of values below, where this is a quantile.
    fn quantile(self) -> Option<f64> {
        match self {
            Statistic::Median => Some(0.5),
            Statistic::Quantile(q) => Some(q),
            _ => None,
        }
    }

    /// Returns the answer for no values.
    fn of_nothing(self) -> f64 {
        match self {
            Statistic::Sum | Statistic::CountNonzero | Statistic::Nnz | Statistic::Any => 0.0,
            Statistic::All => 1.0,
            _ => f64::NAN,
        }
    }
}

/// Which values make a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Over {
    /// All of them: one answer.
    Whole,
    /// Those of a row: one answer for each row. The answers come home, as many as there are rows; until all are there they
    /// are reserved, and refused where all workers together cannot hold them.
    EachRow,
    /// Those of a column: one answer for each column.
    EachColumn,
}

impl Over {
    /// Returns how many groups an array has, and of how many values each.
    fn groups(self, array: &Array) -> Result<(usize, u64)> {
        let (rows, cols) = array.shape();
        let (groups, n) = match self {
            Over::Whole => (1, rows.saturating_mul(cols)),
            Over::EachRow => (rows, cols),
            Over::EachColumn => (cols, rows),
        };
        Ok((super::expr::to_usize(groups)?, n))
    }
}

impl Share {
    /// Takes the end of what a pass collected: the answers for groups of `n` values each.
    fn finish(&self, statistic: Statistic, n: u64, dtype: DType) -> Vec<f64> {
        let moments = |answers: fn(&Moments) -> Vec<f64>| self.moments.as_ref().map(answers).unwrap_or_default();
        let sums = || moments(|moments| moments.sums.iter().map(|sum| sum.value()).collect());
        let squares = || moments(|moments| moments.squares.clone());
        let counts = || moments(|moments| moments.nnz.iter().map(|nnz| *nnz as f64).collect());
        let end = |end| match end {
            End::Least => self.least.as_ref(),
            End::Greatest => self.greatest.as_ref(),
        };
        let values = |which| end(which).map(|found| found.values(which, dtype).to_vec()).unwrap_or_default();
        let places = |which| {
            let places = |found: &Extremes| found.at.iter().map(|at| *at as f64).collect();
            end(which).map(places).unwrap_or_default()
        };
        let each = |answers: Vec<f64>, end: &dyn Fn(f64) -> f64| answers.into_iter().map(end).collect();
        let degrees = |ddof: u64| if n > ddof { (n - ddof) as f64 } else { f64::NAN };
        match statistic {
            Statistic::Sum => sums(),
            Statistic::Mean => each(sums(), &|sum| sum / n as f64),
            Statistic::Var { ddof } => each(squares(), &|squares| squares / degrees(ddof)),
            Statistic::Std { ddof } => each(squares(), &|squares| (squares / degrees(ddof)).sqrt()),
            Statistic::Min => values(End::Least),
            Statistic::Max => values(End::Greatest),
            Statistic::ArgMin => places(End::Least),
            Statistic::ArgMax => places(End::Greatest),
            Statistic::CountNonzero => counts(),
            Statistic::Nnz => self.stored.iter().flatten().map(|stored| *stored as f64).collect(),
            Statistic::Any => each(counts(), &|count| f64::from(u8::from(count > 0.0))),
            Statistic::All => {
                let all = |moments: &Moments| moments.nnz.iter().map(|nnz| f64::from(u8::from(*nnz == n))).collect();
                self.moments.as_ref().map(all).unwrap_or_default()
            }
            Statistic::Median | Statistic::Quantile(_) => Vec::new(),
        }
    }
}

impl Array {
    /// Computes several statistics at once; the answers stand in the order of the questions.
    ///
    /// All that is no quantile shares one pass over the array. Quantiles (and medians) of rows add one pass for all of
    /// them together, and so do those of columns where a dense array has 256 columns or more and whole columns of it can be read
    /// by themselves. Other columns add a few, again for all of them together, and so do those of the whole: one
    /// where groups have up to 1,500 values or the dtype 8 bits, two for 16 bits, mostly three or four for a million rows of
    /// a wider dtype, and never more than eight. Where there are so many columns that 1,024 numbers for each would outweigh
    /// two blocks, counts are coarser and passes more: mostly four to six for 10,000 columns. Each pass tells `progress`
    /// for itself.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] for a quantile that is not from 0 to 1; [`Error::TooBig`] before any work for answers of rows that
    /// all workers together cannot hold; those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over, Statistic}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 2.0], [3.0, 6.0]])?;
    /// let asked = [(Statistic::Mean, Over::EachColumn), (Statistic::Max, Over::Whole), (Statistic::Median, Over::EachRow)];
    /// let found = array.reduce_many(&cluster, &asked, None)?;
    /// assert_eq!(found, [vec![2.0, 4.0], vec![6.0], vec![1.5, 4.5]]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn reduce_many(
        &self,
        cluster: &Cluster,
        reductions: &[(Statistic, Over)],
        progress: Option<Progress>,
    ) -> Result<Vec<Vec<f64>>> {
        let mut quantiles: [Vec<f64>; 3] = Default::default();
        for (statistic, over) in reductions {
            let Some(q) = statistic.quantile() else { continue };
            if !(0.0..=1.0).contains(&q) {
                return Err(Error::bad_argument("quantile", "q", q, "from 0 to 1"));
            }
            quantiles[*over as usize].push(q);
        }
        let of_rows: Vec<Statistic> =
            reductions.iter().filter(|(_, over)| *over == Over::EachRow).map(|(statistic, _)| *statistic).collect();
        let (shares, rows) = self.collect_answers(cluster, reductions, of_rows, progress.clone())?;
        let mut found = [Vec::new(), Vec::new(), Vec::new()];
        for over in [Over::Whole, Over::EachRow, Over::EachColumn] {
            let asked = &quantiles[over as usize];
            found[over as usize] = quantile::quantiles(self, cluster, over, asked, progress.clone())?;
        }
        let (mut found, mut rows) = (found.map(Vec::into_iter), rows.into_iter());
        let mut answers = Vec::with_capacity(reductions.len());
        for (statistic, over) in reductions {
            let (groups, n) = over.groups(self)?;
            let row = (*over == Over::EachRow).then(|| rows.next()).flatten();
            answers.push(match (statistic.quantile(), row) {
                _ if n == 0 => vec![statistic.of_nothing(); groups],
                (Some(_), _) => found[*over as usize].next().unwrap_or_default(),
                (None, Some(row)) => row,
                (None, None) => shares[*over as usize].finish(*statistic, n, self.dtype()),
            });
        }
        Ok(answers)
    }

    /// Runs the pass that all but the quantiles share; finishes the answers of rows, in the order of their questions.
    fn collect_answers(
        &self,
        cluster: &Cluster,
        reductions: &[(Statistic, Over)],
        of_rows: Vec<Statistic>,
        progress: Option<Progress>,
    ) -> Result<([Share; 3], Vec<Vec<f64>>)> {
        let (n, dtype, rows) = (self.cols(), self.dtype(), super::expr::to_usize(self.rows())?);
        let n_answers = of_rows.iter().filter(|statistic| statistic.quantile().is_none()).count();
        // Quantiles have a place among the answers, which stays empty here.
        let mut answers = vec![Vec::new(); of_rows.len()];
        let asked = of_rows.clone();
        let finish = move |share: Share| asked.iter().map(|s| share.finish(*s, n, dtype)).collect::<Vec<_>>();
        let mut is_first = true;
        let take = |block: Vec<Vec<f64>>| {
            for ((answers, block), statistic) in answers.iter_mut().zip(block).zip(&of_rows) {
                if is_first && statistic.quantile().is_none() {
                    answers.reserve_exact(rows);
                }
                answers.extend(block);
            }
            is_first = false;
        };
        let request = Request::of(reductions, self.cols());
        let shares = self.collect(cluster, request, 8 * n_answers as u64, finish, take, progress)?;
        Ok((shares, answers))
    }

    /// Returns what the pass takes that all but the quantiles share.
    pub(crate) fn plan_reduce(&self, cluster: &Cluster, reductions: &[(Statistic, Over)]) -> Result<Plan> {
        let of_rows = |(statistic, over): &&(Statistic, Over)| *over == Over::EachRow && statistic.quantile().is_none();
        let bytes = 8 * reductions.iter().filter(of_rows).count() as u64;
        self.plan_for(cluster, "reduce", Request::of(reductions, self.cols()).working(bytes))
    }

    /// Runs the pass that all but the quantiles share. What `finish` makes of the rows' shares, `bytes_per_row` for each row, is
    /// handed to `take` in row order; the other shares are returned.
    fn collect<T: Send + 'static>(
        &self,
        cluster: &Cluster,
        request: Request,
        bytes_per_row: u64,
        finish: impl Fn(Share) -> T + Send + Sync + 'static,
        take: impl FnMut(T),
        progress: Option<Progress>,
    ) -> Result<[Share; 3]> {
        if request.is_empty() {
            return Ok(Default::default());
        }
        let working = request.working(bytes_per_row);
        let (plan, share_bytes) = (self.plan_for(cluster, "reduce", working)?, request.row_bytes());
        check_kept(cluster, "reduce", &plan, Rows::<T>::most_per_row(&plan, share_bytes, bytes_per_row))?;
        let rows = Arc::new(Rows::new(&plan, share_bytes, bytes_per_row, finish));
        let sink = rows.clone();
        let map = move |block: &super::Block, info: super::BlockInfo, _: &_| {
            let mut partial = request.share(block, &info);
            if let Some(share) = partial.take_rows() {
                sink.put(info.index, share)?;
            }
            Ok(partial)
        };
        let join = |a: partial::Partial, b: partial::Partial| Ok(a.join(b));
        let partial = self.reduce_blocks(cluster, "reduce", working, map, join, progress)?;
        rows.for_each(take);
        Ok(partial.unwrap_or_default().finish())
    }
}
