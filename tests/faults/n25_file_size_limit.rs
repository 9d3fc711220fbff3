//! 25: RLIMIT_FSIZE is set. Writing past it would raise SIGXFSZ, which ends the process.

use allotment::Error;
use allotment::store::{Chunk, Spool, SpoolOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::{Numbers, Watchdog, child_case, report, told_by_child};

fn limit_files_to(bytes: u64) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum }).unwrap();
}

#[test]
fn files_stay_within_the_limit_and_no_signal_comes() {
    const NAME: &str = "n25_file_size_limit::files_stay_within_the_limit_and_no_signal_comes";
    let _watchdog = Watchdog::start("fault 25");
    if child_case().is_none() {
        let refused = told_by_child(NAME, "limited", "refused:");
        report(25, format_args!("kills 0 under RLIMIT_FSIZE 1 MiB and 64 KiB; chunks beyond it refused {refused}"));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    limit_files_to(1 << 20);
    let spool = Spool::open(&SpoolOptions { dir: Some(dir.path().into()), allow_ram: true, ..Default::default() });
    let store = spool.unwrap().store(0);
    let data = Numbers(25).bytes(300_000);
    let mut chunks: Vec<Chunk> = (0..10).map(|_| store.write(&[&data]).unwrap()).collect();
    assert_eq!(store.stats().segments, 4, "three chunks fit into a segment of 1 MiB");
    chunks.push(store.write(&[&vec![1; (1 << 20) - 64]]).unwrap());
    let mut refused = 0;
    let mut refuse = |result: allotment::Result<Chunk>, limit: u64| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::SpoolFull { free, .. } if free == limit), "{error}");
        refused += 1;
    };
    refuse(store.write(&[&vec![1; 1 << 20]]), 1 << 20);
    // Lowered while segments beyond it are open: their ends are out of reach, their starts are not.
    limit_files_to(64 << 10);
    refuse(store.write(&[&data]), 64 << 10);
    chunks.push(store.write(&[&data[..50_000]]).unwrap());
    chunks.push(store.write(&[&data[..100]]).unwrap());
    limit_files_to(0);
    refuse(store.write(&[b"x"]), 0);
    for chunk in &chunks[..10] {
        assert!(chunk.bytes().unwrap().part(0) == data);
    }
    assert!(chunks[11].bytes().unwrap().part(0) == &data[..50_000]);
    println!("refused: {refused}/3");
}
