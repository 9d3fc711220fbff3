//! Declared inputs: a task that starts when the results it needs are there, and holds nothing while it waits.
//!
//! ```text
//!   a ──┐
//!       ├──▶ submit_with((&a, b), |a, b| …)        &Shared<T> is read as &T, Future<T> is moved in as T
//!   b ──┘
//! ```

use std::sync::Arc;

use super::cluster::Cluster;
use super::core::TaskId;
use super::future::{Future, Shared};
use super::task::Task;
use crate::error::{Error, Result};

/// A result that a task can be given: `&Shared<T>` (read) or `Future<T>` (moved in), and tuples and `Vec`s of them.
/// Sealed: the tasks behind it must be known to the cluster.
pub trait Inputs: sealed::Sealed {
    /// What keeps the results until the task runs.
    type Held: Send + 'static;
    /// What the task's code gets.
    type Given;

    /// Returns what to hold on to.
    #[doc(hidden)]
    fn hold(self, tasks: &mut sealed::Tasks) -> Self::Held;
    /// Takes the results when all are there.
    #[doc(hidden)]
    fn give(held: Self::Held) -> Result<Self::Given>;
}

mod sealed {
    use super::TaskId;

    /// The tasks that must end first.
    #[derive(Debug, Default)]
    pub struct Tasks(pub(crate) Vec<TaskId>);

    pub trait Sealed {}
}

impl<T> sealed::Sealed for Future<T> {}

impl<T: Send + 'static> Inputs for Future<T> {
    type Held = Future<T>;
    type Given = T;

    fn hold(self, tasks: &mut sealed::Tasks) -> Future<T> {
        tasks.0.extend(self.control().task());
        self
    }

    fn give(mut held: Future<T>) -> Result<T> {
        held.try_get().unwrap_or_else(|| Err(missing(held.name())))
    }
}

impl<T> sealed::Sealed for &Shared<T> {}

impl<T: Send + Sync + 'static> Inputs for &Shared<T> {
    type Held = Shared<T>;
    type Given = Arc<T>;

    fn hold(self, tasks: &mut sealed::Tasks) -> Shared<T> {
        tasks.0.extend(self.control().task());
        self.clone()
    }

    fn give(held: Shared<T>) -> Result<Arc<T>> {
        held.try_get().unwrap_or_else(|| Err(missing("an input")))
    }
}

/// The core starts a task only when its inputs are answered; an input that is not can only be one of another cluster.
fn missing(name: &str) -> Error {
    Error::Unsupported {
        what: format!("the input {name:?}, a future of another cluster,").into(),
        instead: "wait for it first and pass its value".into(),
    }
}

impl<I: Inputs> sealed::Sealed for Vec<I> {}

impl<I: Inputs> Inputs for Vec<I> {
    type Held = Vec<I::Held>;
    type Given = Vec<I::Given>;

    fn hold(self, tasks: &mut sealed::Tasks) -> Self::Held {
        self.into_iter().map(|input| input.hold(tasks)).collect()
    }

    fn give(held: Self::Held) -> Result<Self::Given> {
        held.into_iter().map(I::give).collect()
    }
}

macro_rules! tuples {
    ($($name:ident),+) => {
        impl<$($name: Inputs),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: Inputs),+> Inputs for ($($name,)+) {
            type Held = ($($name::Held,)+);
            type Given = ($($name::Given,)+);

            #[expect(non_snake_case, reason = "the macro names a value after its type parameter")]
            fn hold(self, tasks: &mut sealed::Tasks) -> Self::Held {
                let ($($name,)+) = self;
                ($($name.hold(tasks),)+)
            }

            #[expect(non_snake_case, reason = "the macro names a value after its type parameter")]
            fn give(held: Self::Held) -> Result<Self::Given> {
                let ($($name,)+) = held;
                Ok(($($name::give($name)?,)+))
            }
        }
    };
}

tuples!(A);
tuples!(A, B);
tuples!(A, B, C);
tuples!(A, B, C, D);

impl Cluster {
    /// Starts a task when its inputs are there. An input that fails fails the task with the same error, and its code does
    /// not run.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let a = cluster.submit(|| vec![1, 2, 3])?.share();
    /// let b = cluster.submit(|| 10)?;
    /// // `a` is shared: read where it is. `b` is moved in.
    /// let c = cluster.submit_with((&a, b), |(a, b)| a.iter().map(|x| x * b).sum::<i32>())?;
    /// let d = cluster.submit_with((&a, c), |(a, c)| c + a.len() as i32)?;
    /// assert_eq!(d.wait()?, 63);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn submit_with<I, T, F>(&self, inputs: I, work: F) -> Result<Future<T>>
    where
        I: Inputs,
        T: Send + 'static,
        F: FnOnce(I::Given) -> T + Send + 'static,
    {
        self.submit_with_task(Task::named("submit_with"), inputs, work)
    }

    /// [`submit_with`](Self::submit_with) with a name, a priority, projected bytes, a deadline.
    ///
    /// # Errors
    ///
    /// As [`submit_task`](Self::submit_task).
    pub fn submit_with_task<I, T, F>(&self, task: Task, inputs: I, work: F) -> Result<Future<T>>
    where
        I: Inputs,
        T: Send + 'static,
        F: FnOnce(I::Given) -> T + Send + 'static,
    {
        self.submit_fallible(task.retries(0), inputs, move |given| Ok(work(given)))
    }
}

/// Holds on to inputs and lists the tasks behind them.
pub(crate) fn hold<I: Inputs>(inputs: I) -> (I::Held, Vec<TaskId>) {
    let mut tasks = sealed::Tasks::default();
    (inputs.hold(&mut tasks), tasks.0)
}
