//! 41: used inside tokio, on each of its runtimes: awaiting works, blocking is refused, timers ring in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use allotment::{Blocks, Cluster, Error, Result, blocking};
use tokio::runtime::Builder;

use crate::cluster::{Gate, cluster, quantile, submit};
use crate::common::{Watchdog, report};

/// How many forms that block are tried.
const N_BLOCKING: usize = 10;

fn refused<T>(answer: Result<T>) {
    assert!(matches!(answer, Err(Error::BlockingInAsync { .. })));
}

/// Every form that blocks says so, and the tasks it was asked about are not harmed.
async fn blocking_is_refused(cluster: &Cluster) -> usize {
    let gate = Arc::new(Gate::default());
    let inside = gate.clone();
    let mut held = submit(cluster, "held", move || inside.pass());
    refused(held.wait_timeout(Duration::from_secs(1)).unwrap());
    refused(cluster.wait_any(std::slice::from_ref(&held), None));
    refused(cluster.wait_all(std::slice::from_ref(&held), None));
    gate.open();
    held.await.unwrap();
    let (gate, shared) =
        (Arc::new(Gate::default()), |gate: Arc<Gate>| submit(cluster, "shared", move || gate.pass()).share());
    let shared = shared(gate.clone());
    refused(shared.wait());
    refused(shared.wait_timeout(Duration::from_secs(1)).unwrap());
    gate.open();
    shared.await.unwrap();
    let slow = || {
        let gate = Arc::new(Gate::default());
        let inside = gate.clone();
        (cluster.map(move |_: u32| inside.pass(), 0..4).unwrap(), gate)
    };
    let (futures, gate) = slow();
    refused(cluster.gather(futures));
    gate.open();
    let (futures, gate) = slow();
    refused(cluster.gather_all(futures));
    gate.open();
    let (futures, gate) = slow();
    cluster.as_completed(futures).for_each(|(_, answer)| refused(answer));
    gate.open();
    let (gate, blocks) = (Arc::new(Gate::default()), Blocks { n: 1000, ..Blocks::named("blocks") });
    let inside = gate.clone();
    refused(cluster.map_blocks(&blocks, move |_, _| {
        inside.pass();
        Ok(())
    }));
    gate.open();
    refused(cluster.shutdown(Duration::ZERO));
    N_BLOCKING
}

/// What works everywhere: awaiting one, many, shared ones, room in a full queue; and leaving without a wait.
async fn awaiting_works() {
    let cluster = Cluster::builder().workers(2).queue_limit(8).build().unwrap();
    assert_eq!(blocking_is_refused(&crate::cluster::cluster(2)).await, N_BLOCKING);
    assert_eq!(cluster.submit(|| 42).unwrap().await.unwrap(), 42);
    let mut sum = 0;
    for i in 0..100u64 {
        let future = cluster.submit_async(move || i).await.unwrap();
        sum += future.await.unwrap();
    }
    let waiting: Vec<_> = (0..100u64)
        .map(|i| {
            let cluster = cluster.clone();
            async move { cluster.submit_async(move || i).await.unwrap().await.unwrap() }
        })
        .collect();
    for one in waiting {
        sum += one.await;
    }
    assert_eq!(sum, 2 * 4950);
    let shared = cluster.submit(|| vec![1, 2, 3]).unwrap().share();
    assert_eq!(shared.clone().await.unwrap().len() + shared.await.unwrap().len(), 6);
    let future = cluster.submit(|| 5).unwrap();
    let answer = tokio::task::spawn_blocking(move || blocking(|| future.wait())).await;
    assert_eq!(answer.unwrap().unwrap(), 5);
    let running = cluster.submit(|| std::thread::sleep(Duration::from_millis(30))).unwrap();
    running.detach();
    // The last handle goes on this thread, which must not wait for the task.
    let start = Instant::now();
    drop(cluster);
    assert!(start.elapsed() < Duration::from_millis(25), "dropping waited for a task");
}

/// Sleeps a millisecond at a time while the cluster works, and returns by how much each sleep was late, in µs.
async fn delays_beside_work() -> Vec<u64> {
    let cluster = cluster(1);
    let work = cluster.map(|seed: u64| (0..2000).fold(seed, |sum, i| std::hint::black_box(sum ^ i)), 0..5000).unwrap();
    let mut late_us = Vec::new();
    let mut work = work.into_iter();
    for _ in 0..300 {
        let start = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        late_us.push((start.elapsed().saturating_sub(Duration::from_millis(1))).as_micros() as u64);
        for future in work.by_ref().take(10) {
            future.await.unwrap();
        }
    }
    late_us
}

#[test]
fn every_tokio_runtime_can_await_and_none_is_blocked() {
    let _watchdog = Watchdog::start("fault 41");
    let current = Builder::new_current_thread().enable_all().build().unwrap();
    let many = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    current.block_on(awaiting_works());
    many.block_on(awaiting_works());
    many.block_on(async { tokio::spawn(awaiting_works()).await.unwrap() });
    let local = tokio::task::LocalSet::new();
    local.block_on(&current, async { tokio::task::spawn_local(awaiting_works()).await.unwrap() });
    let mut late_us = current.block_on(delays_beside_work());
    late_us.sort_unstable();
    let (p50, p99) = (quantile(&late_us, 0.5), quantile(&late_us, 0.99));
    // tokio itself rounds up to its next millisecond; the rest of the bound is for a machine that runs other tests.
    assert!(p50 < 5_000, "the caller's timers are {p50} us late");
    report(
        41,
        format_args!(
            "current-thread, multi-thread, spawned, LocalSet: all awaited, {N_BLOCKING} blocking calls refused typed; caller's timers late by p50 {p50} us, p99 {p99} us"
        ),
    );
}
