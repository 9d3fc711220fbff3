//! The kinds of work a lane runs: a closure once, a closure that may run again, a pack of items.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::hub::lock;
use super::promise::Cells;
use super::task::{Control, Job, Outcome, caught, discard, with_context};
use crate::error::{Error, Result};

/// A closure that runs once. What it gives is a result, so that a kernel's own error becomes the future's.
pub(crate) struct Once<T, F> {
    pub(crate) cells: Arc<Cells<T>>,
    pub(crate) code: Mutex<Option<F>>,
}

impl<T, F> Once<T, F> {
    pub(crate) fn new(cells: &Arc<Cells<T>>, code: F) -> Arc<Self> {
        Arc::new(Once { cells: cells.clone(), code: Mutex::new(Some(code)) })
    }

    /// Takes the closure back from a job that was refused.
    pub(crate) fn take(&self) -> Option<F> {
        lock(&self.code).take()
    }
}

impl<T, F> Job for Once<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    fn run(&self, name: &Arc<str>) -> Outcome {
        // Nothing there: an earlier attempt took it, and that attempt's fate is the answer.
        let Some(code) = self.take() else { return Outcome::Done };
        if self.control().is_stopped() {
            discard(code);
        } else {
            self.cells.answer(0, caught(name, None, code).and_then(|result| result));
        }
        Outcome::Done
    }

    fn fail(&self, error: &Error) {
        discard(self.take());
        self.cells.fail(error);
    }

    fn control(&self) -> &Control {
        &self.cells.control
    }
}

/// Code of the user's that may be called more than once. What it holds may panic when it is dropped, wherever that is.
pub(crate) struct Kept<F: 'static>(Option<F>);

impl<F: 'static> Kept<F> {
    pub(crate) fn new(code: F) -> Self {
        Kept(Some(code))
    }
}

impl<F: 'static> std::ops::Deref for Kept<F> {
    type Target = F;

    fn deref(&self) -> &F {
        self.0.as_ref().expect("only its drop takes it")
    }
}

impl<F: 'static> Drop for Kept<F> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

/// A closure that may run again: after a panic, or when its lane is lost, as often as its retries allow.
pub(crate) struct Repeat<T, F: 'static> {
    pub(crate) cells: Arc<Cells<T>>,
    pub(crate) code: Kept<F>,
}

impl<T, F> Job for Repeat<T, F>
where
    T: Send + 'static,
    F: Fn() -> T + Send + Sync + 'static,
{
    fn run(&self, name: &Arc<str>) -> Outcome {
        if self.control().is_stopped() {
            return Outcome::Done;
        }
        match caught(name, None, || (self.code)()) {
            Ok(value) => {
                self.cells.answer(0, Ok(value));
                Outcome::Done
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    fn fail(&self, error: &Error) {
        self.cells.fail(error);
    }

    fn control(&self) -> &Control {
        &self.cells.control
    }
}

/// What is left of a pack, how many of its items were begun, and on which worker the last of those.
pub(crate) struct Left<A> {
    pub(crate) items: std::vec::IntoIter<A>,
    pub(crate) begun: usize,
    pub(crate) worker: usize,
}

/// A pack of items, each with its own future. After [`TURN`] it goes back into the queue with what is left, so that one
/// slow pack neither holds up the others nor a task of higher priority.
pub(crate) struct Pack<A, T, F: 'static> {
    pub(crate) cells: Arc<Cells<T>>,
    pub(crate) code: Arc<Kept<F>>,
    pub(crate) left: Mutex<Left<A>>,
}

/// How long a pack runs before others have their turn.
const TURN: Duration = Duration::from_millis(1);

impl<A, T, F> Pack<A, T, F> {
    fn next(&self) -> Option<(usize, A)> {
        let mut left = lock(&self.left);
        let item = left.items.next()?;
        left.begun += 1;
        Some((left.begun - 1, item))
    }

    fn is_empty(&self) -> bool {
        lock(&self.left).items.len() == 0
    }
}

impl<A, T, F> Pack<A, T, F>
where
    T: Send + 'static,
{
    /// Answers an item that an attempt before this one began and did not finish: its lane was lost. Notes the worker that
    /// goes on.
    fn answer_lost(&self, name: &Arc<str>) {
        let mut left = lock(&self.left);
        let here = with_context(|context| Some(context.worker)).unwrap_or(left.worker);
        let (begun, worker) = (left.begun, std::mem::replace(&mut left.worker, here));
        drop(left);
        if begun > 0 && !self.cells.cell(begun - 1).is_answered() {
            let cause = "its lane was lost while it ran".into();
            let lost = Error::WorkerLost { task: name.clone(), worker, cause, attempts: 1 };
            self.cells.answer(begun - 1, Err(lost));
        }
    }
}

impl<A, T, F> Job for Pack<A, T, F>
where
    A: Send + 'static,
    T: Send + 'static,
    F: Fn(A) -> T + Send + Sync + 'static,
{
    fn run(&self, name: &Arc<str>) -> Outcome {
        self.answer_lost(name);
        let start = Instant::now();
        // The clock is read rarely while items are quick, each time once they are not.
        let (mut stride, mut until_look) = (1u32, 1u32);
        while let Some((index, item)) = self.next() {
            if self.control().is_stopped() || self.cells.is_cancelled(index) {
                discard(item);
                continue;
            }
            let code = &self.code;
            self.cells.answer(index, caught(name, self.cells.item(index), move || code(item)));
            until_look -= 1;
            if until_look == 0 {
                let elapsed = start.elapsed();
                if elapsed >= TURN {
                    return if self.is_empty() { Outcome::Done } else { Outcome::Again };
                }
                stride = if elapsed < TURN / 16 { (stride * 2).min(32) } else { 1 };
                until_look = stride;
            }
        }
        Outcome::Done
    }

    fn fail(&self, error: &Error) {
        while let Some((_, item)) = self.next() {
            discard(item);
        }
        self.cells.fail(error);
    }

    fn control(&self) -> &Control {
        &self.cells.control
    }
}
