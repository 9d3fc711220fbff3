//! Ctrl-C ends a long run soon, with code 130, and leaves nothing.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::ground::{Ground, npy};

/// Runs an SVD of many minutes.
fn ends_tidily(more: &[&str], signal: Signal) {
    let ground = Ground::new();
    let out = ground.path("out");
    let base = ["svd", "--random", "400000000x50", "--chunk-rows", "2000", "--vectors", "--out", &out];
    ends_tidily_on(&ground, &[&base[..], more].concat(), "svd: ", signal);
}

/// Starts a long run, waits until it works, signals it, and checks how it ends.
fn ends_tidily_on(ground: &Ground, args: &[&str], begins: &str, signal: Signal) {
    let before = ground.files(".");
    let mut child = ground.command(args).spawn().expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("the first line of progress");
    assert!(line.contains(begins), "{line}");

    kill_process(Pid::from_child(&child), signal).expect("the program runs");
    let signalled = Instant::now();
    // A block takes milliseconds; the rest is room for a loaded machine.
    let status = loop {
        match child.try_wait().expect("it can be asked") {
            Some(status) => break status,
            None if signalled.elapsed() < Duration::from_secs(20) => std::thread::yield_now(),
            None => {
                child.kill().expect("it still runs");
                panic!("it still ran {:?} after the signal", signalled.elapsed());
            }
        }
    };
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("the program prints UTF-8");
    assert_eq!(status.code(), Some(130), "{rest}");
    assert_eq!(rest.lines().filter(|line| line.starts_with("error: interrupted")).count(), 1, "{rest}");
    assert_eq!(ground.files("."), before);
    ground.assert_spool_empty();
}

#[test]
fn ctrl_c_ends_a_run_on_lanes() {
    ends_tidily(&["--workers", "2"], Signal::INT);
}

#[test]
fn ctrl_c_ends_a_run_on_the_callers_thread() {
    ends_tidily(&["--scheduler", "serial"], Signal::INT);
}

#[test]
fn a_polite_request_to_end_is_obeyed_as_well() {
    ends_tidily(&["--workers", "2"], Signal::TERM);
}

#[test]
fn ctrl_c_ends_a_pipeline_without_half_an_output() {
    let ground = Ground::new();
    // Two gigabytes of zeros that take no place on the disk.
    let (rows, cols) = (200_000u64, 10_000u64);
    let file = ground.write("zeros.npy", &npy("|u1", &format!("({rows}, {cols})"), &[]));
    let zeros = std::fs::File::options().append(true).open(&file).expect("it is there");
    let header = zeros.metadata().expect("it can be asked").len();
    zeros.set_len(header + rows * cols).expect("a file may have holes");
    for out in ["cells.h5ad", "cells.zarr"] {
        let args = ["pipeline", &file, "--target-sum", "1e4", "--out", &ground.path(out), "--workers", "2"];
        ends_tidily_on(&ground, &args, "hvg: ", Signal::INT);
    }
}
