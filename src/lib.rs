//! An in-process cluster for Rust.

pub mod array;
mod bytes;
pub mod cells;
mod error;
pub mod io;
pub mod linalg;
pub mod runtime;
pub mod store;
mod sync;

pub use bytes::ByteSize;
pub use error::{Error, Result};
pub use runtime::{
    Actor, AsCompleted, BatchedMap, Blocks, Chaos, Cluster, ClusterBuilder, Full, Future, FutureState, Inputs,
    Progress, Reservation, RestartPolicy, Scheduler, Shared, ShutdownReport, Snapshot, Task, TaskContext, Waited,
    WorkerSnapshot, blocking, task_context,
};

/// The programs of the README, compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
