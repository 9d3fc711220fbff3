//! A task: work that runs on a lane, what it may ask while it runs, and how it ends.
//!
//! User code runs in one place, [`caught`], which moves the closure inside `catch_unwind`, so that what the closure owns
//! is dropped inside it too; the panic's payload is dropped inside a second one. A panic is that task's error.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::budget::Reservation;
use super::core::{LaneId, TaskId};
use super::hub::Hub;
use super::report::RunLog;
use crate::bytes::ByteSize;
use crate::error::{Error, Result};
use crate::store::Store;

/// Settings of a task: a name, a priority, how often it may run again, the bytes it will hold, a deadline.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, Task};
/// use std::time::Duration;
/// let cluster = Cluster::builder().workers(2).build()?;
/// let task = Task::named("index").priority(5).projected("64MiB".parse()?).deadline(Duration::from_secs(30));
/// let future = cluster.submit_task(task, || 40 + 2)?;
/// assert_eq!(future.wait()?, 42);
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Task {
    pub(crate) name: Arc<str>,
    pub(crate) priority: i32,
    pub(crate) retries: u32,
    pub(crate) projected: u64,
    pub(crate) deadline: Option<Duration>,
    pub(crate) worker: Option<usize>,
    pub(crate) oversize: bool,
}

impl Default for Task {
    fn default() -> Self {
        thread_local! {
            static UNNAMED: Arc<str> = Arc::from("task");
        }
        Task {
            name: UNNAMED.with(Arc::clone),
            priority: 0,
            retries: 0,
            projected: 0,
            deadline: None,
            worker: None,
            oversize: false,
        }
    }
}

impl Task {
    /// Names the task; errors, counters and the dashboard show the name.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Task { name: name.into(), ..Task::default() }
    }

    /// Lets it start before queued tasks of a lower priority; the default is 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Lets it start again this often when its worker is lost or its code panics. It may then run more than once.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Says how many bytes it will hold at most; they are reserved before it starts. The default is 0.
    pub fn projected(mut self, bytes: ByteSize) -> Self {
        self.projected = bytes.0;
        self
    }

    /// Answers its future with [`Error::Deadline`] when it has not ended this long after it was submitted.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Runs it on this worker only, as long as the cluster has it.
    pub fn on_worker(mut self, worker: usize) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Lets it need more than all workers may hold together; it then runs with no other granted task beside it.
    pub fn allow_oversize(mut self) -> Self {
        self.oversize = true;
        self
    }
}

/// How a run of a job ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its futures are answered.
    Done,
    /// It did a part and wants to go on later.
    Again,
    /// Its code panicked; its future is answered unless a retry is left.
    Failed(Error),
}

/// What every job shares with its futures: its id, and whether it should stop.
#[derive(Debug, Default)]
pub(crate) struct Control {
    task: AtomicU64,
    stop: AtomicBool,
}

impl Control {
    pub(crate) fn task(&self) -> Option<TaskId> {
        TaskId::from_u64(self.task.load(Ordering::Acquire))
    }

    pub(crate) fn set_task(&self, id: TaskId) {
        self.task.store(id.as_u64(), Ordering::Release);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Work that a lane runs. Shared by the core's table and the lane that runs it.
pub(crate) trait Job: Send + Sync {
    /// Runs user code on a lane; never unwinds.
    fn run(&self, name: &Arc<str>) -> Outcome;
    /// Answers every future that has no answer yet, and drops the code that will not run.
    fn fail(&self, error: &Error);
    /// What it shares with its futures.
    fn control(&self) -> &Control;
}

/// Runs user code; a panic becomes the error of this task.
pub(crate) fn caught<R>(task: &Arc<str>, item: Option<u64>, code: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
        let message = message_of(payload.as_ref());
        discard(payload);
        Error::TaskPanicked { task: task.clone(), item, message }
    })
}

/// Runs user code over many items; a panic names the item that `code` had noted last.
pub(crate) fn caught_at<R>(task: &Arc<str>, code: impl FnOnce(&Cell<Option<u64>>) -> R) -> Result<R> {
    let at = Cell::new(None);
    caught(task, None, || code(&at)).map_err(|error| match error {
        Error::TaskPanicked { task, message, .. } => Error::TaskPanicked { task, item: at.get(), message },
        other => other,
    })
}

/// Drops something of the user's, whose `Drop` may panic. A second panic, of that panic's payload, is let go unseen.
pub(crate) fn discard(value: impl Any) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(value)))
        && let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload)))
    {
        std::mem::forget(again);
    }
}

fn message_of(payload: &(dyn Any + Send)) -> Arc<str> {
    if let Some(text) = payload.downcast_ref::<&str>() {
        Arc::from(*text)
    } else if let Some(text) = payload.downcast_ref::<String>() {
        Arc::from(text.as_str())
    } else {
        Arc::from("a value that is no text")
    }
}

thread_local! {
    /// The tasks that run on this thread, the innermost last, each with the bytes that it was granted.
    static CURRENT: RefCell<Vec<(TaskContext, Option<Reservation>)>> = const { RefCell::new(Vec::new()) };
}

/// Returns what the task that runs on this thread may ask; `None` outside of tasks.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, task_context};
/// let cluster = Cluster::builder().workers(2).build()?;
/// let future = cluster.submit(|| {
///     let mut n = 0u64;
///     while n < 1000 && !task_context().is_some_and(|context| context.is_cancelled()) {
///         n += 1;
///     }
///     n
/// })?;
/// assert_eq!(future.wait()?, 1000);
/// assert!(task_context().is_none());
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn task_context() -> Option<TaskContext> {
    // A thread that is ending may ask too, when it drops what it held: by then it runs no task.
    CURRENT.try_with(|current| current.borrow().last().map(|(context, _)| context.clone())).ok().flatten()
}

/// Reads the innermost task's context where it is.
pub(crate) fn with_context<R>(read: impl FnOnce(&TaskContext) -> Option<R>) -> Option<R> {
    CURRENT.try_with(|current| current.borrow().last().and_then(|(context, _)| read(context))).ok().flatten()
}

/// Runs `body` as the innermost task of this thread, and gives its bytes back when it ends, however it ends.
pub(crate) fn within<R>(context: TaskContext, grant: Option<Reservation>, body: impl FnOnce() -> R) -> R {
    struct Innermost;
    impl Drop for Innermost {
        fn drop(&mut self) {
            drop(CURRENT.try_with(|current| current.borrow_mut().pop()));
        }
    }
    CURRENT.with(|current| current.borrow_mut().push((context, grant)));
    let _innermost = Innermost;
    body()
}

/// Takes bytes out of the grant of the task that runs on this thread, for something that outlives the task: they stay
/// reserved until they are dropped. `None` where nothing was granted.
pub(crate) fn keep(bytes: u64) -> Option<Reservation> {
    let split = |(_, grant): &mut (TaskContext, Option<Reservation>)| grant.as_mut().map(|grant| grant.split(bytes));
    CURRENT.with(|current| current.borrow_mut().last_mut().and_then(split)).filter(|kept| kept.bytes() > 0)
}

/// What a running task can ask.
#[derive(Clone)]
pub struct TaskContext {
    pub(crate) hub: Arc<Hub>,
    pub(crate) job: Arc<dyn Job>,
    pub(crate) name: Arc<str>,
    pub(crate) worker: usize,
    /// `None` under `Scheduler::Serial`.
    pub(crate) lane: Option<LaneId>,
    /// How often it may start again.
    pub(crate) retries_left: u32,
    /// The run over blocks that the task works for, where it does.
    pub(crate) run: Option<Arc<RunLog>>,
}

impl std::fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskContext").field("task", &self.name).field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl TaskContext {
    /// Returns whether nobody waits for this task any more: it was cancelled, or its deadline passed.
    pub fn is_cancelled(&self) -> bool {
        self.job.control().is_stopped()
    }

    /// Returns an error once the task is cancelled; built-in kernels ask per block.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled { task: self.name.clone() }) } else { Ok(()) }
    }

    /// Returns the task's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of the worker that runs this task.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Returns the chunk store of the worker that runs this task.
    ///
    /// # Errors
    ///
    /// [`Error::SpoolDir`] and [`Error::Io`] when the spool cannot be used.
    pub fn store(&self) -> Result<Store> {
        self.hub.store(self.worker)
    }

    /// Notes bytes that were read for a block of an array: the run's report shows their sum.
    pub(crate) fn note_read(&self, bytes: u64) {
        if let Some(run) = &self.run {
            run.note_read(bytes);
        }
    }

    /// Takes more bytes than were projected, at once or not at all: a running task never waits for memory. Dropping the
    /// reservation gives them back.
    ///
    /// # Errors
    ///
    /// [`Error::MemoryLimit`] with what is free, when the worker has no room.
    pub fn grow(&self, bytes: ByteSize) -> Result<Reservation> {
        self.hub.grow(self, bytes.0)
    }
}
