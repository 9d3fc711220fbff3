//! `batched_map`: a function over any iterable, of any length, with a bound on what is in flight.
//!
//! ```text
//!   items ──▶ batches ──▶ lanes ──▶ results in order        at most `window` items and `window_bytes` between the two ends
//!             1 1 1 … 2 2 … 4096                            no barrier: a batch leaves, the next one enters
//! ```
//!
//! The iterator is walked on the caller's thread, as far as the window allows, so it needs no length, may be endless, and
//! may borrow. Ranges and shared slices are not walked but split, and folded on the lanes. Batches grow with the stream: the first items
//! travel alone, so that a slow function is spread over all lanes at once, and later ones by the hundred. How the stream is
//! cut depends on the place alone, never on time or lanes, so folds of floats give the same bits on any cluster.
//!
//! Always true: memory does not grow with the number of items; a failing item is named by its index; dropping the
//! iterator cancels what is in flight.

mod fold;
mod pump;
mod span;
mod stream;
#[cfg(test)]
mod tests;

#[cfg(feature = "progress")]
mod bar;

use std::ops::Range;
use std::sync::Arc;

use super::cluster::Cluster;
use super::task::Task;
use crate::bytes::ByteSize;

pub use stream::{KeepGoing, Stream, Unordered};

/// Told `(items done, items in all where it is known)`.
pub type ItemProgress = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) task: Task,
    pub(crate) batch: Option<usize>,
    pub(crate) window: usize,
    pub(crate) window_bytes: u64,
    pub(crate) item_bytes: u64,
    pub(crate) progress: Option<ItemProgress>,
}

/// A function over any iterable, run by the lanes a batch at a time. Walk it as an iterator, or end it with
/// [`sum`](Self::sum), [`fold`](Self::fold), [`reduce`](Self::reduce), [`count`](Self::count),
/// [`for_each`](Self::for_each), [`collect`](Self::collect), [`unordered`](Self::unordered) or
/// [`keep_going`](Self::keep_going).
///
/// # Examples
///
/// ```
/// let cluster = allotment::Cluster::builder().workers(2).build()?;
/// let total: i64 = cluster.batched_map(|x: i64| x + 1, 0..1_000_000).sum()?;
/// assert_eq!(total, 500_000_500_000);
///
/// let mut lines = Vec::new();
/// for line in cluster.batched_map(|n: u32| format!("line {n}"), (1..).step_by(3).take(4)) {
///     lines.push(line?);
/// }
/// assert_eq!(lines, ["line 1", "line 4", "line 7", "line 10"]);
/// # Ok::<(), allotment::Error>(())
/// ```
#[must_use = "nothing runs until it is iterated or ended"]
pub struct BatchedMap<F, I> {
    pub(crate) cluster: Cluster,
    pub(crate) code: Arc<F>,
    pub(crate) items: I,
    pub(crate) options: Options,
}

impl<F, I> std::fmt::Debug for BatchedMap<F, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchedMap").field("task", &self.options.task.name).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Runs `f` on the items of any iterable, in batches, with a bound on what is in flight. Nothing runs until the result
    /// is iterated or ended.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let squares: Vec<u64> = cluster.batched_map(|x: u64| x * x, [1, 2, 3]).collect()?;
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn batched_map<F, I, T>(&self, f: F, items: I) -> BatchedMap<F, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        T: Send + 'static,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
    {
        let lanes = self.lanes().max(1);
        let options = Options {
            task: Task::named("batched_map"),
            batch: None,
            window: 3 * lanes * pump::LONGEST_BATCH,
            window_bytes: self.allowance() / 4 * self.workers() as u64,
            item_bytes: (size_of::<I::Item>() + size_of::<T>()) as u64,
            progress: None,
        };
        BatchedMap { cluster: self.clone(), code: Arc::new(f), items: items.into_iter(), options }
    }
}

impl Cluster {
    /// [`batched_map`](Self::batched_map) over a shared slice, which is split like a range and not walked: the lanes read the
    /// items where they are.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let words = vec!["to", "be", "or", "not", "to", "be"];
    /// let letters: usize = cluster.batched_map_slice(|word: &&str| word.len(), words).sum()?;
    /// assert_eq!(letters, 13);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn batched_map_slice<A, T, F>(
        &self,
        f: F,
        items: impl Into<Arc<[A]>>,
    ) -> BatchedMap<impl Fn(usize) -> T + Send + Sync + 'static, Range<usize>>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(&A) -> T + Send + Sync + 'static,
    {
        let items: Arc<[A]> = items.into();
        let places = 0..items.len();
        self.batched_map(move |place: usize| f(&items[place]), places)
    }
}

impl<F, I> BatchedMap<F, I> {
    /// Sets how many items travel together. The default grows with the stream, from 1 to 4096.
    pub fn batch_size(mut self, items: usize) -> Self {
        self.options.batch = Some(items.max(1));
        self
    }

    /// Sets how many items may be in flight: taken from the iterator, result not yet given out.
    pub fn window(mut self, items: usize) -> Self {
        self.options.window = items.max(1);
        self
    }

    /// Sets how many bytes the items in flight may hold: `item_bytes` each. The default is a quarter of all allowances.
    pub fn window_bytes(mut self, bytes: ByteSize) -> Self {
        self.options.window_bytes = bytes.0;
        self
    }

    /// Says how many bytes an item and its result hold, with what they own. The default is their own size, so it is too
    /// little for items that own memory, such as strings and vectors.
    pub fn item_bytes(mut self, bytes: ByteSize) -> Self {
        self.options.item_bytes = bytes.0;
        self
    }

    /// Names the tasks and sets their priority and projected bytes (a batch's). Retries are of no use here: the items of a
    /// batch are moved into the function.
    pub fn task(mut self, task: Task) -> Self {
        self.options.task = task.retries(0);
        self
    }

    /// Calls `progress` with the number of items done, and of all where it is known, as batches end.
    pub fn progress(mut self, progress: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Self {
        self.options.progress = Some(Arc::new(progress));
        self
    }

    /// Draws a bar with rate and remaining time on the terminal's standard error; nothing where that is no terminal.
    #[cfg(feature = "progress")]
    pub fn progress_bar(mut self, label: &str) -> Self {
        self.options.progress = Some(bar::draw(label));
        self
    }
}
