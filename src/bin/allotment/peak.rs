//! The most anonymous memory that this process held, seen by a thread that looks every few milliseconds.
//!
//! Anonymous memory is what can get a process killed; mapped chunk files are cache that the kernel takes back. The
//! kernel keeps no high-water mark of it, and the library's meter samples only when it is asked.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use allotment::runtime::memory::{PeakMeter, Roots};

const EVERY: Duration = Duration::from_millis(10);

/// Looks at this process' anonymous memory until it is dropped.
#[derive(Debug)]
pub(crate) struct Peak {
    // None on a system that does not tell.
    meter: Option<Arc<PeakMeter>>,
    // Dropping the sender ends the thread.
    _stop: Sender<()>,
}

impl Peak {
    /// Starts to look. Without a thread to spare, the only looks are those of `bytes`.
    pub(crate) fn start() -> Self {
        let meter = PeakMeter::open(&Roots::default()).ok().map(Arc::new);
        let (stop, stopped) = channel::<()>();
        if let Some(meter) = meter.clone() {
            let look = move || {
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    // A look that fails leaves the peak as it was.
                    let _ = meter.sample_now();
                }
            };
            let _ = std::thread::Builder::new().name("peak".into()).spawn(look);
        }
        Peak { meter, _stop: stop }
    }

    /// Returns the highest figure so far, or `None` on a system that does not tell.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let meter = self.meter.as_ref()?;
        meter.sample_now().ok()?;
        Some(meter.peak_bytes())
    }
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
