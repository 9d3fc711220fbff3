//! Where clusters × genes go: annotated data with a layer for each statistic, or a directory with a `.npy` file for each.
//!
//! The directory also has the clusters' and the genes' names, one a line, and the clusters' sizes.

use std::path::{Path, PathBuf};

use allotment::Error;
use allotment::cells::{AnnData, Column};
use allotment::io::npy;

use crate::failure::{Failure, Outcome};
use crate::input::Input;
use crate::session::Session;
use crate::staging::{Staging, check_place};
use crate::svd::save_array;
use crate::target::{Target, WriteArgs};

/// Where a statistic's layer goes in a directory.
const FILES: [(&str, &str); 9] = [
    ("sum", "sum.npy"),
    ("mean", "mean.npy"),
    ("var", "var.npy"),
    ("count_nonzero", "count_nonzero.npy"),
    ("present", "present.npy"),
    ("sqr_mean", "sqr_mean.npy"),
    ("min", "min.npy"),
    ("max", "max.npy"),
    ("median", "median.npy"),
];

/// A checked place.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Annotated(Target),
    Directory(PathBuf),
}

impl Place {
    /// Refuses what could not be written: the ending decides, and what has none is a directory.
    pub(crate) fn check(out: &Path, input: &Path, args: &WriteArgs) -> Outcome<Self> {
        if out.extension().is_some() && !out.is_dir() || out.extension().is_some_and(|ending| ending == "zarr") {
            let target = Target::check(out, input, args)?;
            let what = "a .npy file holds one matrix; name a directory, or .h5ad or .zarr";
            return match target.is_npy() {
                true => Err(Failure::Usage(format!("{}: {what}", out.display()))),
                false => Ok(Place::Annotated(target)),
            };
        }
        if args.compression.is_some() {
            let what = "the .npy files of a directory are not compressed; leave --compression";
            return Err(Failure::Usage(format!("{}: {what}", out.display())));
        }
        if !out.is_dir() {
            check_place(out)?;
            if out.exists() {
                return Err(Error::io("write", out, std::io::ErrorKind::NotADirectory.into()).into());
            }
        }
        let taken = FILES.iter().map(|(_, file)| out.join(file)).find(|file| file.exists() && !args.overwrite);
        match taken {
            Some(file) => {
                let expected = "a name that is not taken, or --overwrite";
                Err(Error::bad_input(&file, "the output", expected, "something of that name").into())
            }
            None => Ok(Place::Directory(out.into())),
        }
    }

    /// Writes the statistics; returns the names of what was written.
    pub(crate) fn write(&self, found: &AnnData, session: &Session) -> Outcome<Vec<String>> {
        match self {
            Place::Annotated(target) => {
                target.write(&Input { x: found.x.clone(), anndata: Some(found.clone()) }, session)?;
                Ok(vec![target.path.display().to_string()])
            }
            Place::Directory(dir) => write_directory(dir, found, session),
        }
    }
}

fn write_directory(dir: &Path, found: &AnnData, session: &Session) -> Outcome<Vec<String>> {
    let mut staging = Staging::open(dir, &session.interrupt)?;
    for (name, file) in FILES {
        if let Some(layer) = found.layers.get(name) {
            save_array(layer, staging.place(file), session)?;
        }
    }
    if let Column::Numbers(sizes) = found.obs.column("n_obs_aggregated")? {
        npy::save_vector(staging.place("n_obs.npy"), &sizes.to_f64())?;
    }
    for (file, names) in [("clusters.txt", found.obs_names()?), ("genes.txt", found.var_names()?)] {
        let path = staging.place(file);
        let text: String = names.iter().map(|name| format!("{name}\n")).collect();
        std::fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
    }
    Ok(staging.finish()?.iter().map(|path| path.display().to_string()).collect())
}
