//! A worker's actor: it owns the lanes' threads. It starts them, joins those that end, and starts others when told.
//!
//! It decides nothing: which lane is replaced, and when, is the core's word, which the supervisor passes on. When the
//! actor fails, its lanes end with what they run (the core no longer knows them), and the supervisor starts another.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::hub::Hub;
use super::lane;
use super::message::{SupervisorMsg, SupervisorRef, WorkerMsg};
use crate::error::Result;

/// The actor's behaviour.
pub(crate) struct Worker;

/// What a worker is started with.
pub(crate) struct WorkerArgs {
    pub(crate) hub: Arc<Hub>,
    pub(crate) worker: usize,
    pub(crate) lanes: usize,
    pub(crate) supervisor: SupervisorRef,
}

impl WorkerArgs {
    fn start_lane(&self) -> Result<()> {
        let (supervisor, worker) = (self.supervisor.clone(), self.worker);
        self.hub.doom.strike_start(worker)?;
        lane::spawn(&self.hub, worker, move || supervisor.tell(SupervisorMsg::LaneEnded { worker }))
    }
}

impl Actor for Worker {
    type Msg = WorkerMsg;
    type State = WorkerArgs;
    type Arguments = WorkerArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<WorkerMsg>,
        args: WorkerArgs,
    ) -> std::result::Result<WorkerArgs, ActorProcessingErr> {
        for _ in 0..args.lanes {
            args.start_lane()?;
        }
        Ok(args)
    }

    async fn handle(
        &self,
        _myself: ActorRef<WorkerMsg>,
        message: WorkerMsg,
        state: &mut WorkerArgs,
    ) -> std::result::Result<(), ActorProcessingErr> {
        match message {
            WorkerMsg::StartLane => state.start_lane()?,
            WorkerMsg::LaneEnded => state.hub.reap(),
            WorkerMsg::Die => std::panic::resume_unwind(Box::new("chaos: this worker was told to fail")),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<WorkerMsg>,
        _event: SupervisionEvent,
        _state: &mut WorkerArgs,
    ) -> std::result::Result<(), ActorProcessingErr> {
        // A worker supervises nobody; ractor's default would stop it.
        Ok(())
    }
}
