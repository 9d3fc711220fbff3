//! Published matrices, against what scikit-learn and NumPy find for them (`tests/python/linalg_reference.py`).

use allotment::array::{Array, Block, DType, DenseBlock};
use allotment::linalg::{IncrementalPca, PcaOptions, PcaSolver, SvdOptions, pca, svd};

use super::reference::{REFERENCES, STREAMS};
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
    let exact = |reference: &Reference, x: &Array, solver: PcaSolver| {
        let components = reference.explained_variance.len().into();
        let options = PcaOptions { components, solver, ..Default::default() };
        let found = pca(&cluster, &x.clone().with_block_rows(400), &options).unwrap();
        let file = format!("{} by {}", reference.file, solver.name());
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
    };
    each_published(|reference, x| {
        for solver in [PcaSolver::CovarianceEigh, PcaSolver::Tsqr, PcaSolver::Lanczos] {
            exact(reference, &x, solver);
        }
    });
}

#[test]
fn a_stream_in_batches_agrees_with_scikit_learn() {
    let cluster = cluster(2);
    for stream in STREAMS {
        let Some(block) = read_npy(stream.file) else { continue };
        let x = Array::from_block(block).with_block_rows(stream.batch);
        for x in [x.clone(), x.to_csr().unwrap()] {
            let mut found = IncrementalPca::new(stream.explained_variance.len()).unwrap();
            found.fit_blocks(&cluster, &x).unwrap();
            // The same steps in the same order: rounding is left, relative to the largest variance.
            let (file, largest) = (stream.file, stream.explained_variance[0]);
            let off = |found: &[f64], expected: &[f64]| {
                found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max)
            };
            assert!(off(&found.explained_variance(), stream.explained_variance) < 1e-12 * largest, "{file}");
            assert!(off(&found.explained_variance_ratio(), stream.explained_variance_ratio) < 1e-12, "{file}");
            assert!((found.noise_variance() - stream.noise_variance).abs() < 1e-12 * largest, "{file}");
            let (mean, variance): (f64, f64) = (found.mean().iter().sum(), found.variance().iter().sum());
            assert!(close(&[mean, variance], &[stream.sum_of_means, stream.sum_of_variances], 1e-12), "{file}");
            let rows = x.rows();
            let last = to_matrix(&cluster, &found.transform(&x.select_rows(rows - 1..rows).unwrap()).unwrap());
            for (found, expected) in last.iter().zip(stream.last_scores) {
                assert!((found.abs() - expected).abs() < 1e-9 * largest.sqrt(), "{file}: {found} {expected}");
            }
        }
    }
}

#[test]
fn svd_agrees_with_numpy() {
    let cluster = cluster(2);
    each_published(|reference, x| {
        let found = svd(&cluster, &x.with_block_rows(2000), &SvdOptions::default()).unwrap();
        let (file, k) = (reference.file, reference.singular_values.len());
        assert!(close(&found.s[..k], reference.singular_values, 1e-12), "{file}: {:?}", &found.s[..k]);
        // A long vector is off by a rounding of the largest value over its own, and multiplying back does that again; sums of
        // 10,000 products round to a few 1e-13.
        let bound = |value: f64| 8.0 * f64::EPSILON * (found.s[0] / value).powi(2) + 1e-12;
        let beyond = found.residuals.iter().zip(&found.s).find(|&(&residual, &value)| residual >= bound(value));
        assert!(beyond.is_none(), "{file}: a residual and its value {beyond:?}, the largest {}", found.s[0]);
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
