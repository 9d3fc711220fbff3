//! MatrixMarket: every kind of matrix, real ones with the sums that SciPy finds, and what is malformed.

use std::io::Write;
use std::sync::Arc;

use super::*;
use crate::io::testing::{Damage, Sums, assert_names_the_file, dense_values, read, real};

fn written(text: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("a.mtx");
    std::fs::write(&path, text).expect("write");
    (folder, path)
}

fn dense_of(source: MtxSource) -> Vec<f64> {
    let (rows, _) = source.shape();
    let source: Arc<dyn Source> = Arc::new(source);
    // Block by block, so that windows do not begin at the start of the file.
    (0..rows).flat_map(|row| dense_values(&read(&source, row..row + 1).expect("a row"))).collect()
}

/// A matrix as text, and what it is.
fn examples() -> Vec<(&'static str, (u64, u64), Vec<f64>)> {
    vec![
        (
            "%%MatrixMarket matrix coordinate real general\n% c\n\n2 3 4\n2 3 1.5\n1 1 -2e0\n2 3 .5\n1 2 1D1\n",
            (2, 3),
            vec![-2.0, 10.0, 0.0, 0.0, 0.0, 2.0],
        ),
        (
            "%%matrixmarket MATRIX Coordinate Pattern Symmetric\r\n2 2 2\r\n1 1\r\n2 1\r\n",
            (2, 2),
            vec![1.0, 1.0, 1.0, 0.0],
        ),
        ("%%MatrixMarket matrix coordinate integer skew-symmetric\n2 2 1\n2 1 5\n", (2, 2), vec![0.0, -5.0, 5.0, 0.0]),
        (
            "%%MatrixMarket matrix array real general\n2 3\n1\n2\n3\n4\n5\n6\n",
            (2, 3),
            vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0],
        ),
        ("%%MatrixMarket matrix array integer symmetric\n2 2\n1\n2\n3\n", (2, 2), vec![1.0, 2.0, 2.0, 3.0]),
        (
            "%%MatrixMarket matrix array real skew-symmetric\n3 3\n1\n2\n3\n",
            (3, 3),
            vec![0.0, -1.0, -2.0, 1.0, 0.0, -3.0, 2.0, 3.0, 0.0],
        ),
        ("%%MatrixMarket matrix coordinate integer general\n0 0 0\n", (0, 0), vec![]),
        ("%%MatrixMarket matrix coordinate real general\n3 1 0", (3, 1), vec![0.0; 3]),
    ]
}

#[test]
fn every_kind_of_matrix_is_read_as_it_is_written_and_transposed() {
    for (text, (rows, cols), expected) in examples() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text.as_bytes()).expect("in memory");
        for bytes in [text.as_bytes(), &gzip.finish().expect("in memory")[..]] {
            let (_folder, path) = written(bytes);
            let source = open(&path).expect(text);
            assert_eq!(source.shape(), (rows, cols), "{text}");
            assert_eq!(dense_of(source), expected, "{text}");
            let turned = open_transposed(&path).expect(text);
            assert_eq!(turned.shape(), (cols, rows), "{text}");
            let turned = dense_of(turned);
            for (i, value) in turned.iter().enumerate() {
                let (row, col) = (i / rows as usize, i % rows as usize);
                assert_eq!(*value, expected[col * cols as usize + row], "{text}");
            }
        }
    }
}

#[test]
fn integers_have_the_width_that_they_need() {
    for (value, dtype) in [("2147483647", DType::I32), ("2147483648", DType::I64), ("-9223372036854775808", DType::I64)]
    {
        let (_folder, path) =
            written(format!("%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 {value}\n").as_bytes());
        let source = open(&path).expect(value);
        assert_eq!(source.dtype(), dtype);
        assert_eq!(dense_of(source), [value.parse::<f64>().expect("a number")]);
    }
}

#[test]
fn malformed_files_are_refused_with_the_line() {
    let head = "%%MatrixMarket matrix coordinate real general\n";
    for (text, place) in [
        (String::new(), "line 1"),
        ("%%MatrixMarket matrix coordinate real\n1 1 0\n".into(), "line 1"),
        ("%%MatrixMarket matrix coordinate complex general\n1 1 0\n".into(), "complex"),
        ("%%MatrixMarket matrix array pattern general\n1 1\n".into(), "line 1"),
        (head.into(), "line 2"),
        (format!("{head}1 1\n"), "line 2"),
        (format!("{head}-1 1 0\n"), "line 2"),
        (format!("{head}1 1 1000000000000000000\n1 1 1\n"), "line 2"),
        (format!("{head}9000000000000000000 9000000000000000000 0\n"), "line 2"),
        (format!("{head}2 2 1\n0 1 1\n"), "line 3"),
        (format!("{head}2 2 1\n3 1 1\n"), "line 3"),
        (format!("{head}2 2 1\n1 1 1 1\n"), "line 3"),
        (format!("{head}2 2 1\n1 1 one\n"), "line 3"),
        (format!("{head}2 2 2\n1 1 1\n"), "the end after 1"),
        (format!("{head}2 2 1\n1 1 1\n2 2 2\n"), "line 4"),
        ("%%MatrixMarket matrix coordinate real symmetric\n2 3 0\n".into(), "2 x 3"),
    ] {
        let (_folder, path) = written(text.as_bytes());
        let error = open(&path).expect_err(&text);
        assert_names_the_file(&error, "a.mtx", &text);
        assert!(error.to_string().contains(place), "{place}: {error}");
    }
}

#[test]
fn a_cut_or_damaged_gzip_is_an_error_and_not_the_end() {
    let Some(path) = real("singlecell/tenx_v3_small_mex/matrix.mtx.gz") else { return };
    let whole = std::fs::read(path).expect("read");
    for part in 1..8 {
        let (_folder, path) = written(&whole[..whole.len() * part / 8]);
        assert_names_the_file(&open(&path).expect_err("cut"), "a.mtx", "cut");
    }
    // A few thousand times as long as its gzip: the sizes that it claims are still compared.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(b"%%MatrixMarket matrix coordinate real general\n").expect("in memory");
    bomb.write_all(&vec![b' '; 64 << 20]).expect("in memory");
    let (_folder, path) = written(&bomb.finish().expect("in memory"));
    assert_names_the_file(&open(&path).expect_err("a bomb"), "a.mtx", "a bomb");
}

#[test]
fn mutants_give_a_matrix_or_an_error() {
    for (number, (text, ..)) in examples().into_iter().enumerate() {
        for seed in 0..200 {
            let mut bytes = text.as_bytes().to_vec();
            Damage::seeded(seed + 1000 * number as u64).apply(&mut bytes);
            let (_folder, path) = written(&bytes);
            match open(&path) {
                Ok(source) => {
                    if source.shape().0 < 1000 && source.shape().1 < 1000 {
                        dense_of(source);
                    }
                }
                Err(error) => assert_names_the_file(&error, "a.mtx", &format!("{number}, {seed}")),
            }
        }
    }
}

#[test]
fn real_matrices_have_scipys_sums() {
    // scipy.io.mmread(path).tocsr(): shape, nnz; then x.sum(), (x**2).sum(), and both weighted by 1-based row and column.
    for (name, shape, nnz, sums) in REAL {
        let Some(path) = real(name) else { continue };
        let source: Arc<dyn Source> = Arc::new(open(path).expect(name));
        assert_eq!((source.shape(), source.nnz()), (shape, nnz), "{name}");
        Sums::of(&source, 300).expect(name).assert_near(sums, name);
    }
    let Some(path) = real("sparse/young1c.mtx") else { return };
    assert!(matches!(open(path), Err(Error::Unsupported { .. })));
}

/// Name, shape, entries, sums.
type Real = (&'static str, (u64, u64), u64, [f64; 4]);

const REAL: [Real; 6] = [
    ("sparse/Franz6_id1959_aug.mtx", (10592, 3016), 48472, [114608.0, 4400560.0, 1041156376.0, 179283864.0]),
    ("sparse/bcspwr10.mtx", (5300, 5300), 21842, [21842.0, 21842.0, 67073752.0, 67073752.0]),
    (
        "sparse/illc1850.mtx",
        (1850, 712),
        8636,
        [1891.0436206404238, 712.0000000292154, 1663819.8247271325, 701836.3751787706],
    ),
    ("sparse/lp_e226.mtx", (223, 472), 2768, [-3157.9105600000007, 12249763.094816484, -579679.31128, -1035571.37661]),
    ("sparse/reuters_395.mtx", (395, 4258), 60114, [84010.0, 205354.0, 16337528.0, 84367759.0]),
    (
        "sparse/west0479.mtx",
        (479, 479),
        1910,
        [-1750540.074899768, 504752206438.0326, -409946830.43674076, -325117300.6375177],
    ),
];
