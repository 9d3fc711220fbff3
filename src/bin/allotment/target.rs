//! Where a command's matrix goes: annotated data as `.h5ad` or `.zarr`, a matrix alone as `.npy` or a Zarr array.
//!
//! ```text
//! Target::check   before the work: the ending, the folder, what has the name, whether it is the input
//! Target::write   after it: the library writes a hidden file beside the target and renames it when it is whole
//! ```
//! The library takes its hidden file back when a step fails; the interrupt knows its name for the case that nobody waits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use allotment::Error;
use allotment::array::BlockKind;
use allotment::cells::{AnnData, Value};
use allotment::io::{self, Compression, WriteOptions, npy, zarr};
use clap::{Args, ValueEnum};

use crate::annotated::named_by_numbers;
use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::interrupt::{GRACE, Interrupt, remove};
use crate::session::Session;

type Values = BTreeMap<String, Value>;

/// How an output is written, on the command line.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct WriteArgs {
    /// none, gzip[=0-9], zstd[=1-22] or blosc; .h5ad knows none and gzip [default: gzip=4, in .zarr zstd=3]
    #[arg(long, value_name = "CODEC[=LEVEL]", value_parser = compression)]
    pub(crate) compression: Option<Compression>,
    /// Leave out what is not understood of uns, rather than refuse it
    #[arg(long)]
    pub(crate) skip_unknown: bool,
    /// Replace an output that is already there
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// What an ending stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ending {
    H5ad,
    Zarr,
    Npy,
}

/// A checked output.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    ending: Ending,
    args: WriteArgs,
    /// The rows to a chunk of a dense matrix.
    pub(crate) chunk_rows: Option<u64>,
    /// Whether the matrix becomes dense or CSR.
    pub(crate) kind: Option<BlockKind>,
}

impl Ending {
    /// Returns the ending of a path, where it is one that is written.
    pub(crate) fn of(path: &Path) -> Option<Ending> {
        match path.extension()?.to_str()? {
            "h5ad" => Some(Ending::H5ad),
            "zarr" => Some(Ending::Zarr),
            "npy" => Some(Ending::Npy),
            _ => None,
        }
    }
}

impl Target {
    /// Refuses what could not be written, before hours are spent on what should go there.
    pub(crate) fn check(path: &Path, input: &Path, args: &WriteArgs) -> Outcome<Self> {
        let shown = path.display();
        let refuse = |why: String| Err(Failure::Usage(format!("{shown}: {why}")));
        let Some(ending) = Ending::of(path) else {
            let parquet = path.extension().is_some_and(|ending| ending == "parquet");
            let why = if parquet { "parquet is not written" } else { "the ending names no format that is written" };
            return refuse(format!("{why}; use a name that ends in .h5ad, .zarr or .npy"));
        };
        if ending == Ending::H5ad && matches!(args.compression, Some(Compression::Zstd(_) | Compression::BloscLz4)) {
            return refuse("readers of .h5ad know gzip alone; use --compression gzip or none, or write .zarr".into());
        }
        if ending == Ending::Npy && (args.compression.is_some() || args.skip_unknown) {
            return refuse(
                ".npy files are not compressed and hold no uns; leave --compression and --skip-unknown".into(),
            );
        }
        if is_same(path, input) {
            return refuse("the output is the input; give it another name".into());
        }
        check_name(path, ending, args.overwrite)?;
        Ok(Target { path: path.into(), ending, args: args.clone(), chunk_rows: None, kind: None })
    }

    /// Writes the input; what has no names gets numbers. Returns what was written, for the report.
    pub(crate) fn write(&self, input: &Input, session: &Session) -> Outcome<&'static str> {
        let label = "write";
        let hidden = Hidden::register(&self.path, &session.interrupt);
        let cluster = &session.cluster;
        let is_dense = self.kind.unwrap_or(input.x.kind()) == BlockKind::Dense;
        let written = match (&input.anndata, self.ending) {
            (_, Ending::Npy) => {
                npy::save_array(cluster, &input.x, &self.path, session.progress(label)).map(|()| "a matrix")
            }
            (None, Ending::Zarr) if is_dense => {
                let mut options = zarr::SaveOptions { chunk_rows: self.chunk_rows, ..Default::default() };
                options.compression = self.args.compression.unwrap_or(options.compression);
                options.progress = session.progress(label);
                zarr::save_array(cluster, &input.x, &self.path, &options).map(|()| "a matrix")
            }
            (None, _) => self.write_annotated(&annotated(input)?, session).map(|()| "annotated data, named by numbers"),
            (Some(_), _) => self.write_annotated(&annotated(input)?, session).map(|()| "annotated data"),
        };
        if written.is_err() {
            hidden.take_back(session);
        }
        written.map_err(|error| match error {
            // It names the file that could not be written.
            Error::Io { .. } => error.into(),
            other => session.fail(other),
        })
    }

    /// Refuses what the format has no room for, before the work; or leaves it out, as asked, and says so.
    pub(crate) fn fitting(&self, input: &mut Input, session: &Session) -> Outcome<()> {
        let Some(data) = input.anndata.as_mut().filter(|_| self.ending != Ending::Npy) else { return Ok(()) };
        let mut places = Vec::new();
        data.uns = fitting(&data.uns, "uns", &mut places);
        let Some(first) = places.first() else { return Ok(()) };
        if !self.args.skip_unknown {
            let others = if places.len() > 1 { format!(" and {} more", places.len() - 1) } else { String::new() };
            let what = format!("{first}{others} cannot be written; use --skip-unknown to leave it out");
            return Err(session.refuse(&format!("{}: {what}", self.path.display())));
        }
        session.reporter.note(&format!("left out of {}: {}", self.path.display(), places.join(", ")));
        Ok(())
    }

    fn write_annotated(&self, data: &AnnData, session: &Session) -> Result<(), Error> {
        let mut options = WriteOptions { chunk_rows: self.chunk_rows, kind: self.kind, ..Default::default() };
        let usual = if self.ending == Ending::Zarr { Compression::Zstd(3) } else { options.compression };
        options.compression = self.args.compression.unwrap_or(usual);
        options.overwrite = self.args.overwrite;
        options.progress = session.progress("write");
        io::write(&session.cluster, data, &self.path, &options)
    }

    /// Says whether a matrix is all that the format holds.
    pub(crate) fn is_npy(&self) -> bool {
        self.ending == Ending::Npy
    }
}

/// Returns the values that can be written; the places of the others are added to `left_out`.
pub(crate) fn fitting(values: &Values, group: &str, left_out: &mut Vec<String>) -> Values {
    let mut kept = Values::new();
    for (name, value) in values {
        let place = format!("{group}/{name}");
        let value = match value {
            Value::Group(members) => Value::Group(fitting(members, &place, left_out)),
            Value::Unknown(_) => {
                left_out.push(place);
                continue;
            }
            other => other.clone(),
        };
        kept.insert(name.clone(), value);
    }
    kept
}

/// Returns the annotated data of an input, with its matrix; rows and columns of a plain one are named by their numbers.
pub(crate) fn annotated(input: &Input) -> Outcome<AnnData> {
    let x = input.x.clone();
    match &input.anndata {
        Some(data) => Ok(AnnData { x, ..data.clone() }),
        None => named_by_numbers(x),
    }
}

/// Refuses a name that is taken, or that no file can have there.
fn check_name(path: &Path, ending: Ending, overwrite: bool) -> Outcome<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !std::fs::metadata(parent).map_err(|e| Error::io("write into", parent, e))?.is_dir() {
        return Err(Error::io("write into", parent, std::io::ErrorKind::NotADirectory.into()).into());
    }
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let refuse = |expected: &str, found: &str| Err(Error::bad_input(path, "the output", expected, found).into());
    match (ending, found.is_dir()) {
        _ if !overwrite => refuse("a name that is not taken, or --overwrite", "something of that name"),
        (Ending::Zarr, false) => refuse("a Zarr store to overwrite", "a file"),
        (Ending::H5ad | Ending::Npy, true) => refuse("a file to overwrite", "a directory"),
        _ => Ok(()),
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The hidden names under which the library writes, registered for a Ctrl-C that nobody waits for.
pub(crate) struct Hidden<'a> {
    names: Vec<PathBuf>,
    interrupt: &'a Interrupt,
}

impl<'a> Hidden<'a> {
    pub(crate) fn register(path: &Path, interrupt: &'a Interrupt) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A matrix whose headers lied is begun a second time: more attempts are not made.
        let hidden = |n: u32| path.with_file_name(format!(".{name}.part-{}-{n}", std::process::id()));
        let names: Vec<PathBuf> = (0..4).map(hidden).collect();
        names.iter().for_each(|name| interrupt.will_write(name));
        Hidden { names, interrupt }
    }
}

impl Hidden<'_> {
    /// Removes what was begun, once no lane writes to it any more: after Ctrl-C the program would end before they do.
    pub(crate) fn take_back(&self, session: &Session) {
        // Lanes that are stuck are not waited for, and leave what they leave.
        let _ = session.cluster.shutdown(GRACE);
        self.names.iter().for_each(|name| remove(name));
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| self.interrupt.has_written(name));
    }
}

fn compression(text: &str) -> Result<Compression, String> {
    let (name, level) = text.split_once('=').map_or((text, None), |(name, level)| (name, Some(level)));
    let level_of = |default: u8, range: std::ops::RangeInclusive<u8>| match level {
        None => Some(default),
        Some(level) => level.parse().ok().filter(|level| range.contains(level)),
    };
    let found = match name {
        "none" if level.is_none() => Some(Compression::None),
        "blosc" if level.is_none() => Some(Compression::BloscLz4),
        "gzip" => level_of(4, 0..=9).map(Compression::Gzip),
        "zstd" => level_of(3, 1..=22).map(|level| Compression::Zstd(level.into())),
        _ => None,
    };
    found.ok_or_else(|| "expected none, gzip, gzip=0 to gzip=9, zstd, zstd=1 to zstd=22, or blosc".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compression_is_a_name_and_perhaps_a_level() {
        assert_eq!(compression("none"), Ok(Compression::None));
        assert_eq!(compression("gzip"), Ok(Compression::Gzip(4)));
        assert_eq!(compression("gzip=9"), Ok(Compression::Gzip(9)));
        assert_eq!(compression("zstd=22"), Ok(Compression::Zstd(22)));
        assert_eq!(compression("blosc"), Ok(Compression::BloscLz4));
        for wrong in ["", "lzf", "gzip=10", "gzip=", "zstd=0", "zstd=23", "none=1", "blosc=5", "gzip=x"] {
            assert!(compression(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_cannot_be_written_are_refused_before_the_work() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (input, taken, folder) = (home.path().join("in.npy"), home.path().join("taken.h5ad"), home.path());
        [&input, &taken].into_iter().for_each(|path| std::fs::write(path, "").expect("it can be written"));
        let refusal = |path: PathBuf, args: &WriteArgs| match Target::check(&path, &input, args) {
            Ok(_) => String::new(),
            Err(failure) => failure.to_string(),
        };
        let (plain, over) = (WriteArgs::default(), WriteArgs { overwrite: true, ..Default::default() });
        assert!(refusal(folder.join("x.csv"), &plain).contains(".zarr or .npy"));
        assert!(refusal(folder.join("x.parquet"), &plain).contains("parquet is not written"));
        assert!(refusal(taken.clone(), &plain).contains("--overwrite"));
        assert!(refusal(input.clone(), &over).contains("is the input"));
        assert!(refusal(folder.join("no/such.zarr"), &over).contains("no"));
        assert_eq!(refusal(taken, &over), "");
        let zstd = WriteArgs { compression: Some(Compression::Zstd(3)), ..Default::default() };
        assert!(refusal(folder.join("x.h5ad"), &zstd).contains("gzip"));
        assert_eq!(refusal(folder.join("x.zarr"), &zstd), "");
        assert!(refusal(folder.join("x.npy"), &zstd).contains("not compressed"));
    }

    #[test]
    fn what_is_not_understood_is_left_out_and_named() {
        let ranks = Value::group([("odd", Value::Unknown("odd".into())), ("method", "t-test".into())]);
        let mut left_out = Vec::new();
        let kept = fitting(&Values::from([("ranks".to_string(), ranks)]), "uns", &mut left_out);
        assert_eq!(left_out, ["uns/ranks/odd"]);
        assert_eq!(kept["ranks"].get("method").and_then(Value::text), Some("t-test"));
        assert!(kept["ranks"].get("odd").is_none());
    }
}
