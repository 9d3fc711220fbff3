//! 22: a chunk file is cut short while it is mapped.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use allotment::Error;
use allotment::store::{ChunkBytes, Spool, SpoolOptions, Store};

use crate::common::{Numbers, Watchdog, child_case, ended_by, open_again, open_files_below, report, run_child};

const CHUNK: usize = 8 << 20;
const SIGBUS: i32 = 7;
const SIGABRT: i32 = 6;

fn open(dir: &tempfile::TempDir, sigbus_guard: bool) -> (Spool, Store) {
    let options = SpoolOptions { dir: Some(dir.path().into()), allow_ram: true, sigbus_guard, ..Default::default() };
    let spool = Spool::open(&options).unwrap();
    let store = spool.store(0);
    (spool, store)
}

/// Cuts the only segment of the spool to `len` bytes from another process.
fn truncate_by_child(spool: &Spool, len: u64) {
    let ways = open_files_below(spool.dir());
    assert_eq!(ways.len(), 1, "{ways:?}");
    let status = Command::new("truncate").args(["-s", &len.to_string(), ways[0].to_str().unwrap()]).status().unwrap();
    assert!(status.success());
}

/// Reads one byte of every page.
fn touch(bytes: &ChunkBytes) -> u64 {
    bytes.part(0).iter().step_by(4096).map(|byte| u64::from(*byte)).sum()
}

#[test]
fn a_segment_cut_short_under_a_reader_is_an_error_and_not_the_end() {
    let _watchdog = Watchdog::start("fault 22");
    let data = Numbers(22).bytes(CHUNK);
    let (mut detected, mut tried) = (0, 0);
    for len in [0, CHUNK as u64 / 2, CHUNK as u64 / 2 + 1000, CHUNK as u64 - 1] {
        for during_a_pass in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (spool, store) = open(&dir, true);
            let chunk = store.write(&[&data]).unwrap();
            let bytes = chunk.bytes().unwrap();
            touch(&bytes);
            bytes.check().unwrap();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                if during_a_pass {
                    scope.spawn(|| {
                        while !done.load(Ordering::Relaxed) {
                            std::hint::black_box(touch(&bytes));
                        }
                    });
                }
                truncate_by_child(&spool, len);
                done.store(true, Ordering::Relaxed);
            });
            std::hint::black_box(touch(&bytes));
            tried += 2;
            detected += u32::from(matches!(bytes.check(), Err(Error::ChunkDamaged { chunk: 1, .. })));
            // Who comes later is told before it reads a byte.
            detected += u32::from(matches!(chunk.bytes(), Err(Error::ChunkDamaged { chunk: 1, .. })));
            let again = store.write(&[&data]).unwrap();
            assert!(again.bytes().unwrap().part(0) == data, "a new chunk goes to a new segment");
        }
    }
    let fault_us = microseconds_per_fault(&data);
    report(22, format_args!("truncation detected {detected}/{tried}, process alive; {fault_us:.1} us per page fault"));
    assert_eq!(detected, tried);
}

fn microseconds_per_fault(data: &[u8]) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let (spool, store) = open(&dir, true);
    let bytes = store.write(&[data]).unwrap().bytes().unwrap();
    touch(&bytes);
    let before = store.stats().vanished_pages;
    truncate_by_child(&spool, 0);
    let start = Instant::now();
    assert_eq!(touch(&bytes), 0, "zeros stand where the pages were");
    let elapsed: Duration = start.elapsed();
    let faults = store.stats().vanished_pages - before;
    assert!(faults >= (CHUNK / 4096) as u64, "one fault a page");
    elapsed.as_secs_f64() * 1e6 / faults as f64
}

#[test]
fn a_segment_that_was_cut_and_grown_again_fails_its_checksums() {
    let _watchdog = Watchdog::start("fault 22, grown again");
    let dir = tempfile::tempdir().unwrap();
    let (spool, store) = open(&dir, true);
    let chunk = store.write(&[&Numbers(1).bytes(CHUNK)]).unwrap();
    let file = open_again(&open_files_below(spool.dir())[0]);
    let length = file.metadata().unwrap().len();
    file.set_len(CHUNK as u64 / 2).unwrap();
    file.set_len(length).unwrap();
    let error = chunk.bytes().unwrap_err();
    // The block in which the cut at 4 MiB lies: three MiB and the header come before it.
    assert!(matches!(error, Error::ChunkDamaged { offset: 3_145_792, .. }), "{error}");
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn a_page_that_vanished_for_a_moment_is_remembered() {
    let _watchdog = Watchdog::start("fault 22, for a moment");
    let dir = tempfile::tempdir().unwrap();
    let (spool, store) = open(&dir, true);
    let data = Numbers(2).bytes(CHUNK);
    let (whole, lost) = (store.write(&[&data]).unwrap(), store.write(&[&data]).unwrap());
    let (whole_bytes, lost_bytes) = (whole.bytes().unwrap(), lost.bytes().unwrap());
    let file = open_again(&open_files_below(spool.dir())[0]);
    let length = file.metadata().unwrap().len();
    file.set_len(CHUNK as u64 + 8192).unwrap();
    touch(&lost_bytes);
    file.set_len(length).unwrap();
    // The file is as long as ever, and only the guard's note tells that zeros were read.
    assert!(matches!(lost_bytes.check(), Err(Error::ChunkDamaged { chunk: 2, .. })));
    whole_bytes.check().expect("no page of the other chunk vanished");
    assert!(matches!(lost.bytes(), Err(Error::ChunkDamaged { chunk: 2, .. })));
    assert!(whole.bytes().unwrap().part(0) == data, "a fresh map shows that it is whole");
}

#[test]
fn without_the_guard_the_same_fault_ends_the_process() {
    const NAME: &str = "n22_truncated::without_the_guard_the_same_fault_ends_the_process";
    let _watchdog = Watchdog::start("fault 22, no guard");
    if child_case().is_some() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, store) = open(&dir, false);
        let bytes = store.write(&[&Numbers(1).bytes(CHUNK)]).unwrap().bytes().unwrap();
        truncate_by_child(&spool, 0);
        std::hint::black_box(touch(&bytes));
        println!("survived");
        return;
    }
    let output = run_child(NAME, "no guard");
    assert_eq!(ended_by(&output), Some(SIGBUS), "{output:?}");
}

#[test]
fn what_is_not_ours_goes_to_whoever_had_it_before() {
    const NAME: &str = "n22_truncated::what_is_not_ours_goes_to_whoever_had_it_before";
    let _watchdog = Watchdog::start("fault 22, foreign signals");
    if let Some(case) = child_case() {
        let dir = tempfile::tempdir().unwrap();
        let (_spool, store) = open(&dir, case.starts_with("guarded"));
        let _bytes = store.write(&[&[1; 100]]).unwrap().bytes().unwrap();
        if case.ends_with("foreign map") {
            read_foreign_map();
        } else if case.ends_with("sent signal") {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::BUS).unwrap();
        } else {
            println!("{}", std::thread::spawn(|| recurse(0)).join().unwrap());
        }
        println!("survived");
        return;
    }
    let mut alike = 0;
    for (what, signal) in [("foreign map", Some(SIGBUS)), ("sent signal", None), ("stack overflow", Some(SIGABRT))] {
        let [guarded, plain] = ["guarded", "plain"].map(|how| run_child(NAME, &format!("{how} {what}")));
        // std's own handler forgives a first signal that was sent; what counts is that the guard changes nothing.
        assert_eq!((ended_by(&guarded), ended_by(&plain)), (signal, signal), "{what}");
        alike += 1;
        if what == "stack overflow" {
            let said = String::from_utf8_lossy(&guarded.stderr);
            assert!(said.contains("overflowed its stack"), "std's own message is still printed: {said}");
        }
    }
    report(22, format_args!("foreign SIGBUS, sent SIGBUS and stack overflow end as without the guard {alike}/3"));
}

#[expect(unconditional_recursion, reason = "the stack must overflow")]
fn recurse(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    recurse(room[1] + 1) + room[2]
}

#[expect(unsafe_code, reason = "a map that is not the store's must fault, and no safe code can do that")]
fn read_foreign_map() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(4096).unwrap();
    let map = memmap2::MmapOptions::new().len(4096).map_raw_read_only(&file).unwrap();
    file.set_len(0).unwrap();
    // SAFETY: the address is inside a live map; that the file below it is empty makes the read raise SIGBUS, which ends
    // this child, and that is the test.
    println!("{}", unsafe { std::ptr::read_volatile(map.as_ptr()) });
}
