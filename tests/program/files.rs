//! `convert` and `sample`: what is written is what was read, whatever the format, and is there whole or not at all.

use std::io::{BufRead, BufReader, Read};

use allotment::Cluster;
use allotment::io::{self, Opened};

use rustix::process::{Pid, Signal, kill_process};

use crate::ground::{Ground, bench_data, npy, npy_f64};

/// The names of rows and of columns.
type Names = (Vec<String>, Vec<String>);

/// Reads a matrix and the names of its rows and columns.
fn read(path: &str) -> (Vec<f64>, Option<Names>) {
    let cluster = Cluster::builder().workers(1).build().expect("sound settings");
    let opened = io::open(path).expect("it is whole");
    let values = opened.x().compute(&cluster).expect("it fits").to_vec::<f64>();
    let names = match opened {
        Opened::AnnData(data) => Some((data.obs_names().expect("names"), data.var_names().expect("names"))),
        _ => None,
    };
    (values, names)
}

fn gene_ids(path: &str) -> Vec<String> {
    let Opened::AnnData(data) = io::open(path).expect("it is whole") else { panic!("annotated data") };
    let ids = data.var.column("gene_ids").expect("it has ids");
    (0..ids.len()).map(|gene| ids.text(gene).expect("none is missing")).collect()
}

/// Returns the only place of a name.
fn place(all: &[String], name: &str) -> usize {
    let mut places = all.iter().enumerate().filter(|(_, other)| *other == name).map(|(at, _)| at);
    let found = places.next().expect("it was drawn from these");
    assert!(places.next().is_none(), "{name} is there twice");
    found
}

#[test]
fn a_matrix_goes_around_all_formats_and_comes_back_the_same() {
    let ground = Ground::new();
    let first = bench_data("neurons10k_csr_u16.h5ad");
    let [zarr, back, npy, plain, again] =
        ["a.zarr", "b.h5ad", "c.npy", "d.zarr", "e.h5ad"].map(|name| ground.path(name));
    let steps: [(&str, &str, &[&str]); 5] = [
        (&first, &zarr, &["--compression", "blosc"]),
        (&zarr, &back, &["--compression", "gzip=1", "--workers", "2", "--allowance", "32MiB"]),
        (&back, &npy, &[]),
        (&npy, &plain, &["--chunk-rows", "700"]),
        (&plain, &again, &["--csr", "--dtype", "float32"]),
    ];
    let (values, names) = read(&first);
    for (from, to, more) in steps {
        let report = ground.run(&[&["convert", from, to, "--json"], more].concat()).json();
        assert_eq!(report["shape"], serde_json::json!([10_000, 1000]), "{to}");
        assert!(report["written_bytes"].as_u64() > Some(0) && !report["peak_anonymous_bytes"].is_null());
        assert!(read(to).0 == values, "{to} has other values");
    }
    assert_eq!(read(&back).1, names);
    let info = |file: &str| ground.run(&["info", file, "--json"]).json();
    assert_eq!((info(&zarr)["kind"].as_str(), info(&zarr)["dtype"].as_str()), (Some("csr"), Some("uint16")));
    assert_eq!(info(&plain)["chunks"], serde_json::json!([700, 1000]));
    assert_eq!((info(&again)["nnz"].as_u64(), info(&again)["dtype"].as_str()), (Some(691_914), Some("float32")));
    assert_eq!(ground.files("."), ["a.zarr", "b.h5ad", "c.npy", "d.zarr", "e.h5ad"]);
}

#[test]
fn all_parts_of_annotated_data_are_carried_over() {
    let ground = Ground::new();
    let (first, second) = (bench_data("pbmc68k_reduced.h5ad"), ground.path("copy.h5ad"));
    ground.run(&["convert", &first, &second, "--quiet"]).success();
    let info = |file: &str| ground.run(&["info", file, "--json"]).json();
    let (before, after) = (info(&first), info(&second));
    for part in ["shape", "nnz", "obs_columns", "var_columns", "obsm", "varm", "obsp", "uns", "raw"] {
        assert_eq!(before[part], after[part], "{part}");
    }
    let text = ground.run(&["info", &second]).success();
    for words in ["raw          700 x 765", "obsm         X_pca, X_umap", "uns "] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
}

#[test]
fn records_and_graphs_of_an_earlier_analysis_go_into_a_zarr_store() {
    let ground = Ground::new();
    let (file, out) = (bench_data("pbmc68k_reduced.h5ad"), ground.path("copy.zarr"));
    assert!(ground.run(&["convert", &file, &out]).success().contains("annotated data"));
    let again = ground.run(&["convert", &file, &out]);
    assert!(again.code == 1 && again.stderr.contains("--overwrite"), "{}", again.stderr);
    let info = ground.run(&["info", &out]).success();
    for words in ["rank_genes_groups", "connectivities", "raw"] {
        assert!(info.contains(words), "{words} is missing in\n{info}");
    }
}

#[test]
fn a_layer_can_be_taken_for_the_matrix() {
    let ground = Ground::new();
    let (file, stats, out) = (bench_data("pbmc68k_reduced.h5ad"), ground.path("stats.h5ad"), ground.path("max.npy"));
    ground.run(&["stats", &file, "--by", "louvain", "--stats", "mean,max", "--out", &stats]).success();
    ground.run(&["convert", &stats, &out, "--layer", "max", "--quiet"]).success();
    assert_eq!(ground.npy_shape("max.npy"), "(11, 765)");
    let refused = ground.run(&["convert", &stats, &ground.path("x.npy"), "--layer", "min"]);
    assert!(refused.code == 2 && refused.stderr.contains("the layers are: max, mean"), "{}", refused.stderr);
}

#[test]
fn an_area_is_sampled_under_a_name_that_says_so() {
    let ground = Ground::new();
    let file = ground.path("cells.h5ad");
    std::fs::copy(bench_data("neurons10k_csr_u16.h5ad"), &file).expect("it can be copied");
    let report = ground.run(&["sample", &file, "-s", "0.01", "--seed", "7", "--json"]).json();
    assert_eq!(report["shape"], serde_json::json!([1000, 100]));
    let (values, names) = read(&ground.path("cells.sample-0.01.h5ad"));
    let (all, all_names) = read(&file);
    let (names, all_names) = (names.expect("names"), all_names.expect("names"));
    // Genes are told by their ids: some names are those of several.
    let (ids, all_ids) = (gene_ids(&ground.path("cells.sample-0.01.h5ad")), gene_ids(&file));
    let rows: Vec<usize> = names.0.iter().map(|name| place(&all_names.0, name)).collect();
    let cols: Vec<usize> = ids.iter().map(|id| place(&all_ids, id)).collect();
    let expected: Vec<f64> =
        rows.iter().flat_map(|row| cols.iter().map(move |col| (row, col))).map(|(i, j)| all[i * 1000 + j]).collect();
    assert!(values == expected, "the sample's values are not those of its cells and genes");
    // The same seed draws the same; another draws others.
    let again = |seed: &str, name: &str| {
        ground.run(&["sample", &file, "-s", "0.01", "--seed", seed, "--out", &ground.path(name)]).success();
        read(&ground.path(name)).1
    };
    assert_eq!(again("7", "seven.zarr").as_ref(), Some(&names));
    assert_ne!(again("8", "eight.zarr"), Some(names));
}

#[test]
fn numbers_and_shares_of_rows_and_columns_are_drawn_from_plain_matrices_too() {
    let ground = Ground::new();
    let values: Vec<f64> = (0..60 * 4).map(f64::from).collect();
    let file = ground.write("x.npy", &npy_f64(60, 4, &values));
    let table = ground.run(&["sample", &file, "--cells", "7", "--genes", "0.5", "--quiet"]).success();
    assert!(table.contains("7 x 2 of 60 x 4"), "{table}");
    assert_eq!(ground.npy_shape("x.sample.npy"), "(7, 2)");
    let refused = ground.run(&["sample", &file, "--cells", "61", "--out", &ground.path("y.npy")]);
    assert!(refused.code == 1 && refused.stderr.contains("61") && refused.stderr.contains("60"), "{}", refused.stderr);
    let refused = ground.run(&["sample", &file]);
    assert!(refused.code == 2 && refused.stderr.contains("-s SHARE"), "{}", refused.stderr);
}

#[test]
fn names_that_cannot_be_written_are_refused_and_what_is_there_is_kept() {
    let ground = Ground::new();
    let file = ground.write("x.npy", &npy_f64(4, 3, &[1.0; 12]));
    let taken = ground.write("taken.h5ad", b"mine");
    let (csv, lost) = (ground.path("x.csv"), ground.path("no/such.zarr"));
    for (out, more, code, word) in [
        (&csv, &[][..], 2, ".zarr or .npy"),
        (&taken, &[], 1, "--overwrite"),
        (&file, &["--overwrite"], 2, "is the input"),
        (&lost, &[], 1, "no"),
        (&ground.path("y.h5ad"), &["--compression", "zstd"], 2, "gzip"),
        (&ground.path("y.npy"), &["--csr"], 2, "dense"),
        (&ground.path("y.npy"), &["--layer", "a"], 2, "the layers are: none"),
    ] {
        let run = ground.run(&[&["convert", &file, out], more].concat());
        assert!(run.code == code && run.stderr.contains(word), "{out} {more:?}: {} {}", run.code, run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    assert_eq!(
        (ground.files("."), ground.read("taken.h5ad").as_str()),
        (vec!["taken.h5ad".into(), "x.npy".into()], "mine")
    );
    ground.run(&["convert", &file, &taken, "--overwrite"]).success();
    assert_eq!(read(&taken).0, [1.0; 12]);
}

#[test]
fn ctrl_c_leaves_what_was_there_and_nothing_half_written() {
    let ground = Ground::new();
    // Ten gigabytes of zeros that take no room on the disk.
    let file = ground.write("x.npy", &npy("<f8", "(1250000, 1000)", &[]));
    let length = std::fs::metadata(&file).expect("it is there").len() + 10_000_000_000;
    std::fs::File::options().write(true).open(&file).and_then(|file| file.set_len(length)).expect("a sparse file");
    let taken = ground.write("taken.h5ad", b"mine");
    for out in [&taken, &ground.path("y.zarr"), &ground.path("y.npy")] {
        let mut child = ground.command(&["convert", &file, out, "--overwrite"]).spawn().expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("the first line of progress");
        assert!(line.contains("write: "), "{line}");
        kill_process(Pid::from_child(&child), Signal::INT).expect("the program runs");
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).expect("the program prints UTF-8");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{out}: {rest}");
        assert!(rest.contains("error: interrupted"), "{rest}");
        assert_eq!(ground.files("."), ["taken.h5ad", "x.npy"]);
        ground.assert_spool_empty();
    }
    assert_eq!(ground.read("taken.h5ad"), "mine");
}
