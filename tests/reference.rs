//! The program's answers against scikit-learn's, and against a published table; its files against anndata's, and scanpy.
//!
//! The comparing is done in Python (`python/compare.py`, `python/round_trip.py`), which `ALLOTMENT_PYTHON` names; `tests/run` sets it up.
//! Without it these tests are skipped, loudly; on a build server (CI=true) that is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn compare(case: &str, more: &[&Path]) {
    python("compare.py", case, more);
}

fn python(script: &str, case: &str, more: &[&Path]) {
    let Some(python) = std::env::var_os("ALLOTMENT_PYTHON") else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must set ALLOTMENT_PYTHON: run tests/run");
        eprintln!(
            "skipped: {case} is compared only where ALLOTMENT_PYTHON names a Python with the packages of tests/run"
        );
        return;
    };
    let output = Command::new(python)
        .arg(root().join("tests/python").join(script))
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

#[test]
fn converted_files_are_equal_to_anndata_in_every_part() {
    let shipped = ["pbmc68k_reduced.h5ad", "neurons10k_csr_u16.h5ad"].map(|name| root().join("bench-data").join(name));
    let folder = root().join("../shared/data/singlecell");
    let more = [
        "pbmc68k_reduced_csr.h5ad",
        "pbmc68k_counts_csr.h5ad",
        "pbmc_5k_protein_lzf.h5ad",
        "anndata_v0.7.8/adata.h5ad",
    ];
    let real: Vec<PathBuf> = more.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect();
    if real.len() < more.len() {
        eprintln!("skipped: {} of the files of {}", more.len() - real.len(), folder.display());
    }
    for path in shipped.iter().chain(&real) {
        python("round_trip.py", &path.to_string_lossy(), &[]);
    }
}

#[test]
fn scanpy_goes_on_with_what_the_pipeline_wrote() {
    python("round_trip.py", "--pipeline", &[&root().join("bench-data/neurons10k_csr_u16.h5ad")]);
}
