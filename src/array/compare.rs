//! A plan against what happened: the same figures twice, side by side.

use std::fmt;
use std::time::Duration;

use super::Plan;
use crate::bytes::ByteSize;
use crate::runtime::{RunReport, Seconds};

/// What was planned, and what the run or runs of it were.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, array::random};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let array = random::uniform(100_000, 20, 1, 10_000).log1p();
/// let plan = array.plan(&cluster)?;
/// array.compute(&cluster)?;
/// let report = cluster.runs().pop().expect("one run has ended");
/// let comparison = plan.compare(&report);
/// assert!(comparison.is_as_planned());
/// println!("{comparison}");
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Comparison<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// How many runs there were: one for each pass, and for each step between two.
    pub runs: usize,
    /// How many tasks ended well, in all runs.
    pub tasks: usize,
    /// Bytes read in all runs that are an array's.
    pub bytes_read: Option<u64>,
    /// The most that any task held, where each run tells.
    pub peak_bytes: Option<u64>,
    /// Time of all runs.
    pub duration: Duration,
    /// Blocks that were run again.
    pub retries: u32,
    /// Whether any run failed.
    pub failed: bool,
}

impl Plan {
    /// Puts the plan beside the report of its run.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::{Over, random}};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let x = random::uniform(1000, 10, 1, 100);
    /// let plan = x.plan(&cluster)?;
    /// x.compute(&cluster)?;
    /// let run = cluster.runs().pop().expect("one has ended");
    /// assert!(plan.compare(&run).is_as_planned(), "{}", plan.compare(&run));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn compare(&self, run: &RunReport) -> Comparison<'_> {
        self.compare_all(std::slice::from_ref(run))
    }

    /// Puts the plan beside the reports of its runs, for one that takes several passes.
    pub fn compare_all(&self, runs: &[RunReport]) -> Comparison<'_> {
        // A step between two passes is no array's and reads nothing.
        let read = runs.iter().filter_map(|run| run.bytes_read).reduce(u64::saturating_add);
        let peaks: Option<Vec<u64>> = runs.iter().map(|run| run.peak_bytes).collect();
        Comparison {
            plan: self,
            runs: runs.len(),
            tasks: runs.iter().map(|run| run.done).sum(),
            bytes_read: read,
            peak_bytes: peaks.and_then(|peaks| peaks.into_iter().max()),
            duration: runs.iter().map(|run| run.duration).sum(),
            retries: runs.iter().map(|run| run.retries).sum(),
            failed: runs.iter().any(|run| run.failed),
        }
    }
}

impl Comparison<'_> {
    /// Returns whether every task ended well, there were as many as planned (or fewer, of an iteration), nothing was read beyond the plan, and no task held more than was projected, by more
    /// than the 32 KiB that no projection counts.
    pub fn is_as_planned(&self) -> bool {
        let most = self.plan.projected_bytes.saturating_add(32 << 10);
        !self.failed
            && (self.tasks == self.plan.tasks || self.plan.is_bound && self.tasks < self.plan.tasks)
            && self.bytes_read.is_none_or(|read| read <= self.plan.bytes_read)
            && self.peak_bytes.is_none_or(|peak| peak <= most)
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |bytes: Option<u64>| bytes.map_or("not measured".into(), |bytes| ByteSize(bytes).to_string());
        let plan = self.plan;
        let mut row = |what: &str, planned: String, actual: String| writeln!(f, "{what:<14}{planned:>14}{actual:>14}");
        row("", "planned".into(), "actual".into())?;
        row("passes, runs", plan.passes.to_string(), self.runs.to_string())?;
        row("tasks", plan.tasks.to_string(), self.tasks.to_string())?;
        row("read", ByteSize(plan.bytes_read).to_string(), bytes(self.bytes_read))?;
        row("peak a task", ByteSize(plan.projected_bytes).to_string(), bytes(self.peak_bytes))?;
        write!(f, "{:<14}{:>14}{:>14}", "time", "", Seconds(self.duration).to_string())?;
        if self.retries > 0 {
            write!(f, "\n{} blocks were run again", self.retries)?;
        }
        if self.failed { write!(f, "\nit failed") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{Array, Over, random};
    use crate::runtime::{Cluster, Scheduler};

    #[test]
    fn what_was_planned_is_what_happens() {
        for scheduler in [Scheduler::Threads, Scheduler::Serial] {
            let builder = Cluster::builder().allowance(ByteSize(8 << 20)).workers(2).scheduler(scheduler);
            let cluster = builder.build().expect("sound settings");
            let random = random::uniform(10_000, 20, 1, 1000);
            let chunks = random.persist(&cluster).expect("small");
            let memory = Array::from_slice(500, 3, &vec![1.5; 1500]).expect("the right number").with_block_rows(100);
            for (array, read) in
                [(&random, 0), (&chunks, 1_600_000), (&memory, 12_000), (&chunks.transpose(), 1_600_000)]
            {
                let array = array.square();
                let plan = array.plan(&cluster).expect("small");
                array.compute(&cluster).expect("small");
                let report = cluster.runs().pop().expect("one run");
                let found = plan.compare(&report);
                assert!(found.is_as_planned(), "{found}");
                assert_eq!((found.bytes_read, plan.bytes_read), (Some(read), read), "{found}");
            }
        }
    }

    #[test]
    fn a_failure_and_a_figure_that_is_not_known_show() {
        let cluster = Cluster::builder().allowance(ByteSize(8 << 20)).workers(1).build().expect("sound settings");
        let array = random::uniform(1000, 2, 1, 100);
        let plan = array.plan(&cluster).expect("small");
        array.sum(&cluster, Over::Whole).expect("small");
        let good = cluster.runs().pop().expect("one run");
        let bad = RunReport { failed: true, peak_bytes: None, ..good.clone() };
        let found = plan.compare_all(&[good, bad]);
        assert!(!found.is_as_planned() && found.runs == 2 && found.tasks == 20);
        let text = found.to_string();
        assert!(text.contains("not measured") && text.ends_with("it failed"), "{text}");
    }
}
