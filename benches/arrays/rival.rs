//! A Python process that runs the rivals' side of a figure when it is told to.
//!
//! Requests and answers are lines; matrices go over as raw files in a directory of our own, which goes with the process.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::data::Csr;

/// The process, its pipes and its files.
pub(crate) struct Rival {
    child: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    files: TempDir,
}

impl Rival {
    /// Starts Python with so many threads; `None`, and a word on it, where it or the package is missing.
    pub(crate) fn start(threads: usize, package: &str) -> Option<Rival> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("ALLOTMENT_PYTHON")
            .map_or_else(|| root.join("target/reference-python/bin/python"), PathBuf::from);
        let child = Command::new(&python)
            .arg(root.join("benches/arrays/rival.py"))
            .arg(package)
            .env("OPENBLAS_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            println!("SKIPPED: all rows against {package}; {} does not start\n", python.display());
            return None;
        };
        let pipes = (child.stdin.take().expect("it is piped"), child.stdout.take().expect("it is piped"));
        let files = TempDir::new().expect("a directory for temporary files");
        let rival = Rival { child, pipes: RefCell::new((pipes.0, BufReader::new(pipes.1))), files };
        if rival.line().trim() != "ready" {
            println!("SKIPPED: all rows against {package}; {} has no such package\n", python.display());
            return None;
        }
        Some(rival)
    }

    fn line(&self) -> String {
        let mut line = String::new();
        self.pipes.borrow_mut().1.read_line(&mut line).expect("the rival answers in text");
        line
    }

    /// Asks for a figure; returns the seconds it took and the numbers it gave.
    pub(crate) fn ask(&self, request: &str) -> (f64, Vec<f64>) {
        writeln!(self.pipes.borrow_mut().0, "{request}").expect("the rival lives");
        let line = self.line();
        let mut numbers = line.split_whitespace().map(|word| word.parse::<f64>().expect("a number"));
        (numbers.next().expect("the rival did what it was asked"), numbers.collect())
    }

    /// Hands over compressed rows under a name.
    pub(crate) fn give_csr(&self, name: &str, csr: &Csr) {
        let path = self.files.path().join(name).display().to_string();
        write(&format!("{path}.indptr"), csr.indptr.iter().flat_map(|x| x.to_le_bytes()).collect());
        write(&format!("{path}.indices"), csr.indices.iter().flat_map(|x| x.to_le_bytes()).collect());
        write(&format!("{path}.values"), csr.values.iter().flat_map(|x| x.to_le_bytes()).collect());
        self.ask(&format!("csr {name} {} {} {path}", csr.rows, csr.cols));
    }

    /// Hands over rows of so many values under a name.
    pub(crate) fn give_dense(&self, name: &str, cols: usize, values: &[f64]) {
        let path = self.files.path().join(name).display().to_string();
        write(&path, values.iter().flat_map(|x| x.to_le_bytes()).collect());
        self.ask(&format!("dense {name} {} {cols} {path}", values.len() / cols));
    }
}

fn write(path: &str, bytes: Vec<u8>) {
    std::fs::write(path, bytes).expect("there is room for a matrix");
}

impl Drop for Rival {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
