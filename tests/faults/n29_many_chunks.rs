//! 29: 200,000 chunks with few descriptors and few maps.

use std::time::Instant;

use allotment::store::{Chunk, Spool, SpoolOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::{Watchdog, child_case, report, told_by_child};

const CHUNKS: usize = 200_000;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn maps() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// Bytes that differ from chunk to chunk, from 1 to 150 of them.
fn content(i: usize) -> Vec<u8> {
    i.to_le_bytes().iter().copied().cycle().take(1 + i % 150).collect()
}

#[test]
fn many_small_chunks_take_few_descriptors_and_maps() {
    const NAME: &str = "n29_many_chunks::many_small_chunks_take_few_descriptors_and_maps";
    let _watchdog = Watchdog::start("fault 29");
    if child_case().is_none() {
        report(29, told_by_child(NAME, "256 descriptors", "figure:"));
        return;
    }
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions { dir: Some(dir.path().into()), allow_ram: true, ..Default::default() };
    let store = Spool::open(&options).unwrap().store(0);
    let (descriptors_before, maps_before) = (descriptors(), maps());
    let (mut peak_descriptors, mut peak_maps) = (0, 0);
    let mut sample = |i: usize| {
        if i.is_multiple_of(1000) {
            peak_descriptors = peak_descriptors.max(descriptors() - descriptors_before);
            peak_maps = peak_maps.max(maps().saturating_sub(maps_before));
        }
    };
    let start = Instant::now();
    let chunks: Vec<Chunk> = (0..CHUNKS)
        .map(|i| {
            sample(i);
            store.write(&[&content(i)]).unwrap()
        })
        .collect();
    let write_us = start.elapsed().as_secs_f64() * 1e6 / CHUNKS as f64;
    let start = Instant::now();
    for (i, chunk) in chunks.iter().enumerate() {
        sample(i);
        assert!(chunk.bytes().unwrap().part(0) == content(i), "chunk {i}");
    }
    let read_us = start.elapsed().as_secs_f64() * 1e6 / CHUNKS as f64;
    let limit: usize = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    assert!(peak_descriptors <= 26, "a tenth of 256: {peak_descriptors}");
    assert!(peak_maps < limit / 10, "{peak_maps} of {limit}");
    println!(
        "figure: {CHUNKS} chunks: peak descriptors {peak_descriptors} of 256, peak maps {peak_maps} of {limit}; \
         {write_us:.1} us a write, {read_us:.1} us a verified read"
    );
}
