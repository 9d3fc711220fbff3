//! The program's answers against scikit-learn's, and against a published table.
//!
//! The comparing is done in Python (`python/compare.py`), which `ALLOTMENT_PYTHON` names; `tests/run` sets it up.
//! Without it these tests are skipped, loudly; on a build server (CI=true) that is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn compare(case: &str, more: &[&Path]) {
    let Some(python) = std::env::var_os("ALLOTMENT_PYTHON") else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must set ALLOTMENT_PYTHON: run tests/run");
        eprintln!("skipped: {case} is compared only where ALLOTMENT_PYTHON names a Python with scikit-learn");
        return;
    };
    let output = Command::new(python)
        .arg(root().join("tests/python/compare.py"))
        .arg(env!("CARGO_BIN_EXE_allotment"))
        .arg(case)
        .args(more)
        .output()
        .expect("ALLOTMENT_PYTHON can be run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}:\n{said}");
    println!("{said}");
}

#[test]
fn iris_agrees_with_scikit_learn() {
    compare("iris", &[]);
}

#[test]
fn breast_cancer_agrees_with_scikit_learn() {
    compare("breast_cancer", &[]);
}

#[test]
fn digits_agree_with_scikit_learn() {
    compare("digits", &[]);
}

#[test]
fn normalised_logarithms_of_ten_thousand_neurons_agree_with_scikit_learn() {
    compare("neurons10k", &[&root().join("bench-data/neurons10k_csr_u16.h5ad")]);
}

#[test]
fn singular_vectors_agree_with_numpy() {
    compare("svd", &[]);
}

#[test]
fn three_thousand_blood_cells_agree_with_the_published_bioconductor_table() {
    let data = root().join("../shared/data");
    let needed = ["singlecell/pbmc3k_raw.h5ad", "reference/pbmc3k_bioconductor"].map(|name| data.join(name));
    if let Some(missing) = needed.iter().find(|path| !path.exists()) {
        eprintln!("skipped: {} is not there", missing.display());
        return;
    }
    compare("pbmc3k", &[&needed[0], &needed[1]]);
}
