//! The place where one answer is put, once, and from which it is taken.
//!
//! ```text
//!   Pending ──answer──▶ Ready ──take──▶ Taken        the first answer stands, later ones are handed back
//! ```
//!
//! Always true: a cell is answered at most once; a waker that was registered before the answer is woken by it; no waker
//! is called and no value dropped under the lock. The model checker runs it (`--cfg allotment_loom`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::error::{Error, Result};
use crate::sync::{Mutex, MutexGuard};

#[derive(Debug)]
enum Slot<T> {
    Pending(Vec<Waker>),
    Ready(Result<T, Box<Error>>),
    Taken(How),
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Value,
    Error,
    Cancelled,
}

impl How {
    fn of<T>(answer: &Result<T, Box<Error>>) -> How {
        match answer {
            Ok(_) => How::Value,
            Err(error) if error.is_cancelled() => How::Cancelled,
            Err(_) => How::Error,
        }
    }
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Cell<T> {
    slot: Mutex<Slot<T>>,
}

/// What a reader finds.
#[derive(Debug)]
#[must_use = "an answer that was taken is nowhere else"]
pub(crate) enum Read<V> {
    /// No answer yet; the waker, if one was given, is registered.
    Pending,
    /// The answer.
    Answer(Result<V>),
    /// It was taken before.
    Gone,
}

impl<T> Cell<T> {
    pub(crate) fn new() -> Self {
        Cell { slot: Mutex::new(Slot::Pending(Vec::new())) }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        // No code that can panic runs under this lock, so a poisoned one still holds a whole slot.
        self.slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Puts the answer and wakes whoever waits; gives it back when there is one already.
    pub(crate) fn answer(&self, answer: Result<T>) -> Result<(), Result<T>> {
        let mut slot = self.lock();
        let Slot::Pending(wakers) = &mut *slot else {
            drop(slot);
            return Err(answer);
        };
        let wakers = std::mem::take(wakers);
        *slot = Slot::Ready(answer.map_err(Box::new));
        drop(slot);
        wake(wakers);
        Ok(())
    }

    /// Returns whether there is, or was, an answer.
    pub(crate) fn is_answered(&self) -> bool {
        !matches!(&*self.lock(), Slot::Pending(_))
    }

    /// Returns how the task ended: `None` while it has not.
    pub(crate) fn how(&self) -> Option<How> {
        match &*self.lock() {
            Slot::Pending(_) => None,
            Slot::Ready(answer) => Some(How::of(answer)),
            Slot::Taken(how) => Some(*how),
        }
    }

    /// Registers the waker; returns whether there is an answer already.
    pub(crate) fn watch(&self, waker: &Waker) -> bool {
        match &mut *self.lock() {
            Slot::Pending(wakers) => {
                register(wakers, Some(waker));
                false
            }
            _ => true,
        }
    }

    /// Takes the answer, or registers the waker.
    pub(crate) fn take(&self, waker: Option<&Waker>) -> Read<T> {
        let mut slot = self.lock();
        match &mut *slot {
            Slot::Pending(wakers) => {
                register(wakers, waker);
                Read::Pending
            }
            Slot::Taken(_) => Read::Gone,
            Slot::Ready(answer) => {
                let taken = Slot::Taken(How::of(answer));
                match std::mem::replace(&mut *slot, taken) {
                    Slot::Ready(answer) => Read::Answer(answer.map_err(|error| *error)),
                    Slot::Pending(_) | Slot::Taken(_) => Read::Gone,
                }
            }
        }
    }

    /// Empties the cell, so that the value is dropped as soon as nobody can read it; returns whether it had no answer.
    pub(crate) fn close(&self, error: impl FnOnce() -> Error) -> bool {
        let mut slot = self.lock();
        let pending = matches!(&*slot, Slot::Pending(_));
        let next = match &*slot {
            Slot::Pending(_) => Slot::Ready(Err(Box::new(error()))),
            Slot::Ready(answer) => Slot::Taken(How::of(answer)),
            Slot::Taken(how) => Slot::Taken(*how),
        };
        let old = std::mem::replace(&mut *slot, next);
        drop(slot);
        if let Slot::Pending(wakers) = old {
            wake(wakers);
        }
        pending
    }
}

/// Calls every waker. They are the code of somebody's executor: one that panics must not cost the others their answer.
pub(crate) fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            // Dropping it could panic again.
            std::mem::forget(payload);
        }
    }
}

fn register(wakers: &mut Vec<Waker>, waker: Option<&Waker>) {
    if let Some(waker) = waker
        && !wakers.iter().any(|known| known.will_wake(waker))
    {
        wakers.push(waker.clone());
    }
}

#[cfg(all(test, not(allotment_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_stands_and_the_second_comes_back() {
        let cell = Cell::new();
        assert!(matches!(cell.take(None), Read::Pending));
        assert!(cell.answer(Ok(1)).is_ok());
        assert!(matches!(cell.answer(Ok(2)), Err(Ok(2))));
        assert!(matches!(cell.take(None), Read::Answer(Ok(1))));
        assert!(matches!(cell.take(None), Read::Gone));
    }
}

#[cfg(all(test, allotment_loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    use std::sync::Arc as StdArc;
    use std::task::Wake;

    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: StdArc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    /// A reader that registered before the answer is woken by it; one that came after finds it.
    #[test]
    fn loom_no_wake_is_lost() {
        loom::model(|| {
            let cell = Arc::new(Cell::new());
            let writer = {
                let cell = cell.clone();
                loom::thread::spawn(move || assert!(cell.answer(Ok(5)).is_ok()))
            };
            let flag = StdArc::new(Flag(AtomicBool::new(false)));
            let found = cell.take(Some(&Waker::from(flag.clone())));
            writer.join().expect("the writer ends");
            match found {
                Read::Answer(Ok(5)) => {}
                Read::Pending => {
                    assert!(flag.0.load(SeqCst), "registered, answered, not woken");
                    assert!(matches!(cell.take(None), Read::Answer(Ok(5))));
                }
                other => panic!("{other:?}"),
            }
        });
    }

    /// A value, a cancel and a reader race: exactly one answer stands, and it is read exactly once.
    #[test]
    fn loom_exactly_one_answer_stands() {
        loom::model(|| {
            let cell = Arc::new(Cell::new());
            let won = Arc::new(AtomicUsize::new(0));
            let writers: Vec<_> = [Ok(1), Err(Error::Forked)]
                .into_iter()
                .map(|answer| {
                    let (cell, won) = (cell.clone(), won.clone());
                    loom::thread::spawn(move || {
                        if cell.answer(answer).is_ok() {
                            won.fetch_add(1, SeqCst);
                        }
                    })
                })
                .collect();
            let early = matches!(cell.take(None), Read::Answer(_));
            writers.into_iter().for_each(|writer| writer.join().expect("a writer ends"));
            let late = matches!(cell.take(None), Read::Answer(_));
            assert_eq!(won.load(SeqCst), 1);
            assert!(early ^ late, "read {} times", u8::from(early) + u8::from(late));
        });
    }
}
