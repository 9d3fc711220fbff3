//! SVD and PCA through the public interface: against scikit-learn, NumPy and textbooks on published data, against known
//! spectra, and on every layout that could differ.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod pca;
mod published;
mod reference;
mod svd;

use allotment::Cluster;
use allotment::array::Array;
use nalgebra::DMatrix;

/// What scikit-learn and NumPy find for one matrix.
struct Reference {
    file: &'static str,
    explained_variance: &'static [f64],
    explained_variance_ratio: &'static [f64],
    noise_variance: f64,
    /// Magnitudes of the first row's scores.
    first_scores: &'static [f64],
    last_scores: &'static [f64],
    /// Of the matrix as it is, not centred.
    singular_values: &'static [f64],
}

/// What scikit-learn's `IncrementalPCA` finds for a matrix that comes in batches.
struct Stream {
    file: &'static str,
    batch: u64,
    explained_variance: &'static [f64],
    explained_variance_ratio: &'static [f64],
    noise_variance: f64,
    sum_of_means: f64,
    sum_of_variances: f64,
    /// Magnitudes of the last row's scores.
    last_scores: &'static [f64],
}

fn cluster(workers: usize) -> Cluster {
    Cluster::builder().allowance("256MiB".parse().unwrap()).workers(workers).build().unwrap()
}

/// Values in −0.5 to 0.5 that look random: a multiplicative hash of the place.
fn noise(rows: usize, cols: usize, seed: u64) -> DMatrix<f64> {
    DMatrix::from_fn(rows, cols, |i, j| {
        let mut x = (seed << 40) ^ ((i * cols + j) as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((x >> 11) as f64) / ((1u64 << 53) as f64) - 0.5
    })
}

/// A matrix with a given spectrum and directions that look random.
fn with_spectrum(rows: usize, spectrum: &[f64], seed: u64) -> DMatrix<f64> {
    let n = spectrum.len();
    let (u, v) = (noise(rows, n, seed).qr().q(), noise(n, n, seed + 1).qr().q());
    u * DMatrix::from_diagonal(&spectrum.to_vec().into()) * v.transpose()
}

fn to_matrix(cluster: &Cluster, array: &Array) -> DMatrix<f64> {
    array.compute(cluster).unwrap().to_nalgebra()
}

fn close(found: &[f64], expected: &[f64], relative: f64) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= relative * e.abs())
}
