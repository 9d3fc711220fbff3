//! What several fault tests need: a watchdog, children, mounts, a way into nameless files.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Names the case that a child should run.
const CHILD: &str = "ALLOTMENT_FAULT_CHILD";

/// Prints a test's figure.
pub(crate) fn report(item: u32, figure: impl std::fmt::Display) {
    println!("fault {item}: {figure}");
}

/// How long a test may take. What hangs hangs for ever, and a build server may be very slow for a while.
const PATIENCE: Duration = Duration::from_secs(240);

/// Ends the process with a message when a test takes longer than [`PATIENCE`], as a test that hangs must fail.
pub(crate) struct Watchdog(Option<Sender<()>>);

impl Watchdog {
    /// Starts to watch; dropping it ends that.
    pub(crate) fn start(what: &'static str) -> Self {
        let (alive, ended) = channel::<()>();
        std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Written past the test harness, which would keep it until a test ends that never does.
                let _ = writeln!(std::io::stderr(), "watchdog: {what} did not end within {} s", PATIENCE.as_secs());
                std::process::exit(99);
            }
        });
        Watchdog(Some(alive))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// Returns the case this process was started for, if it is a child.
pub(crate) fn child_case() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Prepares a child that runs only `test` (its full path) with `case`.
pub(crate) fn child(test: &str, case: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads", "1"]).env(CHILD, case).stdin(Stdio::null());
    command
}

/// Runs a child to its end.
pub(crate) fn run_child(test: &str, case: &str) -> Output {
    child(test, case).output().unwrap()
}

/// Runs a child that must succeed and returns what it printed after `marker`.
pub(crate) fn told_by_child(test: &str, case: &str, marker: &str) -> String {
    let output = run_child(test, case);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{case}: {:?}\n{text}\n{errors}", output.status);
    let found = text.lines().find_map(|line| line.split_once(marker).map(|(_, rest)| rest.trim().to_string()));
    found.unwrap_or_else(|| panic!("{case} said nothing after {marker:?}:\n{text}"))
}

/// Returns the signal that ended a child.
pub(crate) fn ended_by(output: &Output) -> Option<i32> {
    output.status.signal()
}

/// Returns the ways (through /proc) to the nameless files below `dir` that this process has open.
pub(crate) fn open_files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", std::process::id())).unwrap().flatten() {
        // A directory that we hold is named itself; a file in it is named below it.
        if let Ok(target) = std::fs::read_link(entry.path())
            && target.starts_with(dir)
            && target != dir
        {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Opens a nameless file again, for reading and writing, as an enemy of the same user would.
pub(crate) fn open_again(way: &Path) -> File {
    File::options().read(true).write(true).open(way).unwrap()
}

/// A stream of numbers from a seed (splitmix64): the same damage in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Returns the next number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    /// Returns `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.below(u64::MAX).to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// A small file system of its own, unmounted on drop.
pub(crate) struct Mount {
    dir: tempfile::TempDir,
    _image: Option<tempfile::NamedTempFile>,
}

impl Mount {
    /// Mounts a tmpfs; `Err` says why that is not permitted here.
    pub(crate) fn tmpfs(mebibytes: u64) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs", dir.path().to_str().unwrap()])?;
        Ok(Mount { dir, _image: None })
    }

    /// Mounts an ext4 from a file; `Err` says why that is not permitted here.
    pub(crate) fn ext4(mebibytes: u64) -> Result<Self, String> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(mebibytes << 20).unwrap();
        let path = image.path().to_str().unwrap().to_string();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &path])?;
        let dir = tempfile::tempdir().unwrap();
        run("mount", &["-o", "loop", &path, dir.path().to_str().unwrap()])?;
        Ok(Mount { dir, _image: Some(image) })
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns how many bytes are free.
    pub(crate) fn free_bytes(&self) -> u64 {
        let answer = rustix::fs::statvfs(self.path()).unwrap();
        answer.f_bavail * answer.f_frsize
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, so that a failed test, which may still have files open, leaves no mount behind.
        let _ = run("umount", &["-l", self.dir.path().to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", said.trim())) }
}
