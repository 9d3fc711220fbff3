//! What the tests of the runtime need: small clusters, gates, counts of what a process holds, quiet panics.

use std::sync::{Condvar, Mutex, OnceLock};
use std::time::Duration;

use allotment::{ByteSize, Cluster, ClusterBuilder, Error, Future, RestartPolicy, Result, Task};

/// One mebibyte.
pub(crate) const MIB: ByteSize = ByteSize(1 << 20);

/// Starts to describe a cluster of `workers` with 16 MiB each.
pub(crate) fn of(workers: usize) -> ClusterBuilder {
    Cluster::builder().workers(workers).allowance(ByteSize(16 << 20))
}

/// Builds a cluster of `workers` with 16 MiB each.
pub(crate) fn cluster(workers: usize) -> Cluster {
    of(workers).build().unwrap()
}

/// A policy that forgives `deaths` a minute and never waits.
pub(crate) fn forgiving(deaths: u32) -> RestartPolicy {
    RestartPolicy { max_restarts: deaths, backoff: Duration::ZERO, ..Default::default() }
}

/// Starts a task of this name with a closure that runs once.
pub(crate) fn submit<T: Send + 'static>(
    cluster: &Cluster,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Future<T> {
    cluster.submit_once(Task::named(name), work).unwrap()
}

/// A door that tasks wait at until the test opens it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Waits until it is open.
    pub(crate) fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }

    /// Opens it, for good.
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Waits until something is a fact; the watchdog ends what never becomes one.
pub(crate) fn until(mut fact: impl FnMut() -> bool) {
    while !fact() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until the cluster's own tasks have all left it, and their bytes with them.
pub(crate) fn until_idle(cluster: &Cluster) {
    until(|| {
        let now = cluster.snapshot();
        let running: usize = now.workers.iter().map(|worker| worker.running.len()).sum();
        now.queued + now.waiting + running == 0 && now.reserved_bytes == 0
    });
}

/// Returns how many threads this process has.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Returns how many descriptors this process has open, without the one that counts them.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Returns a number from `/proc/self/status`, in bytes where it is in kB.
pub(crate) fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    let number: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    if line.ends_with("kB") { number * 1024 } else { number }
}

/// Returns the processor time that this process has used.
pub(crate) fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    // The kernel shows ticks of 10 ms.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// Silences the message of panics on lanes, which these tests cause by the thousand; other threads' panics are shown.
pub(crate) fn quiet_lanes() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !std::thread::current().name().is_some_and(|name| name.contains("-lane-")) {
                loud(panic);
            }
        }));
    });
}

/// Returns the message of the panic that a future was answered with.
pub(crate) fn panic_message<T: std::fmt::Debug>(answer: Result<T>) -> (Option<u64>, String) {
    match answer.unwrap_err() {
        Error::TaskPanicked { item, message, .. } => (item, message.to_string()),
        other => panic!("{other}"),
    }
}

/// Returns the value that stands at this part of the sorted list.
pub(crate) fn quantile(sorted: &[u64], part: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}
