//! What the runtime costs, beside rivals on the same machine, in one run: `cargo bench --bench runtime [-- NAME]`.
//!
//! Prints a table: the figure, ours, the rival's, their ratio, the goal. Nothing is asserted: a goal that is missed is for
//! people to see. `NAME` is `tasks`, `streams` or `lanes`; without it all run.

mod lanes;
#[path = "../measure/mod.rs"]
mod measure;
mod streams;
mod tasks;

use allotment::{Cluster, Result};

/// How often each figure is measured.
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cluster = Cluster::builder().workers(cores).build()?;
    println!("{cores} cores, {} lanes, median of {ROUNDS} rounds in turns\n", cluster.lanes());
    measure::head();
    if wanted("tasks") {
        tasks::run(&cluster)?;
    }
    if wanted("streams") {
        streams::run(&cluster)?;
    }
    if wanted("lanes") {
        lanes::run(&cluster)?;
    }
    Ok(())
}
