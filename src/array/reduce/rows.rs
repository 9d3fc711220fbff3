//! Answers of rows: as many as there are rows, made a block at a time, and reserved for as long as they wait.
//!
//! ```text
//!   blocks of whole rows   block i ─▶ share ─▶ its rows' answers ┐
//!   block columns          block (i, j) ─▶ share ─ a tree for each block row ─▶ answers of block row i ┴▶ in row order
//! ```
//!
//! What a block leaves keeps its bytes out of the grant of the task that made it, twice: once more for the rows put one after
//! another, when all have come. What can never be kept is refused before any work.
//!
//! Always true: a block that is run twice counts once; the order of the joins depends on the grid alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::partial::Share;
use crate::array::Plan;
use crate::bytes::ByteSize;
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Reservation, Tree, keep};

/// Refuses answers of so many bytes a row that all workers together could not keep, beside a task of a plan.
pub(super) fn check_kept(cluster: &Cluster, name: &str, plan: &Plan, bytes_per_row: u64) -> Result<()> {
    let (workers, rows) = (cluster.workers().max(1) as u64, plan.grid.shape().0);
    let need = rows.saturating_mul(bytes_per_row).saturating_add(plan.projected_bytes);
    let (allowance, largest) = (cluster.allowance(), cluster.allowance().saturating_mul(workers));
    if need <= largest {
        return Ok(());
    }
    let least = ByteSize(need.div_ceil(workers)).rounded_up();
    let remedy = format!("ask for fewer answers of rows at once, or use an allowance of at least {least}").into();
    Err(Error::TooBig { task: format!("{name} of {rows} rows").into(), need, allowance, largest, remedy })
}

/// What some rows' blocks left, with the bytes that it keeps.
type Kept<T> = Option<(T, Option<Reservation>)>;

/// The answers of all rows, as they come.
pub(super) struct Rows<T> {
    n_block_cols: usize,
    /// Bytes that the answers of a block of so many rows keep: of the longest, and of a share beside other block columns.
    kept_bytes: u64,
    finish: Box<dyn Fn(Share) -> T + Send + Sync>,
    /// By block row, where rows are whole.
    whole: Mutex<Vec<Kept<T>>>,
    /// By block row, where they are cut.
    cut: Vec<Tree<Share>>,
}

impl<T> Rows<T> {
    /// Begins with no answers on a plan's grid: a row's share takes so many bytes, its answers so many.
    pub(super) fn new(
        plan: &Plan,
        share_bytes: u64,
        answer_bytes: u64,
        finish: impl Fn(Share) -> T + Send + Sync + 'static,
    ) -> Self {
        let (n_block_rows, n_block_cols) = (plan.grid.rows.n_runs(), plan.grid.cols.n_runs());
        let kept = Rows::<T>::kept_per_row(n_block_cols, share_bytes, answer_bytes);
        let kept_bytes = kept.saturating_mul(plan.block_rows);
        let (n_whole, n_cut) = if n_block_cols == 1 { (n_block_rows, 0) } else { (0, n_block_rows) };
        Rows {
            n_block_cols,
            kept_bytes,
            finish: Box::new(finish),
            whole: Mutex::new((0..n_whole).map(|_| None).collect()),
            cut: (0..n_cut).map(|_| Tree::new(n_block_cols, kept_bytes)).collect(),
        }
    }

    /// Returns what each row keeps until all have come.
    fn kept_per_row(n_block_cols: usize, share_bytes: u64, answer_bytes: u64) -> u64 {
        // Where rows are cut, the last share waits while its answers are put beside the others.
        if n_block_cols == 1 { 2 * answer_bytes } else { share_bytes + answer_bytes }
    }

    /// Returns the most that each row keeps at any moment, in all blocks.
    pub(super) fn most_per_row(plan: &Plan, share_bytes: u64, answer_bytes: u64) -> u64 {
        let n_block_cols = plan.grid.cols.n_runs();
        let levels = if n_block_cols == 1 { 1 } else { u64::from(n_block_cols.ilog2()) + 2 };
        Rows::<T>::kept_per_row(n_block_cols, share_bytes, answer_bytes).saturating_mul(levels)
    }

    /// Takes what a block knows of its rows.
    pub(super) fn put(&self, block: usize, share: Share) -> Result<()> {
        let (row, col) = (block / self.n_block_cols, block % self.n_block_cols);
        if let Some(tree) = self.cut.get(row) {
            return tree.put(col, share, &|left: Share, right| Ok(left.join(right)));
        }
        let answers = (self.finish)(share);
        let kept = keep(self.kept_bytes);
        self.lock()[row].get_or_insert((answers, kept));
        Ok(())
    }

    /// Hands out all answers in row order, each giving its bytes back when it was taken.
    pub(super) fn for_each(&self, mut take: impl FnMut(T)) {
        for (answers, _kept) in std::mem::take(&mut *self.lock()).into_iter().flatten() {
            take(answers);
        }
        self.cut.iter().filter_map(Tree::root).for_each(|share| take((self.finish)(share)));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept<T>>> {
        // A slot is written at once or not at all.
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
