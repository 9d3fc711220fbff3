//! Which format a file or folder is: by what it begins with or contains, and by its name where that is strange.

use std::path::Path;

use super::input::Input;
use crate::error::{Error, Result};

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Npy,
    /// HDF5: annotated data, or counts of Cell Ranger.
    H5ad,
    Zarr,
    /// MatrixMarket, compressed or not.
    Mtx,
    /// A folder of Cell Ranger.
    Mex,
}

impl Format {
    /// Recognises what has this path.
    ///
    /// # Errors
    /// `Io` when it cannot be read; `BadInput` when it is none of the formats.
    pub(super) fn of(path: &Path) -> Result<Format> {
        if path.is_dir() {
            return Self::of_folder(path);
        }
        let input = Input::open(path)?;
        let head = input.head(14)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let ends = |ending: &str| name.ends_with(ending);
        Ok(match &head[..] {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Format::Npy,
            [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => Format::H5ad,
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Format::Zarr,
            head if head.eq_ignore_ascii_case(b"%%MatrixMarket") => Format::Mtx,
            // HDF5 may also begin later; and a damaged file is better explained by the reader of what it claims to be.
            _ if ends(".npy") => Format::Npy,
            _ if ends(".h5ad") || ends(".h5") => Format::H5ad,
            _ if ends(".zip") || ends(".zarr") => Format::Zarr,
            _ if ends(".mtx") || ends(".mtx.gz") => Format::Mtx,
            _ => return Err(input.bad("byte 0", "a .h5ad, .h5, .npy or .mtx file, or a Zarr store", "none of these")),
        })
    }

    fn of_folder(path: &Path) -> Result<Format> {
        let has = |names: &[&str]| names.iter().any(|name| path.join(name).exists());
        if has(&["zarr.json", ".zgroup", ".zarray", ".zmetadata"]) {
            return Ok(Format::Zarr);
        }
        if has(&["matrix.mtx", "matrix.mtx.gz"]) {
            return Ok(Format::Mex);
        }
        let expected = "a Zarr store (zarr.json, .zgroup or .zarray) or a folder of Cell Ranger (matrix.mtx)";
        Err(Error::bad_input(path, "the folder", expected, "a directory with none of these files"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_known_by_what_they_contain() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let error = Format::of(folder.path()).expect_err("empty").to_string();
        assert!(error.contains(&*folder.path().to_string_lossy()) && error.contains("zarr.json"), "{error}");
        std::fs::write(folder.path().join("matrix.mtx.gz"), "").expect("write");
        assert!(matches!(Format::of(folder.path()), Ok(Format::Mex)));
        std::fs::write(folder.path().join(".zgroup"), "{}").expect("write");
        assert!(matches!(Format::of(folder.path()), Ok(Format::Zarr)));
    }

    #[test]
    fn text_is_known_by_its_banner_or_its_name() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in [("a.txt", "%%matrixmarket matrix"), ("a.mtx", "x"), ("a.MTX.gz", "x")] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("write");
            assert!(matches!(Format::of(&path), Ok(Format::Mtx)), "{name}");
        }
    }
}
