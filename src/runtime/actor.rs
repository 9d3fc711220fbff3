//! A value that lives on one worker and answers calls in order.
//!
//! For state that is dear to make and cannot be shared: a connection, a model, an index under construction. Each call is
//! a task whose declared input is the call before it, so calls run one at a time, in the order in which they were made,
//! and hold nothing while they wait. A call that panics costs the value, which is made anew for the next one, as often as
//! the restart policy allows.
//!
//! Always true: at most one call touches the value; after a panic, or when its lane is lost, nobody sees the old value.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use super::blocking;
use super::cluster::Cluster;
use super::core::TaskId;
use super::core::restart::{Deaths, RestartPolicy, Verdict};
use super::future::Future;
use super::hub::{Hub, Work, lock};
use super::submit::once;
use super::task::{Task, caught, discard};
use crate::error::{Error, Result};

/// Where the value is.
enum Place<S> {
    /// Not made yet.
    Nowhere,
    Here(S),
    /// In a call; the number tells that call from later ones.
    Out(u64),
    /// It died more often than the policy allows.
    Failed(Arc<str>),
}

struct Seat<S> {
    place: Place<S>,
    calls: u64,
    deaths: Deaths,
}

struct Shared<S> {
    hub: Arc<Hub>,
    task: Task,
    policy: RestartPolicy,
    init: Box<dyn Fn() -> S + Send + Sync>,
    seat: Mutex<Seat<S>>,
    last: Mutex<Option<TaskId>>,
}

/// A handle to a value that lives on one worker. Clones are handles to the same value, which is dropped with the last
/// handle and the last call.
pub struct Actor<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Clone for Actor<S> {
    fn clone(&self) -> Self {
        Actor { shared: self.shared.clone() }
    }
}

impl<S> std::fmt::Debug for Actor<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("name", &self.shared.task.name).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Makes a value that lives on one worker. `init` runs there, before the first call, and again after a call panicked.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    /// let cluster = allotment::Cluster::builder().workers(2).build()?;
    /// let counter = cluster.actor(|| 0u64)?;
    /// let calls: Vec<_> = (1..=10).map(|n| counter.call(move |sum| { *sum += n; *sum })).collect::<Result<_, _>>()?;
    /// assert_eq!(cluster.gather(calls)?, [1, 3, 6, 10, 15, 21, 28, 36, 45, 55]);
    /// # Ok::<(), allotment::Error>(())
    /// ```
    pub fn actor<S, F>(&self, init: F) -> Result<Actor<S>>
    where
        S: Send + 'static,
        F: Fn() -> S + Send + Sync + 'static,
    {
        self.actor_task(Task::named("actor"), RestartPolicy::default(), init)
    }

    /// [`actor`](Self::actor) with a name, a priority, projected bytes (a call's) and a restart policy.
    ///
    /// # Errors
    ///
    /// As [`submit_task`](Self::submit_task).
    pub fn actor_task<S, F>(&self, task: Task, policy: RestartPolicy, init: F) -> Result<Actor<S>>
    where
        S: Send + 'static,
        F: Fn() -> S + Send + Sync + 'static,
    {
        self.hub().same_process()?;
        let worker = task.worker.unwrap_or_else(|| self.least_loaded());
        let seat = Seat { place: Place::Nowhere, calls: 0, deaths: Deaths::default() };
        let shared = Shared {
            hub: self.hub().clone(),
            task: task.retries(0).on_worker(worker),
            policy,
            init: Box::new(init),
            seat: Mutex::new(seat),
            last: Mutex::new(None),
        };
        Ok(Actor { shared: Arc::new(shared) })
    }

    fn least_loaded(&self) -> usize {
        let view = self.hub().look(|core| core.view());
        let load = |w: &&super::core::WorkerView| (!w.up, w.queued + w.running.len(), w.worker);
        view.iter().min_by_key(load).map_or(0, |w| w.worker)
    }
}

impl<S: Send + 'static> Actor<S> {
    /// Calls `f` with the value, after all calls made before.
    ///
    /// # Errors
    ///
    /// As [`Cluster::submit`]; the future's error is [`Error::TaskPanicked`] for a call that panicked, and
    /// [`Error::ActorFailed`] for all calls after more panics than the restart policy allows.
    pub fn call<R, F>(&self, f: F) -> Result<Future<R>>
    where
        R: Send + 'static,
        F: FnOnce(&mut S) -> R + Send + 'static,
    {
        let (job, future) = self.job(f);
        let full = match self.shared.submit(&job) {
            Err(full @ Error::QueueFull { .. }) => full,
            done => return done.map(|()| future),
        };
        if self.shared.hub.this_lane().is_some() || blocking::is_async() {
            return Err(full);
        }
        let submitted = blocking::park_until(None, |waker| {
            self.shared.hub.watch_room(waker);
            match self.shared.submit(&job) {
                Err(Error::QueueFull { .. }) => None,
                done => Some(done),
            }
        });
        submitted.unwrap_or(Err(full)).map(|()| future)
    }

    /// [`call`](Self::call) from async code: waits for room in the queue without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), without [`Error::QueueFull`].
    pub async fn call_async<R, F>(&self, f: F) -> Result<Future<R>>
    where
        R: Send + 'static,
        F: FnOnce(&mut S) -> R + Send + 'static,
    {
        let (job, future) = self.job(f);
        std::future::poll_fn(|context| {
            self.shared.hub.watch_room(context.waker());
            match self.shared.submit(&job) {
                Err(Error::QueueFull { .. }) => Poll::Pending,
                done => Poll::Ready(done),
            }
        })
        .await?;
        Ok(future)
    }

    fn job<R, F>(&self, f: F) -> (Work, Future<R>)
    where
        R: Send + 'static,
        F: FnOnce(&mut S) -> R + Send + 'static,
    {
        let shared = self.shared.clone();
        once(&self.shared.hub, &self.shared.task, move || shared.run(f))
    }
}

impl<S: Send + 'static> Shared<S> {
    /// Submits a call behind the last one; never waits while it holds the order.
    fn submit(&self, job: &Work) -> Result<()> {
        if self.hub.is_serial() {
            return self.hub.try_submit(job, &self.task, Vec::new());
        }
        let mut last = lock(&self.last);
        self.hub.try_submit(job, &self.task, last.iter().copied().collect())?;
        *last = job.control().task();
        Ok(())
    }

    fn run<R>(&self, f: impl FnOnce(&mut S) -> R) -> Result<R> {
        let name = &self.task.name;
        let (call, value) = self.take()?;
        let mut value = match value {
            Some(value) => value,
            None => caught(name, None, || (self.init)()).inspect_err(|error| self.died(call, error))?,
        };
        // What the panic left half done goes with the value.
        let answer = caught(name, None, || f(&mut value));
        match &answer {
            Ok(_) => self.put(call, value),
            Err(error) => {
                discard(value);
                self.died(call, error);
            }
        }
        answer
    }

    /// Takes the value out for a call; `None` when it must be made first.
    fn take(&self) -> Result<(u64, Option<S>)> {
        let mut seat = lock(&self.seat);
        let call = seat.calls + 1;
        let value = match std::mem::replace(&mut seat.place, Place::Out(call)) {
            Place::Nowhere => None,
            Place::Here(value) => Some(value),
            Place::Failed(cause) => {
                seat.place = Place::Failed(cause.clone());
                return Err(Error::ActorFailed { actor: self.task.name.clone(), cause });
            }
            Place::Out(other) if self.hub.is_serial() => {
                seat.place = Place::Out(other);
                let path = format!("actor {:?} waits for its own call", self.task.name).into();
                return Err(Error::WouldDeadlock { path });
            }
            // Calls come one after the other, so the one that has it was lost with its lane.
            Place::Out(lost) => {
                seat.place = Place::Out(lost);
                drop(seat);
                let cause = "the lane that ran its call was lost".into();
                self.died(lost, &Error::ClusterDown { cause });
                return self.take();
            }
        };
        seat.calls = call;
        Ok((call, value))
    }

    /// Puts the value back, unless the call was given up for lost meanwhile.
    fn put(&self, call: u64, value: S) {
        let mut seat = lock(&self.seat);
        if matches!(seat.place, Place::Out(current) if current == call) {
            seat.place = Place::Here(value);
        } else {
            drop(seat);
            discard(value);
        }
    }

    /// Counts a death: the value is made anew for the next call, or the actor has failed.
    fn died(&self, call: u64, error: &Error) {
        let mut seat = lock(&self.seat);
        if !matches!(seat.place, Place::Out(current) if current == call) {
            return;
        }
        seat.place = match seat.deaths.record(&self.policy, self.hub.now_ms()) {
            Verdict::Restart { .. } => Place::Nowhere,
            Verdict::GiveUp => {
                let RestartPolicy { max_restarts, within, .. } = &self.policy;
                Place::Failed(format!("more than {max_restarts} deaths within {within:?}, the last: {error}").into())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Scheduler;

    fn clusters() -> [Cluster; 3] {
        let serial = Cluster::builder().scheduler(Scheduler::Serial).build().unwrap();
        [serial, Cluster::builder().workers(1).build().unwrap(), Cluster::builder().workers(3).build().unwrap()]
    }

    #[test]
    fn calls_run_one_at_a_time_in_the_order_in_which_they_were_made() {
        for cluster in clusters() {
            let log = cluster.actor(Vec::new).unwrap();
            let calls: Vec<_> = (0..500).map(|i| log.call(move |log: &mut Vec<i32>| log.push(i)).unwrap()).collect();
            cluster.gather(calls).unwrap();
            assert_eq!(log.call(|log| log.clone()).unwrap().wait().unwrap(), (0..500).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_costs_the_value_and_too_many_the_actor() {
        for cluster in clusters() {
            let count = cluster.actor(|| 10).unwrap();
            assert_eq!(
                count
                    .call(|n| {
                        *n += 1;
                        *n
                    })
                    .unwrap()
                    .wait()
                    .unwrap(),
                11
            );
            for _ in 0..3 {
                let broken = count.call(|_| panic!("broken")).unwrap();
                assert!(matches!(broken.wait(), Err(Error::TaskPanicked { .. })));
                assert_eq!(count.call(|n| *n).unwrap().wait().unwrap(), 10, "made anew");
            }
            assert!(count.call(|_| panic!("once too often")).unwrap().wait().is_err());
            assert!(matches!(count.call(|n| *n).unwrap().wait(), Err(Error::ActorFailed { .. })));
        }
    }

    #[test]
    fn a_call_that_waits_for_its_own_actor_is_refused() {
        for cluster in clusters() {
            let actor = cluster.actor(|| 1).unwrap();
            let own = actor.clone();
            let nested = actor.call(move |_| own.call(|n| *n).and_then(Future::wait)).unwrap();
            assert!(matches!(nested.wait().unwrap(), Err(Error::WouldDeadlock { .. })));
            assert_eq!(actor.call(|n| *n).unwrap().wait().unwrap(), 1);
        }
    }

    /// A lane that looks for work must not hold up a task that only another one may run.
    #[test]
    fn calls_pinned_to_a_sleeping_worker_are_answered() {
        let cluster = Cluster::builder().workers(2).build().unwrap();
        let actors =
            [0, 1].map(|w| cluster.actor_task(Task::named("a").on_worker(w), RestartPolicy::default(), || 0).unwrap());
        for i in 0..20_000 {
            let call = actors[i % 2]
                .call(|n| {
                    *n += 1;
                    *n
                })
                .unwrap();
            assert_eq!(call.wait().unwrap(), i / 2 + 1);
        }
    }

    #[test]
    fn an_actor_survives_the_loss_of_a_lane_and_of_its_worker() {
        let cluster = Cluster::builder().workers(2).build().unwrap();
        let actor = cluster.actor(|| 5).unwrap();
        assert_eq!(actor.call(|n| *n).unwrap().wait().unwrap(), 5);
        cluster.chaos().kill_lanes(1);
        assert!(matches!(actor.call(|n| *n).unwrap().wait(), Err(Error::WorkerLost { .. })));
        assert_eq!(actor.call(|n| *n).unwrap().wait().unwrap(), 5);
        cluster.scale(1).unwrap();
        assert_eq!(actor.call(|n| *n).unwrap().wait().unwrap(), 5);
    }
}
