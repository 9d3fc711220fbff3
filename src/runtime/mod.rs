//! The life of a task: actors, lanes, futures and the ledger. Knows tasks and bytes, not arrays.
//!
//! ```text
//!  caller ── submit ─▶ Hub: the decision core under one lock ── Run + grant ─▶ lane (OS thread) runs, catches
//!    ▲                   ▲ deaths, timers        │ start, restart               │
//!    │                   │                       ▼                              │
//!    │               Supervisor (ractor) ─── Worker i (ractor) owns lanes       │
//!    └──────────────────────── Future, answered once ◀──────────────────────────┘
//! ```
//!
//! A task is submitted (`submit.rs`, `inputs.rs`, `reduce.rs`, `blocks.rs`, `ahead.rs`, `batch/`), decided about (`core/`), run by a
//! lane (`lane.rs`, `jobs.rs`) and answered (`cell.rs`, `future.rs`). Actors (`supervisor.rs`, `worker.rs`) start, stop
//! and restart what runs; all of them live on one control thread per cluster. There are no globals: two clusters in a
//! process never meet.
//!
//! Always true: every future is answered exactly once, whatever dies; no lock is held while user code runs; every queue
//! has a bound and every wait an end.

mod actor;
mod ahead;
mod batch;
mod blocking;
mod blocks;
mod budget;
mod builder;
mod cell;
mod chaos;
mod cluster;
mod core;
mod future;
mod gather;
mod hub;
mod inputs;
mod jobs;
mod lane;
pub mod memory;
mod message;
mod metrics;
mod promise;
mod reduce;
mod report;
mod scheduler;
pub(crate) mod sizing;
mod submit;
mod supervisor;
mod task;
#[cfg(test)]
pub(crate) mod testing;
mod tree;
mod worker;

pub use actor::Actor;
pub(crate) use ahead::Ahead;
pub use batch::{BatchedMap, ItemProgress, KeepGoing, Stream, Unordered};
pub use blocking::blocking;
pub use blocks::{Blocks, Progress};
pub use budget::Reservation;
pub use builder::ClusterBuilder;
pub use chaos::Chaos;
pub use cluster::{Cluster, ShutdownReport};
pub use core::restart::RestartPolicy;
pub use future::{Future, FutureState, Shared};
pub use gather::{AsCompleted, Waited};
#[cfg(any(feature = "h5ad", feature = "zarr"))]
pub(crate) use hub::lock;
pub use inputs::Inputs;
pub use memory::CountingAllocator;
pub use metrics::{Snapshot, WorkerSnapshot};
pub use report::RunReport;
pub(crate) use report::Seconds;
pub use scheduler::Scheduler;
pub use submit::Full;
pub(crate) use task::keep;
pub use task::{Task, TaskContext, task_context};
pub(crate) use tree::Tree;
