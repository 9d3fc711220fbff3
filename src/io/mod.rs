//! Formats. Each file knows one, none knows another.
//!
//! | format | read | written |
//! | --- | --- | --- |
//! | [`npy`] | dense matrices and vectors | dense matrices and vectors |
//! | [`h5ad`] | dense and CSR matrices, obs, var | |
//! | [`zarr`] | dense arrays of versions 2 and 3, in folders and zip files | dense arrays of versions 2 and 3 |
//!
//! Inputs are read by position and in bounded runs of rows, from any number of lanes at once ([`crate::array::Source`]);
//! what is written appears under its name only when it is whole. Whatever is wrong with a file is one line that names
//! the file and the place.

#[cfg(feature = "zarr")]
mod codecs;
#[cfg(feature = "h5ad")]
pub mod h5ad;
mod input;
mod new_file;
pub mod npy;
mod picture;
#[cfg(test)]
mod testing;
#[allow(dead_code, reason = "the encodings of AnnData use all of it, a container alone only a part")]
mod tree;
mod values;
#[cfg(feature = "zarr")]
pub mod zarr;

use std::path::Path;
use std::sync::Arc;

use crate::array::{Array, Source, SourceAddress};
use crate::cells::AnnData;
use crate::error::Result;
use input::Input;
pub use tree::Compression;

/// What a file turned out to hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a program opens a few files, and a box would stand in every pattern")]
pub enum Opened {
    /// A matrix with the names of its rows and columns.
    AnnData(AnnData),
    /// A matrix.
    Array(Array),
}

impl Opened {
    /// Returns the matrix.
    pub fn x(&self) -> &Array {
        match self {
            Opened::AnnData(cells) => &cells.x,
            Opened::Array(array) => array,
        }
    }
}

/// What is known of a file from its headers.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Description {
    /// `npy`, `h5ad` or `zarr`.
    pub format: &'static str,
    /// Rows and columns.
    pub shape: (u64, u64),
    /// Stored values: rows × columns for a dense matrix.
    pub nnz: u64,
    /// NumPy's name of the values' type.
    pub dtype: &'static str,
    /// `dense` or `csr`.
    pub kind: String,
    /// The shape of a chunk in the file; of a CSR matrix, how many values a chunk holds. None where it is not chunked.
    pub chunks: Option<Vec<u64>>,
    /// The length of the file.
    pub bytes: u64,
    /// The names of the columns of obs.
    pub obs_columns: Vec<String>,
    /// The names of the columns of var.
    pub var_columns: Vec<String>,
    /// The names of further matrices of the same shape.
    pub layers: Vec<String>,
}

impl Description {
    fn new(format: &'static str, source: &dyn Source, chunks: Option<Vec<u64>>, bytes: u64) -> Self {
        Description {
            format,
            shape: source.shape(),
            nnz: source.nnz(),
            dtype: source.dtype().name(),
            kind: source.kind().to_string(),
            chunks,
            bytes,
            obs_columns: Vec::new(),
            var_columns: Vec::new(),
            layers: Vec::new(),
        }
    }
}

/// A format that this version reads.
enum Format {
    Npy,
    H5ad,
    Zarr,
}

/// Opens a file, or a folder that is a Zarr store, of any format: by its first bytes, or by its name where those are strange.
///
/// # Errors
/// `Io` when the file cannot be read; `BadInput` when it is damaged or of no known format; `Unsupported` for what its
/// format allows and this version does not read.
///
/// # Examples
///
/// ```
/// use allotment::io::{self, Opened};
/// let opened = io::open("bench-data/neurons10k_csr_u16.h5ad")?;
/// assert!(matches!(opened, Opened::AnnData(_)));
/// assert_eq!(opened.x().shape(), (10_000, 1000));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<Opened> {
    let path = path.as_ref();
    match format_of(path)? {
        Format::Npy => Ok(Opened::Array(Array::from_source(Arc::new(npy::open(path)?)))),
        #[cfg(feature = "h5ad")]
        Format::H5ad => h5ad::open(path).map(Opened::AnnData),
        #[cfg(not(feature = "h5ad"))]
        Format::H5ad => Err(without("h5ad", path)),
        #[cfg(feature = "zarr")]
        Format::Zarr => zarr::open(path),
        #[cfg(not(feature = "zarr"))]
        Format::Zarr => Err(without("zarr", path)),
    }
}

/// Opens the matrix that a plan names: what [`Array::from_plan_bytes`] needs to read files.
///
/// # Errors
/// Those of [`open`]; `Unsupported` for a format that this version does not know.
///
/// # Examples
///
/// ```
/// use allotment::array::Array;
/// use allotment::io;
/// let cells = io::h5ad::open("bench-data/neurons10k_csr_u16.h5ad")?;
/// let logs = Array::from_plan_bytes(&cells.x.log1p().to_plan_bytes()?, io::open_address)?;
/// assert_eq!(logs.shape(), (10_000, 1000));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn open_address(address: &SourceAddress) -> Result<Array> {
    match address.format.as_str() {
        "npy" => Ok(Array::from_source(Arc::new(npy::open(&address.path)?))),
        #[cfg(feature = "h5ad")]
        "h5ad" => h5ad::open_matrix(&address.path, &address.item),
        #[cfg(not(feature = "h5ad"))]
        "h5ad" => Err(without("h5ad", Path::new(&address.path))),
        #[cfg(feature = "zarr")]
        "zarr" => zarr::open_matrix(&address.path, &address.item),
        #[cfg(not(feature = "zarr"))]
        "zarr" => Err(without("zarr", Path::new(&address.path))),
        other => Err(crate::error::Error::Unsupported {
            what: format!("{}: the format {other:?} that a plan names", address.path).into(),
            instead: "run the plan with the version that wrote it".into(),
        }),
    }
}

/// Describes a file of any format, reading only headers.
///
/// # Errors
/// As [`open`].
///
/// # Examples
///
/// ```
/// let description = allotment::io::describe("bench-data/neurons10k_csr_u16.h5ad")?;
/// assert_eq!((description.dtype, description.nnz), ("uint16", 691_914));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn describe(path: impl AsRef<Path>) -> Result<Description> {
    let path = path.as_ref();
    match format_of(path)? {
        Format::Npy => {
            let bytes = Input::open(path)?.len();
            Ok(Description::new("npy", &npy::open(path)?, None, bytes))
        }
        #[cfg(feature = "h5ad")]
        Format::H5ad => h5ad::describe(path),
        #[cfg(not(feature = "h5ad"))]
        Format::H5ad => Err(without("h5ad", path)),
        #[cfg(feature = "zarr")]
        Format::Zarr => zarr::describe(path),
        #[cfg(not(feature = "zarr"))]
        Format::Zarr => Err(without("zarr", path)),
    }
}

#[cfg(not(all(feature = "h5ad", feature = "zarr")))]
fn without(format: &str, path: &Path) -> crate::error::Error {
    let what = format!("{}: reading {format}", path.display()).into();
    let instead = format!("build allotment with the feature {format}").into();
    crate::error::Error::Unsupported { what, instead }
}

fn format_of(path: &Path) -> Result<Format> {
    if path.is_dir() {
        return Ok(Format::Zarr);
    }
    let input = Input::open(path)?;
    let head = input.head(8)?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    match (&head[..], extension.as_str()) {
        ([0x93, b'N', b'U', b'M', b'P', b'Y', ..], _) => Ok(Format::Npy),
        ([0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n'], _) => Ok(Format::H5ad),
        ([b'P', b'K', 3 | 5, 4 | 6, ..], _) => Ok(Format::Zarr),
        // HDF5 may also begin later; and a damaged file is better explained by the reader of what it claims to be.
        (_, "npy") => Ok(Format::Npy),
        (_, "h5ad" | "h5") => Ok(Format::H5ad),
        (_, "zip" | "zarr") => Ok(Format::Zarr),
        _ => Err(input.bad("byte 0", "a .npy or .h5ad file, or a Zarr store", "none of these")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_decides_before_the_name_does() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("misnamed.h5ad");
        npy::save_matrix(&path, 1, 2, &[1.0, 2.0]).expect("write");
        assert_eq!(describe(&path).expect("npy").format, "npy");
        assert!(matches!(open(&path), Ok(Opened::Array(_))));
    }

    #[test]
    fn what_is_no_matrix_is_one_line_that_names_the_file() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in
            [("x.npy", "garbage"), ("x.h5ad", "garbage"), ("x.txt", "a,b"), ("empty.npy", ""), ("empty.h5ad", "")]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("write");
            for error in [open(&path).map(|_| ()), describe(&path).map(|_| ())] {
                let error = error.expect_err(name).to_string();
                assert!(error.contains(name) && !error.contains('\n'), "{error}");
            }
        }
        for name in ["missing.h5ad", "."] {
            let error = open(folder.path().join(name)).expect_err(name).to_string();
            assert!(error.contains(&*folder.path().to_string_lossy()), "{error}");
        }
    }

    #[test]
    #[cfg(feature = "h5ad")]
    fn a_description_has_what_the_program_prints() {
        let found = describe("bench-data/pbmc68k_reduced.h5ad").expect("sound");
        assert_eq!((found.format, found.kind.as_str(), found.dtype), ("h5ad", "dense", "float32"));
        assert_eq!((found.shape, found.nnz, found.bytes), ((700, 765), 535_500, 1_911_295));
        assert_eq!(found.chunks, Some(vec![44, 96]));
        assert_eq!((found.obs_columns[0].as_str(), found.var_columns[4].as_str()), ("bulk_labels", "highly_variable"));
        assert!(found.layers.is_empty());
    }
}
