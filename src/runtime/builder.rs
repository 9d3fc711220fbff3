//! Settings of a cluster, checked in `build()`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::blocking;
use super::cluster::{Cluster, Inner};
use super::core::Settings;
use super::core::restart::RestartPolicy;
use super::hub::{Hub, Setup};
use super::memory::{HostMemory, PeakMeter, Roots};
use super::scheduler::Scheduler;
use super::sizing::{self, Host, Wish};
use super::supervisor;
use crate::bytes::ByteSize;
use crate::error::{Error, Result};
use crate::store::SpoolOptions;

/// More than any machine has cores; a typing error should not start ten million threads.
pub(crate) const MOST_WORKERS: usize = 4096;

/// Settings of a cluster.
///
/// | | default |
/// | --- | --- |
/// | `allowance` | an equal share of what the host can give now |
/// | `workers` | `max(2, min(available / allowance, cores))` |
/// | `lanes` | 1 compute thread a worker |
/// | `queue_limit` | 100,000 tasks; `submit` waits beyond |
/// | `overdraft` | one allowance, for tasks that wait inside tasks |
/// | `restart_policy` | 3 in 60 s |
///
/// # Examples
///
/// ```
/// use allotment::Cluster;
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).name("nightly").build()?;
/// assert_eq!((cluster.workers(), cluster.allowance()), (2, 64 << 20));
/// # Ok::<(), allotment::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until build()"]
pub struct ClusterBuilder {
    allowance: Option<ByteSize>,
    workers: Option<usize>,
    lanes: usize,
    scheduler: Scheduler,
    name: Arc<str>,
    spool: SpoolOptions,
    policy: RestartPolicy,
    queue_limit: usize,
    overdraft: Option<ByteSize>,
    overcommit: bool,
    count_swap: bool,
    grace: Duration,
    stack: ByteSize,
    roots: Roots,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        ClusterBuilder {
            allowance: None,
            workers: None,
            lanes: 1,
            scheduler: Scheduler::default(),
            name: "allotment".into(),
            spool: SpoolOptions::default(),
            policy: RestartPolicy::default(),
            queue_limit: 100_000,
            overdraft: None,
            overcommit: false,
            count_swap: false,
            grace: Duration::from_secs(30),
            stack: ByteSize(8 << 20),
            roots: Roots::default(),
        }
    }
}

impl ClusterBuilder {
    /// Sets how many bytes a worker may hold.
    pub fn allowance(mut self, allowance: ByteSize) -> Self {
        self.allowance = Some(allowance);
        self
    }

    /// Sets the number of workers.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets the number of compute threads of each worker. More than one is rarely faster.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Sets where tasks run.
    pub fn scheduler(mut self, scheduler: Scheduler) -> Self {
        self.scheduler = scheduler;
        self
    }

    /// Names the cluster; its threads carry the name.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets where chunk files live: a directory on a disk. The default is `$ALLOTMENT_SPOOL`, else `/var/tmp`.
    pub fn spool_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spool.dir = Some(dir.into());
        self
    }

    /// Sets all of the spool's options.
    pub fn spool(mut self, options: SpoolOptions) -> Self {
        self.spool = options;
        self
    }

    /// Sets how often workers that die are started again.
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how many tasks may wait; `submit` waits beyond, `try_submit` gives the work back.
    pub fn queue_limit(mut self, tasks: usize) -> Self {
        self.queue_limit = tasks;
        self
    }

    /// Sets how many bytes beyond all allowances may be used by tasks that others wait for inside their own code.
    pub fn overdraft(mut self, bytes: ByteSize) -> Self {
        self.overdraft = Some(bytes);
        self
    }

    /// Lets the allowances sum to more than the host can give.
    pub fn overcommit(mut self, yes: bool) -> Self {
        self.overcommit = yes;
        self
    }

    /// Counts free swap as memory that the host can give.
    pub fn count_swap(mut self, yes: bool) -> Self {
        self.count_swap = yes;
        self
    }

    /// Sets how long dropping the last handle waits for running tasks.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the stack of each lane. It is address space; what is not touched costs nothing.
    pub fn stack(mut self, bytes: ByteSize) -> Self {
        self.stack = bytes;
        self
    }

    /// Sets where `/proc` and `/sys` are, for containers that mount them elsewhere.
    pub fn system_roots(mut self, roots: Roots) -> Self {
        self.roots = roots;
        self
    }

    /// Checks the settings, measures the host, and starts the workers.
    ///
    /// # Errors
    ///
    /// [`Error::BadSetting`], [`Error::Overcommit`] with both numbers, [`Error::Thread`] when the system has no threads left
    /// (what was started by then is undone), [`Error::PanicAbort`] in a program built with `panic = "abort"`.
    pub fn build(self) -> Result<Cluster> {
        let serial = self.scheduler == Scheduler::Serial;
        if cfg!(panic = "abort") && !serial {
            return Err(Error::PanicAbort);
        }
        self.check()?;
        let (available, source_name) = HostMemory::read(&self.roots)?.available(self.count_swap);
        let workers = if serial { Some(1) } else { self.workers };
        let wish = Wish {
            allowance: self.allowance.map(u64::from),
            workers,
            threads_per_worker: self.lanes,
            overcommit: self.overcommit,
        };
        let sizing = sizing::size(&wish, &Host { available, source_name, cores: blocking::cores() })?;
        let settings = Settings {
            allowance: sizing.allowance,
            queue_limit: self.queue_limit,
            overdraft: self.overdraft.map_or(sizing.allowance, u64::from),
            policy: self.policy,
        };
        let setup = Setup {
            name: self.name,
            spool: self.spool,
            meter: PeakMeter::open(&self.roots)?,
            serial,
            stack_bytes: usize::try_from(self.stack.0).unwrap_or(usize::MAX),
        };
        let hub = Hub::new(settings, setup);
        let control = if serial {
            hub.step(|core, out| core.scale(1, out));
            None
        } else {
            Some(supervisor::spawn(&hub, sizing.workers, sizing.lanes_per_worker)?)
        };
        Ok(Cluster {
            inner: Arc::new(Inner {
                hub,
                control: Mutex::new(control),
                allowance: sizing.allowance,
                lanes_per_worker: sizing.lanes_per_worker,
                grace: self.grace,
            }),
        })
    }

    fn check(&self) -> Result<()> {
        let refuse = |setting, found: String, expected: &str| {
            Err(Error::BadSetting { setting, found: found.into(), expected: expected.into() })
        };
        if self.workers.is_some_and(|n| n > MOST_WORKERS) {
            return refuse("workers", format!("{:?}", self.workers), "at most 4096");
        }
        if self.queue_limit == 0 {
            return refuse("queue_limit", "0".into(), "at least 1");
        }
        if self.stack.0 < 256 << 10 {
            return refuse("stack", self.stack.to_string(), "at least 256 KiB");
        }
        if self.name.contains('\0') {
            return refuse("name", format!("{:?}", self.name), "text without NUL");
        }
        Ok(())
    }
}
