//! The fault and abuse list: one file per item, each proving what must happen and printing its figure.
//!
//! A line `fault NN: ..` is what a run of this test reports. Cases that may end a process run in a child: this very
//! test binary, started again for one test with its case in the environment.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod cluster;
mod common;

mod n01_panics;
mod n02_vicious;
mod n04_cancel;
mod n07_batched;
mod n08_worker_dies;
mod n09_lane_dies;
mod n10_storm;
mod n11_supervisor;
mod n12_no_start;
mod n13_too_big;
mod n15_soak;
mod n20_absurd;
mod n22_truncated;
mod n23_damaged;
mod n24_disk_full;
mod n25_file_size_limit;
mod n26_directory_gone;
mod n27_file_systems;
mod n28_killed;
mod n29_many_chunks;
mod n39_dropped;
mod n40_nested;
mod n41_async;
mod n42_fork;
mod n43_start_stop;
mod n44_the_end;
mod n45_abort;
