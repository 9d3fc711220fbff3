//! A file being written: under a temporary name until it is whole.
//!
//! ```text
//! create  ->  .name.part-PID-N   in the same directory, so that the rename cannot cross a file system
//! write   ->  ..
//! commit  ->  fsync, rename to name, fsync the directory
//! drop    ->  (without commit) the temporary file is removed: nothing half-written is left
//! ```

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Result};

/// Makes temporary names of one process differ.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file that appears under its name only when it is whole.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    /// `None` once committed.
    file: Option<BufWriter<File>>,
}

impl NewFile {
    /// Creates the temporary file beside `path`.
    ///
    /// # Errors
    /// `Io` when the directory is missing or not writable, `BadInput` when the path cannot name a file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let name = match path.file_name() {
            Some(name) if !path.is_dir() => name,
            _ => return Err(Error::bad_input(path, "the path", "the name of a file to write", "a directory")),
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        // Relaxed is enough: only the number's uniqueness matters.
        hidden.push(format!(".part-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        let temporary = path.with_file_name(hidden);
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(|source| Error::io("create", path, source))?;
        Ok(NewFile { path: path.into(), temporary, file: Some(BufWriter::with_capacity(1 << 16, file)) })
    }

    /// Returns the name that the file will have.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns another handle of the temporary file, to write at any place; not to be mixed with [`NewFile::write`].
    ///
    /// # Errors
    /// `Io` when there are no more descriptors.
    #[cfg(feature = "h5ad")]
    pub(crate) fn handle(&self) -> Result<File> {
        let file = self.file.as_ref().expect("only commit, which consumes self, takes the file");
        file.get_ref().try_clone().map_err(|source| Error::io("open again", &*self.path, source))
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// `Io`, as for a full disk.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let file = self.file.as_mut().expect("only commit, which consumes self, takes the file");
        file.write_all(bytes).map_err(|source| Error::io("write", &*self.path, source))
    }

    /// Makes the file durable and gives it its name, replacing a file of that name.
    ///
    /// # Errors
    /// `Io`; the temporary file is removed then, and an older file of that name is untouched.
    pub(crate) fn commit(mut self) -> Result<()> {
        let failed = |source| Error::io("write", &*self.path, source);
        let file = self.file.as_mut().expect("commit is called once, as it consumes self");
        file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed)?;
        std::fs::rename(&self.temporary, &self.path).map_err(failed)?;
        self.file = None;
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // The bytes that are still buffered are not worth writing: the file is about to go.
            let _ = file.into_parts();
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_leaves_the_old_one_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("x");
        std::fs::write(&path, b"old").expect("write");
        let mut new = NewFile::create(&path).expect("create");
        new.write(b"half").expect("write");
        drop(new);
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
        let mut new = NewFile::create(&path).expect("create");
        new.write(b"whole").expect("write");
        new.commit().expect("commit");
        assert_eq!(std::fs::read(&path).expect("read"), b"whole");
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        for path in ["/no/such/folder/x.npy", "/", "/proc"] {
            let error = NewFile::create(Path::new(path)).expect_err(path);
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}
