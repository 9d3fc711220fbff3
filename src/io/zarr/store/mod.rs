//! Where a Zarr store's bytes are: in a folder, or in a zip file.
//!
//! A store maps keys (names joined by `/`) to objects. An object is opened once and read by position ([`Object`]), so
//! that of a shard only its index and the chunks that are wanted are read. What does not exist is `None`: to Zarr a
//! missing chunk is one full of the fill value.
//!
//! Keys are made of node paths, which may come from a file's own metadata: a name that is empty, `.` or `..`, or that
//! holds a `/` or a NUL, is refused before it reaches the file system ([`check_path`]), and a folder's files are followed
//! only as far as they stay inside it.

mod folder;
mod zip;

use std::ops::Range;
use std::path::Path;

use super::super::input::Input;
use crate::error::{Error, Result};
use folder::Folder;
use zip::ZipFile;

/// A store that is open for reading.
#[derive(Debug)]
pub(super) enum Store {
    Folder(Folder),
    Zip(ZipFile),
}

/// The objects that make a folder a Zarr store, either version's.
pub(super) const ROOTS: [&str; 4] = ["zarr.json", ".zmetadata", ".zgroup", ".zarray"];

impl Store {
    /// Opens a folder, or a zip file of one.
    pub(super) fn open(path: &Path) -> Result<Store> {
        match path.is_dir() {
            true => Folder::open(path).map(Store::Folder),
            false => ZipFile::open(Input::open(path)?).map(Store::Zip),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Store::Folder(folder) => folder.path(),
            Store::Zip(zip) => zip.path(),
        }
    }

    /// Opens an object, or `None`; one that must be decoded first has at most `most` bytes.
    pub(super) fn object(&self, key: &str, most: u64) -> Result<Option<Object>> {
        match self {
            Store::Folder(folder) => Ok(folder.object(key)?.map(Object::File)),
            Store::Zip(zip) => zip.object(key, most),
        }
    }

    /// Reads an object of at most `most` bytes whole, or `None`.
    pub(super) fn read(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(object) = self.object(key, most)? else { return Ok(None) };
        if object.len() > most {
            return Err(self.bad(key, &format!("at most {most} bytes"), &format!("{} bytes", object.len())));
        }
        let bytes = object.read(0..object.len())?;
        object.check_unchanged()?;
        Ok(Some(bytes))
    }

    /// Returns the names of the folders in a folder.
    pub(super) fn folders(&self, path: &str) -> Result<Vec<String>> {
        match self {
            Store::Folder(folder) => folder.folders(path),
            Store::Zip(zip) => Ok(zip.folders(path)),
        }
    }

    /// Returns the keys of a zip file's objects.
    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<String> {
        match self {
            Store::Folder(_) => Vec::new(),
            Store::Zip(zip) => zip.keys(),
        }
    }

    /// Returns the bytes of all objects as they are stored.
    pub(super) fn stored_bytes(&self) -> u64 {
        match self {
            Store::Folder(folder) => folder.stored_bytes(),
            Store::Zip(zip) => zip.stored_bytes(),
        }
    }

    /// Returns an error when the store was replaced or rewritten since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        match self {
            Store::Folder(folder) => folder.check_unchanged(),
            Store::Zip(zip) => zip.check_unchanged(),
        }
    }

    pub(super) fn bad(&self, place: &str, expected: &str, found: &str) -> Error {
        Error::bad_input(self.path(), if place.is_empty() { "/" } else { place }, expected, one_line(found))
    }
}

/// An object that is open for reading.
#[derive(Debug)]
pub(super) enum Object {
    /// A file.
    File(Input),
    /// A part of a file.
    Part(Input, Range<u64>),
    /// Bytes that had to be decoded.
    Bytes(Vec<u8>),
}

impl Object {
    pub(super) fn len(&self) -> u64 {
        match self {
            Object::File(input) => input.len(),
            Object::Part(_, part) => part.end - part.start,
            Object::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Reads a range, which callers have compared with the length.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let (input, start) = match self {
            Object::File(input) => (input, 0),
            Object::Part(input, part) => (input, part.start),
            Object::Bytes(bytes) => return Ok(bytes[range.start as usize..range.end as usize].to_vec()),
        };
        let mut bytes = vec![0; (range.end - range.start) as usize];
        input.read_exact_at(&mut bytes, start + range.start)?;
        Ok(bytes)
    }

    /// Returns an error when the file was replaced or written to since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        match self {
            Object::File(input) => input.check_unchanged(),
            // A zip file is compared as a whole, by its readers, once a block.
            Object::Part(..) | Object::Bytes(_) => Ok(()),
        }
    }
}

/// Returns whether a node's path is names joined by `/`, none of which could lead elsewhere.
pub(super) fn check_path(path: &str) -> bool {
    let sound = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains(['\0', '\\']);
    path.is_empty() || (path.len() < 4096 && path.split('/').all(sound))
}

/// Messages are one line, whatever names a file puts into them.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
