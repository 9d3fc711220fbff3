//! The whole pipeline in one command: what it writes, what it takes, and what it refuses.

use allotment::cells::{AnnData, Value};
use allotment::{ByteSize, Cluster, io};
use serde_json::Value as Json;

use crate::ground::{Ground, bench_data, npy_f64};
use crate::{assert_keys, numbers};

fn counts() -> String {
    bench_data("neurons10k_csr_u16.h5ad")
}

/// Two hundred genes and twenty components.
fn run(ground: &Ground, out: &str, more: &[&str]) -> Json {
    let (file, out) = (counts(), ground.path(out));
    let base = ["pipeline", &file, "--n-top-genes", "200", "-k", "20", "--json", "--out", &out];
    ground.run(&[&base[..], more].concat()).json()
}

fn opened(ground: &Ground, name: &str) -> AnnData {
    match io::open(ground.path(name)).expect("it was just written") {
        io::Opened::AnnData(data) => data,
        other => panic!("{other:?} is no annotated data"),
    }
}

fn variance(data: &AnnData) -> Vec<f64> {
    match data.uns["pca"].get("variance") {
        Some(Value::Numbers(tensor)) => tensor.values.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The largest variances that scanpy finds, to what its float32 data and ours allow.
fn assert_near(found: &[f64], expected: [f64; 3]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn a_pipeline_writes_what_scanpy_goes_on_with() {
    let ground = Ground::new();
    let plot = ground.path("pca.svg");
    let found = run(&ground, "cells.h5ad", &["--target-sum", "1e4", "--counts", "--plot", &plot]);
    assert_keys(&found, &["shape", "n_selected", "explained_variance_ratio", "passes", "runs", "peak_anonymous_bytes"]);
    assert_eq!((found["n_selected"].as_u64(), found["components"].as_u64()), (Some(200), Some(20)));
    let data = opened(&ground, "cells.h5ad");
    data.check().expect("all parts fit");
    assert_eq!((data.x.shape(), data.x.dtype().name()), ((10_000, 1000), "float32"));
    assert_eq!((data.layers["counts"].dtype().name(), data.obsp["distances"].shape()), ("uint16", (10_000, 10_000)));
    for name in ["highly_variable", "means", "dispersions", "dispersions_norm"] {
        assert!(data.var.columns().iter().any(|column| column == name), "{name} is missing");
    }
    for name in ["log1p", "hvg", "pca", "neighbors"] {
        assert!(data.uns.contains_key(name), "uns/{name} is missing");
    }
    assert_eq!((data.obsm["X_pca"].rows(), data.varm["PCs"].rows()), (10_000, 1000));
    // sc.pp.normalize_total(n, target_sum=1e4); sc.pp.log1p(n); sc.pp.highly_variable_genes(n, n_top_genes=200)
    // sc.pp.pca(n, n_comps=20, svd_solver="covariance_eigh"); n.uns["pca"]["variance"][:3]
    assert_near(&variance(&data), [12.359381890923, 9.947034641493, 9.204968886563]);
    assert!(ground.read("pca.svg").contains("component 2"));
    let info = ground.run(&["info", &ground.path("cells.h5ad"), "--json"]).json();
    assert_eq!(numbers(&info["shape"]), [10_000.0, 1000.0]);
}

#[test]
fn the_median_and_the_selected_genes_alone_give_the_same_components() {
    let ground = Ground::new();
    run(&ground, "all.zarr", &["--no-neighbors"]);
    run(&ground, "some.zarr", &["--no-neighbors", "--subset"]);
    let (all, some) = (opened(&ground, "all.zarr"), opened(&ground, "some.zarr"));
    assert_eq!((all.x.shape(), some.x.shape()), ((10_000, 1000), (10_000, 200)));
    // The same without target_sum.
    assert_near(&variance(&all), [1.356240689914, 0.799066666877, 0.394022535048]);
    assert_eq!(variance(&all), variance(&some));
    assert!(!all.uns.contains_key("neighbors") && all.obsp.is_empty());
    let cluster = Cluster::builder().allowance(ByteSize(256 << 20)).workers(1).build().expect("sound settings");
    let scores = |data: &AnnData| {
        let scores = data.obsm["X_pca"].array().expect("numbers").compute(&cluster).expect("small");
        scores.to_vec::<f32>()
    };
    assert_eq!(scores(&all), scores(&some));
}

#[test]
fn with_a_target_the_input_is_read_twice() {
    let ground = Ground::new();
    let found = run(&ground, "cells.zarr", &["--target-sum", "1e4", "--subset", "--no-neighbors"]);
    assert_eq!(found["passes"], 2);
    let read = |name: &str| {
        let runs = found["runs"].as_array().expect("a list").iter().filter(|run| run["name"] == name);
        runs.map(|run| run["bytes_read"].as_u64().expect("a run over an array")).sum::<u64>()
    };
    // A pass over CSR of uint16 reads six bytes for each value and eight for each row, and some at both ends of blocks.
    let pass = 6 * 691_914 + 8 * 10_000;
    for name in ["highly_variable_genes", "persist"] {
        let share = read(name) as f64 / pass as f64;
        assert!((1.0..1.01).contains(&share), "{name} reads the input {share} times");
    }
}

#[test]
fn a_plan_of_a_pipeline_shows_its_stages_and_computes_nothing() {
    let ground = Ground::new();
    let file = counts();
    let plan = ground.run(&["pipeline", &file, "--plan", "--json", "--n-top-genes", "200"]).json();
    assert_keys(&plan, &["input", "stages", "passes", "bytes_read", "projected_bytes", "allowance_bytes", "workers"]);
    let names: Vec<&str> = plan["stages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|stage| stage["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["sums", "hvg", "genes", "pca", "write X"]);
    assert_eq!(plan["passes"], 4);
    let short = ground.run(&["pipeline", &file, "--plan", "--target-sum", "1e4", "--subset"]).success();
    assert!(short.contains("2 passes over the input") && short.contains("15 neighbours"), "{short}");
    assert_eq!(ground.files("."), Vec::<String>::new());
}

#[test]
fn a_pipeline_refuses_before_it_works() {
    let ground = Ground::new();
    let (file, out, labelled) = (counts(), ground.path("cells.h5ad"), bench_data("pbmc68k_reduced.h5ad"));
    let taken = ground.write("taken.h5ad", b"mine");
    for (args, code, words) in [
        (&["pipeline", &file][..], 2, "--out"),
        (&["pipeline", &file, "--out", "cells.csv"], 2, ".zarr"),
        (&["pipeline", &file, "--out", &taken], 1, "--overwrite"),
        (&["pipeline", &file, "--out", &file, "--overwrite"], 1, "input itself"),
        (&["pipeline", &file, "--out", "no/such/cells.h5ad"], 1, "no/such"),
        (&["pipeline", &labelled, "--out", &out, "--batch-key", "donor"], 2, "bulk_labels"),
        (&["pipeline", &labelled, "--out", &out, "--plot", "p.svg", "--color", "donor"], 2, "bulk_labels"),
        (&["pipeline", &file, "--out", &out, "--n-top-genes", "20", "-k", "30"], 2, "at most 20"),
        (&["pipeline", &file, "--out", &out, "-n", "1"], 2, "at least 2"),
        (&["pipeline", "no.h5ad", "--out", &out], 1, "no.h5ad"),
    ] {
        let run = ground.run(args);
        assert!(run.code == code && run.stderr.contains(words), "{args:?}: {} {}", run.code, run.stderr);
        assert_eq!(run.stdout, "", "{args:?} printed an answer");
        assert!(!run.stderr.contains("blocks ("), "{args:?} worked before it refused: {}", run.stderr);
    }
    assert_eq!(ground.read("taken.h5ad"), "mine");
    assert_eq!(ground.files("."), ["taken.h5ad"]);
}

#[test]
fn matrices_that_have_no_answer_are_refused_in_words() {
    let ground = Ground::new();
    for (name, (rows, cols), flavor, words) in [
        ("none.npy", (0, 3), "seurat", "no gene varies"),
        ("none.npy", (0, 3), "seurat_v3", "at least 2"),
        ("one.npy", (1, 3), "seurat", "one.npy"),
        ("one.npy", (1, 3), "seurat_v3", "at least 2"),
        ("zeros.npy", (20, 5), "seurat", "no gene varies"),
    ] {
        let file = ground.write(name, &npy_f64(rows, cols, &vec![0.0; rows * cols]));
        let run = ground.run(&["pipeline", &file, "--flavor", flavor, "--out", &ground.path("cells.zarr")]);
        assert!(run.code == 1 && run.stderr.contains(name), "{name} {flavor}: {} {}", run.code, run.stderr);
        assert!(run.stderr.contains(words) && !run.stderr.contains("panicked"), "{name} {flavor}: {}", run.stderr);
        std::fs::remove_file(file).expect("it was just written");
    }
    assert_eq!(ground.files("."), Vec::<String>::new());
}
