//! Bringing results home: in input order, as they end, or as soon as any is there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::blocking;
use super::cluster::Cluster;
use super::future::Future;
use super::hub::lock;
use crate::error::Result;

/// Which futures were done when a wait ended, by their place in the slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// Those with a result.
    pub done: Vec<usize>,
    /// Those without.
    pub not_done: Vec<usize>,
}

impl Cluster {
    /// Waits for all and returns their values in input order. The first failure, in input order, ends it and cancels the
    /// others.
    ///
    /// # Errors
    ///
    /// The first failed task's error; for an item of a `map` it names the item.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let futures = cluster.map(|x: u32| 100 / x, [1, 0, 2])?;
    /// let error = cluster.gather(futures).expect_err("item 1 divides by zero");
    /// assert!(error.to_string().contains("item 1"), "{error}");
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn gather<T>(&self, futures: impl IntoIterator<Item = Future<T>>) -> Result<Vec<T>> {
        futures.into_iter().map(Future::wait).collect()
    }

    /// Waits for all and returns every result in its own place: failures shift nothing and cancel nothing.
    ///
    /// # Errors
    ///
    /// `Error::BlockingInAsync` where waiting is not allowed; what a task did is in its slot.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let futures = cluster.map(|x: u32| 100 / x, [1, 0, 2])?;
    /// let slots = cluster.gather_all(futures)?;
    /// assert!(slots[1].is_err());
    /// assert_eq!(slots[2].as_ref().ok(), Some(&50));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn gather_all<T>(&self, futures: impl IntoIterator<Item = Future<T>>) -> Result<Vec<Result<T>>> {
        if self.hub().this_lane().is_none() {
            blocking::allowed("gather_all()")?;
        }
        Ok(futures.into_iter().map(Future::wait).collect())
    }

    /// Yields `(place, result)` of each future as it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let futures = cluster.map(|x: u64| x * x, [3, 4])?;
    /// let mut sum = 0;
    /// for (place, result) in cluster.as_completed(futures) {
    ///     sum += result? + place as u64;
    /// }
    /// assert_eq!(sum, 9 + 16 + 1);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn as_completed<T>(&self, futures: impl IntoIterator<Item = Future<T>>) -> AsCompleted<T> {
        let bell = Arc::new(Bell::default());
        let futures: Vec<Option<Future<T>>> = futures.into_iter().map(Some).collect();
        for (place, future) in futures.iter().enumerate() {
            future.iter().for_each(|future| Bell::watch(&bell, future, place));
        }
        AsCompleted { left: futures.len(), futures, bell }
    }

    /// Waits until any of the futures has a result, or until the time is over; takes none of them.
    ///
    /// # Errors
    ///
    /// `Error::BlockingInAsync` where waiting is not allowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let futures = cluster.map(|x: u64| x, [1, 2, 3])?;
    /// let waited = cluster.wait_any(&futures, Some(Duration::from_secs(10)))?;
    /// assert!(!waited.done.is_empty());
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn wait_any<T>(&self, futures: &[Future<T>], timeout: Option<Duration>) -> Result<Waited> {
        self.wait_for(futures, timeout, 1)
    }

    /// Waits until all futures have results, or until the time is over; takes none of them.
    ///
    /// # Errors
    ///
    /// As [`wait_any`](Self::wait_any).
    pub fn wait_all<T>(&self, futures: &[Future<T>], timeout: Option<Duration>) -> Result<Waited> {
        self.wait_for(futures, timeout, futures.len())
    }

    fn wait_for<T>(&self, futures: &[Future<T>], timeout: Option<Duration>, enough: usize) -> Result<Waited> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let count = || futures.iter().filter(|future| future.is_ready()).count();
        if enough > 0 && count() < enough {
            self.sleep_for(futures, until, || (count() >= enough).then_some(()))?;
        }
        let (done, not_done) = (0..futures.len()).partition(|place| futures[*place].is_ready());
        Ok(Waited { done, not_done })
    }

    /// Sleeps until enough futures are ready. On a lane the wait is a task's wait for the first that is not.
    fn sleep_for<T>(
        &self,
        futures: &[Future<T>],
        until: Option<Instant>,
        mut enough: impl FnMut() -> Option<()>,
    ) -> Result<()> {
        let mut watched = false;
        let mut ready = |waker: &Waker| {
            if !watched {
                watched = true;
                for future in futures {
                    let _ready = future.watch(waker);
                }
            }
            enough()
        };
        let Some(lane) = self.hub().this_lane() else {
            self.hub().same_process()?;
            blocking::allowed("wait_any() and wait_all()")?;
            blocking::park_until(until, ready);
            return Ok(());
        };
        while let Some(pending) = futures.iter().find(|future| !future.is_ready()) {
            let one = |waker: &Waker| ready(waker).or_else(|| pending.is_ready().then_some(()));
            let answer = self.hub().wait_in_task(lane, pending.control(), until, one)?;
            if answer.is_none() || enough_now(&mut ready) {
                break;
            }
        }
        Ok(())
    }
}

fn enough_now(ready: &mut impl FnMut(&Waker) -> Option<()>) -> bool {
    ready(Waker::noop()).is_some()
}

/// The places of futures that ended, in the order in which they did.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<(VecDeque<usize>, Option<Waker>)>,
}

impl Bell {
    /// Lets the future ring its place when it ends, or at once if it has.
    pub(crate) fn watch<T>(bell: &Arc<Bell>, future: &Future<T>, place: usize) {
        let ring = Waker::from(Arc::new(Ring { bell: bell.clone(), place }));
        if future.watch(&ring) {
            bell.ring(place);
        }
    }

    /// Waits until a place is rung and returns it; `pending` at `place` is one that has not been taken. Where waiting is
    /// refused it returns that place, whose own wait then says why.
    pub(crate) fn wait<T>(&self, pending: &Future<T>, place: usize) -> usize {
        if let Some(lane) = pending.hub().this_lane() {
            let rung = |waker: &Waker| self.next(waker).or_else(|| pending.is_ready().then_some(place));
            let answer = pending.hub().wait_in_task(lane, pending.control(), None, rung);
            return answer.ok().flatten().unwrap_or(place);
        }
        if pending.hub().same_process().is_err() || blocking::allowed("this iterator").is_err() {
            return place;
        }
        blocking::park_until(None, |waker| self.next(waker)).unwrap_or(place)
    }

    fn ring(&self, place: usize) {
        let mut rung = lock(&self.rung);
        rung.0.push_back(place);
        let waker = rung.1.take();
        drop(rung);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn next(&self, waker: &Waker) -> Option<usize> {
        let mut rung = lock(&self.rung);
        let place = rung.0.pop_front();
        rung.1 = place.is_none().then(|| waker.clone());
        place
    }
}

struct Ring {
    bell: Arc<Bell>,
    place: usize,
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.bell.ring(self.place);
    }
}

/// An iterator over results as they end. Dropping it cancels what has not.
#[derive(Debug)]
#[must_use = "an iterator does nothing until it is walked, and dropping it cancels the tasks"]
pub struct AsCompleted<T> {
    futures: Vec<Option<Future<T>>>,
    bell: Arc<Bell>,
    left: usize,
}

impl<T> AsCompleted<T> {
    /// Returns the next result if one is there; never waits.
    pub fn try_next(&mut self) -> Option<(usize, Result<T>)> {
        let place = lock(&self.bell.rung).0.pop_front()?;
        self.take(place)
    }

    /// Returns how many results are still to come.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Returns whether no result is still to come.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    fn take(&mut self, place: usize) -> Option<(usize, Result<T>)> {
        let future = self.futures[place].take()?;
        self.left -= 1;
        Some((place, future.wait()))
    }
}

impl<T> Iterator for AsCompleted<T> {
    type Item = (usize, Result<T>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let oldest = self.futures.iter().position(Option::is_some)?;
            let place = self.bell.wait(self.futures[oldest].as_ref()?, oldest);
            // A place that was taken before its bell was heard is rung in vain.
            if let Some(ended) = self.take(place) {
                return Some(ended);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
