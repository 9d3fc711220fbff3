//! What cannot be done is refused in one line that names the file and the place, and nothing is left behind.

use crate::ground::{Ground, bench_data, npy, npy_f64};

/// Runs a command that must fail, and returns its one line. `out` and `pca.svg` must not come into being.
fn refusal(ground: &Ground, args: &[&str], codes: &[i32]) -> String {
    let before = ground.files(".");
    let run = ground.run(args);
    assert!(codes.contains(&run.code), "{args:?} ended with {}: {}{}", run.code, run.stdout, run.stderr);
    assert_eq!(run.stdout, "", "{args:?} printed an answer");
    let errors: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{args:?} must fail in one line, not: {}", run.stderr);
    assert_eq!(run.stderr.lines().last(), Some(errors[0]), "{args:?} says more after its error: {}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{args:?} panicked: {}", run.stderr);
    assert_eq!(ground.files("."), before, "{args:?} left something behind");
    errors[0].to_owned()
}

/// Every command refuses the file, naming it and saying each of the words.
fn all_refuse(ground: &Ground, file: &str, words: &[&str]) {
    let (out, plot) = (ground.path("out"), ground.path("pca.svg"));
    let name = std::path::Path::new(file).file_name().expect("a name").to_string_lossy().into_owned();
    for args in [
        &["info", file][..],
        &["info", file, "--json"],
        &["pca", file, "--quiet", "--out", &out, "--plot", &plot],
        &["svd", file, "--out", &out, "--vectors"],
    ] {
        let line = refusal(ground, args, &[1]);
        assert!(line.contains(&name), "{args:?} does not name the file: {line}");
        assert!(words.iter().all(|word| line.contains(word)), "{args:?} does not say {words:?}: {line}");
    }
}

/// As `all_refuse`, for files whose header is sound.
fn factorisations_refuse(ground: &Ground, file: &str, words: &[&str]) {
    let (out, plot) = (ground.path("out"), ground.path("pca.svg"));
    let name = std::path::Path::new(file).file_name().expect("a name").to_string_lossy().into_owned();
    for args in [&["pca", file, "--out", &out, "--plot", &plot][..], &["svd", file, "--out", &out]] {
        let line = refusal(ground, args, &[1, 2]);
        assert!(line.contains(&name), "{args:?} does not name the file: {line}");
        assert!(words.iter().all(|word| line.contains(word)), "{args:?} does not say {words:?}: {line}");
    }
}

#[test]
fn a_missing_file_is_refused() {
    let ground = Ground::new();
    for name in ["no.h5ad", "no.npy", "no/such/cells.h5ad"] {
        all_refuse(&ground, &ground.path(name), &["cannot open"]);
    }
}

#[test]
fn a_directory_is_refused() {
    let ground = Ground::new();
    std::fs::create_dir(ground.path("folder.h5ad")).expect("it can be made");
    all_refuse(&ground, &ground.path("folder.h5ad"), &["directory"]);
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let ground = Ground::new();
    let h5ad = std::fs::read(bench_data("neurons10k_csr_u16.h5ad")).expect("it comes with the project");
    for eighths in 0..8 {
        let file = ground.write("cut.h5ad", &h5ad[..h5ad.len() * eighths / 8]);
        all_refuse(&ground, &file, &[]);
    }
    let whole = npy_f64(4, 3, &[1.0; 12]);
    for len in [0, 5, 9, 40, 130, whole.len() - 1] {
        all_refuse(&ground, &ground.write("cut.npy", &whole[..len]), &[]);
    }
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    let ground = Ground::new();
    for name in ["text.h5ad", "text.npy", "text.csv"] {
        all_refuse(&ground, &ground.write(name, b"gene,count\nA,1\n"), &[]);
    }
}

#[test]
fn python_objects_are_refused() {
    let ground = Ground::new();
    let file = ground.write("objects.npy", &npy("|O", "(2, 2)", b"\x80\x04]q\x00."));
    all_refuse(&ground, &file, &["object"]);
}

#[test]
fn a_claim_beyond_the_file_is_refused_before_memory_is_taken() {
    let ground = Ground::new();
    for shape in
        ["(4000000000, 4000000000)", "(18446744073709551615, 2)", "(99999999999999999999, 1)", "(1000000, 1000)"]
    {
        all_refuse(&ground, &ground.write("huge.npy", &npy("<f8", shape, &[0; 64])), &[]);
    }
}

#[test]
fn a_matrix_without_rows_is_refused() {
    let ground = Ground::new();
    let file = ground.write("empty.npy", &npy_f64(0, 3, &[]));
    factorisations_refuse(&ground, &file, &[]);
    let info = ground.run(&["info", &file]).success();
    assert!(info.contains("0 x 3"), "{info}");
}

#[test]
fn a_value_that_is_not_finite_is_refused_with_its_place() {
    let ground = Ground::new();
    for (value, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let mut values: Vec<f64> = (0..60).map(|i| f64::from(i * i % 17)).collect();
        values[13 * 4 + 2] = value;
        let file = ground.write("holes.npy", &npy_f64(15, 4, &values));
        factorisations_refuse(&ground, &file, &[shown, "row 13", "column 2"]);
    }
}

#[test]
fn more_components_than_the_matrix_has_are_refused_with_both_numbers() {
    let ground = Ground::new();
    let file = bench_data("pbmc68k_reduced.h5ad");
    let out = ground.path("out");
    let line = refusal(&ground, &["pca", &file, "--components", "701", "--out", &out], &[2]);
    assert!(line.contains("701") && line.contains("700") && line.contains("pbmc68k_reduced.h5ad"), "{line}");
}

#[test]
fn wrong_usage_is_one_line_and_code_2() {
    let ground = Ground::new();
    let file = bench_data("pbmc68k_reduced.h5ad");
    for args in [
        &["pca"][..],
        &["pca", &file, "--components", "many"],
        &["pca", &file, "--plot", "pca.png"],
        &["pca", &file, "--plot", "pca.svg", "--color", "no_such_column"],
        &["pca", &file, "--plot", "pca.svg", "--components", "1"],
        &["pca", &file, "--such-a-flag"],
        &["svd"],
        &["svd", &file, "--random", "3x2"],
        &["frobnicate"],
        &["info", &file, "--allowance", "plenty"],
        &["info", &file, "--workers", "0"],
    ] {
        let line = refusal(&ground, args, &[2]);
        assert!(line.len() > "error: ".len() + 10, "{line}");
    }
}

#[test]
fn places_that_cannot_be_written_are_refused_before_the_work() {
    let ground = Ground::new();
    let file = bench_data("pbmc68k_reduced.h5ad");
    let taken = ground.write("taken", b"a file");
    for args in [
        ["pca", &file, "--plot", &ground.path("no/such/pca.svg")],
        ["pca", &file, "--out", &ground.path("no/such/out")],
        ["pca", &file, "--out", &taken],
    ] {
        refusal(&ground, &args, &[1]);
    }
    assert_eq!(ground.read("taken"), "a file");
}

#[test]
fn an_unknown_gene_is_refused_by_name() {
    let ground = Ground::new();
    let genes = ground.write("genes.txt", b"HES4\nNOSUCHGENE\n");
    let line = refusal(&ground, &["pca", &bench_data("pbmc68k_reduced.h5ad"), "--genes", &genes], &[1]);
    assert!(line.contains("genes.txt") && line.contains("NOSUCHGENE"), "{line}");
}
