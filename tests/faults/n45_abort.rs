//! 45: the program is built with `panic = "abort"`, under which no panic of a task can be contained.
//!
//! The library learns that when it is compiled, so the proof is a second build, by way of a small program with that
//! profile. It takes minutes: it runs where `CI` or `ALLOTMENT_SLOW_TESTS` is set.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::cluster::cluster;
use crate::common::report;

const MANIFEST: &str = r#"
[package]
name = "abortive"
version = "0.0.0"
edition = "2024"

[dependencies]
allotment = { path = "ROOT", default-features = false }

[profile.dev]
panic = "abort"
debug = false

[workspace]
"#;

const PROGRAM: &str = r#"
fn main() {
    let refused = allotment::Cluster::builder().workers(2).build().map(drop);
    let serial = allotment::Cluster::builder().scheduler(allotment::Scheduler::Serial).build();
    let answer = serial.and_then(|serial| serial.submit(|| 6 * 7)?.wait());
    println!("{} {answer:?} {}", matches!(refused, Err(allotment::Error::PanicAbort)), refused.unwrap_err());
}
"#;

#[test]
fn a_program_built_with_panic_abort_is_refused() {
    // This very program unwinds, and is not refused.
    assert_eq!(cluster(1).submit(|| 7).unwrap().wait().unwrap(), 7);
    if std::env::var_os("CI").is_none() && std::env::var_os("ALLOTMENT_SLOW_TESTS").is_none() {
        return println!("skipped: fault 45 builds the library again; set ALLOTMENT_SLOW_TESTS to run it");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = tempfile::tempdir().unwrap();
    std::fs::create_dir(program.path().join("src")).unwrap();
    std::fs::write(program.path().join("Cargo.toml"), MANIFEST.replace("ROOT", root.to_str().unwrap())).unwrap();
    std::fs::write(program.path().join("src/main.rs"), PROGRAM).unwrap();
    // The same versions as ours, so that nothing new is fetched.
    std::fs::copy(root.join("Cargo.lock"), program.path().join("Cargo.lock")).unwrap();
    let start = Instant::now();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--offline", "--target-dir"])
        .arg(root.join("target/panic-abort"))
        .current_dir(program.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("true Ok(42) this program is built with panic = \"abort\""), "{said}");
    report(
        45,
        format_args!("yes: build() is refused with PanicAbort ({} s to build the proof)", start.elapsed().as_secs()),
    );
}
