//! The reading end of a task's result.
//!
//! ```text
//!   pending ──▶ running ──▶ finished | failed | cancelled          answered exactly once, whatever dies
//! ```
//!
//! A [`Future`] is waited for ([`Future::wait`]), awaited (`.await`), polled ([`Future::try_get`]), shared
//! ([`Future::share`]), cancelled, or dropped, which cancels what nobody else reads. Many futures of one `map` lie in one
//! block of cells, so that an item costs a slot and not an allocation.
//!
//! Always true: a value lives as long as some handle can read it; no future waits for a notifier that could die, because
//! the core answers every task whose lane, worker or cluster is gone.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::hub::{Hub, lock};
use super::promise::Cells;
use super::task::Control;
use crate::error::Result;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FutureState {
    /// It has not started: it waits for its inputs or for a lane.
    Pending,
    /// A lane runs it.
    Running,
    /// It ended with a value.
    Finished,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// The reading end of a task's result. Dropping it cancels the task, unless it was shared or detached.
///
/// # Examples
///
/// ```
/// let cluster = allotment::Cluster::builder().workers(2).build()?;
/// let future = cluster.submit(|| 6 * 7)?;
/// assert_eq!(future.wait()?, 42);
/// # Ok::<(), allotment::Error>(())
/// ```
#[must_use = "dropping a future cancels its task; call wait(), .await, share() or detach()"]
pub struct Future<T> {
    cells: Arc<Cells<T>>,
    index: u32,
    /// The answer was taken, or the task runs on without a reader: nothing to do on drop.
    spent: bool,
}

impl<T> Future<T> {
    pub(crate) fn new(cells: Arc<Cells<T>>, index: usize) -> Self {
        Future { cells, index: index as u32, spent: false }
    }

    fn at(&self) -> usize {
        self.index as usize
    }

    /// Waits for the result and takes it.
    ///
    /// Inside a task the lane meanwhile runs what this future waits for, and nothing else.
    ///
    /// # Errors
    ///
    /// The task's own error (`Error::TaskPanicked`, `Error::Cancelled`, `Error::Deadline`, `Error::WorkerLost`, …);
    /// `Error::BlockingInAsync` on a thread of a tokio runtime; `Error::WouldDeadlock`, `Error::NestedBudget` and
    /// `Error::TooDeep` inside tasks; `Error::Forked` in a forked child.
    pub fn wait(mut self) -> Result<T> {
        let answer = self.cells.wait(None, |waker| self.cells.take(self.at(), waker));
        self.settle(answer).unwrap_or_else(|| Err(self.cells.taken()))
    }

    /// Waits at most this long; `None` when there is no result yet, and the future can be asked again.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<T>> {
        let until = Instant::now().checked_add(timeout);
        let answer = self.cells.wait(until, |waker| self.cells.take(self.at(), waker));
        self.settle(answer)
    }

    /// Takes the result if there is one; never waits.
    pub fn try_get(&mut self) -> Option<Result<T>> {
        let answer = self.cells.take(self.at(), None);
        self.settle(answer)
    }

    /// Marks the future as spent once its own task's answer was taken; a refused wait leaves the task alone.
    fn settle(&mut self, answer: Option<Result<T>>) -> Option<Result<T>> {
        self.spent |= match &answer {
            // Only the task gives a value; an error may be that of the wait.
            Some(Ok(_)) => true,
            Some(Err(_)) => self.is_ready(),
            None => false,
        };
        answer
    }

    /// Returns whether there is a result.
    pub fn is_ready(&self) -> bool {
        self.cells.cell(self.at()).is_answered()
    }

    /// Returns where the task stands.
    pub fn state(&self) -> FutureState {
        self.cells.state(self.at())
    }

    /// Cancels the task: one that has not started never will; a running one sees `task_context().is_cancelled()`, and
    /// its future is answered at once. Returns whether there was no result yet.
    pub fn cancel(&self) -> bool {
        self.cells.cancel(self.at())
    }

    /// Lets the task run although nobody will read its result.
    pub fn detach(mut self) {
        self.spent = true;
    }

    /// Gives a clonable reading end: every clone reads the same `Arc<T>`.
    pub fn share(mut self) -> Shared<T> {
        self.spent = true;
        let (cells, index) = (self.cells.clone(), self.index);
        Shared { reader: Arc::new(Reader { cells, index, value: Mutex::new(None) }) }
    }

    /// Returns the task's name.
    pub fn name(&self) -> &str {
        &self.cells.name
    }

    pub(crate) fn control(&self) -> &Control {
        &self.cells.control
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.cells.hub
    }

    /// Registers a waker; returns whether there is a result already.
    pub(crate) fn watch(&self, waker: &Waker) -> bool {
        self.cells.cell(self.at()).watch(waker)
    }
}

impl<T> std::future::Future for Future<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        match self.cells.take(self.at(), Some(context.waker())) {
            None => Poll::Pending,
            Some(answer) => {
                self.spent = true;
                Poll::Ready(answer)
            }
        }
    }
}

impl<T> Drop for Future<T> {
    fn drop(&mut self) {
        if !self.spent {
            self.cells.unwanted(self.at());
        }
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Future").field("task", &self.cells.name).field("state", &self.state()).finish()
    }
}

struct Reader<T> {
    cells: Arc<Cells<T>>,
    index: u32,
    /// The answer, once a first reader has taken it out of the cell.
    value: Mutex<Option<Result<Arc<T>>>>,
}

impl<T> Reader<T> {
    /// Reads the answer if there is one, or registers the waker.
    fn read(&self, waker: Option<&Waker>) -> Option<Result<Arc<T>>> {
        let mut value = lock(&self.value);
        if value.is_none() {
            *value = self.cells.take(self.index as usize, waker).map(|answer| answer.map(Arc::new));
        }
        value.clone()
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.cells.unwanted(self.index as usize);
    }
}

/// A clonable reading end: every clone reads the same value. Dropping the last one cancels the task.
///
/// # Examples
///
/// ```
/// let cluster = allotment::Cluster::builder().workers(2).build()?;
/// let table = cluster.submit(|| vec![1, 2, 3])?.share();
/// let copy = table.clone();
/// assert_eq!(table.wait()?.len() + copy.wait()?.len(), 6);
/// # Ok::<(), allotment::Error>(())
/// ```
#[must_use = "dropping the last shared future cancels its task"]
pub struct Shared<T> {
    reader: Arc<Reader<T>>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared { reader: self.reader.clone() }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("task", &self.reader.cells.name).field("state", &self.state()).finish()
    }
}

impl<T> Shared<T> {
    fn at(&self) -> usize {
        self.reader.index as usize
    }

    /// Waits for the result and reads it.
    ///
    /// # Errors
    ///
    /// As [`Future::wait`].
    pub fn wait(&self) -> Result<Arc<T>> {
        let answer = self.reader.cells.wait(None, |waker| self.reader.read(waker));
        answer.unwrap_or_else(|| Err(self.reader.cells.taken()))
    }

    /// Waits at most this long; `None` when there is no result yet.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<Arc<T>>> {
        self.reader.cells.wait(Instant::now().checked_add(timeout), |waker| self.reader.read(waker))
    }

    /// Reads the result if there is one; never waits.
    pub fn try_get(&self) -> Option<Result<Arc<T>>> {
        self.reader.read(None)
    }

    /// Returns whether there is a result.
    pub fn is_ready(&self) -> bool {
        self.reader.cells.cell(self.at()).is_answered()
    }

    /// Returns where the task stands.
    pub fn state(&self) -> FutureState {
        self.reader.cells.state(self.at())
    }

    /// Cancels the task for all readers; returns whether there was no result yet.
    pub fn cancel(&self) -> bool {
        self.reader.cells.cancel(self.at())
    }

    pub(crate) fn control(&self) -> &Control {
        &self.reader.cells.control
    }
}

impl<T> std::future::Future for Shared<T> {
    type Output = Result<Arc<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.reader.read(Some(context.waker())).map_or(Poll::Pending, Poll::Ready)
    }
}
