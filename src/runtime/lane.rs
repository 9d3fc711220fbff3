//! A lane: one compute thread of a worker. It runs a task, reports, and takes the next in the same step.
//!
//! ```text
//!   spawn ─▶ seek ─▶ run ─▶ finish ─▶ run …           while there is work
//!                     └──▶ look for 25 µs ─▶ sleep on the channel ─▶ Run | Stop
//! ```
//!
//! A thread that ends without being told to (user code that breaks out of the catch, a fault of ours) is noticed by its
//! drop guard: the core answers or places again what it ran, and its worker starts another.

use std::sync::Arc;
use std::thread::Thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::blocking;
use super::core::{End, LaneId, Next, Spec};
use super::hub::{Hub, Work, WorkRun};
use super::task::{Outcome, TaskContext, discard, within};
use crate::error::{Error, Result};

/// The only things a lane may be told.
pub(crate) enum Packet {
    Run(WorkRun),
    Stop,
}

/// How to reach a lane.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) sender: Sender<Packet>,
    pub(crate) thread: Thread,
}

/// Starts a lane of this worker.
///
/// # Errors
///
/// [`Error::Thread`] when the system has no thread to give.
pub(crate) fn spawn(hub: &Arc<Hub>, worker: usize, ended: impl FnOnce() + Send + 'static) -> Result<()> {
    let name: Arc<str> = format!("{}-lane-{worker}", hub.name).into();
    let thread_hub = hub.clone();
    hub.lane_starts();
    let thread = std::thread::Builder::new()
        .name(name.to_string())
        .stack_size(hub.stack_bytes)
        .spawn(move || {
            let hub = thread_hub;
            // Declared first, dropped last: by then the lane's own guard has told the core.
            let _report = OnDrop(Some({
                let hub = hub.clone();
                move || {
                    hub.lane_ends();
                    ended();
                }
            }));
            if let Some((lane, inbox)) = register(&hub, worker) {
                Lane { hub, lane, worker, inbox, told_to_stop: false }.run();
            }
        })
        .map_err(|source| {
            hub.lane_ends();
            Error::Thread { name, source: Arc::new(source) }
        })?;
    hub.keep_thread(thread);
    Ok(())
}

fn register(hub: &Arc<Hub>, worker: usize) -> Option<(LaneId, Receiver<Packet>)> {
    let lane = hub.step(|core, _| core.lane_up(worker))?;
    // One packet at a time is sent to a lane: Run only to one that parked, Stop only once.
    let (sender, inbox) = bounded(2);
    hub.open_port(lane, Port { sender, thread: std::thread::current() });
    Some((lane, inbox))
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

struct Lane {
    hub: Arc<Hub>,
    lane: LaneId,
    worker: usize,
    inbox: Receiver<Packet>,
    told_to_stop: bool,
}

impl Lane {
    fn run(mut self) {
        let mut next = self.hub.seek(self.lane, false);
        loop {
            next = match next {
                Next::Run(run) => {
                    self.hub.doom.strike_lane();
                    run_task(&self.hub, run)
                }
                Next::Seek => self.look(),
                Next::Park => match self.inbox.recv() {
                    Ok(Packet::Run(run)) => Next::Run(run),
                    // Without a hub there is nothing more to run.
                    Ok(Packet::Stop) | Err(_) => Next::Stop,
                },
                // Only a nested run has something below it on the stack, and that one does not come here.
                Next::Resume => self.hub.seek(self.lane, true),
                Next::Stop => {
                    self.told_to_stop = true;
                    return;
                }
            };
        }
    }

    /// Looks for work for a moment before sleeping: most gaps between tasks are shorter than a wake-up. What it then finds
    /// in the queues may be nothing that this lane may run (a task of another worker, one that waits for memory), so the
    /// look is its last: the core counts on a lane that looks, and wakes another only when it has gone to sleep.
    fn look(&self) -> Next<Work> {
        let _found = blocking::spin(|| (self.hub.has_queued() || !self.inbox.is_empty()).then_some(()));
        match self.inbox.try_recv() {
            Ok(Packet::Stop) => Next::Stop,
            Ok(Packet::Run(run)) => Next::Run(run),
            Err(_) => self.hub.seek(self.lane, true),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.hub.close_port(self.lane);
        if !self.told_to_stop {
            let (lane, now) = (self.lane, self.hub.now_ms());
            let cause: Arc<str> = format!("lane {} of worker {} died", lane.0, self.worker).into();
            self.hub.step(|core, out| core.lane_lost(lane, &cause, now, out));
        }
    }
}

/// Runs one task on this thread, gives its bytes back, and says what the lane does next.
fn run_task(hub: &Arc<Hub>, run: WorkRun) -> Next<Work> {
    let WorkRun { lane, worker, task, name, work, retries_left, grant } = run;
    let context = TaskContext {
        hub: hub.clone(),
        job: work.clone(),
        name: name.clone(),
        worker,
        lane: Some(lane),
        retries_left,
        run: None,
    };
    let outcome = within(context, grant, || work.run(&name));
    let end = match outcome {
        Outcome::Done => End::Done,
        Outcome::Again => End::Again,
        Outcome::Failed(_) if hub.step(|core, _| core.may_retry(task)) => End::Again,
        Outcome::Failed(error) => {
            work.fail(&error);
            End::Done
        }
    };
    hub.meter.sample();
    let next = hub.finish(lane, task, end);
    // Only now, when the core has let go of it: what the user's code holds must not be dropped under the core's lock.
    discard(work);
    next
}

/// Runs a task on top of the one that waits for it.
pub(crate) fn run_nested(hub: &Arc<Hub>, run: WorkRun) {
    // `Resume`, or `Stop` for a lane that was given up: both mean back to the task below.
    drop(run_task(hub, run));
}

/// Runs a job to its end on the caller's thread.
pub(crate) fn run_serially(hub: &Arc<Hub>, job: &Work, spec: &Spec) {
    let name = &spec.name;
    let mut retries = spec.retries;
    loop {
        let context = TaskContext {
            hub: hub.clone(),
            job: job.clone(),
            name: name.clone(),
            worker: 0,
            lane: None,
            retries_left: retries,
            run: None,
        };
        match within(context, None, || job.run(name)) {
            Outcome::Done => return,
            // The caller's thread is in here: a shutdown comes from another thread, and is heard between two blocks.
            Outcome::Again => {
                if let Some(error) = hub.look(|core| core.why_closed(name)) {
                    return job.fail(&error);
                }
            }
            Outcome::Failed(_) if retries > 0 => retries -= 1,
            Outcome::Failed(error) => return job.fail(&error),
        }
    }
}
