//! What tests of several folders share: a small cluster of each local scheduler.

use super::{Cluster, Scheduler};
use crate::bytes::ByteSize;

/// Returns clusters of two workers of 1 MiB each, on threads and serial.
pub(crate) fn clusters() -> [Cluster; 2] {
    [Scheduler::Threads, Scheduler::Serial].map(|scheduler| {
        let builder = Cluster::builder().allowance(ByteSize(1 << 20)).workers(2).scheduler(scheduler);
        builder.build().expect("sound settings")
    })
}
