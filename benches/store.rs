//! How fast chunks are written and read back, beside plain `write` and `read` of the same bytes in the same run.
//!
//! `cargo bench --bench store [-- MiB]` prints one line for each case: GiB/s of the store, of the plain calls, and their ratio.
//! Each case is the best of five rounds, in which store and plain calls take turns, as other programs use the disk too.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use allotment::ByteSize;
use allotment::store::{Chunk, Spool, SpoolOptions};
use rustix::fs::Advice;

const CHUNK: usize = 8 << 20;
const ROUNDS: usize = 5;
const CASES: [&str; 4] = ["write", "first read, in cache", "read again, verified", "cold read from disk"];

/// Seconds that each case took in one round.
type Seconds = [f64; CASES.len()];

fn main() {
    let mebibytes = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(256_usize);
    let n_chunks = (mebibytes << 20).div_ceil(CHUNK).max(1);
    let data: Vec<u8> = (0..CHUNK).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    // One directory for both, so that it is the same disk.
    let dir = std::env::var_os("ALLOTMENT_SPOOL").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    let (mut stores, mut plain) = ([f64::INFINITY; CASES.len()], [f64::INFINITY; CASES.len()]);
    for _ in 0..ROUNDS {
        keep_best(&mut stores, with_store(&dir, &data, n_chunks));
        keep_best(&mut plain, with_plain_calls(&dir, &data, n_chunks));
    }
    let gibibytes = (n_chunks * CHUNK) as f64 / (1 << 30) as f64;
    println!("{} in chunks of {}, one thread, best of {ROUNDS}", size(n_chunks * CHUNK), size(CHUNK));
    println!("{:<24} {:>12} {:>12} {:>8}", "", "store GiB/s", "plain GiB/s", "ratio");
    for ((case, store), plain) in CASES.iter().zip(stores).zip(plain) {
        println!("{case:<24} {:>12.2} {:>12.2} {:>8.2}", gibibytes / store, gibibytes / plain, plain / store);
    }
}

fn size(bytes: usize) -> ByteSize {
    ByteSize(bytes as u64)
}

fn keep_best(best: &mut Seconds, round: Seconds) {
    best.iter_mut().zip(round).for_each(|(best, now)| *best = best.min(now));
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn with_store(dir: &Path, data: &[u8], n_chunks: usize) -> Seconds {
    let fill = |drop_cache| {
        let options = SpoolOptions { dir: Some(dir.into()), drop_cache, ..Default::default() };
        let spool = Spool::open(&options).unwrap();
        let store = spool.store(0);
        let mut chunks: Vec<Chunk> = Vec::new();
        let write = seconds(|| chunks = (0..n_chunks).map(|_| store.write(&[data]).unwrap()).collect());
        (spool, store, chunks, write)
    };
    let (spool, store, chunks, write) = fill(false);
    let first = seconds(|| read_all(&chunks));
    store.trim(0);
    let again = seconds(|| read_all(&chunks));
    drop((spool, store, chunks));

    let (spool, store, chunks, _) = fill(true);
    read_all(&chunks);
    // Only what was written back can leave the kernel's cache.
    rustix::fs::syncfs(File::open(spool.dir()).unwrap()).unwrap();
    store.trim(0);
    let cold = seconds(|| read_all(&chunks));
    [write, first, again, cold]
}

/// Maps and verifies every chunk, which reads every byte.
fn read_all(chunks: &[Chunk]) {
    for chunk in chunks {
        black_box(chunk.bytes().unwrap().part(0));
    }
}

fn with_plain_calls(dir: &Path, data: &[u8], n_chunks: usize) -> Seconds {
    let mut file = tempfile::tempfile_in(dir).unwrap();
    let mut buffer = vec![0; data.len()];
    let write = seconds(|| (0..n_chunks).for_each(|_| file.write_all(data).unwrap()));
    let first = seconds(|| read_file(&mut file, &mut buffer, n_chunks));
    let again = seconds(|| read_file(&mut file, &mut buffer, n_chunks));
    rustix::fs::syncfs(&file).unwrap();
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let cold = seconds(|| read_file(&mut file, &mut buffer, n_chunks));
    [write, first, again, cold]
}

fn read_file(file: &mut File, buffer: &mut [u8], n_chunks: usize) {
    file.seek(SeekFrom::Start(0)).unwrap();
    for _ in 0..n_chunks {
        file.read_exact(buffer).unwrap();
        black_box(&mut *buffer);
    }
}
