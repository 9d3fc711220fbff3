//! A folder of 10x Genomics' Cell Ranger: a MatrixMarket file of features × cells, and the names of both.
//!
//! | file | version 2 | version 3 and later |
//! | --- | --- | --- |
//! | counts, features × cells | `matrix.mtx` | `matrix.mtx.gz` |
//! | features: id, name, type | `genes.tsv`, without types | `features.tsv.gz` |
//! | cells | `barcodes.tsv` | `barcodes.tsv.gz` |
//!
//! Each may be compressed or not, whatever the version. Cells become rows, as `scanpy.read_10x_mtx` makes them; features are
//! named by their names, their ids and types are columns of `var`. Features of every type are kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Description;
use super::input::Input;
use super::mtx::{self, Lines, MtxSource, shown};
use crate::array::{Array, Source};
use crate::cells::{AnnData, Categories, Column, Frame};
use crate::error::{Error, Result};

/// Opens a folder of counts.
///
/// # Errors
/// `Io` when a file is missing or cannot be read; `BadInput`, with file and line, when one is malformed or when the
/// numbers of features, cells, rows and columns do not agree.
///
/// # Examples
///
/// ```
/// use allotment::io::mex;
/// let folder = tempfile::tempdir()?;
/// let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
/// write("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2 3 2\n1 3 5\n2 1 7\n")?;
/// write("genes.tsv", "ENSG1\tCD3\nENSG2\tCD8\n")?;
/// write("barcodes.tsv", "AAAC-1\nAAAG-1\nAAAT-1\n")?;
/// let cells = mex::open(folder.path())?;
/// assert_eq!((cells.x.shape(), cells.var_names()?), ((3, 2), vec!["CD3".to_string(), "CD8".to_string()]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(folder: impl AsRef<Path>) -> Result<AnnData> {
    let folder = folder.as_ref();
    let (matrix, features, barcodes) = (file(folder, &["matrix.mtx"])?, features(folder)?, barcodes(folder)?);
    let x = mtx::open_transposed(&matrix)?;
    check(folder, &x, barcodes.len(), features.len())?;
    AnnData::new(Array::from_source(Arc::new(x)), barcodes, features)
}

/// Describes a folder of counts. The matrix is parsed for it: text tells its sizes only when it is read.
pub(super) fn describe(folder: &Path) -> Result<Description> {
    let (path, features, barcodes) = (file(folder, &["matrix.mtx"])?, features(folder)?, barcodes(folder)?);
    let x = mtx::open_transposed(&path)?;
    check(folder, &x, barcodes.len(), features.len())?;
    let described = Description::new("10x mex", &x, None, Input::open(&path)?.len());
    Ok(Description { var_columns: features.columns().to_vec(), ..described })
}

/// Returns the file that has one of these names, compressed or not.
fn file(folder: &Path, names: &[&str]) -> Result<PathBuf> {
    let candidates = names.iter().flat_map(|name| [folder.join(format!("{name}.gz")), folder.join(name)]);
    candidates.into_iter().find(|path| path.exists()).ok_or_else(|| {
        let expected = format!("{} or {}.gz", names.join(" or "), names[0]);
        Error::bad_input(folder, "the folder", expected, "neither")
    })
}

fn check(folder: &Path, x: &MtxSource, barcodes: u64, features: u64) -> Result<()> {
    if x.shape() == (barcodes, features) {
        return Ok(());
    }
    let (cells, genes) = x.shape();
    let expected = format!("{features} rows and {barcodes} columns, as there are features and barcodes");
    Err(Error::bad_input(folder, "the matrix", expected, format!("{genes} rows and {cells} columns")))
}

fn barcodes(folder: &Path) -> Result<Frame> {
    let mut names = Vec::new();
    read(&file(folder, &["barcodes.tsv"])?, |fields| {
        names.push(text(fields[0]));
        Some(())
    })?;
    Frame::in_memory(names, Vec::new())
}

fn features(folder: &Path) -> Result<Frame> {
    let (mut ids, mut names, mut types) = (Vec::new(), Vec::new(), Vec::new());
    read(&file(folder, &["features.tsv", "genes.tsv"])?, |fields| {
        ids.push(Some(text(fields[0])));
        names.push(text(fields.get(1)?));
        types.extend(fields.get(2).map(|kind| text(kind)));
        // Types stand in every line or in none.
        (types.is_empty() || types.len() == ids.len()).then_some(())
    })?;
    let mut columns = vec![("gene_ids".to_string(), Column::Strings(ids))];
    if !types.is_empty() {
        columns.push(("feature_types".to_string(), categories(types)));
    }
    Frame::in_memory(names, columns)
}

fn categories(texts: Vec<String>) -> Column {
    let mut names = texts.clone();
    names.sort_unstable();
    names.dedup();
    let place = |text: &String| names.binary_search(text).map_or(-1, |place| place as i32);
    let codes = texts.iter().map(place).collect();
    Column::Categories(Categories::new(codes, names))
}

/// Hands over the fields of each line, until the function finds that one is missing.
fn read(path: &Path, mut take: impl FnMut(&[&[u8]]) -> Option<()>) -> Result<()> {
    let mut lines = Lines::open(&Input::open(path)?)?;
    while let Some(line) = lines.next()? {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
        if take(&fields).is_none() {
            let found = shown(line);
            return Err(lines.bad("an id, a name and, in every line or in none, a type, with tabs between", &found));
        }
    }
    Ok(())
}

/// Names are labels: one with bytes that are no UTF-8 does not hide the matrix.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::{Sums, real};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).expect("write");
        }
        folder
    }

    const MATRIX: (&str, &str) = ("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2 1 1\n2 1 7\n");

    #[test]
    fn both_versions_of_real_folders_are_read() {
        // scanpy.read_10x_mtx(folder, gex_only=False): shape, nnz, var columns; sums as in `Sums`, by NumPy.
        let small = real("singlecell/tenx_v3_small_mex");
        for (path, shape, nnz, first) in [
            (small, (1107, 507), 23_866, "CH507-9B2.2"),
            (real("singlecell/pbmc3k_mex"), (2700, 13_714), 2_282_976, "AL627309.1"),
        ] {
            let Some(path) = path else { continue };
            let cells = open(&path).expect("a folder of Cell Ranger");
            assert_eq!((cells.x.shape(), cells.var_names().expect("names")[0].as_str()), (shape, first));
            assert_eq!(cells.obs.len(), shape.0);
            let source: Arc<dyn Source> =
                Arc::new(mtx::open_transposed(file(&path, &["matrix.mtx"]).expect("it is there")).expect("sound"));
            assert_eq!(source.nnz(), nnz);
            let (by_hundred, by_thousand) = (Sums::of(&source, 100), Sums::of(&source, 1000));
            assert_eq!(by_hundred.expect("sound"), by_thousand.expect("sound"));
        }
    }

    #[test]
    fn what_does_not_agree_is_refused_with_both_numbers() {
        let (genes, barcodes) = (("genes.tsv", "a\tA\nb\tB\n"), ("barcodes.tsv", "c\n"));
        assert!(open(folder(&[MATRIX, genes, barcodes]).path()).is_ok());
        for (files, expected) in [
            (vec![MATRIX, genes, ("barcodes.tsv", "c\nd\n")], "2 columns"),
            (vec![MATRIX, ("genes.tsv", "a\tA\n"), barcodes], "1 rows"),
            (vec![MATRIX, ("genes.tsv", "a\tA\nb\n"), barcodes], "line 2"),
            (vec![MATRIX, ("features.tsv", "a\tA\tx\nb\tB\n"), barcodes], "line 2"),
            (vec![MATRIX, barcodes], "features.tsv or genes.tsv"),
            (vec![genes, barcodes], "matrix.mtx"),
        ] {
            let folder = folder(&files);
            let error = open(folder.path()).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains(&*folder.path().to_string_lossy()), "{error}");
        }
    }
}
