//! A matrix, whatever its encoding: dense, `csr_matrix`, `csc_matrix`, or a field of records.
//!
//! | encoding-type | without one, since AnnData 0.7 or before |
//! | --- | --- |
//! | `array` | an array |
//! | `csr_matrix`, `csc_matrix` with the attribute `shape` | `h5sparse_format` (csr, csc) and `h5sparse_shape` |
//! | | a group of the three vectors with a shape: by the length of `indptr` |
//! | | a field of a table in `obsm` or `varm` |

use std::sync::Arc;

use super::super::tree::{Attribute, Attributes, Elements, NodeKind, Tree};
use super::compressed::Compressed;
use super::csc::CscSource;
use super::csr::CsrSource;
use super::dense::DenseSource;
use super::field::FieldSource;
use super::parts;
use crate::array::Source;
use crate::error::Result;

/// A matrix of a container.
pub(super) struct Matrix {
    pub(super) source: Arc<dyn Source>,
    /// How its values are chunked in storage.
    pub(super) chunks: Option<Vec<u64>>,
}

/// Opens the matrix at a place.
pub(super) fn open(tree: &Arc<dyn Tree>, place: &str) -> Result<Matrix> {
    match tree.find(place)? {
        Some(NodeKind::Array) => {
            let array = tree.array(place)?;
            let chunks = array.chunks();
            Ok(Matrix { source: Arc::new(DenseSource::open(tree, array)?), chunks })
        }
        Some(NodeKind::Group) => sparse(tree, place),
        None => field(tree, place),
    }
}

fn field(tree: &Arc<dyn Tree>, place: &str) -> Result<Matrix> {
    if let Some((table, name)) = place.rsplit_once('/')
        && tree.find(table)? == Some(NodeKind::Array)
    {
        let array = tree.array(table)?;
        if matches!(array.elements(), Elements::Records(fields) if fields.iter().any(|field| field == name)) {
            let chunks = array.chunks();
            return Ok(Matrix { source: Arc::new(FieldSource::open(tree, array, name)?), chunks });
        }
    }
    Err(tree.bad(place, "a matrix", "nothing of that name"))
}

fn sparse(tree: &Arc<dyn Tree>, place: &str) -> Result<Matrix> {
    let attributes = tree.attributes(place)?;
    let text = |name: &str| attributes.get(name).and_then(Attribute::text);
    let (major, minor, by_rows);
    match text("encoding-type").or(text("h5sparse_format")).unwrap_or_default() {
        "csr_matrix" | "csr" => {
            (major, minor) = shape(&**tree, &attributes, place)?;
            by_rows = true;
        }
        "csc_matrix" | "csc" => {
            (minor, major) = shape(&**tree, &attributes, place)?;
            by_rows = false;
        }
        "" if tree.find(&format!("{place}/indptr"))? == Some(NodeKind::Array) => {
            let (rows, cols) = shape(&**tree, &attributes, place)?;
            let lines = tree.array(&format!("{place}/indptr"))?.shape().first().map(|len| len.saturating_sub(1));
            by_rows = rows == cols || lines != Some(cols);
            (major, minor) = if by_rows { (rows, cols) } else { (cols, rows) };
        }
        other => return Err(tree.bad(place, "a dense matrix or a csr_matrix", &format!("encoding-type {other:?}"))),
    }
    let matrix = Compressed::open(tree, place, major, minor)?;
    let chunks = matrix.chunk().map(|values| vec![values]);
    if by_rows {
        return Ok(Matrix { source: Arc::new(CsrSource(matrix)), chunks });
    }
    if major > u64::from(u32::MAX) {
        return Err(tree.unsupported(&format!("{place}: {major} columns"), "split it by columns"));
    }
    Ok(Matrix { source: Arc::new(CscSource::new(matrix)), chunks })
}

/// Returns the shape of a sparse matrix, which only an attribute states.
fn shape(tree: &dyn Tree, attributes: &Attributes, place: &str) -> Result<(u64, u64)> {
    let name = if attributes.contains_key("shape") { "shape" } else { "h5sparse_shape" };
    let shape = attributes.get(name).and_then(Attribute::integers).unwrap_or_default();
    match *shape {
        [rows, cols] if rows >= 0 && cols >= 0 => Ok((rows as u64, cols as u64)),
        _ => {
            let found = format!("{:?}", &shape[..shape.len().min(16)]);
            Err(tree.bad(&parts::attribute_place(name, place), "two lengths that are not negative", &found))
        }
    }
}
