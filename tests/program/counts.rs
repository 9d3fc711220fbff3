//! `stats` and `qc`: the numbers of clusters, genes and cells, compared with loops over the values.

use allotment::Cluster;
use allotment::array::Array;
use allotment::cells::{AnnData, Column};
use allotment::io::h5ad;
use serde_json::json;

use crate::ground::{Ground, bench_data};

fn values(x: &Array) -> Vec<f64> {
    let cluster = Cluster::builder().workers(1).build().expect("sound settings");
    x.compute(&cluster).expect("it fits").to_vec::<f64>()
}

fn column(data: &AnnData, name: &str) -> Vec<f64> {
    match data.obs.column(name).expect("it is there") {
        Column::Numbers(numbers) => numbers.to_f64(),
        other => panic!("{name} holds no numbers: {other:?}"),
    }
}

/// Sums each gene over the cells of a cluster, of values as `of` makes them; the slow, obvious version.
fn by_cluster(data: &AnnData, x: &[f64], of: impl Fn(f64) -> f64) -> Vec<f64> {
    let Column::Categories(labels) = data.obs.column("louvain").expect("labels") else { panic!("categories") };
    let n_genes = data.n_vars() as usize;
    let mut sums = vec![0.0; labels.names.len() * n_genes];
    for (cell, code) in labels.codes.iter().enumerate() {
        for gene in 0..n_genes {
            sums[*code as usize * n_genes + gene] += of(x[cell * n_genes + gene]);
        }
    }
    sums
}

#[test]
fn statistics_of_clusters_are_those_of_a_loop_over_all_values() {
    let ground = Ground::new();
    let (file, out) = (bench_data("pbmc68k_reduced.h5ad"), ground.path("clusters.zarr"));
    let args = ["stats", &file, "--by", "louvain", "--threshold", "0.5", "--out", &out, "--json"];
    let report = ground.run(&args).json();
    assert_eq!(report["statistics"], json!(["sum", "mean", "present", "sqr_mean"]));
    assert_eq!(report["clusters"][0], json!({"name": "0", "n_obs": 130}));
    assert_eq!((report["clusters"].as_array().map(Vec::len), &report["cells_without_label"]), (Some(11), &json!(0)));
    let info = ground.run(&["info", &out, "--json"]).json();
    assert_eq!((&info["shape"], &info["layers"]), (&json!([11, 765]), &json!(["mean", "present", "sqr_mean", "sum"])));

    let data = h5ad::open(&file).expect("sound");
    let x = values(&data.x);
    let allotment::io::Opened::AnnData(found) = allotment::io::open(&out).expect("whole") else { panic!("annotated") };
    let close = |name: &str, expected: Vec<f64>| {
        for (found, expected) in values(&found.layers[name]).iter().zip(expected) {
            // Sums of 130 values of about 1 in another order.
            assert!((found - expected).abs() < 1e-11, "{name}: {found} {expected}");
        }
    };
    close("sum", by_cluster(&data, &x, |x| x));
    close("present", by_cluster(&data, &x, |x| f64::from(u8::from(x > 0.5))));
    let sizes = column(&found, "n_obs_aggregated");
    let squares = by_cluster(&data, &x, |x| x * x);
    close("sqr_mean", squares.iter().enumerate().map(|(at, x)| x / sizes[at / 765]).collect());
}

#[test]
fn a_directory_gets_a_file_for_each_statistic_and_the_names() {
    let ground = Ground::new();
    let (file, out) = (bench_data("pbmc68k_reduced.h5ad"), ground.path("out"));
    let args = ["stats", &file, "--by", "bulk_labels,phase", "--stats", "n_obs,mean,median", "--out", &out];
    let table = ground.run(&args).success();
    assert!(table.contains("clusters by bulk_labels, phase") && table.contains("CD14+ Monocyte_G1"), "{table}");
    let files = ["clusters.txt", "genes.txt", "mean.npy", "median.npy", "n_obs.npy"];
    assert_eq!(ground.files("out"), files);
    let n = ground.read("out/clusters.txt").lines().count();
    assert_eq!(ground.npy_shape("out/mean.npy"), format!("({n}, 765)"));
    assert_eq!(ground.npy_shape("out/n_obs.npy"), format!("({n},)"));
    assert_eq!(ground.read("out/genes.txt").lines().next(), Some("HES4"));
    let refused = ground.run(&args);
    assert!(refused.code == 1 && refused.stderr.contains("--overwrite"), "{}", refused.stderr);
    let over = [&args[..], &["--overwrite", "--quiet"]].concat();
    ground.run(&over).success();
    assert_eq!(ground.files("out"), files);
}

#[test]
fn normalised_logarithms_are_taken_before_the_statistics() {
    let ground = Ground::new();
    let (file, out) = (ground.path("counts.h5ad"), ground.path("out"));
    let mut data = h5ad::open(bench_data("neurons10k_csr_u16.h5ad")).expect("sound");
    let ones = vec![1.0; data.n_obs() as usize];
    data.obs = data.obs.with_column("all", Column::from(ones)).expect("a column of that length");
    let cluster = Cluster::builder().workers(1).build().expect("sound settings");
    allotment::io::write(&cluster, &data, &file, &Default::default()).expect("written");
    let args =
        ["stats", &file, "--by", "all", "--stats", "sum", "--normalize", "1e4", "--log1p", "--out", &out, "--quiet"];
    ground.run(&args).success();
    let bytes = std::fs::read(ground.path("out/sum.npy")).expect("written");
    let found = bytes[bytes.len() - 8000..].chunks(8).map(|x| f64::from_le_bytes(x.try_into().expect("eight bytes")));
    let x = values(&data.x);
    let totals: Vec<f64> = x.chunks(1000).map(|row| row.iter().sum()).collect();
    for (gene, found) in found.enumerate() {
        let of = |(row, total): (&[f64], &f64)| if *total > 0.0 { (row[gene] / total * 1e4).ln_1p() } else { 0.0 };
        let expected: f64 = x.chunks(1000).zip(&totals).map(of).sum();
        // Ten thousand roundings of values below 10.
        assert!((found - expected).abs() < 1e-9, "gene {gene}: {found} {expected}");
    }
}

#[test]
fn what_cannot_be_grouped_or_written_is_refused_at_once() {
    let ground = Ground::new();
    let file = bench_data("pbmc68k_reduced.h5ad");
    for (by, out, code, word) in [
        ("louvian", ground.path("a.zarr"), 2, "bulk_labels, n_genes"),
        ("louvain", ground.path("a.parquet"), 2, "parquet is not written"),
        ("louvain", ground.path("a.npy"), 2, "name a directory"),
        ("louvain", ground.path("no/such/dir"), 1, "no/such"),
        ("louvain", file.clone(), 2, "is the input"),
    ] {
        let run = ground.run(&["stats", &file, "--by", by, "--out", &out]);
        assert!(run.code == code && run.stderr.contains(word), "{by} {out}: {} {}", run.code, run.stderr);
    }
    assert_eq!(ground.files("."), Vec::<String>::new());
    let plan = ground.run(&["stats", &file, "--by", "louvain", "--plan", "--json"]).json();
    assert!(plan["passes"].as_u64() >= Some(1) && plan.get("solver").is_none(), "{plan}");
}

#[test]
fn figures_of_quality_are_those_of_a_loop_over_all_values() {
    let ground = Ground::new();
    let (file, out, plot) = (bench_data("neurons10k_csr_u16.h5ad"), ground.path("checked.h5ad"), ground.path("qc.svg"));
    let args = ["qc", &file, "--qc-vars", "S", "--out", &out, "--plot", &plot, "--json"];
    let report = ground.run(&args).json();
    let data = h5ad::open(&out).expect("whole");
    let (x, genes) = (values(&data.x), data.var_names().expect("names"));
    let totals: Vec<f64> = x.chunks(1000).map(|row| row.iter().sum()).collect();
    assert_eq!(column(&data, "total_counts"), totals);
    let n_genes: Vec<f64> = x.chunks(1000).map(|row| row.iter().filter(|x| **x != 0.0).count() as f64).collect();
    assert_eq!(column(&data, "n_genes_by_counts"), n_genes);
    let in_group: Vec<bool> = genes.iter().map(|gene| gene.starts_with(['S', 's'])).collect();
    assert!(in_group.contains(&true));
    for ((row, total), found) in x.chunks(1000).zip(&totals).zip(column(&data, "pct_counts_s")) {
        let sum: f64 = row.iter().zip(&in_group).filter(|(_, member)| **member).map(|(x, _)| x).sum();
        // A quotient and a product; a cell without counts has none.
        assert!((found - sum / total * 100.0).abs() < 1e-12 || (*total == 0.0 && found.is_nan()));
    }
    let mut ascending = totals.clone();
    ascending.sort_by(f64::total_cmp);
    let metric = &report["metrics"][1];
    assert_eq!(metric["name"], "total_counts");
    assert_eq!(metric["quantiles"][3].as_f64(), Some((ascending[4999] + ascending[5000]) / 2.0));
    let picture = ground.read("qc.svg");
    for text in ["n_genes_by_counts", "total_counts", "pct_counts_s", "<polygon"] {
        assert!(picture.contains(text), "{text} is missing");
    }
    assert_eq!(ground.files("."), ["checked.h5ad", "qc.svg"]);
}

#[test]
fn a_quality_check_needs_no_names_and_refuses_groups_without_genes() {
    let ground = Ground::new();
    let file = ground.write("x.npy", &crate::ground::npy_f64(2, 3, &[0.0, 2.0, 3.0, 1.0, 0.0, 0.0]));
    let table = ground.run(&["qc", &file, "--quiet"]).success();
    assert!(
        table.contains("n_genes_by_counts") && table.contains("median") && !table.contains("pct_counts_mt"),
        "{table}"
    );
    let refused = ground.run(&["qc", &file, "--qc-vars", "MT-"]);
    assert!(refused.code == 2 && refused.stderr.contains("MT-"), "{}", refused.stderr);
    let refused = ground.run(&["qc", &file, "--layer", "raw"]);
    assert!(refused.code == 2 && refused.stderr.contains("--layer raw"), "{}", refused.stderr);
}
