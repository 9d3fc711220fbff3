//! What is written comes back, here and in Python; and nothing half-written is ever found.

use std::path::Path;

use super::super::Compression;
use super::super::tree::{Attribute, Attributes, NewArray, Tree, TreeWriter};
use super::write::{StoreOptions, ZarrWriter};
use super::*;
use crate::array::{Block, DType, Source, Values, random};
use crate::bytes::ByteSize;
use crate::io::testing::dense_values;
use crate::runtime::Cluster;

const COMPRESSIONS: [Compression; 4] =
    [Compression::None, Compression::Gzip(6), Compression::Zstd(3), Compression::BloscLz4];

fn cluster() -> Cluster {
    Cluster::builder().workers(2).allowance(ByteSize(64 << 20)).build().expect("a small cluster")
}

fn every_option() -> Vec<StoreOptions> {
    let v3 = |inner_bytes| StoreOptions { version: Version::V3, inner_bytes };
    vec![StoreOptions { version: Version::V2, inner_bytes: None }, v3(None), v3(Some(100))]
}

/// Writes one of everything, in every dtype and compression; the numbers at row i and column j are (7i + 3j) mod 100.
fn write_all(path: &Path, options: StoreOptions) {
    let writer = ZarrWriter::create(path, options).expect("a new store");
    let attributes = Attributes::from([
        ("encoding-type".to_string(), Attribute::Text("dict".into())),
        ("column-order".to_string(), Attribute::Texts(vec!["ß".into(), "b".into()])),
        ("shape".to_string(), Attribute::Integers(vec![13, 11])),
        ("ordered".to_string(), Attribute::Bool(true)),
    ]);
    writer.group("", attributes.clone()).expect("the root");
    writer.group("all", Attributes::new()).expect("a group");
    for dtype in DType::ALL {
        for (number, compression) in COMPRESSIONS.into_iter().enumerate() {
            let path = format!("all/{dtype}_{number}");
            let new = NewArray {
                path: &path,
                shape: vec![13, 11],
                dtype,
                chunk_rows: 6,
                compression,
                attributes: Attributes::new(),
            };
            let array = writer.array(&new).expect("an array");
            // The last chunk first: they may come in any order.
            for chunk in [2u64, 0, 1] {
                let rows = chunk * 6..(chunk * 6 + 6).min(13);
                array.put(chunk, array.encode(&numbers(rows, dtype)).expect("encoded")).expect("stored");
            }
        }
    }
    let text = |text: &str| Some(text.to_string());
    writer.texts("texts", &[3], &[text("a"), None, text("ßx")], attributes).expect("texts");
    writer.texts("text", &[], &[text("one")], Attributes::new()).expect("a text");
    writer.texts("no_texts", &[0], &[], Attributes::new()).expect("no texts");
    writer.numbers("number", &[], &Values::from(vec![2.5f64]), Attributes::new()).expect("a number");
    writer.numbers("vector", &[3], &Values::from(vec![1i64, -2, 3]), Attributes::new()).expect("a vector");
    writer.numbers("nothing", &[0], &Values::from(Vec::<u8>::new()), Attributes::new()).expect("no numbers");
    Box::new(writer).finish().expect("whole");
}

fn numbers(rows: std::ops::Range<u64>, dtype: DType) -> Values {
    let numbers: Vec<u8> = rows.flat_map(|i| (0..11).map(move |j| ((i * 7 + j * 3) % 100) as u8)).collect();
    Values::from(numbers).cast(dtype)
}

#[test]
fn what_is_written_is_read_back_in_every_version_compression_and_dtype() {
    for options in every_option() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("x.zarr");
        write_all(&path, options);
        let tree = ZarrTree::open(&path).expect("sound");
        assert_eq!(tree.members("all").expect("a group").len(), 44);
        for (name, _) in tree.members("all").expect("a group") {
            let array = tree.array(&format!("all/{name}")).expect("sound");
            let values = array.read(0..13).expect("sound");
            assert_eq!(values.as_bytes(), numbers(0..13, values.dtype()).as_bytes(), "{options:?} {name}");
            // Of 66 values, at most 100 bytes: from 1 row of 8 bytes each to 6 of one.
            let shards = options.inner_bytes.is_some();
            let rows = if shards { [0, 6, 3, 0, 2, 0, 0, 0, 1][values.dtype().size_of()] } else { 6 };
            assert_eq!(array.chunks(), Some(vec![rows, 11]), "{name}");
        }
        let texts = |name: &str, n| tree.array(name).expect("sound").read_texts(0..n).expect("texts");
        assert_eq!(texts("texts", 3), ["a", "", "ßx"].map(|text| Some(text.to_string())));
        assert_eq!((texts("text", 1), texts("no_texts", 0)), (vec![Some("one".to_string())], vec![]));
        let number = |name: &str, n| tree.array(name).expect("sound").read(0..n).expect("numbers").to_vec::<f64>();
        assert_eq!(
            (number("number", 1), number("vector", 3), number("nothing", 0)),
            (vec![2.5], vec![1.0, -2.0, 3.0], vec![])
        );
        assert_eq!(tree.attributes("").expect("a group")["shape"], Attribute::Integers(vec![13, 11]));
        assert_eq!(tree.attributes("texts").expect("an array")["ordered"], Attribute::Bool(true));
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1, "no temporary folder is left");
    }
}

#[test]
fn python_reads_what_is_written() {
    let Some(python) = std::env::var_os("ALLOTMENT_PYTHON") else {
        println!("skipped: ALLOTMENT_PYTHON names no Python with zarr");
        return;
    };
    for options in every_option() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("x.zarr");
        write_all(&path, options);
        let script = "import sys, numpy as np, zarr\n\
            g = zarr.open_group(sys.argv[1], mode='r'); i, j = np.indices((13, 11)); m = (i * 7 + j * 3) % 100\n\
            assert g.metadata.consolidated_metadata is not None\n\
            names = list(g['all'].array_keys()); assert len(names) == 44\n\
            for n in names:\n    a = g['all/' + n]; assert a.dtype == n.split('_')[0], n; assert (a[:] == m.astype(a.dtype)).all(), n\n\
            assert list(g['texts'][:]) == ['a', '', 'ßx'] and g['text'][()] == 'one' and len(g['no_texts'][:]) == 0\n\
            assert g['number'][()] == 2.5 and list(g['vector'][:]) == [1, -2, 3] and len(g['nothing'][:]) == 0\n\
            assert g.attrs['column-order'] == ['ß', 'b'] and g.attrs['shape'] == [13, 11] and g['texts'].attrs['ordered'] is True\n";
        let output =
            std::process::Command::new(&python).arg("-c").arg(script).arg(&path).output().expect("Python starts");
        assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn matrices_are_saved_in_parallel_and_opened_again() {
    let (cluster, folder) = (cluster(), tempfile::tempdir().expect("a temporary directory"));
    let path = folder.path().join("x.zarr");
    let dense = random::uniform(1003, 17, 7, None);
    let sparse = dense.to_csr().expect("few columns");
    for array in [dense, sparse] {
        let whole = dense_values(&array.compute(&cluster).expect("computed"));
        for (chunk_rows, shard) in
            [(None, None), (Some(100), None), (Some(100), Some(20 * 17 * 8)), (Some(5000), None), (Some(1), None)]
        {
            for version in [Version::V2, Version::V3] {
                let options = SaveOptions { version, chunk_rows, shard_chunk_bytes: shard, ..Default::default() };
                save_array(&cluster, &array, &path, &options).expect("saved over the one before");
                let opened = crate::io::open(&path).expect("sound");
                let back = opened.x().compute(&cluster).expect("read");
                assert_eq!(dense_values(&back), whole, "{options:?}");
                assert!(matches!(back, Block::Dense(_)));
                let described = crate::io::describe(&path).expect("sound");
                assert_eq!((described.format, described.shape), ("zarr", (1003, 17)));
                let rows = if shard.is_some() && version == Version::V3 { Some(20) } else { chunk_rows };
                assert!(rows.is_none_or(|rows| described.chunks == Some(vec![rows.min(1003), 17])), "{described:?}");
                let plan = opened.x().to_plan_bytes().expect("a file travels");
                let travelled = Array::from_plan_bytes(&plan, crate::io::open_address).expect("opened again");
                assert_eq!(travelled.shape(), (1003, 17));
            }
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1, "neither old nor temporary stores are left");
}

#[test]
fn arrays_without_rows_or_columns_are_saved() {
    let (cluster, folder) = (cluster(), tempfile::tempdir().expect("a temporary directory"));
    for (rows, cols) in [(0, 3), (3, 0), (0, 0), (1, 1)] {
        let path = folder.path().join(format!("{rows}_{cols}.zarr"));
        save_array(&cluster, &random::uniform(rows, cols, 1, None), &path, &SaveOptions::default()).expect("saved");
        assert_eq!(open_array(&path).expect("sound").shape(), (rows, cols));
    }
}

#[test]
fn an_unfinished_store_leaves_nothing_and_the_old_one_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("x.zarr");
    write_all(&path, StoreOptions::default());
    let new = NewArray {
        path: "x",
        shape: vec![4, 2],
        dtype: DType::U8,
        chunk_rows: 2,
        compression: Compression::None,
        attributes: Attributes::new(),
    };
    for finish in [false, true] {
        let writer = ZarrWriter::create(&path, StoreOptions::default()).expect("a new store");
        writer.group("", Attributes::new()).expect("the root");
        let array = writer.array(&new).expect("an array");
        array.put(1, array.encode(&Values::from(vec![1u8; 4])).expect("encoded")).expect("stored");
        assert!(array.put(2, Vec::new()).is_err(), "there are two chunks");
        drop(array);
        if finish {
            let error = Box::new(writer).finish().expect_err("a chunk is missing").to_string();
            assert!(error.contains("1 missing, the first of them number 0"), "{error}");
        }
        assert_eq!(ZarrTree::open(&path).expect("the old one").members("all").expect("a group").len(), 44);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
}

#[test]
fn nothing_but_a_store_is_replaced() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(folder.path().join("letter.txt"), "dear").expect("write");
    for path in [folder.path().to_path_buf(), folder.path().join("letter.txt"), Path::new("/no/such/x.zarr").into()] {
        let error = ZarrWriter::create(&path, StoreOptions::default()).expect_err("refused").to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
}
