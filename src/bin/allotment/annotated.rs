//! Annotated data that commands take and give: opened from any file, written as `.h5ad` or `.zarr`.
//!
//! Whether the result can be written is asked before the work: a name that ends in neither, that is taken, that is the
//! input's own or whose folder is missing is refused at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotment::Error;
use allotment::array::Array;
use allotment::cells::{AnnData, Column, Frame, FrameReader};
use allotment::io::{self, Opened, WriteOptions};

use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::staging::check_place;
use crate::target::{Hidden, fitting};

/// Opens a file of any format; rows and columns of a plain matrix are named by their numbers.
pub(crate) fn open(path: &Path) -> Outcome<AnnData> {
    match io::open(path)? {
        Opened::AnnData(data) => Ok(data),
        opened => named_by_numbers(opened.x().clone()),
    }
}

/// Names rows and columns by their numbers, from 0.
pub(crate) fn named_by_numbers(x: Array) -> Outcome<AnnData> {
    let numbered = |n: u64| Frame::new(n, Vec::new(), Arc::new(Numbered(n)));
    let (obs, var) = (numbered(x.rows()), numbered(x.cols()));
    Ok(AnnData::new(x, obs, var)?)
}

/// The names of so many rows, which take no memory before they are asked for.
#[derive(Debug)]
struct Numbered(u64);

impl FrameReader for Numbered {
    fn row_names(&self) -> Result<Vec<String>, Error> {
        Ok((0..self.0).map(|i| i.to_string()).collect())
    }

    fn column(&self, name: &str) -> Result<Column, Error> {
        Err(Error::bad_argument("read a column", "name", name, "nothing: rows that are numbers have no columns"))
    }
}

/// Says whether a name is one of annotated data.
pub(crate) fn is_annotated(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "h5ad" || ending == "zarr")
}

/// Accepts the names that annotated data can be written under.
pub(crate) fn annotated_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if is_annotated(&path) { Ok(path) } else { Err("expected a name that ends in .h5ad or .zarr".into()) }
}

/// Refuses a name that the result cannot have.
pub(crate) fn check_target(out: &Path, overwrite: bool, input: &Path) -> Outcome<()> {
    let refuse = |expected: &str, found: &str| Err(Error::bad_input(out, "the output", expected, found).into());
    if let (Ok(out), Ok(input)) = (out.canonicalize(), input.canonicalize())
        && out == input
    {
        return refuse("another file than the input", "the input itself");
    }
    if !out.exists() {
        return check_place(out);
    }
    let is_store = out.extension().is_some_and(|ending| ending == "zarr");
    match (overwrite, out.is_dir()) {
        (false, _) => refuse("a new name, or --overwrite", "a file of that name"),
        (true, true) if !is_store => refuse("the name of a file", "a directory"),
        _ => Ok(()),
    }
}

/// Refuses a column that a frame does not have, naming those that there are.
pub(crate) fn check_column(flag: &str, name: &str, frame: &Frame) -> Outcome<()> {
    let columns = frame.columns();
    if columns.iter().any(|column| column == name) {
        return Ok(());
    }
    let known = if columns.is_empty() { "none".into() } else { columns.join(", ") };
    Err(Failure::Usage(format!("{flag} {name}: the columns are: {known}")))
}

/// Writes annotated data; the name appears when all of it is there. Returns the path.
pub(crate) fn write(session: &Session, data: &AnnData, out: &Path, overwrite: bool) -> Outcome<String> {
    let (mut kept, mut dropped) = (data.clone(), Vec::new());
    kept.uns = fitting(&data.uns, "uns", &mut dropped);
    for place in dropped {
        session.reporter.note(&format!("{place} is of a kind that cannot be written, and is left out"));
    }
    let hidden = Hidden::register(out, &session.interrupt);
    let progress = session.progress("write");
    let options = WriteOptions { overwrite, progress, ..WriteOptions::default() };
    let written = io::write(&session.cluster, &kept, out, &options);
    if written.is_err() {
        hidden.take_back(session);
    }
    written.map_err(|error| match error {
        // It names the file that could not be written.
        Error::Io { .. } => error.into(),
        other => session.fail(other),
    })?;
    session.interrupt.check()?;
    Ok(out.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_go_under_new_names_that_end_as_annotated_data_do() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| home.path().join(name);
        std::fs::write(at("in.h5ad"), "").expect("it can be written");
        std::fs::write(at("taken.h5ad"), "").expect("it can be written");
        assert!(check_target(&at("new.h5ad"), false, &at("in.h5ad")).is_ok());
        assert!(check_target(&at("no/such.zarr"), false, &at("in.h5ad")).is_err());
        assert!(check_target(&at("in.h5ad"), true, &at("in.h5ad")).is_err());
        let taken = check_target(&at("taken.h5ad"), false, &at("in.h5ad")).expect_err("taken").to_string();
        assert!(taken.contains("--overwrite"), "{taken}");
        assert!(check_target(&at("taken.h5ad"), true, &at("in.h5ad")).is_ok());
        assert!(annotated_path("a.zarr").is_ok() && annotated_path("a.csv").is_err());
    }
}
