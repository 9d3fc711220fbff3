//! 10: workers die as often as they are started: in their first task, or in the start itself.

use std::time::{Duration, Instant};

use allotment::{Cluster, Error, Future, RestartPolicy, Task};

use crate::cluster::{of, processor_time, quiet_lanes, until};
use crate::common::{Watchdog, child_case, report, told_by_child};

const PENDING: usize = 100;

fn build() -> Cluster {
    let policy = RestartPolicy { max_restarts: 3, within: Duration::from_secs(5), ..Default::default() };
    of(2).restart_policy(policy).build().unwrap()
}

fn pending(cluster: &Cluster) -> Vec<Future<usize>> {
    let task = |i| cluster.submit_task(Task::named("stubborn").retries(1000), move || i).unwrap();
    (0..PENDING).map(task).collect()
}

/// Waits until the cluster is down, and returns how often a worker was started again, and the CPU share meanwhile.
fn verdict(cluster: &Cluster, futures: Vec<Future<usize>>) -> String {
    let (start, cpu) = (Instant::now(), processor_time());
    let down = futures.into_iter().filter(|_| true).map(Future::wait);
    let refused = down.filter(|answer| matches!(answer, Err(Error::ClusterDown { .. }))).count();
    let (took, busy) = (start.elapsed(), processor_time() - cpu);
    assert!(refused > 0 && matches!(cluster.submit(|| 1), Err(Error::ClusterDown { .. })));
    let restarts = cluster.snapshot().restarts;
    // Two workers, three forgiven deaths each, and the fourth that was not.
    assert!(restarts <= 8, "{restarts} restarts");
    let share = busy.as_secs_f64() / took.as_secs_f64() * 100.0;
    format!("{restarts} deaths, {} ms to ClusterDown at {share:.0} % of a core", took.as_millis())
}

fn in_first_task() -> String {
    let cluster = build();
    cluster.chaos().kill_lanes(1_000_000);
    let futures = pending(&cluster);
    verdict(&cluster, futures)
}

fn in_start() -> String {
    let cluster = build();
    cluster.chaos().fail_starts(1_000_000);
    cluster.chaos().kill_worker(0);
    cluster.chaos().kill_worker(1);
    until(|| cluster.snapshot().restarts >= 2 || cluster.workers() == 0);
    let futures = pending(&cluster);
    verdict(&cluster, futures)
}

/// One of two fails for good; the other takes over what it had queued.
fn one_of_two() -> String {
    let cluster = build();
    for deaths in 1..=4 {
        until(|| cluster.snapshot().workers.iter().any(|worker| worker.worker == 0 && worker.up));
        cluster.chaos().kill_worker(0);
        until(|| cluster.snapshot().restarts == deaths);
    }
    until(|| cluster.workers() == 1);
    let sum: usize = cluster.gather(pending(&cluster)).unwrap().into_iter().sum();
    assert_eq!(sum, PENDING * (PENDING - 1) / 2);
    "1 of 2 workers given up after 4 deaths, its queue served by the other".into()
}

#[test]
fn a_restart_storm_ends_in_a_verdict() {
    const NAME: &str = "n10_storm::a_restart_storm_ends_in_a_verdict";
    let _watchdog = Watchdog::start("fault 10");
    if let Some(case) = child_case() {
        quiet_lanes();
        let figure = match &*case {
            "first task" => in_first_task(),
            "start" => in_start(),
            _ => one_of_two(),
        };
        println!("figure: {figure}");
        return;
    }
    for case in ["first task", "start", "one of two"] {
        report(10, format_args!("{case}: {}", told_by_child(NAME, case, "figure:")));
    }
}
