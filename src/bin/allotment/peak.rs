//! The most anonymous memory that this process ever held, as its own figures show it.
//!
//! Anonymous memory is what can get a process killed: mapped chunk files are cache that the kernel takes back. The
//! kernel keeps no high-water mark of it, so a thread looks every few milliseconds (a look costs about a microsecond).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(5);

/// Looks at this process' anonymous memory until it is dropped.
#[derive(Debug)]
pub(crate) struct Peak {
    highest: Arc<AtomicU64>,
    // Dropping the sender ends the thread.
    _stop: Sender<()>,
}

impl Peak {
    /// Starts to look. Without a thread to spare, only the looks that callers ask for are taken.
    pub(crate) fn start() -> Self {
        let highest = Arc::new(AtomicU64::new(anonymous_bytes().unwrap_or(0)));
        let (stop, stopped) = channel::<()>();
        let seen = highest.clone();
        let look = move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                seen.fetch_max(anonymous_bytes().unwrap_or(0), Ordering::Relaxed);
            }
        };
        let _ = std::thread::Builder::new().name("peak".into()).spawn(look);
        Peak { highest, _stop: stop }
    }

    /// Returns the highest figure so far, or `None` on a system that does not tell.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let now = anonymous_bytes()?;
        Some(self.highest.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// Resident pages less those that belong to files or shared memory.
fn anonymous_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = statm.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>().ok());
    let (resident, shared) = (fields.next()??, fields.next()??);
    Some(resident.saturating_sub(shared) * page_bytes())
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_given_back_still_counts() {
        let peak = Peak::start();
        let Some(before) = peak.bytes() else {
            eprintln!("skipped: this system does not tell a process' anonymous memory");
            return;
        };
        let held = vec![1u8; 64 << 20];
        let during = peak.bytes().expect("told a moment ago");
        drop(held);
        let after = peak.bytes().expect("told a moment ago");
        // Other tests of this process may give memory back meanwhile, hence half.
        assert!(during >= before + (32 << 20), "{before} {during}");
        assert!(after >= during);
    }
}
