//! Every memory limit of the cgroup this process is really in, and of its parents up to the root.
//!
//! Version 2 gives `memory.max`, `memory.high` (past it the kernel throttles to a crawl, so it binds us too) and
//! `memory.swap.max`; version 1 gives `memory.limit_in_bytes`, `memory.memsw.limit_in_bytes`, and in `memory.stat` the
//! lowest limit of all parents, even of those that a container cannot see. Version 1's soft limit is no limit: it only
//! orders reclaim. What is used is usage less `inactive_file`, which is page cache that the kernel drops on demand.
//! Which directories these files are in is told by `hierarchy.rs`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::hierarchy::{Version, parse_mounts, parse_own_groups, usual_mounts, visible_directories};
use super::{Limit, LimitKind, Roots};

/// Version 1 prints "no limit" as the largest multiple of the page size below 2^63, version 2 as "max".
const UNLIMITED_BYTES: u64 = 1 << 60;

const STAT: &str = "memory.stat";

/// All limits found, lowest level first, and the files that exist but gave no number.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) limits: Vec<Limit>,
    pub(super) unread: Vec<PathBuf>,
}

impl Limits {
    pub(super) fn read(roots: &Roots) -> Self {
        let mut found = Limits::default();
        let Some(own) = found.text(&roots.proc.join("self/cgroup")) else { return found };
        let mounts = match found.text(&roots.proc.join("self/mountinfo")) {
            Some(text) => parse_mounts(&text),
            None => usual_mounts(),
        };
        for (version, path) in parse_own_groups(&own) {
            for directory in visible_directories(&mounts, version, &path) {
                let directory = below_root(roots, &directory);
                match version {
                    Version::V1 => found.level_v1(&directory),
                    Version::V2 => found.level_v2(&directory),
                }
            }
        }
        found.drop_repeated();
        found
    }

    /// Version 1 tells a parent's limit at every level below it. Only a parent that cannot be seen needs that.
    fn drop_repeated(&mut self) {
        let is_told = |limit: &Limit| limit.source_name.ends_with(STAT);
        let seen: Vec<u64> = self.limits.iter().filter(|l| !is_told(l)).map(|l| l.limit_bytes).collect();
        self.limits.retain(|limit| !is_told(limit) || !seen.contains(&limit.limit_bytes));
    }

    fn level_v2(&mut self, directory: &Path) {
        let file = |name: &str| directory.join(name);
        for name in ["memory.max", "memory.high"] {
            let Some(limit) = self.limit(&file(name)) else { continue };
            let cache = self.stat(&file(STAT), &["inactive_file"]).unwrap_or(0);
            self.push(&file(name), LimitKind::Ram, limit, &file("memory.current"), cache);
        }
        if let Some(limit) = self.limit(&file("memory.swap.max")) {
            self.push(&file("memory.swap.max"), LimitKind::Swap, limit, &file("memory.swap.current"), 0);
        }
    }

    fn level_v1(&mut self, directory: &Path) {
        let file = |name: &str| directory.join(name);
        let stat = file(STAT);
        let (ram, both) = (file("memory.limit_in_bytes"), file("memory.memsw.limit_in_bytes"));
        let (ram_used, both_used) = (file("memory.usage_in_bytes"), file("memory.memsw.usage_in_bytes"));
        // Usage counts the whole subtree, so that the cache of the whole subtree is taken from it.
        let cache = self.stat(&stat, &["total_inactive_file", "inactive_file"]).unwrap_or(0);
        if let Some(limit) = self.limit(&ram) {
            self.push(&ram, LimitKind::Ram, limit, &ram_used, cache);
        }
        if let Some(limit) = self.limit(&both) {
            self.push(&both, LimitKind::RamAndSwap, limit, &both_used, cache);
        }
        let hidden = self.stat(&stat, &["hierarchical_memory_limit"]);
        if let Some(limit) = hidden.filter(|limit| *limit < UNLIMITED_BYTES) {
            self.push(&stat, LimitKind::Ram, limit, &ram_used, cache);
        }
    }

    /// Where usage cannot be read the whole limit counts as left: it still bounds, and the file is listed.
    fn push(&mut self, source: &Path, kind: LimitKind, limit_bytes: u64, usage: &Path, cache: u64) {
        let used = match self.text(usage).map(|text| text.trim().parse::<u64>()) {
            Some(Ok(bytes)) => bytes.saturating_sub(cache),
            _ => {
                self.note(usage);
                0
            }
        };
        let source_name = source.display().to_string().into();
        self.limits.push(Limit { source_name, kind, limit_bytes, remaining_bytes: limit_bytes.saturating_sub(used) });
    }

    /// Returns the file's limit; `None` when there is no such file or it sets no limit.
    fn limit(&mut self, path: &Path) -> Option<u64> {
        let text = self.text(path)?;
        match text.trim() {
            "max" => None,
            number => match number.parse::<u64>() {
                Ok(bytes) => Some(bytes).filter(|bytes| *bytes < UNLIMITED_BYTES),
                Err(_) => {
                    self.note(path);
                    None
                }
            },
        }
    }

    /// Returns the first of the named lines that `memory.stat` has.
    fn stat(&mut self, path: &Path, names: &[&str]) -> Option<u64> {
        let text = self.text(path)?;
        let line = |name: &&str| {
            text.lines().find_map(|line| line.strip_prefix(*name)?.strip_prefix(' ')?.trim().parse().ok())
        };
        names.iter().find_map(line)
    }

    /// Reads a file. One that does not exist is nothing to tell; one that cannot be read is noted.
    fn text(&mut self, path: &Path) -> Option<String> {
        match std::fs::read(path) {
            // Names of cgroups are any bytes; the numbers and the usual names are ASCII.
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(_) => {
                self.note(path);
                None
            }
        }
    }

    fn note(&mut self, path: &Path) {
        if !self.unread.iter().any(|noted| noted == path) {
            self.unread.push(path.to_owned());
        }
    }
}

/// Mount points below `/sys` are looked up below the given root, others are taken as they are.
fn below_root(roots: &Roots, directory: &Path) -> PathBuf {
    directory.strip_prefix("/sys").map_or_else(|_| directory.to_owned(), |below| roots.sys.join(below))
}

#[cfg(test)]
mod tests {
    use super::super::tree::{GIB, MIB, Tree};
    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,memory_recursiveprot\n";
    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";

    /// A machine whose process is in `own`, with these mounts, and these files below `/sys/fs/cgroup`.
    fn tree(own: &str, mounts: &str, files: &[(&str, u64)]) -> Tree {
        let tree = Tree::new();
        tree.proc("self/cgroup", own);
        tree.proc("self/mountinfo", &format!("27 1 254:0 / / rw - ext4 /dev/vda rw\n{mounts}"));
        files.iter().for_each(|(path, bytes)| tree.sys(&format!("fs/cgroup/{path}"), format!("{bytes}\n")));
        tree
    }

    fn assert_available(tree: &Tree, bytes: u64, source: &str) {
        let (found, name) = tree.host().available(false);
        assert!(found == bytes && name.ends_with(source), "{found} of {name}, not {bytes} of {source}");
    }

    #[test]
    fn max_everywhere_is_no_limit() {
        let tree = tree("0::/a/b\n", V2, &[("a/b/memory.current", MIB)]);
        for name in ["a/b/memory.max", "a/b/memory.high", "a/memory.max", "a/b/memory.swap.max"] {
            tree.sys(&format!("fs/cgroup/{name}"), "max\n");
        }
        assert_available(&tree, 8 * GIB, "meminfo");
        assert!(tree.host().limits.is_empty() && tree.host().unread().is_empty());
    }

    #[test]
    fn what_remains_is_the_limit_less_usage_that_is_not_inactive_cache() {
        let files = [("a/memory.max", 4 * GIB), ("a/memory.current", 3 * GIB)];
        let tree = tree("0::/a\n", V2, &files);
        assert_available(&tree, GIB, "a/memory.max");
        tree.sys("fs/cgroup/a/memory.stat", format!("anon 5\ninactive_file {}\nfile 7\n", 2 * GIB));
        assert_available(&tree, 3 * GIB, "a/memory.max");
        assert_eq!(tree.host().lowest_limit().0, 4 * GIB);
        tree.sys("fs/cgroup/a/memory.current", 9 * GIB);
        assert_available(&tree, 0, "a/memory.max");
    }

    #[test]
    fn high_binds_where_it_is_lower_than_max() {
        let files = [("a/memory.max", 4 * GIB), ("a/memory.high", 2 * GIB), ("a/memory.current", GIB)];
        assert_available(&tree("0::/a\n", V2, &files), GIB, "a/memory.high");
    }

    #[test]
    fn a_parent_with_less_left_wins_over_its_child_and_a_sibling_never_does() {
        let files = [
            ("a/b/c/memory.max", 4 * GIB),
            ("a/b/c/memory.current", GIB),
            ("a/memory.max", 6 * GIB),
            ("a/memory.current", 5 * GIB),
            ("x/memory.max", MIB),
            ("a/b/x/memory.max", MIB),
        ];
        let tree = tree("0::/a/b/c\n", V2, &files);
        assert_available(&tree, GIB, "cgroup/a/memory.max");
        assert!(
            tree.host().lowest_limit().1.ends_with("a/b/c/memory.max"),
            "the lowest limit need not be the tightest"
        );
    }

    #[test]
    fn version_1_counts_the_subtree_s_cache_and_ignores_soft_limits_and_huge_numbers() {
        let files = [
            ("memory/job/memory.limit_in_bytes", 2 * GIB),
            ("memory/job/memory.usage_in_bytes", GIB),
            ("memory/job/memory.soft_limit_in_bytes", MIB),
            ("memory/memory.limit_in_bytes", 9_223_372_036_854_771_712),
            ("memory/memory.usage_in_bytes", 9 * GIB),
        ];
        let tree = tree("4:memory:/job\n3:cpu,cpuacct:/other\n", V1, &files);
        let stat = format!("inactive_file 1\ntotal_inactive_file {}\n", 512 * MIB);
        tree.sys("fs/cgroup/memory/job/memory.stat", stat);
        assert_available(&tree, 2 * GIB - 512 * MIB, "memory/job/memory.limit_in_bytes");
        assert_eq!(tree.host().limits.len(), 1);
    }

    #[test]
    fn version_1_tells_of_a_parent_outside_the_container() {
        let mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro,relatime master:11 - cgroup cgroup rw,memory\n";
        let unlimited = 9_223_372_036_854_771_712;
        let files = [("memory/memory.limit_in_bytes", unlimited), ("memory/memory.usage_in_bytes", 256 * MIB)];
        let tree = tree("4:memory:/docker/abc\n", mounts, &files);
        assert_available(&tree, 8 * GIB, "meminfo");
        tree.sys("fs/cgroup/memory/memory.stat", format!("hierarchical_memory_limit {GIB}\n"));
        assert_available(&tree, GIB - 256 * MIB, "memory/memory.stat");
        tree.sys("fs/cgroup/memory/memory.limit_in_bytes", GIB);
        assert_available(&tree, GIB - 256 * MIB, "memory/memory.limit_in_bytes");
        assert_eq!(tree.host().limits.len(), 1, "a limit that is seen is not told twice");
    }

    #[test]
    fn a_hybrid_system_is_read_in_both_hierarchies() {
        let v2 = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let files = [("memory/a/memory.limit_in_bytes", 2 * GIB), ("memory/a/memory.usage_in_bytes", 0)];
        let tree = tree("4:memory:/a\n0::/b\n", &format!("{V1}{v2}"), &files);
        assert_available(&tree, 2 * GIB, "memory/a/memory.limit_in_bytes");
        tree.sys("fs/cgroup/unified/b/memory.max", GIB);
        tree.sys("fs/cgroup/unified/b/memory.current", 0);
        assert_available(&tree, GIB, "unified/b/memory.max");
    }

    #[test]
    fn in_a_namespace_the_mount_point_is_the_outermost_group_to_be_seen() {
        let outer = V2.replace(" / /sys", " /.. /sys");
        let cases =
            [("0::/\n", V2), ("0::/../..\n", V2), ("0::/../x\n", V2), ("0::/gone (deleted)\n", V2), ("0::/\n", &outer)];
        for (own, mounts) in cases {
            let tree = tree(own, mounts, &[("memory.max", GIB), ("memory.current", MIB)]);
            assert_available(&tree, GIB - MIB, "cgroup/memory.max");
        }
        let inside = tree("0::/../x\n", &outer, &[("x/memory.max", GIB), ("x/memory.current", 0)]);
        assert_available(&inside, GIB, "cgroup/x/memory.max");
    }

    #[test]
    fn a_mount_anywhere_is_found_and_one_that_shows_more_parents_adds_them() {
        let files = [("memory.max", 4 * GIB), ("memory.current", 0)];
        let container = "30 23 0:26 /pods/p1 /sys/fs/cgroup ro shared:1 master:2 - cgroup2 cgroup2 rw\n";
        let tree = tree("0::/pods/p1\n", container, &files);
        assert_available(&tree, 4 * GIB, "sys/fs/cgroup/memory.max");
        let max = tree.elsewhere("the host/pods/memory.max", GIB);
        tree.elsewhere("the host/pods/memory.current", 0);
        let point = max.strip_suffix("/pods/memory.max").expect("just joined").replace(' ', "\\040");
        tree.proc("self/mountinfo", &format!("{container}31 23 0:26 / {point} ro - cgroup2 cgroup2 rw\n"));
        assert_available(&tree, GIB, "the host/pods/memory.max");
    }

    #[test]
    fn without_mountinfo_the_usual_places_are_tried() {
        let tree = Tree::new();
        tree.proc("self/cgroup", "0::/a\n");
        tree.sys("fs/cgroup/a/memory.max", GIB);
        tree.sys("fs/cgroup/a/memory.current", 0);
        assert_available(&tree, GIB, "a/memory.max");
    }

    #[test]
    fn what_cannot_be_read_is_listed_and_does_not_hide_the_rest() {
        let tree = tree("0::/a/b\n", V2, &[("a/memory.max", GIB), ("a/memory.high", 2 * GIB)]);
        tree.sys("fs/cgroup/a/b/memory.max", "a lot\n");
        tree.unreadable("fs/cgroup/a/b/memory.high");
        tree.unreadable("fs/cgroup/a/memory.current");
        assert_available(&tree, GIB, "a/memory.max");
        let listed: Vec<_> =
            tree.host().unread().iter().map(|p| p.strip_prefix(&tree.roots.sys).map(Path::to_owned)).collect();
        let expected = ["a/b/memory.max", "a/b/memory.high", "a/memory.current"];
        assert_eq!(listed, expected.map(|p| Ok(Path::new("fs/cgroup").join(p))));
    }

    #[test]
    fn a_limit_lowered_while_running_shows_at_the_next_reading() {
        let tree = tree("0::/a\n", V2, &[("a/memory.max", 4 * GIB), ("a/memory.current", 0)]);
        assert_available(&tree, 4 * GIB, "a/memory.max");
        tree.sys("fs/cgroup/a/memory.max", GIB);
        assert_available(&tree, GIB, "a/memory.max");
    }

    #[test]
    fn swap_is_bounded_by_the_cgroup_too() {
        let files =
            [("a/memory.max", GIB), ("a/memory.current", 0), ("a/memory.swap.max", MIB), ("a/memory.swap.current", 0)];
        let v2 = tree("0::/a\n", V2, &files);
        assert_eq!((v2.host().available(false).0, v2.host().available(true).0), (GIB, GIB + MIB));
        assert_eq!(v2.host().lowest_limit().0, GIB, "a limit on swap is none on memory");
        let (ram, both) = ("memory/a/memory.limit_in_bytes", "memory/a/memory.memsw.limit_in_bytes");
        let v1 = tree("4:memory:/a\n", V1, &[(ram, GIB), (both, 3 * GIB)]);
        v1.sys("fs/cgroup/memory/a/memory.usage_in_bytes", 0);
        v1.sys("fs/cgroup/memory/a/memory.memsw.usage_in_bytes", 0);
        assert_eq!((v1.host().available(false).0, v1.host().available(true).0), (GIB, 3 * GIB));
    }
}
