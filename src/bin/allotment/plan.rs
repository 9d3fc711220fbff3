//! `--plan`: what a command would take, shown instead of done. No value is read.

use allotment::ByteSize;
use allotment::array::Plan;
use serde::Serialize;

use crate::args::Shared;
use crate::failure::Outcome;
use crate::output::{self, Report, fields};
use crate::plot::with_commas;
use crate::session::Session;

#[derive(Serialize)]
struct PlanReport<'a> {
    input: String,
    shape: [u64; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    solver: Option<&'static str>,
    steps: Vec<&'a str>,
    passes: usize,
    /// Whether an iteration may take fewer passes, tasks and bytes.
    is_bound: bool,
    tasks: usize,
    block_rows: u64,
    bytes_read: u64,
    projected_bytes: u64,
    allowance_bytes: u64,
    workers: usize,
}

/// Prints a plan; `solver` is the one that was chosen, where there is a choice.
pub(crate) fn print(
    plan: &Plan,
    input: String,
    shape: (u64, u64),
    solver: impl Into<Option<&'static str>>,
    session: &Session,
    shared: &Shared,
) -> Outcome<()> {
    let report = PlanReport {
        input,
        shape: [shape.0, shape.1],
        solver: solver.into(),
        steps: plan.steps.iter().map(|step| &**step).collect(),
        passes: plan.passes,
        is_bound: plan.is_bound,
        tasks: plan.tasks,
        block_rows: plan.block_rows,
        bytes_read: plan.bytes_read,
        projected_bytes: plan.projected_bytes,
        allowance_bytes: plan.allowance,
        workers: session.cluster.workers(),
    };
    output::print(&report, shared.json)
}

impl Report for PlanReport<'_> {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let at_most = if self.is_bound { "at most " } else { "" };
        let number = |n: usize| format!("{at_most}{}", with_commas(n as u64));
        let workers = if self.workers == 1 { "1 worker".into() } else { format!("{} workers", self.workers) };
        let solver = self.solver.map(|solver| ("solver", solver.to_owned()));
        let facts = [
            ("steps", self.steps.join(" > ")),
            ("passes", number(self.passes)),
            ("tasks", number(self.tasks)),
            ("block rows", with_commas(self.block_rows)),
            ("read", format!("{at_most}{}", ByteSize(self.bytes_read))),
            ("per task", ByteSize(self.projected_bytes).to_string()),
            ("allowance", format!("{} each of {workers}", ByteSize(self.allowance_bytes))),
        ];
        let lines = fields(&solver.into_iter().chain(facts).collect::<Vec<_>>());
        format!("{}: {rows} x {cols}, planned and not computed\n\n{lines}", self.input)
    }
}
