//! The window: takes batches from the iterator, keeps a bounded number of them in flight, gives results out in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Options;
use crate::error::Result;
use crate::runtime::cluster::Cluster;
use crate::runtime::future::Future;

/// No batch holds more items, so that results come at a steady pace.
pub(super) const LONGEST_BATCH: usize = 4096;

/// How many batches may be in flight for each lane. The longest ones fill the window with three; of short ones there must be
/// more, because the thread that feeds the lanes competes with them for cores and may be away for a millisecond.
const BATCHES_PER_LANE: usize = 16;

/// A batch is no longer than such a part of what came before it. That part, on one lane, is what the others may have to
/// wait for at the end.
const GROWTH: u64 = 256;

/// What was run over a batch: its first item's number, and the items.
pub(super) type Batch<A> = (u64, Vec<A>);

/// A batch in flight.
pub(super) struct InFlight<R> {
    pub(super) future: Future<R>,
    pub(super) n_items: usize,
}

/// Keeps the window full.
pub(super) struct Pump<I, W, R> {
    pub(super) cluster: Cluster,
    items: I,
    work: Arc<W>,
    options: Options,
    pub(super) in_flight: VecDeque<InFlight<R>>,
    /// Batches that were taken out of `in_flight` by somebody who still waits for them.
    pub(super) outside: usize,
    items_in_flight: usize,
    next_item: u64,
    done: u64,
    exhausted: bool,
}

impl<I, W, R> Pump<I, W, R>
where
    I: Iterator,
    I::Item: Send + 'static,
    R: Send + 'static,
    W: Fn(Batch<I::Item>) -> R + Send + Sync + 'static,
{
    pub(super) fn new(cluster: Cluster, items: I, options: Options, work: W) -> Self {
        Pump {
            cluster,
            items,
            work: Arc::new(work),
            options,
            in_flight: VecDeque::new(),
            outside: 0,
            items_in_flight: 0,
            next_item: 0,
            done: 0,
            exhausted: false,
        }
    }

    /// How many items the next batch has: an even share of the window at most, and a small part of what came before.
    fn batch_len(&self) -> usize {
        let lanes = self.cluster.lanes().max(1);
        let by_bytes = self.options.window_bytes / self.options.item_bytes.max(1);
        let window = self.options.window.min(usize::try_from(by_bytes).unwrap_or(usize::MAX));
        let share = (window / (3 * lanes)).max(1);
        let grown = usize::try_from(1 + self.next_item / GROWTH).unwrap_or(LONGEST_BATCH).min(LONGEST_BATCH);
        self.options.batch.unwrap_or(grown).min(share.max(1))
    }

    /// Takes batches from the iterator until the window is full.
    pub(super) fn fill(&mut self) -> Result<()> {
        let most = BATCHES_PER_LANE * self.cluster.lanes().max(1);
        while !self.exhausted && self.in_flight.len() + self.outside < most {
            let len = self.batch_len();
            if self.items_in_flight > 0 && self.items_in_flight + len > self.options.window.max(len) {
                break;
            }
            let batch: Vec<I::Item> = self.items.by_ref().take(len).collect();
            self.exhausted = batch.len() < len;
            if !batch.is_empty() {
                self.send(batch)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, batch: Vec<I::Item>) -> Result<()> {
        let (work, n_items, first) = (self.work.clone(), batch.len(), self.next_item);
        let future = self.cluster.submit_once(self.options.task.clone(), move || work((first, batch)))?;
        self.in_flight.push_back(InFlight { future, n_items });
        self.items_in_flight += n_items;
        self.next_item += n_items as u64;
        Ok(())
    }

    /// Notes that a batch has left the window.
    pub(super) fn left(&mut self, n_items: usize) {
        self.items_in_flight -= n_items;
        self.done += n_items as u64;
        if let Some(progress) = &self.options.progress {
            let total = self.exhausted.then_some(self.next_item);
            let known = self.items.size_hint().1.map(|rest| self.next_item + rest as u64);
            progress(self.done, total.or(known));
        }
    }

    /// Gives the result of the oldest batch; `None` when there are no more.
    pub(super) fn next(&mut self) -> Option<Result<R>> {
        if let Err(error) = self.fill() {
            self.exhausted = true;
            self.in_flight.clear();
            return Some(Err(error));
        }
        let InFlight { future, n_items } = self.in_flight.pop_front()?;
        let result = future.wait();
        self.left(n_items);
        Some(result)
    }
}
