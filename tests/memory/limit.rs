//! A limit that the kernel enforces, on a child that runs one test of this binary; and what the child tells.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use allotment::runtime::memory::{PeakMeter, Roots};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Says that this process is a child.
const CHILD: &str = "ALLOTMENT_MEMORY_CHILD";

/// How the kernel is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// A memory cgroup: every page counts that the process touches, page cache and kernel memory too. Needs root.
    Cgroup,
    /// `RLIMIT_DATA`: private writable mappings count, touched or not. Anyone may lower it.
    Data,
}

/// What a child told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) bits: Vec<u64>,
    pub(crate) peak_bytes: u64,
    pub(crate) seconds: f64,
}

/// Returns the limit that this process was started to work under, if it is a child.
pub(crate) fn of_child() -> Option<Limit> {
    let name = std::env::var(CHILD).ok()?;
    [Limit::Cgroup, Limit::Data].into_iter().find(|limit| format!("{limit:?}") == name)
}

/// Tells the parent what was found.
pub(crate) fn tell(bits: &[u64], peak_bytes: u64, seconds: f64) {
    let bits: Vec<String> = bits.iter().map(|word| format!("{word:016x}")).collect();
    println!("told {peak_bytes} {seconds} {}", bits.join(" "));
}

impl Limit {
    /// Returns the limits that this process may put on a child, the strictest first, and says why one is left out.
    pub(crate) fn available() -> Vec<Self> {
        match Group::make(1 << 30) {
            Ok(_) => vec![Limit::Cgroup, Limit::Data],
            Err(reason) => {
                println!("skipped: no memory cgroup can be made here: {reason}");
                vec![Limit::Data]
            }
        }
    }

    /// Runs one test of this binary in a child under the limit.
    pub(crate) fn start_child(self, test: &str, limit_bytes: u64) -> Output {
        let program = std::env::current_exe().unwrap();
        let group = (self == Limit::Cgroup).then(|| Group::make(limit_bytes).unwrap());
        // The shell enters the group and becomes the test: no page of the test is charged to anyone else.
        let enter = group.as_ref().map(|group| format!("echo $$ > '{}' && ", group.dir.join("cgroup.procs").display()));
        let script = format!("{}exec \"$0\" \"$@\"", enter.unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program).args([test, "--exact", "--nocapture", "--test-threads", "1"]);
        command.env(CHILD, format!("{self:?}")).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a child that must succeed and returns what it told.
    pub(crate) fn run_child(self, test: &str, limit_bytes: u64) -> Told {
        let output = self.start_child(test, limit_bytes);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?}: {:?}\n{text}\n{errors}", output.status);
        let line = text.lines().find_map(|line| line.split_once("told ").map(|(_, told)| told));
        let mut words = line.unwrap_or_else(|| panic!("the child told nothing:\n{text}")).split(' ');
        let mut word = || words.next().unwrap();
        let (peak_bytes, seconds) = (word().parse().unwrap(), word().parse().unwrap());
        let bits = words.map(|word| u64::from_str_radix(word, 16).unwrap()).collect();
        Told { bits, peak_bytes, seconds }
    }

    /// Lowers this process' own limit, once its threads are there.
    ///
    /// `RLIMIT_DATA` counts the stacks of threads in full, of which hardly a page is ever touched. What the process has
    /// before any work is therefore measured, and comes on top.
    pub(crate) fn enter_late(self, limit_bytes: u64) {
        if self == Limit::Data {
            let before = status_bytes("VmData:");
            let old = getrlimit(Resource::Data);
            setrlimit(Resource::Data, Rlimit { current: Some(before + limit_bytes), ..old }).unwrap();
        }
    }
}

fn status_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// A memory cgroup of our own, gone on drop.
struct Group {
    dir: PathBuf,
}

impl Group {
    /// Makes one below the root of either hierarchy.
    fn make(limit_bytes: u64) -> Result<Self, String> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("allotment-memory-{}-{number}", std::process::id());
        let mut reasons = Vec::new();
        for (root, limit_file, swap_file, swap) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", limit_bytes),
            ("/sys/fs/cgroup", "memory.max", "memory.swap.max", 0),
        ] {
            let dir = PathBuf::from(root).join(&name);
            if let Err(error) = std::fs::create_dir(&dir) {
                reasons.push(format!("{}: {error}", dir.display()));
                continue;
            }
            let group = Group { dir };
            match std::fs::write(group.dir.join(limit_file), limit_bytes.to_string()) {
                Ok(()) => {
                    // Where swap is counted it must not help; where it is not, the file is not there.
                    let _ = std::fs::write(group.dir.join(swap_file), swap.to_string());
                    return Ok(group);
                }
                Err(error) => reasons.push(format!("{}: {error}", group.dir.join(limit_file).display())),
            }
        }
        Err(reasons.join("; "))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group that is left behind is empty and harms nobody.
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// Looks at this process' anonymous memory every few milliseconds until it is dropped.
pub(crate) struct Peak {
    meter: Arc<PeakMeter>,
    // Dropping the sender ends the thread.
    _stop: Sender<()>,
}

impl Peak {
    /// Starts to look.
    pub(crate) fn start() -> Self {
        let meter = Arc::new(PeakMeter::open(&Roots::default()).unwrap());
        let (stop, stopped) = channel::<()>();
        let look = meter.clone();
        std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
                look.sample_now().unwrap();
            }
        });
        Peak { meter, _stop: stop }
    }

    /// Returns the highest figure so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.meter.peak_bytes()
    }
}
