//! What Python's zarr 3.1 wrote, in every type, codec and order (`tests/fixtures/make_zarr.py`), and real stores.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::testing::{dense_values, real};
use super::super::tree::{Attribute, Elements, NodeKind, Tree};
use super::*;
use crate::array::Array;
use crate::bytes::ByteSize;
use crate::runtime::Cluster;

fn fixture(version: u8) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(format!("zarr_v{version}.zarr.zip"))
}

fn tree(version: u8) -> ZarrTree {
    ZarrTree::open(&fixture(version)).expect("a sound store")
}

/// The number at a place of nearly all arrays of the fixtures.
fn expected(rows: Range<u64>, cols: u64) -> Vec<f64> {
    rows.flat_map(|i| (0..cols).map(move |j| ((i * 7 + j * 3) % 100) as f64)).collect()
}

#[test]
fn every_type_of_number_in_either_order_of_bytes_is_read() {
    for version in [2, 3] {
        let tree = tree(version);
        let types = tree.members("types").expect("a group");
        assert!(types.len() >= 15, "{types:?}");
        for (name, _) in types {
            let array = tree.array(&format!("types/{name}")).expect("sound");
            for rows in [0..13, 3..11, 12..13, 4..4] {
                let values = array.read(rows.clone()).expect("sound");
                let mut numbers = expected(rows, 11);
                if name == "bool" {
                    numbers.iter_mut().for_each(|x| *x %= 2.0);
                }
                assert_eq!(values.to_vec::<f64>(), numbers, "version {version}, {name}");
                assert_eq!(*array.elements(), Elements::Numbers(values.dtype()));
            }
        }
    }
}

#[test]
fn every_codec_is_read() {
    for (version, least) in [(2, 13), (3, 6)] {
        let tree = tree(version);
        let codecs = tree.members("codecs").expect("a group");
        assert!(codecs.len() >= least, "{codecs:?}");
        for (name, _) in codecs {
            let array = tree.array(&format!("codecs/{name}")).expect("sound");
            for rows in [0..120, 65..75] {
                let values =
                    array.read(rows.clone()).unwrap_or_else(|error| panic!("version {version}, {name}: {error}"));
                assert_eq!(values.to_vec::<f64>(), expected(rows, 50), "version {version}, {name}");
            }
        }
    }
}

#[test]
fn layouts_of_every_kind_give_the_same_numbers() {
    for (version, names) in [(2, &["order_f", "nested"][..]), (3, &["transposed", "dotted", "sharded_start"])] {
        let tree = tree(version);
        for name in names {
            let values = tree.array(name).expect("sound").read(2..12).expect("sound");
            assert_eq!(values.to_vec::<f64>(), expected(2..12, 11), "version {version}, {name}");
        }
        let cube = tree.array("cube").expect("sound");
        assert_eq!(cube.read(1..2).expect("sound").to_vec::<i64>(), (12..24).collect::<Vec<i64>>());
    }
    let sharded = tree(3).array("sharded").expect("sound");
    assert_eq!(sharded.chunks(), Some(vec![20, 10]), "the chunks inside the shards");
    assert_eq!(sharded.read(19..101).expect("sound").to_vec::<f64>(), expected(19..101, 50));
}

#[test]
fn what_is_not_stored_is_the_fill_value() {
    for version in [2, 3] {
        let tree = tree(version);
        let values = tree.array("fill").expect("sound").read(0..13).expect("sound").to_vec::<f64>();
        for (at, (found, number)) in values.iter().zip(expected(0..13, 11)).enumerate() {
            let stored = (5..10).contains(&(at / 11)) && (4..8).contains(&(at % 11));
            assert!(if stored { *found == number } else { found.is_nan() }, "{at}: {found}");
        }
        let none = tree.array("fill_int").expect("sound").read(1..3).expect("sound");
        assert_eq!(none.to_vec::<i16>(), [-3; 22]);
        let empty = tree.array("empty").expect("sound");
        assert_eq!((empty.shape(), empty.read(0..0).expect("nothing").len()), (&[0, 11][..], 0));
    }
    let part = tree(3).array("sharded_part").expect("sound").read(0..120).expect("sound").to_vec::<i32>();
    for (at, found) in part.iter().enumerate() {
        let (i, j) = (at / 50, at % 50);
        let stored = (20..40).contains(&i) && (10..20).contains(&j);
        assert_eq!(*found, if stored { ((i * 7 + j * 3) % 100) as i32 } else { -1 });
    }
}

#[test]
fn texts_records_and_single_values_are_read() {
    for version in [2, 3] {
        let tree = tree(version);
        let texts = |name: &str, range| {
            let texts = tree.array(name).expect("sound").read_texts(range).expect("texts");
            texts.into_iter().map(|text| text.expect("none is missing")).collect::<Vec<_>>()
        };
        assert_eq!(texts("texts_u", 0..4), ["a", "ßx", "", "longest"]);
        assert_eq!(texts("texts_s", 1..4), ["bc", "", "longest"]);
        assert_eq!(texts("texts_o", 1..5), ["ßx", "", "long\nest", "z"]);
        let scalar = tree.array("scalar").expect("sound");
        assert_eq!((scalar.shape(), scalar.chunks()), (&[][..], None));
        assert_eq!(scalar.read(0..1).expect("sound").to_vec::<f64>(), [2.5]);
        let records = tree.array("records").expect("sound");
        let Elements::Records(fields) = records.elements() else { panic!("records") };
        assert_eq!(fields[..5], ["name", "x", "flag", "who", "n"]);
        let text = |field: &str, row| records.read_field(field).expect("sound").text(row);
        assert_eq!(text("name", 6).as_deref(), Some("r6"));
        assert_eq!(text("who", 4).as_deref(), Some("ä4"));
        assert_eq!(text("x", 5).as_deref(), Some("2.5"));
        assert_eq!(text("n", 3).as_deref(), Some("30000000000"));
        assert_eq!(text("flag", 3).as_deref(), Some("true"));
        assert!(records.read_field("none").is_err());
        for name in ["complex", "dates"] {
            let error = tree.array(name).expect("sound").read(0..4).expect_err(name).to_string();
            assert!(error.contains("zarr.zip") && error.contains(name), "{error}");
        }
    }
}

#[test]
fn attributes_and_members_are_those_that_were_written() {
    for version in [2, 3] {
        let tree = tree(version);
        let attributes = tree.attributes("").expect("a group");
        assert_eq!(attributes["text"].text(), Some("ß"));
        assert_eq!(attributes["texts"], Attribute::Texts(vec!["a".into(), "b".into()]));
        assert_eq!(attributes["none"], Attribute::Texts(vec![]));
        assert_eq!(attributes["flag"], Attribute::Bool(true));
        assert_eq!(attributes["whole"].integers(), Some(&[3, 4][..]));
        assert_eq!(attributes["one"].integers(), Some(&[5][..]));
        assert_eq!(attributes["half"], Attribute::Numbers(vec![0.5]));
        assert_eq!(attributes["tree"], Attribute::Other);
        assert_eq!(tree.find("types").expect("sound"), Some(NodeKind::Group));
        assert_eq!(tree.find("fill").expect("sound"), Some(NodeKind::Array));
        assert_eq!(tree.find("typ").expect("sound"), None);
        let members = tree.members("").expect("a group");
        assert!(
            members.is_sorted_by_key(|(name, _)| name) && members.contains(&("codecs".into(), NodeKind::Group)),
            "{members:?}"
        );
        for path in ["..", "a/../b", "/etc", "a//b", "types/", "."] {
            assert!(tree.find(path).is_err(), "{path}");
        }
    }
}

#[test]
fn real_stores_have_the_numbers_of_the_same_data_elsewhere() {
    for (name, place, other) in [
        ("pbmc68k_reduced_v3.zarr.zip", "X", "pbmc68k_reduced.h5ad"),
        ("neurons10k_v2.zarr", "X", "neurons10k_csr_u16.h5ad"),
    ] {
        let (Some(path), Some(other)) = (real(&format!("singlecell/{name}")), real(&format!("singlecell/{other}")))
        else {
            return;
        };
        let here = Array::from_source(Arc::new(open_array(path.join(place)).expect("sound")));
        let there = crate::io::open(other).expect("sound");
        let cluster = Cluster::builder().workers(1).allowance(ByteSize(256 << 20)).build().expect("small");
        let values = |array: &Array| dense_values(&array.compute(&cluster).expect("sound"));
        assert_eq!(values(&here), values(there.x()), "{name}");
    }
}

#[test]
fn every_array_of_the_real_stores_is_read_whole() {
    // The number of arrays, and the sum of X/data: python -c "import zarr; zarr.open(path)['X/data'][:].sum()"
    for (name, n_arrays, place, sum) in [
        ("pbmc3k_raw_v2.zarr", 11, "X/data", 6_386_518.0),
        ("anndata_v0.7.8/adata.zarr.zip", 83, "X/data", 302.0),
        ("pbmc68k_reduced_v3.zarr.zip", 46, "layers/counts/data", 486_651.0),
    ] {
        let Some(path) = real(&format!("singlecell/{name}")) else { return };
        let tree = ZarrTree::open(&path).expect("sound");
        let (mut places, mut arrays) = (vec![String::new()], Vec::new());
        while let Some(group) = places.pop() {
            for (member, kind) in tree.members(&group).expect("a group") {
                let path = if group.is_empty() { member } else { format!("{group}/{member}") };
                if kind == NodeKind::Group { places.push(path) } else { arrays.push(path) }
            }
        }
        assert_eq!(arrays.len(), n_arrays, "{name}");
        for place in &arrays {
            let array = tree.array(place).expect("sound");
            let all = 0..array.shape().first().copied().unwrap_or(1);
            match array.elements() {
                Elements::Numbers(_) => drop(array.read(all).expect(place)),
                Elements::Texts => drop(array.read_texts(all).expect(place)),
                Elements::Records(fields) => {
                    fields.iter().for_each(|field| drop(array.read_field(field).expect(place)))
                }
                Elements::Other(name) => panic!("{place}: {name}"),
            }
        }
        let data = tree.array(place).expect("sound");
        let values = data.read(0..data.shape()[0]).expect("sound").to_vec::<f64>();
        assert_eq!(values.iter().sum::<f64>(), sum, "{name}");
    }
}
