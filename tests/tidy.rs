//! Keeps the house tidy: the rules of STYLE.md that a program can check, over every Rust file of the project.
//!
//! Each rule is a function from one file to its complaints (`tidy/rules.rs`) and is tested on small strings that
//! break it, so that a rule that stopped working is noticed. What may stand where is listed here and nowhere else.

#[cfg(test)]
#[path = "tidy/broken.rs"]
mod broken;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use source::Source;

/// The layers from the bottom up: a layer may use those before it. One line is one height.
const LAYERS: [&[&str]; 9] = [
    &["error", "bytes", "sync"],
    &["store"],
    &["runtime"],
    &["dashboard"],
    &["array"],
    &["linalg"],
    &["cells"],
    &["io"],
    &["lib"],
];

/// The formats of `io`, none of which knows another.
const FORMATS: [&str; 5] = ["zarr", "h5ad", "npy", "parquet", "mtx"];

/// Files that may hold `unsafe`, each block under its proof.
const UNSAFE_FILES: [&str; 6] = [
    // Counts what is allocated.
    "src/runtime/memory/counting.rs",
    "src/store/mapping.rs",
    "src/store/sigbus.rs",
    "src/linalg/dense.rs",
    // Makes a map of its own fault, to see that the guard minds only the store's.
    "tests/faults/n22_truncated.rs",
    // Forks.
    "tests/faults/n42_fork.rs",
];

/// Files that may start threads outside of tests.
const THREAD_FILES: [&str; 4] =
    ["src/runtime/lane.rs", "src/runtime/supervisor.rs", "src/bin/allotment/interrupt.rs", "src/bin/allotment/peak.rs"];

/// Words that stand in one file, and in the files below it, with the reason they are kept there.
const CONFINED: [(&str, &str, &str); 1] =
    [("faer", "src/linalg/dense.rs", "its exit must issue vzeroupper, which only that file does")];

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every Rust file below the folders, by its path from the project's root with forward slashes.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    folders.iter().for_each(|folder| collect(&root().join(folder), &mut files));
    files.sort();
    let relative =
        |path: &Path| path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
    let read = |path: &Path| std::fs::read_to_string(path).expect("a listed file can be read");
    files.iter().map(|path| Source::new(&relative(path), &read(path))).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn everywhere() -> Vec<Source> {
    sources(&["src", "tests", "examples", "benches"])
}

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn complaints_of(files: &[Source], rule: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    files.iter().flat_map(|file| rule(file).into_iter().map(|what| format!("{}:{what}", file.path))).collect()
}

#[test]
fn there_is_something_to_check() {
    assert!(sources(&["src"]).len() > 10, "src/ was not found");
}

#[test]
fn imports_point_down() {
    let files = sources(&["src"]);
    let lib = files.iter().find(|file| file.path == "src/lib.rs").expect("the crate has a root");
    let reexports: BTreeMap<String, String> = rules::reexports(lib);
    assert_none(complaints_of(&files, |file| rules::imports_point_up(file, &LAYERS, &reexports)));
}

#[test]
fn every_module_of_the_crate_has_a_layer() {
    let files = sources(&["src"]);
    let lib = files.iter().find(|file| file.path == "src/lib.rs").expect("the crate has a root");
    assert_none(rules::modules_without_layer(lib, &LAYERS));
}

#[test]
fn formats_do_not_know_each_other() {
    assert_none(complaints_of(&sources(&["src/io"]), |file| rules::knows_another_format(file, &FORMATS)));
}

#[test]
fn the_program_uses_the_public_api_only() {
    // The program is a crate of its own, so only a textual inclusion could reach behind the library's door.
    assert_none(complaints_of(&sources(&["src/bin"]), |file| rules::mentions(file, &["include", "#[path"])));
}

#[test]
fn every_file_has_a_page() {
    assert_none(complaints_of(&everywhere(), rules::has_no_page));
}

#[test]
fn no_file_and_no_function_is_too_long() {
    assert_none(complaints_of(&everywhere(), |file| rules::too_long(file, MAX_FILE_LINES, MAX_FUNCTION_LINES)));
}

#[test]
fn unsafe_stands_in_named_files_under_its_proof() {
    assert_none(complaints_of(&everywhere(), |file| rules::stray_unsafe(file, &UNSAFE_FILES)));
}

#[test]
fn threads_start_in_named_files() {
    assert_none(complaints_of(&sources(&["src"]), |file| rules::stray_threads(file, &THREAD_FILES)));
}

#[test]
fn confined_words_stay_in_their_file() {
    for (word, home, reason) in CONFINED {
        let complain = |file: &Source| match file.path.starts_with(home.trim_end_matches(".rs")) {
            true => Vec::new(),
            false => rules::mentions(file, &[word]).into_iter().map(|what| format!("{what} ({reason})")).collect(),
        };
        assert_none(complaints_of(&sources(&["src"]), complain));
    }
}

#[test]
fn nothing_is_left_unfinished() {
    assert_none(complaints_of(&everywhere(), rules::unfinished));
}

#[test]
fn nothing_outside_tests_unwraps() {
    assert_none(complaints_of(&sources(&["src", "examples"]), rules::unwraps));
}

#[test]
fn the_lists_above_name_files_that_are_there() {
    // A name that outlived its file would silently widen what a new file of that name may do.
    let listed = UNSAFE_FILES.iter().chain(&THREAD_FILES).chain(CONFINED.iter().map(|(_, home, _)| home));
    let gone: Vec<&&str> = listed.filter(|path| !root().join(path).is_file()).collect();
    assert!(gone.is_empty(), "no longer there: {gone:?}");
}

#[test]
fn the_documents_point_at_files_that_are_there() {
    for document in ["README.md", "ARCHITECTURE.md", "STYLE.md", "CHANGELOG.md", "bench-data/README.md"] {
        let path = root().join(document);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{document}: {e}"));
        let home = path.parent().expect("a file is in a folder");
        let broken: Vec<&str> =
            rules::local_links(&text).into_iter().filter(|link| !home.join(link).exists()).collect();
        assert!(broken.is_empty(), "{document} points at {broken:?}");
    }
}
