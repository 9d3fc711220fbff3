//! A file being read: opened once, read by position, and known again.
//!
//! Inputs are read with `pread`, never mapped: a file that another program cuts short while it is read must be an
//! error, not a SIGBUS. An [`Input`] remembers which file it opened (device, inode) and how it looked (length, time
//! of the last change), so that a reader can ask after each block whether what it read was one state of one file.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::array::SourceAddress;
use crate::error::{Error, Result};

/// An opened input file. Cloning shares the descriptor; positional reads need no lock.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    path: Arc<Path>,
    file: Arc<File>,
    seen: Fingerprint,
}

/// What tells one state of one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    dev: u64,
    ino: u64,
    len: u64,
    mtime: (i64, i64),
}

impl Input {
    /// Opens a regular file for positional reads.
    ///
    /// # Errors
    /// `Io` when it cannot be opened, `BadInput` when it is a directory, a pipe or a device.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // A pipe would block in open until somebody writes to it; on a regular file the flag does nothing.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|source| Error::io("open", path, source))?;
        let metadata = file.metadata().map_err(|source| Error::io("read", path, source))?;
        if !metadata.is_file() {
            let found = if metadata.is_dir() { "a directory" } else { "a pipe or a device" };
            return Err(Error::bad_input(path, "the path", "a regular file", found));
        }
        Ok(Input { path: Arc::from(path), file: Arc::new(file), seen: Fingerprint::of(&metadata) })
    }

    /// Returns the path that was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a matrix of the file is for another process; `None` for a path that is no text.
    pub(crate) fn address(&self, format: &str, item: &str) -> Option<SourceAddress> {
        let path = std::path::absolute(&self.path).ok()?.to_str()?.to_string();
        Some(SourceAddress { format: format.into(), path, item: item.into() })
    }

    /// Returns the length at the time of opening.
    pub(crate) fn len(&self) -> u64 {
        self.seen.len
    }

    /// Returns another handle to the opened descriptor.
    #[cfg(any(feature = "h5ad", feature = "mtx"))]
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Fills the buffer with the bytes from `offset` on.
    ///
    /// # Errors
    /// `BadInput` when the file ends before (it was cut since it was opened, as callers stay below `len`), else `Io`.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => self.bad(
                format!("byte {offset}"),
                format!("{} more bytes", buffer.len()),
                "the end of the file: it was cut while it was read",
            ),
            _ => Error::io("read", &*self.path, source),
        })
    }

    /// Reads the first bytes, at most `n` and at most what is there.
    pub(crate) fn head(&self, n: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; n.min(self.len()) as usize];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Checks that the path still leads to the file that was opened and that nobody wrote to it since.
    ///
    /// # Errors
    /// `BadInput` that says what changed.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let now = std::fs::metadata(&*self.path).map_err(|source| Error::io("read again", &*self.path, source))?;
        let now = Fingerprint::of(&now);
        if now == self.seen {
            return Ok(());
        }
        let found = if (now.dev, now.ino) != (self.seen.dev, self.seen.ino) {
            "another file: it was replaced while it was read".to_string()
        } else if now.len != self.seen.len {
            format!("{} bytes: it changed while it was read", now.len)
        } else {
            "a later change: it was written to while it was read".to_string()
        };
        Err(self.bad("the file", format!("the {} bytes that were opened, unchanged", self.seen.len), found))
    }

    /// Builds the error of a malformed place in this file.
    pub(crate) fn bad(&self, place: impl AsRef<str>, expected: impl AsRef<str>, found: impl AsRef<str>) -> Error {
        Error::bad_input(&self.path, place, expected, found)
    }

    /// Builds the error of a sound file that holds something this version does not read.
    pub(crate) fn unsupported(&self, what: impl AsRef<str>, instead: &str) -> Error {
        Error::Unsupported {
            what: format!("{}: {}", self.path.display(), what.as_ref()).into(),
            instead: instead.into(),
        }
    }
}

/// Checks that a run of rows lies within a matrix of `len` rows.
///
/// # Errors
/// `OutOfRange` with the row beyond.
pub(crate) fn check_rows(rows: &Range<u64>, len: u64) -> Result<()> {
    if rows.start <= rows.end && rows.end <= len {
        return Ok(());
    }
    Err(Error::OutOfRange { operation: "read rows", index: rows.end.max(rows.start), len })
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        Fingerprint {
            dev: metadata.dev(),
            ino: metadata.ino(),
            len: metadata.len(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_regular_file_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let missing = Input::open(&folder.path().join("none.npy")).expect_err("missing");
        assert!(missing.to_string().contains("none.npy"), "{missing}");
        let directory = Input::open(folder.path()).expect_err("a directory");
        assert!(directory.to_string().contains("found a directory"), "{directory}");
        let device = Input::open(Path::new("/dev/null")).expect_err("a device");
        assert!(matches!(device, Error::BadInput { .. }), "{device}");
    }

    #[test]
    fn growing_cutting_replacing_and_deleting_are_noticed() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("x");
        let changes: [(&str, &dyn Fn()); 4] = [
            ("bytes: it changed", &|| std::fs::write(&path, b"0123456789").expect("grow")),
            ("bytes: it changed", &|| std::fs::write(&path, b"0").expect("cut")),
            ("it was replaced", &|| {
                std::fs::write(path.with_extension("new"), b"01234").expect("write");
                std::fs::rename(path.with_extension("new"), &path).expect("rename");
            }),
            ("cannot read again", &|| std::fs::remove_file(&path).expect("remove")),
        ];
        for (expected, change) in changes {
            std::fs::write(&path, b"01234").expect("write");
            let input = Input::open(&path).expect("open");
            assert!(input.check_unchanged().is_ok());
            change();
            let error = input.check_unchanged().expect_err("it changed");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
