//! What a factorisation will take, known before it runs: the plans of its passes, one after another.
//!
//! A plan asks for the very bytes that the factorisation itself asks for, so that the two cannot differ: each is computed by
//! one function, which both call.

use super::operator::Operator;
use super::svd::{SvdOptions, SvdSolver};
use super::triplets::triplets_bytes;
use super::tsqr::{columns, r_working};
use super::{Centre, LanczosOptions, LstsqOptions, QrOptions, SvdCompressedOptions};
use super::{check_fits, compressed, gram, lanczos, lstsq, qr, svd, whole_rows};
use crate::array::{Array, Over, Plan, Statistic};
use crate::error::Result;
use crate::runtime::Cluster;

/// Returns what [`tsqr`](super::tsqr()) of a matrix will take, without computing anything: one pass.
///
/// # Errors
/// [`Error::TooBig`](crate::Error::TooBig) when a columns × columns matrix does not fit the allowance.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::random, linalg};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let a = random::uniform(100_000, 20, 1, 10_000);
/// let plan = linalg::plan_tsqr(&cluster, &a)?;
/// assert_eq!((plan.passes, plan.tasks), (1, 10));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn plan_tsqr(cluster: &Cluster, a: &Array) -> Result<Plan> {
    let n = columns(a, "tsqr")?;
    let working = r_working(n);
    check_fits(cluster, working.fixed, || format!("tsqr of {n} columns (select fewer columns)"))?;
    let mut plan = whole_rows(a).plan_for(cluster, "tsqr", working)?;
    plan.add_pass("tsqr");
    Ok(plan)
}

impl SvdOptions {
    /// Returns what [`svd`](super::svd()) of a matrix will take, without computing anything: two passes, and the factorisation of
    /// what the first gives. `u`, where it is asked for, costs what its own plan says.
    ///
    /// # Errors
    /// [`Error::TooBig`](crate::Error::TooBig) when a square of the shorter side does not fit the allowance.
    ///
    /// # Examples
    /// ```
    /// use allotment::{Cluster, array::random, linalg::{SvdOptions, svd}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let a = random::uniform(100_000, 20, 1, 10_000);
    /// let plan = SvdOptions::default().plan(&cluster, &a)?;
    /// svd(&cluster, &a, &SvdOptions::default())?;
    /// println!("{}", plan.compare_all(&cluster.runs()));
    /// assert_eq!((plan.passes, plan.tasks), (2, 21), "ten blocks, twice, and R");
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn plan(&self, cluster: &Cluster, a: &Array) -> Result<Plan> {
        let tall = whole_rows(&if a.rows() < a.cols() { a.transpose() } else { a.clone() });
        let n = columns(&tall, "svd")?;
        self.solver.check_fits(cluster, n)?;
        let (working, need) = self.solver.needs(n);
        let names = match self.solver {
            SvdSolver::Gram => ["svd gram", "svd of the gram"],
            SvdSolver::Tsqr => ["svd", "svd of R"],
        };
        let mut plan = tall.plan_for(cluster, names[0], working)?;
        plan.add_pass(names[0]);
        plan.add_task(names[1], need);
        Ok(plan.then("svd check", &tall.plan_for(cluster, "svd check", svd::check_working(n))?))
    }
}

/// Returns what [`gram`](super::gram()) of a matrix will take, without computing anything: one pass.
///
/// # Errors
/// [`Error::TooBig`](crate::Error::TooBig) when a columns × columns matrix does not fit the allowance twice.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::random, linalg};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let plan = linalg::plan_gram(&cluster, &random::uniform(100_000, 20, 1, 10_000))?;
/// assert_eq!((plan.passes, plan.tasks), (1, 10));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn plan_gram(cluster: &Cluster, a: &Array) -> Result<Plan> {
    plan_of_gram(cluster, a, "gram")
}

fn plan_of_gram(cluster: &Cluster, a: &Array, name: &'static str) -> Result<Plan> {
    let p = columns(a, name)?;
    let working = gram::upper_working(p);
    check_fits(cluster, working.fixed, || gram::too_wide(name, p))?;
    let mut plan = whole_rows(a).plan_for(cluster, name, working)?;
    plan.add_pass(name);
    Ok(plan)
}

/// Returns what [`eigh_gram`](super::eigh_gram) of a matrix will take, without computing anything: two passes, and the
/// eigenvectors of what the first gives.
///
/// # Errors
/// [`Error::TooBig`](crate::Error::TooBig) when columns × columns matrices do not fit the allowance.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::random, linalg};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let plan = linalg::plan_eigh_gram(&cluster, &random::uniform(100_000, 20, 1, 10_000), 3)?;
/// assert_eq!((plan.passes, plan.tasks), (2, 21));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn plan_eigh_gram(cluster: &Cluster, a: &Array, k: usize) -> Result<Plan> {
    let p = columns(a, "eigh_gram")?;
    let need = gram::eigenvectors_bytes(p, k);
    check_fits(cluster, need, || gram::too_wide("eigh_gram", p))?;
    let mut plan = plan_of_gram(cluster, a, "eigh_gram")?;
    plan.add_task("eigh_gram eigenvectors", need);
    let working = gram::check_working(k.min(p), p);
    Ok(plan.then("eigh_gram check", &whole_rows(a).plan_for(cluster, "eigh_gram check", working)?))
}

impl QrOptions {
    /// Returns what [`qr`](super::qr()) of a matrix will take, without computing anything: two passes.
    ///
    /// # Errors
    /// [`Error::TooBig`](crate::Error::TooBig) when columns × columns matrices do not fit the allowance.
    ///
    /// # Examples
    /// ```
    /// use allotment::{Cluster, array::random, linalg::QrOptions};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let plan = QrOptions::default().plan(&cluster, &random::uniform(100_000, 20, 1, 10_000))?;
    /// assert_eq!((plan.passes, plan.tasks), (2, 20));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn plan(&self, cluster: &Cluster, a: &Array) -> Result<Plan> {
        let n = columns(a, "qr")?;
        let working = qr::working(n);
        let remedy = if a.rows() < n as u64 { "factor the transpose, which is tall" } else { "select fewer columns" };
        check_fits(cluster, working.fixed, || format!("qr of {n} columns ({remedy})"))?;
        let pass = whole_rows(a).plan_for(cluster, "qr", working)?;
        let mut plan = pass.clone();
        plan.add_pass("qr factors");
        Ok(plan.then("qr q", &pass))
    }
}

impl LstsqOptions {
    /// Returns what [`lstsq`](super::lstsq()) will take, without computing anything: two passes over both arrays, and the solution
    /// of what the first gives.
    ///
    /// # Errors
    /// Those of [`lstsq`](super::lstsq()) that come before any work.
    ///
    /// # Examples
    /// ```
    /// use allotment::{Cluster, array::random, linalg::LstsqOptions};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let (a, b) = (random::uniform(100_000, 20, 1, 10_000), random::uniform(100_000, 1, 2, 10_000));
    /// let plan = LstsqOptions::default().plan(&cluster, &a, &b)?;
    /// assert_eq!((plan.passes, plan.steps.iter().any(|step| &**step == "lstsq solve")), (2, true));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn plan(&self, cluster: &Cluster, a: &Array, b: &Array) -> Result<Plan> {
        let both = lstsq::beside(a, b)?;
        let (n, m, all) = (columns(a, "lstsq")?, columns(b, "lstsq")?, columns(&both, "lstsq")?);
        let (working, need) = (r_working(all), lstsq::solve_bytes(n, all));
        check_fits(cluster, need.max(working.fixed), || {
            format!("lstsq of {n} columns and {m} right sides (select fewer columns)")
        })?;
        let mut plan = both.plan_for(cluster, "lstsq", working)?;
        plan.add_pass("lstsq");
        plan.add_task("lstsq solve", need);
        Ok(plan.then("lstsq check", &both.plan_for(cluster, "lstsq check", lstsq::check_working(m, all))?))
    }
}

impl LanczosOptions {
    /// Returns what [`lanczos`](super::lanczos()) of a matrix will take at most, without computing anything: a pass for the mean, if
    /// it is asked for, one for each step, and the last look.
    ///
    /// # Errors
    /// Those of [`lanczos`](super::lanczos()) that come before any work.
    ///
    /// # Examples
    /// ```
    /// use allotment::{Cluster, array::random, linalg::{LanczosOptions, lanczos}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let a = random::uniform(2000, 100, 7, 500);
    /// let options = LanczosOptions { k: 1, ..Default::default() };
    /// let plan = options.plan(&cluster, &a)?;
    /// assert!(plan.is_bound && plan.to_string().contains("at most"), "{plan}");
    /// assert!(lanczos(&cluster, &a, &options)?.passes <= plan.passes);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn plan(&self, cluster: &Cluster, a: &Array) -> Result<Plan> {
        lanczos::check_request(a, self)?;
        let mean = if let Centre::Row(row) = &self.centre { row.clone() } else { Vec::new() };
        let (operator, size) = (Operator::new("lanczos", a, mean)?, lanczos::size(a, self.k));
        let steps = size.plan(cluster, &operator, self.max_iterations)?;
        let looked = plan_of_look(cluster, &operator, self.k + lanczos::GUARDS)?;
        let plan = steps.then("lanczos", &looked);
        if self.centre != Centre::Mean {
            return Ok(plan);
        }
        let mut mean = a.plan_reduce(cluster, &[(Statistic::Mean, Over::EachColumn)])?;
        mean.add_pass("mean");
        Ok(mean.then("lanczos", &plan))
    }
}

impl SvdCompressedOptions {
    /// Returns what [`svd_compressed`](super::svd_compressed()) of a matrix will take at most, without computing anything: a pass for
    /// each power iteration, the last look, and where small singular values ask for it a few more.
    ///
    /// # Errors
    /// Those of [`svd_compressed`](super::svd_compressed()) that come before any work.
    ///
    /// # Examples
    /// ```
    /// use allotment::{Cluster, array::random, linalg::SvdCompressedOptions};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let a = random::uniform(2000, 100, 7, 500);
    /// let plan = SvdCompressedOptions { k: 3, ..Default::default() }.plan(&cluster, &a)?;
    /// assert!(plan.is_bound && plan.projected_bytes < 64 << 20);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn plan(&self, cluster: &Cluster, a: &Array) -> Result<Plan> {
        compressed::check_request(a, self)?;
        let (operator, size) = (Operator::new("svd_compressed", a, Vec::new())?, compressed::size(a, self));
        let steps = size.plan(cluster, &operator, self.max_power_iter.max(self.n_power_iter))?;
        let mut looked = plan_of_look(cluster, &operator, size.width)?;
        looked.add_task("svd_compressed", compressed::refining_bytes(size.width, operator.n_cols()));
        Ok(steps.then_up_to(self.n_power_iter.saturating_add(1), "svd_compressed", &looked))
    }
}

/// Returns the plan of the last look at so many vectors.
fn plan_of_look(cluster: &Cluster, operator: &Operator, l: usize) -> Result<Plan> {
    let p = operator.n_cols();
    let mut plan = operator.array().plan_runs(cluster, &operator.runs(l, (l * p * 8) as u64))?;
    plan.add_task(operator.operation(), triplets_bytes(l, p));
    Ok(plan)
}

#[cfg(test)]
mod tests;
