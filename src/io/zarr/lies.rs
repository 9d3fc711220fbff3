//! Stores that claim what is not so: each is refused with an error that names it, before memory is taken for the claim.

use std::path::{Path, PathBuf};

use super::super::testing::assert_names_the_file;
use super::super::tree::Tree;
use super::*;

/// Writes a store of one array of version 2, and returns its path.
fn store(folder: &Path, zarray: &str, chunk: &[u8]) -> PathBuf {
    let path = folder.join("x.zarr");
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).expect("create");
    std::fs::write(path.join(".zarray"), zarray).expect("write");
    std::fs::write(path.join("0"), chunk).expect("write");
    path
}

fn zarray(shape: &str, chunks: &str, compressor: &str) -> String {
    format!(
        r#"{{"zarr_format":2,"shape":{shape},"chunks":{chunks},"dtype":"<i4","compressor":{compressor},"fill_value":0,"order":"C","filters":null}}"#
    )
}

#[test]
fn metadata_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let cases = [
        ("[4,4]", "[2]", "null", "2 dimensions"),
        ("[4]", "[0]", "null", "from 1 on"),
        ("[4]", "[-2]", "null", "from 1 on"),
        ("[-4]", "[2]", "null", "from 0 on"),
        ("[9223372036854775808]", "[2]", "null", "from 0 on"),
        ("[4294967296,4294967296]", "[1,1]", "null", "2^62"),
        ("[4]", "[4611686018427387903]", "null", "1 GiB"),
        ("[4.5]", "[2]", "null", "whole numbers"),
        ("[4]", "[4]", r#"{"id":"lzma"}"#, "\"lzma\""),
        ("[4]", "[4]", r#"{"id":7}"#, "a codec with an id"),
        ("7", "[4]", "null", "whole numbers"),
    ];
    for (shape, chunks, compressor, expected) in cases {
        let path = store(folder.path(), &zarray(shape, chunks, compressor), &[0; 16]);
        let error = open_array(&path).expect_err(shape);
        assert_names_the_file(&error, "x.zarr", shape);
        assert!(error.to_string().contains(expected), "{error}");
    }
    for text in ["", "{", "[]", "null", "{}", r#"{"shape":[1],"chunks":[1],"dtype":"|O","order":"C"}"#] {
        let path = store(folder.path(), text, &[]);
        assert_names_the_file(&open_array(&path).expect_err(text), "x.zarr", text);
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(open_array(store(folder.path(), &deep, &[])).is_err(), "no recursion without an end");
}

#[test]
fn chunks_that_are_not_what_is_declared_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let bomb = zstd::bulk::compress(&vec![0; 32 << 20], 19).expect("in memory");
    let cases: [(&str, &str, &[u8]); 6] = [
        ("too short", "null", &[0; 15]),
        ("too long", "null", &[0; 17]),
        ("far too long", "null", &[0; 5000]),
        ("the wrong codec", r#"{"id":"gzip"}"#, &[0; 16]),
        ("a bomb", r#"{"id":"zstd"}"#, &bomb),
        ("nothing", r#"{"id":"blosc"}"#, &[]),
    ];
    for (what, compressor, chunk) in cases {
        let path = store(folder.path(), &zarray("[4]", "[4]", compressor), chunk);
        let array = ZarrTree::open(&path).expect("sound metadata").array("").expect("sound metadata");
        let error = array.read(0..4).expect_err(what);
        assert_names_the_file(&error, "x.zarr", what);
        assert!(array.read(0..5).is_err(), "beyond the end");
    }
}

#[test]
fn huge_claims_cost_nothing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    // 2^40 numbers in chunks of one, and 2^40 in chunks of 2^27: none of them stored.
    for chunks in ["[1]", "[134217728]"] {
        let path = store(folder.path(), &zarray("[1099511627776]", chunks, "null"), &[]);
        std::fs::remove_file(path.join("0")).expect("remove");
        let array = ZarrTree::open(&path).expect("sound").array("").expect("sound");
        let error = array.read(0..1 << 40).expect_err("too much").to_string();
        assert!(error.contains("what the store can hold"), "{error}");
        assert_eq!(array.read((1 << 40) - 3..1 << 40).expect("three zeros").to_vec::<i64>(), [0; 3]);
    }
    let path = store(folder.path(), &zarray("[16000000]", "[1]", "null"), &[0; 4]);
    let error = ZarrTree::open(&path).and_then(|tree| tree.array("")?.read(0..16_000_000)).expect_err("too many files");
    assert!(error.to_string().contains("chunks in a run"), "{error}");
}

#[test]
fn links_that_leave_the_store_are_refused_and_others_followed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(folder.path().join("secret"), [1; 16]).expect("write");
    let path = store(folder.path(), &zarray("[4]", "[4]", "null"), &[7, 0, 0, 0, 7, 0, 0, 0, 7, 0, 0, 0, 7, 0, 0, 0]);
    let read = || ZarrTree::open(&path).and_then(|tree| tree.array("")?.read(0..4));
    std::fs::rename(path.join("0"), path.join("elsewhere")).expect("rename");
    std::os::unix::fs::symlink("elsewhere", path.join("0")).expect("link");
    assert_eq!(read().expect("inside").to_vec::<i32>(), [7; 4]);
    for target in ["../secret".into(), folder.path().join("secret")] {
        std::fs::remove_file(path.join("0")).expect("remove");
        std::os::unix::fs::symlink(&target, path.join("0")).expect("link");
        let error = read().expect_err("outside").to_string();
        assert!(error.contains("a link that leaves it"), "{error}");
    }
}

#[test]
fn zip_files_that_are_cut_or_flipped_are_refused_or_whole() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("x.zarr.zip");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/zarr_v3.zarr.zip");
    let whole = std::fs::read(fixture).expect("read");
    for part in 0..64 {
        std::fs::write(&path, &whole[..whole.len() * part / 64]).expect("write");
        assert_names_the_file(&open_array(&path).expect_err("cut"), "x.zarr", "cut");
    }
    let mut damage = super::super::testing::Damage::seeded(1);
    for seed in 0..500 {
        let mut bytes = whole.clone();
        let end = bytes.len();
        // Half of the damage goes to the directory at the end.
        damage.apply(&mut bytes[if seed % 2 == 0 { end * 3 / 4 } else { 0 }..]);
        std::fs::write(&path, &bytes).expect("write");
        let outcome = ZarrTree::open(&path).and_then(|tree| tree.array("codecs/zstd")?.read(0..120));
        match outcome {
            Ok(values) => assert_eq!(values.len(), 6000),
            Err(error) => assert_names_the_file(&error, "x.zarr", "flipped"),
        }
    }
    std::fs::write(&path, b"PK\x05\x06garbage").expect("write");
    assert!(open_array(&path).is_err());
}

#[test]
fn a_store_that_changes_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = store(folder.path(), &zarray("[4]", "[4]", "null"), &[0; 16]);
    let tree = ZarrTree::open(&path).expect("sound");
    assert!(tree.check_unchanged().is_ok());
    std::fs::write(path.join(".zarray"), zarray("[4]", "[2]", "null")).expect("write");
    assert!(tree.check_unchanged().is_err() && tree.reopen().is_err());
}
