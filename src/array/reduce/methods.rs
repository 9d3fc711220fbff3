//! One statistic at a time: what [`Array::reduce_many`] does for many, under the name that NumPy gives it.
//!
//! Each call is a pass of its own; who asks for more than one thing asks for them together.

use super::extremes::{End, Extremes};
use super::partial::{Request, Share};
use super::{Over, Statistic};
use crate::array::{Array, Values};
use crate::error::{Error, Result};
use crate::runtime::Cluster;

impl Array {
    fn reduce_one(&self, cluster: &Cluster, statistic: Statistic, over: Over) -> Result<Vec<f64>> {
        Ok(self.reduce_many(cluster, &[(statistic, over)], None)?.pop().unwrap_or_default())
    }

    /// Sums the values of each group; 0 for no values.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1, 2], [3, 4]])?;
    /// assert_eq!(array.sum(&cluster, Over::EachColumn)?, [4.0, 6.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn sum(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Sum, over)
    }

    /// Takes the mean of each group; NaN for no values.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1, 2], [3, 4]])?;
    /// assert_eq!(array.mean(&cluster, Over::EachRow)?, [1.5, 3.5]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn mean(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Mean, over)
    }

    /// Takes the variance of each group: squares about the mean over `n - ddof`; NaN when `n` is not above `ddof`.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 2.0], [3.0, 2.0]])?;
    /// assert_eq!(array.var(&cluster, Over::EachColumn, 1)?, [2.0, 0.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn var(&self, cluster: &Cluster, over: Over, ddof: u64) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Var { ddof }, over)
    }

    /// Takes the standard deviation of each group: the root of [`var`](Self::var).
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 2.0], [5.0, 2.0]])?;
    /// assert_eq!(array.std(&cluster, Over::EachColumn, 0)?, [2.0, 0.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn std(&self, cluster: &Cluster, over: Over, ddof: u64) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Std { ddof }, over)
    }

    /// Finds the least value of each group: NaN where one is, and for no values. Integers beyond 2⁵³ are rounded;
    /// [`min_values`](Self::min_values) gives them exactly.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// // The zeros that CSR leaves out are values.
    /// let array = Array::from_rows(&[[1.0, 0.0], [3.0, -4.0]])?.to_csr()?;
    /// assert_eq!(array.min(&cluster, Over::EachRow)?, [0.0, -4.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn min(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Min, over)
    }

    /// Finds the greatest value of each group: NaN where one is, and for no values. Integers beyond 2⁵³ are rounded;
    /// [`max_values`](Self::max_values) gives them exactly.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 0.0], [3.0, -4.0]])?;
    /// assert_eq!(array.max(&cluster, Over::EachColumn)?, [3.0, 0.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn max(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Max, over)
    }

    /// Finds the least value of each group, in the array's own dtype and so exactly.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when the groups have no values; those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[i64::MIN, 1], [i64::MIN + 1, 2]])?;
    /// let least = array.min_values(&cluster, Over::EachRow)?;
    /// assert_eq!(least.as_slice::<i64>(), Some(&[i64::MIN, i64::MIN + 1][..]));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn min_values(&self, cluster: &Cluster, over: Over) -> Result<Values> {
        Ok(self.extremes(cluster, "min_values", End::Least, over)?.values(End::Least, self.dtype()))
    }

    /// Finds the greatest value of each group, in the array's own dtype and so exactly.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when the groups have no values; those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[u64::MAX, 1], [u64::MAX - 1, 2]])?;
    /// let greatest = array.max_values(&cluster, Over::EachRow)?;
    /// assert_eq!(greatest.as_slice::<u64>(), Some(&[u64::MAX, u64::MAX - 1][..]));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn max_values(&self, cluster: &Cluster, over: Over) -> Result<Values> {
        Ok(self.extremes(cluster, "max_values", End::Greatest, over)?.values(End::Greatest, self.dtype()))
    }

    /// Finds where the first least value of each group stands: a column of a row, a row of a column, and in the whole the
    /// number of the value, counted row by row. The first NaN counts as the least, as in NumPy.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when the groups have no values; those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[5.0, 2.0, 2.0], [0.0, 7.0, 0.0]])?;
    /// assert_eq!(array.argmin(&cluster, Over::EachRow)?, [1, 0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn argmin(&self, cluster: &Cluster, over: Over) -> Result<Vec<u64>> {
        Ok(self.extremes(cluster, "argmin", End::Least, over)?.at)
    }

    /// Finds where the first greatest value of each group stands, as [`argmin`](Self::argmin) does the least.
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when the groups have no values; those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// // All that is stored of the second row is negative: the first zero that is left out is greater.
    /// let array = Array::from_rows(&[[5.0, 2.0, 5.0], [-1.0, 0.0, 0.0]])?.to_csr()?;
    /// assert_eq!(array.argmax(&cluster, Over::EachRow)?, [0, 1]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn argmax(&self, cluster: &Cluster, over: Over) -> Result<Vec<u64>> {
        Ok(self.extremes(cluster, "argmax", End::Greatest, over)?.at)
    }

    fn extremes(&self, cluster: &Cluster, operation: &'static str, end: End, over: Over) -> Result<Extremes> {
        match over.groups(self)? {
            (0, _) => return Ok(Extremes::default()),
            (_, 0) => return Err(Error::bad_argument(operation, "number of values in a group", 0, "at least 1")),
            _ => {}
        }
        let statistic = if end == End::Least { Statistic::Min } else { Statistic::Max };
        let request = Request::of(&[(statistic, over)], self.cols());
        let the_end = move |mut share: Share| {
            let found = if end == End::Least { share.least.take() } else { share.greatest.take() };
            found.unwrap_or_default()
        };
        let mut rows = Extremes::default();
        let n_rows = if over == Over::EachRow { super::super::expr::to_usize(self.rows())? } else { 0 };
        let take = |block: Extremes| {
            rows.reserve(n_rows);
            rows.extend(block);
        };
        let mut shares = self.collect(cluster, request, request.row_bytes(), the_end, take, None)?;
        Ok(if over == Over::EachRow { rows } else { the_end(std::mem::take(&mut shares[over as usize])) })
    }

    /// Counts the values of each group that are not zero: zeros that a CSR array stores do not count, NaN does.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, CsrBlock, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_block(CsrBlock::new(1, 4, vec![0, 3], vec![0, 1, 3], vec![1.5, 0.0, 2.5])?);
    /// assert_eq!(array.count_nonzero(&cluster, Over::Whole)?, [2.0]);
    /// assert_eq!(array.nnz(&cluster, Over::Whole)?, [3.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn count_nonzero(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::CountNonzero, over)
    }

    /// Counts the stored values of each group, as SciPy's `nnz`: all of a dense array; of a CSR array those that are not
    /// left out, stored zeros among them. [`count_nonzero`](Self::count_nonzero) looks at the values.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 0.0], [3.0, 4.0]])?;
    /// assert_eq!(array.nnz(&cluster, Over::EachColumn)?, [2.0, 2.0]);
    /// assert_eq!(array.to_csr()?.nnz(&cluster, Over::EachColumn)?, [2.0, 1.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn nnz(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Nnz, over)
    }

    /// Says of each group whether a value is not zero; false for no values.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[0.0, 0.0], [f64::NAN, 0.0]])?;
    /// assert_eq!(array.any(&cluster, Over::EachColumn)?, [true, false]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn any(&self, cluster: &Cluster, over: Over) -> Result<Vec<bool>> {
        Ok(self.reduce_one(cluster, Statistic::Any, over)?.into_iter().map(|any| any > 0.0).collect())
    }

    /// Says of each group whether no value is zero; true for no values.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 0.0], [f64::NAN, 2.0]])?;
    /// assert_eq!(array.all(&cluster, Over::EachColumn)?, [true, false]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn all(&self, cluster: &Cluster, over: Over) -> Result<Vec<bool>> {
        Ok(self.reduce_one(cluster, Statistic::All, over)?.into_iter().map(|all| all > 0.0).collect())
    }

    /// Finds the median of each group: the middle value, or the mean of the two; NaN where one is, and for no values.
    /// [`reduce_many`](Self::reduce_many) says how many passes that takes.
    ///
    /// # Errors
    ///
    /// Those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 0.0], [9.0, 0.0], [2.0, 5.0]])?.to_csr()?;
    /// assert_eq!(array.median(&cluster, Over::EachColumn)?, [2.0, 0.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn median(&self, cluster: &Cluster, over: Over) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Median, over)
    }

    /// Finds a quantile of each group, interpolated linearly as by NumPy's default method; NaN where a value is, and for no
    /// values. Several at once share their passes in [`reduce_many`](Self::reduce_many).
    ///
    /// # Errors
    ///
    /// [`Error::BadArgument`] when `q` is not from 0 to 1; those of [`reduce_blocks`](Self::reduce_blocks).
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Array, Over}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let array = Array::from_rows(&[[1.0, 2.0, 5.0], [8.0, 0.0, 4.0]])?;
    /// assert_eq!(array.quantile(&cluster, Over::EachRow, 0.25)?, [1.5, 2.0]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn quantile(&self, cluster: &Cluster, over: Over, q: f64) -> Result<Vec<f64>> {
        self.reduce_one(cluster, Statistic::Quantile(q), over)
    }
}
