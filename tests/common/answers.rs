//! The bits of all numbers that some work gives, for tests that compare runs.

use allotment::array::Array;
use allotment::linalg::{Answer, Work};
use allotment::{Cluster, Result};
use nalgebra::DMatrix;

/// Every number of an answer, what lies on the workers too.
fn numbers_of(answer: &Answer, cluster: &Cluster) -> Result<Vec<Vec<f64>>> {
    let home = |array: &Array| -> Result<Vec<f64>> { Ok(array.compute(cluster)?.to_vec::<f64>()) };
    let of = |matrix: &DMatrix<f64>| matrix.as_slice().to_vec();
    Ok(match answer {
        Answer::Block(block) => vec![block.to_vec()],
        Answer::Numbers(numbers) => numbers.clone(),
        Answer::Tsqr(found) => vec![of(&found.r)],
        Answer::Qr(found) => vec![home(&found.q)?, of(&found.r), vec![found.residual, found.orthogonality]],
        Answer::Matrix(found) => vec![of(found)],
        Answer::EighGram(found) => vec![found.values.clone(), of(&found.vectors), found.residuals.clone()],
        Answer::Svd(found) => {
            let u = found.u.as_ref().map(home).transpose()?.unwrap_or_default();
            vec![found.s.clone(), home(&found.vt)?, u, found.residuals.clone(), vec![found.orthogonality]]
        }
        Answer::Lanczos(found) => {
            let figures = vec![found.orthogonality, found.passes as f64];
            vec![found.s.clone(), of(&found.vt), found.mean.clone(), found.residuals.clone(), figures]
        }
        Answer::Pca(found) => {
            let (variances, ratios) = (found.explained_variance.clone(), found.explained_variance_ratio.clone());
            let (mean, residuals, noise) = (found.mean.clone(), found.residuals.clone(), vec![found.noise_variance]);
            vec![of(&found.components), home(&found.scores)?, variances, ratios, mean, residuals, noise]
        }
        Answer::Lstsq(found) => {
            vec![of(&found.x), found.residuals.clone(), found.s.clone(), found.gradients.clone()]
        }
        other => panic!("an answer that nobody looks at: {other:?}"),
    })
}

/// Does the work and returns the bits of all its numbers.
pub(crate) fn bits_of(work: &Work, arrays: &[Array], cluster: &Cluster) -> Result<Vec<Vec<u64>>> {
    let numbers = numbers_of(&work.run(cluster, arrays)?, cluster)?;
    Ok(numbers.iter().map(|part| part.iter().map(|number| number.to_bits()).collect()).collect())
}
