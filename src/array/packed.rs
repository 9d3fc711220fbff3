//! Rows packed for products in vector registers: `XᵀX` and `XᵀY`, at nearly all the multiplications a core can do.
//!
//! ```text
//!   rows (dense, or CSR filled in)          panels of as many columns as three registers hold
//!   ┌────────────────────┐                  ┌──────┐┌──────┐┌──────┐
//!   │ at most DEPTH rows │       ─▶         │row 0 ││row 0 ││row 0 │     each panel lies together, row after row;
//!   └────────────────────┘                  │row 1 ││row 1 ││row 1 │     the last is filled up with zeros
//!                                           └──────┘└──────┘└──────┘
//! ```
//!
//! The result is made in pieces of one panel × a few columns, which stay in registers while all packed rows pass by (`micro`).
//! This is the layering of K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3),
//! 2008, sections 4 to 6, with one packed copy for both sides, and of the gram only the pieces that meet the upper triangle.
//!
//! Always true: a number of the result is the sum over the packed rows in their order, added to what was there; so it depends
//! on how rows are put together, but not on where its column lies. What is held is a fixed number of bytes ([`Packed::bytes`]).

mod micro;

use pulp::{Arch, Simd, WithSimd};

use self::micro::{AddProducts, Part, width};

/// Rows that are packed at once: a panel of them and a strip of another fit the first cache.
const DEPTH: usize = 128;
/// The widest panel there is, of three registers of eight numbers.
const MAX_WIDTH: usize = 24;
/// Numbers of a cache line, at which the first panel begins.
const LINE: usize = 8;

/// At most [`DEPTH`] rows of so many columns, in panels.
pub(crate) struct Packed {
    arch: Arch,
    values: Vec<f64>,
    /// Where the first panel begins.
    start: usize,
    n_cols: usize,
    /// Rows so far.
    depth: usize,
}

impl Packed {
    /// Makes room for rows of so many columns.
    pub(crate) fn new(n_cols: usize) -> Self {
        Self::on(Arch::new(), n_cols)
    }

    fn on(arch: Arch, n_cols: usize) -> Self {
        let values = vec![0.0; n_cols.next_multiple_of(arch.dispatch(Width)) * DEPTH + LINE];
        let start = values.as_ptr().align_offset(LINE * 8).min(LINE);
        Packed { arch, values, start, n_cols, depth: 0 }
    }

    /// Returns the bytes of one.
    pub(crate) fn bytes(n_cols: usize) -> u64 {
        (((n_cols + MAX_WIDTH) * DEPTH + LINE) * 8) as u64
    }

    /// Adds the gram of rows of `n_cols` values to the upper triangle of `acc`, columns × columns; what is packed already counts.
    pub(crate) fn add_gram_of(&mut self, rows: &[f64], acc: &mut [f64]) {
        let mut rest = rows;
        while !rest.is_empty() {
            let n = rest.len().min((DEPTH - self.depth) * self.n_cols);
            self.arch.dispatch(Take { rows: &rest[..n], to: self });
            rest = &rest[n..];
            self.add_gram_if_full(acc);
        }
    }

    /// Takes a row that is zero but for these values, and adds the gram of all rows taken once there are enough.
    pub(crate) fn add_gram_of_sparse(&mut self, cols: &[u32], values: &[f64], acc: &mut [f64]) {
        self.arch.dispatch(TakeSparse { cols, values, to: self });
        self.add_gram_if_full(acc);
    }

    fn add_gram_if_full(&mut self, acc: &mut [f64]) {
        if self.depth == DEPTH {
            self.finish_gram(acc);
        }
    }

    /// Adds the gram of the rows that were taken and not added yet.
    pub(crate) fn finish_gram(&mut self, acc: &mut [f64]) {
        assert_eq!(acc.len(), self.n_cols * self.n_cols, "the sum is columns × columns");
        self.arch.dispatch(AddProducts { left: self, right: self, out: acc, part: Part::Upper });
        self.depth = 0;
    }

    fn panels(&self) -> &[f64] {
        &self.values[self.start..]
    }

    fn panels_mut(&mut self) -> &mut [f64] {
        &mut self.values[self.start..]
    }
}

/// Returns how many columns a panel has.
struct Width;

impl WithSimd for Width {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        width::<S>()
    }
}

/// Packs whole dense rows, for which there is room.
struct Take<'a> {
    rows: &'a [f64],
    to: &'a mut Packed,
}

impl WithSimd for Take<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (width, n_cols) = (width::<S>(), self.to.n_cols);
        for row in self.rows.chunks_exact(n_cols) {
            let at = self.to.depth * width;
            let (whole, rest) = row.split_at(n_cols / width * width);
            let mut panels = self.to.panels_mut().chunks_exact_mut(width * DEPTH);
            for (from, to) in whole.chunks_exact(width).zip(&mut panels) {
                to[at..at + width].copy_from_slice(from);
            }
            if let (Some(to), false) = (panels.next(), rest.is_empty()) {
                let (to, beyond) = to[at..at + width].split_at_mut(rest.len());
                to.copy_from_slice(rest);
                beyond.fill(0.0);
            }
            self.to.depth += 1;
        }
    }
}

/// Packs a sparse row, for which there is room.
struct TakeSparse<'a> {
    cols: &'a [u32],
    values: &'a [f64],
    to: &'a mut Packed,
}

impl WithSimd for TakeSparse<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = width::<S>();
        let at = self.to.depth * width;
        let used = self.to.n_cols.div_ceil(width) * width * DEPTH;
        let panels = &mut self.to.panels_mut()[..used];
        for panel in panels.chunks_exact_mut(width * DEPTH) {
            panel[at..at + width].fill(0.0);
        }
        for (&col, &value) in self.cols.iter().zip(self.values) {
            let col = col as usize;
            panels[col / width * (width * DEPTH) + at + col % width] = value;
        }
        self.to.depth += 1;
    }
}

#[cfg(test)]
mod tests;
