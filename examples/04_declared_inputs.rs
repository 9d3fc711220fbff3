//! Builds a small graph of tasks, each of which starts when its inputs are there, and prints what comes out at its end.
//!
//! ```text
//!   text ──▶ words ──┬──▶ longest ──┐
//!                    └──▶ count ────┴──▶ report
//! ```

use allotment::{Cluster, Result, Task};

const TEXT: &str = "a stranger opens any file reads it once and could have written the next line";

pub(crate) fn main() -> Result<()> {
    let cluster = Cluster::builder().workers(2).allowance("64MiB".parse()?).build()?;

    // Nothing here waits: each line says what a task needs, and the cluster starts it when that is there.
    let text = cluster.submit(|| TEXT)?;
    let words = cluster.submit_with(text, |text| text.split(' ').collect::<Vec<_>>())?.share();

    // Two tasks read the same words where they are: a shared future is borrowed as an `Arc`.
    let longest = cluster.submit_with(&words, |words| words.iter().copied().max_by_key(|word| word.len()))?;
    let count = cluster.submit_with(&words, |words| words.len())?;

    // The last one takes both, under a name that errors and counters show.
    let report = cluster.submit_with_task(Task::named("report"), (longest, count), |(longest, count)| {
        format!("{count} words, the longest is {:?}", longest.unwrap_or_default())
    })?;
    println!("{}", report.wait()?);

    // An input that fails fails what depends on it, with the same error; the code of the dependant does not run.
    let missing = cluster.submit_task(Task::named("missing"), || -> u32 { panic!("no such file") })?;
    let dependant = cluster.submit_with(missing, |n| n + 1)?;
    if let Err(error) = dependant.wait() {
        println!("{error}");
    }
    Ok(())
}
