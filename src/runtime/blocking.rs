//! Waiting on a thread that is not ours, without harm to whoever owns it.
//!
//! A blocking wait parks the thread. On a thread that drives a tokio runtime that would stop other people's tasks, so it
//! is refused with a typed error, unless the caller says that this thread may block. Nothing of ours calls `block_on`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body`, in which blocking calls are allowed although the thread belongs to a tokio runtime: inside
/// `spawn_blocking` or `block_in_place`, say.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
/// let cluster = allotment::Cluster::builder().workers(2).build()?;
/// let future = cluster.submit(|| 6 * 7)?;
/// let answer = tokio::task::spawn_blocking(move || allotment::blocking(|| future.wait())).await;
/// assert_eq!(answer.expect("no panic")?, 42);
/// # Ok::<(), allotment::Error>(()) }).expect("an answer");
/// ```
pub fn blocking<R>(body: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            MAY_BLOCK.with(|may| may.set(self.0));
        }
    }
    let _restore = Restore(MAY_BLOCK.with(|may| may.replace(true)));
    body()
}

/// Returns whether this thread drives somebody's async runtime.
pub(crate) fn is_async() -> bool {
    !MAY_BLOCK.with(Cell::get) && tokio::runtime::Handle::try_current().is_ok()
}

/// Refuses a blocking call on a thread that drives an async runtime.
pub(crate) fn allowed(call: &'static str) -> Result<()> {
    if is_async() { Err(Error::BlockingInAsync { call }) } else { Ok(()) }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static THIS_THREAD: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
}

/// Calls `ready` with a waker of this thread until it gives an answer, sleeping in between; `None` after `until`.
pub(crate) fn park_until<R>(until: Option<Instant>, mut ready: impl FnMut(&Waker) -> Option<R>) -> Option<R> {
    THIS_THREAD.with(|waker| {
        loop {
            if let Some(answer) = ready(waker) {
                return Some(answer);
            }
            if !park(until) {
                return ready(waker);
            }
        }
    })
}

/// Sleeps until somebody unparks this thread; `false` when the time was over before.
pub(crate) fn park(until: Option<Instant>) -> bool {
    match until {
        None => std::thread::park(),
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
    }
    true
}

/// How long a thread looks again before it sleeps: a wake-up costs 5 to 40 µs, most answers come sooner.
const SPIN: Duration = Duration::from_micros(25);

/// How often it looks while it keeps the core to itself, each time after a pause twice as long, in all about 2 µs.
const GREEDY_LOOKS: u32 = 7;

/// Looks again for a moment: for the short waits between a submitter and a lane. On one core there is nobody to wait for.
///
/// Pauses grow, because each look takes the cache line that the other thread is about to write. Where more threads want to
/// run than there are cores, the one that is waited for may need this very core, and a thread that holds on to it only
/// waits longer; so after the first looks it yields.
pub(crate) fn spin<R>(mut ready: impl FnMut() -> Option<R>) -> Option<R> {
    if cores() < 2 {
        return None;
    }
    for look in 0..GREEDY_LOOKS {
        if let Some(answer) = ready() {
            return Some(answer);
        }
        (0..1 << look).for_each(|_| std::hint::spin_loop());
    }
    let start = Instant::now();
    while start.elapsed() < SPIN {
        std::thread::yield_now();
        if let Some(answer) = ready() {
            return Some(answer);
        }
    }
    None
}

/// Returns how many cores this process may use.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}
