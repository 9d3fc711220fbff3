//! A directory of its own for each test, and the program run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A temporary directory; the program's chunk files go into a second one, which must end empty.
pub(crate) struct Ground {
    home: tempfile::TempDir,
    spool: tempfile::TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = || tempfile::Builder::new().prefix("allotment-program").tempdir().expect("a temporary directory");
        Ground { home: dir(), spool: dir() }
    }

    /// Returns the program, ready to run here.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_allotment"));
        command.args(args).current_dir(self.home.path()).env("ALLOTMENT_SPOOL", self.spool.path());
        command.env_remove("ALLOTMENT_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let output = self.command(args).output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        let run =
            Run { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) };
        self.assert_spool_empty();
        run
    }

    pub(crate) fn assert_spool_empty(&self) {
        assert_eq!(names(self.spool.path()), Vec::<String>::new(), "the spool outlives the program");
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.home.path().join(name), bytes).expect("it can be written");
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).expect("it is there")
    }

    /// Returns the sorted names in a directory, hidden ones too.
    pub(crate) fn files(&self, dir: &str) -> Vec<String> {
        names(&self.home.path().join(dir))
    }

    /// Returns the shape that a `.npy` file's header tells, having checked that the file is as long as it says.
    pub(crate) fn npy_shape(&self, name: &str) -> String {
        let bytes = fs::read(self.home.path().join(name)).expect("it is there");
        let header_len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[10..10 + header_len]).into_owned();
        assert!(header.contains("'<f8'") && header.contains("'fortran_order': False"), "{header}");
        let shape = header.split("'shape':").nth(1).expect("a shape").trim_start();
        let shape = shape[..=shape.find(')').expect("a tuple")].to_owned();
        let sides = shape.trim_matches(['(', ')']).split(',').filter(|side| !side.trim().is_empty());
        let n: usize = sides.map(|side| side.trim().parse::<usize>().expect("a number")).product();
        assert_eq!(bytes.len(), 10 + header_len + 8 * n, "{name} is not whole");
        shape
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("the directory is there");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("it can be listed").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

impl Run {
    /// Returns stdout of a run that did what it should.
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, 0, "stderr: {}", self.stderr);
        self.stdout
    }

    /// Returns the one JSON object on stdout.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "stderr: {}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

/// Returns the path of a file that comes with the project.
pub(crate) fn bench_data(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench-data").join(name).display().to_string()
}

/// Returns the bytes of a `.npy` file with this dtype, shape and payload.
pub(crate) fn npy(descr: &str, shape: &str, payload: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), payload].concat()
}

/// Returns the bytes of a `.npy` file of f64, row-major.
pub(crate) fn npy_f64(rows: usize, cols: usize, values: &[f64]) -> Vec<u8> {
    assert_eq!(values.len(), rows * cols);
    let payload: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    npy("<f8", &format!("({rows}, {cols})"), &payload)
}
