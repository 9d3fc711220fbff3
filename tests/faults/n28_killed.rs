//! 28: the process is killed while it writes chunks; the next one, and a live one beside it, share the parent.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use allotment::store::{Spool, SpoolOptions};

use crate::common::{Numbers, Watchdog, child, child_case, report};

const KILLS: u64 = 200;

fn open(dir: &Path) -> Spool {
    Spool::open(&SpoolOptions { dir: Some(dir.into()), allow_ram: true, ..Default::default() }).unwrap()
}

/// Returns the bytes of all files that have a name below `dir`, and how many directories there are.
fn named_below(dir: &Path) -> (u64, usize) {
    let (mut bytes, mut directories) = (0, 0);
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        directories += 1;
        for file in std::fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            bytes += file.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    (bytes, directories)
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_and_live_spools_stay() {
    const NAME: &str = "n28_killed::a_kill_in_the_middle_leaves_nothing_and_live_spools_stay";
    let _watchdog = Watchdog::start("fault 28");
    if let Some(dir) = child_case() {
        let store = open(Path::new(&dir)).store(0);
        let data = Numbers(28).bytes(100_000);
        println!("spilling");
        let mut chunks = std::collections::VecDeque::new();
        loop {
            chunks.push_back(store.write(&[&data]).unwrap());
            if chunks.len() > 20 {
                chunks.pop_front();
            }
        }
    }
    let parent = tempfile::tempdir().unwrap();
    let live = open(parent.path());
    let live_chunk = live.store(0).write(&[b"alive"]).unwrap();
    let mut numbers = Numbers(2800);
    let mut bytes_left = 0;
    for kill in 0..KILLS {
        let mut child =
            child(NAME, parent.path().to_str().unwrap()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // One in five dies while it starts, the others while they write.
        if kill % 5 > 0 {
            let mut said = BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            while !line.contains("spilling") {
                line.clear();
                assert!(said.read_line(&mut line).unwrap() > 0, "the child ended by itself");
            }
        }
        std::thread::sleep(Duration::from_micros(numbers.below(3000)));
        child.kill().unwrap();
        child.wait().unwrap();
        bytes_left += named_below(parent.path()).0;
    }
    let next = open(parent.path());
    let (bytes, directories) = named_below(parent.path());
    assert_eq!((bytes_left + bytes, directories), (0, 2), "only the live directories are left");
    assert!(live.dir().exists() && next.dir().exists());
    assert_eq!(live_chunk.bytes().unwrap().part(0), b"alive");
    drop((live, live_chunk, next));
    assert_eq!(named_below(parent.path()), (0, 0));
    report(28, format_args!("{KILLS} kills: bytes left 0, live directories deleted 0"));
}
