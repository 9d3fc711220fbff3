//! Files that appear whole or not at all.
//!
//! `--out DIR` is filled in a hidden directory inside DIR, and its files are renamed into place once all of them are
//! complete; a picture is written beside its place and renamed. Whatever ends the command earlier, an error or
//! Ctrl-C, takes the unfinished files away.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use allotment::Error;

use crate::failure::Outcome;
use crate::interrupt::{Interrupt, remove};

/// An output directory while it is being filled.
#[derive(Debug)]
pub(crate) struct Staging {
    dir: PathBuf,
    hidden: PathBuf,
    made_dir: bool,
    names: Vec<&'static str>,
    interrupt: Arc<Interrupt>,
}

impl Staging {
    /// Prepares the directory, making it where it is not there; its parent must exist.
    pub(crate) fn open(dir: &Path, interrupt: &Arc<Interrupt>) -> Outcome<Self> {
        let made_dir = !dir.is_dir();
        if made_dir {
            fs::create_dir(dir).map_err(|e| Error::io("make directory", dir, e))?;
        }
        let hidden = dir.join(format!(".allotment-{}.partial", std::process::id()));
        let staging = Staging {
            dir: dir.to_owned(),
            hidden: hidden.clone(),
            made_dir,
            names: Vec::new(),
            interrupt: interrupt.clone(),
        };
        interrupt.will_write(&hidden);
        // A process of the same number that was killed may have left one.
        remove(&hidden);
        fs::create_dir(&hidden).map_err(|e| Error::io("make directory", &hidden, e))?;
        Ok(staging)
    }

    /// Returns where to write the file of this name for now.
    pub(crate) fn place(&mut self, name: &'static str) -> PathBuf {
        self.names.push(name);
        self.hidden.join(name)
    }

    /// Moves every file into place and returns their paths.
    pub(crate) fn finish(mut self) -> Outcome<Vec<PathBuf>> {
        self.interrupt.check()?;
        let mut written = Vec::new();
        for name in std::mem::take(&mut self.names) {
            let to = self.dir.join(name);
            fs::rename(self.hidden.join(name), &to).map_err(|e| Error::io("write", &to, e))?;
            self.made_dir = false;
            written.push(to);
        }
        Ok(written)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        remove(&self.hidden);
        if self.made_dir {
            // Succeeds only where nobody else put something there.
            let _ = fs::remove_dir(&self.dir);
        }
        self.interrupt.has_written(&self.hidden);
    }
}

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], interrupt: &Interrupt) -> Outcome<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    interrupt.will_write(&partial);
    let written = fs::File::create(&partial)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        remove(&partial);
    }
    interrupt.has_written(&partial);
    Ok(written.map_err(|e| Error::io("write", path, e))?)
}

/// Refuses a place that cannot be written before hours are spent on what should go there.
pub(crate) fn check_place(path: &Path) -> Outcome<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let meta = fs::metadata(parent).map_err(|e| Error::io("write into", parent, e))?;
    let refusal = if !meta.is_dir() {
        Some((parent, std::io::ErrorKind::NotADirectory))
    } else if path.is_dir() {
        Some((path, std::io::ErrorKind::IsADirectory))
    } else {
        None
    };
    match refusal {
        Some((place, kind)) => Err(Error::io("write", place, kind.into()).into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("the directory is there")
            .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn finished_files_are_in_place_and_nothing_else() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let out = home.path().join("out");
        let mut staging = Staging::open(&out, &Arc::default()).expect("it can be made");
        for name in ["s.npy", "vt.npy"] {
            fs::write(staging.place(name), name).expect("the hidden directory takes files");
        }
        assert_eq!(entries(&out).len(), 1, "only the hidden directory before the end");
        assert_eq!(staging.finish().expect("both are there").len(), 2);
        assert_eq!(entries(&out), ["s.npy", "vt.npy"]);
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let out = home.path().join("out");
        let mut staging = Staging::open(&out, &Arc::default()).expect("it can be made");
        fs::write(staging.place("s.npy"), "half").expect("the hidden directory takes files");
        drop(staging);
        assert!(!out.exists(), "a directory that was made for it goes with it");

        fs::create_dir(&out).expect("it can be made");
        fs::write(out.join("mine"), "kept").expect("it can be written");
        drop(Staging::open(&out, &Arc::default()).expect("it can be used"));
        assert_eq!(entries(&out), ["mine"]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_at_once() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let file = home.path().join("file");
        fs::write(&file, "").expect("it can be written");
        assert!(Staging::open(&file, &Arc::default()).is_err());
        assert!(Staging::open(&home.path().join("no/such"), &Arc::default()).is_err());
        assert!(check_place(&home.path().join("no/such.svg")).is_err());
        assert!(check_place(home.path()).is_err());
        assert!(check_place(&file.join("below.svg")).is_err());
        assert!(check_place(&home.path().join("new.svg")).is_ok());
        assert_eq!(entries(home.path()), ["file"]);
    }

    #[test]
    fn a_picture_replaces_the_one_before() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let path = home.path().join("pca.svg");
        for text in ["first", "second"] {
            write_whole(&path, text.as_bytes(), &Interrupt::default()).expect("it can be written");
            assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
        }
        assert_eq!(entries(home.path()), ["pca.svg"]);
    }
}
