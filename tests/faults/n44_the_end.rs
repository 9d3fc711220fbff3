//! 44: the cluster, or the whole process, ends while tasks run and chunks are written.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotment::store::SpoolOptions;
use allotment::{Cluster, Error, Future, task_context};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Gate, cluster, of, submit, threads, until};
use crate::common::{Watchdog, child, child_case, report, told_by_child};

const NAME: &str = "n44_the_end::a_process_that_ends_leaves_no_bytes_and_no_handler";
const PENDING: usize = 500;

/// Two tasks that run until the gate opens, and many that wait behind them.
fn fill(cluster: &Cluster, gate: &Arc<Gate>) -> Vec<Future<usize>> {
    let task = |i: usize| {
        let gate = gate.clone();
        cluster.submit(move || {
            gate.pass();
            i
        })
    };
    let futures = (0..PENDING).map(|i| task(i).unwrap()).collect();
    until(|| cluster.snapshot().workers.iter().all(|worker| worker.running.len() == 1));
    futures
}

/// Returns how many ended with a value and how many with `Shutdown`; any other answer is a fault.
fn tally(futures: Vec<Future<usize>>) -> (usize, usize) {
    let n = futures.len();
    let answers = futures.into_iter().map(Future::wait);
    let values = answers
        .filter(|answer| match answer {
            Ok(_) => true,
            Err(Error::Shutdown { .. }) => false,
            Err(other) => panic!("{other}"),
        })
        .count();
    (values, n - values)
}

#[test]
fn shutdown_answers_everything_and_says_what_is_stuck() {
    let _watchdog = Watchdog::start("fault 44");
    // Tasks that end within the grace.
    let (whole, gate) = (cluster(2), Arc::new(Gate::default()));
    let futures = fill(&whole, &gate);
    let start = Instant::now();
    let report_of = std::thread::scope(|scope| {
        let ending = scope.spawn(|| whole.shutdown(Duration::from_secs(20)).unwrap());
        until(|| matches!(whole.submit(|| 1), Err(Error::Shutdown { .. })));
        gate.open();
        ending.join().unwrap()
    });
    let quick_ms = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!((report_of.stuck_lanes, tally(futures)), (0, (2, PENDING - 2)));
    // Tasks that do not.
    let (stuck, gate) = (cluster(2), Arc::new(Gate::default()));
    let futures = fill(&stuck, &gate);
    let start = Instant::now();
    let report_of = stuck.shutdown(Duration::from_millis(100)).unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!((report_of.stuck_lanes, tally(futures)), (2, (0, PENDING)));
    gate.open();
    // Dropping the last handle is a shutdown with the builder's grace.
    let (dropped, gate) = (of(2).grace(Duration::from_secs(20)).build().unwrap(), Arc::new(Gate::default()));
    let futures = fill(&dropped, &gate);
    std::thread::scope(|scope| {
        let handle = scope.spawn(move || drop(dropped));
        until(|| futures[2..].iter().all(Future::is_ready));
        assert!(!handle.is_finished(), "it waits for what runs");
        gate.open();
    });
    assert_eq!(tally(futures), (2, PENDING - 2));
    report(
        44,
        format_args!(
            "shutdown with {PENDING} pending: unresolved 0, {quick_ms:.1} ms; 2 stuck lanes: back {:.1} ms after a grace of \
             100 ms, and says 2",
            took.as_secs_f64() * 1e3 - 100.0
        ),
    );
}

/// Works and spills until the process ends.
fn spill_for_ever(dir: &Path) -> Cluster {
    let cluster =
        of(2).spool(SpoolOptions { dir: Some(dir.into()), allow_ram: true, ..Default::default() }).build().unwrap();
    let spill = || {
        let store = task_context().unwrap().store().unwrap();
        let mut chunks = Vec::new();
        while !task_context().unwrap().is_cancelled() {
            chunks.push(store.write(&[&[3; 50_000]]).unwrap());
            chunks.truncate(50);
        }
    };
    (0..2).for_each(|_| submit(&cluster, "spill", spill).detach());
    until(|| std::fs::read_dir(dir).unwrap().count() == 1);
    cluster
}

/// Returns the signals of a mask: of the process, or of this thread for those that are blocked.
fn signals(field: &str) -> u64 {
    // Another thread may block them all for a moment, as the C library does while it starts a thread.
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

/// Compares the handlers before and after a cluster has worked, spilled, and gone.
fn handlers() -> String {
    let (caught, ignored, blocked) = (signals("SigCgt"), signals("SigIgn"), signals("SigBlk"));
    let dir = tempfile::tempdir().unwrap();
    let cluster = spill_for_ever(dir.path());
    let write = || task_context().unwrap().store().unwrap().write(&[&[1]]).unwrap().bytes().map(drop);
    let other = of(1).spool_dir(dir.path()).build().unwrap();
    submit(&other, "map", write).wait().unwrap().unwrap();
    let new = signals("SigCgt") & !caught;
    assert_eq!(new & !(1 << (libc::SIGBUS - 1)), 0, "{new:#x}");
    assert_eq!((signals("SigIgn"), signals("SigBlk")), (ignored, blocked));
    // The tasks go on until they are told, which dropping a detached task's cluster does not; the process just ends.
    std::mem::forget(cluster);
    "handlers installed 0 but SIGBUS".into()
}

/// Prepares the same child with signals as a terminal's programs have them: what a build server starts in the background
/// ignores SIGINT, and so do its children.
fn hearing_signals(child: &Command) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM").arg(child.get_program()).args(child.get_args());
    command.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Runs one end of a process and returns the bytes and directories that it left in `dir`.
fn end_of_process(end: &str, dir: &Path) -> u64 {
    let case = format!("{end} {}", dir.to_str().unwrap());
    let mut process = hearing_signals(&child(NAME, &case)).spawn().unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("spilling") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the child ended by itself");
    }
    let signal = match end {
        "SIGTERM" => Some(Signal::TERM),
        "SIGINT" => Some(Signal::INT),
        _ => None,
    };
    if let Some(signal) = signal {
        kill_process(Pid::from_child(&process), signal).unwrap();
    }
    let status = process.wait().unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(status.signal(), signal.map(Signal::as_raw), "{end}: {status:?}");
    let files = |entry: std::fs::DirEntry| std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
    std::fs::read_dir(dir).unwrap().flatten().flat_map(files).map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn a_process_that_ends_leaves_no_bytes_and_no_handler() {
    let _watchdog = Watchdog::start("fault 44, processes");
    if let Some(case) = child_case() {
        let Some((end, dir)) = case.split_once(' ') else {
            println!("figure: {}", handlers());
            return;
        };
        let cluster = spill_for_ever(Path::new(dir));
        println!("spilling");
        match end {
            // As a program does whose `main` returns while a static still holds the cluster.
            "return" => std::mem::forget(cluster),
            "exit" => std::process::exit(0),
            _ => loop {
                std::thread::park();
            },
        }
        assert!(threads() > 3, "its lanes still run");
        return;
    }
    let ends = ["SIGTERM", "SIGINT", "return", "exit"];
    let dir = tempfile::tempdir().unwrap();
    let left: u64 = ends.iter().map(|end| end_of_process(end, dir.path())).sum();
    assert_eq!(left, 0);
    // The next spool takes away the empty directories.
    let next = of(1).spool_dir(dir.path()).build().unwrap();
    submit(&next, "open", || task_context().unwrap().store().map(drop)).wait().unwrap().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    report(
        44,
        format_args!(
            "{} while spilling: spool bytes left {left}; {}",
            ends.join(", "),
            told_by_child(NAME, "handlers", "figure:")
        ),
    );
}
