//! One row of a CSR block and a dense matrix, in vector registers: `row · M` and `rowᵀ · t`.
//!
//! ```text
//!   columns  2      7      9                out  += 0.5 · M₂ + 3 · M₇ + 1 · M₉
//!   values   0.5    3      1                        a piece of `out` stays in registers while
//!                                                   the row passes by, then the next piece does
//! ```
//!
//! A second kind of sum keeps the rounding errors beside it, for rows whose terms nearly cancel. The code is written once and compiled for plain registers and for AVX2 with FMA, and what the processor has is asked
//! once in a process. Always true: each number is added up in the order of the columns, so that it depends on its own row
//! only; with FMA a product is not rounded before it is added.

use pulp::{Arch, Simd, WithSimd};

/// The stored values of a row, and their columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SparseRow<'a> {
    /// Columns, each below the number of rows of the matrices.
    pub(crate) cols: &'a [u32],
    /// As many values.
    pub(crate) values: &'a [f64],
}

impl SparseRow<'_> {
    /// Adds the row times `matrix` to `out`; `matrix` holds as many values as `out` for each column, row by row.
    pub(crate) fn add_times(self, matrix: &[f64], out: &mut [f64]) {
        Arch::new().dispatch(AddTimes { row: self, matrix, out });
    }

    /// Adds the row times `matrix` to the unevaluated sums `high + low`, with the digits of sums in twice the precision: the
    /// rounding errors of products and of sums are added up in `low` (Ogita, Rump & Oishi 2005, algorithm 5.3).
    pub(crate) fn add_times_in_pairs(self, matrix: &[f64], high: &mut [f64], low: &mut [f64]) {
        Arch::new().dispatch(AddTimesInPairs { row: self, matrix, high, low });
    }

    /// Adds the row, turned into a column, times the row `t` to `acc`, of which each row is as long as `t`.
    pub(crate) fn add_transposed_times(self, t: &[f64], acc: &mut [f64]) {
        Arch::new().dispatch(AddTransposedTimes { row: self, t, acc });
    }
}

struct AddTimes<'a> {
    row: SparseRow<'a>,
    matrix: &'a [f64],
    out: &'a mut [f64],
}

impl WithSimd for AddTimes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddTimes { row, matrix, out } = self;
        let (whole, k) = (out.len() / S::F64_LANES * S::F64_LANES, out.len());
        let mut first = 0;
        while first < whole {
            // As many registers as the rest fills, in one of few widths, each of which is compiled by itself.
            first += match (whole - first) / S::F64_LANES {
                8.. => piece::<S, 8>(simd, row, matrix, out, first),
                4.. => piece::<S, 4>(simd, row, matrix, out, first),
                2.. => piece::<S, 2>(simd, row, matrix, out, first),
                _ => piece::<S, 1>(simd, row, matrix, out, first),
            };
        }
        if whole < k {
            let mut sum = simd.partial_load_f64s(&out[whole..]);
            for (&col, &value) in row.cols.iter().zip(row.values) {
                let right = simd.partial_load_f64s(&matrix[col as usize * k + whole..(col as usize + 1) * k]);
                sum = simd.mul_add_e_f64s(simd.splat_f64s(value), right, sum);
            }
            simd.partial_store_f64s(&mut out[whole..], sum);
        }
    }
}

/// Adds to `N` registers of the result from place `first` on; returns how many numbers that is.
#[inline(always)]
fn piece<S: Simd, const N: usize>(simd: S, row: SparseRow<'_>, matrix: &[f64], out: &mut [f64], first: usize) -> usize {
    let (k, width) = (out.len(), N * S::F64_LANES);
    let (to, _) = S::as_mut_simd_f64s(&mut out[first..first + width]);
    let mut sums = [simd.splat_f64s(0.0); N];
    sums.copy_from_slice(to);
    for (&col, &value) in row.cols.iter().zip(row.values) {
        let start = col as usize * k + first;
        let (right, _) = S::as_simd_f64s(&matrix[start..start + width]);
        let value = simd.splat_f64s(value);
        for (sum, right) in sums.iter_mut().zip(right) {
            *sum = simd.mul_add_e_f64s(value, *right, *sum);
        }
    }
    to.copy_from_slice(&sums);
    width
}

struct AddTimesInPairs<'a> {
    row: SparseRow<'a>,
    matrix: &'a [f64],
    high: &'a mut [f64],
    low: &'a mut [f64],
}

impl WithSimd for AddTimesInPairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddTimesInPairs { row, matrix, high, low } = self;
        let k = high.len();
        for first in (0..k).step_by(S::F64_LANES) {
            let piece = first..k.min(first + S::F64_LANES);
            let mut sum = simd.partial_load_f64s(&high[piece.clone()]);
            let mut errors = simd.partial_load_f64s(&low[piece.clone()]);
            for (&col, &value) in row.cols.iter().zip(row.values) {
                let start = col as usize * k;
                let right = simd.partial_load_f64s(&matrix[start + piece.start..start + piece.end]);
                let value = simd.splat_f64s(value);
                let product = simd.mul_f64s(value, right);
                // Fused, so that it is what the rounding of the product left.
                let of_product = simd.mul_add_f64s(value, right, simd.neg_f64s(product));
                // Knuth's sum of two: what its rounding left is exact, whichever is the larger.
                let next = simd.add_f64s(sum, product);
                let added = simd.sub_f64s(next, sum);
                let of_sum = simd.sub_f64s(sum, simd.sub_f64s(next, added));
                let of_added = simd.sub_f64s(product, added);
                errors = simd.add_f64s(errors, simd.add_f64s(simd.add_f64s(of_sum, of_added), of_product));
                sum = next;
            }
            simd.partial_store_f64s(&mut high[piece.clone()], sum);
            simd.partial_store_f64s(&mut low[piece], errors);
        }
    }
}

struct AddTransposedTimes<'a> {
    row: SparseRow<'a>,
    t: &'a [f64],
    acc: &'a mut [f64],
}

impl WithSimd for AddTransposedTimes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddTransposedTimes { row, t, acc } = self;
        let (k, (whole, rest)) = (t.len(), S::as_simd_f64s(t));
        for (&col, &value) in row.cols.iter().zip(row.values) {
            let (to, to_rest) = S::as_mut_simd_f64s(&mut acc[col as usize * k..(col as usize + 1) * k]);
            let wide = simd.splat_f64s(value);
            for (to, t) in to.iter_mut().zip(whole) {
                *to = simd.mul_add_e_f64s(wide, *t, *to);
            }
            for (to, t) in to_rest.iter_mut().zip(rest) {
                *to += value * t;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_times_a_matrix_of_any_width_is_the_plain_sum() {
        let (cols, values) = ([1u32, 3, 4], [2.0, -1.0, 5.0]);
        let row = SparseRow { cols: &cols, values: &values };
        // Every mix of pieces and a rest that the widths can make; small integers, so that any order is exact.
        for k in 0..80 {
            let matrix: Vec<f64> = (0..5 * k).map(|i| (i * 7 % 23) as f64).collect();
            let mut out = vec![1.0; k];
            row.add_times(&matrix, &mut out);
            let expected = (0..k).map(|j| 1.0 + 2.0 * matrix[k + j] - matrix[3 * k + j] + 5.0 * matrix[4 * k + j]);
            assert!(out.iter().copied().eq(expected), "{k} columns");

            let t: Vec<f64> = (0..k).map(|j| j as f64 - 3.0).collect();
            let mut acc = vec![1.0; 5 * k];
            row.add_transposed_times(&t, &mut acc);
            let factor = [0.0, 2.0, 0.0, -1.0, 5.0];
            let expected = (0..5 * k).map(|i| 1.0 + factor[i / k] * t[i % k]);
            assert!(acc.into_iter().eq(expected), "{k} columns, transposed");
        }
    }

    #[test]
    fn pairs_keep_what_a_sum_of_large_numbers_leaves() {
        // 2^60 + 1 − 2^60, and (1 + 2^-30)² − 1 − 2^-29 = 2^-60: nothing of either is left in plain sums.
        let (large, near) = (2f64.powi(60), 1.0 + 2f64.powi(-30));
        let (cols, values) = ([0u32, 1, 2], [large, 1.0, -large]);
        for k in 0..11 {
            let (mut high, mut low) = (vec![0.5; k], vec![0.25; k]);
            SparseRow { cols: &cols, values: &values }.add_times_in_pairs(&vec![1.0; 3 * k], &mut high, &mut low);
            assert!(high.iter().zip(&low).all(|(high, low)| high + low == 1.75), "{k} columns: {high:?} {low:?}");
            let matrix: Vec<f64> = (0..3 * k).map(|i| [near, -1.0, -2f64.powi(-29)][i / k.max(1)]).collect();
            let (mut high, mut low) = (vec![0.0; k], vec![0.0; k]);
            let row = SparseRow { cols: &cols, values: &[near, 1.0, 1.0] };
            row.add_times_in_pairs(&matrix, &mut high, &mut low);
            assert!(high.iter().zip(&low).all(|(high, low)| high + low == 2f64.powi(-60)), "{k} columns");
        }
    }

    #[test]
    fn an_empty_row_changes_nothing() {
        let mut out = [1.5; 5];
        SparseRow { cols: &[], values: &[] }.add_times(&[], &mut out);
        assert_eq!(out, [1.5; 5]);
    }
}
