//! 42: the process forks without exec, while lanes run; and it starts other programs.
#![expect(unsafe_code, reason = "a fork, and the ways out of the child, have no safe form")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use allotment::store::{Chunk, SpoolOptions};
use allotment::{Cluster, Error, Future, Result, Scheduler, Shared, task_context};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::cluster::{Gate, cluster, of, submit, until};
use crate::common::{Watchdog, child_case, report, told_by_child};

const FORKS: usize = 100;

/// Runs `body` in a fork of this process and returns its exit code; a child that hangs is ended by its alarm.
fn in_a_fork(body: impl FnOnce()) -> i32 {
    // SAFETY: the child has this one thread. It calls what glibc keeps usable after a fork (its allocator among them) and
    // our own code, whose locks in the child are the very thing under test; it leaves by `_exit` and never returns.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: it takes a number and sets a timer of this process.
        unsafe { libc::alarm(10) };
        let ended = catch_unwind(AssertUnwindSafe(body));
        // SAFETY: it ends the process at once, without destructors or exit handlers, which are the parent's.
        unsafe { libc::_exit(if ended.is_ok() { 0 } else { 1 }) };
    }
    let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap();
    status.exit_status().unwrap_or(-1)
}

/// What a program holds when it forks.
struct Held {
    cluster: Cluster,
    pending: Future<()>,
    shared: Shared<()>,
    chunk: Chunk,
    pack: Vec<Future<u64>>,
}

fn forked<T>(answer: Result<T>) {
    assert!(matches!(answer, Err(Error::Forked)));
}

/// Everything that a child may try with what it inherited.
fn try_in_child(held: Held, spool: &Path) {
    let Held { cluster, mut pending, shared, chunk, pack } = held;
    forked(cluster.submit(|| 1));
    forked(cluster.map(|i: u64| i, 0..10));
    forked(cluster.scale(3));
    forked(pending.wait_timeout(Duration::from_secs(5)).unwrap());
    forked(shared.wait());
    forked(cluster.wait_any(std::slice::from_ref(&pending), None));
    forked(cluster.shutdown(Duration::from_secs(5)));
    assert!(!pending.cancel() && cluster.workers() == 0 && cluster.snapshot().submitted == 0);
    assert_eq!(chunk.bytes().unwrap().part(0), [7; 1000]);
    drop((pending, shared, chunk, pack));
    drop(cluster);
    assert_eq!(std::fs::read_dir(spool).unwrap().count(), 1, "the parent's spool is still there");
}

/// Runs the parent of the forks and returns its figure.
fn parent() -> String {
    let spool = tempfile::tempdir().unwrap();
    let options = SpoolOptions { dir: Some(spool.path().into()), allow_ram: true, ..Default::default() };
    let cluster = of(3).spool(options.clone()).build().unwrap();
    let spill = || task_context().unwrap().store().unwrap().write(&[&[7; 1000]]).unwrap();
    let chunk = submit(&cluster, "spill", spill).wait().unwrap();
    let gate = Arc::new(Gate::default());
    let inside = gate.clone();
    let shared = submit(&cluster, "held", move || inside.pass()).share();
    let mut codes = Vec::new();
    for _ in 0..FORKS {
        let held_back = Arc::new(Gate::default());
        let inside = held_back.clone();
        let pending = cluster.submit(move || inside.pass()).unwrap();
        // Lanes are in the middle of things when the process forks.
        let pack = cluster.map(|i: u64| i, 0..500).unwrap();
        let held = Held { cluster: cluster.clone(), pending, shared: shared.clone(), chunk: chunk.clone(), pack };
        let mut held = Some(held);
        codes.push(in_a_fork(|| try_in_child(held.take().unwrap(), spool.path())));
        let Held { pack, pending, .. } = held.unwrap();
        assert_eq!(cluster.gather(pack).unwrap().len(), 500);
        held_back.open();
        pending.wait().unwrap();
    }
    assert_eq!(codes, [0; FORKS]);
    // A cluster that lives on the caller's thread alone is dropped whole in the child, its spool with it.
    let serial = Cluster::builder().scheduler(Scheduler::Serial).spool(options).build().unwrap();
    let spilled = submit(&serial, "spill", spill).wait().unwrap();
    let mut held = Some((serial, spilled));
    assert_eq!(in_a_fork(|| drop(held.take())), 0);
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 2);
    drop(held);
    // A child builds its own.
    assert_eq!(in_a_fork(|| assert_eq!(crate::cluster::cluster(2).submit(|| 7).unwrap().wait().unwrap(), 7)), 0);
    let inherited = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    let inherited = String::from_utf8(inherited.stdout).unwrap();
    assert!(inherited.contains("/proc/") && !inherited.contains(spool.path().to_str().unwrap()), "{inherited}");
    gate.open();
    shared.wait().unwrap();
    assert_eq!(chunk.bytes().unwrap().part(0), [7; 1000]);
    drop((chunk, shared, cluster));
    until(|| std::fs::read_dir(spool.path()).unwrap().count() == 0);
    format!(
        "{FORKS} forks with lanes running: first call Forked, hangs 0, files touched 0; a new cluster in the child works; descriptors inherited by exec 0"
    )
}

#[test]
fn a_forked_child_is_told_and_touches_nothing_of_the_parents() {
    const NAME: &str = "n42_fork::a_forked_child_is_told_and_touches_nothing_of_the_parents";
    let _watchdog = Watchdog::start("fault 42");
    if child_case().is_some() {
        // The first cluster of a process installs what it installs once.
        drop(cluster(1));
        println!("figure: {}", parent());
        return;
    }
    report(42, told_by_child(NAME, "parent", "figure:"));
}
