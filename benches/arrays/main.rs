//! What arrays and factorisations cost, beside rivals on the same data, in one run: `cargo bench --bench arrays [-- NAME]`.
//!
//! Prints a table: the figure, ours, the rival's, their ratio, the goal. Nothing is asserted: a goal that is missed is for
//! people to see. `NAME` is `statistics`, `gram`, `products`, `factors`, `compressed` or `lanes`; without it all run.
//!
//! The rivals in Python need numpy, scipy and dask, in the Python that `ALLOTMENT_PYTHON` names, or in
//! `target/reference-python`; `python3 -m venv target/reference-python && target/reference-python/bin/pip install
//! numpy==2.4.6 scipy==1.17.1 "dask[array]==2026.8.0"` makes it. Without them the rows that need them are left out, and
//! that is said. Both sides get the same bytes. Where nothing else is said, both have one thread: ours a cluster of one
//! lane, theirs `OPENBLAS_NUM_THREADS=1`. Ours includes what a cluster adds: submitting, reserving, joining.

mod compressed;
mod data;
mod factors;
mod gram;
mod lanes;
#[path = "../measure/mod.rs"]
mod measure;
mod products;
mod rival;
mod statistics;

use allotment::{Cluster, Result};

use rival::Rival;

/// How often each figure is measured.
const ROUNDS: usize = 7;

/// What every figure is measured with.
struct Bench {
    /// One lane.
    cluster: Cluster,
    /// One thread; none where its packages are missing.
    rival: Option<Rival>,
}

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let mut bench = Bench { cluster: cluster(1)?, rival: Rival::start(1, "scipy") };
    println!("median of {ROUNDS} rounds in turns, one thread each\n");
    measure::head();
    if wanted("statistics") {
        statistics::run(&bench)?;
    }
    if wanted("gram") {
        gram::run(&mut bench)?;
    }
    if wanted("products") {
        products::run(&mut bench)?;
    }
    if wanted("factors") {
        factors::run(&mut bench)?;
    }
    if wanted("compressed") {
        compressed::run()?;
    }
    if wanted("lanes") {
        lanes::run(&bench)?;
    }
    Ok(())
}

/// Returns a cluster of so many workers with one lane each, and room for every figure.
fn cluster(workers: usize) -> Result<Cluster> {
    Cluster::builder().allowance("1GiB".parse()?).workers(workers).build()
}

/// Shows a duration.
fn millis(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}
