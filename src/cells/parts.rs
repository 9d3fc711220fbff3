//! Parts of annotated data by their names, refused with the names that there are; and what tasks here share.

use super::{AnnData, Column, Frame};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::runtime::{Blocks, Cluster};

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "left out: there is none".into() } else { format!("one of {}", names.join(", ")) }
}

impl AnnData {
    /// Returns `x`, or a layer.
    pub(super) fn matrix(&self, operation: &'static str, layer: Option<&str>) -> Result<&Array> {
        let Some(name) = layer else { return Ok(&self.x) };
        let missing = || Error::bad_argument(operation, "layer", format!("{name:?}"), list(self.layers.keys()));
        self.layers.get(name).ok_or_else(missing)
    }

    /// Returns a matrix of `obsm`.
    pub(super) fn embedding(&self, operation: &'static str, name: &str) -> Result<&Array> {
        let found = self.obsm.get(name).and_then(|table| table.array());
        let arrays = self.obsm.iter().filter(|(_, table)| table.array().is_some()).map(|(name, _)| name);
        found.ok_or_else(|| Error::bad_argument(operation, "use_rep", format!("{name:?}"), list(arrays)))
    }
}

impl Frame {
    /// Reads a column of truth values, none of which is missing.
    pub(super) fn mask(&self, operation: &'static str, name: &str) -> Result<Vec<bool>> {
        if !self.columns().iter().any(|column| column == name) {
            return Err(Error::bad_argument(operation, "column", format!("{name:?}"), list(self.columns().iter())));
        }
        let column = self.column(name)?;
        let n_missing = column.n_missing();
        match column {
            Column::Bools(values) if n_missing == 0 => Ok(values.into_iter().flatten().collect()),
            Column::Bools(_) => {
                let found = format!("{name:?}, of which {n_missing} are missing");
                Err(Error::bad_argument(operation, "column", found, "truth values, none missing"))
            }
            _ => Err(Error::bad_argument(operation, "column", format!("{name:?}"), "a column of truth values")),
        }
    }
}

/// Returns the array in blocks of whole rows; rows that were cut for a grid with block columns are cut anew.
pub(super) fn whole_rows(x: &Array) -> Array {
    let is_2d = x.col_cuts().is_some_and(|cuts| cuts.n_runs() > 1);
    if is_2d { x.clone().with_auto_blocks().whole_rows() } else { x.clone().whole_rows() }
}

/// Runs something that needs memory on a lane, so that a worker's budget answers for it and not the caller.
pub(super) fn on_lane<T: Send + 'static>(
    cluster: &Cluster,
    name: &str,
    bytes: u64,
    work: impl Fn() -> Result<T> + Send + Sync + 'static,
) -> Result<T> {
    let once = Blocks { n: 1, projected_bytes: bytes, ..Blocks::named(name) };
    let mut results = cluster.map_blocks(&once, move |_, _| work())?;
    Ok(results.pop().expect("one block gives one result"))
}
