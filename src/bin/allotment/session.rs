//! What every computing command works with: a cluster, a clock, a memory meter, a place for progress.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use allotment::runtime::{Progress, Scheduler};
use allotment::{ByteSize, Cluster, Error};
use serde::Serialize;

use crate::args::{SchedulerChoice, Shared};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::seconds;
use crate::peak::Peak;
use crate::progress::Reporter;

/// A command at work.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) cluster: Cluster,
    pub(crate) interrupt: Arc<Interrupt>,
    pub(crate) reporter: Reporter,
    subject: PathBuf,
    started: Instant,
    peak: Peak,
}

/// What the work cost; part of every report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    seconds: f64,
    peak_anonymous_bytes: Option<u64>,
    workers: usize,
    allowance_bytes: u64,
}

impl Session {
    /// Starts the cluster that the settings ask for. `subject` is what errors are about: the input's name.
    pub(crate) fn start(shared: &Shared, interrupt: &Arc<Interrupt>, subject: &Path) -> Outcome<Self> {
        let (started, peak) = (Instant::now(), Peak::start());
        let mut builder = Cluster::builder().scheduler(match shared.scheduler {
            SchedulerChoice::Serial => Scheduler::Serial,
            SchedulerChoice::Threads => Scheduler::Threads,
        });
        if let Some(allowance) = shared.allowance {
            builder = builder.allowance(allowance);
        }
        if let Some(workers) = shared.workers {
            builder = builder.workers(workers);
        }
        let cluster = builder.build()?;
        interrupt.watch(&cluster)?;
        let reporter = Reporter::new(shared.quiet);
        Ok(Session { cluster, interrupt: interrupt.clone(), reporter, subject: subject.into(), started, peak })
    }

    /// Returns what a computation tells its progress to.
    pub(crate) fn progress(&self, label: &str) -> Option<Progress> {
        self.reporter.follow(label)
    }

    /// Says in an error what was worked on.
    pub(crate) fn fail(&self, error: Error) -> Failure {
        Failure::from(error).about(&self.subject)
    }

    /// Refuses an argument that this input cannot satisfy.
    pub(crate) fn refuse(&self, what: &str) -> Failure {
        Failure::Usage(format!("{}: {what}", self.subject.display()))
    }

    /// Returns what the work cost so far.
    pub(crate) fn cost(&self) -> Cost {
        Cost {
            seconds: self.started.elapsed().as_secs_f64(),
            peak_anonymous_bytes: self.peak.bytes(),
            workers: self.cluster.workers(),
            allowance_bytes: self.cluster.allowance(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The interrupt holds a handle too, and the spool goes with the last one.
        self.interrupt.unwatch();
    }
}

impl Cost {
    /// Returns the line for people.
    pub(crate) fn text(&self) -> String {
        let peak = self.peak_anonymous_bytes.map_or("unknown".into(), |bytes| ByteSize(bytes).to_string());
        format!(
            "{}, {} worker{} of {}, peak anonymous memory {peak}\n",
            seconds(self.seconds),
            self.workers,
            if self.workers == 1 { "" } else { "s" },
            ByteSize(self.allowance_bytes)
        )
    }
}
