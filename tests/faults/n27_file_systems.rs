//! 27: the spool is on memory, an overlay, a network, a user-space file system.

use allotment::Error;
use allotment::store::{FileSystem, Spool, SpoolOptions};

use crate::common::{Mount, Numbers, Watchdog, report};

/// What `statfs` says, and what it must mean.
const MATRIX: [(&str, u64, FileSystem); 14] = [
    ("ext4", 0xEF53, FileSystem::Disk),
    ("xfs", 0x5846_5342, FileSystem::Disk),
    ("btrfs", 0x9123_683E, FileSystem::Disk),
    ("zfs", 0x2FC1_2FC1, FileSystem::Disk),
    ("overlay", 0x794C_7630, FileSystem::Disk),
    ("tmpfs", 0x0102_1994, FileSystem::Ram),
    ("ramfs", 0x8584_58F6, FileSystem::Ram),
    ("nfs", 0x6969, FileSystem::Remote),
    ("smb2", 0xFE53_4D42, FileSystem::Remote),
    ("fuse", 0x6573_5546, FileSystem::Remote),
    ("9p", 0x0102_1997, FileSystem::Remote),
    ("ceph", 0x00C3_6400, FileSystem::Remote),
    ("lustre", 0x0BD0_0BD0, FileSystem::Remote),
    ("unknown", 0x1234_5678, FileSystem::Remote),
];

#[test]
fn each_file_system_is_mapped_copied_or_refused() {
    let _watchdog = Watchdog::start("fault 27");
    let dir = tempfile::tempdir().unwrap();
    let data = Numbers(27).bytes(200_000);
    let mut told = String::new();
    for (name, magic, kind) in MATRIX {
        assert_eq!(FileSystem::from_magic(magic), kind, "{name}");
        let as_if = |allow_ram| SpoolOptions {
            dir: Some(dir.path().into()),
            file_system: Some(FileSystem::from_magic(magic)),
            allow_ram,
            ..Default::default()
        };
        let outcome = match Spool::open(&as_if(false)) {
            Err(Error::SpoolDir { why, .. }) => {
                assert!(kind == FileSystem::Ram && why.contains("in memory"), "{name}: {why}");
                Spool::open(&as_if(true)).unwrap().store(0).write(&[&data]).unwrap().bytes().unwrap();
                "refused"
            }
            Err(other) => panic!("{name}: {other}"),
            Ok(spool) => {
                let store = spool.store(0);
                let chunk = store.write(&[&data]).unwrap();
                assert!(chunk.bytes().unwrap().part(0) == data, "{name}");
                assert_eq!(store.stats().maps, usize::from(kind == FileSystem::Disk), "{name}");
                if kind == FileSystem::Disk { "mapped" } else { "copied" }
            }
        };
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "{name} left something behind");
        told.push_str(&format!(" {name} {outcome},"));
    }
    report(27, told.trim_matches([' ', ',']));
}

#[test]
fn a_real_tmpfs_is_told_from_a_disk() {
    let _watchdog = Watchdog::start("fault 27, tmpfs");
    match Mount::tmpfs(16) {
        Ok(mount) => {
            let options = SpoolOptions { dir: Some(mount.path().into()), ..Default::default() };
            assert!(matches!(Spool::open(&options), Err(Error::SpoolDir { .. })));
            let spool = Spool::open(&SpoolOptions { allow_ram: true, ..options }).unwrap();
            assert_eq!(spool.store(0).write(&[b"ram"]).unwrap().bytes().unwrap().part(0), b"ram");
        }
        Err(why) => println!("skipped: no tmpfs can be mounted here: {why}"),
    }
    match Mount::ext4(16) {
        Ok(mount) => {
            let options = SpoolOptions { dir: Some(mount.path().into()), ..Default::default() };
            let store = Spool::open(&options).unwrap().store(0);
            assert_eq!(store.write(&[b"disk"]).unwrap().bytes().unwrap().part(0), b"disk");
            assert_eq!(store.stats().maps, 1);
        }
        Err(why) => println!("skipped: no ext4 can be mounted here: {why}"),
    }
}
