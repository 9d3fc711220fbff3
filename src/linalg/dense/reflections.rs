//! QR by Householder reflections, a panel of columns at a time.
//!
//! Why not the library's own: it leaves out columns that depend on earlier ones to within `16 · rows · ε`, and with them every
//! singular value below about 10⁻¹¹ of the largest. Here nothing is left out, whatever the rank. Only the panel is done
//! a column at a time; what it does to the columns on its right is three products, which is nearly all of the work.
//!
//! ```text
//!   panel      the rest            Q = (I − V₁T₁V₁ᵀ)(I − V₂T₂V₂ᵀ) …
//!   ┌───┬─────────────┐
//!   │R  │ R           │            V: unit lower trapezoidal, T: upper triangular
//!   │ ╲ ├─────────────┤
//!   │V  │ A − V TᵀVᵀA │
//!   └───┴─────────────┘
//! ```

use nalgebra::DMatrix;

use super::reflect_block;

/// Columns of a panel: wide enough for the products to be quick, narrow enough for the panel to cost little.
const PANEL: usize = 16;

/// The reflections of one panel: `I − V T Vᵀ` on the rows from `first` on.
pub(super) struct Panel {
    first: usize,
    v: DMatrix<f64>,
    t: DMatrix<f64>,
}

/// Turns `a` into R, zero below the diagonal, and calls `keep` with each panel in turn.
pub(super) fn factor(a: &mut DMatrix<f64>, mut keep: impl FnMut(Panel)) {
    let k = a.nrows().min(a.ncols());
    for first in (0..k).step_by(PANEL) {
        let width = PANEL.min(k - first);
        let panel = factor_panel(a, first, width);
        reflect_block(&panel.v, &panel.t, true, a, (first, first + width));
        keep(panel);
    }
}

/// Returns how many bytes [`factor`] holds besides its argument and the panels that are kept.
pub(super) fn factor_bytes(n_rows: usize, n_cols: usize) -> u64 {
    (PANEL * (n_rows + PANEL + 2 * n_cols) * 8) as u64
}

/// Returns the first columns of Q, `min(rows, columns)` of them.
pub(super) fn thin_q(panels: &[Panel], m: usize, k: usize) -> DMatrix<f64> {
    let mut q = DMatrix::identity(m, k);
    for panel in panels.iter().rev() {
        reflect_block(&panel.v, &panel.t, false, &mut q, (panel.first, 0));
    }
    q
}

/// Factors the columns `first..first + width`, of which the rows above `first` are R already.
fn factor_panel(a: &mut DMatrix<f64>, first: usize, width: usize) -> Panel {
    let (mut v, mut t) = (DMatrix::zeros(a.nrows() - first, width), DMatrix::zeros(width, width));
    for j in 0..width {
        let tau = reflect(below(a, first + j, first + j), below(&mut v, j, j));
        let reflection = &v.as_slice()[j * v.nrows() + j..(j + 1) * v.nrows()];
        for c in j + 1..width {
            let target = below(a, first + c, first + j);
            axpy(-tau * dot(reflection, target), reflection, target);
        }
        // Column j of T is −τ T Vᵀvⱼ, by the columns before it.
        let overlaps: Vec<f64> = (0..j).map(|i| dot(&v.column(i).as_slice()[j..], reflection)).collect();
        for i in 0..j {
            t[(i, j)] = -tau * (i..j).map(|l| t[(i, l)] * overlaps[l]).sum::<f64>();
        }
        t[(j, j)] = tau;
    }
    Panel { first, v, t }
}

/// Finds the reflection `I − τ v vᵀ` that turns `x` into a multiple of the first unit vector; `x` becomes that.
fn reflect(x: &mut [f64], v: &mut [f64]) -> f64 {
    let (alpha, tail) = (x[0], dot(&x[1..], &x[1..]).sqrt());
    v[0] = 1.0;
    if tail == 0.0 {
        // Nothing to reflect; v is zero beyond its one.
        x[1..].fill(0.0);
        return 0.0;
    }
    // Of the two choices this one adds numbers of the same sign, so that nothing cancels.
    let beta = -alpha.hypot(tail).copysign(alpha);
    v[1..].iter_mut().zip(&x[1..]).for_each(|(v, x)| *v = x / (alpha - beta));
    x[0] = beta;
    x[1..].fill(0.0);
    (beta - alpha) / beta
}

/// Returns a column from a row on.
fn below(a: &mut DMatrix<f64>, col: usize, row: usize) -> &mut [f64] {
    let m = a.nrows();
    &mut a.as_mut_slice()[col * m + row..(col + 1) * m]
}

/// Sums in eight parts, which the compiler turns into vector instructions; a single sum it may not reorder.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let tail: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    let mut parts = [0.0; 8];
    for (x, y) in xs.zip(ys) {
        for i in 0..8 {
            parts[i] += x[i] * y[i];
        }
    }
    parts.iter().sum::<f64>() + tail
}

fn axpy(factor: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}
