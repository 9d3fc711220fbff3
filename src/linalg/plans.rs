//! What a factorisation will take, known before it runs: the plans of its passes, one after another.
//!
//! A plan asks for the very bytes that the factorisation itself asks for, so that the two cannot differ: each is computed by
//! one function, which both call.

use super::gram::upper_working;
use super::svd::{SvdOptions, check_working, needs};
use super::tsqr::{columns, r_working};
use super::{check_fits, whole_rows};
use crate::array::{Array, Plan};
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
        let (n, allowance) = (columns(&tall, "svd")?, cluster.allowance());
        let needs = needs(n);
        let (working, need, names) = match needs.by_gram(allowance) {
            true => (upper_working(n), needs.of_gram, ["svd gram", "svd of the gram"]),
            false => (r_working(n), needs.of_r, ["svd", "svd of R"]),
        };
        check_fits(cluster, need.max(working.fixed), || format!("svd of {n} columns (select fewer columns)"))?;
        let mut plan = tall.plan_for(cluster, names[0], working)?;
        plan.add_pass(names[0]);
        plan.add_task(names[1], need);
        Ok(plan.then("svd check", &tall.plan_for(cluster, "svd check", check_working(n))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::random;
    use crate::bytes::ByteSize;
    use crate::linalg::{svd, tsqr};

    fn cluster(allowance: u64) -> Cluster {
        Cluster::builder().allowance(ByteSize(allowance)).workers(1).build().expect("sound settings")
    }

    #[test]
    fn the_plan_of_a_factorisation_is_what_its_runs_ask_for() {
        let tall = random::uniform(3000, 12, 1, 500);
        // The second allowance has no room for reflections, which take 1.41 MB, but for a gram.
        for (a, allowance) in [(tall.clone(), 64 << 20), (random::uniform(3000, 100, 1, 10), 1_400_000)] {
            for a in [a.clone(), a.transpose()] {
                let cluster = cluster(allowance);
                let plan = SvdOptions::default().plan(&cluster, &a).expect("fits");
                assert_eq!(plan.steps.iter().any(|step| &**step == "svd gram"), allowance == 1_400_000);
                svd(&cluster, &a, &SvdOptions::default()).expect("fits");
                let runs = cluster.runs();
                let found = plan.compare_all(&runs);
                assert_eq!((found.tasks, found.bytes_read), (plan.tasks, Some(plan.bytes_read)), "{found}");
                assert_eq!(runs.iter().map(|run| run.projected_bytes).max(), Some(plan.projected_bytes));
                assert!(runs.iter().all(|run| plan.steps.contains(&run.name)), "{runs:?} {:?}", plan.steps);
            }
        }
        let cluster = cluster(64 << 20);
        let plan = plan_tsqr(&cluster, &tall).expect("fits");
        tsqr(&cluster, &tall, None).expect("fits");
        let run = cluster.runs().pop().expect("one run");
        assert_eq!((run.tasks, run.projected_bytes), (plan.tasks, plan.projected_bytes));
    }

    #[test]
    fn what_cannot_fit_is_refused_by_its_plan_too() {
        let wide = random::uniform(100_000, 5000, 1, None);
        let error = SvdOptions::default().plan(&cluster(64 << 20), &wide).expect_err("200 MB a square");
        assert!(error.to_string().contains("select fewer columns"), "{error}");
    }
}
