//! 43: two clusters at once, started and stopped a thousand times.

use std::path::Path;
use std::time::Instant;

use allotment::store::SpoolOptions;
use allotment::{Cluster, task_context};

use crate::cluster::{descriptors, of, status, threads, until};
use crate::common::{Watchdog, child_case, report, told_by_child};

const PAIRS: usize = 500;

/// Builds a cluster over the shared spool parent.
fn build(spool: &Path) -> Cluster {
    of(2).spool(SpoolOptions { dir: Some(spool.into()), allow_ram: true, ..Default::default() }).build().unwrap()
}

/// Starts two clusters, lets them work side by side, and stops them; `spill` writes a chunk in each.
fn pair(spool: &Path, spill: bool) {
    let (one, two) = (build(spool), build(spool));
    let (first, second) = (one.map(|i: u64| i, 0..20).unwrap(), two.map(|i: u64| i * 2, 0..20).unwrap());
    if spill {
        let write = || task_context().unwrap().store().unwrap().write(&[&[1; 100]]).unwrap();
        let (a, b) = (one.submit(write).unwrap().wait().unwrap(), two.submit(write).unwrap().wait().unwrap());
        assert_eq!(std::fs::read_dir(spool).unwrap().count(), 2, "a directory each");
        assert_eq!((a.bytes().unwrap().part(0), b.bytes().unwrap().part(0)), (&[1; 100][..], &[1; 100][..]));
    }
    assert_eq!(one.gather(first).unwrap().iter().sum::<u64>(), 190);
    assert_eq!(two.gather(second).unwrap().iter().sum::<u64>(), 380);
}

/// Runs all pairs and returns the figure.
fn pairs() -> String {
    let spool = tempfile::tempdir().unwrap();
    let (warm, quiet) = (PAIRS / 10, threads());
    (0..warm).for_each(|i| pair(spool.path(), i.is_multiple_of(10)));
    until(|| threads() == quiet);
    let before = (threads(), descriptors(), status("RssAnon"));
    let start = Instant::now();
    (0..PAIRS).for_each(|i| pair(spool.path(), i.is_multiple_of(10)));
    let each_ms = start.elapsed().as_secs_f64() * 1e3 / (2 * PAIRS) as f64;
    // A cluster that was dropped has joined its threads; the kernel may take a moment to unlist them.
    until(|| (threads(), descriptors()) == (before.0, before.1));
    let grown = status("RssAnon").saturating_sub(before.2);
    assert!(grown < 2 << 20, "{grown} bytes more after {PAIRS} pairs");
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0);
    format!(
        "{} clusters, two at once: descriptors +0, threads +0, RssAnon +{} KiB; {each_ms:.2} ms each",
        2 * PAIRS,
        grown >> 10
    )
}

#[test]
fn a_thousand_starts_and_stops_leave_nothing() {
    const NAME: &str = "n43_start_stop::a_thousand_starts_and_stops_leave_nothing";
    let _watchdog = Watchdog::start("fault 43");
    if child_case().is_some() {
        println!("figure: {}", pairs());
        return;
    }
    report(43, told_by_child(NAME, "pairs", "figure:"));
}
