//! Every encoding of AnnData's on-disk specification, written by Python's anndata and read here.
//!
//! Needs `ALLOTMENT_PYTHON`, a Python with anndata, h5py and scipy; skipped where there is none.

use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::array::{DType, Over};
use crate::bytes::ByteSize;
use crate::cells::{Column, Frame, Table, Value};
use crate::error::Error;
use crate::io::testing::dense_values;
use crate::runtime::Cluster;

/// A matrix of 3000 × 300 by columns, of more values than one window of the reader holds; and an element of each kind.
const SCRIPT: &str = r#"
import sys
try:
    import anndata, h5py, numpy as np, pandas as pd, scipy.sparse as sp
except ImportError as missing:
    print(missing)
    sys.exit(3)
anndata.settings.allow_write_nullable_strings = True
write = anndata.io.write_elem
i, j = np.indices((3000, 300))
x = np.where((i * 7 + j * 13) % 3 == 0, (i + j) % 50 + 1, 0).astype("f4")
obs = pd.DataFrame({
    "ints": pd.Categorical(np.array([5, -1, 30])[np.arange(3000) % 3], categories=[30, 5, -1], ordered=True),
    "flags": pd.Categorical(np.arange(3000) % 2 == 0),
    "texts": pd.Categorical([["a", None, "b"][k % 3] for k in range(3000)]),
    "nullable_int": pd.array([None if k % 5 == 0 else k for k in range(3000)], dtype="Int16"),
    "nullable_bool": pd.array([None if k % 5 == 0 else k % 2 == 0 for k in range(3000)], dtype="boolean"),
    "nullable_text": pd.array([None if k % 5 == 0 else f"t{k}" for k in range(3000)], dtype="string"),
    "small": np.arange(3000).astype("u1"),
    "huge": np.full(3000, 2**53 + 1),
}, index=[f"cell {k}" for k in range(3000)])
a = anndata.AnnData(sp.csc_matrix(x), obs=obs, var=pd.DataFrame(index=[f"gene {k % 299}" for k in range(300)]))
a.layers["csr"], a.layers["dense"] = sp.csr_matrix(x), x
a.obsm["vector"] = np.arange(3000.0)[:, None]
a.obsm["frame"] = pd.DataFrame({"z": np.arange(3000)}, index=obs.index)
a.varm["sparse"] = sp.csr_matrix(np.eye(300, 4))
a.varp["graph"] = sp.csc_matrix(np.eye(300))
a.uns = {
    "int": 7, "float": np.float32(0.5), "bool": True, "text": "grün", "empty": {}, "none": np.zeros(0),
    "cube": np.arange(24, dtype="i2").reshape(2, 3, 4), "texts": np.array([["a", "b"], ["c", "d"]]),
    "records": np.array([(1, 0.5, b"x"), (2, 1.5, b"y")], dtype=[("n", "i4"), ("f", "f8"), ("s", "S3")]),
    "sparse": sp.csc_matrix(np.eye(3)), "frame": pd.DataFrame({"q": [1.5, 2.5]}, index=["u", "v"]),
    "category": pd.Categorical(["p", "q", "p"]), "nullable": pd.array([1, None], dtype="Int64"),
    "large": np.arange(200_000.0).reshape(1000, 200), "deep": {"er": {"est": np.int8(3)}},
}
path = sys.argv[1]
a.write_h5ad(path, compression="gzip")
with h5py.File(path, "a") as f:
    for place in ["obsm/ragged", "uns/ragged"]:
        g = f.create_group(place)
        g.attrs["encoding-type"], g.attrs["encoding-version"] = "awkward-array", "0.1.0"
    f["obsm/cube"] = np.zeros((3000, 2, 2))
    f["layers/short"] = np.zeros((2999, 300))
    f["layers/words"] = np.array([["w"]], dtype=object)
    f["uns/half"] = np.array([0.5, -2.0], dtype="f2")
    f["uns/opaque"] = np.void(b"\x00\x01")
    d = f["uns"].create_dataset("null", data=h5py.Empty("f"))
    d.attrs["encoding-type"] = "null"
    d = f["uns"].create_dataset("bytes", data=np.bytes_(b"raw"))
    d.attrs["encoding-type"] = "bytes"
    f["uns/maze"] = f["uns"]
    d = f.create_dataset("raw", data=h5py.Empty("f"))
    d.attrs["encoding-type"] = "null"
    for name in ["csr", "csc"]:
        g = f.create_group(f"bare/{name}")
        m = getattr(sp, name + "_matrix")(x)
        g["indptr"], g["indices"], g["data"] = m.indptr, m.indices, m.data
        g.attrs["shape"] = m.shape
with h5py.File(path + ".without_x.h5ad", "w") as f, h5py.File(path) as g:
    for name in ["obs", "var", "layers"]:
        g.copy(name, f)
with h5py.File(path + ".ranger2.h5", "w") as f:
    for genome in ["hg19", "mm10"]:
        g, m = f.create_group(genome), sp.csr_matrix(x[:40, :30].astype("i4"))
        g["barcodes"] = np.array([f"AAC{k}-1" for k in range(40)], dtype="S")
        g["genes"] = np.array([f"ENS{k}" for k in range(30)], dtype="S")
        g["gene_names"] = np.array([f"G{k % 29}" for k in range(30)], dtype="S")
        g["shape"], g["indptr"], g["indices"], g["data"] = (30, 40), m.indptr.astype("i8"), m.indices.astype("i8"), m.data
with h5py.File(path + ".tables.h5ad", "w") as f:
    f["X"] = x[:3, :2]
    kinds = [("index", "S2"), ("one", "i1"), ("two", "i1"), ("size", "f8"), ("both", "i8")]
    f["obs"] = np.array([(b"a", 0, 1, 0.5, 0), (b"b", 0, -1, 0.25, 7), (b"b", -1, 0, 1.0, 1)], dtype=kinds)
    f["var"] = np.array([(b"x", 1), (b"y", 0)], dtype=[("name", "S2"), ("both", "i1")])
    f["uns/one_categories"] = b"only"
    f["uns/two_categories"], f["uns/both_categories"] = np.array([b"p", b"q"]), np.array([b"u", b"v"])
    f["uns/kept_categories"] = np.array([b"w"])
"#;

/// Lets Python write the file, or says that this is skipped.
fn written() -> Option<(tempfile::TempDir, PathBuf)> {
    let Some(python) = std::env::var_os("ALLOTMENT_PYTHON") else {
        eprintln!("skipped: ALLOTMENT_PYTHON names no Python with anndata");
        return None;
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("x.h5ad");
    let ran = Command::new(python).args(["-W", "ignore", "-c", SCRIPT]).arg(&path).output().expect("it can be run");
    let said = String::from_utf8_lossy(&ran.stderr);
    match ran.status.code() {
        Some(0) => Some((folder, path)),
        Some(3) => {
            eprintln!("skipped: {}", String::from_utf8_lossy(&ran.stdout));
            None
        }
        _ => panic!("{said}"),
    }
}

fn cluster(allowance: ByteSize) -> Cluster {
    Cluster::builder().workers(2).allowance(allowance).build().expect("a small cluster")
}

#[test]
fn whatever_python_writes_is_read() {
    let Some((_folder, path)) = written() else { return };
    let cells = open(&path).expect("sound");
    cells.check().expect("every part has the shape it must have");
    matrices_are_equal_however_they_are_stored(&cells, &path);
    columns_keep_what_they_are(&cells);
    values_of_uns_keep_what_they_are(&cells);
    what_is_not_read_refuses_when_asked(&cells);
    let error = open(format!("{}.without_x.h5ad", path.display())).expect_err("no X").to_string();
    assert!(error.contains("without X") && error.contains("layers csr, dense, short, words"), "{error}");
    let layer = open_matrix(format!("{}.without_x.h5ad", path.display()), "layers/csr").expect("a layer");
    assert_eq!(layer.shape(), (3000, 300));
}

#[test]
fn tables_of_old_and_counts_of_cell_ranger_2_are_read() {
    let Some((_folder, path)) = written() else { return };
    let old = open(format!("{}.tables.h5ad", path.display())).expect("sound");
    let texts = |frame: &Frame, name: &str| -> Vec<String> {
        let column = frame.column(name).expect(name);
        (0..column.len()).map(|row| column.text(row).unwrap_or("-".into())).collect()
    };
    assert_eq!(texts(&old.obs, "one"), ["only", "only", "-"], "a single category was stored as a single value");
    assert_eq!(texts(&old.obs, "two"), ["q", "-", "p"]);
    assert_eq!(texts(&old.obs, "size"), ["0.5", "0.25", "1"]);
    assert_eq!(texts(&old.obs, "both"), ["0", "7", "1"], "these are no places of the names, which are those of var");
    assert_eq!(texts(&old.var, "both"), ["v", "u"]);
    assert_eq!(
        (old.obs_names().expect("names").join(","), old.var_names().expect("names").join(",")),
        ("a,b,b".into(), "x,y".into())
    );
    assert_eq!(old.uns.keys().collect::<Vec<_>>(), ["kept_categories"]);

    let counts = format!("{}.ranger2.h5", path.display());
    let error = open(&counts).expect_err("which genome?").to_string();
    assert!(error.contains("hg19, mm10"), "{error}");
    let cluster = cluster(ByteSize(48 << 20));
    let mouse = open_matrix(&counts, "mm10").expect("a genome").compute(&cluster).expect("sound");
    let cells = open(&path).expect("sound");
    let whole = dense_values(&cells.layers["csr"].compute(&cluster).expect("sound"));
    let expected: Vec<f64> = (0..40 * 30).map(|at| whole[at / 30 * 300 + at % 30]).collect();
    assert_eq!(dense_values(&mouse), expected);
}

fn matrices_are_equal_however_they_are_stored(cells: &AnnData, path: &Path) {
    // Small blocks, on two lanes, under an allowance that forbids large ones.
    let cluster = cluster(ByteSize(48 << 20));
    let value = |i: usize, j: usize| if (i * 7 + j * 13).is_multiple_of(3) { ((i + j) % 50 + 1) as f64 } else { 0.0 };
    let expected: Vec<f64> = (0..3000 * 300).map(|at| value(at / 300, at % 300)).collect();
    let bare = |name: &str| open_matrix(path, &format!("bare/{name}")).expect(name);
    let all = [cells.x.clone(), cells.layers["csr"].clone(), cells.layers["dense"].clone(), bare("csr"), bare("csc")];
    for matrix in all {
        for rows in [97, 3000] {
            let block = matrix.clone().with_block_rows(rows).compute(&cluster).expect("sound");
            assert_eq!(dense_values(&block), expected, "{matrix:?} in blocks of {rows} rows");
        }
    }
    assert_eq!(cells.varp["graph"].sum(&cluster, Over::Whole).expect("sound"), [300.0]);
    assert_eq!(cells.varm["sparse"].array().map(|matrix| matrix.shape()), Some((300, 4)));
    // Another cluster reads what the first one turned.
    drop(cluster);
    let again = self::cluster(ByteSize(64 << 20));
    assert_eq!(dense_values(&cells.x.compute(&again).expect("sound")), expected);
}

fn columns_keep_what_they_are(cells: &AnnData) {
    let column = |name: &str| cells.obs.column(name).expect(name);
    let texts = |name: &str| -> Vec<Option<String>> { (0..4).map(|row| column(name).text(row)).collect() };
    let some = |text: &str| Some(text.to_string());
    let Column::Categories(ints) = column("ints") else { panic!("categories") };
    assert_eq!((ints.numeric, ints.ordered, ints.names.join(",")), (Some(DType::I64), true, "30,5,-1".into()));
    let Column::Categories(flags) = column("flags") else { panic!("categories") };
    assert_eq!((flags.numeric, flags.names.join(",")), (Some(DType::Bool), "false,true".into()));
    assert_eq!(texts("texts"), [some("a"), None, some("b"), some("a")]);
    assert_eq!(texts("nullable_int"), [None, some("1"), some("2"), some("3")]);
    assert_eq!(texts("nullable_bool"), [None, some("false"), some("true"), some("false")]);
    assert_eq!(texts("nullable_text"), [None, some("t1"), some("t2"), some("t3")]);
    for (name, dtype) in [("nullable_int", DType::I16), ("small", DType::U8), ("huge", DType::I64)] {
        assert!(matches!(column(name), Column::Numbers(values) if values.dtype() == dtype), "{name}");
    }
    assert_eq!(column("huge").text(0), some("9007199254740993"));
    let genes = cells.var_names().expect("names");
    assert_eq!((genes[0].as_str(), genes[299].as_str()), ("gene 0", "gene 0"), "names need not differ");
}

fn values_of_uns_keep_what_they_are(cells: &AnnData) {
    let uns = &cells.uns;
    assert_eq!((uns["int"].number(), uns["float"].number(), uns["text"].text()), (Some(7.0), Some(0.5), Some("grün")));
    assert!(matches!(&uns["bool"], Value::Numbers(flag) if flag.values.dtype() == DType::Bool));
    assert!(matches!(&uns["empty"], Value::Group(members) if members.is_empty()));
    assert!(matches!(&uns["none"], Value::Numbers(none) if none.shape == [0]));
    assert!(matches!(&uns["null"], Value::Null) && cells.raw.is_none());
    assert!(matches!(&uns["bytes"], Value::Bytes(bytes) if bytes == b"raw"));
    assert!(matches!(&uns["cube"], Value::Numbers(cube) if cube.shape == [2, 3, 4] && cube.values.at(23) == 23.0));
    assert!(matches!(&uns["half"], Value::Numbers(half) if half.values.to_vec::<f32>() == [0.5, -2.0]));
    assert!(
        matches!(&uns["texts"], Value::Texts(shape, texts) if *shape == [2, 2] && texts[3].as_deref() == Some("d"))
    );
    let Value::Records(fields) = &uns["records"] else { panic!("records") };
    let field = |at: usize| (fields[at].0.as_str(), fields[at].1.text(1).expect("a value"));
    assert_eq!([field(0), field(1), field(2)], [("n", "2".into()), ("f", "1.5".into()), ("s", "y".into())]);
    assert!(matches!(&uns["sparse"], Value::Matrix(eye) if eye.shape() == (3, 3)));
    assert!(matches!(&uns["large"], Value::Matrix(large) if large.shape() == (1000, 200)));
    assert!(matches!(&uns["frame"], Value::Frame(frame) if frame.row_names().expect("names") == ["u", "v"]));
    assert!(matches!(&uns["category"], Value::Column(Column::Categories(c)) if c.codes == [0, 1, 0]));
    assert!(matches!(&uns["nullable"], Value::Column(column) if column.n_missing() == 1));
    assert_eq!(uns["deep"].get("er").and_then(|er| er.get("est")).and_then(Value::number), Some(3.0));
    assert!(matches!(&uns["ragged"], Value::Unknown(why) if why.contains("awkward-array")));
    assert!(matches!(&uns["opaque"], Value::Unknown(why) if why.contains("opaque")));
    // A group that contains itself ends somewhere.
    assert!(uns["maze"].get("maze").is_some());
}

fn what_is_not_read_refuses_when_asked(cells: &AnnData) {
    let cluster = cluster(ByteSize(48 << 20));
    for (name, why) in [("short", "expected shape (3000, 300), found (2999, 300)"), ("words", "string")] {
        let error = cells.layers[name].sum(&cluster, Over::Whole).expect_err(name).to_string();
        assert!(error.contains(&format!("layers/{name}")) && error.contains(why), "{error}");
    }
    for (name, why) in [("ragged", "awkward-array"), ("cube", "a matrix of two dimensions")] {
        let Table::Frame(frame) = &cells.obsm[name] else { panic!("{name}") };
        let error = frame.row_names().expect_err(name);
        assert!(matches!(error, Error::Unsupported { .. } | Error::BadInput { .. }), "{error}");
        assert!(error.to_string().contains(&format!("obsm/{name}")) && error.to_string().contains(why), "{error}");
    }
}
