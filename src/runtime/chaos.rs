//! Trouble on demand, to see what a program does when a lane, a worker or the supervisor dies.
//!
//! A service that embeds a cluster wants to know that its own retries and error paths work; our fault tests and the soak
//! use nothing else. Each call breaks something for real, in the way a fault of the system or of ours would.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::hub::Hub;
use super::message::SupervisorMsg;
use crate::error::{Error, Result};

/// How many lanes and starts are still to fail.
#[derive(Debug, Default)]
pub(crate) struct Doom {
    lanes: AtomicUsize,
    starts: AtomicUsize,
}

impl Doom {
    fn take(counter: &AtomicUsize) -> bool {
        counter.load(Ordering::Relaxed) > 0
            && counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok()
    }

    /// Ends this thread, outside of every catch, if a lane is to die.
    pub(crate) fn strike_lane(&self) {
        if Self::take(&self.lanes) {
            std::panic::resume_unwind(Box::new("chaos: this lane was told to die"));
        }
    }

    /// Refuses the start of a lane, as a system does that has no threads left.
    pub(crate) fn strike_start(&self, worker: usize) -> Result<()> {
        if Self::take(&self.starts) {
            let name: Arc<str> = format!("lane of worker {worker}").into();
            let source = Arc::new(std::io::Error::other("chaos: this start was told to fail"));
            return Err(Error::Thread { name, source });
        }
        Ok(())
    }
}

/// Breaks parts of a running cluster, to test what holds on to it.
///
/// # Examples
///
/// ```
/// use allotment::{Cluster, Error, Task};
/// let cluster = Cluster::builder().workers(2).build()?;
/// cluster.chaos().kill_lanes(1);
/// let kept = cluster.submit_task(Task::named("kept").retries(1), || 7)?;
/// assert_eq!(kept.wait()?, 7);
/// cluster.chaos().kill_lanes(1);
/// let lost = cluster.submit_task(Task::named("lost"), || 7)?;
/// assert!(matches!(lost.wait(), Err(Error::WorkerLost { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Chaos<'a> {
    pub(crate) hub: &'a Arc<Hub>,
}

impl Chaos<'_> {
    /// Lets the next `n` lanes that are about to run a task die with it.
    pub fn kill_lanes(&self, n: usize) {
        self.hub.doom.lanes.fetch_add(n, Ordering::AcqRel);
    }

    /// Lets a worker's actor fail.
    pub fn kill_worker(&self, worker: usize) {
        self.tell(SupervisorMsg::KillWorker { worker });
    }

    /// Lets the next `n` starts of lanes fail.
    pub fn fail_starts(&self, n: usize) {
        self.hub.doom.starts.fetch_add(n, Ordering::AcqRel);
    }

    /// Lets the supervisor fail, and with it the cluster.
    pub fn kill_supervisor(&self) {
        self.tell(SupervisorMsg::Die);
    }

    fn tell(&self, message: SupervisorMsg) {
        if let Some(supervisor) = self.hub.supervisor() {
            supervisor.tell(message);
        }
    }
}
