//! 9: lanes' threads die outside of every catch, with tasks, packs and declared inputs on them.

use std::time::Instant;

use allotment::{Error, Task};

use crate::cluster::{MIB, forgiving, of, until, until_idle};
use crate::common::{Watchdog, report};

const DEATHS: usize = 200;
const TASKS: u64 = 2000;

#[test]
fn a_lane_that_dies_leaves_no_future_and_no_byte_behind() {
    let _watchdog = Watchdog::start("fault 9");
    let cluster = of(2).lanes(2).restart_policy(forgiving(DEATHS as u32 * 2)).build().unwrap();
    let start = Instant::now();
    let mut futures = Vec::new();
    for i in 0..TASKS {
        if i.is_multiple_of(TASKS / DEATHS as u64) {
            cluster.chaos().kill_lanes(1);
        }
        let task = Task::named("held").projected(MIB).retries(u32::from(i.is_multiple_of(2)) * 50);
        futures.push(cluster.submit_task(task, move || i).unwrap());
    }
    let (mut lost, mut well) = (0, 0);
    for (i, future) in (0..).zip(futures) {
        match future.wait() {
            Ok(value) => {
                assert_eq!(value, i);
                well += 1;
            }
            Err(Error::WorkerLost { .. }) if !i.is_multiple_of(2) => lost += 1,
            Err(other) => panic!("task {i}: {other}"),
        }
    }
    // A pack's items are all answered, and what waits for a lost task runs and is told.
    while cluster.snapshot().restarts < DEATHS as u64 {
        let pack = cluster.map(|i: u64| i, 0..100).unwrap();
        let lost_or_well = cluster.gather_all(pack).unwrap();
        assert!(lost_or_well.iter().all(|one| matches!(one, Ok(_) | Err(Error::WorkerLost { .. }))));
    }
    cluster.chaos().kill_lanes(1);
    let input = cluster.submit(|| 7).unwrap();
    let after = cluster.submit_with(input, |seven| seven + 1).unwrap();
    assert!(matches!(after.wait(), Err(Error::WorkerLost { .. })));
    let took_ms = start.elapsed().as_millis();
    until_idle(&cluster);
    until(|| cluster.snapshot().workers.iter().all(|worker| worker.lanes == 2));
    let now = cluster.snapshot();
    assert_eq!((now.restarts as usize, well + lost), (DEATHS + 1, TASKS));
    assert!(lost > 0 && now.retried > 0);
    report(
        9,
        format_args!(
            "{} lanes died: hung 0, lost {lost}, run again {}, bytes leaked 0, lanes back 4 of 4; {took_ms} ms",
            now.restarts, now.retried
        ),
    );
}
