//! The thin SVD of a matrix, and how good it is.
//!
//! A wide matrix is factored as its transpose, which is tall and has the same singular values, with u and v exchanged; one
//! that is cut into block columns, in blocks of whole rows. What is as long as the longer side is never held.
//!
//! Of a wide matrix, say 50 × 10⁶, a task holds some columns, and what must fit is a square of its rows. Each of the two passes reads as
//! many bytes as the matrix has where columns can be read by themselves: from chunks, memory, and what is made. A file gives whole rows
//! only, and is read once for each run of columns; `plan` of the transpose says how many bytes that is. There
//! [`Array::persist`] first reads it once, by rows, and leaves chunks from which columns can be read.
//!
//! Two passes over the blocks. The first gives R ([`tsqr`](super::tsqr())), whose singular values and right singular vectors
//! are those of the matrix; or, where that is asked for because it takes fewer bytes, the gram, whose eigenvalues are their
//! squares. The second multiplies every block by V Σ⁻¹, which is that block's rows of U, and sums what
//! tells whether the answer is right: `Aᵀu`, which must be `σ v`, and `UᵀU`, which must be the identity. U itself is never
//! held: it is an expression, computed a block at a time by whoever asks for it.

use std::sync::Arc;

use nalgebra::DMatrix;

use super::block_qr::BlockWays;
use super::dense::{self, SmallSvd, eigh, eigh_bytes, gram_upper_bytes, svd_bytes, svd_small};
use super::gram;
use super::products::{Shifted, tile_bytes, tile_rows};
use super::qr::off_identity;
use super::tsqr::{Tsqr, columns, r_of, r_working};
use super::{check_fits_or, on_lane, part_of, signs, whole_rows};
use crate::array::{Array, Block, Working};
use crate::error::{Error, Result};
use crate::runtime::{Cluster, Progress};

/// What an SVD goes through. The allowance never chooses: it would change the bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum SvdSolver {
    /// R of the matrix: nothing is squared, and small singular values are as good as large ones.
    #[default]
    Tsqr,
    /// The gram of the shorter side, in fewer bytes and faster. Singular values below about 10⁻⁷ of the largest are lost in
    /// it: they are beyond the rank.
    Gram,
}

/// Settings of [`svd`].
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct SvdOptions {
    /// What it goes through.
    pub solver: SvdSolver,
    /// Whether to give `u`, as an expression that costs nothing until it is computed or saved.
    pub compute_u: bool,
    /// Called as blocks finish; both passes count.
    #[serde(skip)]
    pub progress: Option<Progress>,
}

/// How an SVD was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SvdMethod {
    /// Through R of the matrix, so many of whose blocks were factored in which way.
    Tsqr(BlockWays),
    /// Through R of the transpose, because the matrix is wider than tall.
    TransposedTsqr(BlockWays),
    /// Through the gram of the shorter side.
    Gram,
    /// From a random sketch: the first few triplets.
    Compressed,
}

/// A thin SVD `A = U Σ Vᵀ`, and the figures that show it to be right.
#[derive(Clone, Debug)]
pub struct Svd {
    /// Singular values, largest first.
    pub s: Vec<f64>,
    /// Right singular vectors, as rows: `s.len()` × columns. In each the entry of largest magnitude is positive.
    ///
    /// Of a tall matrix it is small and there already; [`vt_matrix`](Self::vt_matrix) brings it home.
    pub vt: Array,
    /// Left singular vectors, as columns, if asked for: rows × `s.len()`. Of the longer side's vectors, be they these or
    /// `vt`, those beyond the rank are zero.
    pub u: Option<Array>,
    /// How many singular values are above rounding: greater than `max(shape) ε s[0]`.
    pub rank: usize,
    /// `‖Aᵀ(A v)/σ − σ v‖ / σ` of each component, from a pass over the data; beyond the rank `‖A v‖ / s[0]`.
    ///
    /// Of a wide matrix they are those of its transpose. Rounding alone gives about `ε (s[0]/σ)²`.
    pub residuals: Vec<f64>,
    /// The largest entry of `|UᵀU − I|` over the columns within the rank.
    pub orthogonality: f64,
    /// Rows and columns of the matrix.
    pub shape: (u64, u64),
    /// How it was found.
    pub method: SvdMethod,
}

/// Returns the thin SVD of a matrix: `min(rows, columns)` singular triplets.
///
/// Blocks may be dense or CSR, of any dtype, on any grid. What must fit is a square of the shorter side; where it does not,
/// [`svd_compressed`](super::svd_compressed()) and [`lanczos`](super::lanczos()) find the first few triplets. The same input
/// on the same chunk grid gives the same bits on any number of workers.
///
/// # Errors
/// [`Error::NonFinite`] with the place of a NaN or an infinity;
/// [`Error::TooBig`] when a square of the shorter side does not fit the allowance; it names [`SvdSolver::Gram`] where that
/// would.
///
/// # Examples
/// ```
/// use allotment::{Cluster, array::Array, linalg::{SvdOptions, svd}};
/// let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
/// let a = Array::from_rows(&[[3.0, 0.0], [0.0, -2.0], [0.0, 0.0]])?;
/// let found = svd(&cluster, &a, &SvdOptions::default())?;
/// assert!((found.s[0] - 3.0).abs() < 1e-14 && (found.s[1] - 2.0).abs() < 1e-14);
/// assert!(found.residuals.iter().all(|r| *r < 1e-14) && found.orthogonality < 1e-14);
///
/// // A wide matrix: `vt` is the long side, and costs nothing until it is computed.
/// let wide = svd(&cluster, &a.transpose(), &SvdOptions::default())?;
/// assert_eq!((wide.vt.shape(), wide.vt_matrix(&cluster)?[(1, 1)]), ((2, 3), 1.0));
/// # Ok::<(), allotment::Error>(())
/// ```
pub fn svd(cluster: &Cluster, a: &Array, options: &SvdOptions) -> Result<Svd> {
    options.plan(cluster, a)?;
    let shape = a.shape();
    let wide = shape.0 < shape.1;
    let tall = whole_rows(&if wide { a.transpose() } else { a.clone() });
    let Right { s, mut vt, rank, method } =
        right(cluster, &tall, wide, options.solver, part_of(&options.progress, 0, 2))
            .map_err(|error| exchanged(error, wide))?;
    signs::fix_rows(&mut vt);
    let mut scaled = Arc::new(scaled_components(&vt, &s, rank));
    let sums = pass_over_u(cluster, &tall, scaled.clone(), part_of(&options.progress, 1, 2))?;
    let residuals = residuals(&sums, &vt, &s, rank);
    if wide {
        // The rule for signs asks for the long vectors' largest entries.
        for (j, _) in sums.largest.iter().enumerate().filter(|(_, largest)| **largest < 0.0) {
            vt.row_mut(j).neg_mut();
            Arc::make_mut(&mut scaled).row_mut(j).neg_mut();
        }
    }
    let orthogonality = off_identity(&sums.ut_u, rank);
    let (u, vt) = if wide {
        let u = options.compute_u.then(|| Array::from_nalgebra(&vt.transpose()));
        (u, left_vectors(&tall, &scaled, rank)?.transpose())
    } else {
        let u = options.compute_u.then(|| left_vectors(&tall, &scaled, rank)).transpose()?;
        (u, Array::from_nalgebra(&vt))
    };
    Ok(Svd { s, vt, u, rank, residuals, orthogonality, shape, method })
}

/// Turns a place in the transpose into one in the matrix.
fn exchanged(error: Error, wide: bool) -> Error {
    match error {
        Error::NonFinite { operation, row, col, value } if wide => {
            Error::NonFinite { operation, row: col, col: row, value }
        }
        other => other,
    }
}

/// Singular values and right singular vectors of a tall matrix.
struct Right {
    s: Vec<f64>,
    vt: DMatrix<f64>,
    rank: usize,
    method: SvdMethod,
}

/// Finds them by the first pass.
fn right(cluster: &Cluster, tall: &Array, wide: bool, solver: SvdSolver, progress: Option<Progress>) -> Result<Right> {
    let (n, shape) = (columns(tall, "svd")?, tall.shape());
    let (_, need) = solver.needs(n);
    if solver == SvdSolver::Gram {
        let gram = gram::upper(cluster, tall, "svd gram", progress)?;
        // `eigh` reads the lower triangle.
        let found = on_lane(cluster, "svd of the gram", need, move || eigh(&gram.transpose(), n))?;
        let s: Vec<f64> = found.values.iter().map(|value| value.max(0.0).sqrt()).collect();
        // The squares are known to ε of the largest square.
        let rank = rank_of(&s, shape, |share| share.sqrt());
        return Ok(Right { s, vt: found.vectors.transpose(), rank, method: SvdMethod::Gram });
    }
    let Tsqr { r, ways } = r_of(cluster, tall, "svd", progress)?;
    let SmallSvd { s, vt, .. } = on_lane(cluster, "svd of R", need, move || svd_small(&r))?;
    let rank = rank_of(&s, shape, |share| share);
    let method = if wide { SvdMethod::TransposedTsqr(ways) } else { SvdMethod::Tsqr(ways) };
    Ok(Right { s, vt, rank, method })
}

impl SvdSolver {
    /// Returns what the first pass holds besides its block, and what its result takes to factor.
    pub(super) fn needs(self, n: usize) -> (Working, u64) {
        let square = (n * n * 8) as u64;
        match self {
            SvdSolver::Tsqr => (r_working(n), svd_bytes(n, n) + square),
            SvdSolver::Gram => (gram::upper_working(n), eigh_bytes(n, n) + square),
        }
    }

    /// Returns the most that any task holds besides its block.
    fn most(self, n: usize) -> u64 {
        let (working, need) = self.needs(n);
        need.max(working.fixed).max(check_working(n).fixed)
    }

    /// Refuses what no worker could hold, naming what would fit.
    pub(super) fn check_fits(self, cluster: &Cluster, n: usize) -> Result<()> {
        let (need, task) = (self.most(n), format!("svd of {n} columns by the {}", self.name()));
        let by_gram = self == SvdSolver::Tsqr && SvdSolver::Gram.most(n) <= cluster.allowance();
        let fewer = "use svd_compressed or lanczos for the first triplets, select fewer columns";
        let instead = if by_gram { "use SvdSolver::Gram (--solver gram)" } else { fewer };
        check_fits_or(cluster, need, &task, instead)
    }

    fn name(self) -> &'static str {
        match self {
            SvdSolver::Tsqr => "tsqr",
            SvdSolver::Gram => "gram",
        }
    }
}

impl Svd {
    /// Returns the right singular vectors, as rows, in memory.
    ///
    /// # Errors
    /// Those of [`Array::compute`].
    pub fn vt_matrix(&self, cluster: &Cluster) -> Result<DMatrix<f64>> {
        Ok(self.vt.compute(cluster)?.to_nalgebra())
    }
}

/// What the second pass sums.
struct Sums {
    /// Uᵀ A, one row for each component.
    ut_a: DMatrix<f64>,
    /// UᵀU, upper triangle.
    ut_u: DMatrix<f64>,
    /// Of each column of U the entry of largest magnitude, the first of equals.
    largest: Vec<f64>,
}

impl Sums {
    fn of_block(block: &Block, scaled: &DMatrix<f64>) -> Result<Self> {
        let (k, n) = scaled.shape();
        let mut sums = Sums { ut_a: DMatrix::zeros(k, n), ut_u: DMatrix::zeros(k, k), largest: vec![0.0; k] };
        let mut u = vec![0.0; tile_rows(n).min(block.rows()) * k];
        Shifted::new(block, &[]).for_each_tile(tile_rows(n), |_, tile| {
            let rows = tile.len() / n;
            let u = &mut u[..rows * k];
            dense::rows_times_components(tile, rows, scaled, u)?;
            u.chunks_exact(k).for_each(|row| keep_larger(&mut sums.largest, row));
            dense::add_transposed_times(u, tile, rows, &mut sums.ut_a)?;
            dense::gram_upper(u, rows, k, &mut sums.ut_u)
        })?;
        Ok(sums)
    }

    fn combine(mut self, other: Self) -> Self {
        self.ut_a += other.ut_a;
        self.ut_u += other.ut_u;
        keep_larger(&mut self.largest, &other.largest);
        self
    }
}

fn keep_larger(largest: &mut [f64], others: &[f64]) {
    largest.iter_mut().zip(others).filter(|(x, other)| other.abs() > x.abs()).for_each(|(x, other)| *x = *other);
}

/// Returns what the second pass holds for a block besides the block itself.
pub(super) fn check_working(n: usize) -> Working {
    // Two partials being joined, U's rows of a tile, and the tile where it has to be widened.
    let fixed = 4 * (n * n * 8) as u64 + 2 * tile_bytes(n) + gram_upper_bytes(n);
    Working { fixed, per_row: 0, kept: 2 * (n * n * 8) as u64 }
}

fn pass_over_u(cluster: &Cluster, a: &Array, scaled: Arc<DMatrix<f64>>, progress: Option<Progress>) -> Result<Sums> {
    let n = scaled.nrows();
    let none = || Sums { ut_a: DMatrix::zeros(n, n), ut_u: DMatrix::zeros(n, n), largest: vec![0.0; n] };
    let sums = a.reduce_blocks(
        cluster,
        "svd check",
        check_working(n),
        move |block, _, _| Sums::of_block(block, &scaled),
        |left, right| Ok(left.combine(right)),
        progress,
    )?;
    Ok(sums.unwrap_or_else(none))
}

/// Returns how many singular values stand out of the rounding, by the rule of NumPy and MATLAB: above `max(shape) ε` of the
/// first, or what `share` makes of that.
fn rank_of(s: &[f64], shape: (u64, u64), share: impl Fn(f64) -> f64) -> usize {
    let noise = share(shape.0.max(shape.1) as f64 * f64::EPSILON) * s.first().copied().unwrap_or(0.0);
    s.iter().take_while(|&&value| value > noise).count()
}

/// Returns Σ⁻¹Vᵀ; rows beyond the rank are divided by the largest singular value, as theirs say nothing.
fn scaled_components(vt: &DMatrix<f64>, s: &[f64], rank: usize) -> DMatrix<f64> {
    // A zero matrix has rank 0, and dividing by one leaves its zero products zero.
    let largest = s.first().copied().filter(|&value| value > 0.0).unwrap_or(1.0);
    DMatrix::from_fn(vt.nrows(), vt.ncols(), |j, i| vt[(j, i)] / if j < rank { s[j] } else { largest })
}

fn residuals(sums: &Sums, vt: &DMatrix<f64>, s: &[f64], rank: usize) -> Vec<f64> {
    let within = |j: usize| (sums.ut_a.row(j) - vt.row(j) * s[j]).norm() / s[j];
    let beyond = |j: usize| sums.ut_u[(j, j)].sqrt();
    (0..s.len()).map(|j| if j < rank { within(j) } else { beyond(j) }).collect()
}

/// Returns U = A V Σ⁻¹ as an expression.
fn left_vectors(a: &Array, scaled: &DMatrix<f64>, rank: usize) -> Result<Array> {
    let mut right = scaled.transpose();
    right.columns_mut(rank, scaled.nrows() - rank).fill(0.0);
    a.matmul(&right)
}
