//! A store that is a folder: an object is a file.
//!
//! A path is resolved before it is opened and must end inside the folder, so that a link in a store that somebody else
//! made shows no other file of this machine. The folder is known again by its root's metadata: who rewrites or replaces a
//! store rewrites that.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::super::super::input::Input;
use super::{ROOTS, check_path};
use crate::error::{Error, Result};

/// A folder deeper than this is a loop of links or an attempt to make one.
const DEEPEST: usize = 64;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The same with all links resolved.
    resolved: PathBuf,
    root: Input,
    stored: OnceLock<u64>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let resolved = std::fs::canonicalize(path).map_err(|source| Error::io("open", path, source))?;
        let root = ROOTS.iter().map(|name| path.join(name)).find(|file| file.is_file());
        let Some(root) = root else {
            let expected = "a Zarr store, which holds zarr.json, .zgroup or .zarray";
            return Err(Error::bad_input(path, "the folder", expected, "none of them"));
        };
        Ok(Folder { path: path.into(), resolved, root: Input::open(&root)?, stored: OnceLock::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file, or `None`.
    pub(super) fn object(&self, key: &str) -> Result<Option<Input>> {
        let Some(path) = self.resolve(key)? else { return Ok(None) };
        Input::open(&path).map(Some)
    }

    /// Returns where a key leads, or `None` when nothing is there.
    fn resolve(&self, key: &str) -> Result<Option<PathBuf>> {
        let path = self.path.join(key);
        if !check_path(key) {
            let expected = "names that stay inside the store";
            return Err(Error::bad_input(&self.path, "the name of a node", expected, super::one_line(key)));
        }
        match std::fs::canonicalize(&path) {
            Ok(real) if real.starts_with(&self.resolved) => Ok(Some(path)),
            Ok(_) => Err(Error::bad_input(&self.path, key, "a file inside the store", "a link that leaves it")),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(source) => Err(Error::io("open", path, source)),
        }
    }

    pub(super) fn folders(&self, path: &str) -> Result<Vec<String>> {
        let Some(folder) = self.resolve(path)? else { return Ok(Vec::new()) };
        let failed = |source| Error::io("list", folder.clone(), source);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // A name that is no text cannot be a node's.
            if let Some(name) = entry.file_name().to_str().filter(|_| entry.path().is_dir()) {
                names.push(name.to_string());
            }
        }
        Ok(names)
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        *self.stored.get_or_init(|| bytes_below(&self.path, DEEPEST))
    }

    pub(super) fn check_unchanged(&self) -> Result<()> {
        self.root.check_unchanged()
    }
}

/// Sums the lengths of the files below a folder, links not followed; what cannot be listed counts nothing.
fn bytes_below(folder: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut sum = 0;
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        sum += match metadata.is_dir() {
            true if depth > 0 => bytes_below(&entry.path(), depth - 1),
            true => 0,
            false => metadata.len(),
        };
    }
    sum
}
