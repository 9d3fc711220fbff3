//! 26: the spool's directory is removed, closed, replaced or given away while work goes on.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use allotment::store::{Chunk, Spool, SpoolOptions, Store};
use allotment::{ByteSize, Error};

use crate::common::{Numbers, Watchdog, report};

const SEGMENT: usize = 1 << 20;

fn options(dir: &Path) -> SpoolOptions {
    let segment_bytes = ByteSize(SEGMENT as u64);
    SpoolOptions { dir: Some(dir.into()), allow_ram: true, segment_bytes, ..Default::default() }
}

/// Writes a chunk that needs a segment of its own.
fn write_into_new_segment(store: &Store) -> allotment::Result<Chunk> {
    store.write(&[&vec![1; 2 * SEGMENT]])
}

/// Does something to the directory of a spool in use; returns what a new segment is told.
fn told_after(harm: impl FnOnce(&Path, &Path)) -> String {
    let parent = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let spool = Spool::open(&options(parent.path())).unwrap();
    let store = spool.store(0);
    let data = Numbers(26).bytes(300_000);
    let before = store.write(&[&data]).unwrap();
    harm(spool.dir(), elsewhere.path());
    assert!(before.bytes().unwrap().part(0) == data, "open data keep working");
    let inside = store.write(&[&data]).unwrap();
    assert!(inside.bytes().unwrap().part(0) == data, "so does the segment that is open");
    let error = write_into_new_segment(&store).unwrap_err();
    assert!(matches!(error, Error::SpoolDir { .. }), "{error}");
    drop((before, inside, store, spool));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "a link is never followed");
    assert!(elsewhere.path().is_dir());
    error.to_string()
}

#[test]
fn what_is_open_goes_on_and_what_is_new_is_refused() {
    let _watchdog = Watchdog::start("fault 26");
    let mut cases = 0;
    let mut check = |told: String, expected: &str| {
        assert!(told.contains(expected), "{told}");
        cases += 1;
    };
    check(told_after(|dir, _| std::fs::remove_dir(dir).unwrap()), "it was removed");
    let close = |dir: &Path, _: &Path| std::fs::set_permissions(dir, PermissionsExt::from_mode(0o000)).unwrap();
    check(told_after(close), "its mode is 000");
    check(told_after(|dir, _| std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap()), "must be 700");
    let replace = |dir: &Path, elsewhere: &Path| {
        std::fs::rename(dir, dir.with_extension("moved")).unwrap();
        symlink(elsewhere, dir).unwrap();
    };
    check(told_after(replace), "something else stands in its place");
    check(told_after(|dir, _| std::fs::rename(dir, dir.with_extension("moved")).unwrap()), "it was moved");
    if rustix::process::geteuid().is_root() {
        check(told_after(|dir, _| chown(dir, Some(12_345), None).unwrap()), "belongs to user 12345");
    } else {
        println!("skipped: only root can give a directory away");
    }
    report(26, format_args!("{cases} kinds of harm: lost chunks 0, new segments refused {cases}/{cases}"));
}

#[test]
fn a_place_that_is_not_ours_is_refused_at_the_start() {
    let _watchdog = Watchdog::start("fault 26, at the start");
    let parent = tempfile::tempdir().unwrap();
    let refused = |path: &Path, expected: &str| {
        let error = Spool::open(&options(path)).unwrap_err();
        assert!(matches!(error, Error::SpoolDir { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("ALLOTMENT_SPOOL"), "it says what to do: {error}");
    };
    refused(&parent.path().join("absent"), "No such file");
    std::fs::write(parent.path().join("file"), b"").unwrap();
    refused(&parent.path().join("file"), "Not a directory");
    let own_link = parent.path().join("link");
    symlink(parent.path(), &own_link).unwrap();
    Spool::open(&options(&own_link)).expect("a link of our own may lead to the place");
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can make a foreign directory");
        return;
    }
    let foreign = parent.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    chown(&foreign, Some(12_345), None).unwrap();
    refused(&foreign, "it belongs to user 12345");
    std::os::unix::fs::lchown(&own_link, Some(12_345), None).unwrap();
    refused(&own_link, "symbolic link of user 12345");
}
