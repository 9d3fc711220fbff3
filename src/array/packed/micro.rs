//! The product of two packed matrices, piece by piece.
//!
//! ```text
//!              strip of the right: N columns              for each strip of N columns, from the first cache,
//!                 b0 b1 .. b7                               for each panel of a block that stays in the second cache,
//!        a  ┌─ [a0·b0 a0·b1 ..]                               for each row: three registers of the panel times
//!    panel ─┼─ [a1·b0 ..      ]  += in registers              each of N numbers, 3 · N multiply-adds
//!           └─ [a2·b0 ..      ]
//! ```
//!
//! Written once for any vector registers; N follows from how many there are. Always true: columns beyond the result's are
//! computed from the zeros that fill a panel up, and never written.

use pulp::{Simd, WithSimd};

use super::{DEPTH, Packed};

/// Registers of a panel's row.
const REGISTERS: usize = 3;
/// Bytes of packed panels that are worked on at once: they stay in the second cache beside what passes by.
const BLOCK_BYTES: usize = 512 << 10;

/// Returns how many columns a panel has.
#[inline(always)]
pub(super) fn width<S: Simd>() -> usize {
    REGISTERS * S::F64_LANES
}

/// Which part of a result is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// That on and above the diagonal.
    Upper,
}

/// Adds `leftᵀ · right` to `out`, which holds as many numbers as `left` has columns for each column of `right`.
pub(super) struct AddProducts<'a> {
    pub(super) left: &'a Packed,
    pub(super) right: &'a Packed,
    pub(super) out: &'a mut [f64],
    pub(super) part: Part,
}

impl WithSimd for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Sums, a panel's row and one factor fit the registers; and N divides the width.
        match (S::F64_LANES, S::REGISTER_COUNT) {
            (8.., 32..) => self.run::<S, 8>(simd),
            (4.., _) => self.run::<S, 4>(simd),
            (2, 32..) => self.run::<S, 6>(simd),
            _ => self.run::<S, 3>(simd),
        }
    }
}

impl AddProducts<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        let AddProducts { left, right, out, part } = self;
        let (width, panel) = (width::<S>(), width::<S>() * DEPTH);
        let (m, n, depth) = (left.n_cols, right.n_cols, left.depth.min(right.depth));
        let panels = m.div_ceil(width);
        let block = BLOCK_BYTES / (panel * 8);
        for first in (0..panels).step_by(block) {
            // Of the upper triangle only the strips that reach the block's first row.
            let from = if part == Part::Upper { first * width } else { 0 };
            for j in (from..n).step_by(N) {
                let b = &right.panels()[j / width * panel..][..depth * width];
                let end = if part == Part::Upper { j / width + 1 } else { panels };
                for at in first..end.min(first + block) {
                    let a = &left.panels()[at * panel..][..depth * width];
                    let place = Place { stride: m, row: at * width, col: j, cols: N.min(n - j), part };
                    // Of a panel that crosses the diagonal, or the last, only the registers that are needed.
                    match place.rows_of(place.cols - 1).div_ceil(S::F64_LANES) {
                        1 => piece::<S, 1, N>(simd, a, (b, j % width), place, out),
                        2 => piece::<S, 2, N>(simd, a, (b, j % width), place, out),
                        _ => piece::<S, REGISTERS, N>(simd, a, (b, j % width), place, out),
                    }
                }
            }
        }
    }
}

/// Where a piece of the result lies.
#[derive(Clone, Copy)]
struct Place {
    /// Rows of the result.
    stride: usize,
    row: usize,
    col: usize,
    cols: usize,
    part: Part,
}

impl Place {
    /// Returns how many rows from its first on are wanted of one of its columns.
    #[inline(always)]
    fn rows_of(&self, col: usize) -> usize {
        let end = if self.part == Part::Upper { self.col + col + 1 } else { self.stride };
        end.saturating_sub(self.row)
    }
}

/// Adds `U` registers × `N` columns of the result.
#[inline(always)]
fn piece<S: Simd, const U: usize, const N: usize>(
    simd: S,
    a: &[f64],
    (b, first): (&[f64], usize),
    place: Place,
    out: &mut [f64],
) {
    let rows = pulp::as_arrays::<REGISTERS, _>(S::as_simd_f64s(a).0).0;
    let mut sums = [[simd.splat_f64s(0.0); U]; N];
    for (a, b) in rows.iter().zip(b.chunks_exact(width::<S>())) {
        let b: &[f64; N] = b[first..].first_chunk().expect("N divides the width");
        // By index: with iterators the sums do not stay in registers, which costs three quarters of the speed.
        for col in 0..N {
            let b = simd.splat_f64s(b[col]);
            for row in 0..U {
                sums[col][row] = simd.mul_add_e_f64s(a[row], b, sums[col][row]);
            }
        }
    }
    let height = U * S::F64_LANES;
    if place.rows_of(0) >= height && place.cols == N {
        for (col, sums) in sums.iter().enumerate() {
            let start = (place.col + col) * place.stride + place.row;
            let to = S::as_mut_simd_f64s(&mut out[start..start + height]).0;
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to = simd.add_f64s(*to, *sum));
        }
    } else {
        for (col, sums) in sums.iter().take(place.cols).enumerate() {
            let start = (place.col + col) * place.stride + place.row;
            let to = &mut out[start..start + place.rows_of(col).min(height)];
            to.iter_mut().zip(bytemuck::cast_slice::<_, f64>(sums)).for_each(|(to, sum)| *to += sum);
        }
    }
}
