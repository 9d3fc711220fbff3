//! 23: bits flip, holes appear, chunks are swapped, a chunk of another session stands in the place.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use allotment::Error;
use allotment::store::{Chunk, Spool, SpoolOptions, Verify};
use rustix::fs::FallocateFlags;

use crate::common::{Numbers, Watchdog, open_again, open_files_below, report};

const N_CHUNKS: usize = 32;
const PART: usize = 60_000;
const SPOTS: u64 = 10_000;

/// The places of the chunks in a segment, found by their magic word.
fn runs_of(file: &File) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let mut header = [0; 64];
    let length = file.metadata().unwrap().len();
    for offset in (0..length.min(64 << 20)).step_by(4096) {
        file.read_exact_at(&mut header, offset).unwrap();
        if header.starts_with(b"ALLOTCHK") {
            runs.push((offset, u64::from_ne_bytes(header[32..40].try_into().unwrap())));
        }
    }
    runs
}

fn read(file: &File, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

fn is_damaged(chunk: &Chunk) -> bool {
    matches!(chunk.bytes(), Err(Error::ChunkDamaged { .. }))
}

#[test]
fn every_change_of_a_sealed_chunk_is_refused() {
    let _watchdog = Watchdog::start("fault 23");
    let dir = tempfile::tempdir().unwrap();
    let options =
        SpoolOptions { dir: Some(dir.path().into()), allow_ram: true, verify: Verify::Always, ..Default::default() };
    let spool = Spool::open(&options).unwrap();
    let store = spool.store(0);
    let mut numbers = Numbers(23);
    let data: Vec<Vec<u8>> = (0..N_CHUNKS).map(|_| numbers.bytes(PART)).collect();
    let chunks: Vec<Chunk> = data.iter().map(|bytes| store.write(&[bytes]).unwrap()).collect();
    let file = open_again(&open_files_below(spool.dir())[0]);
    let runs = runs_of(&file);
    assert_eq!(runs.len(), N_CHUNKS);
    // The same chunks of another session: whole, of equal number, length and bytes.
    let other = Spool::open(&options).unwrap();
    let other_store = other.store(0);
    let _stale: Vec<Chunk> = data.iter().map(|bytes| other_store.write(&[bytes]).unwrap()).collect();
    let other_file = open_again(&open_files_below(other.dir())[0]);

    let mut detected = 0;
    for spot in 0..SPOTS {
        let which = numbers.below(N_CHUNKS as u64) as usize;
        let (start, run) = runs[which];
        let saved = read(&file, start, run);
        match spot % 8 {
            0 => {
                let (offset, len) = (numbers.below(run), 1 + numbers.below(5000));
                let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                // Where the file system cannot punch, zeros do the same damage.
                let len = len.min(run - offset);
                if rustix::fs::fallocate(&file, mode, start + offset, len).is_err() {
                    file.write_all_at(&vec![0; len as usize], start + offset).unwrap();
                }
                // A hole where zeros stood changes nothing; make it one bit more.
                if read(&file, start, run) == saved {
                    file.write_all_at(&[saved[offset as usize] ^ 1], start + offset).unwrap();
                }
            }
            1 => {
                let with = runs[(which + 1) % N_CHUNKS].0;
                file.write_all_at(&read(&file, with, run), start).unwrap();
            }
            2 => file.write_all_at(&read(&other_file, start, run), start).unwrap(),
            _ => {
                let (offset, bit) = (numbers.below(run), numbers.below(8));
                file.write_all_at(&[saved[offset as usize] ^ (1 << bit)], start + offset).unwrap();
            }
        }
        detected += u64::from(is_damaged(&chunks[which]));
        file.write_all_at(&saved, start).unwrap();
        if spot % 500 == 0 {
            assert!(chunks[which].bytes().unwrap().part(0) == data[which], "the bytes are back, so the chunk is");
        }
    }
    assert_eq!(store.stats().damaged, SPOTS);
    report(23, format_args!("damage detected {detected}/{SPOTS}; verify {:.1} GiB/s", verify_speed(&spool)));
    assert_eq!(detected, SPOTS);
}

/// Returns how fast warm bytes are verified: the best of five, as other programs run here too.
fn verify_speed(spool: &Spool) -> f64 {
    let chunk = spool.store(1).write(&[&vec![7; 64 << 20]]).unwrap();
    let _held = chunk.bytes().unwrap();
    let seconds = |()| {
        let start = Instant::now();
        chunk.bytes().unwrap();
        start.elapsed().as_secs_f64()
    };
    let best = (0..5).map(|_| seconds(())).fold(f64::INFINITY, f64::min);
    1.0 / 16.0 / best
}

#[test]
fn a_cold_chunk_is_verified_and_a_warm_one_is_trusted() {
    let _watchdog = Watchdog::start("fault 23, cold");
    for (verify, cold_is_refused) in [(Verify::Cold, true), (Verify::Never, false)] {
        let dir = tempfile::tempdir().unwrap();
        let options = SpoolOptions { dir: Some(dir.path().into()), allow_ram: true, verify, ..Default::default() };
        let spool = Spool::open(&options).unwrap();
        let store = spool.store(0);
        let chunk = store.write(&[&[5; 100_000]]).unwrap();
        chunk.bytes().unwrap();
        let file = open_again(&open_files_below(spool.dir())[0]);
        file.write_all_at(&[6], 50_000).unwrap();
        assert!(!is_damaged(&chunk), "{verify:?}: warm chunks are not read twice");
        assert!(store.trim(0) > 0);
        assert_eq!(is_damaged(&chunk), cold_is_refused, "{verify:?}");
    }
}
