//! The thin QR of a tall matrix, Q and all, and how good it is.
//!
//! Direct TSQR (Demmel, Grigori, Hoemmen & Langou 2012, §2; Benson, Gleich & Demmel 2013, §III-B): Q is never R's inverse
//! times something, but a product of factors that are orthonormal each, so that it is orthonormal to a few ε whatever
//! the matrix.
//!
//! ```text
//!   pass 1   block 0 ─▶ Q₀ R₀ ┐
//!                             ├─▶ [R₀; R₁] = [S₀; S₁] R₀₁ ┐
//!            block 1 ─▶ Q₁ R₁ ┘                           ├─▶ … ─▶ R         every Q and S is left as a chunk
//!            …                                            ┘
//!   pass 2   block i ─▶ Qᵢ · Sᵢ · …, down the path from the root ─▶ chunk of Q
//!                         └─▶ Σ QᵀQ, Σ |A − QR|² ─ tree ─▶ orthogonality, residual
//! ```
//!
//! Always true: both passes cut the rows alike; what a task holds is one block, and matrices of columns × columns.

use std::sync::Arc;

use nalgebra::DMatrix;

use super::block_qr::{BlockWays, Rows, qr_of_block_bytes};
use super::dense::{self, qr_bytes, qr_of};
use super::products::{Shifted, tile_bytes, tile_rows};
use super::tsqr::{columns, stacked};
use super::{part_of, whole_rows};
use crate::array::{Array, Block, BlockInfo, BlockKind, DType, DenseBlock, StoredBlock, Working};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress, TaskContext, task_context};

/// Settings of [`qr`].
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct QrOptions {
    /// Called as blocks finish; both passes count.
    #[serde(skip)]
    pub progress: Option<Progress>,
}

/// A thin QR `A = Q R`, and the figures that show it to be right.
#[derive(Clone, Debug)]
pub struct Qr {
    /// Q: rows × `min(rows, columns)`, dense float64, as chunks on the workers. Its columns are orthonormal also where
    /// those of the matrix depend on each other.
    pub q: Array,
    /// R: `min(rows, columns)` × columns, upper trapezoidal, no negative number on its diagonal.
    pub r: DMatrix<f64>,
    /// How many blocks were factored in which way.
    pub ways: BlockWays,
    /// `‖A − QR‖ / ‖A‖` in the Frobenius norm, from a pass over the data; zero where the matrix is.
    pub residual: f64,
    /// The largest entry of `|QᵀQ − I|`.
    pub orthogonality: f64,
}

/// Returns the thin QR of a matrix.
///
/// Blocks may be dense or CSR, of any dtype, ragged, shorter than they are wide, or empty; columns may depend on each
/// other. Everything is computed in f64, and the same input on the same chunk grid gives the same bits on any number of
/// workers. The data are read twice, and Q is written twice: once as the blocks' own factors, which are given back.
/// [`tsqr`](super::tsqr()) gives R alone, in one pass.
///
/// Of a wide matrix Q is square and R as wide as the matrix, and what must fit is a square of the columns all the same:
/// where it does not, the QR of the transpose, `Aᵀ = Q R`, gives `A = Rᵀ Qᵀ` with a long Qᵀ, left as chunks.
///
/// # Errors
/// [`Error::NonFinite`] with the place of a NaN or an infinity; [`Error::TooBig`] when a columns × columns matrix does
/// not fit the allowance; [`Error::SpoolFull`] when Q does not fit the disk; and whatever reading the blocks gives.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::{QrOptions, qr}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let a = Array::from_rows(&[[3.0, 1.0], [4.0, 2.0], [0.0, 2.0]])?;
/// let found = qr(&cluster, &a, &QrOptions::default())?;
/// assert!((found.r[(0, 0)] - 5.0).abs() < 1e-15 && found.r[(1, 0)] == 0.0);
/// assert!((found.q.compute(&cluster)?.to_vec::<f64>()[0] - 0.6).abs() < 1e-15);
/// assert!(found.residual < 1e-15 && found.orthogonality < 1e-15);
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn qr(cluster: &Cluster, a: &Array, options: &QrOptions) -> Result<Qr> {
    let n = columns(a, "qr")?;
    options.plan(cluster, a)?;
    let working = working(n);
    let a = with_fixed_blocks(cluster, &whole_rows(a), working)?;
    let factored = a.reduce_blocks(
        cluster,
        "qr factors",
        working,
        |block, info, context| Factored::of_block(block, info.row_offset, context),
        Factored::join,
        part_of(&options.progress, 0, 2),
    )?;
    let Some(Factored { r, ways, node }) = factored else { return none(n) };
    let (node, wanted) = (Arc::new(node), Arc::new(r.clone()));
    let finished = a.reduce_blocks(
        cluster,
        "qr q",
        working,
        move |block, info, context| Finished::of_block(block, info, &node, &wanted, context),
        |upper, lower| Ok(upper.join(lower)),
        part_of(&options.progress, 1, 2),
    )?;
    let finished = finished.expect("the second pass has the first one's blocks");
    let (residual, orthogonality) = (finished.residual(&r), off_identity(&finished.gram, r.nrows()));
    Ok(Qr { q: Array::from_stored(finished.blocks)?, r, ways, residual, orthogonality })
}

/// Cuts the rows as a plan does, so that two passes cannot cut them differently.
fn with_fixed_blocks(cluster: &Cluster, a: &Array, working: Working) -> Result<Array> {
    if a.row_cuts().is_some() {
        return Ok(a.clone());
    }
    let plan = a.plan_for(cluster, "qr", working)?;
    Ok(a.clone().with_block_rows(plan.block_rows.max(1)))
}

/// Returns the QR of a matrix without rows.
fn none(n: usize) -> Result<Qr> {
    let (q, r) = (Array::zeros(0, 0, DType::F64, BlockKind::Dense)?, DMatrix::zeros(0, n));
    Ok(Qr { q, r, ways: BlockWays::default(), residual: 0.0, orthogonality: 0.0 })
}

/// Returns what either pass holds besides its block.
pub(super) fn working(n: usize) -> Working {
    let square = (n * n * 8) as u64;
    let (block, per_row) = qr_of_block_bytes(n);
    // Two Rs; the stack, its reflections and its Q, which is turned before it is stored; and the new R.
    let joining = 11 * square + qr_bytes(2 * n, n);
    // The path's product with its next factor; R turned, and two grams; a tile of the block, and what is left of it.
    let finishing = 8 * square + 2 * tile_bytes(n);
    Working { fixed: block.max(joining).max(finishing), per_row, kept: square }
}

/// What the first pass makes of a run of rows.
struct Factored {
    r: DMatrix<f64>,
    ways: BlockWays,
    node: Node,
}

/// Where the orthonormal factors lie: the tree of the joins.
enum Node {
    /// A block's own.
    Leaf(StoredBlock),
    /// That of two Rs, one above the other.
    Join { q: StoredBlock, upper_rows: usize, upper_leaves: usize, n_leaves: usize, below: Box<(Node, Node)> },
}

impl Factored {
    fn of_block(block: &Block, first_row: u64, context: &TaskContext) -> Result<Self> {
        let rows = Rows { values: Shifted::new(block, &[]), shape: block.shape(), first_row, operation: "qr" };
        let found = rows.qr()?;
        let q = store(block.rows(), found.r.nrows(), found.q, context)?;
        Ok(Factored { r: found.r, ways: found.ways, node: Node::Leaf(q) })
    }

    fn join(upper: Self, lower: Self) -> Result<Self> {
        let stack = stacked(&upper.r, &lower.r);
        let (rows, upper_rows) = (stack.nrows(), upper.r.nrows());
        let (q, r) = qr_of(stack);
        let outside = || Error::ClusterDown { cause: "two blocks were joined outside of a task".into() };
        let context = task_context().ok_or_else(outside)?;
        let q = store(rows, r.nrows(), q.transpose().as_slice().to_vec(), &context)?;
        let (upper_leaves, n_leaves) = (upper.node.n_leaves(), upper.node.n_leaves() + lower.node.n_leaves());
        let below = Box::new((upper.node, lower.node));
        let node = Node::Join { q, upper_rows, upper_leaves, n_leaves, below };
        Ok(Factored { r, ways: upper.ways + lower.ways, node })
    }
}

impl Node {
    fn n_leaves(&self) -> usize {
        match self {
            Node::Leaf(_) => 1,
            Node::Join { n_leaves, .. } => *n_leaves,
        }
    }

    /// Returns a block's own factor, and the product of those on its path from the root, if there is a path.
    fn factors(&self, mut leaf: usize) -> Result<(&StoredBlock, Option<DMatrix<f64>>)> {
        let (mut node, mut product): (&Node, Option<DMatrix<f64>>) = (self, None);
        while let Node::Join { q, upper_rows, upper_leaves, below, .. } = node {
            let rows = if leaf < *upper_leaves { 0..*upper_rows } else { *upper_rows..q.shape().0 };
            let whole = q.block()?;
            let part = whole.slice_rows(rows).to_nalgebra::<f64>();
            whole.check()?;
            product = Some(match product {
                Some(product) => dense::gemm(&part, &product)?,
                None => part,
            });
            if leaf < *upper_leaves {
                node = &below.0;
            } else {
                leaf -= upper_leaves;
                node = &below.1;
            }
        }
        let Node::Leaf(own) = node else { unreachable!("the loop ends at a leaf") };
        Ok((own, product))
    }
}

fn store(rows: usize, cols: usize, values: Vec<f64>, context: &TaskContext) -> Result<StoredBlock> {
    Block::Dense(DenseBlock::new(rows, cols, values)?).store(&context.store()?)
}

/// What the second pass gives: the blocks of Q in row order, and what tells whether they are right.
struct Finished {
    blocks: Vec<StoredBlock>,
    /// QᵀQ, upper triangle.
    gram: DMatrix<f64>,
    /// Σ |A − QR|², in units of the square of R's largest entry.
    squares: f64,
}

impl Finished {
    fn of_block(block: &Block, info: BlockInfo, node: &Node, r: &DMatrix<f64>, context: &TaskContext) -> Result<Self> {
        let ((rows, n), k) = (block.shape(), r.nrows());
        let q = q_of_block(node, info.index, rows, k)?;
        let mut gram = DMatrix::zeros(k, k);
        for tile in q.chunks(tile_rows(n) * k.max(1)) {
            dense::gram_upper(tile, tile.len() / k.max(1), k, &mut gram)?;
        }
        let (unit, right) = (unit_of(r), r.transpose());
        let (mut back, mut squares) = (vec![0.0; tile_rows(n).min(rows) * n], 0.0);
        Shifted::new(block, &[]).for_each_tile(tile_rows(n), |first, tile| {
            let (rows, back) = (tile.len() / n, &mut back[..tile.len()]);
            dense::rows_times_components(&q[first * k..(first + rows) * k], rows, &right, back)?;
            squares += tile.iter().zip(&*back).map(|(a, b)| ((a - b) / unit).powi(2)).sum::<f64>();
            Ok(())
        })?;
        Ok(Finished { blocks: vec![store(rows, k, q, context)?], gram, squares })
    }

    fn join(mut self, mut other: Self) -> Self {
        self.blocks.append(&mut other.blocks);
        self.gram += other.gram;
        self.squares += other.squares;
        self
    }

    fn residual(&self, r: &DMatrix<f64>) -> f64 {
        let norm = (r / unit_of(r)).norm();
        if norm > 0.0 { self.squares.sqrt() / norm } else { 0.0 }
    }
}

/// Returns a block's rows of Q, row by row, `k` values a row.
fn q_of_block(node: &Node, index: usize, rows: usize, k: usize) -> Result<Vec<f64>> {
    let (own, product) = node.factors(index)?;
    let stored = own.block()?;
    let own_k = own.shape().1;
    let q = match product {
        None => stored.to_vec::<f64>(),
        Some(product) => {
            let (right, mut q) = (product.transpose(), vec![0.0; rows * k]);
            Shifted::new(&stored, &[]).for_each_tile(tile_rows(own_k), |first, tile| {
                let n = tile.len() / own_k;
                dense::rows_times_components(tile, n, &right, &mut q[first * k..(first + n) * k])
            })?;
            q
        }
    };
    stored.check()?;
    Ok(q)
}

/// Returns R's largest entry, so that no square overflows or vanishes; one where all are zero.
fn unit_of(r: &DMatrix<f64>) -> f64 {
    let largest = r.amax();
    if largest > 0.0 { largest } else { 1.0 }
}

/// Returns the largest entry of a matrix less the identity, by its upper triangle, over the first columns.
pub(crate) fn off_identity(gram: &DMatrix<f64>, k: usize) -> f64 {
    let off = |i: usize, j: usize| (gram[(i, j)] - if i == j { 1.0 } else { 0.0 }).abs();
    (0..k).flat_map(|j| (0..=j).map(move |i| (i, j))).map(|(i, j)| off(i, j)).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ByteSize;
    use crate::linalg::testing::{graded, noise};
    use crate::runtime::Scheduler;

    fn cluster(workers: usize) -> Cluster {
        Cluster::builder().allowance(ByteSize(64 << 20)).workers(workers).build().unwrap()
    }

    fn found(a: &DMatrix<f64>, block_rows: u64, csr: bool) -> (Qr, DMatrix<f64>) {
        let x = Array::from_nalgebra(a).with_block_rows(block_rows);
        let x = if csr { x.to_csr().unwrap() } else { x };
        let cluster = cluster(2);
        let qr = qr(&cluster, &x, &QrOptions::default()).unwrap();
        let q = qr.q.compute(&cluster).unwrap().to_nalgebra::<f64>();
        (qr, q)
    }

    #[test]
    fn q_is_orthonormal_and_q_r_the_matrix_however_ill_it_is_and_however_it_is_cut() {
        let mut dependent = noise(200, 8, 5);
        dependent.column_mut(2).fill(0.0);
        let copy = dependent.column(1) * -3.0;
        dependent.column_mut(6).copy_from(&copy);
        // Well, ill (condition 1e12), dependent and constant columns; one row, fewer rows than columns, only zeros.
        let cases = [
            noise(500, 20, 1),
            graded(300, 13, 13),
            dependent,
            DMatrix::from_element(60, 3, 2.5),
            noise(1, 4, 2),
            noise(7, 11, 3),
            DMatrix::zeros(30, 4),
        ];
        for a in &cases {
            for (block_rows, csr) in [(1000, false), (64, false), (64, true), (7, false), (1, true)] {
                let (qr, q) = found(a, block_rows, csr);
                let (k, case) = (a.nrows().min(a.ncols()), format!("{:?} by {block_rows}, csr {csr}", a.shape()));
                assert_eq!((q.shape(), qr.r.shape()), ((a.nrows(), k), (k, a.ncols())), "{case}");
                // A product of at most ten orthonormal factors, each good to a few ε.
                assert!((q.transpose() * &q - DMatrix::identity(k, k)).amax() < 2e-14, "{case}");
                assert!((&q * &qr.r - a).norm() <= 2e-14 * a.norm(), "{case}");
                assert!(
                    qr.residual < 2e-14 && qr.orthogonality < 2e-14,
                    "{case}: {} {}",
                    qr.residual,
                    qr.orthogonality
                );
                assert!((0..k).all(|i| qr.r[(i, i)] >= 0.0 && (0..i).all(|j| qr.r[(i, j)] == 0.0)), "{case}");
            }
        }
    }

    #[test]
    fn r_is_that_of_the_whole_where_it_is_unique() {
        let a = noise(300, 12, 4);
        let (_, expected) = dense::qr_thin(&a);
        // The columns are independent, with a condition number of about 2.
        assert!((found(&a, 50, false).0.r - expected).amax() < 1e-13);
    }

    #[test]
    fn the_way_of_each_block_is_told() {
        let mut a = noise(410, 8, 3);
        a.rows_mut(200, 100).column_mut(7).fill(0.0);
        let ways = found(&a, 100, false).0.ways;
        assert_eq!(ways, BlockWays { n_cholesky: 3, n_reflections: 2 });
    }

    #[test]
    fn the_figures_tell_what_is_wrong() {
        let (qr, q) = found(&noise(40, 3, 6), 10, false);
        let wrong = Finished { blocks: Vec::new(), gram: q.transpose() * &q * 1.5, squares: 4.0 };
        assert!((off_identity(&wrong.gram, 3) - 0.5).abs() < 1e-14);
        assert!((wrong.residual(&qr.r) - 2.0 * qr.r.amax() / qr.r.norm()).abs() < 1e-14);
    }

    #[test]
    fn huge_and_tiny_values_are_no_matter() {
        for exponent in [700, -700] {
            let (qr, q) = found(&(noise(100, 4, 8) * 2f64.powi(exponent)), 30, false);
            assert!(qr.residual < 1e-14 && qr.orthogonality < 1e-14, "{} {}", qr.residual, qr.orthogonality);
            assert!((q.transpose() * q - DMatrix::identity(4, 4)).amax() < 1e-14);
        }
    }

    #[test]
    fn no_rows_and_no_columns_have_factors_of_their_shapes() {
        for (rows, cols) in [(0, 3), (3, 0), (0, 0)] {
            let x = Array::zeros(rows, cols, DType::F32, BlockKind::Dense).unwrap();
            let qr = qr(&cluster(1), &x, &QrOptions::default()).unwrap();
            let k = rows.min(cols);
            assert_eq!((qr.q.shape(), qr.r.shape()), ((rows, k), (k as usize, cols as usize)));
        }
    }

    #[test]
    fn any_number_of_workers_gives_the_same_bits() {
        let x = Array::from_nalgebra(&noise(400, 6, 9)).with_block_rows(33);
        let serial = Cluster::builder().scheduler(Scheduler::Serial).build().unwrap();
        let bits = |cluster: &Cluster| {
            let qr = qr(cluster, &x, &QrOptions::default()).unwrap();
            (qr.q.compute(cluster).unwrap().to_vec::<f64>(), qr.r, qr.residual, qr.orthogonality)
        };
        let expected = bits(&serial);
        assert!([1, 2, 5].iter().all(|&workers| bits(&cluster(workers)) == expected));
    }
}
