//! Folding on the lanes, with nothing stored per item: a range is split into blocks, anything else into batches.

use std::cell::Cell;
use std::iter::Sum;
use std::sync::Arc;

use super::pump::{Batch, Pump};
use super::span::Span;
use super::{BatchedMap, Options};
use crate::error::Result;
use crate::runtime::blocks::{Blocks, Progress};
use crate::runtime::cluster::Cluster;
use crate::runtime::task::caught_at;

/// How a run of results becomes one, and two such become one.
trait Folder<T>: Send + Sync + 'static {
    type Out: Send + 'static;

    fn run(&self, results: impl Iterator<Item = T>) -> Self::Out;
    fn join(&self, left: Self::Out, right: Self::Out) -> Self::Out;
}

/// A range is cut into about this many blocks.
const BLOCKS: u64 = 1024;

/// No block is longer, so that a cancelled fold ends soon.
const LONGEST_BLOCK: u64 = 1 << 20;

impl<F, I, T> BatchedMap<F, I>
where
    I: Iterator,
    I::Item: Send + 'static,
    T: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
{
    fn run<D: Folder<T>>(self, folder: D) -> Result<D::Out> {
        let BatchedMap { cluster, code, mut items, options } = self;
        match Span::of(&mut items) {
            Some(span) => fold_span(&cluster, &options, code, span, folder),
            None => fold_batches(cluster, options, code, items, folder),
        }
    }

    /// Folds the results: each stretch from `init()`, the stretches joined by `combine` in input order.
    ///
    /// # Errors
    ///
    /// The first failing item's, with its index; those of [`Cluster::submit`] and of waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let words = ["to", "be", "or", "not", "to", "be"];
    /// let letters = cluster.batched_map(str::len, words).fold(|| 0, |sum, n| sum + n, |a, b| a + b)?;
    /// assert_eq!(letters, 13);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn fold<R, N, G, C>(self, init: N, fold: G, combine: C) -> Result<R>
    where
        R: Send + 'static,
        N: Fn() -> R + Send + Sync + 'static,
        G: Fn(R, T) -> R + Send + Sync + 'static,
        C: Fn(R, R) -> R + Send + Sync + 'static,
    {
        self.run(With { init, fold, combine })
    }

    /// Sums the results.
    ///
    /// # Errors
    ///
    /// As [`fold`](Self::fold).
    pub fn sum<S>(self) -> Result<S>
    where
        S: Sum<T> + Sum<S> + Send + 'static,
    {
        self.run(Summing(std::marker::PhantomData::<fn() -> S>))
    }

    /// Joins the results pairwise; `None` for no items.
    ///
    /// # Errors
    ///
    /// As [`fold`](Self::fold).
    pub fn reduce<C>(self, combine: C) -> Result<Option<T>>
    where
        C: Fn(T, T) -> T + Send + Sync + 'static,
    {
        self.run(Reducing(combine))
    }

    /// Runs the function on every item and counts them.
    ///
    /// # Errors
    ///
    /// As [`fold`](Self::fold).
    pub fn count(self) -> Result<u64> {
        self.run(With { init: || 0, fold: |n, _| n + 1, combine: |a, b| a + b })
    }

    /// Runs the function, then `f` on its result, on the lanes.
    ///
    /// # Errors
    ///
    /// As [`fold`](Self::fold).
    pub fn for_each(self, f: impl Fn(T) + Send + Sync + 'static) -> Result<()> {
        self.run(With { init: || (), fold: move |(), result| f(result), combine: |(), ()| () })
    }

    /// Collects the results in input order.
    ///
    /// # Errors
    ///
    /// As [`fold`](Self::fold).
    pub fn collect<B: FromIterator<T>>(self) -> Result<B> {
        self.into_iter().collect()
    }
}

struct With<N, G, C> {
    init: N,
    fold: G,
    combine: C,
}

impl<T, R, N, G, C> Folder<T> for With<N, G, C>
where
    R: Send + 'static,
    N: Fn() -> R + Send + Sync + 'static,
    G: Fn(R, T) -> R + Send + Sync + 'static,
    C: Fn(R, R) -> R + Send + Sync + 'static,
{
    type Out = R;

    fn run(&self, results: impl Iterator<Item = T>) -> R {
        results.fold((self.init)(), &self.fold)
    }

    fn join(&self, left: R, right: R) -> R {
        (self.combine)(left, right)
    }
}

struct Summing<S>(std::marker::PhantomData<fn() -> S>);

impl<T, S: Sum<T> + Sum<S> + Send + 'static> Folder<T> for Summing<S> {
    type Out = S;

    fn run(&self, results: impl Iterator<Item = T>) -> S {
        results.sum()
    }

    fn join(&self, left: S, right: S) -> S {
        [left, right].into_iter().sum()
    }
}

struct Reducing<C>(C);

impl<T: Send + 'static, C: Fn(T, T) -> T + Send + Sync + 'static> Folder<T> for Reducing<C> {
    type Out = Option<T>;

    fn run(&self, results: impl Iterator<Item = T>) -> Option<T> {
        results.reduce(&self.0)
    }

    fn join(&self, left: Option<T>, right: Option<T>) -> Option<T> {
        match (left, right) {
            (Some(left), Some(right)) => Some((self.0)(left, right)),
            (left, right) => left.or(right),
        }
    }
}

/// Folds a range: numbered blocks, joined in the fixed tree.
fn fold_span<A, T, F, D>(cluster: &Cluster, options: &Options, code: Arc<F>, span: Span<A>, folder: D) -> Result<D::Out>
where
    A: Send + 'static,
    T: Send + 'static,
    F: Fn(A) -> T + Send + Sync + 'static,
    D: Folder<T>,
{
    let len = span.len;
    // The longest block holds unless there would be more blocks than an index can number.
    let block_len = (len / BLOCKS).clamp(1, LONGEST_BLOCK).max(len.div_ceil(1 << 31));
    let folder = Arc::new(folder);
    let blocks = Blocks {
        n: len.div_ceil(block_len) as usize,
        projected_bytes: options.task.projected,
        progress: block_progress(options, block_len, len),
        ..Blocks::named(options.task.name.clone())
    };
    let (run, name, span) = (folder.clone(), blocks.name.clone(), Arc::new(span));
    let fold = move |block: usize, _: &crate::runtime::TaskContext| {
        let start = block as u64 * block_len;
        let end = len.min(start + block_len);
        caught_at(&name, |at| run.run(walk(&span, start, end, at).map(|item| code(item))))
    };
    let join = folder.clone();
    let joined = cluster.reduce_blocks(&blocks, fold, move |a, b| Ok(join.join(a, b)))?;
    Ok(joined.unwrap_or_else(|| folder.run(std::iter::empty())))
}

/// Walks a part of a span, noting where it is. The note costs nothing where the function cannot panic.
#[inline]
fn walk<A: 'static>(span: &Span<A>, start: u64, end: u64, at: &Cell<Option<u64>>) -> impl Iterator<Item = A> {
    (start..end).map(|offset| {
        at.set(Some(offset));
        span.at(offset)
    })
}

fn block_progress(options: &Options, block_len: u64, len: u64) -> Option<Progress> {
    let progress = options.progress.clone()?;
    Some(Arc::new(move |done, _| progress((done as u64 * block_len).min(len), Some(len))))
}

/// Folds an iterator: batches, joined from left to right.
fn fold_batches<I, T, F, D>(cluster: Cluster, options: Options, code: Arc<F>, items: I, folder: D) -> Result<D::Out>
where
    I: Iterator,
    I::Item: Send + 'static,
    T: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
    D: Folder<T>,
{
    let folder = Arc::new(folder);
    let (run, name) = (folder.clone(), options.task.name.clone());
    let work = move |(first, items): Batch<I::Item>| {
        caught_at(&name, |at| {
            let numbered = (first..).zip(items);
            run.run(numbered.map(|(index, item)| {
                at.set(Some(index));
                code(item)
            }))
        })
    };
    let mut pump = Pump::new(cluster, items, options, work);
    let mut joined: Option<D::Out> = None;
    while let Some(part) = pump.next() {
        let part = part.and_then(|part| part)?;
        joined = Some(match joined {
            None => part,
            Some(left) => folder.join(left, part),
        });
    }
    Ok(joined.unwrap_or_else(|| folder.run(std::iter::empty())))
}
