//! The host's memory and the process's limits, from the text files of `/proc`.

use std::path::Path;

use super::cgroup;
use super::{HostMemory, Limit, LimitKind, Roots};
use crate::error::{Error, Result};

/// Reads `meminfo`, every cgroup on the way to the root, and the process's own limits.
pub(super) fn host(roots: &Roots) -> Result<HostMemory> {
    let path = roots.proc.join("meminfo");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
    let total_bytes = required_field(&path, &text, "MemTotal")?;
    // Kernels before 3.14 do not estimate: what is free is then the only number sure not to be too high.
    let available_bytes = match field_bytes(&text, "MemAvailable") {
        Some(bytes) => bytes,
        None => required_field(&path, &text, "MemFree")?,
    };
    let mut found = cgroup::Limits::read(roots);
    found.limits.extend(resource_limits(roots));
    Ok(HostMemory {
        total_bytes,
        available_bytes: available_bytes.min(total_bytes),
        swap_free_bytes: field_bytes(&text, "SwapFree").unwrap_or(0),
        limits: found.limits,
        meminfo_name: format!("memory available in {}", path.display()).into(),
        unread: found.unread,
    })
}

/// Reads the process's soft limits on data (heap and private maps) and on address space.
///
/// Both are read as text, not by system call, so that a recorded tree can hold them. `RLIMIT_RSS` is left out: Linux
/// has ignored it since 2.4.30. Where `limits` or `status` is missing there is no limit to know of.
fn resource_limits(roots: &Roots) -> Vec<Limit> {
    // A thread's name, the first line of `status`, is any bytes.
    let read = |name: &str| {
        let bytes = std::fs::read(roots.proc.join("self").join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (limits, status) = (read("limits"), read("status"));
    let sources = [("Max data size", "VmData", "RLIMIT_DATA"), ("Max address space", "VmSize", "RLIMIT_AS")];
    let limit_of = |(row, used, name): (&str, &str, &str)| {
        let soft = limits.lines().find_map(|line| line.strip_prefix(row))?.split_whitespace().next()?;
        let limit_bytes: u64 = soft.parse().ok()?; // "unlimited" is not a number.
        let used_bytes = field_bytes(&status, used).unwrap_or(0);
        Some(Limit {
            source_name: name.into(),
            kind: LimitKind::RamAndSwap,
            limit_bytes,
            remaining_bytes: limit_bytes.saturating_sub(used_bytes),
        })
    };
    sources.into_iter().filter_map(limit_of).collect()
}

/// Finds the line `Name:  123 kB` and returns its value in bytes.
pub(super) fn field_bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number = value.trim().strip_suffix("kB")?.trim_end();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

pub(super) fn required_field(path: &Path, text: &str, name: &str) -> Result<u64> {
    field_bytes(text, name).ok_or_else(|| {
        let found = text.lines().find(|line| line.starts_with(name)).unwrap_or("no such line");
        Error::bad_input(path, name, "a line such as \"MemTotal: 1024 kB\"", found)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::{GIB, MIB, Tree};
    use super::*;
    use crate::runtime::memory::portable;

    #[test]
    fn without_a_limit_the_machine_is_the_limit() {
        let tree = Tree::new();
        let host = tree.host();
        assert_eq!((host.total_bytes, host.swap_free_bytes), (16 * GIB, 4 * GIB));
        let (bytes, name) = host.available(false);
        assert_eq!(bytes, 8 * GIB);
        assert!(name.ends_with("meminfo"), "{name}");
        assert_eq!(host.lowest_limit().0, 16 * GIB);
        assert!(host.limits.is_empty() && host.unread().is_empty());
    }

    #[test]
    fn swap_counts_only_if_asked() {
        let host = Tree::new().host();
        assert_eq!(host.available(false).0, 8 * GIB);
        assert_eq!(host.available(true).0, 12 * GIB);
    }

    #[test]
    fn a_resource_limit_binds_by_what_is_left_of_it_even_with_swap() {
        let tree = Tree::new();
        let row = "Max data size             2147483648           unlimited            bytes     \n";
        tree.proc("self/limits", &format!("Limit  Soft Limit  Hard Limit  Units\n{row}"));
        tree.proc("self/status", "VmSize:\t 4096 kB\nVmData:\t 1048576 kB\n");
        for count_swap in [false, true] {
            assert_eq!(tree.host().available(count_swap), (GIB, "RLIMIT_DATA".into()));
        }
        let row = "Max address space         1048576              1048576              bytes     \n";
        tree.proc("self/limits", row);
        assert_eq!(tree.host().available(false), (0, "RLIMIT_AS".into()), "4 MiB used of 1 MiB is nothing, not 2^64");
    }

    #[test]
    fn a_thread_name_of_any_bytes_hides_no_usage() {
        let tree = Tree::new();
        tree.proc("self/limits", "Max data size  1048576  1048576  bytes\n");
        std::fs::write(tree.roots.proc.join("self/status"), b"Name:\t\xff\xfe\nVmData:\t 1000 kB\n").expect("ours");
        assert_eq!(tree.host().available(false).0, 24 * 1024);
    }

    #[test]
    fn an_unlimited_resource_is_no_limit() {
        let tree = Tree::new();
        tree.proc("self/limits", "Max data size             unlimited            unlimited            bytes\n");
        assert!(tree.host().limits.is_empty());
    }

    #[test]
    fn available_is_never_more_than_there_is() {
        let tree = Tree::new();
        tree.proc("meminfo", "MemTotal: 1024 kB\nMemFree: 10 kB\nMemAvailable: 4096 kB\n");
        assert_eq!(tree.host().available(true).0, MIB);
    }

    #[test]
    fn an_old_kernel_without_an_estimate_gives_what_is_free() {
        let tree = Tree::new();
        tree.proc("meminfo", "MemTotal: 4096 kB\nMemFree: 1024 kB\n");
        assert_eq!(tree.host().available(false).0, MIB);
    }

    #[test]
    fn a_missing_or_meaningless_meminfo_is_an_error_that_names_it() {
        let tree = Tree::new();
        for (text, says) in [("", "no such line"), ("MemTotal: lots\n", "lots"), ("MemTotal: 1 kB\n", "MemFree")] {
            tree.proc("meminfo", text);
            let error = HostMemory::read(&tree.roots).expect_err(text).to_string();
            assert!(error.contains("meminfo") && error.contains(says), "{error}");
        }
        tree.remove_proc("meminfo");
        let error = HostMemory::read(&tree.roots).expect_err("nothing to read");
        assert!(matches!(error, Error::Io { what: "read", .. }), "{error}");
    }

    #[test]
    fn a_number_too_large_for_bytes_is_refused_and_not_wrapped() {
        assert_eq!(field_bytes("MemTotal: 18446744073709551615 kB", "MemTotal"), None);
        assert_eq!(field_bytes("MemTotalX: 1 kB\nMemTotal:\t2 kB", "MemTotal"), Some(2048));
    }

    #[test]
    fn this_machine_answers_as_sysinfo_does() {
        let host = HostMemory::read(&Roots::default()).expect("Linux has /proc/meminfo");
        let other = portable::host().expect("Linux is known to sysinfo");
        assert_eq!(host.total_bytes, other.total_bytes);
        let (bytes, name) = host.available(false);
        assert!(bytes > 0 && bytes <= host.total_bytes, "{bytes} of {name}");
        assert!(host.unread().is_empty(), "{:?}", host.unread());
    }
}
