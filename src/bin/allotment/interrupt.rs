//! Ctrl-C: the first shuts the cluster down, so that the command ends by itself, takes back what it wrote, and exits
//! with 130; the second does not wait for that.
//!
//! The handler runs on a thread of its own (a signal handler proper may do next to nothing), so it may lock and
//! remove files. It knows what is half-written, because whoever writes registers it here first.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allotment::Cluster;

use crate::failure::{Failure, Outcome};

/// How long a block that is being worked on may take to end.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// What Ctrl-C has to stop and to tidy.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    happened: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cluster: Option<Cluster>,
    half_written: Vec<PathBuf>,
}

impl Interrupt {
    /// Listens for Ctrl-C, and for the polite request to end (SIGTERM), from now on.
    pub(crate) fn listen() -> Arc<Self> {
        let interrupt = Arc::new(Interrupt::default());
        let heard = interrupt.clone();
        // Without a handler Ctrl-C still ends the program, only less tidily: that is no reason to refuse to work.
        let _ = ctrlc::set_handler(move || heard.on_signal());
        interrupt
    }

    /// Tells which cluster to shut down.
    pub(crate) fn watch(&self, cluster: &Cluster) -> Outcome<()> {
        self.state().cluster = Some(cluster.clone());
        self.check()
    }

    /// Lets go of the cluster, so that dropping the caller's handle shuts it down.
    pub(crate) fn unwatch(&self) {
        let cluster = self.state().cluster.take();
        drop(cluster);
    }

    /// Returns `Failure::Interrupted` once Ctrl-C was pressed.
    pub(crate) fn check(&self) -> Outcome<()> {
        if self.happened.load(Ordering::SeqCst) { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Registers a file or directory that must not outlive an interrupted program.
    pub(crate) fn will_write(&self, path: &Path) {
        self.state().half_written.push(path.to_owned());
    }

    /// Forgets a path that is whole now, or gone.
    pub(crate) fn has_written(&self, path: &Path) {
        self.state().half_written.retain(|other| other != path);
    }

    fn on_signal(&self) {
        let first = !self.happened.swap(true, Ordering::SeqCst);
        let mut state = self.state();
        if first && let Some(cluster) = state.cluster.take() {
            drop(state);
            shut_down(cluster);
            return;
        }
        state.half_written.iter().for_each(|path| remove(path));
        std::process::exit(130);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is one step, so a panic elsewhere cannot have left it half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a file or a directory of our own; what is gone already is fine.
pub(crate) fn remove(path: &Path) {
    let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

/// Answers everything that waits, on a thread of its own, so that a second Ctrl-C is heard meanwhile.
fn shut_down(cluster: Cluster) {
    let ends = move || {
        // What it reports is of no use to a program that ends.
        let _ = cluster.shutdown(GRACE);
    };
    // Without a thread to spare the command runs on until a second Ctrl-C.
    let _ = std::thread::Builder::new().name("shutdown".into()).spawn(ends);
}
