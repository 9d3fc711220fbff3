//! Results as they come: in order, or as batches end; stopping at the first failure, or going on.

use std::collections::HashMap;
use std::sync::Arc;
use std::vec::IntoIter;

use super::pump::{Batch, InFlight, Pump};
use super::{BatchedMap, Options};
use crate::error::{Error, Result};
use crate::runtime::gather::Bell;
use crate::runtime::task::{caught, caught_at};

/// A batch's values, up to the first item that failed.
type Values<T> = (Vec<T>, Option<Error>);

/// A batch's results, whatever failed.
type Results<T> = Vec<Result<T>>;

/// The same with the number of the first item.
type Numbered<T> = (u64, Results<T>);

type Work<A, R> = Box<dyn Fn(Batch<A>) -> R + Send + Sync>;

/// Runs a batch up to its first failure.
fn until_failure<A, T>(options: &Options, code: &(impl Fn(A) -> T + Sync), (first, items): Batch<A>) -> Values<T> {
    let mut values = Vec::with_capacity(items.len());
    let failed = caught_at(&options.task.name, |at| {
        for item in items {
            at.set(Some(first + values.len() as u64));
            values.push(code(item));
        }
    });
    (values, failed.err())
}

/// Runs a batch to its end, whatever fails in it.
fn each<A, T, F>(code: Arc<F>, options: &Options) -> impl Fn(Batch<A>) -> Vec<Result<T>> + Send + Sync + use<A, T, F>
where
    F: Fn(A) -> T + Send + Sync,
{
    let name = options.task.name.clone();
    move |(first, items)| {
        let numbered = (first..).zip(items);
        numbered.map(|(index, item)| caught(&name, Some(index), || code(item))).collect()
    }
}

/// The results in input order. The first failing item ends it, with its index in the error. Dropping it cancels what is
/// in flight.
#[must_use = "an iterator does nothing until it is walked"]
pub struct Stream<I: Iterator, T> {
    pump: Pump<I, Work<I::Item, Values<T>>, Values<T>>,
    ready: IntoIter<T>,
    failed: Option<Error>,
    ended: bool,
}

impl<I: Iterator, T> std::fmt::Debug for Stream<I, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl<F, I, T> IntoIterator for BatchedMap<F, I>
where
    I: Iterator,
    I::Item: Send + 'static,
    T: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
{
    type Item = Result<T>;
    type IntoIter = Stream<I, T>;

    fn into_iter(self) -> Stream<I, T> {
        let BatchedMap { cluster, code, items, options } = self;
        let named = options.clone();
        let work: Work<I::Item, Values<T>> = Box::new(move |batch| until_failure(&named, &*code, batch));
        let pump = Pump::new(cluster, items, options, work);
        Stream { pump, ready: Vec::new().into_iter(), failed: None, ended: false }
    }
}

impl<I, T> Iterator for Stream<I, T>
where
    I: Iterator,
    I::Item: Send + 'static,
    T: Send + 'static,
{
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(value) = self.ready.next() {
                return Some(Ok(value));
            }
            if self.ended {
                return None;
            }
            if let Some(error) = self.failed.take() {
                self.ended = true;
                self.pump.in_flight.clear();
                return Some(Err(error));
            }
            match self.pump.next()? {
                Ok((values, failed)) => (self.ready, self.failed) = (values.into_iter(), failed),
                Err(error) => self.failed = Some(error),
            }
        }
    }
}

/// Every item's result, in input order, failures among them.
#[must_use = "an iterator does nothing until it is walked"]
pub struct KeepGoing<I: Iterator, T> {
    pump: Pump<I, Work<I::Item, Results<T>>, Results<T>>,
    ready: IntoIter<Result<T>>,
}

impl<I: Iterator, T> std::fmt::Debug for KeepGoing<I, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeepGoing").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl<I, T> Iterator for KeepGoing<I, T>
where
    I: Iterator,
    I::Item: Send + 'static,
    T: Send + 'static,
{
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            if let Some(result) = self.ready.next() {
                return Some(result);
            }
            match self.pump.next()? {
                Ok(results) => self.ready = results.into_iter(),
                // The batch itself was lost: one error stands for its items.
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// `(index, result)` of every item, as batches end.
#[must_use = "an iterator does nothing until it is walked"]
pub struct Unordered<I: Iterator, T> {
    pump: Pump<I, Work<I::Item, Numbered<T>>, Numbered<T>>,
    bell: Arc<Bell>,
    /// Batches whose end has not been seen, by the number the bell rings.
    waiting: HashMap<usize, InFlight<Numbered<T>>>,
    rung: usize,
    ready: std::iter::Zip<std::ops::RangeFrom<u64>, IntoIter<Result<T>>>,
}

impl<I: Iterator, T> std::fmt::Debug for Unordered<I, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unordered").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl<I, T> Unordered<I, T>
where
    I: Iterator,
    I::Item: Send + 'static,
    T: Send + 'static,
{
    /// Fills the window and lets every new batch ring the bell.
    fn fill(&mut self) -> Result<()> {
        self.pump.outside = self.waiting.len();
        self.pump.fill()?;
        while let Some(batch) = self.pump.in_flight.pop_front() {
            self.rung += 1;
            Bell::watch(&self.bell, &batch.future, self.rung);
            self.waiting.insert(self.rung, batch);
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Result<Numbered<T>>> {
        if let Err(error) = self.fill() {
            self.waiting.clear();
            return Some(Err(error));
        }
        while let Some((oldest, batch)) = self.waiting.iter().min_by_key(|(number, _)| **number) {
            let ended = self.bell.wait(&batch.future, *oldest);
            // A batch that was taken before its bell was heard is rung in vain.
            if let Some(InFlight { future, n_items }) = self.waiting.remove(&ended) {
                let result = future.wait();
                self.pump.left(n_items);
                return Some(result);
            }
        }
        None
    }
}

impl<I, T> Iterator for Unordered<I, T>
where
    I: Iterator,
    I::Item: Send + 'static,
    T: Send + 'static,
{
    type Item = Result<(u64, Result<T>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.ready.next() {
                return Some(Ok(item));
            }
            match self.take()? {
                Ok((first, results)) => self.ready = (first..).zip(results),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl<F, I, T> BatchedMap<F, I>
where
    I: Iterator,
    I::Item: Send + 'static,
    T: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
{
    /// Yields every item's result in input order and does not stop at failures.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let results: Vec<_> = cluster.batched_map(|x: u32| 6 / x, [1, 0, 3]).keep_going().collect();
    /// assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok());
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn keep_going(self) -> KeepGoing<I, T> {
        let work: Work<I::Item, Results<T>> = Box::new(each(self.code, &self.options));
        let pump = Pump::new(self.cluster, self.items, self.options, work);
        KeepGoing { pump, ready: Vec::new().into_iter() }
    }

    /// Yields `(index, result)` of every item as batches end, in no particular order. The outer error is one of the
    /// runtime: a cluster that was shut down, say.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let mut sum = 0;
    /// for item in cluster.batched_map(|x: u64| x * 10, [1, 2, 3]).unordered() {
    ///     let (index, result) = item?;
    ///     sum += result? + index;
    /// }
    /// assert_eq!(sum, 60 + 3);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn unordered(self) -> Unordered<I, T> {
        let each = each(self.code, &self.options);
        let work: Work<I::Item, Numbered<T>> = Box::new(move |batch| (batch.0, each(batch)));
        let pump = Pump::new(self.cluster, self.items, self.options, work);
        let ready = (0..).zip(Vec::new());
        Unordered { pump, bell: Default::default(), waiting: HashMap::new(), rung: 0, ready }
    }
}
