//! Local regression of degree two on one variable, as the loess of Cleveland and Grosse fits it.
//!
//! ```text
//!   y │          ╭─●──╮            ●  vertices: a regression on the nearest share of the points, weighted by the
//!     │   ●────●─╯    ╰──●            tricube of their distance, gives a value and a slope
//!     └───┴────┴───┴─────┴── x     between them a cubic that meets both
//! ```
//!
//! Fitting a regression at every point would be dear, so one is fitted at a few vertices (Cleveland and Grosse 1991,
//! Computational methods for local regression, Statistics and Computing 1, sections 3 and 4). Vertices are the ends of the
//! points' range, pushed outward by half a per cent of it, and places where it is cut in two, again and again, while a
//! cell has more than `n · span / 5` points: at the value of the middle point, or of the one nearest to it behind which the
//! values change. That is what R's `loess` and Python's `skmisc.loess` compute with their default
//! `surface="interpolate"` and `cell=0.2`: Seurat's published expected variances of 13,714 genes come out to 3e-13.
//! A regression whose points do not determine it takes the shortest of its solutions, columns being scaled to one length.

use nalgebra::{DMatrix, DVector};

use crate::error::{Error, Result};
use crate::linalg::{qr_r, svd_small};

/// The share of a neighbourhood that a cell may hold before it is cut.
const CELL: f64 = 0.2;
/// How far the outermost vertices lie outside of the points, by their range.
const MARGIN: f64 = 0.005;
/// Coefficients of a parabola.
const N_COEFFICIENTS: usize = 3;

/// Returns the bytes that [`loess`] holds for so many points: their order, sorted copies, and a neighbourhood's matrix twice.
pub(super) fn loess_bytes(n: usize) -> u64 {
    (n as u64).saturating_mul(8 * (3 + 2 * (N_COEFFICIENTS as u64 + 1) + 2)).saturating_add(1 << 16)
}

/// Fits `y` on `x` and returns the fit at each `x`; all are finite, and of one length.
///
/// # Errors
/// `BadArgument` when the share `span` is not above 0 and at most 1, holds fewer points than a parabola needs, or only points
/// of one place.
pub(super) fn loess(x: &[f64], y: &[f64], span: f64) -> Result<Vec<f64>> {
    if !(span > 0.0 && span <= 1.0) {
        return Err(refuse(span.to_string(), "above 0 and at most 1".into()));
    }
    if x.is_empty() {
        return Ok(Vec::new());
    }
    let n = x.len();
    let n_near = ((n as f64 * span + 1e-5).floor() as usize).min(n);
    if n_near < N_COEFFICIENTS {
        let found = format!("{span}, which is {n_near} of {n} genes that vary");
        return Err(refuse(found, format!("a share of at least {N_COEFFICIENTS} of them")));
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| x[*a].total_cmp(&x[*b]));
    let points =
        Points { x: order.iter().map(|at| x[*at]).collect(), y: order.iter().map(|at| y[*at]).collect(), n_near, span };
    let vertices = points.vertices((n as f64 * (span * CELL)).floor() as usize);
    let fits = vertices.iter().map(|vertex| points.fit(*vertex)).collect::<Result<Vec<_>>>()?;
    Ok(x.iter().map(|x| interpolate(&vertices, &fits, *x)).collect())
}

fn refuse(found: String, expected: String) -> Error {
    Error::bad_argument("loess", "span", found, expected)
}

/// Points in the order of x.
struct Points {
    x: Vec<f64>,
    y: Vec<f64>,
    /// How many are a neighbourhood.
    n_near: usize,
    span: f64,
}

impl Points {
    /// Returns where regressions are fitted, ascending.
    fn vertices(&self, most_in_cell: usize) -> Vec<f64> {
        let (first, last) = (self.x[0], self.x[self.x.len() - 1]);
        let range = (last - first).max(first.abs().max(last.abs()) * 1e-3 + 1e-30);
        let (low, high) = (first - MARGIN * range, last + MARGIN * range);
        let mut vertices = vec![low, high];
        let mut cells = vec![(0..self.x.len(), low, high)];
        while let Some((points, low, high)) = cells.pop() {
            if points.len() <= most_in_cell || points.len() < 2 {
                continue;
            }
            let cut = self.cut(points.clone());
            let at = self.x[cut];
            if at == low || at == high {
                continue;
            }
            vertices.push(at);
            cells.push((points.start..cut + 1, low, at));
            cells.push((cut + 1..points.end, at, high));
        }
        vertices.sort_by(f64::total_cmp);
        vertices.dedup();
        vertices
    }

    /// Returns the last point before the cut of a cell: its middle one, or the nearest that differs from the next.
    fn cut(&self, points: std::ops::Range<usize>) -> usize {
        let middle = (points.start + points.end - 1) / 2;
        // To the right first, then left: 0, 1, −1, 2, −2 and so on until one side ends.
        let places = (0..).flat_map(|apart: usize| [middle.checked_add(apart), middle.checked_sub(apart)]);
        let within = |place: &Option<usize>| place.is_some_and(|at| at >= points.start && at + 1 < points.end);
        let mut places = places.take_while(within).flatten();
        places.find(|at| self.x[*at] != self.x[at + 1]).unwrap_or(middle)
    }

    /// Returns the neighbourhood of a place: the points nearest to it.
    fn near(&self, at: f64) -> std::ops::Range<usize> {
        let mut start = self.x.partition_point(|x| *x < at).saturating_sub(self.n_near);
        while start + self.n_near < self.x.len() && self.x[start + self.n_near] - at < at - self.x[start] {
            start += 1;
        }
        start..start + self.n_near
    }

    /// Fits a parabola to the points near a place; returns its value and slope there.
    fn fit(&self, at: f64) -> Result<(f64, f64)> {
        let near = self.near(at);
        let radius = (at - self.x[near.start]).abs().max((self.x[near.end - 1] - at).abs());
        let weight = |x: f64| {
            let apart = (x - at).abs() / radius;
            if apart < 1.0 { (1.0 - apart * apart * apart).powi(3).sqrt() } else { 0.0 }
        };
        let mut design = DMatrix::zeros(near.len(), N_COEFFICIENTS + 1);
        for (row, point) in near.clone().enumerate() {
            let (apart, weight) = (self.x[point] - at, weight(self.x[point]));
            let values = [1.0, apart, apart * apart, self.y[point]].map(|value| weight * value);
            (0..=N_COEFFICIENTS).for_each(|col| design[(row, col)] = values[col]);
        }
        let norms: Vec<f64> = (0..N_COEFFICIENTS).map(|col| design.column(col).norm()).collect();
        if radius.is_nan() || radius <= 0.0 || norms[0] == 0.0 {
            let found = format!("{}, whose {} genes all have the mean 10^{at}", self.span, near.len());
            return Err(refuse(found, "a share with several means: leave out genes with few counts first".into()));
        }
        for (col, norm) in norms.iter().enumerate().filter(|(_, norm)| **norm > 0.0) {
            design.column_mut(col).scale_mut(1.0 / norm);
        }
        let solved = least_squares(design)?;
        let unscaled = |col: usize| if norms[col] > 0.0 { solved[col] / norms[col] } else { 0.0 };
        Ok((unscaled(0), unscaled(1)))
    }
}

/// Solves for the last column by the others; of several solutions takes the shortest.
fn least_squares(design: DMatrix<f64>) -> Result<DVector<f64>> {
    let n = N_COEFFICIENTS;
    let r = qr_r(design);
    let rows = r.nrows().min(n);
    let right = DVector::from_fn(rows, |row, _| r[(row, n)]);
    let svd = svd_small(&r.view((0, 0), (rows, n)).into_owned())?;
    // What rounding alone may have left of a singular value of zero.
    let least = svd.s[0] * 100.0 * f64::EPSILON;
    let mut along = svd.u.transpose() * right;
    along.iter_mut().zip(&svd.s).for_each(|(value, s)| *value = if *s > least { *value / s } else { 0.0 });
    Ok(svd.vt.transpose() * along)
}

/// Takes the cubic between the vertices to both sides that has their values and slopes.
fn interpolate(vertices: &[f64], fits: &[(f64, f64)], x: f64) -> f64 {
    let right = vertices.partition_point(|vertex| *vertex < x).clamp(1, vertices.len() - 1);
    let (low, high) = (vertices[right - 1], vertices[right]);
    let ((value_low, slope_low), (value_high, slope_high)) = (fits[right - 1], fits[right]);
    let (width, u) = (high - low, (x - low) / (high - low));
    let v = 1.0 - u;
    let values = v * v * (1.0 + 2.0 * u) * value_low + u * u * (3.0 - 2.0 * u) * value_high;
    values + (u * v * v * slope_low - u * u * v * slope_high) * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_is_its_own_fit() {
        let x: Vec<f64> = (0..200).map(|i| f64::from(i * i % 211) / 50.0).collect();
        let y: Vec<f64> = x.iter().map(|x| 2.0 - 3.0 * x + 0.5 * x * x).collect();
        for span in [0.1, 0.3, 1.0] {
            for (found, y) in loess(&x, &y, span).expect("200 points").iter().zip(&y) {
                // A cubic follows a parabola exactly; the regressions round a few hundred times.
                assert!((found - y).abs() < 1e-12, "{found} {y}");
            }
        }
    }

    #[test]
    fn the_fit_of_ties_and_gaps_is_that_of_scikit_misc() {
        // i = numpy.arange(n); x = numpy.round(numpy.sqrt(i) * 2) / 2, or (i * i % 211) / 50; y = numpy.sin(x) + i % 7 / 10
        // m = skmisc.loess.loess(x, y, span=span, degree=2); m.fit(); m.outputs.fitted_values[[0, 9, 30, 45, 55]]
        let ties: Vec<f64> = (0..60).map(|i| (f64::from(i).sqrt() * 2.0).round() / 2.0).collect();
        let gaps: Vec<f64> = (0..200).map(|i| f64::from(i * i % 211) / 50.0).collect();
        let expected = [
            [0.4028991756919704, 0.32355947729072665, -0.4109127827337689, 0.5012131327264798, 1.2513242414567933],
            [0.253130904667612, 1.2382484041084292, 1.1531814500514386, 0.9850375072810997, 1.312986263093598],
        ];
        for ((x, span), expected) in [(ties, 0.6), (gaps, 0.3)].into_iter().zip(expected) {
            let y: Vec<f64> = (0..200).zip(&x).map(|(i, x)| x.sin() + f64::from(i % 7) / 10.0).collect();
            let found = loess(&x, &y, span).expect("many places");
            for (at, expected) in [0, 9, 30, 45, 55].into_iter().zip(expected) {
                // Both solve the same well-conditioned regressions, in another order.
                assert!((found[at] - expected).abs() < 1e-12, "{at}: {} {expected}", found[at]);
            }
        }
    }

    #[test]
    fn a_span_that_says_nothing_is_refused() {
        let (x, y) = ([0.0, 1.0, 2.0, 3.0], [0.0; 4]);
        for span in [0.0, -1.0, 1.5, f64::NAN, 0.3] {
            let refused = loess(&x, &y, span).expect_err("too small or too large");
            assert!(refused.to_string().contains("span"), "{refused}");
        }
        let refused = loess(&[1.0; 40], &[2.0; 40], 0.3).expect_err("one place");
        assert!(refused.to_string().contains("several means"), "{refused}");
        assert!(loess(&[], &[], 0.3).expect("no points").is_empty());
    }
}
