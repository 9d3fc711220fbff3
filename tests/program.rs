//! The program as its users meet it: what it prints, what it writes, and how it refuses.
//!
//! Every test runs the built binary in a directory of its own.

#[path = "program/bad_input.rs"]
mod bad_input;
#[path = "program/counts.rs"]
mod counts;
#[path = "program/files.rs"]
mod files;
#[path = "program/genes.rs"]
mod genes;
#[path = "program/ground.rs"]
mod ground;
#[path = "program/interrupted.rs"]
mod interrupted;
#[path = "program/pipeline.rs"]
mod pipeline;

use ground::{Ground, bench_data, npy_f64};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn assert_keys(object: &Value, keys: &[&str]) {
    let object = object.as_object().expect("one JSON object");
    for key in keys {
        assert!(object.get(*key).is_some_and(|value| !value.is_null()), "{key} is missing in {object:?}");
    }
}

/// Rows of a matrix whose columns are uncorrelated and have variances that can be told: two waves and a constant.
fn waves(rows: usize) -> Vec<f64> {
    let angle = |i: usize| std::f64::consts::TAU * i as f64 / rows as f64;
    (0..rows).flat_map(|i| [3.0 * angle(i).sin(), angle(i).cos(), 7.0]).collect()
}

#[test]
fn info_tells_what_a_file_holds() {
    let ground = Ground::new();
    let info = ground.run(&["info", &bench_data("neurons10k_csr_u16.h5ad"), "--json"]).json();
    let keys = ["format", "shape", "nnz", "dtype", "kind", "bytes", "obs_columns", "var_columns"];
    assert_keys(&info, &keys);
    assert!(info.as_object().expect("an object").contains_key("chunks"));
    assert_eq!(numbers(&info["shape"]), [10_000.0, 1000.0]);
    assert_eq!(info["nnz"], 691_914);
    assert_eq!(info["dtype"], "uint16");

    let table = ground.run(&["info", &bench_data("pbmc68k_reduced.h5ad")]).success();
    for word in ["700 x 765", "float32", "bulk_labels", "louvain"] {
        assert!(table.contains(word), "{word} is missing in\n{table}");
    }
}

#[test]
fn pca_prints_one_object_and_writes_three_files() {
    let ground = Ground::new();
    let file = bench_data("pbmc68k_reduced.h5ad");
    let out = ground.path("out");
    let run = ground.run(&["pca", &file, "--components", "10", "--json", "--out", &out]);
    let pca = run.json();
    assert_keys(&pca, &["shape", "explained_variance", "explained_variance_ratio", "residuals", "seconds", "workers"]);
    assert_keys(&pca, &["peak_anonymous_bytes"]);
    let variance = numbers(&pca["explained_variance"]);
    assert_eq!(variance.len(), 10);
    assert!(variance.windows(2).all(|pair| pair[0] >= pair[1]));
    // f32 input carries about 1e-7; the vectors are computed in f64 and must satisfy their equation to far below that.
    assert!(numbers(&pca["residuals"]).iter().all(|residual| *residual < 1e-10), "{}", pca["residuals"]);
    assert_eq!(ground.files("out"), ["components.npy", "explained_variance.npy", "scores.npy"]);
    assert_eq!(ground.npy_shape("out/scores.npy"), "(700, 10)");
    assert_eq!(ground.npy_shape("out/components.npy"), "(10, 765)");
    assert_eq!(ground.npy_shape("out/explained_variance.npy"), "(10,)");
}

#[test]
fn pca_finds_the_waves_that_were_put_in() {
    let ground = Ground::new();
    let n = 400;
    let file = ground.write("waves.npy", &npy_f64(n, 3, &waves(n)));
    let pca = ground.run(&["pca", &file, "--json"]).json();
    // A whole turn of a sine of amplitude a has the sum of squares n a²/2.
    let expected = [4.5, 0.5, 0.0].map(|square| square * n as f64 / (n as f64 - 1.0));
    for (found, expected) in numbers(&pca["explained_variance"]).iter().zip(expected) {
        // Sums of 400 rounded terms: a few units in the 15th digit of the largest.
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
fn pca_of_selected_genes_is_the_pca_of_those_columns() {
    let ground = Ground::new();
    let three = ground.write("three.npy", &npy_f64(50, 3, &waves(50)));
    let two: Vec<f64> = waves(50).chunks(3).flat_map(|row| [row[2], row[0]]).collect();
    let two = ground.write("two.npy", &npy_f64(50, 2, &two));
    let genes = ground.write("genes.txt", b"2\n0\n");
    let selected = ground.run(&["pca", &three, "--genes", &genes, "--json"]).json();
    let plain = ground.run(&["pca", &two, "--json"]).json();
    assert_eq!(selected["explained_variance"], plain["explained_variance"]);
}

#[test]
fn the_picture_shows_every_cell_in_the_colour_of_its_type() {
    let ground = Ground::new();
    let (file, plot) = (bench_data("pbmc68k_reduced.h5ad"), ground.path("pca.svg"));
    let table = ground.run(&["pca", &file, "--plot", &plot, "--components", "5"]).success();
    assert!(table.contains("wrote ") && table.contains("component"), "{table}");
    let picture = ground.read("pca.svg");
    // 700 cells and a mark in the legend for each of the ten labels.
    assert_eq!(picture.matches("<circle").count(), 700 + 10);
    for text in ["bulk_labels", "CD19+ B", "% of the variance", "component 2"] {
        assert!(picture.contains(text), "{text} is missing");
    }
    ground.run(&["pca", &file, "--plot", &plot, "--color", "n_counts", "--quiet"]).success();
    assert!(ground.read("pca.svg").contains("n_counts"));
    assert_eq!(ground.files("."), ["pca.svg"]);
}

#[test]
fn svd_of_random_numbers_has_the_values_that_theory_gives() {
    let ground = Ground::new();
    let out = ground.path("out");
    let args = ["svd", "--random", "20000x50", "--seed", "1", "--json", "--vectors", "--out", &out];
    let svd = ground.run(&args).json();
    assert_keys(&svd, &["shape", "singular_values", "residuals", "orthogonality", "seconds", "workers"]);
    assert_keys(&svd, &["peak_anonymous_bytes"]);
    let s = numbers(&svd["singular_values"]);
    // Uniform numbers have mean 1/2 and variance 1/12: one value sqrt(n(p/4 + 1/12)), the others near sqrt(n/12),
    // within the edges of the Marchenko-Pastur law and 1 % for a finite sample.
    assert!((s[0] / (20_000f64 * (12.5 + 1.0 / 12.0)).sqrt() - 1.0).abs() < 5e-3, "{}", s[0]);
    let (bulk, spread) = ((20_000f64 / 12.0).sqrt(), (50f64 / 20_000.0).sqrt() + 0.01);
    assert!(s[1..].iter().all(|s| (s / bulk - 1.0).abs() < spread), "{s:?}");
    assert!(numbers(&svd["residuals"]).iter().all(|residual| *residual < 1e-12));
    assert!(svd["orthogonality"].as_f64().expect("a number") < 1e-12);
    assert_eq!(ground.files("out"), ["s.npy", "u.npy", "vt.npy"]);
    assert_eq!(ground.npy_shape("out/u.npy"), "(20000, 50)");
    assert_eq!(ground.npy_shape("out/vt.npy"), "(50, 50)");
}

#[test]
fn svd_of_a_wide_matrix_is_that_of_its_transpose() {
    let ground = Ground::new();
    let (n, values) = (300, waves(300));
    let turned: Vec<f64> =
        (0..3).flat_map(|col| (0..n).map(move |row| (row, col))).map(|(i, j)| values[3 * i + j]).collect();
    let (tall, wide) = (npy_f64(n, 3, &values), npy_f64(3, n, &turned));
    let (tall, wide) = (ground.write("tall.npy", &tall), ground.write("wide.npy", &wide));
    let out = ground.path("out");
    let tall = ground.run(&["svd", &tall, "--json"]).json();
    let wide = ground.run(&["svd", &wide, "--json", "--vectors", "--out", &out]).json();
    assert_eq!(tall["singular_values"], wide["singular_values"]);
    assert!(wide["method"].as_str().expect("a word").contains("transpose"), "{wide:?}");
    assert_eq!((ground.npy_shape("out/u.npy"), ground.npy_shape("out/vt.npy")), ("(3, 3)".into(), "(3, 300)".into()));
}

#[test]
fn pca_names_the_solver_and_all_of_them_agree() {
    let ground = Ground::new();
    let file = ground.write("waves.npy", &npy_f64(200, 3, &waves(200)));
    let auto = ground.run(&["pca", &file, "--json", "-k", "2"]).json();
    assert_eq!(auto["solver"], "covariance");
    for solver in ["covariance", "lanczos", "randomized", "tsqr"] {
        let found = ground.run(&["pca", &file, "--json", "-k", "2", "--solver", solver]).json();
        assert_eq!(found["solver"], solver);
        for (a, b) in numbers(&found["explained_variance"]).iter().zip(numbers(&auto["explained_variance"])) {
            // With three columns the iterations end with the whole space.
            assert!((a - b).abs() < 1e-12, "{solver}: {a} {b}");
        }
    }
    assert!(ground.run(&["pca", &file]).success().contains("components by covariance"));
}

#[test]
fn pca_keeps_as_many_components_as_hold_a_share_of_the_variance() {
    let ground = Ground::new();
    // Variances of 9 and 1 parts, and none.
    let file = ground.write("waves.npy", &npy_f64(200, 3, &waves(200)));
    for (share, k) in [("0.5", 1), ("0.89", 1), ("0.91", 2)] {
        let found = ground.run(&["pca", &file, "--json", "--components", share]).json();
        assert_eq!((found["components"].as_u64(), numbers(&found["explained_variance"]).len()), (Some(k as u64), k));
    }
    let refused = ground.run(&["pca", &file, "--components", "0.5", "--solver", "lanczos"]);
    assert!(refused.code != 0 && refused.stderr.contains("covariance does"), "{}", refused.stderr);
}

#[test]
fn any_number_of_workers_and_either_scheduler_give_the_same_bits() {
    let ground = Ground::new();
    let base = ["svd", "--random", "12000x20", "--chunk-rows", "1000", "--seed", "3", "--json"];
    let result = |more: &[&str]| {
        let svd = ground.run(&[&base[..], more].concat()).json();
        (svd["singular_values"].to_string(), svd["residuals"].to_string(), svd["orthogonality"].to_string())
    };
    let reference = result(&["--workers", "1"]);
    for more in [
        &["--workers", "2"][..],
        &["--workers", "5", "--allowance", "16MiB"],
        &["--scheduler", "serial"],
        &["--scheduler", "serial", "--allowance", "64MiB"],
    ] {
        assert_eq!(result(more), reference, "{more:?}");
    }
}

#[test]
fn stdout_holds_the_object_alone_and_quiet_means_an_empty_stderr() {
    let ground = Ground::new();
    let file = ground.write("waves.npy", &npy_f64(60, 3, &waves(60)));
    let run = ground.run(&["pca", &file, "--json"]);
    assert_eq!(run.stdout.lines().count(), 1);
    assert!(run.stderr.contains("pca: "), "a pipe gets plain lines: {}", run.stderr);
    let run = ground.run(&["pca", &file, "--json", "--quiet"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}

#[test]
fn help_shows_an_example_and_version_is_told() {
    let ground = Ground::new();
    for command in ["info", "convert", "sample", "stats", "qc", "hvg", "pca", "svd", "knn", "pipeline"] {
        assert!(ground.run(&[command, "--help"]).success().contains("Example"));
    }
    assert!(ground.run(&["--version"]).success().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_plan_is_shown_and_nothing_is_computed() {
    let ground = Ground::new();
    let file = bench_data("pbmc68k_reduced.h5ad");
    let plan = ground.run(&["pca", &file, "-k", "10", "--plan", "--json", "--chunk-rows", "100"]).json();
    assert_keys(&plan, &["input", "shape", "steps", "bytes_read", "projected_bytes", "allowance_bytes", "workers"]);
    assert_eq!((plan["solver"].as_str(), plan["passes"].as_u64()), (Some("covariance"), Some(2)));
    // Seven blocks twice, and the eigenvectors.
    assert_eq!(
        (plan["tasks"].as_u64(), plan["block_rows"].as_u64(), &plan["is_bound"]),
        (Some(15), Some(100), &false.into())
    );
    let table = ground.run(&["pca", &file, "-k", "10", "--plan", "--solver", "lanczos"]).success();
    for words in ["700 x 765, planned and not computed", "solver      lanczos", "at most "] {
        assert!(table.contains(words), "{words} is missing in\n{table}");
    }
    let table = ground.run(&["svd", "--random", "20000x50", "--plan", "--solver", "gram"]).success();
    assert!(table.contains("svd gram > svd of the gram > svd check"), "{table}");
    let refused = ground.run(&["svd", "--random", "20000x1000", "--plan", "--allowance", "64MiB", "--workers", "1"]);
    assert!(refused.code == 1 && refused.stderr.contains("--solver gram"), "{}", refused.stderr);
}
