//! In which directories the limits of this process lie: its own cgroup's and those of its parents. Pure.
//!
//! `/proc/self/cgroup` says which cgroup it is, as a path in a hierarchy; `/proc/self/mountinfo` says which part of the
//! hierarchy is mounted where. Their common part is walked from the process's own directory up to the mount point:
//!
//! ```text
//!  cgroup     0::/user.slice/job                    mountinfo   root /   mounted at /sys/fs/cgroup
//!  walked     /sys/fs/cgroup/user.slice/job,  /sys/fs/cgroup/user.slice,  /sys/fs/cgroup
//! ```
//!
//! In a container the path may lie outside of what is mounted, or be relative to a namespace (`/../..`). Then the mount
//! point itself, the outermost group there is to see, is all that is read: a limit too many rather than one too few.

use std::path::{Component, Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// One mount of a hierarchy that controls memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    version: Version,
    /// The cgroup that is mounted.
    root: PathBuf,
    /// Where it is mounted.
    point: PathBuf,
}

/// Reads lines such as `4:memory:/job` (version 1) and `0::/job` (version 2). A hybrid system has both.
pub(super) fn parse_own_groups(text: &str) -> Vec<(Version, PathBuf)> {
    let group = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let version = match (id, controllers) {
            ("0", "") => Version::V2,
            _ if controllers.split(',').any(|name| name == "memory") => Version::V1,
            _ => return None,
        };
        Some((version, PathBuf::from(path)))
    };
    text.lines().filter_map(group).collect()
}

/// Reads lines such as `31 23 0:28 /root /mount/point rw,relatime shared:9 - cgroup2 cgroup rw,memory`.
pub(super) fn parse_mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        // The number of optional fields before the dash varies.
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (unescape(left.next()?), unescape(left.next()?));
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let version = match kind {
            "cgroup2" => Version::V2,
            "cgroup" if options.split(',').any(|name| name == "memory") => Version::V1,
            _ => return None,
        };
        Some(Mount { version, root: root.into(), point: point.into() })
    };
    text.lines().filter_map(mount).collect()
}

/// Where distributions mount the hierarchies, for when the mounts cannot be read.
pub(super) fn usual_mounts() -> Vec<Mount> {
    let at = |version, point: &str| Mount { version, root: "/".into(), point: point.into() };
    vec![
        at(Version::V2, "/sys/fs/cgroup"),
        at(Version::V2, "/sys/fs/cgroup/unified"),
        at(Version::V1, "/sys/fs/cgroup/memory"),
    ]
}

/// The kernel writes blanks, tabs, newlines and backslashes of a path in three octal digits.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Lists the directories of a cgroup and of its parents, as far as any mount shows them.
pub(super) fn visible_directories(mounts: &[Mount], version: Version, path: &Path) -> Vec<PathBuf> {
    let candidates = || mounts.iter().filter(|mount| mount.version == version);
    let mut directories: Vec<PathBuf> = Vec::new();
    for mount in candidates() {
        let Some(inside) = path_inside(mount, path) else { continue };
        let levels = inside.ancestors().map(|level| mount.point.join(level));
        directories.extend(levels);
    }
    if directories.is_empty() {
        directories = candidates().map(|mount| mount.point.clone()).collect();
    }
    directories
}

/// Returns where the cgroup lies below the mount, unless it lies outside.
fn path_inside<'a>(mount: &Mount, path: &'a Path) -> Option<&'a Path> {
    let inside = path.strip_prefix(&mount.root).ok()?;
    inside.components().all(|part| matches!(part, Component::Normal(_))).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(mounts: &str, own: &str) -> Vec<String> {
        let mounts = parse_mounts(mounts);
        let groups = parse_own_groups(own);
        let all = groups.iter().flat_map(|(version, path)| visible_directories(&mounts, *version, path));
        all.map(|directory| directory.components().collect::<PathBuf>().display().to_string()).collect()
    }

    fn v2(root: &str, point: &str) -> String {
        format!("30 23 0:26 {root} {point} rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n")
    }

    #[test]
    fn the_walk_goes_from_the_own_directory_to_the_mount_point() {
        let walked = ["/sys/fs/cgroup/user.slice/job", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"];
        assert_eq!(directories(&v2("/", "/sys/fs/cgroup"), "0::/user.slice/job\n"), walked);
    }

    #[test]
    fn what_lies_outside_of_the_mount_gives_the_mount_point() {
        let cases = [
            ("/", "/"),              // A namespace of its own.
            ("/", "/../.."),         // Moved out to a parent of its namespace.
            ("/", "/../x/y"),        // Moved out to a sibling.
            ("/..", "/"),            // The parent is mounted, but the name of our own part is hidden.
            ("/pods/a", "/"),        // The host's mount seen from inside a namespace.
            ("/pods/a", "/pods/ab"), // The same letters, but not the same group.
        ];
        for (root, own) in cases {
            let found = directories(&v2(root, "/c"), &format!("0::{own}\n"));
            assert_eq!(found, ["/c"], "{own} in {root}");
        }
    }

    #[test]
    fn the_mounted_part_is_taken_off_the_path() {
        assert_eq!(directories(&v2("/docker/a", "/c"), "0::/docker/a/job\n"), ["/c/job", "/c"]);
        assert_eq!(directories(&v2("/../..", "/c"), "0::/../../a\n"), ["/c/a", "/c"]);
    }

    #[test]
    fn a_mount_that_shows_the_group_is_preferred_to_one_that_does_not() {
        let mounts = v2("/other", "/o") + &v2("/", "/c") + &v2("/a", "/d");
        assert_eq!(directories(&mounts, "0::/a\n"), ["/c/a", "/c", "/d"]);
    }

    #[test]
    fn only_hierarchies_that_control_memory_are_walked() {
        let line = |controller: &str| format!("35 31 0:32 / /{controller} rw - cgroup cgroup rw,{controller}\n");
        let mounts = line("cpu") + &line("memory") + "22 27 0:21 / /proc rw - proc proc rw\nnonsense\n";
        let own = "9:name=systemd:/s\n5:cpuset,memory:/a:b\n2:cpu:/x\nnonsense\n";
        assert_eq!(directories(&mounts, own), ["/memory/a:b", "/memory"]);
    }

    #[test]
    fn a_blank_in_a_mount_point_is_read_back() {
        assert_eq!(directories(&v2("/", r"/my\040groups\134"), "0::/\n"), [r"/my groups\"]);
    }
}
