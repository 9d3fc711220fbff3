//! What a pipeline says: what it found and what each run took; or, planned, what each stage would take.

use allotment::array::Plan;
use allotment::cells::{AnnData, Column};
use allotment::linalg;
use allotment::{ByteSize, Error, cells};
use serde::Serialize;

use crate::output::{Report, seconds, table};
use crate::pipeline::{PipelineArgs, hvg_options, shares};
use crate::plot::with_commas;
use crate::session::{Cost, Session};

/// As many components as there are where nothing is said.
const DEFAULT_COMPONENTS: u64 = 50;

/// A run over blocks, as it was.
#[derive(Serialize)]
struct RunLine {
    name: String,
    tasks: usize,
    seconds: f64,
    bytes_read: Option<u64>,
    peak_bytes: Option<u64>,
}

/// What a pipeline found.
#[derive(Serialize)]
pub(crate) struct PipelineReport {
    file: String,
    shape: [u64; 2],
    flavor: &'static str,
    n_selected: usize,
    components: usize,
    explained_variance_ratio: Vec<f64>,
    neighbors: Option<usize>,
    /// How often every value of the input was read.
    passes: usize,
    runs: Vec<RunLine>,
    #[serde(flatten)]
    cost: Cost,
    written: Vec<String>,
}

impl PipelineReport {
    /// Gathers what was found.
    pub(crate) fn new(
        args: &PipelineArgs,
        shape: (u64, u64),
        found: &AnnData,
        session: &Session,
        written: Vec<String>,
    ) -> Self {
        let selected = match found.var.column("highly_variable") {
            Ok(Column::Bools(marks)) => marks.iter().filter(|mark| **mark == Some(true)).count(),
            _ => 0,
        };
        let ratio = shares(found);
        PipelineReport {
            file: args.file.display().to_string(),
            shape: [shape.0, shape.1],
            flavor: cells::HvgFlavor::from(args.flavor).name(),
            n_selected: selected,
            components: ratio.len(),
            explained_variance_ratio: ratio,
            neighbors: (!args.no_neighbors).then_some(args.neighbors),
            passes: passes(args),
            runs: runs(session),
            cost: session.cost(),
            written,
        }
    }
}

/// Returns how often the input is read: for the median, for ranks, for the genes' values, and for X and the counts.
fn passes(args: &PipelineArgs) -> usize {
    let median = usize::from(args.target_sum.is_none());
    let ranks = if args.flavor.takes_counts() { 2 } else { 1 };
    median + ranks + 1 + usize::from(!args.subset) + usize::from(args.counts)
}

fn runs(session: &Session) -> Vec<RunLine> {
    let line = |run: allotment::runtime::RunReport| RunLine {
        name: run.name.to_string(),
        tasks: run.tasks,
        seconds: run.duration.as_secs_f64(),
        bytes_read: run.bytes_read,
        peak_bytes: run.peak_bytes,
    };
    session.cluster.runs().into_iter().map(line).collect()
}

impl Report for PipelineReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let share: f64 = self.explained_variance_ratio.iter().sum();
        let mut text = format!("{}: {rows} x {cols}\n", self.file);
        text += &format!("{} variable genes by {}\n", with_commas(self.n_selected as u64), self.flavor);
        text += &format!("{} components with {:.1} % of their variance\n", self.components, 100.0 * share);
        text += &self.neighbors.map_or(String::new(), |n| format!("{n} neighbours of each cell\n"));
        text += &format!("{} passes over the input\n\n", self.passes);
        let mut lines = vec![["run", "tasks", "time", "read"].map(String::from).to_vec()];
        for run in &self.runs {
            let read = run.bytes_read.map_or(String::new(), |bytes| ByteSize(bytes).to_string());
            lines.push(vec![run.name.clone(), run.tasks.to_string(), seconds(run.seconds), read]);
        }
        text += &table(&lines);
        text.push('\n');
        text += &self.cost.text();
        text + &self.written.iter().map(|path| format!("wrote {path}\n")).collect::<String>()
    }
}

/// A stage, as it would be.
#[derive(Serialize)]
pub(crate) struct Stage {
    name: &'static str,
    /// Whether it reads the input, or chunks that an earlier stage left.
    reads_input: bool,
    passes: usize,
    is_bound: bool,
    tasks: usize,
    /// From the input.
    bytes_read: u64,
    projected_bytes: u64,
}

impl Stage {
    fn new(name: &'static str, reads_input: bool, plan: &Plan) -> Self {
        let bytes_read = if reads_input { plan.bytes_read } else { 0 };
        let (passes, is_bound, tasks) = (plan.passes, plan.is_bound, plan.tasks);
        Stage { name, reads_input, passes, is_bound, tasks, bytes_read, projected_bytes: plan.projected_bytes }
    }
}

/// Plans every stage that can be planned before it is known which genes are selected: the first ones stand for them.
pub(crate) fn stages(args: &PipelineArgs, counts: &AnnData, session: &Session) -> Result<Vec<Stage>, Error> {
    let cluster = &session.cluster;
    let mut stages = Vec::new();
    if args.target_sum.is_none() {
        stages.push(Stage::new("sums", true, &counts.x.plan_for(cluster, "sums", 0)?));
    }
    let mut logs = counts.clone();
    logs.x = cells::log1p(&cells::normalize_total(&counts.x, args.target_sum.unwrap_or(1.0)));
    let ranked = if args.flavor.takes_counts() { counts } else { &logs };
    stages.push(Stage::new("hvg", true, &hvg_options(args, session).plan(cluster, ranked)?));
    let n_genes = counts.n_vars().min(args.n_top_genes as u64);
    let genes = logs.x.select_columns(0..n_genes)?;
    stages.push(Stage::new("genes", true, &genes.plan(cluster)?));
    let most = genes.rows().min(n_genes);
    let usual = if most <= DEFAULT_COMPONENTS { most.saturating_sub(1) } else { DEFAULT_COMPONENTS };
    let components = args.components.unwrap_or(usual as usize).into();
    let pca = linalg::PcaOptions { components, solver: args.solver.into(), ..linalg::PcaOptions::default() };
    stages.push(Stage::new("pca", false, &pca.plan(cluster, &genes)?));
    if !args.subset {
        stages.push(Stage::new("write X", true, &logs.x.plan(cluster)?));
    }
    if args.counts {
        stages.push(Stage::new("write counts", true, &counts.x.plan(cluster)?));
    }
    Ok(stages)
}

/// What a pipeline would take.
#[derive(Serialize)]
pub(crate) struct PlanReport {
    input: String,
    shape: [u64; 2],
    stages: Vec<Stage>,
    /// Over the input.
    passes: usize,
    bytes_read: u64,
    /// Of the stage that holds most.
    projected_bytes: u64,
    /// What is done besides, over chunks of components.
    neighbors: Option<usize>,
    allowance_bytes: u64,
    workers: usize,
}

impl PlanReport {
    /// Adds the stages up.
    pub(crate) fn new(args: &PipelineArgs, data: &AnnData, stages: Vec<Stage>, session: &Session) -> Self {
        PlanReport {
            input: args.file.display().to_string(),
            shape: [data.n_obs(), data.n_vars()],
            passes: stages.iter().filter(|stage| stage.reads_input).map(|stage| stage.passes).sum(),
            bytes_read: stages.iter().map(|stage| stage.bytes_read).sum(),
            projected_bytes: stages.iter().map(|stage| stage.projected_bytes).max().unwrap_or(0),
            neighbors: (!args.no_neighbors).then_some(args.neighbors),
            allowance_bytes: session.cluster.allowance(),
            workers: session.cluster.workers(),
            stages,
        }
    }
}

impl Report for PlanReport {
    fn text(&self) -> String {
        let [rows, cols] = self.shape.map(with_commas);
        let mut lines = vec![["stage", "passes", "tasks", "input read", "per task"].map(String::from).to_vec()];
        for stage in &self.stages {
            let number = |n: usize| format!("{}{}", if stage.is_bound { "up to " } else { "" }, with_commas(n as u64));
            let read = if stage.reads_input { ByteSize(stage.bytes_read).to_string() } else { "chunks".into() };
            let per_task = ByteSize(stage.projected_bytes).to_string();
            lines.push(vec![stage.name.into(), number(stage.passes), number(stage.tasks), read, per_task]);
        }
        let mut text = format!("{}: {rows} x {cols}, planned and not computed\n\n{}", self.input, table(&lines));
        text += &self.neighbors.map_or(String::new(), |n| format!("then {n} neighbours of each cell, by components\n"));
        let workers = if self.workers == 1 { "1 worker".into() } else { format!("{} workers", self.workers) };
        let (read, most) = (ByteSize(self.bytes_read), ByteSize(self.projected_bytes));
        text += &format!("\n{} passes over the input, {read} read\n", self.passes);
        text + &format!("{most} per task at most, of {} for each of {workers}\n", ByteSize(self.allowance_bytes))
    }
}
