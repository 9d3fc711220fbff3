//! Annotated data that commands take and give: opened from any file, written as `.h5ad` or `.zarr`.
//!
//! Whether the result can be written is asked before the work: a name that ends in neither, that is taken, that is the
//! input's own or whose folder is missing is refused at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotment::Error;
use allotment::array::Array;
use allotment::cells::{AnnData, Column, Frame, FrameReader, Value};
use allotment::io::{self, Opened, WriteOptions};

use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::staging::check_place;

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
    kept.uns = without_refused(&data.uns, out.extension().is_some_and(|ending| ending == "zarr"), "uns", &mut dropped);
    for place in dropped {
        session.reporter.note(&format!("{place} is of a kind that cannot be written here, and is left out"));
    }
    // A second Ctrl-C ends the program at once, so these names must be known by then. Writing may begin twice.
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let hidden = |n: u32| out.with_file_name(format!(".{name}.part-{}-{n}", std::process::id()));
    (0..2).for_each(|n| session.interrupt.will_write(&hidden(n)));
    let progress = session.progress("write");
    let options = WriteOptions { overwrite, progress, ..WriteOptions::default() };
    let written = io::write(&session.cluster, &kept, out, &options);
    (0..2).for_each(|n| session.interrupt.has_written(&hidden(n)));
    written.map_err(|error| match error {
        // It names the file that could not be written.
        Error::Io { .. } => error.into(),
        other => session.fail(other),
    })?;
    session.interrupt.check()?;
    Ok(out.display().to_string())
}

/// Leaves out what a format refuses, so that hours of work are not lost to a parameter of an earlier analysis, and names it.
fn without_refused(
    group: &BTreeMap<String, Value>,
    is_zarr: bool,
    path: &str,
    dropped: &mut Vec<String>,
) -> BTreeMap<String, Value> {
    let mut kept = BTreeMap::new();
    for (name, value) in group {
        let place = format!("{path}/{name}");
        match value {
            Value::Unknown(_) => dropped.push(place),
            Value::Records(_) if is_zarr => dropped.push(place),
            Value::Group(inner) => {
                let inner = without_refused(inner, is_zarr, &place, dropped);
                kept.insert(name.clone(), Value::Group(inner));
            }
            other => drop(kept.insert(name.clone(), other.clone())),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_format_refuses_is_left_out_and_named() {
        let records = || Value::Records(Vec::new());
        let ranks = Value::group([("names", records()), ("method", "t-test".into())]);
        let uns = BTreeMap::from([("ranks".to_string(), ranks), ("odd".to_string(), Value::Unknown("odd".into()))]);
        for (is_zarr, expected) in [(true, &["uns/odd", "uns/ranks/names"][..]), (false, &["uns/odd"])] {
            let mut dropped = Vec::new();
            let kept = without_refused(&uns, is_zarr, "uns", &mut dropped);
            assert_eq!(dropped, expected);
            assert_eq!(kept["ranks"].get("method").and_then(Value::text), Some("t-test"));
            assert_eq!(kept["ranks"].get("names").is_some(), !is_zarr);
        }
    }

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
