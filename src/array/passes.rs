//! Plans of several passes: what follows what, and what all of it takes.
//!
//! ```text
//!   pass ─▶ task on what it gave ─▶ pass, up to 200 times ─▶ pass        passes, tasks and bytes read add up;
//!                                                                          of what a task holds the most counts
//! ```
//!
//! Always true: the numbers of an iteration are those of its longest run, and the plan says that they are bounds.

use super::compute::Runs;
use super::{Array, Plan};
use crate::error::Result;
use crate::runtime::Cluster;

impl Plan {
    /// Returns the plan of a pass over the same array after this one.
    pub(crate) fn then(mut self, name: &str, next: &Plan) -> Plan {
        self.add_pass(name);
        self.passes += next.passes;
        self.tasks = self.tasks.saturating_add(next.tasks);
        self.bytes_read = self.bytes_read.saturating_add(next.bytes_read);
        self.block_rows = self.block_rows.max(next.block_rows);
        self.block_cols = self.block_cols.max(next.block_cols);
        self.projected_bytes = self.projected_bytes.max(next.projected_bytes);
        self.is_bound |= next.is_bound;
        self
    }

    /// Returns the plan of up to so many such passes after this one.
    pub(crate) fn then_up_to(self, n: usize, name: &str, next: &Plan) -> Plan {
        let all = Plan {
            passes: n.saturating_mul(next.passes),
            tasks: n.saturating_mul(next.tasks),
            bytes_read: next.bytes_read.saturating_mul(n as u64),
            is_bound: true,
            ..next.clone()
        };
        self.then(name, &all)
    }

    /// Adds a task of its own, on what a pass gave.
    pub(crate) fn add_task(&mut self, name: &str, bytes: u64) {
        self.steps.push(name.into());
        self.tasks = self.tasks.saturating_add(1);
        self.projected_bytes = self.projected_bytes.max(bytes);
    }

    /// Names a pass that something makes over the array.
    pub(crate) fn add_pass(&mut self, name: &str) {
        let name: std::sync::Arc<str> = name.into();
        self.graph.add_pass(&name);
        self.steps.push(name);
    }

    /// Returns the number of passes in words: how many, or at most how many.
    pub(super) fn passes_in_words(&self) -> String {
        let at_most = if self.is_bound { "at most " } else { "" };
        let end = if self.passes == 1 { "pass" } else { "passes" };
        format!("{at_most}{} {end}", self.passes)
    }
}

impl Array {
    /// Returns the plan of [`reduce_runs`](Self::reduce_runs): a task is a run.
    pub(crate) fn plan_runs(&self, cluster: &Cluster, runs: &Runs) -> Result<Plan> {
        let mut plan = self.plan_for(cluster, runs.name, runs.working)?;
        plan.tasks = plan.tasks.min(runs.n);
        Ok(plan)
    }
}
