//! Cell Ranger's HDF5 files of feature × barcode counts.
//!
//! ```text
//! version 3 and later   matrix/{barcodes, data, indices, indptr, shape}   matrix/features/{id, name, feature_type, genome, ..}
//! version 2             GENOME/{barcodes, data, indices, indptr, shape, genes, gene_names}, a group for each genome
//! ```
//! The counts are compressed by columns, the barcodes: read as rows they are cells × genes in CSR, without a copy. As
//! `scanpy.read_10x_h5(gex_only=False)` does, cells are named by their barcodes and genes by their names, which need not
//! differ; var has `gene_ids`, `feature_types` and `genome`, and what else is known of each feature under its own name.

use std::sync::Arc;

use super::super::Description;
use super::super::anndata::{Compressed, CsrSource};
use super::super::tree::{Elements, NodeKind, Tree};
use crate::array::{Array, Source};
use crate::cells::{AnnData, Column, Frame, FrameReader};
use crate::error::Result;

/// Returns the groups that hold counts; none where this is another kind of file.
pub(in crate::io) fn groups(tree: &dyn Tree) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, kind) in tree.members("")? {
        if kind == NodeKind::Group && is_counts(tree, &name)? {
            found.push(name);
        }
    }
    Ok(found)
}

fn is_counts(tree: &dyn Tree, group: &str) -> Result<bool> {
    let members = tree.members(group)?;
    let has = |wanted: &str| members.iter().any(|(name, _)| name == wanted);
    Ok(["barcodes", "indptr", "shape"].into_iter().all(has) && (has("features") || has("genes")))
}

/// Opens the counts of the only group there is.
pub(in crate::io) fn open(tree: &Arc<dyn Tree>, groups: &[String]) -> Result<AnnData> {
    let group = only(&**tree, groups)?;
    let x = source(tree, group)?;
    AnnData::new(Array::from_source(Arc::new(x)), barcodes(tree, group)?, features(tree, group)?)
}

/// Opens the counts of a group as a matrix of cells × genes.
pub(in crate::io) fn open_matrix(tree: &Arc<dyn Tree>, group: &str) -> Result<Array> {
    Ok(Array::from_source(Arc::new(source(tree, group)?)))
}

/// Describes the counts, reading only headers.
pub(in crate::io) fn describe(tree: &Arc<dyn Tree>, groups: &[String]) -> Result<Description> {
    let group = only(&**tree, groups)?;
    let x = source(tree, group)?;
    let chunks = tree.array(&format!("{group}/data"))?.chunks();
    let var_columns = features(tree, group)?.columns().to_vec();
    Ok(Description { var_columns, ..Description::new("10x h5", &x as &dyn Source, chunks, tree.stored_bytes()) })
}

fn only<'a>(tree: &dyn Tree, groups: &'a [String]) -> Result<&'a str> {
    match groups {
        [group] => Ok(group),
        _ => {
            let what = format!("counts of several genomes ({})", groups.join(", "));
            Err(tree.unsupported(&what, "open one of them as a matrix, by its name"))
        }
    }
}

/// Opens the counts of a group, to be read by runs of rows.
pub(in crate::io) fn source(tree: &Arc<dyn Tree>, group: &str) -> Result<CsrSource> {
    let place = format!("{group}/shape");
    let shape = tree.array(&place)?;
    let lengths = match *shape.shape() {
        [2] if matches!(shape.elements(), Elements::Numbers(_)) => shape.read(0..2)?.to_vec::<i64>(),
        _ => Vec::new(),
    };
    match lengths[..] {
        [features, barcodes] if features >= 0 && barcodes >= 0 => {
            Compressed::open(tree, group, barcodes as u64, features as u64).map(CsrSource)
        }
        _ => Err(tree.bad(&place, "two lengths that are not negative", &format!("{lengths:?}"))),
    }
}

fn barcodes(tree: &Arc<dyn Tree>, group: &str) -> Result<Frame> {
    frame(tree, format!("{group}/barcodes"), Vec::new())
}

fn features(tree: &Arc<dyn Tree>, group: &str) -> Result<Frame> {
    let place = |name: &str| format!("{group}/{name}");
    if tree.find(&place("features"))? != Some(NodeKind::Group) {
        return frame(tree, place("gene_names"), vec![("gene_ids".into(), place("genes"))]);
    }
    let mut columns = Vec::new();
    for (stored, name) in [("id", "gene_ids"), ("feature_type", "feature_types"), ("genome", "genome")] {
        let place = place(&format!("features/{stored}"));
        if tree.find(&place)?.is_some() {
            columns.push((name.to_string(), place));
        }
    }
    let names = place("features/name");
    let len = tree.array(&names)?.shape().to_vec();
    for (name, kind) in tree.members(&place("features"))? {
        let place = place(&format!("features/{name}"));
        let is_known = name == "name" || columns.iter().any(|(_, known)| *known == place);
        if kind == NodeKind::Array && !is_known && !name.starts_with('_') && tree.array(&place)?.shape() == len {
            columns.push((name, place));
        }
    }
    frame(tree, names, columns)
}

/// A frame of vectors that lie anywhere in the file.
#[derive(Debug)]
struct Vectors {
    tree: Arc<dyn Tree>,
    names: String,
    columns: Vec<(String, String)>,
    len: u64,
}

fn frame(tree: &Arc<dyn Tree>, names: String, columns: Vec<(String, String)>) -> Result<Frame> {
    let array = tree.array(&names)?;
    let len = match *array.shape() {
        [len] if len <= tree.most_bytes() => len,
        _ => return Err(tree.bad(&names, "a vector", &format!("shape {:?}", array.shape()))),
    };
    let known = columns.iter().map(|(name, _)| name.clone()).collect();
    Ok(Frame::new(len, known, Arc::new(Vectors { tree: Arc::clone(tree), names, columns, len })))
}

impl Vectors {
    fn read(&self, place: &str) -> Result<Column> {
        let tree = self.tree.reopen()?;
        let array = tree.array(place)?;
        if array.shape() != [self.len] {
            return Err(tree.bad(place, &format!("{} values", self.len), &format!("shape {:?}", array.shape())));
        }
        let column = match array.elements() {
            Elements::Texts => Column::Strings(array.read_texts(0..self.len)?),
            _ => Column::Numbers(array.read(0..self.len)?.into()),
        };
        tree.check_unchanged()?;
        Ok(column)
    }
}

impl FrameReader for Vectors {
    fn row_names(&self) -> Result<Vec<String>> {
        let names = self.read(&self.names)?;
        Ok((0..names.len()).map(|row| names.text(row).unwrap_or_default()).collect())
    }

    fn column(&self, name: &str) -> Result<Column> {
        let mut found = self.columns.iter().filter(|(known, _)| known == name);
        let (_, place) = found.next().expect("a frame asks only for columns that it was built with");
        self.read(place)
    }
}
