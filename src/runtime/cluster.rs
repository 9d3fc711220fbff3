//! The user's handle to a cluster: build it, look at it, scale it, end it.
//!
//! What a cluster does is in the files beside this one, each an `impl Cluster`: `submit.rs`, `inputs.rs`, `gather.rs`,
//! `reduce.rs`, `batch/`, `blocks.rs`, `actor.rs`.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::blocking;
use super::builder::ClusterBuilder;
use super::chaos::Chaos;
use super::hub::{Hub, lock, whole_millis};
use super::message::SupervisorMsg;
use super::metrics::Snapshot;
use crate::bytes::ByteSize;
use crate::error::{Error, Result};

/// Workers, their supervisor, and the user's handle to them. Clones are handles to the same cluster; dropping the last one
/// lets running tasks finish, answers the rest with [`Error::Shutdown`] and removes the spool.
///
/// # Examples
///
/// ```
/// let cluster = allotment::Cluster::builder().workers(2).build()?;
/// let squares = cluster.map(|x: u64| x * x, 1..=10)?;
/// assert_eq!(cluster.gather(squares)?.iter().sum::<u64>(), 385);
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) hub: Arc<Hub>,
    pub(crate) control: Mutex<Option<JoinHandle<()>>>,
    pub(crate) allowance: u64,
    pub(crate) lanes_per_worker: usize,
    pub(crate) grace: Duration,
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Lanes whose task had not ended when the grace was over. Their threads end when their tasks do.
    pub stuck_lanes: usize,
}

impl Cluster {
    /// Starts to describe a cluster.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// Starts a cluster sized for this host: as many workers as cores, each with an equal share of what memory is free.
    ///
    /// # Errors
    ///
    /// As [`ClusterBuilder::build`].
    pub fn local() -> Result<Self> {
        Self::builder().build()
    }

    /// Returns how many bytes a worker may hold.
    pub fn allowance(&self) -> u64 {
        self.inner.allowance
    }

    /// Returns the number of workers; a forked child has none.
    pub fn workers(&self) -> usize {
        if self.hub().same_process().is_ok() { self.hub().look(|core| core.n_workers()) } else { 0 }
    }

    /// Returns the number of lanes of all workers.
    pub fn lanes(&self) -> usize {
        self.workers() * self.inner.lanes_per_worker
    }

    /// Returns the cluster's name, which its threads carry.
    pub fn name(&self) -> &str {
        &self.inner.hub.name
    }

    /// Returns the counters, and what each worker does, at this moment. All of it is 0 in a forked child.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(self.hub())
    }

    /// Makes the cluster have `n` workers while work runs: new ones start at once; those that retire finish what they run,
    /// and what they had queued goes to the others.
    ///
    /// # Errors
    ///
    /// [`Error::BadSetting`] for none or for absurdly many; [`Error::Overcommit`] never: memory was checked for the first workers only, so that
    /// more of them is the caller's word. Under `Scheduler::Serial` there is one, always.
    pub fn scale(&self, n: usize) -> Result<()> {
        self.hub().same_process()?;
        if n == 0 || n > super::builder::MOST_WORKERS {
            let expected = format!("1 to {}", super::builder::MOST_WORKERS).into();
            return Err(Error::BadSetting { setting: "workers", found: n.to_string().into(), expected });
        }
        if self.allowance().checked_mul(n as u64).is_none() {
            let expected =
                format!("at most {} of {} each", u64::MAX / self.allowance(), ByteSize(self.allowance())).into();
            return Err(Error::BadSetting { setting: "workers", found: n.to_string().into(), expected });
        }
        if !self.hub().is_serial() {
            self.hub().step(|core, out| core.scale(n, out));
        }
        Ok(())
    }

    /// Returns what breaks parts of this cluster, to test what holds on to it.
    pub fn chaos(&self) -> Chaos<'_> {
        Chaos { hub: &self.inner.hub }
    }

    /// Ends the cluster: running tasks may finish within `grace`, everything else is answered with [`Error::Shutdown`].
    /// Further calls on any handle are refused. Dropping the last handle does the same with the builder's grace.
    ///
    /// # Errors
    ///
    /// [`Error::BlockingInAsync`] on a thread of a tokio runtime (drop the handle there instead, which does not wait);
    /// [`Error::Forked`] in a forked child.
    pub fn shutdown(&self, grace: Duration) -> Result<ShutdownReport> {
        self.hub().same_process()?;
        blocking::allowed("shutdown()")?;
        self.inner.end(grace);
        self.inner.join();
        Ok(ShutdownReport { stuck_lanes: self.hub().lanes_alive() })
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    /// Returns the highest anonymous memory of this process that was seen while tasks ended.
    pub fn peak_anonymous(&self) -> ByteSize {
        // A reading that fails leaves the peak as it was.
        drop(self.hub().meter.sample_now());
        ByteSize(self.hub().meter.peak_bytes())
    }
}

impl Inner {
    fn end(&self, grace: Duration) {
        self.hub.step(|core, out| core.close(Error::Shutdown { task: "".into() }, out));
        if let Some(supervisor) = self.hub.supervisor() {
            let grace_ms = whole_millis(grace).min(YEAR_MS);
            supervisor.tell(SupervisorMsg::Shutdown { grace_ms });
        }
    }

    /// Returns whether this is a lane or the control thread, which also drop what a task's code held when it has ended.
    fn is_own_thread(&self) -> bool {
        let this = std::thread::current().id();
        self.hub.is_lane(this) || lock(&self.control).as_ref().is_some_and(|control| control.thread().id() == this)
    }

    fn join(&self) {
        if let Some(control) = lock(&self.control).take() {
            // A control thread that panicked has been noticed by its guard.
            drop(control.join());
        }
    }
}

/// Timers do not like eternity.
const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

impl Drop for Inner {
    fn drop(&mut self) {
        if self.hub.same_process().is_err() {
            // The threads are the parent's; a handle to one must not even be detached here, nor a lock waited for that
            // one of them held when the process was forked.
            std::mem::forget(self.control.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            return;
        }
        self.end(self.grace);
        // On an async thread, or on a thread of this very cluster, waiting would hold up the ones we wait for.
        if !blocking::is_async() && !self.is_own_thread() {
            self.join();
        }
    }
}
