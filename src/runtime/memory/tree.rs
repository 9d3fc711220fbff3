//! A recorded `/proc` and `/sys` in a temporary directory, for tests.
//!
//! It begins as a machine without limits: 16 GiB in all, 8 GiB available, 4 GiB of free swap.

use std::path::Path;

use super::{HostMemory, Roots};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

pub(super) struct Tree {
    dir: tempfile::TempDir,
    pub(super) roots: Roots,
}

impl Tree {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a test may write to the temporary directory");
        let roots = Roots { proc: dir.path().join("proc"), sys: dir.path().join("sys") };
        let tree = Tree { dir, roots };
        let kib = |bytes: u64| bytes / 1024;
        let (total, free, available, swap) = (kib(16 * GIB), kib(GIB), kib(8 * GIB), kib(4 * GIB));
        let meminfo = format!(
            "MemTotal: {total} kB\nMemFree: {free} kB\nMemAvailable: {available} kB\nSwapTotal: {swap} kB\nSwapFree: {swap} kB\n"
        );
        tree.proc("meminfo", &meminfo);
        tree
    }

    /// Writes a file below `/proc`.
    pub(super) fn proc(&self, path: &str, text: &str) {
        write(&self.roots.proc.join(path), text);
    }

    /// Writes a file below `/sys`.
    pub(super) fn sys(&self, path: &str, text: impl ToString) {
        write(&self.roots.sys.join(path), &text.to_string());
    }

    /// Writes a file anywhere in the temporary directory and returns where it is.
    pub(super) fn elsewhere(&self, path: &str, text: impl ToString) -> String {
        let path = self.dir.path().join(path);
        write(&path, &text.to_string());
        path.display().to_string()
    }

    /// Makes a directory where a file is expected, which fails to read for every user, the superuser too.
    pub(super) fn unreadable(&self, path: &str) {
        std::fs::create_dir_all(self.roots.sys.join(path)).expect("a test may write to its own tree");
    }

    pub(super) fn remove_proc(&self, path: &str) {
        std::fs::remove_file(self.roots.proc.join(path)).expect("the file was written by this test");
    }

    pub(super) fn host(&self) -> HostMemory {
        HostMemory::read(&self.roots).expect("the recorded tree has a meminfo")
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("no test writes to the root")).expect("the tree is ours");
    std::fs::write(path, text).expect("the tree is ours");
}
