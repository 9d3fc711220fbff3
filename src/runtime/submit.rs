//! Starting tasks: one, one for each item, without waiting, from async code.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use super::blocking;
use super::cluster::Cluster;
use super::future::Future;
use super::hub::{Hub, Work};
use super::jobs::{Kept, Left, Once, Pack, Repeat};
use super::promise::Cells;
use super::task::Task;
use crate::error::{Error, Result};

/// Work that was not taken because the queue is full; it comes back in `work`.
#[derive(Debug)]
pub struct Full<F> {
    /// The work.
    pub work: F,
    /// Why it was not taken: [`Error::QueueFull`], or [`Error::Shutdown`] and the like.
    pub error: Error,
}

impl<F> std::fmt::Display for Full<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl<F: std::fmt::Debug> std::error::Error for Full<F> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Cluster {
    /// Starts a task. Waits where the queue is full; inside a task it does not wait but is refused at twice the limit.
    ///
    /// # Errors
    ///
    /// [`Error::Shutdown`] and [`Error::ClusterDown`] when the cluster has ended; [`Error::QueueFull`] on an async thread
    /// or inside a task, where waiting for room is not allowed; [`Error::Forked`].
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let future = cluster.submit(|| (1..=100u32).sum::<u32>())?;
    /// assert_eq!(future.wait()?, 5050);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn submit<T, F>(&self, work: F) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let task = Task::default();
        let (job, future) = once(self.hub(), &task, move || Ok(work()));
        self.hub().submit(&job, &task, &[])?;
        Ok(future)
    }

    /// Starts a task with a name, a priority, retries, projected bytes, a deadline.
    ///
    /// The work is `Fn`, because a task with retries may run again; [`submit_once`](Self::submit_once) takes a `FnOnce`.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit), and [`Error::TooBig`] for a task that could never fit.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, Task};
    /// let cluster = Cluster::builder().workers(2).build()?;
    /// let future = cluster.submit_task(Task::named("sum").priority(1).retries(2), || 1 + 1)?;
    /// assert_eq!(future.name(), "sum");
    /// assert_eq!(future.wait()?, 2);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn submit_task<T, F>(&self, task: Task, work: F) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        let cells = Cells::one(self.hub(), &task.name);
        let future = Future::new(cells.clone(), 0);
        let job: Work = Arc::new(Repeat { cells, code: Kept::new(work) });
        self.hub().submit(&job, &task, &[])?;
        Ok(future)
    }

    /// Starts a task whose work can run only once; `task.retries` is of no use to it.
    ///
    /// # Errors
    ///
    /// As [`submit_task`](Self::submit_task).
    pub fn submit_once<T, F>(&self, task: Task, work: F) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let task = task.retries(0);
        let (job, future) = once(self.hub(), &task, move || Ok(work()));
        self.hub().submit(&job, &task, &[])?;
        Ok(future)
    }

    /// Starts a task if there is room in the queue, and gives the work back otherwise. Never waits.
    ///
    /// # Errors
    ///
    /// [`Full`] with the work and the reason.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// match cluster.try_submit(|| 7) {
    ///     Ok(future) => assert_eq!(future.wait()?, 7),
    ///     Err(full) => println!("busy: {full}"),
    /// }
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn try_submit<T, F>(&self, work: F) -> Result<Future<T>, Full<F>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        // The closure must come back as it was, so the job holds it unwrapped.
        let task = Task::default();
        let cells = Cells::one(self.hub(), &task.name);
        let held = Arc::new(Mutex::new(Some(work)));
        let inside = held.clone();
        let code = move || {
            let work = super::hub::lock(&inside).take();
            work.map(|work| work()).ok_or(Error::QueueFull { queued: 0, limit: 0 })
        };
        let future = Future::new(cells.clone(), 0);
        let job: Work = Once::new(&cells, code);
        match self.hub().try_submit(&job, &task, Vec::new()) {
            Ok(()) => Ok(future),
            Err(error) => {
                let work = super::hub::lock(&held).take();
                Err(Full { work: work.expect("a job that was refused never runs"), error })
            }
        }
    }

    /// Starts a task from async code: waits for room in the queue without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`submit_task`](Self::submit_task), without [`Error::QueueFull`].
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let future = cluster.submit_async(|| 6 * 7).await?;
    /// assert_eq!(future.await?, 42);
    /// # Ok::<(), allotment::Error>(()) }).expect("an answer");
    /// ```
    pub async fn submit_async<T, F>(&self, work: F) -> Result<Future<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let task = Task::default();
        let (job, future) = once(self.hub(), &task, move || Ok(work()));
        std::future::poll_fn(|context| match self.hub().submit_or_watch(&job, &task, &[], context.waker()) {
            Err(Error::QueueFull { .. }) => Poll::Pending,
            done => Poll::Ready(done),
        })
        .await?;
        Ok(future)
    }

    /// Runs `f` on every item, as one future an item, in input order.
    ///
    /// Items travel in packs, so that a message is paid per pack; each item has its own result, error and cancellation.
    /// Equal items run as often as they are given. For streams, and for results that need not all be held at once, see
    /// [`batched_map`](Self::batched_map).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit); what was started by then is cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let futures = cluster.map(|x: i64| x + 1, [1, 2, 3])?;
    /// assert_eq!(cluster.gather(futures)?, [2, 3, 4]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn map<A, T, F, I>(&self, f: F, items: I) -> Result<Vec<Future<T>>>
    where
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        T: Send + 'static,
        F: Fn(A) -> T + Send + Sync + 'static,
    {
        self.map_task(Task::named("map"), f, items)
    }

    /// [`map`](Self::map) with a name, a priority, retries, a deadline. `projected` is meant for each pack, whose items run one after another.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), and [`Error::TooBig`].
    pub fn map_task<A, T, F, I>(&self, task: Task, f: F, items: I) -> Result<Vec<Future<T>>>
    where
        I: IntoIterator<Item = A>,
        A: Send + 'static,
        T: Send + 'static,
        F: Fn(A) -> T + Send + Sync + 'static,
    {
        let code = Arc::new(Kept::new(f));
        let mut items = items.into_iter();
        let mut futures = Vec::with_capacity(items.size_hint().0.min(1 << 24));
        for pack in 0.. {
            let batch: Vec<A> = items.by_ref().take(pack_len(pack)).collect();
            if batch.is_empty() {
                break;
            }
            let cells = Cells::many(self.hub(), &task.name, batch.len(), futures.len() as u64);
            futures.extend((0..batch.len()).map(|i| Future::new(cells.clone(), i)));
            let left = Mutex::new(Left { items: batch.into_iter(), begun: 0, worker: 0 });
            let job: Work = Arc::new(Pack { cells, code: code.clone(), left });
            self.hub().submit(&job, &task, &[])?;
        }
        Ok(futures)
    }

    /// [`map`](Self::map) over two iterables, item by item.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), and [`Error::UnequalLengths`] naming both lengths, before anything runs.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let futures = cluster.map2(|a: u32, b: u32| a * b, [1, 2, 3], [4, 5, 6])?;
    /// assert_eq!(cluster.gather(futures)?, [4, 10, 18]);
    /// assert!(cluster.map2(|a: u32, b: u32| a * b, [1, 2, 3], [4, 5]).is_err());
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn map2<A, B, T, F>(
        &self,
        f: F,
        first: impl IntoIterator<Item = A>,
        second: impl IntoIterator<Item = B>,
    ) -> Result<Vec<Future<T>>>
    where
        A: Send + 'static,
        B: Send + 'static,
        T: Send + 'static,
        F: Fn(A, B) -> T + Send + Sync + 'static,
    {
        let (first, second) = (collect(first), collect(second));
        same_length(first.len(), 2, second.len())?;
        self.map(move |(a, b)| f(a, b), first.into_iter().zip(second))
    }

    /// [`map`](Self::map) over three iterables, item by item.
    ///
    /// # Errors
    ///
    /// As [`map2`](Self::map2).
    pub fn map3<A, B, C, T, F>(
        &self,
        f: F,
        first: impl IntoIterator<Item = A>,
        second: impl IntoIterator<Item = B>,
        third: impl IntoIterator<Item = C>,
    ) -> Result<Vec<Future<T>>>
    where
        A: Send + 'static,
        B: Send + 'static,
        C: Send + 'static,
        T: Send + 'static,
        F: Fn(A, B, C) -> T + Send + Sync + 'static,
    {
        let (first, second, third) = (collect(first), collect(second), collect(third));
        same_length(first.len(), 2, second.len())?;
        same_length(first.len(), 3, third.len())?;
        self.map(move |((a, b), c)| f(a, b, c), first.into_iter().zip(second).zip(third))
    }

    /// Returns whether this thread may wait: `false` on a thread that drives a tokio runtime.
    pub fn may_block() -> bool {
        !blocking::is_async()
    }
}

fn collect<A>(items: impl IntoIterator<Item = A>) -> Vec<A> {
    items.into_iter().collect()
}

fn same_length(first: usize, which: usize, found: usize) -> Result<()> {
    if first == found { Ok(()) } else { Err(Error::UnequalLengths { first, which, found }) }
}

/// Packs grow with the input: the first items run one by one, the millionth in a pack of some hundred, and no pack holds
/// more than an eighth of what came before, so that the end of a map is shared out evenly.
pub(crate) fn pack_len(pack: usize) -> usize {
    (1 + pack / 8).min(1024)
}

/// Makes the job and the future of work that runs once and gives a result.
pub(crate) fn once<T, F>(hub: &Arc<Hub>, task: &Task, work: F) -> (Work, Future<T>)
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let cells = Cells::one(hub, &task.name);
    let future = Future::new(cells.clone(), 0);
    (Once::new(&cells, work), future)
}
