//! The scores of the rows, left as chunks, and what tells whether the components are right: one pass over the data.
//!
//! Centring is never materialised: a block is shifted by a constant per column as it is read, and what is left of the
//! mean is a constant row. A dense block is shifted by its own means; of a CSR block only columns without a zero are,
//! because the others deviate from their mean by at least the mean over √rows, so that nothing cancels.

use nalgebra::{DMatrix, DVector};

use crate::array::{Array, Block, BlockKind, DenseBlock, Runs, StoredBlock, Working};
use crate::error::{Error, Result};
use crate::linalg::moments::safe_shift;
use crate::linalg::products::{Shifted, times_bytes};
use crate::runtime::{Cluster, Progress, task_context};

/// Partials that wait for their other half may take so much: larger ones are made by fewer, longer runs of blocks.
const WAITING_BYTES: u64 = 64 << 20;

/// What the second pass gives: the scores' blocks in row order, and Tᵀ(X − mean).
pub(super) struct Scored {
    pub(super) blocks: Vec<StoredBlock>,
    pub(super) t_x: DMatrix<f64>,
}

impl Scored {
    fn none(k: usize, p: usize) -> Self {
        Scored { blocks: Vec::new(), t_x: DMatrix::zeros(k, p) }
    }

    /// Adds a block, the next in row order.
    fn add(&mut self, block: &Block, components: &DMatrix<f64>, mean: &[f64]) -> Result<()> {
        let outside = || Error::ClusterDown { cause: "a block ran outside of a task".into() };
        let store = task_context().ok_or_else(outside)?.store()?;
        let ((rows, p), k) = (block.shape(), components.nrows());
        let shift = safe_shift(block)?;
        let shifted = Shifted::new(block, &shift);
        let rest = DVector::from_fn(p, |j, _| shift[j] - mean[j]);
        let constant = components * &rest;
        let (mut t, mut sums) = (vec![0.0; rows * k], DVector::<f64>::zeros(k));
        shifted.times(components, &mut t)?;
        for row in t.chunks_exact_mut(k) {
            for (j, value) in row.iter_mut().enumerate() {
                *value += constant[j];
                sums[j] += *value;
            }
        }
        shifted.add_transposed_times(&t, &mut self.t_x)?;
        self.t_x.ger(1.0, &sums, &rest, 1.0);
        self.blocks.push(Block::Dense(DenseBlock::new(rows, k, t)?).store(&store)?);
        Ok(())
    }

    fn combine(mut self, mut other: Self) -> Self {
        self.blocks.append(&mut other.blocks);
        self.t_x += other.t_x;
        self
    }
}

/// Runs the pass.
pub(super) fn scores(
    cluster: &Cluster,
    x: &Array,
    components: &DMatrix<f64>,
    mean: &[f64],
    progress: Option<Progress>,
) -> Result<Scored> {
    let (k, p) = components.shape();
    let (components, mean) = (components.clone(), mean.to_vec());
    let found = x.reduce_runs(
        cluster,
        Runs { progress, ..runs(x.kind(), k, p) },
        move || Scored::none(k, p),
        move |scored, block, _| scored.add(block, &components, &mean),
        |left, right| Ok(left.combine(right)),
    )?;
    Ok(found.expect("a matrix with rows has blocks"))
}

/// Returns how the pass deals its blocks.
pub(super) fn runs(kind: BlockKind, k: usize, p: usize) -> Runs {
    let working = working(kind, k, p);
    let n = 1usize << (WAITING_BYTES / working.kept.max(1)).clamp(2, 12);
    Runs { name: "pca scores", n, working, progress: None }
}

/// Returns what the pass holds besides its block.
fn working(kind: BlockKind, k: usize, p: usize) -> Working {
    // Rows of a CSR block are widened one by one.
    let tile = if kind == BlockKind::Csr { (p * 8) as u64 } else { times_bytes(p) };
    // Two partials while they are joined, a tile, some rows of numbers; and the block's own scores.
    let fixed = 2 * (k * p * 8) as u64 + tile + 4 * (p * 8) as u64;
    Working { fixed, per_row: (k * 8) as u64, kept: (k * p * 8) as u64 }
}
