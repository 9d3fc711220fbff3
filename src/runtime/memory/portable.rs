//! The same numbers where there is no `/proc`, from `sysinfo`.
//!
//! Such systems tell no anonymous bytes from mapped ones, so that all resident memory counts as anonymous: the
//! figure errs on the high side. They have no cgroups, and their resource limits are not read.

use crate::error::{Error, Result};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use super::{HostMemory, ProcessMemory};

pub(super) fn host() -> Result<HostMemory> {
    let mut system = system()?;
    system.refresh_memory();
    let total_bytes = system.total_memory();
    Ok(HostMemory {
        total_bytes,
        available_bytes: system.available_memory().min(total_bytes),
        swap_free_bytes: system.free_swap(),
        limits: Vec::new(),
        meminfo_name: "memory available on this system".into(),
        unread: Vec::new(),
    })
}

pub(super) fn process() -> Result<ProcessMemory> {
    let pid = sysinfo::get_current_pid().map_err(|_| unsupported())?;
    let mut system = system()?;
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, memory);
    let resident_bytes = system.process(pid).ok_or_else(unsupported)?.memory();
    Ok(ProcessMemory { rss_anon: resident_bytes, peak_resident: resident_bytes, ..ProcessMemory::default() })
}

fn system() -> Result<System> {
    System::new().map_err(|_| unsupported())
}

fn unsupported() -> Error {
    Error::Unsupported {
        what: "reading this system's memory".into(),
        instead: "set both allowance and workers, with overcommit(true)".into(),
    }
}
