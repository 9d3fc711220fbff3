//! 39: futures are dropped before their task starts, while it runs, and after; by the million.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use allotment::{Cluster, Task, task_context};

use crate::cluster::{Gate, cluster, status, submit, until, until_idle};
use crate::common::{Watchdog, child_case, report, told_by_child};

const HANDLES: u64 = 1_000_000;

/// Holds both lanes until the gate opens.
fn hold(cluster: &Cluster, gate: &Arc<Gate>) -> Vec<allotment::Future<()>> {
    let held: Vec<_> = (0..2).map(|_| gate.clone()).map(|gate| submit(cluster, "held", move || gate.pass())).collect();
    until(|| cluster.snapshot().workers.iter().all(|worker| worker.running.len() == 1));
    held
}

#[test]
fn what_nobody_will_read_does_not_run_unless_it_is_detached() {
    let _watchdog = Watchdog::start("fault 39");
    let cluster = cluster(2);
    let gate = Arc::new(Gate::default());
    let held = hold(&cluster, &gate);
    let runs = Arc::new(AtomicU64::new(0));
    let count = |_| {
        let runs = runs.clone();
        cluster.submit(move || runs.fetch_add(1, SeqCst)).unwrap()
    };
    // Before: 1,000 dropped, 1,000 shared and dropped, 100 detached; the last handle counts.
    (0..1000).map(count).for_each(drop);
    (0..1000).map(count).map(|future| future.share()).for_each(|shared| drop((shared.clone(), shared)));
    (0..100).map(count).for_each(|future| future.detach());
    let dropped_pack: Vec<_> = {
        let runs = runs.clone();
        cluster.map(move |_| runs.fetch_add(1, SeqCst), 0..1000).unwrap()
    };
    drop(dropped_pack);
    assert_eq!(cluster.snapshot().queued, 100, "only the detached ones are left");
    gate.open();
    cluster.gather(held).unwrap();
    until_idle(&cluster);
    assert_eq!(runs.load(SeqCst), 100);
    // While it runs: it is told.
    let (began, noticed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (begins, notices) = (began.clone(), noticed.clone());
    let running = submit(&cluster, "running", move || {
        begins.store(true, SeqCst);
        let context = task_context().unwrap();
        until(|| context.is_cancelled());
        notices.store(true, SeqCst);
    });
    until(|| began.load(SeqCst));
    drop(running);
    until(|| noticed.load(SeqCst));
    // After: the value goes with the last handle.
    let value = Arc::new(());
    let given = value.clone();
    let future = cluster.submit_task(Task::named("after"), move || given.clone()).unwrap();
    until(|| future.is_ready());
    until_idle(&cluster);
    drop(future);
    until(|| Arc::strong_count(&value) == 1);
    report(39, "2,000 tasks and a map of 1,000 dropped before their start: runs 0; 100 detached: runs 100");
}

/// A million tasks, each with a KiB, dropped while the lanes are busy: nothing of them may stay.
fn drop_a_million() -> String {
    let cluster = cluster(2);
    let gate = Arc::new(Gate::default());
    let held = hold(&cluster, &gate);
    let drop_some = |n: u64| {
        for i in 0..n {
            let kibibyte = vec![i as u8; 1024];
            drop(cluster.submit(move || kibibyte[0]).unwrap());
        }
    };
    drop_some(10_000);
    let before = status("RssAnon");
    drop_some(HANDLES);
    let grown = status("RssAnon").saturating_sub(before);
    gate.open();
    cluster.gather(held).unwrap();
    let now = cluster.snapshot();
    assert_eq!((now.cancelled, now.queued), (HANDLES + 10_000, 0));
    assert!(grown < 1 << 20, "{grown} bytes stayed");
    format!("{HANDLES} handles of 1 KiB dropped behind busy lanes: runs 0, {} KiB stayed", grown >> 10)
}

#[test]
fn a_million_dropped_futures_leave_no_bytes() {
    let _watchdog = Watchdog::start("fault 39, memory");
    if child_case().is_some() {
        println!("figure: {}", drop_a_million());
        return;
    }
    const NAME: &str = "n39_dropped::a_million_dropped_futures_leave_no_bytes";
    report(39, told_by_child(NAME, "memory", "figure:"));
}
