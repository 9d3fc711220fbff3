//! What is written is read back: by this crate's reader, and by Python's anndata where the variable ALLOTMENT_PYTHON
//! names an interpreter that has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::array::{Array, Block, BlockKind, BlockMap, CsrBlock, DType, random};
use crate::bytes::ByteSize;
use crate::cells::{AnnData, Categories, Column, Frame, Numbers, Raw, Tensor, Value};
use crate::error::{Error, Result};
use crate::io::{Compression, WriteOptions, h5ad};
use crate::runtime::Cluster;

fn cluster(workers: usize) -> Cluster {
    Cluster::builder().allowance(ByteSize(64 << 20)).workers(workers).build().expect("sound settings")
}

fn names(prefix: &str, n: u64) -> Vec<String> {
    (0..n).map(|i| format!("{prefix} {i}")).collect()
}

fn frame(prefix: &str, n: u64) -> Frame {
    Frame::in_memory(names(prefix, n), Vec::new()).expect("no columns")
}

/// Returns data of which nothing but the matrix is of interest.
fn plain(x: Array) -> AnnData {
    let (rows, cols) = x.shape();
    AnnData::new(x, frame("cell", rows), frame("gene", cols)).expect("lengths of the matrix")
}

fn values(cluster: &Cluster, array: &Array) -> Vec<f64> {
    array.compute(cluster).expect("small").to_vec()
}

/// Returns the same numbers on any day: zeros, and small whole numbers that every dtype has.
fn counts(rows: usize, cols: usize) -> Vec<u8> {
    (0..rows * cols).map(|at| if at * 7 % 5 < 3 { 0 } else { (at * 31 % 97) as u8 }).collect()
}

/// Writes with chunks so small that every array has several, and reads the matrix back.
fn there_and_back(cluster: &Cluster, x: &Array, compression: Compression, folder: &Path) -> Array {
    let path = folder.join("x.h5ad");
    let (chunk_rows, overwrite) = (Some(3), true);
    let options = WriteOptions { compression, chunk_rows, chunk_values: 4, overwrite, ..WriteOptions::default() };
    h5ad::write(cluster, &plain(x.clone()), &path, &options).expect("written");
    h5ad::open(&path).expect("sound").x
}

#[test]
fn matrices_of_every_dtype_kind_and_shape_come_back() {
    let (cluster, folder) = (cluster(2), tempfile::tempdir().expect("a temporary directory"));
    for (rows, cols) in [(7, 5), (1, 5), (7, 1), (0, 5), (7, 0), (0, 0)] {
        let dense = Array::from_slice(rows, cols, &counts(rows, cols)).expect("so many");
        for dtype in DType::ALL {
            let dense = dense.astype(dtype).with_block_rows(2);
            for x in [dense.clone(), dense.to_csr().expect("few columns")] {
                for compression in [Compression::None, Compression::Gzip(1)] {
                    let back = there_and_back(&cluster, &x, compression, folder.path());
                    assert_eq!((back.shape(), back.dtype(), back.kind()), (x.shape(), dtype, x.kind()));
                    assert_eq!(
                        values(&cluster, &back),
                        values(&cluster, &x),
                        "{dtype} {rows} x {cols} {compression:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_matrix_without_values_and_explicit_zeros_come_back() {
    let (cluster, folder) = (cluster(2), tempfile::tempdir().expect("a temporary directory"));
    let none = Array::zeros(9, 4, DType::F32, BlockKind::Csr).expect("four columns");
    let back = there_and_back(&cluster, &none, Compression::Gzip(4), folder.path());
    assert_eq!(values(&cluster, &back), [0.0; 36]);
    let zeros = CsrBlock::new(2, 3, vec![0, 2, 3], vec![0, 2, 1], vec![0.0f32, 1.0, 0.0]).expect("sound");
    let back = there_and_back(&cluster, &Array::from_block(zeros), Compression::Gzip(4), folder.path());
    let block = back.compute(&cluster).and_then(Block::into_csr).expect("small");
    assert_eq!((block.nnz(), &block.indptr[..]), (3, &[0, 2, 3][..]), "stored zeros are stored");
}

#[test]
fn thousands_of_chunks_have_a_tree_of_three_levels() {
    let (cluster, folder) = (cluster(2), tempfile::tempdir().expect("a temporary directory"));
    let x = Array::from_slice(4500, 1, &counts(4500, 1)).expect("so many").with_block_rows(1000);
    let path = folder.path().join("x.h5ad");
    let options = WriteOptions { chunk_rows: Some(1), ..WriteOptions::default() };
    h5ad::write(&cluster, &plain(x.clone()), &path, &options).expect("written");
    let back = h5ad::open(&path).expect("sound").x;
    assert_eq!(values(&cluster, &back), values(&cluster, &x));
}

#[test]
fn the_kind_can_be_chosen_and_workers_change_no_value() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let x = random::uniform(500, 40, 3, 60).to_csr().expect("few columns").log1p();
    let whole = values(&cluster(1), &x);
    for (workers, kind) in [(1, BlockKind::Csr), (3, BlockKind::Csr), (2, BlockKind::Dense)] {
        let cluster = cluster(workers);
        let path = folder.path().join(format!("{workers}.h5ad"));
        let options = WriteOptions { kind: Some(kind), chunk_values: 700, ..WriteOptions::default() };
        h5ad::write(&cluster, &plain(x.clone()), &path, &options).expect("written");
        let back = h5ad::open(&path).expect("sound").x;
        assert_eq!(back.kind(), kind);
        assert_eq!(values(&cluster, &back), whole);
    }
}

/// A matrix whose header promises one value more in row 1 than the row has.
#[derive(Debug)]
struct Boastful(Array);

impl crate::array::Source for Boastful {
    fn shape(&self) -> (u64, u64) {
        self.0.shape()
    }
    fn dtype(&self) -> DType {
        self.0.dtype()
    }
    fn kind(&self) -> BlockKind {
        BlockKind::Csr
    }
    fn nnz(&self) -> u64 {
        self.0.rows() * 2 + 1
    }
    fn nnz_of(&self, rows: std::ops::Range<u64>) -> Result<u64> {
        Ok((rows.end - rows.start) * 2 + u64::from(rows.contains(&1)))
    }
    fn counts_are_exact(&self) -> bool {
        true
    }
    fn storage_rows(&self) -> u64 {
        1
    }
    fn scratch_bytes(&self, _: std::ops::Range<u64>) -> Result<u64> {
        Ok(0)
    }
    fn read_rows(&self, rows: std::ops::Range<u64>, _: &crate::runtime::TaskContext) -> Result<Block> {
        let n = (rows.end - rows.start) as usize;
        let indptr = (0..=n as u64).map(|row| 2 * row).collect::<Vec<_>>();
        CsrBlock::new(n, 3, indptr, [0u32, 2].repeat(n), vec![1.5f32; 2 * n]).map(Block::Csr)
    }
    fn name(&self) -> String {
        "boastful".into()
    }
}

#[test]
fn headers_that_promise_other_numbers_of_values_are_found_out() {
    let (cluster, folder) = (cluster(2), tempfile::tempdir().expect("a temporary directory"));
    let shape = Array::zeros(50, 3, DType::F32, BlockKind::Csr).expect("three columns");
    let x = Array::from_source(Arc::new(Boastful(shape))).with_block_rows(10);
    let back = there_and_back(&cluster, &x, Compression::Gzip(4), folder.path());
    assert_eq!(values(&cluster, &back), [1.5, 0.0, 1.5].repeat(50));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "the first attempt left nothing");
}

fn text(text: &str) -> Option<String> {
    Some(text.to_string())
}

/// Returns a frame with a column of every sort.
fn all_columns() -> Frame {
    let score = Numbers::nullable(vec![1i16, 2, 3, 4].into(), vec![false, true, false, false]).expect("four");
    let kind = Categories::new(vec![1, 0, -1, 1], vec!["B".into(), "T".into()]);
    let plate = Categories::new(vec![0, 0, 1, 1], vec!["7".into(), "12".into()]);
    let columns = [
        ("age", Column::from(vec![31i32, 58, 7, 44])),
        ("size", Column::from(vec![0.5f32, f32::NAN, 2.5, 1e10])),
        ("byte", Column::from(vec![0u8, 255, 3, 4])),
        ("big", Column::from(vec![u64::MAX, 0, 1, 2])),
        ("score", Column::Numbers(score)),
        ("batch", Column::Strings(vec![text("a"), text("é ü"), text(""), text("d")])),
        ("note", Column::Strings(vec![text("a"), None, text(""), text("d")])),
        ("good", Column::Bools([true, false, true, true].map(Some).to_vec())),
        ("maybe", Column::Bools(vec![Some(true), None, Some(false), None])),
        ("type", Column::Categories(Categories { ordered: true, ..kind })),
        ("plate", Column::Categories(Categories { numeric: Some(DType::I64), ..plate })),
    ];
    let columns = columns.into_iter().map(|(name, column)| (name.to_string(), column)).collect();
    Frame::in_memory(names("cell", 4), columns).expect("four rows")
}

fn csr(rows: usize, cols: usize) -> Array {
    let counts = Array::from_slice(rows, cols, &counts(rows, cols)).expect("so many");
    counts.to_csr().expect("few columns")
}

/// Returns a value of every sort.
fn all_values() -> Value {
    let params = [("method", "arpack".into()), ("n", 50i64.into()), ("half", 0.5f64.into()), ("yes", true.into())];
    let records = [
        ("T", Column::Strings(vec![text("CD3E"), text("x")])),
        ("p", Column::from(vec![0.5f64, 1.0])),
        ("ok", Column::from(vec![true, false])),
    ];
    let records = records.into_iter().map(|(name, column)| (name.to_string(), column)).collect();
    Value::group([
        ("pca", Value::group([("params", Value::group(params)), ("variance", Value::vector(vec![3.5f32, 1.25]))])),
        ("none", Value::Null),
        ("empty", Value::vector(Vec::<f64>::new())),
        ("empty text", "".into()),
        ("cube", Value::Numbers(Tensor { shape: vec![2, 1, 2], values: vec![1i8, 2, 3, 4].into() })),
        ("colors", Value::Texts(vec![2], vec![text("#ff0000"), text("#00ff00")])),
        ("groups", Value::Column(all_columns().column("type").expect("it is there"))),
        ("table", Value::Frame(all_columns())),
        ("graph", Value::Matrix(csr(4, 4))),
        ("ranks", Value::Records(records)),
        ("bytes", Value::Bytes(b"abc".to_vec())),
    ])
}

/// Returns data with something in every slot.
fn everything() -> AnnData {
    let var = vec![("n".into(), Column::from(vec![1i64, 2, 3]))];
    let var = Frame::in_memory(vec!["CD3E".into(), "GNLY".into(), "GNLY".into()], var).expect("three rows");
    let mut data = AnnData::new(csr(4, 3).astype(DType::F32), all_columns(), var).expect("lengths");
    data.layers.insert("counts".into(), csr(4, 3));
    data.layers.insert("dense".into(), csr(4, 3).to_dense().astype(DType::F32));
    data.obsm.insert("X_pca".into(), random::uniform(4, 2, 1, None).into());
    data.obsm.insert("more".into(), all_columns().into());
    data.varm.insert("PCs".into(), random::uniform(3, 2, 2, None).into());
    data.obsp.insert("distances".into(), csr(4, 4).astype(DType::F64));
    data.varp.insert("links".into(), random::uniform(3, 3, 2, None));
    data.raw = Some(Raw { x: csr(4, 5), var: frame("raw gene", 5), varm: Default::default() });
    if let Value::Group(all) = all_values() {
        data.uns = all;
    }
    data
}

#[test]
fn what_no_file_can_hold_and_names_that_are_taken_are_refused_and_nothing_is_left() {
    let (cluster, folder) = (cluster(2), tempfile::tempdir().expect("a temporary directory"));
    let path = folder.path().join("x.h5ad");
    let write = |data: &AnnData, options: &WriteOptions| h5ad::write(&cluster, data, &path, options);
    let count = || std::fs::read_dir(folder.path()).expect("a folder").count();
    let sound = plain(Array::from_rows(&[[1.0f32, 2.0]]).expect("a row"));
    let default = WriteOptions::default();
    let refused = |change: &dyn Fn(&mut AnnData), expected: &str| {
        let mut data = sound.clone();
        change(&mut data);
        let error = write(&data, &default).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(count(), 0, "{error}");
    };
    refused(&|data| drop(data.uns.insert("a/b".into(), Value::Null)), "\"a/b\" in uns");
    refused(&|data| drop(data.uns.insert("".into(), Value::Null)), "rename it");
    refused(&|data| drop(data.uns.insert("awk".into(), Value::Unknown("awkward-array".into()))), "uns/awk");
    refused(&|data| drop(data.layers.insert("l".into(), random::uniform(3, 2, 1, None))), "layers/l must be 1 × 2");
    let long = (0..5000).map(|i| (format!("{i}"), Column::from(vec![0u8]))).collect::<Vec<_>>();
    let long = Frame::in_memory(vec!["a".into()], long).expect("one row");
    refused(&|data| data.obs = long.clone(), "4000");
    let fail = |_: Block, _| Err(Error::bad_argument("test", "block", 0, "sound"));
    let failing = BlockMap::new("fail", 2, DType::F32, BlockKind::Dense, fail);
    refused(&|data| data.x = data.x.map_blocks(failing.clone()).expect("two columns"), "block is 0");
    let zstd = WriteOptions { compression: Compression::Zstd(3), ..default.clone() };
    assert!(matches!(write(&sound, &zstd), Err(Error::Unsupported { .. })));
    assert_eq!(count(), 0);
    write(&sound, &default).expect("written");
    let taken = write(&sound, &default).expect_err("it exists").to_string();
    assert!(taken.contains("leave to overwrite"), "{taken}");
    let again = WriteOptions { overwrite: true, ..default };
    write(&sound, &again).expect("replaced");
    let same = write(&h5ad::open(&path).expect("sound"), &again).expect_err("its own input").to_string();
    assert!(same.contains("the data are read from"), "{same}");
    assert_eq!(count(), 1);
}

#[test]
fn frames_come_back_as_they_were() {
    let (cluster, folder) = (cluster(2), tempfile::tempdir().expect("a temporary directory"));
    let (data, path) = (everything(), folder.path().join("x.h5ad"));
    h5ad::write(&cluster, &data, &path, &WriteOptions::default()).expect("written");
    let back = h5ad::open(&path).expect("sound");
    assert_eq!(back.obs_names().expect("names"), names("cell", 4));
    assert_eq!(back.var_names().expect("names"), ["CD3E", "GNLY", "GNLY"]);
    assert_eq!(back.obs.columns(), data.obs.columns());
    for name in back.obs.columns() {
        let (found, expected) = (back.obs.column(name).expect("there"), data.obs.column(name).expect("there"));
        for row in 0..4 {
            assert_eq!(found.text(row), expected.text(row), "{name} of row {row}");
        }
    }
    for (place, array) in [("layers/counts", &data.layers["counts"]), ("raw/X", &data.raw.as_ref().expect("raw").x)] {
        let found = h5ad::open_matrix(&path, place).expect("there");
        assert_eq!(values(&cluster, &found), values(&cluster, array));
    }
}

/// Returns the interpreter to compare with, or says that there is none.
fn python() -> Option<PathBuf> {
    let found = std::env::var_os("ALLOTMENT_PYTHON").map(PathBuf::from);
    if found.is_none() {
        println!("skipped: set ALLOTMENT_PYTHON to an interpreter that has anndata and scanpy");
    }
    found
}

#[test]
fn python_reads_every_slot() {
    let Some(python) = python() else { return };
    let (cluster, folder) = (cluster(2), tempfile::tempdir().expect("a temporary directory"));
    for (name, compression) in [("plain", Compression::None), ("gzip", Compression::Gzip(4))] {
        let path = folder.path().join(name).with_extension("h5ad");
        let (chunk_rows, chunk_values) = (Some(3), 2);
        let options = WriteOptions { compression, chunk_rows, chunk_values, ..WriteOptions::default() };
        h5ad::write(&cluster, &everything(), &path, &options).expect("written");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/h5ad_slots.py");
        let output = std::process::Command::new(&python).arg(script).arg(&path).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
}
