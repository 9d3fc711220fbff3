//! What this process holds: anonymous, mapped and swapped bytes, and the most it ever held.
//!
//! `/proc/self/status` costs 7 to 13 µs whatever the process holds, and is the only cheap file that tells anonymous pages,
//! which can get a process killed, from file pages, which the kernel takes back. [`PeakMeter`] keeps it open and reads
//! it at most once in 10 ms, on whatever thread asks: no thread of its own, and 0.13 % of a core at the most. Asking too early
//! costs 27 ns.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::Roots;
#[cfg(target_os = "linux")]
use super::proc::{field_bytes, required_field};
use crate::error::Result;

/// What this process holds, as of one moment. All in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Resident anonymous pages: heap, stacks, private writes (`RssAnon`).
    pub rss_anon: u64,
    /// Resident pages of mapped files (`RssFile`); the kernel takes them back without asking.
    pub rss_file: u64,
    /// Resident shared memory and tmpfs pages (`RssShmem`).
    pub rss_shmem: u64,
    /// Anonymous pages that were swapped out (`VmSwap`).
    pub swap: u64,
    /// The most that was ever resident, of all kinds together (`VmHWM`).
    pub peak_resident: u64,
}

impl ProcessMemory {
    /// Reads what this process holds now.
    ///
    /// A kernel that does not tell anonymous pages from others (Linux before 4.5, some sandboxes) has all that is
    /// resident counted as anonymous, so that the figure errs on the high side.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) or [`Error::BadInput`](crate::Error::BadInput) when `self/status` cannot be
    /// read or names no resident memory.
    pub fn read(roots: &Roots) -> Result<Self> {
        Reader::open(roots)?.read()
    }

    /// Returns the bytes that can get the process killed: anonymous pages, resident or swapped out.
    pub fn anonymous_bytes(&self) -> u64 {
        self.rss_anon.saturating_add(self.swap)
    }
}

/// The highest anonymous bytes seen so far.
///
/// The peak is the highest *sample*: a spike that comes and goes between two samples is not seen. Those who need every
/// byte use the counting allocator.
///
/// # Examples
///
/// ```
/// use allotment::runtime::memory::{PeakMeter, Roots};
/// let meter = PeakMeter::open(&Roots::default())?;
/// let before = meter.peak_bytes();
/// let held = vec![1u8; 8 << 20];
/// meter.sample_now()?;
/// assert!(meter.peak_bytes() >= before + (7 << 20), "{} bytes are held", held.len());
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Debug)]
pub struct PeakMeter {
    reader: Reader,
    started: Instant,
    /// When the next sample is due, in microseconds since `started`. Whoever moves it on takes the sample.
    due_us: AtomicU64,
    peak_bytes: AtomicU64,
}

/// Between two samples.
const INTERVAL_US: u64 = 10_000;

impl PeakMeter {
    /// Opens the meter and takes the first sample.
    ///
    /// # Errors
    ///
    /// As [`ProcessMemory::read`].
    pub fn open(roots: &Roots) -> Result<Self> {
        let meter = PeakMeter {
            reader: Reader::open(roots)?,
            started: Instant::now(),
            due_us: AtomicU64::new(INTERVAL_US),
            peak_bytes: AtomicU64::new(0),
        };
        meter.sample_now()?;
        Ok(meter)
    }

    /// Takes a sample if the last one is older than 10 ms, and returns it; else costs a look at the clock.
    ///
    /// Any number of threads may call it at once: one of them reads. A sample that fails leaves the peak as it was.
    pub fn sample(&self) -> Option<ProcessMemory> {
        // Microseconds in 64 bits last for half a million years.
        self.sample_at(self.started.elapsed().as_micros() as u64)
    }

    /// Takes a sample whatever the clock says: at the end of a run, so that a short one is seen too.
    ///
    /// # Errors
    ///
    /// As [`ProcessMemory::read`].
    pub fn sample_now(&self) -> Result<ProcessMemory> {
        let memory = self.reader.read()?;
        // Relaxed is enough: the peak guards no other memory.
        self.peak_bytes.fetch_max(memory.anonymous_bytes(), Relaxed);
        Ok(memory)
    }

    /// Returns the highest anonymous bytes of any sample.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Relaxed)
    }

    fn sample_at(&self, now_us: u64) -> Option<ProcessMemory> {
        let due = self.due_us.load(Relaxed);
        if now_us < due || self.due_us.compare_exchange(due, now_us + INTERVAL_US, Relaxed, Relaxed).is_err() {
            return None;
        }
        self.sample_now().ok()
    }
}

/// The status file, kept open: opening it anew for every sample costs 4 µs.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Reader {
    path: std::path::PathBuf,
    file: std::fs::File,
}

#[cfg(target_os = "linux")]
impl Reader {
    fn open(roots: &Roots) -> Result<Self> {
        let path = roots.proc.join("self/status");
        let file = std::fs::File::open(&path).map_err(|e| crate::Error::io("open", &path, e))?;
        Ok(Reader { path, file })
    }

    fn read(&self) -> Result<ProcessMemory> {
        let text = self.text().map_err(|e| crate::Error::io("read", &self.path, e))?;
        let field = |name| field_bytes(&text, name).unwrap_or(0);
        let rss_anon = match field_bytes(&text, "RssAnon") {
            Some(bytes) => bytes,
            None => required_field(&self.path, &text, "VmRSS")?,
        };
        Ok(ProcessMemory {
            rss_anon,
            rss_file: field("RssFile"),
            rss_shmem: field("RssShmem"),
            swap: field("VmSwap"),
            peak_resident: field("VmHWM").max(field("VmRSS")),
        })
    }

    /// Reads up to the last line that matters. One read does, unless a long list of groups comes before it.
    fn text(&self) -> std::io::Result<String> {
        use std::os::unix::fs::FileExt;
        let mut bytes = Vec::new();
        loop {
            let start = bytes.len();
            bytes.resize(start + 4096, 0);
            let n = self.file.read_at(&mut bytes[start..], start as u64)?;
            bytes.truncate(start + n);
            let text = String::from_utf8_lossy(&bytes);
            let complete = text.find("\nVmSwap:").is_some_and(|at| text[at + 1..].contains('\n'));
            if n == 0 || complete {
                return Ok(text.into_owned());
            }
        }
    }
}

/// Elsewhere each sample asks the system anew.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Reader;

#[cfg(not(target_os = "linux"))]
impl Reader {
    fn open(_roots: &Roots) -> Result<Self> {
        Ok(Reader)
    }

    fn read(&self) -> Result<ProcessMemory> {
        super::portable::process()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::tree::{MIB, Tree};
    use super::*;
    use crate::Error;

    /// As Linux prints it, with the lines that surround the ones that matter.
    fn status(anon_kib: u64, swap_kib: u64) -> String {
        format!(
            "Name:\tcat\nGroups:\t0 \nVmPeak:\t    3060 kB\nVmHWM:\t    9999 kB\nVmRSS:\t    1628 kB\nRssAnon:\t{anon_kib:8} kB\n\
             RssFile:\t    1512 kB\nRssShmem:\t       4 kB\nVmSwap:\t{swap_kib:8} kB\nThreads:\t1\n"
        )
    }

    #[test]
    fn each_kind_of_bytes_is_read_and_swapped_bytes_stay_anonymous() {
        let tree = Tree::new();
        tree.proc("self/status", &status(100, 50));
        let memory = ProcessMemory::read(&tree.roots).expect("a sound status");
        let kib = |n: u64| n * 1024;
        let expected = ProcessMemory {
            rss_anon: kib(100),
            rss_file: kib(1512),
            rss_shmem: kib(4),
            swap: kib(50),
            peak_resident: kib(9999),
        };
        assert_eq!(memory, expected);
        assert_eq!(memory.anonymous_bytes(), kib(150));
    }

    #[test]
    fn a_list_of_groups_longer_than_one_read_hides_nothing() {
        let tree = Tree::new();
        for n_groups in [100, 800, 2000, 65_536] {
            let groups: String = (0..n_groups).map(|g| format!("{g} ")).collect();
            tree.proc("self/status", &format!("Groups:\t{groups}\n{}", status(7, 1)));
            assert_eq!(
                ProcessMemory::read(&tree.roots).map(|m| m.anonymous_bytes()).ok(),
                Some(8 * 1024),
                "{n_groups}"
            );
        }
    }

    #[test]
    fn a_kernel_that_does_not_split_has_all_of_it_counted() {
        let tree = Tree::new();
        tree.proc("self/status", "Name:\tx\nVmRSS:\t 2048 kB\n");
        let memory = ProcessMemory::read(&tree.roots).expect("VmRSS is enough");
        assert_eq!((memory.anonymous_bytes(), memory.peak_resident), (2 * MIB, 2 * MIB));
    }

    #[test]
    fn a_missing_or_empty_status_is_an_error_that_names_it() {
        let tree = Tree::new();
        let error = PeakMeter::open(&tree.roots).expect_err("there is no status");
        assert!(matches!(error, Error::Io { what: "open", .. }), "{error}");
        tree.proc("self/status", "Name:\tkthreadd\n");
        let error = PeakMeter::open(&tree.roots).expect_err("a kernel thread holds nothing").to_string();
        assert!(error.contains("self/status") && error.contains("VmRSS"), "{error}");
    }

    #[test]
    fn the_peak_keeps_the_highest_sample_and_reads_at_most_once_in_an_interval() {
        let tree = Tree::new();
        tree.proc("self/status", &status(100, 0));
        let meter = PeakMeter::open(&tree.roots).expect("a sound status");
        tree.proc("self/status", &status(300, 0));
        assert_eq!(meter.sample_at(INTERVAL_US - 1), None, "the first sample is younger than an interval");
        assert_eq!(meter.peak_bytes(), 100 * 1024);
        assert!(meter.sample_at(INTERVAL_US).is_some());
        tree.proc("self/status", &status(200, 0));
        assert_eq!(meter.sample_at(INTERVAL_US), None);
        assert!(meter.sample_at(5 * INTERVAL_US).is_some_and(|m| m.anonymous_bytes() == 200 * 1024));
        assert_eq!(meter.peak_bytes(), 300 * 1024);
    }

    #[test]
    fn of_many_threads_one_takes_the_sample() {
        let tree = Tree::new();
        tree.proc("self/status", &status(100, 0));
        let meter = PeakMeter::open(&tree.roots).expect("a sound status");
        let taken = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| meter.sample_at(INTERVAL_US).is_some())).collect();
            threads.into_iter().filter_map(|t| t.join().ok()).filter(|taken| *taken).count()
        });
        assert_eq!(taken, 1);
    }

    #[test]
    fn touched_bytes_are_seen_in_this_process_and_stay_in_the_peak() {
        let meter = PeakMeter::open(&Roots::default()).expect("Linux has /proc/self/status");
        let held = vec![1u8; 64 * MIB as usize];
        let during = meter.sample_now().expect("the file is open").anonymous_bytes();
        assert!(during >= held.len() as u64, "{during} bytes");
        drop(held);
        assert!(meter.peak_bytes() >= 64 * MIB);
        let other = super::super::portable::process().expect("Linux is known to sysinfo");
        assert!(other.anonymous_bytes() > 0);
    }
}
