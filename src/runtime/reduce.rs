//! Joining many results into one, pairwise, in a fixed tree over the item order (`blocks.rs` draws it).

use std::sync::{Arc, Mutex};

use super::blocks::Blocks;
use super::cluster::Cluster;
use super::future::Future;
use super::hub::lock;
use super::inputs::Inputs;
use super::submit::once;
use super::task::{Task, caught};
use super::tree::Carry;
use crate::error::Result;

impl Cluster {
    /// Runs `map` on every item and joins the results pairwise in a fixed tree over the item order, so that floats give
    /// the same bits on any number of workers. `None` for no items.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit); the future's error is that of the first item that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let longest = cluster.map_reduce(["a", "ccc", "bb"], str::len, usize::max)?;
    /// assert_eq!(longest.wait()?, Some(3));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn map_reduce<A, R, M, C>(
        &self,
        items: impl IntoIterator<Item = A>,
        map: M,
        combine: C,
    ) -> Result<Future<Option<R>>>
    where
        A: Send + 'static,
        R: Send + 'static,
        M: Fn(A) -> R + Send + Sync + 'static,
        C: Fn(R, R) -> R + Send + Sync + 'static,
    {
        let items: Vec<Mutex<Option<A>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
        // A block is a whole subtree of the tree over single items, so its length does not change the shape.
        let block_len = items.len().div_ceil(1024).next_power_of_two();
        let blocks = Blocks { n: items.len().div_ceil(block_len), ..Blocks::named("map_reduce") };
        let (items, combine) = (Arc::new(items), Arc::new(combine));
        let join = combine.clone();
        let fold = move |block: usize, _: &super::TaskContext| {
            let range = block * block_len..items.len().min((block + 1) * block_len);
            let name: Arc<str> = "map_reduce".into();
            let mut tree = Carry::default();
            for i in range {
                let Some(item) = lock(&items[i]).take() else { continue };
                let value = caught(&name, Some(i as u64), || map(item))?;
                tree.push(value, &*join);
            }
            Ok(tree.finish(&*join))
        };
        let both = move |left: Option<R>, right: Option<R>| {
            Ok(match (left, right) {
                (Some(left), Some(right)) => Some(combine(left, right)),
                (left, right) => left.or(right),
            })
        };
        let reduced = self.start_reduce_blocks(&blocks, fold, both)?;
        self.submit_with_task(Task::named("map_reduce"), reduced, Option::flatten)
    }

    /// Joins the results of futures pairwise in a fixed tree over their order, each join a task that starts when its two
    /// halves are there. `None` for no futures.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit); a future that fails fails the result.
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let parts = cluster.map(|i: u64| i * i, 0..100)?;
    /// let sum = cluster.reduce(parts, |a, b| a + b)?;
    /// assert_eq!(sum.wait()?, Some(328_350));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn reduce<T, C>(&self, futures: impl IntoIterator<Item = Future<T>>, combine: C) -> Result<Future<Option<T>>>
    where
        T: Send + 'static,
        C: Fn(T, T) -> T + Send + Sync + 'static,
    {
        let combine = Arc::new(combine);
        let mut level: Vec<Future<T>> = futures.into_iter().collect();
        while level.len() > 1 {
            let mut halves = level.into_iter();
            let mut joined = Vec::with_capacity(halves.len().div_ceil(2));
            while let Some(left) = halves.next() {
                let Some(right) = halves.next() else {
                    joined.push(left);
                    break;
                };
                let join = combine.clone();
                joined.push(self.submit_with_task(Task::named("reduce"), (left, right), move |(a, b)| join(a, b))?);
            }
            level = joined;
        }
        match level.pop() {
            Some(root) => self.submit_with_task(Task::named("reduce"), root, Some),
            None => self.submit(|| None),
        }
    }

    /// Starts a task with declared inputs whose code gives a result: its error is the future's.
    pub(crate) fn submit_fallible<I, T, F>(&self, task: Task, inputs: I, work: F) -> Result<Future<T>>
    where
        I: Inputs,
        T: Send + 'static,
        F: FnOnce(I::Given) -> Result<T> + Send + 'static,
    {
        let (held, tasks) = super::inputs::hold(inputs);
        let (job, future) = once(self.hub(), &task, move || I::give(held).and_then(work));
        self.hub().submit(&job, &task, &tasks)?;
        Ok(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_reduce_joins_as_a_tree_over_single_items() {
        let cluster = Cluster::builder().workers(3).build().expect("a cluster");
        for n in [0usize, 1, 2, 5, 1023, 1024, 1025, 5000] {
            let mut tree = Carry::default();
            (0..n).for_each(|i| tree.push(1.0 / (i + 1) as f64, |a, b| a + b));
            let expected = tree.finish(|a, b| a + b).map(f64::to_bits);
            let sum = cluster.map_reduce(0..n, |i| 1.0 / (i + 1) as f64, |a, b| a + b).expect("taken");
            assert_eq!(sum.wait().expect("summed").map(f64::to_bits), expected, "{n} items");
        }
    }

    #[test]
    fn the_first_item_that_panics_is_named() {
        let cluster = Cluster::builder().workers(2).build().expect("a cluster");
        let sum = cluster.map_reduce(0..100u32, |i| 100 / (50u32.wrapping_sub(i)), |a, b| a + b).expect("taken");
        let error = sum.wait().expect_err("item 50 divides by zero");
        assert!(error.to_string().contains("item 50"), "{error}");
    }
}
