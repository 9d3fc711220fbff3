//! The scores of the rows, left as chunks, and what tells whether the components are right: one pass over the data.
//!
//! Centring is never materialised: a block is shifted by a constant per column as it is read, and what is left of the
//! mean is a constant row. A dense block is shifted by its own means; of a CSR block only columns without a zero are,
//! because the others deviate from their mean by at least the mean over √rows, so that nothing cancels.

use nalgebra::{DMatrix, DVector};

use crate::array::{Array, Block, BlockInfo, DenseBlock, StoredBlock, Working};
use crate::error::Result;
use crate::linalg::moments::safe_shift;
use crate::linalg::products::{Shifted, times_bytes};
use crate::runtime::{Cluster, Progress, TaskContext};

/// What the second pass gives: the scores' blocks in row order, and Tᵀ(X − mean).
pub(super) struct Scored {
    pub(super) blocks: Vec<StoredBlock>,
    pub(super) t_x: DMatrix<f64>,
}

impl Scored {
    fn of_block(block: &Block, components: &DMatrix<f64>, mean: &[f64], context: &TaskContext) -> Result<Self> {
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
        let mut t_x = DMatrix::zeros(k, p);
        shifted.add_transposed_times(&t, &mut t_x)?;
        t_x.ger(1.0, &sums, &rest, 1.0);
        let stored = Block::Dense(DenseBlock::new(rows, k, t)?).store(&context.store()?)?;
        Ok(Scored { blocks: vec![stored], t_x })
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
    let working = working(k, p);
    let (components, mean) = (components.clone(), mean.to_vec());
    let map =
        move |block: &Block, _: BlockInfo, context: &TaskContext| Scored::of_block(block, &components, &mean, context);
    let found = x.reduce_blocks(cluster, "pca scores", working, map, |l, r| Ok(l.combine(r)), progress)?;
    Ok(found.expect("a matrix with rows has blocks"))
}

/// Returns what the pass holds besides its block.
pub(super) fn working(k: usize, p: usize) -> Working {
    // Two partials while they are joined, a tile, some rows of numbers; and the block's own scores.
    let fixed = 2 * (k * p * 8) as u64 + times_bytes(p) + 4 * (p * 8) as u64;
    Working { fixed, per_row: (k * 8) as u64, kept: (k * p * 8) as u64 }
}
