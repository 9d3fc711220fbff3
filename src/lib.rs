//! An in-process cluster: workers with allowances of memory and one compute thread each, futures, maps and reductions on
//! them, chunked arrays on those, and factorisations on those.
//!
//! ```
//! use allotment::array::random;
//! use allotment::linalg::{SvdOptions, svd};
//! use allotment::{Cluster, Result};
//!
//! fn main() -> Result<()> {
//!     // Two workers that may hold 64 MiB each; what could need more is refused before it starts.
//!     let cluster = Cluster::builder().workers(2).allowance("64MiB".parse()?).build()?;
//!
//!     // Futures, in the order of the items.
//!     let lengths = cluster.map(str::len, ["to", "be", "or", "not"])?;
//!     assert_eq!(cluster.gather(lengths)?, [2, 2, 2, 3]);
//!
//!     // Any iterable, with a bound on what is in flight, folded where it is computed.
//!     let sum: u64 = cluster.batched_map(|x: u64| x % 7, 0..1_000_000).sum()?;
//!     assert_eq!(sum, 2_999_997);
//!
//!     // Matrices of any height: blocks of rows are made, used and forgotten by the task that needs them.
//!     let x = random::uniform(50_000, 20, 1, 5_000);
//!     let found = svd(&cluster, &x, &SvdOptions::default())?;
//!     assert!(found.residuals.iter().all(|residual| *residual < 1e-10));
//!     Ok(())
//! }
//! ```
//!
//! The layers, each of which uses only those below it:
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`io`] | formats: `.h5ad`, Zarr, 10x, MatrixMarket, `.npy` |
//! | [`cells`] | annotated single-cell data |
//! | [`linalg`] | `tsqr`, `qr`, `lstsq`, `gram`, `svd`, `svd_compressed`, `lanczos`, `pca`, `IncrementalPca` |
//! | [`array`](mod@array) | chunked matrices, dense or CSR, lazy |
//! | [`runtime`] | clusters, tasks, futures, memory budgets |
//! | [`store`] | chunk files, sealed and mapped |

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
    Actor, AsCompleted, BatchedMap, Blocks, Chaos, Cluster, ClusterBuilder, CountingAllocator, Full, Future,
    FutureState, Inputs, ItemProgress, KeepGoing, Progress, Reservation, RestartPolicy, RunReport, Scheduler, Shared,
    ShutdownReport, Snapshot, Stream, Task, TaskContext, Unordered, Waited, WorkerSnapshot, blocking, task_context,
};

/// The programs of the README, compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
