//! The supervisor's actor and the one control thread on which all actors of a cluster live.
//!
//! ```text
//!   build() ─▶ control thread ─▶ Supervisor ─▶ one Worker each ─▶ lanes
//! ```
//!
//! The supervisor starts and stops workers, keeps the timer of deadlines, and ends the cluster. It decides nothing: a
//! worker's death is told to the core, whose verdict comes back as a message. Handlers are short; they never compute and
//! never wait. When the control thread ends, for whatever reason, its drop guard answers every future that is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::hub::Hub;
use super::message::{SupervisorMsg, SupervisorRef, WorkerMsg};
use super::worker::{Worker, WorkerArgs};
use crate::error::{Error, Result};

/// Starts the control thread and waits until all workers run.
///
/// # Errors
///
/// [`Error::Thread`] when the system has no thread to give; everything that was started by then is undone.
pub(crate) fn spawn(hub: &Arc<Hub>, workers: usize, lanes: usize) -> Result<JoinHandle<()>> {
    let (ready, started) = bounded(1);
    let name = format!("{}-control", hub.name);
    let guarded = Guard(hub.clone());
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || main(guarded, workers, lanes, ready))
        .map_err(|source| Error::Thread { name: name.into(), source: Arc::new(source) })?;
    match started.recv() {
        Ok(Ok(())) => Ok(thread),
        failed => {
            drop(thread.join());
            let gone = || Error::ClusterDown { cause: "its control thread ended at start".into() };
            Err(failed.ok().and_then(Result::err).unwrap_or_else(gone))
        }
    }
}

/// Answers everything that is left when the control thread ends.
struct Guard(Arc<Hub>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.go_down("its control thread ended");
    }
}

fn main(guard: Guard, workers: usize, lanes: usize, ready: Sender<Result<()>>) {
    let hub = guard.0.clone();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let failed = Error::Thread { name: hub.name.clone(), source: Arc::new(source) };
            drop(ready.send(Err(failed)));
            return;
        }
    };
    runtime.block_on(async {
        let args = SupervisorArgs { hub: hub.clone(), workers, lanes, ready };
        if let Ok((_, ended)) = Actor::spawn(None, Supervisor, args).await {
            // Ends when the supervisor stops or fails; the guard does the rest.
            drop(ended.await);
        }
    });
    hub.reap();
}

struct Supervisor;

struct SupervisorArgs {
    hub: Arc<Hub>,
    workers: usize,
    lanes: usize,
    ready: Sender<Result<()>>,
}

struct SupervisorState {
    hub: Arc<Hub>,
    me: SupervisorRef,
    lanes: usize,
    workers: HashMap<usize, ActorRef<WorkerMsg>>,
    /// Told once: when the last of the first workers runs, or when one could not start.
    ready: Option<Sender<Result<()>>>,
    to_start: usize,
    closing: bool,
}

impl SupervisorState {
    /// Sends a message to the supervisor itself after so long.
    fn later(&self, after_ms: u64, message: SupervisorMsg) {
        if after_ms == 0 {
            return self.me.tell(message);
        }
        let me = self.me.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            me.tell(message);
        });
    }

    async fn start_worker(&mut self, worker: usize) {
        if !self.hub.step(|core, _| core.worker_up(worker)) {
            return;
        }
        let args = WorkerArgs { hub: self.hub.clone(), worker, lanes: self.lanes, supervisor: self.me.clone() };
        match Actor::spawn_linked(None, Worker, args, self.me.0.get_cell()).await {
            Ok((actor, _)) => {
                self.workers.insert(worker, actor);
                self.to_start = self.to_start.saturating_sub(1);
                if self.to_start == 0 {
                    self.report(Ok(()));
                }
            }
            Err(failed) => self.could_not_start(worker, failed),
        }
    }

    fn could_not_start(&mut self, worker: usize, failed: ractor::SpawnErr) {
        let cause: Arc<str> = failed.to_string().into();
        if self.ready.is_some() {
            let error = match failed {
                ractor::SpawnErr::StartupFailed(error) => error.downcast::<Error>().ok().map(|error| *error),
                _ => None,
            };
            self.report(Err(error.unwrap_or(Error::ClusterDown { cause: cause.clone() })));
            self.hub.step(|core, out| core.close(Error::ClusterDown { cause }, out));
            return self.me.tell(SupervisorMsg::Shutdown { grace_ms: 1000 });
        }
        self.lost(worker, &cause);
    }

    fn report(&mut self, started: Result<()>) {
        if let Some(ready) = self.ready.take() {
            drop(ready.send(started));
        }
    }

    fn lost(&self, worker: usize, cause: &Arc<str>) {
        let now = self.hub.now_ms();
        self.hub.step(|core, out| core.worker_lost(worker, cause, now, out));
    }

    fn tell(&self, worker: usize, message: WorkerMsg) {
        if let Some(actor) = self.workers.get(&worker) {
            drop(actor.cast(message));
        }
    }

    fn worker_of(&self, actor: ActorId) -> Option<usize> {
        self.workers.iter().find(|(_, known)| known.get_id() == actor).map(|(worker, _)| *worker)
    }

    fn stop_if_done(&self) {
        if self.closing && self.hub.lanes_alive() == 0 {
            self.me.0.stop(None);
        }
    }
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = SupervisorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        args: SupervisorArgs,
    ) -> std::result::Result<SupervisorState, ActorProcessingErr> {
        let me = SupervisorRef(myself);
        args.hub.set_supervisor(me.clone());
        let SupervisorArgs { hub, workers, lanes, ready } = args;
        hub.step(|core, out| core.scale(workers, out));
        Ok(SupervisorState {
            hub,
            me,
            lanes,
            workers: HashMap::new(),
            ready: Some(ready),
            to_start: workers,
            closing: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> std::result::Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::StartWorker { worker, after_ms } => {
                state.later(after_ms, SupervisorMsg::StartNow { worker });
            }
            SupervisorMsg::StartNow { worker } => state.start_worker(worker).await,
            SupervisorMsg::StopWorker { worker } => {
                // Its threads end by themselves with what they run; the handles of those that still do are let go.
                if let Some(actor) = state.workers.remove(&worker) {
                    actor.stop(None);
                }
            }
            SupervisorMsg::StartLane { worker, after_ms: 0 } => state.tell(worker, WorkerMsg::StartLane),
            SupervisorMsg::StartLane { worker, after_ms } => {
                state.later(after_ms, SupervisorMsg::StartLane { worker, after_ms: 0 });
            }
            SupervisorMsg::Timer { at_ms } => {
                state.later(at_ms.saturating_sub(state.hub.now_ms()).max(1), SupervisorMsg::Tick);
            }
            SupervisorMsg::Tick => {
                let now = state.hub.now_ms();
                state.hub.step(|core, out| core.tick(now, out));
            }
            SupervisorMsg::LaneEnded { worker } => {
                state.tell(worker, WorkerMsg::LaneEnded);
                state.stop_if_done();
            }
            SupervisorMsg::Shutdown { grace_ms } => {
                state.closing = true;
                state.later(grace_ms.max(1), SupervisorMsg::GraceOver);
                state.stop_if_done();
            }
            SupervisorMsg::GraceOver => myself.stop(None),
            SupervisorMsg::KillWorker { worker } => state.tell(worker, WorkerMsg::Die),
            SupervisorMsg::Die => std::panic::resume_unwind(Box::new("chaos: the supervisor was told to fail")),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> std::result::Result<(), ActorProcessingErr> {
        let (actor, cause) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell.get_id(), error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell.get_id(), reason.unwrap_or_else(|| "its actor ended".into()))
            }
            _ => return Ok(()),
        };
        // One that was told to stop is not in the list any more.
        if let Some(worker) = state.worker_of(actor) {
            state.workers.remove(&worker);
            state.lost(worker, &cause.into());
        }
        Ok(())
    }
}
