//! Variable genes and neighbours as their users meet them. Numbers beside them are scanpy's, from the same file in float64.

use crate::ground::{Ground, bench_data, npy_f64};
use crate::{assert_keys, numbers};

#[test]
fn hvg_ranks_the_genes_that_scanpy_ranks() {
    let ground = Ground::new();
    let (file, list, plot) = (bench_data("neurons10k_csr_u16.h5ad"), ground.path("genes.txt"), ground.path("hvg.svg"));
    let base = ["hvg", &file, "--normalize", "1e4", "--log1p"];
    let more = ["--n-top-genes", "200", "--json", "--out", &list, "--plot", &plot];
    let found = ground.run(&[&base[..], &more].concat()).json();
    assert_keys(&found, &["file", "shape", "flavor", "n_selected", "genes", "seconds", "peak_anonymous_bytes"]);
    // n.var.sort_values("dispersions_norm", ascending=False).index[:5]
    let top = ["Smarcal1", "Tuba4a", "Ctse", "Col3a1", "Gm26649"];
    assert_eq!(ground.read("genes.txt").lines().take(5).collect::<Vec<_>>(), top);
    assert_eq!((found["n_selected"].as_u64(), ground.read("genes.txt").lines().count()), (Some(200), 200));
    let picture = ground.read("hvg.svg");
    assert!(picture.contains("highly variable (") && picture.contains("normalised dispersion"));
    // n.var["highly_variable"].sum(), with scanpy's limits
    let limits = ground.run(&base).success();
    assert!(limits.contains("134 genes by seurat") && limits.contains("Smarcal1"), "{limits}");
}

#[test]
fn hvg_of_counts_adds_the_columns_that_scanpy_adds() {
    let ground = Ground::new();
    let (file, out) = (bench_data("neurons10k_csr_u16.h5ad"), ground.path("marked.h5ad"));
    let args = ["hvg", &file, "--flavor", "seurat_v3", "--n-top-genes", "100", "--out", &out, "--json"];
    assert_eq!(ground.run(&args).json()["are_counts"], true);
    let info = ground.run(&["info", &out, "--json"]).json();
    let columns = info["var_columns"].to_string();
    for name in ["highly_variable", "highly_variable_rank", "means", "variances", "variances_norm"] {
        assert!(columns.contains(&format!("\"{name}\"")), "{name} is missing in {columns}");
    }
    assert_eq!((info["dtype"].as_str(), info["nnz"].as_u64()), (Some("uint16"), Some(691_914)));
    let taken = ground.run(&args);
    assert!(taken.code == 1 && taken.stderr.contains("--overwrite"), "{}", taken.stderr);
    assert_eq!(ground.run(&[&args[..], &["--overwrite"]].concat()).code, 0);
    let plan = ground.run(&["hvg", &file, "--flavor", "seurat_v3", "--plan", "--json"]).json();
    assert_eq!((plan["passes"].as_u64(), plan["solver"].as_str()), (Some(2), Some("seurat_v3")));
}

#[test]
fn hvg_refuses_what_makes_no_sense() {
    let ground = Ground::new();
    let file = bench_data("neurons10k_csr_u16.h5ad");
    let labelled = bench_data("pbmc68k_reduced.h5ad");
    for (args, code, words) in [
        (&["hvg", &file, "--flavor", "seurat_v3", "--log1p"][..], 2, "counts"),
        (&["hvg", &labelled, "--batch-key", "phases"], 2, "bulk_labels"),
        (&["hvg", &file, "--layer", "logs"], 1, "logs"),
        (&["hvg", &file, "--out", "genes.csv"], 2, ".h5ad"),
        (&["hvg", &file, "--out", "no/such/genes.txt"], 1, "no/such"),
        (&["hvg", &file, "--out", &file], 1, "input itself"),
    ] {
        let run = ground.run(args);
        assert!(run.code == code && run.stderr.contains(words), "{args:?}: {} {}", run.code, run.stderr);
    }
    assert_eq!(ground.files("."), Vec::<String>::new());
}

#[test]
fn knn_of_a_plain_matrix_is_two_files_nearest_first() {
    let ground = Ground::new();
    let line: Vec<f64> = [0.0, 10.0, 1.0, 4.0, 12.5].to_vec();
    let (file, out) = (ground.write("line.npy", &npy_f64(5, 1, &line)), ground.path("near"));
    let found = ground.run(&["knn", &file, "-n", "3", "--out", &out, "--json"]).json();
    assert_eq!((found["rep"].as_str(), found["neighbors"].as_u64()), (Some("X"), Some(3)));
    let tail = |name: &str| {
        let bytes = std::fs::read(ground.path(name)).expect("it is there");
        let values = bytes[bytes.len() - 5 * 2 * 8..].chunks_exact(8);
        values.map(|value| value.try_into().expect("eight bytes")).collect::<Vec<[u8; 8]>>()
    };
    let indices: Vec<i64> = tail("near/indices.npy").into_iter().map(i64::from_le_bytes).collect();
    let distances: Vec<f64> = tail("near/distances.npy").into_iter().map(f64::from_le_bytes).collect();
    assert_eq!(indices, [2, 3, 4, 3, 0, 3, 2, 0, 1, 3]);
    // Differences of these numbers, less their mean, are exact to a few roundings.
    let expected = [1.0, 4.0, 2.5, 6.0, 1.0, 3.0, 3.0, 4.0, 2.5, 8.5];
    assert!(distances.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14), "{distances:?}");
    assert_eq!(ground.npy_shape("near/distances.npy"), "(5, 2)");
    let taken = ground.run(&["knn", &file, "--out", &out]);
    assert!(taken.code == 1 && taken.stderr.contains("--overwrite"), "{}", taken.stderr);
    let many = ground.run(&["knn", &file, "--out", &ground.path("other")]);
    assert!(many.code == 2 && many.stderr.contains("15") && many.stderr.contains('5'), "{}", many.stderr);
    assert_eq!(ground.files("."), ["line.npy", "near"]);
}

#[test]
fn knn_adds_scanpys_graph_to_annotated_data() {
    let ground = Ground::new();
    let file = bench_data("pbmc68k_reduced.h5ad");
    for name in ["graph.h5ad", "graph.zarr"] {
        let out = ground.path(name);
        let found = ground.run(&["knn", &file, "--metric", "cosine", "--out", &out, "--json", "--overwrite"]).json();
        assert_eq!((found["rep"].as_str(), numbers(&found["shape"])), (Some("X_pca"), vec![700.0, 50.0]));
        let info = ground.run(&["info", &out, "--json"]).json();
        assert_eq!(info["obsp"].to_string(), r#"["connectivities","distances"]"#);
        assert!(info["uns"].to_string().contains("neighbors"), "{info}");
    }
    let unknown = ground.run(&["knn", &file, "--rep", "X_tsne", "--out", &ground.path("no.h5ad")]);
    assert!(unknown.code == 2 && unknown.stderr.contains("X_umap"), "{}", unknown.stderr);
}

#[test]
fn components_are_written_where_scanpy_looks_for_them() {
    let ground = Ground::new();
    let (file, out, elbow) = (bench_data("pbmc68k_reduced.h5ad"), ground.path("pca.zarr"), ground.path("elbow.svg"));
    let genes = ground.write("genes.txt", b"HES4\nTNFRSF4\nSSU72\nPARK7\nRBP7\n");
    let args = ["pca", &file, "-k", "4", "--genes", &genes, "--out", &out, "--elbow", &elbow];
    let text = ground.run(&args).success();
    assert!(text.contains("pca.zarr") && text.contains("elbow.svg"), "{text}");
    assert_eq!(ground.read("elbow.svg").matches("<circle").count(), 4);
    let info = ground.run(&["info", &out, "--json"]).json();
    assert!(info["obsm"].to_string().contains("X_pca") && info["varm"].to_string().contains("PCs"), "{info}");
    assert!(info["var_columns"].to_string().contains("pca_genes"), "{info}");
    assert_eq!(numbers(&info["shape"]), [700.0, 765.0]);
    let again = ground.run(&["pca", &out, "--genes", &genes, "-k", "4", "--json"]).json();
    let first = ground.run(&["pca", &file, "--genes", &genes, "-k", "4", "--json"]).json();
    for (again, first) in numbers(&again["explained_variance"]).iter().zip(numbers(&first["explained_variance"])) {
        // The same values in blocks of other rows: sums of 700 in another order.
        assert!((again / first - 1.0).abs() < 1e-13, "{again} {first}");
    }
}
