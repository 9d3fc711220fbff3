//! Published matrices, against what scikit-learn and NumPy find for them (`tests/python/linalg_reference.py`).

use allotment::array::{Array, Block, DType, DenseBlock};
use allotment::linalg::{PcaOptions, SvdOptions, pca, svd};

use super::reference::REFERENCES;
use super::{Reference, close, cluster, to_matrix};

/// Reads a two-dimensional row-major `.npy` of float64 or uint8; `None`, and a line that says so, where it is not there.
fn read_npy(file: &str) -> Option<Block> {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/dense/{}"), file);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: {path} is not there");
        return None;
    };
    let header_len = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let (header, data) = (std::str::from_utf8(&bytes[10..10 + header_len]).unwrap(), &bytes[10 + header_len..]);
    assert!(header.contains("'fortran_order': False"), "{header}");
    let shape = header.split(['(', ')']).nth(1).unwrap();
    let shape: Vec<usize> = shape.split(',').map(|n| n.trim().parse().unwrap()).collect();
    let values: Vec<f64> = if header.contains("'|u1'") {
        data.iter().map(|&byte| f64::from(byte)).collect()
    } else {
        data.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
    };
    let block = Block::from(DenseBlock::new(shape[0], shape[1], values).unwrap());
    Some(if header.contains("'|u1'") { block.cast(DType::U8) } else { block })
}

fn each_published(check: impl Fn(&Reference, Array)) {
    for reference in REFERENCES {
        if let Some(block) = read_npy(reference.file) {
            check(reference, Array::from_block(block));
        }
    }
}

#[test]
fn pca_agrees_with_scikit_learn() {
    let cluster = cluster(2);
    each_published(|reference, x| {
        let options = PcaOptions { components: reference.explained_variance.len().into(), ..Default::default() };
        let found = pca(&cluster, &x.with_block_rows(400), &options).unwrap();
        let file = reference.file;
        // Two exact methods in f64: the gram squares the condition, so the smallest variances (1e-7 of the largest) keep
        // 9 digits and the rest more.
        assert!(close(&found.explained_variance, reference.explained_variance, 1e-9), "{file}");
        assert!(close(&found.explained_variance_ratio, reference.explained_variance_ratio, 1e-9), "{file}");
        let noise = (found.noise_variance - reference.noise_variance).abs();
        assert!(noise <= 1e-12 * reference.explained_variance[0], "{file}: {noise:e}");
        let scores = to_matrix(&cluster, &found.scores);
        for (row, expected) in [(0, reference.first_scores), (scores.nrows() - 1, reference.last_scores)] {
            for (j, expected) in expected.iter().enumerate() {
                // Relative to the deviation along the first component; a small gap between variances costs digits.
                let off = (scores[(row, j)].abs() - expected).abs() / reference.explained_variance[0].sqrt();
                assert!(off < 1e-9, "{file} score ({row}, {j}): off by {off:e}");
            }
        }
        assert!(found.residuals.iter().all(|&residual| residual < 1e-9), "{file}: {:?}", found.residuals);
    });
}

#[test]
fn svd_agrees_with_numpy() {
    let cluster = cluster(2);
    each_published(|reference, x| {
        let found = svd(&cluster, &x.with_block_rows(2000), &SvdOptions::default()).unwrap();
        let (file, k) = (reference.file, reference.singular_values.len());
        assert!(close(&found.s[..k], reference.singular_values, 1e-12), "{file}: {:?}", &found.s[..k]);
        assert!(found.residuals.iter().all(|&residual| residual < 1e-6), "{file}: {:?}", found.residuals);
    });
}

#[test]
fn iris_has_the_variances_of_the_textbook() {
    let Some(block) = read_npy("iris.npy") else { return };
    let options = PcaOptions { components: 4.into(), ..Default::default() };
    let found = pca(&cluster(2), &Array::from_block(block), &options).unwrap();
    let textbook = [4.22824171, 0.24267075, 0.07820950, 0.02383509];
    // The book prints eight decimals.
    assert!(found.explained_variance.iter().zip(textbook).all(|(f, t)| (f - t).abs() < 5.1e-9));
    let shares = [0.92461872, 0.05306648, 0.01710261, 0.00521218];
    assert!(found.explained_variance_ratio.iter().zip(shares).all(|(f, t)| (f - t).abs() < 5.1e-9));
}
