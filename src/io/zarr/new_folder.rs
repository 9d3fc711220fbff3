//! A folder being written: under a temporary name until it is whole.
//!
//! ```text
//! create  ->  .name.part-PID-N   in the same directory, so that the rename cannot cross a file system
//! put     ->  files in it, their folders made on the way
//! commit  ->  everything synced, exchanged with the folder of that name, or renamed; the parent synced; the old one removed
//! drop    ->  (without commit) the temporary folder is removed: nothing half-written is left
//! ```
//!
//! Only a Zarr store or an empty folder is ever replaced: removing a folder of other files because of a mistyped path
//! would be unforgivable.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rustix::fs::{CWD, RenameFlags};

use super::store::ROOTS;
use crate::error::{Error, Result};

/// Makes temporary names of one process differ.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A folder that appears under its name only when it is whole.
#[derive(Debug)]
pub(super) struct NewFolder {
    path: PathBuf,
    temporary: PathBuf,
    committed: AtomicBool,
}

impl NewFolder {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let bad = |found: &str| Error::bad_input(path, "the path", "the name of a Zarr store to write", found);
        let name = path.file_name().ok_or_else(|| bad("no name"))?;
        check_replaceable(path)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        // Relaxed is enough: only the number's uniqueness matters.
        hidden.push(format!(".part-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        let temporary = path.with_file_name(hidden);
        std::fs::create_dir(&temporary).map_err(|source| Error::io("create", path, source))?;
        Ok(NewFolder { path: path.into(), temporary, committed: AtomicBool::new(false) })
    }

    /// Writes a file.
    pub(super) fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let file = self.temporary.join(key);
        let failed = |source| Error::io("write", self.path.join(key), source);
        match std::fs::write(&file, bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(file.parent().unwrap_or(&self.temporary)).map_err(failed)?;
                std::fs::write(&file, bytes).map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    /// Makes the folder durable and gives it its name.
    pub(super) fn commit(&self) -> Result<()> {
        let failed = |source: std::io::Error| Error::io("write", &*self.path, source);
        check_replaceable(&self.path)?;
        // One call for all files: a sync of each of a hundred thousand chunks would take minutes.
        let folder = File::open(&self.temporary).map_err(failed)?;
        rustix::fs::syncfs(&folder).map_err(|error| failed(error.into()))?;
        let exchanged = match std::fs::rename(&self.temporary, &self.path) {
            Ok(()) => false,
            Err(_) => {
                // There is a store of that name: the two change places at once, and the old one is then removed.
                rustix::fs::renameat_with(CWD, &self.temporary, CWD, &self.path, RenameFlags::EXCHANGE)
                    .map_err(|error| failed(error.into()))?;
                true
            }
        };
        self.committed.store(true, Relaxed);
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        if exchanged {
            std::fs::remove_dir_all(&self.temporary).map_err(failed)?;
        }
        Ok(())
    }
}

/// Returns an error when there is something at the path that is neither a store nor an empty folder.
fn check_replaceable(path: &Path) -> Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let is_store = ROOTS.iter().any(|root| path.join(root).is_file());
    let is_empty = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if metadata.is_dir() && (is_store || is_empty()) {
        return Ok(());
    }
    let found = if metadata.is_dir() { "a folder of other files" } else { "a file" };
    Err(Error::bad_input(path, "the path", "the name of a Zarr store to write, new or to be replaced", found))
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !*self.committed.get_mut() {
            let _ = std::fs::remove_dir_all(&self.temporary);
        }
    }
}
