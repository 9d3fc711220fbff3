//! What the system lets this process have: file size, descriptors, maps.
//!
//! Each is read when it is needed, because a program may change its limits while it runs. An unreadable limit
//! counts as the smallest value that a stock Linux has.

use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// The share of the system's maps that the stores of one spool may take: less than a tenth.
const MAP_SHARE: u64 = 11;

/// Segments are not doubled beyond this.
const LONGEST_DOUBLED: u64 = 64 << 30;

/// Where the kernel says how many maps a process may have.
const MAX_MAP_COUNT: &str = "/proc/sys/vm/max_map_count";

/// Returns how long a file of this process may be.
///
/// Writing past it raises SIGXFSZ, which kills, so every write is checked against it first.
pub(super) fn file_bytes() -> u64 {
    getrlimit(Resource::Fsize).current.unwrap_or(i64::MAX as u64)
}

/// Returns how many descriptors this process may have.
pub(super) fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Returns how many maps a pool may hold: under a tenth of what the kernel allows the process.
pub(super) fn maps() -> usize {
    maps_of(Path::new(MAX_MAP_COUNT))
}

fn maps_of(path: &Path) -> usize {
    let allowed = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(65_530);
    usize::try_from(allowed / MAP_SHARE).unwrap_or(usize::MAX).max(1)
}

/// Returns how large segment number `open` should be, when `base` bytes are asked for.
///
/// Segments double once for each sixteenth of half the descriptors that is taken, so that the descriptors needed
/// grow with the logarithm of the data and a low RLIMIT_NOFILE still reaches terabytes.
pub(super) fn segment_bytes(base: u64, open: usize, descriptors: u64) -> u64 {
    let step = (descriptors / 32).max(1);
    let doublings = (open as u64 / step).min(10) as u32;
    // A file system has a longest file (16 TiB on ext4), and a process so many addresses.
    base.saturating_mul(1 << doublings).min(base.max(LONGEST_DOUBLED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_of_maps_stays_under_a_tenth_of_the_kernels_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("max_map_count");
        for (text, expected) in [("65530\n", 5957), ("1048576", 95325), ("nonsense", 5957), ("5", 1)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(maps_of(&path), expected, "{text}");
        }
        assert_eq!(maps_of(&directory.path().join("absent")), 5957);
    }

    #[test]
    fn few_descriptors_make_larger_segments_not_an_end() {
        let base = 256 << 20;
        assert_eq!(segment_bytes(base, 0, 256), base);
        assert_eq!(segment_bytes(base, 7, 256), base);
        assert_eq!(segment_bytes(base, 8, 256), 2 * base);
        let within_half_the_limit: u64 = (0..128).map(|open| segment_bytes(base, open, 256)).sum();
        assert!(within_half_the_limit > 4 << 40, "128 descriptors hold 4 TiB");
        assert_eq!(segment_bytes(u64::MAX / 2, 1000, 0), u64::MAX / 2, "no overflow");
    }
}
