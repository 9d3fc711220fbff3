//! Two arrays of the same rows, block by block: what a product of the one's transpose with the other needs.

use std::sync::Arc;

use super::evaluate::with_block;
use super::grid::{Cuts, Grid};
use super::window::Window;
use super::{Array, Block, BlockInfo, Working};
use crate::error::{Error, Result};
use crate::runtime::{Blocks, Cluster, Progress, TaskContext};

impl Array {
    /// Computes the same rows of this array and of another in each task, hands both blocks to `map`, and joins the partials by
    /// `combine` in a fixed tree over the block order, as [`reduce_blocks`](Self::reduce_blocks) does. Rows are whole. `None` for
    /// no blocks.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when the arrays have not the same number of rows; [`Error::TooBig`] before any work; the first error
    /// in row order.
    ///
    /// # Examples
    ///
    /// ```
    /// use allotment::{Cluster, array::random};
    /// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    /// let (x, y) = (random::uniform(1000, 3, 7, 100), random::uniform(1000, 3, 8, None));
    /// let largest = x.reduce_pairs(
    ///     &cluster,
    ///     &y,
    ///     "largest difference",
    ///     8,
    ///     |a, b, _info, _context| {
    ///         let pairs = a.to_vec::<f64>().into_iter().zip(b.to_vec::<f64>());
    ///         Ok(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
    ///     },
    ///     |a, b| Ok(a.max(b)),
    ///     None,
    /// )?;
    /// assert!(largest.is_some_and(|x| x > 0.9 && x < 1.0));
    /// # Ok::<(), allotment::Error>(())
    /// ```
    #[expect(clippy::too_many_arguments, reason = "those of reduce_blocks and the other array")]
    pub fn reduce_pairs<P: Send + 'static>(
        &self,
        cluster: &Cluster,
        other: &Array,
        name: impl Into<Arc<str>>,
        partial_bytes: impl Into<Working>,
        map: impl Fn(&Block, &Block, BlockInfo, &TaskContext) -> Result<P> + Send + Sync + 'static,
        combine: impl Fn(P, P) -> Result<P> + Send + Sync + 'static,
        progress: Option<Progress>,
    ) -> Result<Option<P>> {
        let (name, working): (Arc<str>, Working) = (name.into(), partial_bytes.into());
        if self.rows() != other.rows() {
            let expected = "give arrays of one number of rows".into();
            return Err(Error::ShapeMismatch { operation: "pairs", left: self.shape, right: other.shape, expected });
        }
        let (left, right) = (self.clone().whole_rows(), other.clone().whole_rows());
        let plan = left.plan_for(cluster, &name, beside(&right, working)?)?;
        // The other's blocks on the same rows: their very bytes, where the plan knew the average.
        let rows = plan.grid.rows.clone();
        let others = Grid { rows: rows.clone(), cols: Cuts::whole(right.cols()) };
        let own = left.need_of_blocks(&plan.grid, working)?.peak;
        let need = own.saturating_add(right.need_of_blocks(&others, Working::default())?.peak);
        let allowance = cluster.allowance();
        if need > allowance {
            return Err(Error::too_big(name, need, allowance, allowance));
        }
        let blocks = Blocks { name, n: plan.tasks, projected_bytes: need, kept_bytes: working.kept, progress };
        let run = move |index: usize, context: &TaskContext| {
            let window = |array: &Array| Window::of_rows(array, rows.run(index));
            with_block(&left, index, &window(&left), context, |a, info| {
                with_block(&right, index, &window(&right), context, |b, _| map(&a, &b, info, context))
            })
        };
        cluster.reduce_blocks(&blocks, run, combine)
    }
}

/// Adds what another array's block takes, on average, for each row.
fn beside(other: &Array, working: Working) -> Result<Working> {
    let rows = other.rows().max(1);
    let whole = other.need(&Window::of_rows(other, 0..other.rows()))?.peak;
    Ok(Working { per_row: working.per_row.saturating_add(whole.div_ceil(rows)), ..working })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::random;

    #[test]
    fn blocks_of_two_arrays_meet_on_the_same_rows_whatever_their_grids() {
        let cluster = Cluster::builder().workers(2).build().expect("defaults");
        let x = random::uniform(103, 2, 5, 10);
        for y in
            [x.square(), x.square().with_block_rows(7), x.square().rechunk(9, 1), x.square().to_csr().expect("narrow")]
        {
            let differ = |a: &Block, b: &Block, info: BlockInfo, _: &TaskContext| {
                assert_eq!((a.rows(), info.shape), (b.rows(), a.shape()));
                Ok(a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()).filter(|(a, b)| *a * *a != *b).count())
            };
            let found = x.reduce_pairs(&cluster, &y, "squares", 8, differ, |a, b| Ok(a + b), None);
            assert_eq!(found.expect("small"), Some(0));
        }
        let other = random::uniform(104, 2, 5, 10);
        let none = |_: &Block, _: &Block, _: BlockInfo, _: &TaskContext| Ok(());
        assert!(x.reduce_pairs(&cluster, &other, "no", 8, none, |(), ()| Ok(()), None).is_err());
    }
}
