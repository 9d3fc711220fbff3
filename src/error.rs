//! Every way a call can fail.
//!
//! One enum for the whole crate. A variant carries facts (who asked, what was found, what would do), and its
//! message says them in that order. An [`Error`] is cheap to clone, because one failure may have to answer many
//! futures. It never holds user data larger than a message.

mod build;

use std::path::Path;
use std::sync::Arc;

use crate::bytes::ByteSize;

/// The result of every call that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every way a call can fail: facts first, then what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- tasks and futures ----
    /// The task's own code panicked; other tasks are not touched.
    #[error("task {task:?}{} panicked: {message}", at_item(.item))]
    TaskPanicked {
        /// The task's name.
        task: Arc<str>,
        /// The item's place in the iterable, where the task is one of many.
        item: Option<u64>,
        /// What the panic said.
        message: Arc<str>,
    },
    /// The task's own code returned an error.
    #[error("task {task:?}{} failed: {source}", at_item(.item))]
    TaskFailed {
        /// The task's name.
        task: Arc<str>,
        /// The item's place in the iterable, where the task is one of many.
        item: Option<u64>,
        /// What it returned.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The task was cancelled, by a call or because nobody was left to read its future.
    #[error("task {task:?} was cancelled")]
    Cancelled {
        /// The task's name.
        task: Arc<str>,
    },
    /// The task's deadline passed.
    #[error(
        "task {task:?} did not finish by its deadline (noticed {late_ms} ms after it); give it more time, or let it check task_context().is_cancelled()"
    )]
    Deadline {
        /// The task's name.
        task: Arc<str>,
        /// How long after the deadline the answer came, in milliseconds.
        late_ms: u64,
    },
    /// The worker that ran the task was lost, as often as its retries allow.
    #[error(
        "task {task:?} was lost with worker {worker} ({cause}) after {attempts} attempt(s); give it retries if it may run again"
    )]
    WorkerLost {
        /// The task's name.
        task: Arc<str>,
        /// The worker it ran on.
        worker: usize,
        /// Why the worker was lost.
        cause: Arc<str>,
        /// How often the task was started.
        attempts: u32,
    },
    /// A future's value was already taken by an earlier call.
    #[error("the value of task {task:?} was already taken; use share() to read it more than once")]
    Taken {
        /// The task's name.
        task: Arc<str>,
    },
    /// Waiting for this future inside this task can never end.
    #[error("waiting would deadlock: {path}; pass the futures as declared inputs with submit_with instead")]
    WouldDeadlock {
        /// The tasks of the cycle, in the order in which they wait for each other.
        path: Arc<str>,
    },
    /// A task that others wait for inside their own tasks needs more memory than the overdraft allows.
    #[error("nested wait {path} needs {} more but only {} is left to overdraw; declare the inputs with submit_with, or raise the overdraft", ByteSize(*.need), ByteSize(*.free))]
    NestedBudget {
        /// The tasks of the wait path.
        path: Arc<str>,
        /// Bytes that the innermost task needs.
        need: u64,
        /// Bytes that may still be overdrawn.
        free: u64,
    },
    /// Tasks wait inside tasks inside tasks, too deep for one lane's stack.
    #[error("nested waits are {depth} deep; declare the inputs with submit_with instead")]
    TooDeep {
        /// How deep the waits are nested.
        depth: usize,
    },
    /// A blocking call was made on a thread that drives a tokio runtime.
    #[error(
        "{call} would block this tokio runtime; use .await, or wrap the call in allotment::blocking(|| ..) on a thread that may block"
    )]
    BlockingInAsync {
        /// The call.
        call: &'static str,
    },
    /// The queue is full and the call may not wait.
    #[error(
        "the queue is full: {queued} tasks are waiting and the limit is {limit}; try again later, or raise queue_limit"
    )]
    QueueFull {
        /// Tasks that wait.
        queued: usize,
        /// The limit on them.
        limit: usize,
    },
    /// Iterables of unequal length were mapped together.
    #[error("map needs iterables of one length, but the first has {first} items and number {which} has {found}")]
    UnequalLengths {
        /// Length of the first iterable.
        first: usize,
        /// Which iterable differs, counted from 1.
        which: usize,
        /// Its length.
        found: usize,
    },

    // ---- memory ----
    /// A task could never fit: refused before any work.
    #[error("task {task:?} needs {} but a worker may hold {}{}; {remedy}", ByteSize(*.need), ByteSize(*.allowance), together(*.allowance, *.largest))]
    TooBig {
        /// The task's name.
        task: Arc<str>,
        /// Bytes that it needs.
        need: u64,
        /// Bytes that a worker may hold.
        allowance: u64,
        /// Bytes that a task may hold when it borrows from all idle workers.
        largest: u64,
        /// What would fit.
        remedy: Arc<str>,
    },
    /// A running task asked to grow beyond its worker's room, or held more than it projected.
    #[error("task {task:?} asked for {} more but worker {worker} has {} free; project more bytes, or use smaller chunks", ByteSize(*.asked), ByteSize(*.free))]
    MemoryLimit {
        /// The task's name.
        task: Arc<str>,
        /// The worker it runs on.
        worker: usize,
        /// Bytes it asked for.
        asked: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The workers do not fit on this host.
    #[error("{workers} worker(s) of {} need {} but this host can give {} ({source_name}); use fewer workers, a smaller allowance, or overcommit(true)", ByteSize(*.allowance), ByteSize(.allowance.saturating_mul(*.workers as u64)), ByteSize(*.available))]
    Overcommit {
        /// How many workers.
        workers: usize,
        /// Each worker's allowance.
        allowance: u64,
        /// What the host can give now.
        available: u64,
        /// Where that number was read.
        source_name: Arc<str>,
    },
    /// A buffer of our own could not be allocated.
    #[error("no memory for {} ({what}); use a smaller allowance or smaller chunks", ByteSize(*.bytes))]
    OutOfMemory {
        /// What the buffer is for.
        what: Arc<str>,
        /// Its size.
        bytes: u64,
    },

    // ---- clusters ----
    /// The cluster was shut down before the task ran.
    #[error("the cluster was shut down before task {task:?} ran")]
    Shutdown {
        /// The task's name.
        task: Arc<str>,
    },
    /// The cluster failed as a whole.
    #[error("the cluster is down: {cause}")]
    ClusterDown {
        /// Why.
        cause: Arc<str>,
    },
    /// The handle was copied into a forked child, which has none of the cluster's threads.
    #[error(
        "this process is a fork of the one that built the cluster and has none of its threads; build a new cluster here"
    )]
    Forked,
    /// The program is built with `panic = "abort"`, so that one task's panic would end them all.
    #[error(
        "this program is built with panic = \"abort\", so a task's panic would end the process; build with panic = \"unwind\""
    )]
    PanicAbort,
    /// A setting of the builder is wrong.
    #[error("{setting} is {found} but must be {expected}")]
    BadSetting {
        /// The setting's name.
        setting: &'static str,
        /// What it is.
        found: Arc<str>,
        /// What it may be.
        expected: Arc<str>,
    },
    /// A thread could not be started.
    #[error("cannot start thread {name:?}: {source}; raise the limit on threads or use fewer workers")]
    Thread {
        /// The thread's name.
        name: Arc<str>,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// An actor's value is gone: it panicked more often than its restart policy allows.
    #[error("actor {actor:?} failed: {cause}")]
    ActorFailed {
        /// The actor's name.
        actor: Arc<str>,
        /// Why.
        cause: Arc<str>,
    },

    // ---- chunk files ----
    /// The file system of the spool is full.
    #[error("spool {} is full: {} needed, {} free; free some space or set another spool_dir", dir.display(), ByteSize(*.need), ByteSize(*.free))]
    SpoolFull {
        /// The spool directory.
        dir: Arc<Path>,
        /// Bytes that the chunk needs.
        need: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The spool directory cannot be used.
    #[error("spool directory {} cannot be used: {why}; set spool_dir or ALLOTMENT_SPOOL to a private directory on a disk", dir.display())]
    SpoolDir {
        /// The directory.
        dir: Arc<Path>,
        /// What is wrong with it.
        why: Arc<str>,
    },
    /// A chunk's bytes are not what was sealed.
    #[error("chunk {chunk} of {} is damaged at byte {offset}: expected {expected}, found {found}; the disk, or another program, changed it", file.display())]
    ChunkDamaged {
        /// The chunk file, or the directory of nameless ones.
        file: Arc<Path>,
        /// The chunk's number.
        chunk: u64,
        /// Where in the chunk.
        offset: u64,
        /// What was sealed.
        expected: Arc<str>,
        /// What is there.
        found: Arc<str>,
    },
    /// A read or write failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `read`, `write`.
        what: &'static str,
        /// The file.
        path: Arc<Path>,
        /// What the system said.
        source: Arc<std::io::Error>,
    },

    // ---- arrays, factorisations, formats ----
    /// Shapes do not meet.
    #[error("{operation}: shapes {left:?} and {right:?} do not meet; {expected}")]
    ShapeMismatch {
        /// The operation.
        operation: &'static str,
        /// The one shape.
        left: (u64, u64),
        /// The other.
        right: (u64, u64),
        /// What would do.
        expected: Arc<str>,
    },
    /// An index is outside its axis.
    #[error("{operation}: index {index} is out of range for an axis of length {len}")]
    OutOfRange {
        /// The operation.
        operation: &'static str,
        /// The index.
        index: u64,
        /// The axis' length.
        len: u64,
    },
    /// An argument makes no sense for this input.
    #[error("{operation}: {argument} is {found} but must be {expected}")]
    BadArgument {
        /// The operation.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// What was given.
        found: Arc<str>,
        /// What would do.
        expected: Arc<str>,
    },
    /// A value is NaN or infinite where the algorithm needs finite ones.
    #[error("{operation}: value {value} at row {row}, column {col}; remove or replace it first")]
    NonFinite {
        /// The operation.
        operation: &'static str,
        /// Its row in the matrix.
        row: u64,
        /// Its column.
        col: u64,
        /// The value.
        value: f64,
    },
    /// A file is not what its format promises.
    #[error("{}: {place}: expected {expected}, found {found}", path.display())]
    BadInput {
        /// The file.
        path: Arc<Path>,
        /// Where in it: a byte offset, a data set's name.
        place: Arc<str>,
        /// What the format asks for.
        expected: Arc<str>,
        /// What is there.
        found: Arc<str>,
    },
    /// A sound file that holds something this version does not read, or a call this scheduler cannot do.
    #[error("{what} is not supported: {instead}")]
    Unsupported {
        /// What was asked.
        what: Arc<str>,
        /// What to do instead.
        instead: Arc<str>,
    },
    /// An iteration ended without an answer.
    #[error(
        "{operation} did not converge after {iterations} iterations{}", reached(.residual, *.tolerance)
    )]
    NoConvergence {
        /// The algorithm.
        operation: &'static str,
        /// Iterations done.
        iterations: usize,
        /// The residual reached, where it is known.
        residual: Option<f64>,
        /// The residual asked for.
        tolerance: f64,
    },
}

/// Array tasks stay within one worker; others may borrow from all.
fn together(allowance: u64, largest: u64) -> String {
    if largest == allowance { String::new() } else { format!(", and all together {}", ByteSize(largest)) }
}

fn reached(residual: &Option<f64>, tolerance: f64) -> String {
    let say = |residual| {
        format!(": residual {residual:e}, asked for {tolerance:e}; allow more iterations or a larger tolerance")
    };
    residual.map(say).unwrap_or_default()
}

fn at_item(item: &Option<u64>) -> String {
    item.map(|i| format!(" item {i}")).unwrap_or_default()
}
