//! Every message of every actor. They carry control only: a start, a death, a time; never a task, never data.

use ractor::ActorRef;

use super::core::Effect;
use super::hub::Work;

/// What the supervisor may be told.
#[derive(Debug)]
pub(crate) enum SupervisorMsg {
    /// Start this worker's actor after so long.
    StartWorker { worker: usize, after_ms: u64 },
    /// The wait before a start is over.
    StartNow { worker: usize },
    /// Stop this worker's actor.
    StopWorker { worker: usize },
    /// Start one more lane of this worker after so long.
    StartLane { worker: usize, after_ms: u64 },
    /// Look at the deadlines at this time.
    Timer { at_ms: u64 },
    /// A timer rang.
    Tick,
    /// A lane's thread is about to end.
    LaneEnded { worker: usize },
    /// End when the lanes have, or after so long.
    Shutdown { grace_ms: u64 },
    /// The grace is over.
    GraceOver,
    /// Fail, as an actor does whose code has a fault: for `Chaos`.
    Die,
    /// Let a worker's actor fail: for `Chaos`.
    KillWorker { worker: usize },
}

/// What a worker may be told.
#[derive(Debug)]
pub(crate) enum WorkerMsg {
    /// Start one more lane.
    StartLane,
    /// A lane's thread is about to end: join it.
    LaneEnded,
    /// Fail, as an actor does whose code has a fault: for `Chaos`.
    Die,
}

/// The sending end of the supervisor's mailbox.
#[derive(Clone, Debug)]
pub(crate) struct SupervisorRef(pub(crate) ActorRef<SupervisorMsg>);

impl SupervisorRef {
    /// Tells the supervisor; one that has ended has closed the core before, so nothing is lost with the message.
    pub(crate) fn tell(&self, message: SupervisorMsg) {
        drop(self.0.cast(message));
    }

    /// Passes on what the core decided and only actors can do.
    pub(crate) fn carry_out(&self, effect: Effect<Work>) {
        match effect {
            Effect::StartLane { worker, after_ms } => self.tell(SupervisorMsg::StartLane { worker, after_ms }),
            Effect::StartWorker { worker, after_ms } => self.tell(SupervisorMsg::StartWorker { worker, after_ms }),
            Effect::StopWorker { worker } => self.tell(SupervisorMsg::StopWorker { worker }),
            Effect::Timer { at_ms } => self.tell(SupervisorMsg::Timer { at_ms }),
            Effect::Run(_)
            | Effect::Fail { .. }
            | Effect::Discard(_)
            | Effect::Poke(_)
            | Effect::StopLane(_)
            | Effect::Room => {}
        }
    }
}
