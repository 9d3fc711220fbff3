//! 13: allowances smaller than one task, or than one block of an array.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use allotment::array::{Over, random};
use allotment::{Blocks, ByteSize, Cluster, Error, Task};

use crate::cluster::{Gate, MIB, of, until_idle};
use crate::common::{Watchdog, report};

const ALLOWANCE: u64 = 8 * MIB.0;

fn cluster() -> Cluster {
    of(2).allowance(ByteSize(ALLOWANCE)).build().unwrap()
}

/// Returns the facts of a refusal.
fn refused<T: std::fmt::Debug>(answer: allotment::Result<T>) -> (u64, u64, u64) {
    match answer.unwrap_err() {
        Error::TooBig { need, allowance, largest, .. } => (need, allowance, largest),
        other => panic!("{other}"),
    }
}

#[test]
fn what_can_never_fit_is_refused_before_any_work() {
    let _watchdog = Watchdog::start("fault 13");
    let cluster = cluster();
    let ran = Arc::new(AtomicUsize::new(0));
    let run = ran.clone();
    let work = move || run.fetch_add(1, SeqCst);
    let big = Task::named("big").projected(ByteSize(64 * MIB.0));
    let start = Instant::now();
    let facts = refused(cluster.submit_task(big.clone(), work.clone()));
    let answer_us = start.elapsed().as_secs_f64() * 1e6;
    assert_eq!(facts, (64 * MIB.0, ALLOWANCE, 2 * ALLOWANCE));
    let inside = work.clone();
    assert_eq!(refused(cluster.map_task(big, move |_| inside(), 0..100)), facts);
    let blocks = Blocks { n: 4, projected_bytes: 64 * MIB.0, ..Blocks::named("big") };
    let inside = work;
    let answer = cluster.map_blocks(&blocks, move |_, _| Ok(inside()));
    assert_eq!(refused(answer), facts);
    assert_eq!((ran.load(SeqCst), cluster.snapshot().started), (0, 0), "nothing ran");
    report(13, format_args!("64 MiB in 2 x 8 MiB: TooBig in {answer_us:.0} us, before any work"));
}

#[test]
fn a_task_beyond_its_worker_runs_on_loan_and_one_beyond_all_runs_alone() {
    let _watchdog = Watchdog::start("fault 13, loans");
    let cluster = cluster();
    let loan = Task::named("loan").projected(ByteSize(12 * MIB.0));
    assert_eq!(cluster.submit_task(loan, || 12).unwrap().wait().unwrap(), 12);
    until_idle(&cluster);
    let now = cluster.snapshot();
    assert_eq!((now.loans, now.lone, now.peak_reserved_bytes), (1, 0, 12 * MIB.0));
    // The big one waits until nobody holds a grant, and nobody is granted anything beside it.
    let gate = Arc::new(Gate::default());
    let inside = gate.clone();
    let small = Task::named("small").projected(MIB);
    let first = cluster.submit_task(small.clone(), move || inside.pass()).unwrap();
    let handle = cluster.clone();
    let lone = Task::named("lone").projected(ByteSize(64 * MIB.0)).allow_oversize();
    let lone = cluster.submit_task(lone, move || handle.snapshot().reserved_bytes).unwrap();
    let others: Vec<_> = (0..50).map(|i| cluster.submit_task(small.clone(), move || i).unwrap()).collect();
    gate.open();
    first.wait().unwrap();
    assert_eq!(lone.wait().unwrap(), 64 * MIB.0, "it was alone");
    assert_eq!(cluster.gather(others).unwrap().len(), 50);
    until_idle(&cluster);
    let now = cluster.snapshot();
    assert_eq!((now.lone, now.peak_reserved_bytes), (1, 64 * MIB.0));
    let overshoot = now.peak_reserved_bytes - 2 * ALLOWANCE;
    report(13, format_args!("12 MiB ran on loan; 64 MiB with allow_oversize ran alone, {} over", ByteSize(overshoot)));
}

#[test]
fn an_array_takes_fewer_rows_a_block_or_refuses_where_the_rows_are_given() {
    let _watchdog = Watchdog::start("fault 13, arrays");
    let cluster = cluster();
    // 160 MB of numbers: ten times what both workers may hold.
    let (rows, cols) = (20_000, 1000);
    let plan = random::uniform(rows, cols, 1, None).plan(&cluster).unwrap();
    assert!(plan.projected_bytes <= ALLOWANCE && plan.tasks > 20, "{plan:?}");
    let given = random::uniform(rows, cols, 1, Some(8192));
    let (need, allowance, _) = refused(given.plan(&cluster));
    assert!(need > allowance && allowance == ALLOWANCE);
    assert_eq!(refused(given.sum(&cluster, Over::Whole)).1, ALLOWANCE);
    // One row alone is too much: it is cut, unless rows are to be whole.
    let wide = random::uniform(4, 4 << 20, 1, None);
    assert!(wide.plan(&cluster).unwrap().projected_bytes <= ALLOWANCE);
    assert!(refused(wide.whole_rows().plan(&cluster)).0 >= 32 * MIB.0);
    assert_eq!(cluster.snapshot().started, 0, "nothing ran");
    report(
        13,
        format_args!(
            "160 MB array: {} tasks of {} in 8 MiB; blocks of 62 MiB, and whole rows of 32 MiB: TooBig",
            plan.tasks,
            ByteSize(plan.projected_bytes)
        ),
    );
}
