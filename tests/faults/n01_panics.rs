//! 1: tasks panic, with texts and with other values, one by one and in a map and in a reduction.

use std::panic::panic_any;
use std::time::Instant;

use allotment::{Cluster, Error, Future};

use crate::cluster::{cluster, panic_message, quiet_lanes};
use crate::common::{Watchdog, report};

/// Panics in the way that belongs to the number; says what the error must then say.
fn panic_as(i: u64) -> ! {
    match i % 3 {
        0 => panic!("a literal"),
        1 => panic!("a text with {i}"),
        _ => panic_any(i),
    }
}

fn said(i: u64) -> String {
    match i % 3 {
        0 => "a literal".into(),
        1 => format!("a text with {i}"),
        _ => "a value that is no text".into(),
    }
}

/// One by one, each with the core's lock taken inside, which nobody may hold while user code runs.
fn submitted(cluster: &Cluster, n: u64) -> u64 {
    let task = |i: u64| {
        let inside = cluster.clone();
        let work = move || -> u64 {
            assert_eq!(inside.workers(), 2);
            panic_as(i)
        };
        cluster.submit(work).unwrap()
    };
    let futures: Vec<Future<u64>> = (0..n).map(task).collect();
    for (i, future) in futures.into_iter().enumerate() {
        assert_eq!(panic_message(future.wait()), (None, said(i as u64)));
    }
    n
}

/// Every third item is well, and must come home in its place.
fn mapped(cluster: &Cluster, n: u64) -> u64 {
    let futures = cluster.map(|i: u64| if i.is_multiple_of(3) { i * 7 } else { panic_as(i) }, 0..n).unwrap();
    let mut panics = 0;
    for (i, answer) in (0..n).zip(cluster.gather_all(futures).unwrap()) {
        if i.is_multiple_of(3) {
            assert_eq!(answer.unwrap(), i * 7);
        } else {
            assert_eq!(panic_message(answer), (Some(i), said(i)));
            panics += 1;
        }
    }
    panics
}

/// In an item of a `map_reduce`, and in the function that joins two.
fn reduced(cluster: &Cluster, n: u64) -> u64 {
    let futures: Vec<_> = (0..n)
        .map(|i| {
            let map = move |item: u64| if item == i % 16 { panic_as(i) } else { item };
            cluster.map_reduce(0..16, map, |a, b| a + b).unwrap()
        })
        .collect();
    for (i, future) in (0..n).zip(futures) {
        assert_eq!(panic_message(future.wait()), (Some(i % 16), said(i)));
    }
    let joined: Vec<_> = (0..n)
        .map(|i| {
            let parts = cluster.map(|x: u64| x, 0..2).unwrap();
            cluster.reduce(parts, move |_, _| panic_as(i)).unwrap()
        })
        .collect();
    for (i, future) in (0..n).zip(joined) {
        assert_eq!(panic_message(future.wait()), (None, said(i)));
    }
    2 * n
}

#[test]
fn a_panic_is_the_error_of_its_task_and_of_nothing_else() {
    let _watchdog = Watchdog::start("fault 1");
    quiet_lanes();
    let cluster = cluster(2);
    let start = Instant::now();
    let mut panics = submitted(&cluster, 30_000) + mapped(&cluster, 90_000);
    let each_us = start.elapsed().as_secs_f64() * 1e6 / panics as f64;
    panics += reduced(&cluster, 5_000);
    let error = cluster.submit(|| -> u32 { panic!("named") }).unwrap().wait().unwrap_err();
    assert!(matches!(&error, Error::TaskPanicked { task, .. } if &**task == "task"), "{error}");
    assert_eq!(cluster.submit(|| 7).unwrap().wait().unwrap(), 7);
    let now = cluster.snapshot();
    assert_eq!((now.restarts, now.retried), (0, 0));
    assert!(panics >= 100_000);
    report(1, format_args!("{panics} panics: unresolved 0, worker restarts 0, {each_us:.1} us a panic"));
}
