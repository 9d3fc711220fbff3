//! Real files, opened completely: every column, matrix and value against what Python's anndata 0.12 and scanpy 1.11 read.
//!
//! A column's number is the sum of `(row + 1) * value`; of categories the value is the code + 1, of truth values 1 or 0, of
//! strings their length in bytes. A matrix' numbers are `m.sum()` and `(m * (i + 1) * (j + 1)).sum()` in float64, NaN
//! counted as 0.

use super::*;
use crate::array::{Array, DType};
use crate::bytes::ByteSize;
use crate::cells::{Column, Frame, Table, Value};
use crate::io::testing::{dense_values, real};
use crate::runtime::Cluster;

/// The columns of a frame in order: name, kind and number.
type Columns = &'static [(&'static str, &'static str, f64)];

fn cells(name: &str) -> Option<AnnData> {
    Some(open(real(&format!("singlecell/{name}"))?).expect(name))
}

fn weighted(column: &Column) -> f64 {
    let value = |row: usize| match column {
        Column::Numbers(numbers) => numbers.values().at(row),
        Column::Strings(texts) => texts[row].as_ref().map_or(0, String::len) as f64,
        Column::Bools(flags) => f64::from(u8::from(flags[row] == Some(true))),
        Column::Categories(categories) => f64::from(categories.codes[row] + 1),
    };
    (0..column.len()).map(|row| (row as f64 + 1.0) * value(row)).sum()
}

fn kind(column: &Column) -> &'static str {
    match column {
        Column::Numbers(numbers) => numbers.dtype().name(),
        Column::Strings(_) => "strings",
        Column::Bools(_) => "bools",
        Column::Categories(_) => "categories",
    }
}

fn assert_near(found: f64, expected: f64, what: &str) {
    // Sums of at most 10^6 float64 products whose rounding errors are random walk: 1e-16 * sqrt(1e6), with room.
    assert!((found - expected).abs() <= 1e-11 * expected.abs().max(1e3), "{what}: {found} but {expected}");
}

fn sums(array: &Array) -> (f64, f64) {
    let cluster = Cluster::builder().workers(1).allowance(ByteSize(256 << 20)).build().expect("a small cluster");
    let cols = array.cols() as usize;
    let values = dense_values(&array.compute(&cluster).expect("sound"));
    let place = |at: usize| ((at / cols + 1) * (at % cols + 1)) as f64;
    let known = || values.iter().enumerate().filter(|(_, x)| !x.is_nan());
    (known().map(|(_, x)| x).sum(), known().map(|(at, x)| x * place(at)).sum())
}

fn matrix(table: &Table) -> &Array {
    table.array().expect("a matrix")
}

#[test]
fn every_column_of_the_real_files_is_what_python_reads() {
    let columns: [(&str, Columns, Columns); 6] = [
        ("neurons10k_csr_u16", &[], &[("gene_ids", "strings", 9009000.0)]),
        (
            "pbmc3k_raw",
            &[
                ("cell_type", "categories", 11209631.0),
                ("n_counts", "float32", 8609049811.0),
                ("n_genes", "int64", 3084660765.0),
            ],
            &[("n_cells", "int64", 16011376969.0)],
        ),
        ("pbmc68k_reduced", &PBMC68K_OBS, &PBMC68K_VAR),
        ("pbmc68k_reduced_v0.5", &PBMC68K_OBS, &PBMC68K_VAR),
        (
            "pbmc_5k_protein_lzf",
            &[
                ("n_genes", "int64", 39014641.0),
                ("percent_mito", "float32", 1786.7098750546575),
                ("n_counts", "float32", 135821619.0),
            ],
            &[
                ("n_cells", "int64", 66085265121.0),
                ("highly_variable", "bools", 31984302.0),
                ("encode", "categories", 1511825238.0),
                ("hvg_encode", "bools", 31985705.0),
            ],
        ),
        (
            "anndata_v0.7.8/adata",
            &[
                ("obs_cat", "categories", 5161.0),
                ("cat_ordered", "categories", 6266.0),
                ("int64", "int64", 777.0),
                ("float64", "float64", 234.36373995221913),
                ("uint8", "uint8", 61504.0),
            ],
            &[
                ("var_cat", "categories", 2214.0),
                ("cat_ordered", "categories", 1950.0),
                ("int64", "int64", 674.0),
                ("float64", "float64", 117.3426970485403),
                ("uint8", "uint8", 23887.0),
            ],
        ),
    ];
    for (name, obs, var) in columns {
        let Some(cells) = cells(&format!("{name}.h5ad")) else { return };
        cells.check().expect(name);
        for (frame, expected) in [(&cells.obs, obs), (&cells.var, var)] {
            assert_columns(frame, expected, name);
        }
    }
}

const PBMC68K_OBS: [(&str, &str, f64); 8] = [
    ("bulk_labels", "categories", 1672928.0),
    ("n_genes", "int64", 290200944.0),
    ("percent_mito", "float32", 4237.448173017241),
    ("n_counts", "float32", 853160057.0),
    ("S_score", "float32", -648.4735287204385),
    ("G2M_score", "float32", -196189.0246539116),
    ("phase", "categories", 372999.0),
    ("louvain", "categories", 1020200.0),
];

const PBMC68K_VAR: [(&str, &str, f64); 5] = [
    ("n_counts", "float32", 1071378062.110157),
    ("means", "float32", 271496.57722099125),
    ("dispersions", "float32", 465213.8872164488),
    ("dispersions_norm", "float32", 153981.688786196),
    ("highly_variable", "bools", 114881.0),
];

fn assert_columns(frame: &Frame, expected: Columns, name: &str) {
    assert_eq!(frame.columns(), expected.iter().map(|(column, _, _)| *column).collect::<Vec<_>>(), "{name}");
    for (column, expected_kind, expected) in expected {
        let found = frame.column(column).expect(column);
        assert_eq!((kind(&found), found.len() as u64), (*expected_kind, frame.len()), "{name} {column}");
        assert_near(weighted(&found), *expected, &format!("{name} {column}"));
    }
}

#[test]
fn every_matrix_beside_x_is_what_python_reads() {
    for name in ["pbmc68k_reduced.h5ad", "pbmc68k_reduced_v0.5.h5ad"] {
        let Some(cells) = cells(name) else { return };
        let raw = cells.raw.as_ref().expect("raw");
        let parts = [
            (matrix(&cells.obsm["X_pca"]), (700, 50), 0.0018205521701020189, 3364141.6795773706),
            (matrix(&cells.obsm["X_umap"]), (700, 2), -2511.0751242837573, -1194700.4948762474),
            (&cells.obsp["connectivities"], (700, 700), 3999.3202025676114, 489593900.9517027),
            (&cells.obsp["distances"], (700, 700), 43570.44111037254, 5361548700.505561),
            (&raw.x, (700, 765), 319044.23824107647, 43211144635.447815),
        ];
        for (part, shape, sum, weighted) in parts {
            assert_eq!(part.shape(), shape, "{name}");
            assert_near(sums(part).0, sum, name);
            assert_near(sums(part).1, weighted, name);
        }
        assert_eq!(matrix(&cells.varm["PCs"]).shape(), (765, 50));
        assert_eq!((raw.var.row_names().expect("names")[0].as_str(), raw.var.columns().len()), ("HES4", 0));
        assert_eq!((cells.layers.len(), cells.varp.len(), raw.varm.len()), (0, 0, 0), "{name}");
    }
    let Some(cells) = cells("anndata_v0.7.8/adata.h5ad") else { return };
    let raw = cells.raw.as_ref().expect("raw");
    let parts = [
        (&cells.layers["array"], (30, 20), 293.43547196991756, 47749.54645570393),
        (&cells.layers["sparse"], (30, 20), 2.515832756134344, 265.98871141733497),
        (matrix(&cells.obsm["array"]), (30, 50), 727.0482947967182, 290129.59233651287),
        (matrix(&cells.obsm["sparse"]), (30, 100), 14.449397371804759, 12859.594821361832),
        (matrix(&cells.varm["array"]), (20, 50), 512.8612494377255, 136565.27655157962),
        (matrix(&cells.varm["sparse"]), (20, 100), 8.803530182554352, 5252.723177703967),
        (&cells.obsp["array"], (30, 30), 449.6183022356219, 108416.36728899594),
        (&cells.obsp["sparse"], (30, 30), 3.8027966640305584, 679.7795494564685),
        (&cells.varp["array"], (20, 20), 201.09794279617324, 21966.496449834252),
        (&cells.varp["sparse"], (20, 20), 2.7323754994788683, 74.06220024500993),
        (&raw.x, (30, 40), 568.0, 187904.0),
        (matrix(&raw.varm["array"]), (40, 50), 1009.9324575649545, 522563.4535839207),
        (matrix(&raw.varm["sparse"]), (40, 100), 18.669856326877383, 13805.897017848893),
    ];
    for (part, shape, sum, weighted) in parts {
        assert_eq!(part.shape(), shape);
        assert_near(sums(part).0, sum, "adata");
        assert_near(sums(part).1, weighted, "adata");
    }
    for table in [&cells.obsm["df"], &cells.varm["df"], &raw.varm["df"]] {
        let Table::Frame(frame) = table else { panic!("{table:?} is no frame") };
        assert_eq!(frame.columns(), ["cat", "cat_ordered", "int64", "float64", "uint8"]);
        assert!(matches!(frame.column("cat_ordered"), Ok(Column::Categories(c)) if c.ordered));
    }
}

#[test]
fn uns_is_read_in_all_its_groups_and_has_no_categories_of_columns() {
    for name in ["pbmc68k_reduced.h5ad", "pbmc68k_reduced_v0.5.h5ad"] {
        let Some(cells) = cells(name) else { return };
        let names: Vec<&str> = cells.uns.keys().map(String::as_str).collect();
        let expected = ["bulk_labels_colors", "louvain", "louvain_colors", "neighbors", "pca", "rank_genes_groups"];
        assert_eq!(names, expected, "{name}");
        assert!(matches!(&cells.uns["bulk_labels_colors"], Value::Texts(shape, colours)
            if *shape == [10] && colours[0].as_deref() == Some("#1f77b4")));
        let Some(Value::Numbers(variance)) = cells.uns["pca"].get("variance") else { panic!("{name}") };
        assert_eq!((variance.values.dtype(), &variance.shape[..]), (DType::F32, &[50][..]));
        assert_eq!(variance.values.at(0) as f32, 30.928047);
        let groups = &cells.uns["rank_genes_groups"];
        let Some(Value::Records(names)) = groups.get("names") else { panic!("{name}: {groups:?}") };
        assert_eq!((names.len(), names[0].0.as_str()), (10, "CD4+/CD25 T Reg"));
        assert_eq!((names[0].1.text(0).as_deref(), names[9].1.text(99).as_deref()), (Some("RGS19"), Some("DNAJC1")));
        let Some(Value::Records(scores)) = groups.get("scores") else { panic!("{name}") };
        assert!(matches!(&scores[9].1, Column::Numbers(x) if x.dtype() == DType::F32 && x.len() == 100));
        let params = groups.get("params").expect("params");
        assert!(matches!(params.get("use_raw"), Some(Value::Numbers(flag)) if flag.values.dtype() == DType::Bool));
    }
    let Some(cells) = cells("anndata_v0.7.8/adata.h5ad") else { return };
    let nested = &cells.uns["nested"];
    assert_eq!(nested.get("scalar_float").and_then(Value::number), Some(3.0));
    assert_eq!(nested.get("scalar_int").and_then(Value::number), Some(42.0));
    assert_eq!(nested.get("scalar_str").and_then(Value::text), Some("str"));
    let further = nested.get("nested_further").and_then(|group| group.get("array"));
    assert!(matches!(further, Some(Value::Numbers(array)) if array.values.to_vec::<i64>() == [0, 1, 2, 3, 4]));
    let Value::Records(records) = &cells.uns["O_recarray"] else { panic!("records") };
    assert_eq!((records[4].0.as_str(), records[4].1.text(19).as_deref()), ("njodC", Some("ett")));
}

#[test]
fn a_description_names_all_parts() {
    let Some(path) = real("singlecell/pbmc68k_reduced_v0.5.h5ad") else { return };
    let found = describe(&path).expect("sound");
    assert_eq!(
        (found.obsm.join(","), found.varm.join(","), found.raw),
        ("X_pca,X_umap".into(), "PCs".into(), Some((700, 765)))
    );
    assert_eq!(found.uns.join(","), "bulk_labels_colors,louvain,louvain_colors,neighbors,pca,rank_genes_groups");
    let Some(path) = real("singlecell/tenx_v3_small.h5") else { return };
    let found = describe(&path).expect("sound");
    assert_eq!((found.shape, found.nnz, found.kind.as_str(), found.dtype), ((1107, 507), 23866, "csr", "int32"));
}

#[test]
fn cell_rangers_h5_opens_as_scanpy_reads_it() {
    let Some(cells) = cells("tenx_v3_small.h5") else { return };
    assert_eq!((cells.x.shape(), cells.x.dtype()), ((1107, 507), DType::I32));
    // x = scanpy.read_10x_h5(.., gex_only=False).X: x.sum(), and weighted by row and column.
    assert_eq!(sums(&cells.x).0, 41549.0);
    let names = cells.obs_names().expect("barcodes");
    assert_eq!((names[0].as_str(), names[1106].as_str()), ("AAACCCAAGGAGAGTA-1", "TTTGGTTGTAGAATAC-1"));
    let genes = cells.var_names().expect("genes");
    assert_eq!((genes[0].as_str(), genes[506].as_str()), ("CH507-9B2.2", "PRMT2"));
    assert_eq!(cells.var.columns(), ["gene_ids", "feature_types", "genome"]);
    let first = |column| cells.var.column(column).expect(column).text(0).expect("a text");
    assert_eq!(
        [first("gene_ids"), first("feature_types"), first("genome")],
        ["ENSG00000279493", "Gene Expression", "GRCh38_chr21"]
    );
    let address = cells.x.to_plan_bytes().expect("a file can be named");
    let again = Array::from_plan_bytes(&address, crate::io::open_address).expect("the same file");
    assert_eq!(sums(&again), sums(&cells.x));
}
