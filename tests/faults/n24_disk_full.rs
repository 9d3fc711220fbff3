//! 24: the disk is full at the start, in the middle, or because of somebody else.

use std::io::Write;
use std::path::Path;

use allotment::Error;
use allotment::store::{Chunk, Spool, SpoolOptions, Store};

use crate::common::{Mount, Numbers, Watchdog, report};

const CHUNK: usize = 1 << 20;

fn open(dir: &Path) -> Spool {
    Spool::open(&SpoolOptions { dir: Some(dir.into()), allow_ram: true, ..Default::default() }).unwrap()
}

/// A rival's file that takes all that is left.
fn fill(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("rival");
    let mut file = std::fs::File::create(&path).unwrap();
    for size in [1 << 20, 4096] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    path
}

/// Runs every case on one small file system; returns the bytes that refused chunks have kept.
fn run_on(mount: &Mount) -> u64 {
    let data = Numbers(24).bytes(CHUNK);
    let ballast = mount.path().join("ballast");
    std::fs::write(&ballast, vec![1; 2 * CHUNK]).unwrap();
    let spool = open(mount.path());
    let store = spool.store(0);
    // Refused although half of it would fit: that half must come back, and at once. The disk is made so small that the
    // half is less than what a segment may keep.
    let most = mount.path().join("most");
    std::fs::write(&most, vec![1; mount.free_bytes().saturating_sub(8 << 20) as usize]).unwrap();
    let before = mount.free_bytes();
    for _ in 0..5 {
        assert!(matches!(store.writer(&[before * 2]), Err(Error::SpoolFull { need, .. }) if need > before));
    }
    let mut leaked = before.saturating_sub(mount.free_bytes());
    std::fs::remove_file(most).unwrap();
    let mut chunks: Vec<Chunk> = Vec::new();
    let (need, free) = loop {
        match store.write(&[&data]) {
            Ok(chunk) => chunks.push(chunk),
            Err(Error::SpoolFull { need, free, .. }) => break (need, free),
            Err(other) => panic!("{other}"),
        }
    };
    assert!(chunks.len() >= 8 && need >= CHUNK as u64 && free < need, "{} chunks, {need}, {free}", chunks.len());

    // Refused again and again, nothing more is taken.
    let before = mount.free_bytes();
    for _ in 0..20 {
        assert!(matches!(store.write(&[&data]), Err(Error::SpoolFull { .. })));
        assert!(matches!(store.write(&[&vec![0; 8 * CHUNK]]), Err(Error::SpoolFull { .. })), "in a segment of its own");
    }
    leaked += before.saturating_sub(mount.free_bytes());

    // Sealed chunks are whole, and room that comes back is used.
    assert!(chunks.iter().all(|chunk| chunk.bytes().unwrap().part(0) == data));
    chunks.truncate(chunks.len() - 4);
    for _ in 0..4 {
        chunks.push(store.write(&[&data]).unwrap());
    }
    // Freed room also goes to a larger chunk, which needs it all in one segment or from the disk.
    chunks.truncate(chunks.len() - 6);
    let large = store.write(&[&vec![9; 5 * CHUNK]]).unwrap();
    assert!(large.bytes().unwrap().part(0).iter().all(|byte| *byte == 9));
    drop((large, chunks));
    drop_in_a_rival(mount, &store, &data);
    std::fs::remove_file(ballast).unwrap();
    assert!(store.write(&[&data]).unwrap().bytes().unwrap().part(0) == data, "work goes on when room appears");
    leaked
}

/// Lets a rival fill the disk while a writer is under way, and leave again.
fn drop_in_a_rival(mount: &Mount, store: &Store, data: &[u8]) {
    // What a writer has reserved cannot be taken by a rival.
    let mut writer = store.writer(&[4 * CHUNK as u64]).unwrap();
    writer.write(data).unwrap();
    let rival = fill(mount.path());
    (0..3).for_each(|_| writer.write(data).unwrap());
    let chunk = writer.seal().unwrap();
    assert!(chunk.bytes().unwrap().part(0).chunks(CHUNK).all(|part| part == data));
    // The store uses up what it had kept for reuse, then waits for room like everybody else.
    let mut kept: Vec<Chunk> = Vec::new();
    while let Ok(chunk) = store.write(&[data]) {
        kept.push(chunk);
    }
    assert!(matches!(store.write(&[data]), Err(Error::SpoolFull { .. })));
    assert!(matches!(
        Spool::open(&SpoolOptions { dir: Some(mount.path().into()), allow_ram: true, ..Default::default() }),
        Ok(_) | Err(Error::SpoolFull { .. } | Error::SpoolDir { .. })
    ));
    std::fs::remove_file(rival).unwrap();
    assert!(kept.iter().all(|chunk| chunk.bytes().unwrap().part(0) == data));
}

#[test]
fn a_full_disk_is_an_error_that_gives_its_part_back() {
    let _watchdog = Watchdog::start("fault 24");
    for (name, mount) in [("ext4 48 MiB", Mount::ext4(48)), ("tmpfs 16 MiB", Mount::tmpfs(16))] {
        match mount {
            Ok(mount) => {
                let leaked = run_on(&mount);
                report(24, format_args!("{name}: SIGBUS 0, bytes leaked {leaked}"));
                assert_eq!(leaked, 0, "{name}");
            }
            Err(why) => println!("skipped: no {name} can be mounted here: {why}"),
        }
    }
}
