//! The one lock of a cluster, around the decision core; everybody who has news steps the core here.
//!
//! ```text
//!   caller ── submit, cancel ──┐                        ┌──▶ a parked lane: Run, Stop (crossbeam channel)
//!   lane ───── finish, seek ───┼──▶ Hub: Core.step() ───┼──▶ a future: its error
//!   actors ─── deaths, ticks ──┘        one lock        └──▶ supervisor: start, restart, timer (ractor cast)
//! ```
//!
//! A task does not pass through an actor's mailbox: that would cost each submission two more wake-ups of a thread (5 to
//! 40 µs each), and mailboxes have no bound. The submitter itself steps the core and hands the task to a lane; a lane
//! that ends a task takes the next in the same step. The actors own what happens rarely: starts, deaths, timers, the end.
//!
//! Always true: under the lock runs only the core, which calls no user code and does no I/O; effects are carried out
//! after it is released, in the order in which they were decided.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::task::Waker;
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use super::blocking;
use super::budget::Reservation;
use super::cell;
use super::chaos::Doom;
use super::core::{Core, Effect, End, LaneId, Next, Run, Settings, Spec, TaskId, WaitStep};
use super::lane::{self, Port};
use super::memory::PeakMeter;
use super::message::SupervisorRef;
use super::report::History;
use super::task::{Control, Job, Task, TaskContext, discard, with_context};
use crate::error::{Error, Result};
use crate::store::{Spool, SpoolOptions, Store};

/// Work shared by the core's table and a lane.
pub(crate) type Work = Arc<dyn Job>;

/// What all parts of one cluster share.
pub(crate) struct Hub {
    core: Mutex<Core<Work>>,
    /// Tasks in queues, for lanes that look before they sleep.
    queued: AtomicUsize,
    ports: RwLock<HashMap<LaneId, Port>>,
    supervisor: OnceLock<SupervisorRef>,
    /// Submitters that wait for room in the queue.
    room: Mutex<Vec<Waker>>,
    spool: LazySpool,
    started: Instant,
    pid: u32,
    serial: bool,
    /// Lanes' threads that have not ended.
    alive: AtomicUsize,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// How many lanes and starts are to fail: `Chaos`.
    pub(crate) doom: Doom,
    pub(crate) meter: PeakMeter,
    pub(crate) history: History,
    pub(crate) name: Arc<str>,
    pub(crate) stack_bytes: usize,
}

/// What a hub is made of besides the core's settings.
pub(crate) struct Setup {
    pub(crate) name: Arc<str>,
    pub(crate) spool: SpoolOptions,
    pub(crate) meter: PeakMeter,
    pub(crate) serial: bool,
    /// Stack of a lane; memory that is not touched costs nothing.
    pub(crate) stack_bytes: usize,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Hub {
    pub(crate) fn new(settings: Settings, setup: Setup) -> Arc<Self> {
        let Setup { name, spool, meter, serial, stack_bytes } = setup;
        Arc::new(Hub {
            core: Mutex::new(Core::new(settings)),
            queued: AtomicUsize::new(0),
            ports: RwLock::new(HashMap::new()),
            supervisor: OnceLock::new(),
            room: Mutex::new(Vec::new()),
            spool: LazySpool { options: spool, opened: OnceLock::new() },
            started: Instant::now(),
            pid: std::process::id(),
            serial,
            alive: AtomicUsize::new(0),
            threads: Mutex::new(Vec::new()),
            doom: Doom::default(),
            meter,
            history: History::default(),
            name,
            stack_bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Core<Work>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps the core and carries out what it decided.
    pub(crate) fn step<R>(&self, step: impl FnOnce(&mut Core<Work>, &mut Vec<Effect<Work>>) -> R) -> R {
        let mut effects = Vec::new();
        let mut core = self.lock();
        let answer = step(&mut core, &mut effects);
        self.queued.store(core.queued(), Ordering::Release);
        drop(core);
        effects.into_iter().for_each(|effect| self.carry_out(effect));
        answer
    }

    /// Reads the core without changing it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Core<Work>) -> R) -> R {
        look(&self.lock())
    }

    fn carry_out(&self, effect: Effect<Work>) {
        match effect {
            Effect::Run(run) => self.send_to_lane(run.lane, lane::Packet::Run(run)),
            Effect::StopLane(lane) => self.send_to_lane(lane, lane::Packet::Stop),
            Effect::Fail { work, error } => {
                work.control().stop();
                work.fail(&error);
                discard(work);
            }
            Effect::Discard(work) => discard(work),
            Effect::Poke(lane) => {
                if let Some(port) = self.port(lane) {
                    port.thread.unpark();
                }
            }
            Effect::Room => cell::wake(std::mem::take(&mut *lock(&self.room))),
            other => {
                // A supervisor that is gone has closed the core, so nobody waits for what it would have started.
                if let Some(supervisor) = self.supervisor.get() {
                    supervisor.carry_out(other);
                }
            }
        }
    }

    fn port(&self, lane: LaneId) -> Option<Port> {
        self.ports.read().unwrap_or_else(PoisonError::into_inner).get(&lane).cloned()
    }

    /// A lane that has died meanwhile drops the packet; the news of its death brings the task back.
    fn send_to_lane(&self, lane: LaneId, packet: lane::Packet) {
        if let Some(port) = self.port(lane) {
            drop(port.sender.try_send(packet));
        }
    }

    pub(crate) fn open_port(&self, lane: LaneId, port: Port) {
        self.ports.write().unwrap_or_else(PoisonError::into_inner).insert(lane, port);
    }

    /// Returns whether the thread is one of our lanes, in a task or between two.
    pub(crate) fn is_lane(&self, thread: ThreadId) -> bool {
        let ports = self.ports.read().unwrap_or_else(PoisonError::into_inner);
        ports.values().any(|port| port.thread.id() == thread)
    }

    pub(crate) fn close_port(&self, lane: LaneId) {
        self.ports.write().unwrap_or_else(PoisonError::into_inner).remove(&lane);
    }

    pub(crate) fn set_supervisor(&self, supervisor: SupervisorRef) {
        // A hub has one control thread, which calls this once.
        drop(self.supervisor.set(supervisor));
    }

    pub(crate) fn supervisor(&self) -> Option<&SupervisorRef> {
        self.supervisor.get()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(crate) fn is_serial(&self) -> bool {
        self.serial
    }

    pub(crate) fn has_queued(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    /// Refuses calls from a forked child, which has none of our threads.
    pub(crate) fn same_process(&self) -> Result<()> {
        if std::process::id() == self.pid { Ok(()) } else { Err(Error::Forked) }
    }

    /// Submits a job without waiting for room; inside a task it may pass the limit, up to as many again.
    pub(crate) fn try_submit(self: &Arc<Self>, job: &Work, task: &Task, inputs: Vec<TaskId>) -> Result<()> {
        self.same_process()?;
        let spec = self.spec(task, inputs);
        if self.serial {
            return self.run_here(job, spec);
        }
        self.step(|core, out| {
            let id = core.submit(spec, job.clone(), out)?;
            job.control().set_task(id);
            Ok(())
        })
    }

    /// Submits a job; waits for room in the queue where that is allowed.
    pub(crate) fn submit(self: &Arc<Self>, job: &Work, task: &Task, inputs: &[TaskId]) -> Result<()> {
        let full = match self.try_submit(job, task, inputs.to_vec()) {
            Err(full @ Error::QueueFull { .. }) => full,
            done => return done,
        };
        if self.this_lane().is_some() || blocking::is_async() {
            return Err(full);
        }
        blocking::park_until(None, |waker| match self.submit_or_watch(job, task, inputs, waker) {
            Err(Error::QueueFull { .. }) => None,
            done => Some(done),
        })
        .unwrap_or(Err(full))
    }

    /// Submits a job, or registers the waker to be called when there is room. Tried again once the waker is known, as
    /// room may have come in between.
    pub(crate) fn submit_or_watch(
        self: &Arc<Self>,
        job: &Work,
        task: &Task,
        inputs: &[TaskId],
        waker: &Waker,
    ) -> Result<()> {
        match self.try_submit(job, task, inputs.to_vec()) {
            Err(Error::QueueFull { .. }) => {}
            done => return done,
        }
        self.watch_room(waker);
        self.try_submit(job, task, inputs.to_vec())
    }

    /// Registers a waker to be called when there is room in the queue; to be called before the attempt it is for.
    pub(crate) fn watch_room(&self, waker: &Waker) {
        let mut room = lock(&self.room);
        if !room.iter().any(|known| known.will_wake(waker)) {
            room.push(waker.clone());
        }
    }

    fn spec(&self, task: &Task, inputs: Vec<TaskId>) -> Spec {
        let deadline_ms = task.deadline.map(|after| self.now_ms().saturating_add(whole_millis(after)));
        Spec {
            name: task.name.clone(),
            priority: task.priority,
            need: task.projected,
            retries: task.retries,
            deadline_ms,
            pinned: task.worker,
            inputs,
            nested: self.this_lane().is_some(),
            oversize: task.oversize,
        }
    }

    /// Runs a job on the caller's thread: `Scheduler::Serial`.
    fn run_here(self: &Arc<Self>, job: &Work, spec: Spec) -> Result<()> {
        let _grant = self.step(|core, _| core.admit_serially(&spec))?;
        lane::run_serially(self, job, &spec);
        Ok(())
    }

    pub(crate) fn cancel(&self, control: &Control) {
        if let Some(id) = control.task() {
            self.step(|core, out| core.cancel(id, out));
        }
    }

    pub(crate) fn is_running(&self, control: &Control) -> bool {
        control.task().is_some_and(|id| self.same_process().is_ok() && self.look(|core| core.is_running(id)))
    }

    /// Returns the context of the task that runs on this thread, if it is one of this cluster's lanes.
    pub(crate) fn this_lane(&self) -> Option<LaneId> {
        with_context(|context| if std::ptr::eq(&*context.hub, self) { context.lane } else { None })
    }

    pub(crate) fn seek(&self, lane: LaneId, last: bool) -> Next<Work> {
        self.step(|core, out| core.seek(lane, last, out))
    }

    pub(crate) fn finish(&self, lane: LaneId, task: TaskId, end: End) -> Next<Work> {
        self.step(|core, out| core.finish(lane, task, end, out))
    }

    /// Waits inside a task: runs what the wait path ends at, sleeps while it runs elsewhere.
    pub(crate) fn wait_in_task<V>(
        self: &Arc<Self>,
        lane: LaneId,
        target: &Control,
        until: Option<Instant>,
        mut ready: impl FnMut(&Waker) -> Option<V>,
    ) -> Result<Option<V>> {
        let answer = blocking::park_until(until, |waker| {
            loop {
                if let Some(answer) = ready(waker) {
                    return Some(Ok(answer));
                }
                let id = target.task()?;
                match self.step(|core, out| core.wait_on(lane, id, out)) {
                    WaitStep::Run(run) => lane::run_nested(self, run),
                    WaitStep::Sleep => return None,
                    // Answered under the lock; the answer itself is being put by another thread.
                    WaitStep::Ready => std::thread::yield_now(),
                    WaitStep::Fail(error) => return Some(Err(error)),
                }
            }
        });
        self.step(|core, _| core.wait_over(lane));
        answer.transpose()
    }

    pub(crate) fn grow(&self, context: &TaskContext, bytes: u64) -> Result<Reservation> {
        let budget = self.look(|core| core.budget(context.worker));
        budget.try_reserve(bytes).ok_or_else(|| Error::MemoryLimit {
            task: context.name.clone(),
            worker: context.worker,
            asked: bytes,
            free: budget.free(),
        })
    }

    pub(crate) fn store(&self, worker: usize) -> Result<Store> {
        Ok(self.spool.open()?.store(worker))
    }

    /// Notes a lane's thread that was started, or that is about to end.
    pub(crate) fn lane_starts(&self) {
        self.alive.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn lane_ends(&self) {
        self.alive.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn lanes_alive(&self) -> usize {
        self.alive.load(Ordering::Acquire)
    }

    pub(crate) fn keep_thread(&self, thread: JoinHandle<()>) {
        lock(&self.threads).push(thread);
    }

    /// Joins the lanes' threads that have ended: all of them, once none is alive. Stuck ones are let go.
    pub(crate) fn reap(&self) {
        let none_alive = self.lanes_alive() == 0;
        let (ended, running): (Vec<_>, Vec<_>) =
            lock(&self.threads).drain(..).partition(|thread| none_alive || thread.is_finished());
        lock(&self.threads).extend(running);
        // A lane that panicked told the core so before it ended; the panic itself has nothing to add.
        ended.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Answers everything: the control thread has ended, for whatever reason.
    pub(crate) fn go_down(&self, cause: &str) {
        self.step(|core, out| {
            core.close(Error::ClusterDown { cause: cause.into() }, out);
            core.abandon_all(out);
        });
    }
}

/// The spool, opened when the first chunk is written: a cluster that only runs closures touches no disk.
struct LazySpool {
    options: SpoolOptions,
    opened: OnceLock<Result<Spool>>,
}

impl LazySpool {
    fn open(&self) -> Result<&Spool> {
        self.opened.get_or_init(|| Spool::open(&self.options)).as_ref().map_err(Clone::clone)
    }
}

/// Returns a duration in milliseconds, as many as 64 bits hold.
pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run of the core's, as lanes see it.
pub(crate) type WorkRun = Run<Work>;
