//! Tests of `.npy`: real files against NumPy's sums, every layout against the plain one, and hostile files.

use std::sync::Arc;

use super::*;
use crate::array::{Buffer, DenseBlock, Values};
use crate::error::Error;
use crate::io::testing::{Damage, Sums, assert_names_the_file, dense_values, in_a_task, read, real};

/// Writes a file of version `version` with this header text and these bytes.
fn file(folder: &Path, version: u8, text: &str, data: &[u8]) -> std::path::PathBuf {
    let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
    if version == 1 {
        bytes.extend((text.len() as u16).to_le_bytes());
    } else {
        bytes.extend((text.len() as u32).to_le_bytes());
    }
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    let path = folder.join("x.npy");
    std::fs::write(&path, bytes).expect("write");
    path
}

fn header_text(descr: &str, fortran: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn source(path: &Path) -> Arc<dyn Source> {
    Arc::new(open(path).expect("a sound file"))
}

#[test]
fn real_files_have_the_sums_that_numpy_computes() {
    // numpy 2, x = load(..).astype(float64), r and c counted from 1: x.sum(), (x*x).sum(), (x*r).sum(), (x*c).sum().
    let files = [
        ("breast_cancer", 569, 30, [1056474.4596356, 955069324.085005, 290893084.6134092, 15997027.559157101]),
        ("breast_cancer_target", 569, 1, [357.0, 357.0, 114561.0, 357.0]),
        (
            "california_housing_complete",
            20433,
            9,
            [4329992484.174999, 1146976754153400.0, 45252388719444.72, 38559714383.899994],
        ),
        ("digits", 1797, 64, [561718.0, 6907012.0, 503904265.0, 18222371.0]),
        ("iris", 150, 4, [2078.7, 9539.29, 174175.6, 4204.4]),
        ("iris_target", 150, 1, [150.0, 250.0, 16325.0, 150.0]),
        ("mnist_t10k", 10000, 784, [264923200.0, 58095386156.0, 1377285899477.0, 107790167391.0]),
        ("mnist_t10k_target", 10000, 1, [44434.0, 281290.0, 221901817.0, 44434.0]),
    ];
    for (name, rows, cols, expected) in files {
        let Some(path) = real(&format!("dense/{name}.npy")) else { return };
        let source = source(&path);
        assert_eq!(source.shape(), (rows, cols), "{name}");
        // A step that divides no length gives a ragged last block.
        Sums::of(&source, 997).expect("a sound file").assert_near(expected, name);
    }
}

#[test]
fn three_dimensions_are_refused_with_their_shape() {
    let Some(path) = real("dense/lfw_subset.npy") else { return };
    let error = open(&path).expect_err("three dimensions").to_string();
    assert!(error.contains("lfw_subset.npy") && error.contains("[200, 25, 25]"), "{error}");
}

#[test]
fn every_dtype_order_and_version_reads_as_the_plain_one() {
    let folder = folder();
    for descr in ["b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"] {
        let bytes = |x: u8, big: bool| -> Vec<u8> {
            let x = if descr == "b1" { u8::from(x != 0) } else { x };
            let mut bytes = match descr {
                "f4" => f32::from(x).to_le_bytes().to_vec(),
                "f8" => f64::from(x).to_le_bytes().to_vec(),
                _ => {
                    let width: usize = descr[1..].parse().expect("a digit");
                    u64::from(x).to_le_bytes()[..width].to_vec()
                }
            };
            if big {
                bytes.reverse();
            }
            bytes
        };
        for (version, order, fortran) in
            [(1, '<', "False"), (2, '>', "False"), (3, '<', "True"), (1, '>', "True"), (1, '|', "False")]
        {
            // 5 rows of 3 columns: value = 10 * row + col.
            let plain: Vec<u8> = (0..15).map(|i| 10 * (i / 3) + i % 3).collect();
            let stored: Vec<u8> =
                if fortran == "True" { (0..15).map(|i| plain[i % 5 * 3 + i / 5]).collect() } else { plain.clone() };
            let data: Vec<u8> = stored.iter().flat_map(|&x| bytes(x, order == '>')).collect();
            let path = file(folder.path(), version, &header_text(&format!("{order}{descr}"), fortran, "(5, 3)"), &data);
            let block = read(&source(&path), 1..4).expect("a sound file");
            let expected: Vec<f64> =
                plain[3..12].iter().map(|&x| f64::from(if descr == "b1" { u8::from(x != 0) } else { x })).collect();
            assert_eq!(dense_values(&block), expected, "{version} {order}{descr} {fortran}");
        }
    }
}

#[test]
fn fortran_order_reads_runs_longer_than_its_buffer() {
    let folder = folder();
    let (rows, cols) = (20_000u64, 2u64);
    let data: Vec<u8> = (0..rows * cols).flat_map(|i| (i as f64).to_le_bytes()).collect();
    let path = file(folder.path(), 1, &header_text("<f8", "True", "(20000, 2)"), &data);
    let block = read(&source(&path), 3..19_999).expect("a sound file");
    let expected: Vec<f64> = (3..19_999).flat_map(|row| [row as f64, (rows + row) as f64]).collect();
    assert_eq!(dense_values(&block), expected);
}

#[test]
fn a_vector_is_one_column_and_no_rows_are_an_empty_block() {
    let folder = folder();
    let path = file(folder.path(), 1, &header_text("|u1", "False", "(3,)"), &[7, 8, 9]);
    assert_eq!(source(&path).shape(), (3, 1));
    assert_eq!(dense_values(&read(&source(&path), 1..3).expect("sound")), [8.0, 9.0]);
    let path = file(folder.path(), 1, &header_text("<f8", "False", "(0, 4)"), &[]);
    assert_eq!(source(&path).shape(), (0, 4));
    assert_eq!(dense_values(&read(&source(&path), 0..0).expect("sound")), [0.0; 0]);
}

#[test]
fn hostile_headers_are_refused_before_anything_is_allocated() {
    let folder = folder();
    let huge = "18446744073709551615";
    let cases = [
        (1, header_text("|O", "False", "(3,)"), "object"),
        (1, header_text("<f2", "False", "(3,)"), "\"<f2\""),
        (1, header_text("<c16", "False", "(3,)"), "\"<c16\""),
        (1, "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,), }".to_string(), "structured"),
        (1, header_text("<f8", "False", "()"), "0 dimensions"),
        (1, header_text("<f8", "False", &format!("({huge}, {huge})")), "values"),
        (1, header_text("<f8", "False", &format!("(0, {huge})")), "values"),
        (1, header_text("<f8", "False", &format!("({huge}1,)")), "64 bits"),
        (1, header_text("<f8", "False", "(-3,)"), "64 bits"),
        (1, header_text("<f8", "False", "(2, 2)"), "2 x 2 values"),
        (1, header_text("<f8", "maybe", "(3,)"), "expected a string, True"),
        (1, header_text("?f8", "False", "(3,)"), "byte order"),
        (1, header_text("", "False", "(3,)"), "dtype"),
        (1, "{'descr': '<f8', 'shape': (3,), }".to_string(), "fortran_order"),
        (1, "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (3,)}".to_string(), "one entry"),
        (1, "{'descr': '<f8".to_string(), "closing quote"),
        (1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3,)} + x".to_string(), "only spaces"),
        (1, String::new(), "'{'"),
        (9, header_text("<f8", "False", "(3,)"), "version 9"),
    ];
    for (version, text, expected) in cases {
        let path = file(folder.path(), version, &text, &[0; 24]);
        let error = open(&path).expect_err(&text).to_string();
        assert!(error.contains("x.npy") && error.contains(expected) && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn a_header_that_claims_four_gigabytes_is_refused() {
    let folder = folder();
    let path = folder.path().join("x.npy");
    std::fs::write(&path, b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'").expect("write");
    assert!(open(&path).expect_err("too long").to_string().contains("4294967295 bytes of header"));
}

#[test]
fn a_file_cut_at_any_place_is_refused_by_name() {
    let folder = folder();
    let path = folder.path().join("x.npy");
    save_matrix(&path, 3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("write");
    let whole = std::fs::read(&path).expect("read");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("write");
        let error = open(&path).expect_err("it was cut");
        assert!(matches!(error, Error::BadInput { .. }) && error.to_string().contains("x.npy"), "{length}: {error}");
    }
}

#[test]
fn seeded_damage_is_refused_or_leaves_whole_blocks() {
    let folder = folder();
    let path = folder.path().join("x.npy");
    save_matrix(&path, 3, 2, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("write");
    let whole = std::fs::read(&path).expect("read");
    let (read, refused) = in_a_task(move |context| {
        let (mut read, mut refused) = (0, 0);
        for seed in 0..5000 {
            let mut bytes = whole.clone();
            Damage::seeded(seed).apply(&mut bytes);
            std::fs::write(&path, &bytes).expect("write");
            match open(&path).and_then(|source| source.read_rows(0..source.shape().0, context)) {
                // Six values of 8 bytes, however the header now cuts them.
                Ok(block) if dense_values(&block).len() <= 48 => read += 1,
                Ok(block) => panic!("damage {seed}: {block:?}"),
                Err(error) => {
                    assert_names_the_file(&error, "x.npy", &format!("damage {seed}"));
                    refused += 1;
                }
            }
        }
        (read, refused)
    });
    println!("{read} read, {refused} refused");
    assert!(read > 0 && refused > 0);
}

#[test]
fn a_file_that_changes_between_blocks_is_noticed() {
    let folder = folder();
    let path = folder.path().join("x.npy");
    save_matrix(&path, 2, 1, &[1.0, 2.0]).expect("write");
    let source = source(&path);
    assert!(read(&source, 0..1).is_ok());
    save_matrix(&path, 2, 1, &[3.0, 4.0]).expect("write");
    assert!(read(&source, 1..2).expect_err("replaced").to_string().contains("replaced"));
    assert!(matches!(read(&source, 1..3), Err(Error::OutOfRange { index: 3, len: 2, .. })));
}

#[test]
fn what_is_written_reads_back_and_a_csr_block_is_filled_up() {
    use crate::array::CsrBlock;
    let folder = folder();
    let path = folder.path().join("x.npy");
    let mut writer = NpyWriter::create(&path, DType::I32, 4, 3).expect("create");
    let values = Values::I32(Buffer::Owned(vec![1, 2, 3, -4, 5, 6]));
    writer.write(&Block::Dense(DenseBlock { rows: 2, cols: 3, values })).expect("write");
    let csr = CsrBlock {
        rows: 2,
        cols: 3,
        indptr: Buffer::Owned(vec![0, 0, 2]),
        indices: Buffer::Owned(vec![0, 2]),
        values: Values::I32(Buffer::Owned(vec![8, 9])),
    };
    writer.write(&Block::Csr(csr)).expect("write");
    assert!(!path.exists(), "nothing is there before it is whole");
    writer.finish().expect("finish");
    let block = read(&source(&path), 0..4).expect("sound");
    assert_eq!(dense_values(&block), [1.0, 2.0, 3.0, -4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 8.0, 0.0, 9.0]);
    // NumPy maps files only where the values are aligned.
    assert_eq!(open(&path).expect("sound").header.data_offset % 64, 0);
    save_vector(&path, &[0.5, f64::NEG_INFINITY]).expect("write");
    assert_eq!(dense_values(&read(&source(&path), 0..2).expect("sound")), [0.5, f64::NEG_INFINITY]);
}

#[test]
fn blocks_that_do_not_fit_are_refused_and_leave_nothing() {
    let folder = folder();
    let block = |rows, cols| {
        let values = Values::F64(Buffer::Owned(vec![0.0; rows * cols]));
        Block::Dense(DenseBlock { rows, cols, values })
    };
    let mut writer = NpyWriter::create(folder.path().join("x.npy"), DType::F64, 2, 2).expect("create");
    assert!(matches!(writer.write(&block(1, 3)), Err(Error::ShapeMismatch { .. })));
    assert!(matches!(writer.write(&block(3, 2)), Err(Error::ShapeMismatch { .. })));
    writer.write(&block(1, 2)).expect("it fits");
    assert!(writer.finish().expect_err("a row is missing").to_string().contains("x.npy"));
    let mut floats = NpyWriter::create(folder.path().join("x.npy"), DType::F32, 1, 1).expect("create");
    assert!(floats.write(&block(1, 1)).expect_err("dtype").to_string().contains("float32"));
    drop(floats);
    assert!(save_matrix(folder.path().join("x.npy"), 2, 2, &[1.0]).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 0);
}

#[test]
fn an_array_is_stored_from_any_grid_and_one_that_fails_leaves_no_file() {
    use crate::array::{Array, BlockMap, random};
    let (folder, cluster) = (folder(), crate::Cluster::builder().workers(2).build().expect("defaults"));
    let path = folder.path().join("x.npy");
    let x = random::integers(50, 7, -9, 9, 3, None).expect("a range").astype(DType::I16);
    for array in [x.clone(), x.clone().with_block_rows(3), x.clone().rechunk(11, 2), x.to_csr().expect("few columns")] {
        save_array(&cluster, &array, &path, None).expect("room on the disk");
        let back = Array::from_source(source(&path));
        assert_eq!((back.shape(), back.dtype()), ((50, 7), DType::I16));
        let values = |array: &Array| array.compute(&cluster).expect("small").to_vec::<i16>();
        assert_eq!(values(&back), values(&x));
    }
    std::fs::remove_file(&path).expect("it is there");
    let fails = BlockMap::new("fails", 7, DType::I16, BlockKind::Dense, |block, info| match info.row_offset {
        0 => Ok(block),
        row => Err(crate::Error::bad_argument("test", "row", row, "the first")),
    });
    let fails = x.clone().with_block_rows(10).map_blocks(fails).expect("seven columns");
    assert!(save_array(&cluster, &fails, &path, None).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a directory").count(), 0, "nothing is left");
}
