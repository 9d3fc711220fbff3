//! 12: what a cluster is made of cannot be had: address space for a stack, a descriptor, a spool.

use std::fs::File;

use allotment::{ByteSize, Error, task_context};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cluster::{cluster, descriptors, of, threads, until};
use crate::common::{Watchdog, child_case, report, told_by_child};

fn limit_descriptors_to(n: usize) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(n as u64), maximum }).unwrap();
}

/// 32 TiB of stack for each lane.
fn no_stack() -> String {
    let before = (threads(), descriptors());
    for workers in [1, 2, 8] {
        let error = of(workers).lanes(2).stack(ByteSize(32 << 40)).build().unwrap_err();
        assert!(matches!(error, Error::Thread { .. }), "{error}");
        until(|| (threads(), descriptors()) == before);
    }
    assert_eq!(cluster(2).submit(|| 7).unwrap().wait().unwrap(), 7);
    until(|| (threads(), descriptors()) == before);
    "3 of 3 refused with Thread, leftovers 0".into()
}

/// At most 32 in all, of which ever fewer are free: a cluster that does not start says why, one that does works.
fn no_descriptors() -> String {
    let before = (threads(), descriptors());
    let (mut built, mut refused) = (0, 0);
    for spare in [20, 3, 2, 1, 0] {
        limit_descriptors_to(32);
        let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        hoard.truncate(hoard.len().saturating_sub(spare));
        match of(2).build() {
            Ok(cluster) => {
                assert_eq!(cluster.submit(|| 7).unwrap().wait().unwrap(), 7);
                built += 1;
            }
            Err(error) => {
                assert!(matches!(error, Error::Io { .. } | Error::Thread { .. }), "{error}");
                refused += 1;
            }
        }
        drop(hoard);
        until(|| (threads(), descriptors()) == before);
    }
    limit_descriptors_to(1024);
    assert!(built > 0, "32 descriptors are enough");
    format!("RLIMIT_NOFILE 32 to none free: {built} built and worked, {refused} refused typed, leftovers 0")
}

/// The spool opens with the first chunk, and says then that it cannot.
fn no_spool() -> String {
    let parent = tempfile::tempdir().unwrap();
    let missing = parent.path().join("missing");
    let cluster = of(2).spool_dir(&missing).build().unwrap();
    for _ in 0..3 {
        let spill = || task_context().unwrap().store().map(drop);
        let error = cluster.submit(spill).unwrap().wait().unwrap().unwrap_err();
        assert!(matches!(&error, Error::SpoolDir { dir, .. } if **dir == *missing), "{error}");
    }
    assert_eq!(cluster.submit(|| 7).unwrap().wait().unwrap(), 7);
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    "a missing spool is SpoolDir at the first chunk, closures run without it".into()
}

#[test]
fn a_cluster_that_cannot_start_says_so_and_is_undone() {
    const NAME: &str = "n12_no_start::a_cluster_that_cannot_start_says_so_and_is_undone";
    let _watchdog = Watchdog::start("fault 12");
    if let Some(case) = child_case() {
        let figure = match &*case {
            "stack" => no_stack(),
            "descriptors" => no_descriptors(),
            _ => no_spool(),
        };
        println!("figure: {figure}");
        return;
    }
    for case in ["stack", "descriptors", "spool"] {
        report(12, format_args!("{case}: {}", told_by_child(NAME, case, "figure:")));
    }
}
