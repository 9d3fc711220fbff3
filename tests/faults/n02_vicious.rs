//! 2: panics that strike where code usually does not expect them. What can be contained is; the rest is the abort that
//! Rust itself defines.

use std::panic::panic_any;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use allotment::{Cluster, Error, Task};

use crate::cluster::{Gate, cluster, quiet_lanes, submit, threads, until, until_idle};
use crate::common::{Watchdog, child_case, ended_by, report, run_child};

/// A value that panics when it is dropped, so many times over.
struct Bomb(u32);

impl Bomb {
    /// Code that asks for it holds all of it.
    fn size(&self) -> u32 {
        self.0
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 == 0 {
            panic!("a value panicked when it was dropped");
        }
        panic_any(Bomb(self.0 - 1));
    }
}

struct BadWaker;

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker panicked");
    }
}

/// Asks with a waker that panics when it is woken.
fn poll_badly<T>(future: &mut (impl Future<Output = T> + Unpin)) {
    let waker = Waker::from(Arc::new(BadWaker));
    assert!(std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker)).is_pending());
}

/// A name, and what is done to a cluster that must be whole afterwards.
type Case = (&'static str, fn(&Cluster));

const CONTAINED: [Case; 9] = [
    ("payload", |cluster| {
        let lost = submit(cluster, "bad", || panic_any(Bomb(0)));
        assert!(matches!(lost.wait(), Err(Error::TaskPanicked { .. })));
    }),
    ("payload of a payload", |cluster| {
        let lost = submit(cluster, "bad", || panic_any(Bomb(3)));
        assert!(matches!(lost.wait(), Err(Error::TaskPanicked { .. })));
    }),
    ("capture of code that ran once", |cluster| {
        let bomb = Bomb(0);
        let lost = submit(cluster, "bad", move || drop(bomb));
        assert!(matches!(lost.wait(), Err(Error::TaskPanicked { .. })));
    }),
    ("capture of code that may run again", |cluster| {
        let bomb = Bomb(1);
        assert_eq!(cluster.submit_task(Task::named("bad"), move || bomb.size()).unwrap().wait().unwrap(), 1);
    }),
    ("capture of code that never ran", |cluster| {
        let gate = Arc::new(Gate::default());
        let held: Vec<_> =
            (0..2).map(|_| gate.clone()).map(|gate| submit(cluster, "held", move || gate.pass())).collect();
        let (bomb, other) = (Bomb(1), Bomb(1));
        let never = submit(cluster, "never", move || drop(bomb));
        let again = cluster.submit_task(Task::named("never"), move || other.size()).unwrap();
        assert!(never.cancel() && again.cancel());
        gate.open();
        cluster.gather(held).unwrap();
    }),
    ("capture, when its deadline passes", |cluster| {
        let gate = Arc::new(Gate::default());
        let held: Vec<_> =
            (0..2).map(|_| gate.clone()).map(|gate| submit(cluster, "held", move || gate.pass())).collect();
        let bomb = Bomb(1);
        let late = Task::named("late").deadline(Duration::from_millis(1));
        let late = cluster.submit_task(late, move || bomb.size()).unwrap();
        assert!(matches!(late.wait(), Err(Error::Deadline { .. })));
        gate.open();
        cluster.gather(held).unwrap();
    }),
    ("value that nobody reads", |cluster| {
        submit(cluster, "unread", || Bomb(1)).detach();
        until_idle(cluster);
    }),
    ("the last handle of a cluster", |_| {
        let (before, start) = (threads(), Instant::now());
        let inner = cluster(1);
        let (gate, handle) = (Arc::new(Gate::default()), inner.clone());
        let inside = gate.clone();
        let task = Task::named("owner");
        let owner = inner.submit_task(task, move || {
            inside.pass();
            handle.allowance()
        });
        drop(inner);
        gate.open();
        assert_eq!(owner.unwrap().wait().unwrap(), 16 << 20);
        // The lane that dropped it must not wait for itself, which would take all of the grace.
        until(|| threads() == before);
        assert!(start.elapsed() < Duration::from_secs(10));
    }),
    ("waker", |cluster| {
        let gate = Arc::new(Gate::default());
        let inside = gate.clone();
        let mut shared = submit(cluster, "watched", move || inside.pass()).share();
        poll_badly(&mut shared);
        let readers: Vec<_> =
            (0..3).map(|_| shared.clone()).map(|one| std::thread::spawn(move || one.wait())).collect();
        gate.open();
        readers.into_iter().for_each(|reader| assert!(reader.join().unwrap().is_ok()));
    }),
];

struct Unwinder(#[expect(dead_code, reason = "its Drop is what counts")] Bomb);

thread_local! {
    static AT_THE_END: std::cell::RefCell<Option<Bomb>> = const { std::cell::RefCell::new(None) };
}

const ABORTED: [Case; 3] = [
    ("drop while unwinding", |cluster| {
        let lost = submit(cluster, "bad", || {
            let _held = Unwinder(Bomb(0));
            panic!("the first");
        });
        drop(lost.wait());
    }),
    ("destructor of a thread-local", |cluster| {
        let planted = submit(cluster, "bad", || AT_THE_END.with(|bomb| *bomb.borrow_mut() = Some(Bomb(0))));
        planted.wait().unwrap();
        drop(cluster.shutdown(Duration::from_secs(10)));
    }),
    ("panic hook", |cluster| {
        std::panic::set_hook(Box::new(|_| panic!("the hook panicked")));
        drop(submit(cluster, "bad", || panic!("the first")).wait());
    }),
];

fn run_case(case: &str) {
    let cases = CONTAINED.iter().chain(&ABORTED);
    let (_, code) = cases.into_iter().find(|(name, _)| *name == case).unwrap();
    let cluster = cluster(2);
    code(&cluster);
    // What is left must be whole: both lanes run, nothing died.
    let sums = cluster.map(|i: u64| i * 2, 0..1000).unwrap();
    assert_eq!(cluster.gather(sums).unwrap().iter().sum::<u64>(), 999_000);
    until(|| cluster.snapshot().workers.iter().all(|worker| worker.lanes == 1));
    assert_eq!(cluster.snapshot().restarts, 0, "{case}");
}

#[test]
fn vicious_panics_are_contained_or_abort_as_documented() {
    const NAME: &str = "n02_vicious::vicious_panics_are_contained_or_abort_as_documented";
    let _watchdog = Watchdog::start("fault 2");
    if let Some(case) = child_case() {
        quiet_lanes();
        return run_case(&case);
    }
    for (case, _) in CONTAINED {
        let output = run_child(NAME, case);
        assert!(output.status.success(), "{case}: {:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    for (case, _) in ABORTED {
        assert_eq!(ended_by(&run_child(NAME, case)), Some(libc::SIGABRT), "{case}");
    }
    let names = |cases: &[Case]| cases.iter().map(|case| case.0).collect::<Vec<_>>().join(", ");
    report(2, format_args!("contained: {}; aborted, as Rust defines: {}", names(&CONTAINED), names(&ABORTED)));
}
