//! 8: a worker's actor fails while 1,000 tasks are pending, some of them running on it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use allotment::{Error, Future, Task, task_context};

use crate::cluster::{Gate, of, until, until_idle};
use crate::common::{Watchdog, report};

const TASKS: usize = 1000;
const LANES: usize = 4;

#[test]
fn running_tasks_of_a_dead_worker_are_lost_or_run_again_and_queued_ones_move() {
    let _watchdog = Watchdog::start("fault 8");
    let cluster = of(2).lanes(LANES).build().unwrap();
    let gate = Arc::new(Gate::default());
    let running = Arc::new(Mutex::new(Vec::new()));
    let attempts = Arc::new(AtomicUsize::new(0));
    // Every second one may run again.
    let task = |i: usize| {
        let (gate, running, attempts) = (gate.clone(), running.clone(), attempts.clone());
        let task = Task::named("pending").retries(u32::from(i.is_multiple_of(2)));
        let code = move || {
            attempts.fetch_add(1, SeqCst);
            running.lock().unwrap().push((i, task_context().unwrap().worker()));
            gate.pass();
            i
        };
        cluster.submit_task(task, code).unwrap()
    };
    let futures: Vec<Future<usize>> = (0..TASKS).map(task).collect();
    until(|| running.lock().unwrap().len() == 2 * LANES);
    let on_worker_0: Vec<usize> =
        running.lock().unwrap().iter().filter(|(_, worker)| *worker == 0).map(|(i, _)| *i).collect();
    let expected_lost: Vec<usize> = on_worker_0.iter().copied().filter(|i| !i.is_multiple_of(2)).collect();
    assert_eq!(on_worker_0.len(), LANES);
    let start = Instant::now();
    cluster.chaos().kill_worker(0);
    until(|| expected_lost.iter().all(|i| futures[*i].is_ready()) && cluster.snapshot().restarts == 1);
    let verdict_ms = start.elapsed().as_secs_f64() * 1e3;
    // The gate is still closed: the verdict does not wait for code that cannot be stopped.
    gate.open();
    let mut lost = Vec::new();
    for (i, future) in futures.into_iter().enumerate() {
        match future.wait() {
            Ok(value) => assert_eq!(value, i),
            Err(Error::WorkerLost { worker: 0, attempts: 1, .. }) => lost.push(i),
            Err(other) => panic!("{other}"),
        }
    }
    let mut expected = expected_lost;
    expected.sort_unstable();
    assert_eq!(lost, expected);
    until_idle(&cluster);
    until(|| cluster.snapshot().workers.iter().all(|worker| worker.up && worker.lanes == LANES));
    let now = cluster.snapshot();
    let re_run = LANES - lost.len();
    assert_eq!((now.retried as usize, now.restarts, now.workers.len()), (re_run, 1, 2));
    assert_eq!(attempts.load(SeqCst), TASKS + re_run);
    report(
        8,
        format_args!(
            "{TASKS} pending: re-run {re_run}, lost {}, hung 0; {verdict_ms:.1} ms to the verdict",
            lost.len()
        ),
    );
}
