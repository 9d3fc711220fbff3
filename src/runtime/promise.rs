//! The writing end of a task's results: one cell, or a block of them for the items of a pack.
//!
//! A job holds its cells and puts answers into them; the futures (`future.rs`) hold the same cells and take answers out.
//! Both sides count how many answers somebody still wants: with the last one gone the task is cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use super::blocking;
use super::cell::{Cell, How, Read};
use super::future::FutureState;
use super::hub::Hub;
use super::task::{Control, discard};
use crate::error::{Error, Result};

#[derive(Debug)]
enum Slots<T> {
    One(Cell<T>),
    Many(Box<[Cell<T>]>),
}

/// The cells of one job's results.
pub(crate) struct Cells<T> {
    slots: Slots<T>,
    /// How many of them somebody still wants and nobody has answered.
    wanted: AtomicUsize,
    /// Number of the first item within its `map`; `None` where the task is one of its own.
    first_item: Option<u64>,
    pub(crate) control: Control,
    pub(crate) name: Arc<str>,
    pub(crate) hub: Arc<Hub>,
}

impl<T> Cells<T> {
    pub(crate) fn one(hub: &Arc<Hub>, name: &Arc<str>) -> Arc<Self> {
        Self::new(hub, name, Slots::One(Cell::new()), 1, None)
    }

    pub(crate) fn many(hub: &Arc<Hub>, name: &Arc<str>, n: usize, first_item: u64) -> Arc<Self> {
        let cells = (0..n).map(|_| Cell::new()).collect();
        Self::new(hub, name, Slots::Many(cells), n, Some(first_item))
    }

    fn new(hub: &Arc<Hub>, name: &Arc<str>, slots: Slots<T>, wanted: usize, first_item: Option<u64>) -> Arc<Self> {
        let (hub, name, wanted) = (hub.clone(), name.clone(), AtomicUsize::new(wanted));
        Arc::new(Cells { slots, wanted, first_item, control: Control::default(), name, hub })
    }

    pub(crate) fn len(&self) -> usize {
        match &self.slots {
            Slots::One(_) => 1,
            Slots::Many(cells) => cells.len(),
        }
    }

    pub(crate) fn cell(&self, index: usize) -> &Cell<T> {
        match &self.slots {
            Slots::One(cell) => cell,
            Slots::Many(cells) => &cells[index],
        }
    }

    /// Returns the item's number within its `map`.
    pub(crate) fn item(&self, index: usize) -> Option<u64> {
        self.first_item.map(|first| first + index as u64)
    }

    fn cancelled(&self) -> Error {
        Error::Cancelled { task: self.name.clone() }
    }

    pub(super) fn taken(&self) -> Error {
        Error::Taken { task: self.name.clone() }
    }

    /// Takes one reader away; with the last the task is cancelled. In a forked child the task is the parent's, and the
    /// cell may be locked for ever by a thread that exists only there.
    pub(super) fn unwanted(&self, index: usize) {
        if self.hub.same_process().is_err() {
            return;
        }
        let was_pending = self.cell(index).close(|| self.cancelled());
        if was_pending && self.wanted.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.hub.cancel(&self.control);
        }
    }

    /// Answers one item with `Cancelled`; with the last the task is cancelled.
    pub(super) fn cancel(&self, index: usize) -> bool {
        if self.hub.same_process().is_err() {
            return false;
        }
        let cancelled = self.cell(index).answer(Err(self.cancelled())).is_ok();
        if cancelled && self.wanted.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.hub.cancel(&self.control);
        }
        cancelled
    }

    pub(super) fn state(&self, index: usize) -> FutureState {
        match self.cell(index).how() {
            Some(How::Value) => FutureState::Finished,
            Some(How::Cancelled) => FutureState::Cancelled,
            Some(How::Error) => FutureState::Failed,
            None if self.hub.is_running(&self.control) => FutureState::Running,
            None => FutureState::Pending,
        }
    }

    /// Takes the answer if there is one, or registers the waker.
    pub(super) fn take(&self, index: usize, waker: Option<&Waker>) -> Option<Result<T>> {
        match self.cell(index).take(waker) {
            Read::Pending => None,
            Read::Answer(answer) => Some(answer),
            Read::Gone => Some(Err(self.taken())),
        }
    }

    /// Waits on this thread until `found` finds an answer, or until the time.
    pub(super) fn wait<V>(
        &self,
        until: Option<Instant>,
        found: impl Fn(Option<&Waker>) -> Option<Result<V>>,
    ) -> Option<Result<V>> {
        if let Some(answer) = found(None) {
            return Some(answer);
        }
        if let Err(error) = self.hub.same_process() {
            return Some(Err(error));
        }
        if let Some(lane) = self.hub.this_lane() {
            return match self.hub.wait_in_task(lane, &self.control, until, |waker| found(Some(waker))) {
                Ok(answer) => answer,
                Err(error) => Some(Err(error)),
            };
        }
        if let Err(error) = blocking::allowed("wait()") {
            return Some(Err(error));
        }
        blocking::spin(|| found(None)).or_else(|| blocking::park_until(until, |waker| found(Some(waker))))
    }
}

impl<T: 'static> Cells<T> {
    /// Puts an answer; one that comes too late is dropped, whatever its `Drop` does.
    pub(crate) fn answer(&self, index: usize, answer: Result<T>) {
        match self.cell(index).answer(answer) {
            Ok(()) => {
                self.wanted.fetch_sub(1, Ordering::AcqRel);
            }
            Err(late) => discard(late),
        }
    }

    /// Answers all that have no answer.
    pub(crate) fn fail(&self, error: &Error) {
        (0..self.len()).filter(|i| !self.cell(*i).is_answered()).for_each(|i| self.answer(i, Err(error.clone())));
    }
}
