//! Tests of `.h5ad`: real files against what h5py reads, small files of every layout against the plain matrix, and
//! malformed ones against the place that the error must name.

use std::path::PathBuf;

use super::*;
use crate::array::{Block, BlockKind, DType, Source};
use crate::cells::Column;
use crate::error::Error;
use crate::io::testing::{Sums, dense_values, read, real};

/// Opens a matrix as a source, to read any run of its rows.
fn source(path: &Path, place: &str) -> Result<Arc<dyn Source>> {
    anndata::source(&tree(path)?, place)
}

/// The files that `tests/fixtures/make.py` writes with h5py and anndata.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

const MATRICES: [&str; 2] = ["matrices_earliest.h5ad", "matrices_latest.h5ad"];

/// The matrix of those files: 10 * row + column where their sum is a multiple of 3.
fn expected(rows: std::ops::Range<u64>) -> Vec<f64> {
    let value = |i: u64, j: u64| if (i + j).is_multiple_of(3) { (10 * i + j) as f64 } else { 0.0 };
    rows.flat_map(|i| (0..5).map(move |j| value(i, j))).collect()
}

#[test]
fn real_matrices_have_the_sums_that_h5py_and_numpy_compute() {
    // h5py 3, numpy 2, scipy 1.17; x as dense float64, r and c counted from 1:
    // x.sum(), (x*x).sum(), (x*r).sum(), (x*c).sum().
    let reduced = [-243.681057988666, 536818.210995444, 124194.10137061146, 60680.47396845033];
    let raw = [319044.23824107647, 664225.0026634496, 111756826.45760107, 123253745.76895297];
    let counts = [486651.0, 6884645.0, 169000176.0, 183849542.0];
    let pbmc3k = [6386518.0, 113217990.0, 8609049811.0, 46603856338.0];
    let neurons = [1597698.0, 19142070.0, 7991474865.0, 756504563.0];
    let lzf = [1351231.0, 56945419.0, 135765254.0, 12226369864.0];
    let files = [
        ("neurons10k_csr_u16.h5ad", "X", (10000, 1000), 691914, neurons),
        ("pbmc3k_raw.h5ad", "X", (2700, 13714), 2282976, pbmc3k),
        ("pbmc68k_counts_csr.h5ad", "X", (700, 765), 174400, counts),
        ("pbmc68k_reduced.h5ad", "X", (700, 765), 535500, reduced),
        ("pbmc68k_reduced.h5ad", "raw/X", (700, 765), 174400, raw),
        ("pbmc68k_reduced_csr.h5ad", "X", (700, 765), 174400, raw),
        ("pbmc68k_reduced_v0.5.h5ad", "X", (700, 765), 535500, reduced),
        ("pbmc68k_reduced_v0.5.h5ad", "raw.X", (700, 765), 174400, raw),
        ("pbmc_5k_protein_lzf.h5ad", "X", (200, 16581), 3316200, lzf),
        ("anndata_v0.7.8/adata.h5ad", "X", (30, 20), 239, [302.0, 456.0, 4322.0, 3431.0]),
        ("anndata_v0.7.8/adata.h5ad", "raw/X", (30, 40), 453, [568.0, 820.0, 8793.0, 12180.0]),
    ];
    for (name, place, shape, nnz, expected) in files {
        let Some(path) = real(&format!("singlecell/{name}")) else { return };
        let source = source(&path, place).expect(name);
        assert_eq!((source.shape(), source.nnz()), (shape, nnz), "{name} {place}");
        // 331 rows are no multiple of any chunk: edges are read by two blocks, and the last block is ragged.
        Sums::of(&source, 331).expect(name).assert_near(expected, &format!("{name} {place}"));
        assert_eq!(source.nnz_of(0..shape.0).expect("all rows"), nnz);
    }
}

/// Name lengths in bytes, first and last name, and the columns of obs and var, as h5py reads them.
#[test]
fn real_names_and_columns_are_those_that_h5py_reads() {
    let obs = "bulk_labels,n_genes,percent_mito,n_counts,S_score,G2M_score,phase,louvain";
    let var = "n_counts,means,dispersions,dispersions_norm,highly_variable";
    let v07 = "cat_ordered,int64,float64,uint8";
    let pbmc68k = ("AAAGCCTGGCTAAC-1", "TTGAGGTGGAGAGC-8", 11200);
    let genes = ("HES4", "MT-ND3", 4073);
    let files = [
        (
            "neurons10k_csr_u16",
            ("AAACCTGAGATAGGAG-1", "AAACGGGCACCGAAAG-2", 180000),
            "",
            ("Xkr4", "Gm29630", 6589),
            "gene_ids",
        ),
        (
            "pbmc3k_raw",
            ("AAACATACAACCAC", "TTTGCATGCCTCAC", 37800),
            "cell_type,n_counts,n_genes",
            ("AL627309.1", "SRSF10.1", 84087),
            "n_cells",
        ),
        ("pbmc68k_reduced", pbmc68k, obs, genes, var),
        ("pbmc68k_reduced_v0.5", pbmc68k, obs, genes, var),
        (
            "pbmc_5k_protein_lzf",
            ("AAACCCAAGAGACAAG-1", "ACAACCAGTTACGATC-1", 3600),
            "n_genes,percent_mito,n_counts",
            ("AL627309.1", "AC240274.1", 102398),
            "n_cells,highly_variable,encode,hvg_encode",
        ),
        (
            "anndata_v0.7.8/adata",
            ("cell0", "cell29", 170),
            &format!("obs_cat,{v07}"),
            ("gene0", "gene19", 110),
            &format!("var_cat,{v07}"),
        ),
    ];
    for (name, obs_names, obs_columns, var_names, var_columns) in files {
        let Some(path) = real(&format!("singlecell/{name}.h5ad")) else { return };
        let cells = open(&path).expect(name);
        for (frame, (first, last, bytes), columns) in
            [(&cells.obs, obs_names, obs_columns), (&cells.var, var_names, var_columns)]
        {
            let names = frame.row_names().expect(name);
            let found = (names[0].as_str(), names[names.len() - 1].as_str(), names.iter().map(String::len).sum());
            assert_eq!(found, (first, last, bytes), "{name}");
            let mut found = frame.columns().to_vec();
            // The table of AnnData 0.5 has an order of its own.
            let mut columns: Vec<&str> = columns.split(',').filter(|column| !column.is_empty()).collect();
            if name.ends_with("0.5") {
                found.sort();
                columns.sort();
            }
            assert_eq!(found, columns, "{name}");
        }
    }
}

/// Counts the rows of each category, missing ones first.
fn counts(column: &Column) -> Vec<usize> {
    let Column::Categories(categories) = column else { panic!("{column:?} are no categories") };
    let mut counts = vec![0; categories.names.len() + 1];
    categories.codes.iter().for_each(|code| counts[(code + 1) as usize] += 1);
    counts
}

fn total(column: &Column) -> f64 {
    match column {
        Column::Numbers(values) => values.to_f64().iter().sum(),
        Column::Bools(values) => values.iter().flatten().filter(|x| **x).count() as f64,
        other => panic!("{other:?} have no sum"),
    }
}

#[test]
fn real_categories_of_every_layout_are_counted_as_h5py_counts_them() {
    let Some(folder) = real("singlecell") else { return };
    let cells = open(folder.join("pbmc3k_raw.h5ad")).expect("sound");
    let types = cells.obs.column("cell_type").expect("categories");
    assert_eq!(counts(&types)[..8], [62, 697, 483, 480, 344, 271, 162, 155]);
    assert_eq!((types.text(0).as_deref(), types.n_missing()), (Some("Memory CD4 T"), 62));
    let phases = [0, 501, 17, 182];
    for name in ["pbmc68k_reduced.h5ad", "pbmc68k_reduced_v0.5.h5ad"] {
        let cells = open(folder.join(name)).expect("sound");
        assert_eq!(counts(&cells.obs.column("phase").expect("categories")), phases, "{name}");
        let labels = cells.obs.column("bulk_labels").expect("categories");
        assert_eq!(counts(&labels)[..8], [0, 68, 8, 19, 54, 43, 129, 95], "{name}");
        assert_eq!(total(&cells.obs.column("n_genes").expect("integers")), 830061.0, "{name}");
        assert_eq!(total(&cells.var.column("highly_variable").expect("truth")), 309.0, "{name}");
        assert!((total(&cells.obs.column("percent_mito").expect("floats")) - 12.07220508530736).abs() < 1e-9, "{name}");
    }
    let cells = open(folder.join("anndata_v0.7.8/adata.h5ad")).expect("sound");
    let column = cells.obs.column("obs_cat").expect("categories beside the frame");
    assert_eq!(counts(&column)[..12], [0, 1, 1, 2, 1, 1, 1, 2, 1, 2, 2, 3]);
    assert!(matches!(&column, Column::Categories(c) if c.names[..3] == ["A", "B", "E"] && !c.ordered));
    assert!(matches!(cells.obs.column("cat_ordered"), Ok(Column::Categories(c)) if c.ordered));
    let cells = open(folder.join("pbmc_5k_protein_lzf.h5ad")).expect("sound");
    let encode = cells.var.column("encode").expect("categories beside the frame");
    assert_eq!(counts(&encode), [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 16568, 1, 1, 1]);
}

#[test]
fn every_column_type_of_the_current_layout_reads_with_its_missing_values() {
    let cells = open(fixture("columns.h5ad")).expect("sound");
    let expected = [
        ("grade", "b,-,a,b,c,a,b"),
        ("batch", "2,1,1,2,2,1,1"),
        ("flag", "true,false,true,true,false,false,true"),
        ("count", "1,-,3,4,5,6,7"),
        ("maybe", "true,-,false,true,true,true,false"),
        ("hole", "x,-,,y,z,u,v"),
        ("size", "0,0.25,0.5,0.75,1,1.25,1.5"),
        ("note", "note 0 é,note 1 é,note 2 é,note 3 é,note 4 é,note 5 é,note 6 é"),
    ];
    for (name, texts) in expected {
        let column = cells.obs.column(name).expect(name);
        let found: Vec<String> = (0..7).map(|row| column.text(row).unwrap_or("-".into())).collect();
        assert_eq!(found.join(","), texts, "{name}");
    }
    assert!(matches!(cells.obs.column("grade"), Ok(Column::Categories(c)) if c.ordered && c.names == ["c", "b", "a"]));
    assert!(
        matches!(cells.obs.column("big"), Ok(Column::Numbers(values)) if values.to_f64()[6] == 6.0 * 2f64.powi(50))
    );
    assert_eq!(cells.obs_names().expect("names")[6], "cell 6");
    assert_eq!(cells.var_names().expect("names").join(","), "gene 0,gene 1,gene 2,gene 3,gene 4");
    let unknown = cells.obs.column("age").expect_err("no such column").to_string();
    assert!(unknown.contains("\"age\"") && unknown.contains("one of grade, batch"), "{unknown}");
    for (place, dtype) in [("X", DType::F64), ("raw/X", DType::F64), ("layers/counts", DType::U16)] {
        let source = source(&fixture("columns.h5ad"), place).expect(place);
        assert_eq!(source.dtype(), dtype);
        assert_eq!(dense_values(&read(&source, 0..7).expect(place)), super::tests::expected(0..7), "{place}");
    }
}

#[test]
fn every_layout_dtype_order_and_filter_reads_as_the_plain_matrix() {
    let good = [
        ("csr", DType::F32, BlockKind::Csr),
        ("csr_gzip", DType::I16, BlockKind::Csr),
        ("csr_lzf", DType::I64, BlockKind::Csr),
        ("csr_narrow", DType::U8, BlockKind::Csr),
        ("csr_big_endian", DType::F64, BlockKind::Csr),
        ("csr_wide_unsigned", DType::U64, BlockKind::Csr),
        ("csr_unsorted", DType::I64, BlockKind::Csr),
        ("csr_duplicates", DType::I64, BlockKind::Csr),
        ("csc", DType::F32, BlockKind::Csr),
        ("csc_duplicates", DType::I64, BlockKind::Csr),
        ("dense", DType::I32, BlockKind::Dense),
        ("dense_lzf", DType::F32, BlockKind::Dense),
        ("dense_big_endian", DType::F64, BlockKind::Dense),
        ("dense_resizable", DType::U32, BlockKind::Dense),
    ];
    for file in MATRICES {
        for (name, dtype, kind) in good {
            let source = source(&fixture(file), &format!("good/{name}")).expect(name);
            assert_eq!((source.shape(), source.dtype(), source.kind()), ((7, 5), dtype, kind), "{file} {name}");
            for rows in [0..7, 0..1, 2..6, 6..7, 3..3] {
                let block = read(&source, rows.clone()).expect(name);
                assert_eq!(dense_values(&block), expected(rows.clone()), "{file} {name} {rows:?}");
                if let Block::Csr(csr) = &block {
                    let sorted = (0..csr.rows).all(|row| csr.indices[csr.row(row)].is_sorted_by(|a, b| a < b));
                    assert!(sorted, "{file} {name}");
                }
            }
            assert!(matches!(read(&source, 3..8), Err(Error::OutOfRange { index: 8, len: 7, .. })));
        }
        for name in ["dense", "csr", "csc"] {
            let source = source(&fixture(file), &format!("bool/{name}")).expect(name);
            assert_eq!(source.dtype(), DType::Bool);
            let truth: Vec<f64> = expected(0..7).iter().map(|x| f64::from(u8::from(*x != 0.0))).collect();
            assert_eq!(dense_values(&read(&source, 0..7).expect(name)), truth, "{file} {name}");
        }
        for (name, shape) in [
            ("dense", (0, 5)),
            ("csr", (0, 5)),
            ("csc", (0, 5)),
            ("csr_without_columns", (7, 0)),
            ("csr_of_zeros", (7, 5)),
        ] {
            let source = source(&fixture(file), &format!("empty/{name}")).expect(name);
            assert_eq!(source.shape(), shape, "{file} {name}");
            let zeros = vec![0.0; (shape.0 * shape.1) as usize];
            assert_eq!(dense_values(&read(&source, 0..shape.0).expect(name)), zeros, "{file} {name}");
        }
    }
}

#[test]
fn malformed_matrices_are_refused_with_the_place_before_or_while_they_are_read() {
    let bad = [
        ("indptr_start", "indptr[0]: expected 0, found 1"),
        ("indptr_end", "indptr[7]: expected 11, found 10"),
        ("indptr_falls", "indptr[2]: expected an offset from 2 to 11, found 1"),
        ("indptr_beyond", "indptr[2]: expected an offset from 1 to 11, found 1000"),
        ("indptr_negative", "indptr[1]: expected no negative offset, found -1"),
        ("indptr_short", "indptr: expected 7 lines, so 7 + 1 offsets, found 7"),
        ("indices_beyond", "indices[3]: expected an index from 0 to 4, found 5"),
        ("indices_negative", "indices[3]: expected an index from 0 to 4, found -1"),
        ("indices_wide", "indices[3]: expected an index from 0 to 4"),
        ("indices_short", "indices: expected as many as in bad/indices_short/data, 11, found 10"),
        ("indices_float", "expected integers"),
        ("shape_negative", "attribute 'shape' of bad/shape_negative"),
        ("shape_huge", "indptr"),
        ("shape_three", "attribute 'shape'"),
        ("sum_overflows", "row 0: expected values at one place whose sum uint8 holds"),
        ("encoding", "csr_tensor"),
        ("no_data", "a vector 'data'"),
        ("complex", "compound"),
        ("text", "values of type"),
        ("three", "[2, 2, 2]"),
        ("scalar", "two dimensions"),
        ("huge", "can hold"),
        ("nothing", "nothing of that name"),
        ("three/four", "nothing of that name"),
    ];
    for file in MATRICES {
        for (name, place) in bad {
            let place_in_file = format!("bad/{name}");
            let found = source(&fixture(file), &place_in_file).and_then(|source| {
                let rows = source.shape().0;
                read(&source, 0..rows)
            });
            let error = found.expect_err(name).to_string();
            assert!(error.contains(file) && error.contains(place) && !error.contains('\n'), "{file} {name}: {error}");
        }
    }
}

#[test]
fn malformed_columns_are_refused_and_leave_the_others_readable() {
    for file in MATRICES {
        let cells = open(fixture(file)).expect("the columns are read when they are asked for");
        for (name, expected) in [
            ("long", "expected 7 values, as there are rows, found 8"),
            ("vector", "a vector"),
            ("endless", "can hold, found 1125899906842624"),
            ("names", "can hold, found 1125899906842624"),
            ("code", "obs/code/codes[2]: expected -1 or the place of one of 2 categories, found 2"),
        ] {
            let error = cells.obs.column(name).expect_err(name).to_string();
            assert!(error.contains(expected) && error.contains("obs/"), "{file} {name}: {error}");
        }
        assert_eq!(cells.obs_names().expect("names").len(), 7);
    }
}

#[test]
fn half_floats_are_widened_and_zstd_is_decoded() {
    for file in MATRICES {
        for (name, dtype) in [("float16", DType::F32), ("zstd", DType::I64)] {
            let source = source(&fixture(file), &format!("bad/{name}")).expect(name);
            assert_eq!(source.dtype(), dtype);
            assert_eq!(dense_values(&read(&source, 0..7).expect(name)), expected(0..7), "{file} {name}");
        }
    }
}

#[test]
fn a_file_that_changes_between_blocks_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("x.h5ad");
    std::fs::copy(fixture(MATRICES[0]), &path).expect("copy");
    let source = source(&path, "good/csr_gzip").expect("sound");
    assert!(read(&source, 0..2).is_ok());
    let cut = std::fs::read(&path).expect("read")[..4000].to_vec();
    std::fs::write(&path, cut).expect("cut");
    let error = read(&source, 2..4).expect_err("it was cut").to_string();
    assert!(error.contains("x.h5ad") && error.contains("it changed while it was read"), "{error}");
}

#[test]
fn an_opened_file_reduces_on_a_cluster_in_blocks_that_fit() {
    use crate::array::Over;
    let cells = open("bench-data/neurons10k_csr_u16.h5ad").expect("sound");
    // 16 MiB hold a good part of the rows: the planned blocks are several.
    let allowance = crate::ByteSize(16 << 20);
    let cluster = crate::Cluster::builder().workers(2).allowance(allowance).build().expect("a small cluster");
    assert_eq!(cells.x.sum(&cluster, Over::Whole).expect("sound"), [1597698.0]);
    let by_column = cells.x.sum(&cluster, Over::EachColumn).expect("sound");
    let weighted: f64 = by_column.iter().enumerate().map(|(col, sum)| (1.0 + col as f64) * sum).sum();
    assert_eq!(weighted, 756504563.0);
    let dense = open("bench-data/pbmc68k_reduced.h5ad").expect("sound").x;
    let by_row = dense.sum(&cluster, Over::EachRow).expect("sound");
    let weighted: f64 = by_row.iter().enumerate().map(|(row, sum)| (1.0 + row as f64) * sum).sum();
    // 535,500 additions in float64 whose partial sums stay below 10^6: 10^6 * 2^-53 each, and their walk is random.
    assert!((weighted - 124194.10137061146).abs() < 1e-6, "{weighted}");
}

#[test]
fn one_source_is_read_by_several_lanes_at_once() {
    let source = source(&fixture(MATRICES[0]), "good/csr_lzf").expect("sound");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for row in 0..7 {
                    assert_eq!(dense_values(&read(&source, row..row + 1).expect("sound")), expected(row..row + 1));
                }
            });
        }
    });
}
