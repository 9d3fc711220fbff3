//! Factorisations of chunked arrays: R, SVD and principal components of matrices larger than memory.
//!
//! A factorisation asks two things of its data: products with a block, and sums of them over all blocks in a fixed
//! tree. What is left to factor is as wide as the matrix but no taller, fits in memory, and is done on one lane.
//!
//! ```text
//!   svd ──▶ tsqr ──▶ products ──▶ dense (one thread)
//!   pca ──▶ moments ──▶ products
//! ```
//!
//! Always true: sums are in f64 and in an order that the number of workers does not change; every result carries
//! residuals from a pass over the data, so that it can be seen to be right; and in every component the entry of largest
//! magnitude is positive.

mod dense;
mod moments;
mod pca;
mod products;
mod signs;
mod svd;
#[cfg(test)]
mod testing;
mod tsqr;

pub use dense::{
    Eigh, SmallSvd, add_transposed_times, eigh, eigh_bytes, gemm, gram_upper, qr_bytes, qr_r, qr_thin,
    rows_times_components, svd_bytes, svd_small,
};
pub use pca::{Pca, PcaOptions, PcaSolver, pca, pca_bytes};
pub use svd::{Svd, SvdOptions, svd};
pub use tsqr::{block_r_bytes, tsqr};

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::runtime::{Blocks, Cluster, Progress};

/// Runs something that needs memory on a lane, so that a worker's budget answers for it and not the caller.
fn on_lane<T: Send + 'static>(
    cluster: &Cluster,
    name: &str,
    bytes: u64,
    work: impl Fn() -> Result<T> + Send + Sync + 'static,
) -> Result<T> {
    let once = Blocks { name: name.into(), n: 1, projected_bytes: bytes, ..Blocks::named("") };
    let mut results = cluster.map_blocks(&once, move |_, _| work())?;
    Ok(results.pop().expect("one block gives one result"))
}

/// Refuses what no worker could hold, before any block is read; `what` names it and says what would help.
fn check_fits(cluster: &Cluster, need: u64, what: impl FnOnce() -> String) -> Result<()> {
    let allowance = cluster.allowance();
    if need <= allowance { Ok(()) } else { Err(Error::too_big(what(), need, allowance, allowance)) }
}

/// Makes a progress callback for one of several passes over the same blocks: to the caller they are one run.
fn part_of(progress: &Option<Progress>, part: usize, parts: usize) -> Option<Progress> {
    let progress = progress.clone()?;
    Some(Arc::new(move |done, total| progress(part * total + done, parts * total)))
}
