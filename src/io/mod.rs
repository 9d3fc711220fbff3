//! Formats. Each file knows one, none knows another.
//!
//! | format | read | written |
//! | --- | --- | --- |
//! | [`npy`] | dense matrices and vectors | dense matrices and vectors |
//! | [`h5ad`] | annotated data with all its parts; Cell Ranger's `.h5` | annotated data with all its parts |
//! | [`zarr`] | arrays and annotated data of versions 2 and 3, in folders and zip files | the same, in folders |
//! | [`mtx`] | MatrixMarket, sparse and dense | |
//! | [`mex`] | folders of Cell Ranger | |
//!
//! Inputs are read by position and in bounded runs of rows, from any number of lanes at once ([`crate::array::Source`]);
//! what is written appears under its name only when it is whole. Whatever is wrong with a file is one line that names
//! the file and the place.

#[cfg(any(feature = "h5ad", feature = "zarr"))]
mod anndata;
#[cfg(feature = "zarr")]
mod codecs;
#[cfg(any(feature = "h5ad", feature = "zarr", feature = "mtx"))]
mod csr_parts;
mod format;
#[cfg(feature = "h5ad")]
pub mod h5ad;
mod input;
#[cfg(feature = "mtx")]
pub mod mex;
#[cfg(feature = "mtx")]
pub mod mtx;
mod new_file;
pub mod npy;
mod picture;
#[cfg(feature = "h5ad")]
mod tenx;
#[cfg(test)]
mod testing;
#[cfg(any(feature = "h5ad", feature = "zarr"))]
mod tree;
mod values;
#[cfg(feature = "zarr")]
pub mod zarr;

#[cfg(any(feature = "h5ad", feature = "zarr"))]
pub use anndata::write::WriteOptions;
#[cfg(any(feature = "h5ad", feature = "zarr"))]
pub use tree::Compression;

use std::path::Path;
use std::sync::Arc;

use crate::array::{Array, Source, SourceAddress};
use crate::cells::AnnData;
use crate::error::{Error, Result};
#[cfg(any(feature = "h5ad", feature = "zarr"))]
use crate::runtime::Cluster;
use format::Format;
use input::Input;

/// What a file turned out to hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "one is made for a file, and moved a few times")]
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
    /// `npy`, `h5ad`, `10x h5`, `zarr`, `mtx` or `10x mex`.
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
    /// The names of what has a row for each cell.
    pub obsm: Vec<String>,
    /// The names of what has a row for each gene.
    pub varm: Vec<String>,
    /// The names of matrices of cells × cells.
    pub obsp: Vec<String>,
    /// The names of matrices of genes × genes.
    pub varp: Vec<String>,
    /// The names of everything else.
    pub uns: Vec<String>,
    /// Rows and columns of the matrix before genes were selected, where it was kept.
    pub raw: Option<(u64, u64)>,
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
            obsm: Vec::new(),
            varm: Vec::new(),
            obsp: Vec::new(),
            varp: Vec::new(),
            uns: Vec::new(),
            raw: None,
        }
    }
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
    match Format::of(path)? {
        Format::Npy => Ok(Opened::Array(Array::from_source(Arc::new(npy::open(path)?)))),
        #[cfg(feature = "h5ad")]
        Format::H5ad => h5ad::open(path).map(Opened::AnnData),
        #[cfg(feature = "zarr")]
        Format::Zarr => zarr::open(path),
        #[cfg(feature = "mtx")]
        Format::Mtx => Ok(Opened::Array(Array::from_source(Arc::new(mtx::open(path)?)))),
        #[cfg(feature = "mtx")]
        Format::Mex => mex::open(path).map(Opened::AnnData),
        #[cfg(not(all(feature = "h5ad", feature = "zarr", feature = "mtx")))]
        other => Err(not_built(other, path)),
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
    let path = address.path.as_str();
    match address.format.as_str() {
        "npy" => Ok(Array::from_source(Arc::new(npy::open(path)?))),
        #[cfg(feature = "h5ad")]
        "h5ad" => h5ad::open_matrix(path, &address.item),
        #[cfg(feature = "zarr")]
        "zarr" => zarr::open_matrix(path, &address.item),
        #[cfg(feature = "mtx")]
        "mtx" if address.item == "transposed" => Ok(Array::from_source(Arc::new(mtx::open_transposed(path)?))),
        #[cfg(feature = "mtx")]
        "mtx" => Ok(Array::from_source(Arc::new(mtx::open(path)?))),
        other => Err(Error::Unsupported {
            what: format!("{path}: the format {other:?} that a plan names").into(),
            instead: "run the plan with the version that wrote it, and the same features".into(),
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
    match Format::of(path)? {
        Format::Npy => Ok(Description::new("npy", &npy::open(path)?, None, Input::open(path)?.len())),
        #[cfg(feature = "h5ad")]
        Format::H5ad => h5ad::describe(path),
        #[cfg(feature = "zarr")]
        Format::Zarr => zarr::describe(path),
        #[cfg(feature = "mtx")]
        Format::Mtx => Ok(Description::new("mtx", &mtx::open(path)?, None, Input::open(path)?.len())),
        #[cfg(feature = "mtx")]
        Format::Mex => mex::describe(path),
        #[cfg(not(all(feature = "h5ad", feature = "zarr", feature = "mtx")))]
        other => Err(not_built(other, path)),
    }
}

/// Writes annotated data in the format that the path's ending names: `.h5ad`, or a folder `.zarr`.
///
/// Matrices are computed and written block by block on the lanes, in the encodings that Python's `anndata` 0.8 and later
/// reads. The file appears whole or not at all.
///
/// # Errors
/// `Unsupported` for another ending, and for what no file can hold; `BadInput` when the name is taken and `overwrite` is not
/// set, or is that of a file which the data are read from; `ShapeMismatch` when a part has not as many rows and columns as
/// there are cells and genes; `TooBig` before work on a matrix of which no block fits a worker; `Io`, as for a full disk.
///
/// # Examples
///
/// ```
/// use allotment::io::{self, WriteOptions};
/// use allotment::{Cluster, cells};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let folder = tempfile::tempdir()?;
/// let mut data = io::h5ad::open("bench-data/neurons10k_csr_u16.h5ad")?;
/// data.layers.insert("logs".into(), cells::log1p(&data.x));
/// let path = folder.path().join("logs.h5ad");
/// io::write(&cluster, &data, &path, &WriteOptions::default())?;
/// assert_eq!(io::h5ad::open_matrix(&path, "layers/logs")?.shape(), (10_000, 1000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(any(feature = "h5ad", feature = "zarr"))]
pub fn write(cluster: &Cluster, cells: &AnnData, path: impl AsRef<Path>, options: &WriteOptions) -> Result<()> {
    let path = path.as_ref();
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        #[cfg(feature = "h5ad")]
        "h5ad" => h5ad::write(cluster, cells, path, options),
        #[cfg(feature = "zarr")]
        "zarr" => zarr::write(cluster, cells, path, options),
        other => Err(Error::Unsupported {
            what: format!("{}: writing annotated data as {other:?}", path.display()).into(),
            instead: "use a name that ends in .h5ad or .zarr".into(),
        }),
    }
}

#[cfg(not(all(feature = "h5ad", feature = "zarr", feature = "mtx")))]
fn not_built(format: Format, path: &Path) -> Error {
    let feature = match format {
        Format::H5ad => "h5ad",
        Format::Zarr => "zarr",
        _ => "mtx",
    };
    let instead = format!("build allotment with the feature {feature}").into();
    Error::Unsupported { what: format!("{}: reading {format:?}", path.display()).into(), instead }
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
