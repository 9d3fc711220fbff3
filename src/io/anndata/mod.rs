//! AnnData's encodings, read once for every container that is a [`super::tree`].
//!
//! ```text
//! X              a matrix (matrix): an array (dense), a group of three vectors (compressed: csr, csc)
//! obs  var       names and columns (frame, column), as groups or, before 0.7, as tables
//! layers/..      more matrices of the shape of X (slots)      raw/X, raw/var    the matrix before genes were selected
//! obsm/.. varm/..  matrices and frames with the same rows     obsp/.. varp/..   cells × cells, genes × genes
//! uns/..         anything (uns)
//! ```
//! Read are the encodings of AnnData's on-disk specification (0.8 and later), and the layouts before it: 0.7 (groups,
//! `__categories`) and 0.5 and 0.6 (tables, `h5sparse_format`, `raw.X`, categories and graphs of neighbours in `uns`).
//! Where attributes are missing, the structure decides.
//!
//! Opening reads headers, for a sparse matrix its `indptr`, and `uns`. Blocks are read by any number of lanes at once, each
//! holding its block and what [`Source::scratch_bytes`] says; names and columns are read when they are
//! asked for.

mod column;
mod compressed;
mod csc;
mod csr;
mod dense;
mod field;
mod frame;
mod matrix;
mod parts;
mod refused;
mod slots;
mod uns;
pub(super) mod write;

use std::sync::Arc;

use super::Description;
use super::tree::{NodeKind, Tree};
use crate::array::{Array, Source};
use crate::cells::{AnnData, Frame, Raw, Value};
use crate::error::{Error, Result};
use matrix::Matrix;

pub(super) use compressed::Compressed;
pub(super) use csr::CsrSource;

/// Opens annotated data.
///
/// # Errors
/// `BadInput`, with the object and what was found, when a part is not what the format promises; `Unsupported` for what the
/// format allows and this version does not read, a file without X among it. What is wrong with a layer, or another part
/// beside X, obs, var and raw, is told when that part is read.
pub(super) fn open(tree: Arc<dyn Tree>) -> Result<AnnData> {
    let x = x(&tree)?.source;
    let (obs, var) = (frame::open(&tree, "obs")?, frame::open(&tree, "var")?);
    let data = AnnData::new(Array::from_source(x), obs, var).map_err(|error| match error {
        Error::ShapeMismatch { left, right, .. } => {
            tree.bad("X", &format!("shape {right:?}, the lengths of obs and var"), &format!("{left:?}"))
        }
        other => other,
    })?;
    let (n, p) = (data.n_obs(), data.n_vars());
    let mut data = AnnData {
        layers: slots::arrays(&tree, "layers", (n, p))?,
        obsm: slots::tables(&tree, "obsm", n)?,
        varm: slots::tables(&tree, "varm", p)?,
        obsp: slots::arrays(&tree, "obsp", (n, n))?,
        varp: slots::arrays(&tree, "varp", (p, p))?,
        // What a library caches of the values of uns goes with the handle that read them.
        uns: uns::open(&tree.reopen()?, "uns", &legacy_categories(&*tree, &[&data.obs, &data.var])?)?,
        raw: raw(&tree, n)?,
        ..data
    };
    move_graphs(&mut data);
    Ok(data)
}

/// Opens one matrix by its path, such as `X`, `layers/counts` or `raw/X`.
///
/// # Errors
/// As [`open`].
pub(super) fn open_matrix(tree: Arc<dyn Tree>, place: &str) -> Result<Array> {
    source(&tree, place.trim_matches('/')).map(Array::from_source)
}

/// Opens one matrix by its path, to be read by runs of rows.
///
/// # Errors
/// As [`open`].
pub(super) fn source(tree: &Arc<dyn Tree>, place: &str) -> Result<Arc<dyn Source>> {
    matrix::open(tree, place).map(|matrix| matrix.source)
}

/// Describes annotated data, reading only headers.
///
/// # Errors
/// As [`open`].
pub(super) fn describe(tree: Arc<dyn Tree>) -> Result<Description> {
    let x = x(&tree)?;
    let (obs, var) = (frame::open(&tree, "obs")?, frame::open(&tree, "var")?);
    let names = |slot: &str| slots::names(&*tree, slot);
    let hidden = legacy_categories(&*tree, &[&obs, &var])?;
    let shape = x.source.shape();
    if shape != (obs.len(), var.len()) {
        let expected = format!("shape {:?}, the lengths of obs and var", (obs.len(), var.len()));
        return Err(tree.bad("X", &expected, &format!("{shape:?}")));
    }
    Ok(Description {
        obs_columns: obs.columns().to_vec(),
        var_columns: var.columns().to_vec(),
        layers: names("layers")?,
        obsm: names("obsm")?,
        varm: names("varm")?,
        obsp: names("obsp")?,
        varp: names("varp")?,
        uns: names("uns")?.into_iter().filter(|name| !hidden.contains(name)).collect(),
        raw: raw(&tree, shape.0)?.map(|raw| raw.x.shape()),
        ..Description::new(tree.format(), &*x.source, x.chunks, tree.stored_bytes())
    })
}

/// Opens X, or says which layers there are without it.
fn x(tree: &Arc<dyn Tree>) -> Result<Matrix> {
    let is_there = match tree.find("X")? {
        None => false,
        Some(_) => parts::encoding(&**tree, "X")? != "null",
    };
    let layers = if is_there { Vec::new() } else { slots::names(&**tree, "layers")? };
    match layers.first() {
        None => matrix::open(tree, "X"),
        Some(first) => {
            let what = format!("annotated data without X, which has the layers {}", layers.join(", "));
            Err(tree.unsupported(&what, &format!("open one of them as a matrix: \"layers/{first}\"")))
        }
    }
}

/// Opens the matrix as it was before genes were selected, if there is one.
fn raw(tree: &Arc<dyn Tree>, rows: u64) -> Result<Option<Raw>> {
    let prefix = match tree.find("raw")? {
        Some(NodeKind::Group) => "raw/",
        Some(NodeKind::Array) => return Ok(None),
        None => "raw.",
    };
    let place = |name: &str| format!("{prefix}{name}");
    if tree.find(&place("X"))?.is_none() {
        return Ok(None);
    }
    let x = matrix::open(tree, &place("X"))?.source;
    let var = frame::open(tree, &place("var"))?;
    if x.shape() != (rows, var.len()) {
        let expected = format!("shape {:?}, the lengths of obs and raw var", (rows, var.len()));
        return Err(tree.bad(&place("X"), &expected, &format!("{:?}", x.shape())));
    }
    let varm = slots::tables(tree, &place("varm"), var.len())?;
    Ok(Some(Raw { x: Array::from_source(x), var, varm }))
}

/// Returns the members of uns that are names of categories of tables, before AnnData 0.7.
fn legacy_categories(tree: &dyn Tree, frames: &[&Frame]) -> Result<Vec<String>> {
    if tree.find("obs")? != Some(NodeKind::Array) && tree.find("var")? != Some(NodeKind::Array) {
        return Ok(Vec::new());
    }
    Ok(frames.iter().flat_map(|frame| frame.columns()).map(|name| format!("{name}_categories")).collect())
}

/// Moves the graphs of neighbours to where they are since AnnData 0.7.
fn move_graphs(data: &mut AnnData) {
    let cells = (data.n_obs(), data.n_obs());
    let Some(Value::Group(neighbors)) = data.uns.get_mut("neighbors") else { return };
    for name in ["connectivities", "distances"] {
        if matches!(neighbors.get(name), Some(Value::Matrix(graph)) if graph.shape() == cells)
            && let Some(Value::Matrix(graph)) = neighbors.remove(name)
        {
            data.obsp.entry(name.into()).or_insert(graph);
        }
    }
}
