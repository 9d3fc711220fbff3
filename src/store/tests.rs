//! The store as its users see it, compared with plain vectors.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::bytes::ByteSize;

fn options(dir: &tempfile::TempDir) -> SpoolOptions {
    // Tests may run where the temporary directory is in memory.
    SpoolOptions { dir: Some(dir.path().into()), allow_ram: true, ..Default::default() }
}

fn numbered(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503) >> 8) as u8).collect()
}

#[test]
fn every_part_comes_back_aligned_whatever_its_length() {
    let dir = tempfile::tempdir().unwrap();
    for file_system in [FileSystem::Disk, FileSystem::Remote] {
        let spool = Spool::open(&SpoolOptions { file_system: Some(file_system), ..options(&dir) }).unwrap();
        let store = spool.store(3);
        let lengths = [0, 1, 63, 64, 65, 4095, 4096, 70_000, (1 << 20) - 64, 1 << 20, (3 << 20) + 5, 0];
        let parts: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(i, len)| numbered(*len, i)).collect();
        let chunk = store.write(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        assert_eq!(chunk.nbytes(), lengths.iter().sum::<usize>() as u64);
        let bytes = chunk.bytes().unwrap();
        assert_eq!((chunk.n_parts(), bytes.n_parts()), (parts.len(), parts.len()));
        for (i, part) in parts.iter().enumerate() {
            assert!(bytes.part(i) == &part[..], "part {i} on {file_system:?}");
            assert_eq!(bytes.part(i).as_ptr().addr() % 64, 0, "part {i} on {file_system:?}");
        }
        bytes.check().unwrap();
        assert_eq!(store.stats().maps, usize::from(file_system == FileSystem::Disk));
    }
}

#[test]
fn a_chunk_without_parts_is_a_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Spool::open(&options(&dir)).unwrap().store(0);
    for parts in [&[][..], &[&[][..]][..]] {
        let chunk = store.write(parts).unwrap();
        assert_eq!((chunk.nbytes(), chunk.bytes().unwrap().n_parts()), (0, parts.len()));
    }
}

#[test]
fn a_writer_may_be_fed_in_pieces_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let store = Spool::open(&options(&dir)).unwrap().store(0);
    let whole = numbered(300_000, 1);
    for piece in [1, 7, 64, 1000, 65_536, 70_000, 300_000] {
        let mut writer = store.writer(&[100_001, 0, 199_999]).unwrap();
        whole.chunks(piece).for_each(|piece| writer.write(piece).unwrap());
        let bytes = writer.seal().unwrap().bytes().unwrap();
        assert!([bytes.part(0), bytes.part(1), bytes.part(2)].concat() == whole, "pieces of {piece}");
    }
}

#[test]
fn a_writer_takes_neither_more_nor_less_than_it_reserved() {
    let dir = tempfile::tempdir().unwrap();
    let store = Spool::open(&options(&dir)).unwrap().store(0);
    let mut writer = store.writer(&[4]).unwrap();
    writer.write(b"abc").unwrap();
    assert!(writer.seal().unwrap_err().to_string().contains("written"));
    let mut writer = store.writer(&[4]).unwrap();
    assert!(writer.write(b"abcde").unwrap_err().to_string().contains("no more than the 4 bytes"));
    assert!(writer.seal().is_err(), "a chunk that was refused bytes is not whole");
    assert_eq!(store.stats().chunks, 0);
    assert!(matches!(store.writer(&[u64::MAX, 1]), Err(Error::SpoolFull { need: u64::MAX, .. })));
    assert!(matches!(store.writer(&[1 << 61]), Err(Error::SpoolFull { .. })));
}

#[test]
fn dropped_chunks_give_their_space_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let store = Spool::open(&SpoolOptions { segment_bytes: ByteSize(1 << 20), ..options(&dir) }).unwrap().store(0);
    let block = numbered(300_000, 5);
    for _ in 0..50 {
        let chunks: Vec<Chunk> = (0..3).map(|_| store.write(&[&block]).unwrap()).collect();
        assert_eq!((store.stats().segments, store.stats().chunks), (1, 3));
        assert!(chunks.iter().all(|chunk| chunk.bytes().unwrap().part(0) == block));
    }
    let many: Vec<Chunk> = (0..30).map(|_| store.write(&[&block]).unwrap()).collect();
    assert_eq!(store.stats().segments, 10);
    drop(many);
    let stats = store.stats();
    assert_eq!((stats.segments, stats.chunks, stats.bytes, stats.mapped_bytes), (1, 0, 0, 0));
}

#[test]
fn what_is_dropped_leaves_the_disk_but_for_a_little_kept_for_reuse() {
    let dir = tempfile::tempdir().unwrap();
    let store = Spool::open(&SpoolOptions { segment_bytes: ByteSize(8 << 20), ..options(&dir) }).unwrap().store(0);
    let block = numbered(1 << 20, 3);
    let chunks: Vec<Chunk> = (0..6).map(|_| store.write(&[&block]).unwrap()).collect();
    let on_disk = || {
        use std::os::unix::fs::MetadataExt;
        store.shared.segments().iter().map(|s| s.file().metadata().unwrap().blocks() * 512).sum::<u64>()
    };
    assert!(on_disk() >= 6 << 20);
    drop(chunks);
    // An eighth of 8 MiB may stay, and the one chunk that went over it.
    assert!(on_disk() <= 2 << 20, "{} are still on the disk", ByteSize(on_disk()));
}

#[test]
fn a_quota_is_a_full_disk_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Spool::open(&options(&dir)).unwrap().store(0);
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
        let error = store.shared.refused("write a chunk in", 77, errno);
        assert!(matches!(error, Error::SpoolFull { need: 77, .. }), "{errno}: {error}");
    }
    for errno in [Errno::IO, Errno::ROFS, Errno::PERM] {
        let error = store.shared.refused("write a chunk in", 77, errno);
        assert!(matches!(error, Error::Io { .. }), "{errno}: {error}");
        assert!(error.to_string().contains("cannot write a chunk in"), "{error}");
    }
}

#[test]
fn a_chunk_larger_than_a_segment_has_one_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = Spool::open(&SpoolOptions { segment_bytes: ByteSize(1 << 20), ..options(&dir) }).unwrap().store(0);
    let small = store.write(&[&numbered(500_000, 1)]).unwrap();
    let large = store.write(&[&numbered(5_000_000, 2)]).unwrap();
    assert_eq!(store.stats().segments, 2);
    assert!(large.bytes().unwrap().part(0) == numbered(5_000_000, 2));
    drop(large);
    assert_eq!(store.stats().segments, 1);
    assert!(small.bytes().unwrap().part(0) == numbered(500_000, 1));
}

#[test]
fn trim_evicts_the_least_recent_and_never_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&SpoolOptions { drop_cache: true, ..options(&dir) }).unwrap();
    let store = spool.store(0);
    let chunks: Vec<Chunk> = (0..4).map(|i| store.write(&[&numbered(100_000, i)]).unwrap()).collect();
    let run = store.stats().bytes / 4;
    let held = chunks[0].bytes().unwrap();
    chunks[1..].iter().for_each(|chunk| drop(chunk.bytes().unwrap()));
    chunks[1].bytes().unwrap();
    assert_eq!(store.stats().mapped_bytes, 4 * run);
    assert_eq!(store.trim(2 * run), 2 * run, "chunks 2 and 3 go: 0 is held, 1 was read later");
    assert_eq!(store.trim(0), run, "then 1; 0 stays");
    assert_eq!((store.stats().mapped_bytes, store.stats().evictions), (run, 3));
    assert!(held.part(0) == numbered(100_000, 0));
    for (i, chunk) in chunks.iter().enumerate() {
        assert!(chunk.bytes().unwrap().part(0) == numbered(100_000, i), "chunk {i} comes back");
    }
}

#[test]
fn maps_stay_within_their_limit_and_readers_copy_beyond_it() {
    let dir = tempfile::tempdir().unwrap();
    let tight = SpoolOptions { segment_bytes: ByteSize(1 << 20), max_maps: Some(2), ..options(&dir) };
    let store = Spool::open(&tight).unwrap().store(0);
    let chunks: Vec<Chunk> = (0..6).map(|i| store.write(&[&numbered(1_000_000, i)]).unwrap()).collect();
    assert_eq!(store.stats().segments, 6);
    for (i, chunk) in chunks.iter().enumerate().cycle().take(18) {
        assert!(chunk.bytes().unwrap().part(0) == numbered(1_000_000, i));
        assert!(store.stats().maps <= 2);
    }
    let all: Vec<ChunkBytes> = chunks.iter().map(|chunk| chunk.bytes().unwrap()).collect();
    assert_eq!(store.stats().maps, 2, "four of the six were copied");
    assert!(all.iter().enumerate().all(|(i, bytes)| bytes.part(0) == numbered(1_000_000, i)));
}

#[test]
fn a_closed_spool_still_reads_and_its_directory_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&options(&dir)).unwrap();
    let store = spool.store(0);
    let chunk = store.write(&[&numbered(100_000, 1)]).unwrap();
    spool.close();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    drop((spool, store));
    assert!(chunk.bytes().unwrap().part(0) == numbered(100_000, 1));
}

#[test]
fn stores_of_one_spool_share_maps_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&options(&dir)).unwrap();
    let (left, right) = (spool.store(0), spool.store(1));
    let chunk = left.write(&[b"left"]).unwrap();
    assert_eq!((left.stats().chunks, right.stats().chunks), (1, 0));
    assert_ne!(chunk.bytes().unwrap().part(0), right.write(&[b"rite"]).unwrap().bytes().unwrap().part(0));
    assert_eq!((left.stats().maps, left.stats().worker, right.stats().worker), (2, 0, 1));
    assert_eq!(left.shared.spool.open_segments.load(Ordering::Relaxed), 2);
    drop(right);
    assert_eq!(left.shared.spool.open_segments.load(Ordering::Relaxed), 1);
}

#[test]
fn a_forked_child_may_not_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(&options(&dir)).unwrap();
    Arc::get_mut(&mut spool.shared).unwrap().directory.pretend_fork(true);
    let store = spool.store(0);
    assert!(matches!(store.write(&[b"child"]), Err(Error::Forked)));
    drop(store);
    Arc::get_mut(&mut spool.shared).unwrap().directory.pretend_fork(false);
    assert_eq!(spool.store(0).write(&[b"parent"]).unwrap().bytes().unwrap().part(0), b"parent");
}

#[test]
fn debug_output_is_short_however_large_the_chunk() {
    let dir = tempfile::tempdir().unwrap();
    for max_maps in [0, 1] {
        let spool = Spool::open(&SpoolOptions { max_maps: Some(max_maps), ..options(&dir) }).unwrap();
        let store = spool.store(0);
        let chunk = store.write(&[&numbered(1 << 20, 0)]).unwrap();
        let text = format!("{store:?} {chunk:?} {:?}", chunk.bytes().unwrap());
        assert!(text.len() < 2000, "{text}");
    }
}

#[test]
fn nonsense_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 1, 65_535, u64::MAX] {
        let error = Spool::open(&SpoolOptions { segment_bytes: ByteSize(size), ..options(&dir) }).unwrap_err();
        assert!(matches!(error, Error::BadSetting { setting: "segment_bytes", .. }), "{error}");
    }
}

#[test]
fn lanes_that_write_read_and_drop_at_once_never_meet() {
    let dir = tempfile::tempdir().unwrap();
    let store = Spool::open(&SpoolOptions { segment_bytes: ByteSize(1 << 20), ..options(&dir) }).unwrap().store(0);
    std::thread::scope(|scope| {
        for lane in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                let mut held: Vec<(Chunk, usize, usize)> = Vec::new();
                for step in 0..200 {
                    let (seed, len) = (lane * 1000 + step, 1 + (step * 7919 * (lane + 1)) % 200_000);
                    held.push((store.write(&[&numbered(len, seed)]).unwrap(), len, seed));
                    let (chunk, len, seed) = &held[(step * 31) % held.len()];
                    assert!(chunk.bytes().unwrap().part(0) == numbered(*len, *seed));
                    if held.len() > 10 {
                        held.swap_remove(step % 10);
                    }
                    if step % 16 == 0 {
                        store.trim(100_000);
                    }
                }
            });
        }
    });
    let stats = store.stats();
    assert_eq!((stats.chunks, stats.bytes, stats.mapped_bytes, stats.damaged), (0, 0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    // The slow, obvious version: vectors in a map.
    #[test]
    fn any_order_of_writes_reads_trims_and_drops_keeps_every_byte(
        steps in proptest::collection::vec((0u8..8, 0usize..120_000, any::<usize>()), 1..60),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let small = SpoolOptions { segment_bytes: ByteSize(256 << 10), max_maps: Some(3), ..options(&dir) };
        let store = Spool::open(&small).unwrap().store(0);
        let mut model: HashMap<usize, (Chunk, Vec<u8>)> = HashMap::new();
        for (step, (action, len, which)) in steps.into_iter().enumerate() {
            let key = model.keys().copied().min_by_key(|key| key ^ (which % 64));
            match (action, key) {
                (0..=3, _) | (_, None) => {
                    // Every fourth is small enough to share pages with others.
                    let bytes = numbered(if action == 0 { len % 500 } else { len }, step);
                    model.insert(step, (store.write(&[&bytes]).unwrap(), bytes));
                }
                (4, Some(key)) => drop(model.remove(&key)),
                (5, _) => drop(store.trim(which as u64 % 200_000)),
                (_, Some(key)) => {
                    let (chunk, bytes) = &model[&key];
                    prop_assert!(chunk.bytes().unwrap().part(0) == bytes);
                }
            }
        }
        for (chunk, bytes) in model.values() {
            prop_assert!(chunk.bytes().unwrap().part(0) == bytes);
        }
        prop_assert_eq!(store.stats().chunks, model.len() as u64);
    }
}
