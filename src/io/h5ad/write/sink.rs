//! Where bytes go: at any place of the file, from any number of lanes at once.
//!
//! Always true: a run of the file is claimed once, so no two writers touch the same bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// The file that is being written.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    path: Arc<Path>,
    end: AtomicU64,
}

impl Sink {
    /// Takes an empty file, which keeps so many bytes at its beginning; the path is for messages.
    pub(super) fn new(file: File, path: &Path, kept: u64) -> Self {
        Sink { file, path: path.into(), end: AtomicU64::new(kept) }
    }

    /// Returns the name that the file will have.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the next run of the file, which begins at a multiple of eight.
    pub(super) fn claim(&self, len: u64) -> u64 {
        // Relaxed is enough: only that no two runs meet matters.
        self.end.fetch_add(len.next_multiple_of(8), Ordering::Relaxed)
    }

    /// Returns where the next run would begin: the file's length in the end.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Writes at a place that was claimed.
    pub(super) fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.file.write_all_at(bytes, at).map_err(|source| Error::io("write", &*self.path, source))
    }

    /// Claims as much as the bytes need, writes them, and returns where they are.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<u64> {
        let at = self.claim(bytes.len() as u64);
        self.write_at(bytes, at)?;
        Ok(at)
    }

    /// Makes the file as long as what was claimed: nobody need have written the last bytes.
    pub(super) fn fill_up(&self) -> Result<()> {
        self.file.set_len(self.end()).map_err(|source| Error::io("write", &*self.path, source))
    }
}
