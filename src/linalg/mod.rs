//! Factorisations of chunked arrays: R, SVD and principal components of matrices larger than memory.
//!
//! A factorisation asks two things of its data: products with a block, and sums of them over all blocks in a fixed
//! tree. What is left to factor is as wide as the matrix but no taller, fits in memory, and is done on one lane.
//!
//! ```text
//!   svd, lstsq ──▶ tsqr ┐
//!            qr ────────┴▶ block_qr ──▶ products ──▶ dense (one thread)
//!   eigh_gram ──▶ gram ──▶ products
//!   svd_compressed, lanczos ──▶ krylov ──▶ operator ──▶ products
//!   pca ──▶ moments (covariance), block_qr (tsqr), lanczos, compressed
//! ```
//!
//! Always true: sums are in f64 and in an order that the number of workers does not change; every result carries
//! residuals from a pass over the data, so that it can be seen to be right; and in every component the entry of largest
//! magnitude is positive.

mod block_qr;
mod compressed;
mod cross;
mod dense;
mod gram;
mod incremental;
mod krylov;
mod lanczos;
mod lstsq;
mod moments;
mod operator;
mod pca;
mod plans;
mod products;
mod qr;
mod rows;
mod signs;
mod svd;
#[cfg(test)]
mod testing;
mod triplets;
mod tsqr;
mod work;

pub use block_qr::BlockWays;
pub use compressed::{SvdCompressedOptions, svd_compressed};
pub use cross::cross;
pub use dense::{
    Eigh, SmallSvd, add_transposed_times, eigh, eigh_bytes, gemm, gram_upper, qr_bytes, qr_r, qr_thin,
    rows_times_components, svd_bytes, svd_small,
};
pub use gram::{GramEigh, eigh_gram, gram};
pub use incremental::{IncrementalPca, incremental_pca_bytes};
pub use lanczos::{Centre, Lanczos, LanczosOptions, lanczos};
pub use lstsq::{Lstsq, LstsqOptions, lstsq};
pub use pca::{Components, Pca, PcaOptions, PcaSolver, pca, pca_bytes};
pub use plans::{plan_eigh_gram, plan_gram, plan_tsqr};
pub use qr::{Qr, QrOptions, qr};
pub use svd::{Svd, SvdMethod, SvdOptions, SvdSolver, svd};
pub use tsqr::{Tsqr, block_r_bytes, tsqr};
pub use work::{Answer, Work};

use std::sync::Arc;

use crate::array::Array;
use crate::bytes::ByteSize;
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

/// Returns the array in blocks of whole rows, which every pass here works on.
///
/// Rows that were cut for a grid with block columns would be far too many when they are whole: then the plan chooses.
pub(crate) fn whole_rows(a: &Array) -> Array {
    let is_2d = a.col_cuts().is_some_and(|cuts| cuts.n_runs() > 1);
    if is_2d { a.clone().with_auto_blocks().whole_rows() } else { a.clone().whole_rows() }
}

/// Refuses what no worker could hold, before any block is read; `what` names it and says what would help.
fn check_fits(cluster: &Cluster, need: u64, what: impl FnOnce() -> String) -> Result<()> {
    if need <= cluster.allowance() { Ok(()) } else { refuse(cluster, need, &what(), "") }
}

/// Refuses what no worker could hold, before any block is read, with what to do instead of raising the allowance.
fn check_fits_or(cluster: &Cluster, need: u64, task: &str, instead: &str) -> Result<()> {
    if need <= cluster.allowance() { Ok(()) } else { refuse(cluster, need, task, &format!("{instead}, or ")) }
}

fn refuse(cluster: &Cluster, need: u64, task: &str, instead: &str) -> Result<()> {
    let (allowance, least) = (cluster.allowance(), ByteSize(need).rounded_up());
    let remedy = format!("{instead}use an allowance of at least {least}").into();
    Err(Error::TooBig { task: task.into(), need, allowance, largest: allowance, remedy })
}

/// Makes a progress callback for one of several passes over the same blocks: to the caller they are one run.
fn part_of(progress: &Option<Progress>, part: usize, parts: usize) -> Option<Progress> {
    let progress = progress.clone()?;
    Some(Arc::new(move |done, total| progress(part * total + done, parts * total)))
}
