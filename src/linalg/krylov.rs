//! Block Krylov spaces of `G = AᵀA`, with thick restarts: what [`lanczos`](super::lanczos()) and
//! [`svd_compressed`](super::svd_compressed) have in common.
//!
//! A step is one pass over the data: G times the newest block of vectors. What comes back is made orthogonal to every vector
//! there is, twice; what is left of it is the next block, and the overlaps are the next columns of `H = QᵀGQ`. The eigenvalues
//! of H are the Ritz values, squares of singular values as far as the space knows them; how far an eigenvector of H is from one
//! of G is told, without a pass, by what the newest block took along. When the space is full, the best Ritz vectors and the newest
//! block stay and the others go.
//!
//! ```text
//!   Q₁ ─ G ─▶ less overlap ─▶ Q₂ ─ G ─▶ … Qⱼ ─ G ─▶ Qⱼ₊₁        H: θ₁        s₁     the kept Ritz values,
//!   full:  [ best Ritz vectors | Qⱼ₊₁ ] ─ G ─▶ …                       θ₂     s₂     and how they hang together
//!                                                                  s₁ᵀ s₂ᵀ   h      with the newest block
//! ```
//!
//! The space: Golub & Underwood 1977 and Musco & Musco 2015 (randomised block Krylov iteration, algorithm 2), from a Gaussian
//! block. The restart: Wu & Simon 2000, §3; Baglama & Reichel 2005, §3, without their special cases, because H is computed
//! from the overlaps and not assumed. A space from blocks of r vectors knows at most r copies of a repeated value; where it has
//! found as many, random vectors widen the block. A space that G maps into itself holds all there is for it, whatever the rank.
//!
//! The limit: G squares the singular values, so that a direction of σ is found as well as σ² stands out of `ε σ₁²`.
//!
//! Always true: the vectors are orthonormal to a few ε; they lie in the memory of lanes and are counted there.

use std::sync::Arc;

use nalgebra::DMatrix;

use super::dense::{Eigh, SmallSvd, eigh, eigh_bytes, gemm, svd_bytes, svd_small};
use super::operator::{Operator, pass_of};
use super::rows::{add_turned, overlap, r_of_rows, r_of_rows_bytes};
use super::{check_fits, on_lane};
use crate::array::{Plan, random};
use crate::error::Result;
use crate::runtime::{Cluster, Progress};

/// What a space is begun with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How many eigenpairs are asked for.
    pub(crate) k: usize,
    /// Vectors of a block.
    pub(crate) width: usize,
    /// Vectors that the space may hold, at least three blocks and `k`.
    pub(crate) capacity: usize,
}

impl Size {
    /// Returns how many Ritz vectors a restart keeps, where there is room.
    fn kept(self) -> usize {
        self.k + 2 * self.capacity.saturating_sub(self.k) / 5
    }

    /// Refuses blocks of so many vectors if a pass, a step on a lane or the last look would not fit.
    pub(crate) fn check_fits(self, cluster: &Cluster, operator: &Operator, width: usize) -> Result<()> {
        let (p, operation) = (operator.n_cols(), operator.operation());
        let bytes = (self.capacity.min(p) * p * 8) as u64;
        let last = self.k + self.width;
        let passes = operator.pass_bytes(width, bytes).max(operator.pass_bytes(last, (last * p * 8) as u64));
        let need = passes.max(Size { width, ..self }.between_bytes(p));
        check_fits(cluster, need, || {
            format!("{operation} of {p} columns (ask for fewer components, or select columns)")
        })
    }

    /// Returns the plan of up to so many steps, each a pass and the tasks after it, of which it holds the vectors.
    pub(crate) fn plan(self, cluster: &Cluster, operator: &Operator, n_steps: usize) -> Result<Plan> {
        self.check_fits(cluster, operator, self.width)?;
        let (p, name) = (operator.n_cols(), operator.operation());
        let held = (self.capacity.min(p) * p * 8) as u64;
        let fresh = random::normal(p as u64, self.width as u64, 0, None).plan(cluster)?;
        let mut step = operator.array().plan_runs(cluster, &operator.runs(self.width, held))?;
        step.projected_bytes = step.projected_bytes.max(fresh.projected_bytes).max(self.between_bytes(p));
        // After a pass: making it orthonormal, the Ritz values, a restart, and random vectors made and fitted in.
        step.tasks += 4 + fresh.tasks;
        let mut first = step.clone();
        first.add_pass(name);
        // The first pass may show that the values need a factor, and is made again with it; and there is a first block.
        Ok(first.then_up_to(n_steps.saturating_add(1), name, &step))
    }

    /// Returns what the tasks between passes take over so many columns: the most of any of them.
    pub(crate) fn between_bytes(self, p: usize) -> u64 {
        let held = self.capacity.min(p);
        let turning = lane_bytes(held, self.width, p) + (self.kept().max(self.k + self.width).min(held) * p * 8) as u64;
        turning.max(eigh_bytes(held, held) + (3 * held * held * 8) as u64)
    }
}

/// A growing space, and G as seen from it.
pub(crate) struct Krylov {
    cluster: Cluster,
    operator: Operator,
    progress: Option<Progress>,
    /// Orthonormal blocks, each r × columns; the last is the newest, to which G has not been applied.
    basis: Vec<Arc<DMatrix<f64>>>,
    /// `QᵀGQ` over all blocks but the newest.
    h: DMatrix<f64>,
    /// The newest block's part in G times the one before it.
    coupling: DMatrix<f64>,
    size: Size,
    seed: u64,
    passes: usize,
}

/// Eigenpairs of G as far as the space knows them.
pub(crate) struct Ritz {
    /// Largest first.
    pub(crate) values: Vec<f64>,
    /// In terms of the basis, as columns.
    vectors: DMatrix<f64>,
    /// `‖G v − θ v‖` of each.
    pub(crate) residuals: Vec<f64>,
}

/// A block of vectors made orthonormal to others and among themselves.
struct Orthonormal {
    vectors: DMatrix<f64>,
    /// Their overlap with the basis, before.
    inside: DMatrix<f64>,
    /// `block = inside of the basis + outside of the vectors`.
    outside: DMatrix<f64>,
}

impl Krylov {
    /// Begins a space from a Gaussian block, without a pass.
    pub(crate) fn begin(
        cluster: &Cluster,
        operator: Operator,
        size: Size,
        seed: u64,
        progress: Option<Progress>,
    ) -> Result<Self> {
        // Another stream than that of an array the caller may have made from the same seed.
        let seed = seed ^ 0x9E37_79B9_7F4A_7C15;
        let (h, coupling) = (DMatrix::zeros(0, 0), DMatrix::zeros(0, 0));
        let cluster = cluster.clone();
        let mut space = Krylov { cluster, operator, progress, basis: Vec::new(), h, coupling, size, seed, passes: 0 };
        space.check_fits(size.width)?;
        let first = space.fresh_block()?;
        space.basis.push(Arc::new(first));
        Ok(space)
    }

    /// Applies G to the newest block and returns what is known then.
    pub(crate) fn step(&mut self) -> Result<Ritz> {
        let newest = self.basis.last().expect("a space has a block").clone();
        let progress = pass_of(&self.progress, self.passes);
        let image = match self.passes {
            0 => self.operator.first_gram_times(&self.cluster, &newest, progress)?,
            _ => self.operator.gram_times(&self.cluster, &newest, self.held_bytes(), progress)?,
        };
        self.passes += 1;
        let (basis, bytes) = (self.basis.clone(), self.lane_bytes());
        // What is below is rounding, of G's products and of the overlaps.
        let noise = 8.0 * f64::EPSILON * self.h.amax().max(image.norm());
        let found =
            on_lane(&self.cluster, self.operator.operation(), bytes, move || orthonormal(&basis, &image, noise))?;
        self.h = bordered(&self.h, &found.inside);
        self.coupling = found.outside;
        self.basis.push(Arc::new(found.vectors));
        self.ritz()
    }

    /// Returns whether G maps the space into itself: then it holds all that can be found.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.passes > 0 && self.coupling.nrows() == 0
    }

    /// Forgets all but the best Ritz vectors and the newest block, where the next step would find no room.
    pub(crate) fn make_room(&mut self, ritz: &Ritz) -> Result<()> {
        let newest = self.basis.last().expect("a space has a block").clone();
        let Size { k, capacity, .. } = self.size;
        if self.h.nrows() + 2 * newest.nrows() <= capacity {
            return Ok(());
        }
        // Many kept vectors widen the gap below those that are asked for; many steps between restarts use it.
        let keep = self.size.kept().min(capacity.saturating_sub(2 * newest.nrows())).max(k).min(self.h.nrows());
        let kept = self.vectors(ritz, keep)?;
        self.h = DMatrix::from_diagonal(&ritz.values[..keep].to_vec().into());
        // The vectors that stay hang together with the newest block by their own last rows, which its step will find.
        self.basis = vec![Arc::new(kept), newest];
        Ok(())
    }

    /// Returns whether copies of a repeated value may be missing: a space from blocks of r vectors knows at most r copies of
    /// one, and so many it has found.
    pub(crate) fn may_hide_copies(&self, ritz: &Ritz) -> bool {
        let width = self.basis.last().map_or(0, |block| block.nrows()).max(self.size.width);
        let values = &ritz.values[..self.size.k.min(ritz.values.len())];
        let alike = |run: &[f64]| run[0] > 1e-13 * values[0] && run[0] - run[width - 1] <= 1e-8 * values[0];
        // A space that is everything hides nothing.
        self.h.nrows() < self.operator.n_cols() && values.windows(width).any(alike)
    }

    /// Adds random vectors to the newest block, which bring what the space has not met.
    pub(crate) fn widen(&mut self, ritz: &Ritz) -> Result<()> {
        let fresh = self.fresh_block()?;
        let newest = self.basis.pop().expect("a space has a block");
        let (r, n) = (newest.nrows(), fresh.nrows());
        let mut block = DMatrix::zeros(r + n, fresh.ncols());
        block.rows_mut(0, r).copy_from(&newest);
        block.rows_mut(r, n).copy_from(&fresh);
        self.check_fits(r + n)?;
        self.basis.push(Arc::new(block));
        self.coupling = DMatrix::zeros(0, 0);
        self.make_room(ritz)
    }

    /// Returns random vectors, orthonormal to the space and among themselves; fewer where the space is nearly everything.
    fn fresh_block(&mut self) -> Result<DMatrix<f64>> {
        let (p, width) = (self.operator.n_cols(), self.size.width);
        self.seed = self.seed.wrapping_add(1);
        let block = random::normal(p as u64, width as u64, self.seed, None).compute(&self.cluster)?.to_vec::<f64>();
        let block = DMatrix::from_vec(width, p, block);
        let (basis, bytes) = (self.basis.clone(), self.lane_bytes());
        // What rounding leaves of Gaussian vectors within the space is about 1e-15 of them.
        let noise = 1e-10 * block.norm();
        let run = move || Ok(orthonormal(&basis, &block, noise)?.vectors);
        on_lane(&self.cluster, self.operator.operation(), bytes, run)
    }

    fn check_fits(&self, width: usize) -> Result<()> {
        self.size.check_fits(&self.cluster, &self.operator, width)
    }

    /// Returns the first Ritz vectors, as rows.
    pub(crate) fn vectors(&self, ritz: &Ritz, n: usize) -> Result<DMatrix<f64>> {
        let (p, n) = (self.operator.n_cols(), n.min(ritz.values.len()));
        let (basis, bytes) = (self.basis.clone(), self.lane_bytes() + (n * p * 8) as u64);
        let turn = ritz.vectors.columns(0, n).transpose();
        on_lane(&self.cluster, self.operator.operation(), bytes, move || {
            let (mut out, mut from) = (DMatrix::zeros(n, p), 0);
            for block in &basis[..basis.len() - 1] {
                add_turned(&turn.columns(from, block.nrows()).into_owned(), block, &mut out)?;
                from += block.nrows();
            }
            Ok(out)
        })
    }

    /// Returns the operator, and how many passes it has made, when the space is no longer needed.
    pub(crate) fn end(self) -> (Operator, usize) {
        (self.operator, self.passes)
    }

    /// Returns the eigenpairs of H.
    fn ritz(&self) -> Result<Ritz> {
        let (h, m) = (self.h.clone(), self.h.nrows());
        let bytes = eigh_bytes(m, m) + (3 * m * m * 8) as u64;
        let Eigh { values, vectors } = on_lane(&self.cluster, self.operator.operation(), bytes, move || eigh(&h, m))?;
        let last = self.coupling.ncols();
        let outside = &self.coupling * vectors.rows(m - last, last);
        let residuals = outside.column_iter().map(|column| column.norm()).collect();
        Ok(Ritz { values: values.into_iter().map(|value| value.max(0.0)).collect(), vectors, residuals })
    }

    fn held_bytes(&self) -> u64 {
        self.basis.iter().map(|block| (block.len() * 8) as u64).sum()
    }

    fn lane_bytes(&self) -> u64 {
        let held: usize = self.basis.iter().map(|block| block.nrows()).sum();
        lane_bytes(held, self.size.width, self.operator.n_cols())
    }
}

/// Returns what a lane holds while a block of vectors is made orthonormal to `held` others.
fn lane_bytes(held: usize, width: usize, p: usize) -> u64 {
    let small = r_of_rows_bytes(width) + svd_bytes(width, width) + (4 * width * (width + held) * 8) as u64;
    // The block as it came, as it is now, and as it becomes; tiles of it.
    ((held + 3 * width) * p * 8) as u64 + small + (2 * 512 * (width + held) * 8) as u64
}

/// Returns a symmetric matrix with more columns on the right, and the same as rows below.
fn bordered(h: &DMatrix<f64>, columns: &DMatrix<f64>) -> DMatrix<f64> {
    let (m, n) = (h.nrows(), columns.nrows());
    DMatrix::from_fn(n, n, |i, j| match (i < m, j < m) {
        (true, true) => h[(i, j)],
        (true, false) => columns[(i, j - m)],
        (false, true) => columns[(j, i - m)],
        // Symmetric but for rounding.
        (false, false) => 0.5 * (columns[(i, j - m)] + columns[(j, i - m)]),
    })
}

/// Makes a block of vectors orthonormal to others and among themselves; directions not longer than `noise` are left out.
///
/// Gram-Schmidt in blocks, twice (Giraud, Langou & Rozložník 2005: twice is enough), and in between R by reflections and its
/// SVD, by which directions of any length are told from each other.
fn orthonormal(basis: &[Arc<DMatrix<f64>>], block: &DMatrix<f64>, noise: f64) -> Result<Orthonormal> {
    let mut vectors = block.clone();
    let mut inside = take_overlap(basis, &mut vectors)?;
    let mut outside = DMatrix::identity(block.nrows(), block.nrows());
    // What is left of a direction of unit length after a second round is less than half only if it was rounding.
    for least in [noise, 0.5, 0.5, 0.5] {
        let SmallSvd { s, vt, .. } = svd_small(&r_of_rows(vectors.as_slice(), vectors.nrows()))?;
        let n = s.iter().take_while(|&&value| value > least).count();
        let turn = DMatrix::from_fn(n, vt.ncols(), |i, j| vt[(i, j)] / s[i]);
        let mut turned = DMatrix::zeros(n, block.ncols());
        add_turned(&turn, &vectors, &mut turned)?;
        vectors = turned;
        outside = gemm(&DMatrix::from_fn(n, vt.ncols(), |i, j| vt[(i, j)] * s[i]), &outside)?;
        let was_orthonormal = s.iter().all(|value| (value - 1.0).abs() < 1e-8);
        if n == 0 || was_orthonormal {
            break;
        }
        inside += gemm(&take_overlap(basis, &mut vectors)?, &outside)?;
    }
    Ok(Orthonormal { vectors, inside, outside })
}

/// Takes from a block of vectors what the basis has of it, and returns that.
fn take_overlap(basis: &[Arc<DMatrix<f64>>], vectors: &mut DMatrix<f64>) -> Result<DMatrix<f64>> {
    let parts = basis.iter().map(|q| overlap(q, vectors)).collect::<Result<Vec<_>>>()?;
    let mut all = DMatrix::zeros(parts.iter().map(DMatrix::nrows).sum(), vectors.nrows());
    let mut from = 0;
    for (q, part) in basis.iter().zip(&parts) {
        all.rows_mut(from, part.nrows()).copy_from(part);
        add_turned(&-part.transpose(), q, vectors)?;
        from += part.nrows();
    }
    Ok(all)
}
