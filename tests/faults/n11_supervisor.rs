//! 11: the supervisor's actor fails, and with it the control thread's runtime goes.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use allotment::store::SpoolOptions;
use allotment::{Error, Future, task_context};

use crate::cluster::{Gate, descriptors, of, quiet_lanes, threads, until};
use crate::common::{Watchdog, child_case, report, told_by_child};

const ROUNDS: usize = 20;
const PENDING: usize = 1000;

/// Builds, spills, fills the queue, lets the supervisor die, and returns the ms until all futures were answered.
fn one_round(spool: &Path) -> f64 {
    let options = SpoolOptions { dir: Some(spool.into()), allow_ram: true, ..Default::default() };
    let cluster = of(2).spool(options).build().unwrap();
    let spill = || task_context().unwrap().store().unwrap().write(&[&[7; 1000]]).unwrap();
    let chunk = cluster.submit(spill).unwrap().wait().unwrap();
    // The spool of the round before goes with its last lane.
    until(|| std::fs::read_dir(spool).unwrap().count() == 1);
    let gate = Arc::new(Gate::default());
    let held = |_| gate.clone();
    let futures: Vec<Future<()>> =
        (0..PENDING).map(held).map(|gate| cluster.submit(move || gate.pass()).unwrap()).collect();
    until(|| cluster.snapshot().workers.iter().all(|worker| worker.running.len() == 1));
    let start = Instant::now();
    cluster.chaos().kill_supervisor();
    for future in futures {
        assert!(matches!(future.wait(), Err(Error::ClusterDown { .. })));
    }
    let took_ms = start.elapsed().as_secs_f64() * 1e3;
    assert!(matches!(cluster.submit(|| 1), Err(Error::ClusterDown { .. })));
    assert_eq!(chunk.bytes().unwrap().part(0), [7; 1000]);
    gate.open();
    took_ms
}

#[test]
fn without_its_supervisor_a_cluster_answers_everything_and_leaves_nothing() {
    const NAME: &str = "n11_supervisor::without_its_supervisor_a_cluster_answers_everything_and_leaves_nothing";
    let watchdog = Watchdog::start("fault 11");
    if child_case().is_none() {
        return report(11, told_by_child(NAME, "supervisor", "figure:"));
    }
    quiet_lanes();
    let spool = tempfile::tempdir().unwrap();
    // The harness has two threads, the watchdog is the third. A cluster's last descriptor goes with its last thread.
    let is_quiet = || threads() == 3 && std::fs::read_dir(spool.path()).unwrap().count() == 0;
    // The first round pays for what a process opens once.
    one_round(spool.path());
    until(is_quiet);
    let before = descriptors();
    let worst_ms = (0..ROUNDS).map(|_| one_round(spool.path())).fold(0.0, f64::max);
    until(|| is_quiet() && descriptors() == before);
    drop(watchdog);
    println!(
        "figure: {ROUNDS} supervisors died with {PENDING} pending: hung 0, {worst_ms:.1} ms at most; threads, \
         descriptors, spool as before; build() works again"
    );
}
