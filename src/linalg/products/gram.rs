//! The gram of sparse rows, `Σ xᵀx`, in one of three ways: the fuller the rows, the more a regular loop is worth.
//!
//! ```text
//!   scatter   each row's outer product with itself, entry by entry           work ~ density²
//!   panels    32 columns are made dense; each entry of a row adds its         work ~ density
//!             row of the panel to its column's sums, in vector registers
//!   packed    all columns are made dense, on their way into packed panels     work = 1
//! ```
//!
//! Scatter goes over strips of rows, and over each strip by bands of result columns, so that the part of the result in
//! use stays in the cache; panels go over batches of rows in the order of columns, and over a batch by panels, whose
//! dense part lies in the first cache and whose sums lie in the second.
//!
//! Always true: only the upper triangle is written, in f64, and the order of additions depends on the rows alone.

use nalgebra::DMatrix;
use pulp::{Arch, Simd, WithSimd};

use super::tile_rows;

/// What a multiplication takes in panels and in scatter, where one of the packed product takes 1.
///
/// Measured on one core with AVX-512 and a busy neighbour (10,000 × 2,000): 0.69 s packed at any density; in panels 0.15 s at
/// 5 %, 0.25 s at 10 % and 0.30 s at 12 %; in scatter 0.025 s at 2 % and 0.077 s at 5 %.
const PANEL_COST: u64 = 4;
const SCATTER_COST: u64 = 44;

/// Result columns of a band: their sums stay in the second cache.
const BAND: usize = 64;
/// Columns of a panel, at most: eight registers of AVX2, which with a factor fit its sixteen, and four of AVX-512.
const PANEL_COLS: usize = 32;
/// Rows of a panel's dense part: 32 KiB.
const SHEET_ROWS: usize = 128;
/// Sheets of a batch.
const SHEETS: usize = 16;

/// How a gram is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Scatter,
    Panels,
    Packed,
}

impl Way {
    /// Returns the way that costs least for rows of these lengths.
    pub(super) fn of(indptr: &[u64], n_cols: usize) -> Way {
        let lengths = || indptr.windows(2).map(|pair| pair[1] - pair[0]);
        let (nnz, squares) = (lengths().sum::<u64>(), lengths().map(|n| n.saturating_mul(n)).sum::<u64>());
        let (rows, cols) = (indptr.len() as u64 - 1, n_cols as u64);
        // Each is twice what is done; and the same for all, so that it may saturate.
        let costs = [
            (squares.saturating_mul(SCATTER_COST), Way::Scatter),
            (nnz.saturating_mul(cols).saturating_mul(PANEL_COST), Way::Panels),
            (rows.saturating_mul(cols).saturating_mul(cols), Way::Packed),
        ];
        costs.into_iter().min_by_key(|(cost, _)| *cost).map_or(Way::Packed, |(_, way)| way)
    }
}

/// Some rows: where each begins among the entries, and the entries' columns and values, shifted and widened.
pub(super) struct Rows<'a> {
    /// One more than rows, the first may be any number.
    pub(super) indptr: &'a [u64],
    pub(super) cols: &'a [u32],
    pub(super) values: &'a [f64],
}

/// Returns how many entries are worked on at once; a row may have as many as the matrix has columns.
pub(super) fn max_entries(n_cols: usize) -> usize {
    tile_rows(n_cols) * n_cols / 2
}

/// Rows that are worked on at once, at most.
pub(super) const MAX_ROWS: usize = SHEETS * SHEET_ROWS;

/// Returns what is held besides the sum, the widened values of at most [`max_entries`] among it.
pub(super) fn bytes(n_cols: usize) -> u64 {
    let scatter = MAX_ROWS * 8;
    let (lists, starts) = (max_entries(n_cols) * (8 + 4), (SHEETS + 1) * (n_cols + 1) * 4);
    let panels = lists + starts + (SHEET_ROWS + n_cols) * PANEL_COLS * 8;
    (max_entries(n_cols) * 8 + scatter.max(panels)) as u64
}

impl Rows<'_> {
    fn len(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Returns where a row's entries are.
    fn row(&self, row: usize) -> std::ops::Range<usize> {
        (self.indptr[row] - self.indptr[0]) as usize..(self.indptr[row + 1] - self.indptr[0]) as usize
    }

    /// Adds each row's outer product with itself to `acc`, a band of columns after the other.
    pub(super) fn scatter(&self, acc: &mut DMatrix<f64>) {
        let p = acc.nrows();
        let mut reached: Vec<usize> = (0..self.len()).map(|row| self.row(row).start).collect();
        for (band, acc) in acc.as_mut_slice().chunks_mut((BAND * p).max(1)).enumerate() {
            let first = band * BAND;
            for (row, reached) in reached.iter_mut().enumerate() {
                let entries = self.row(row);
                let (cols, values) = (&self.cols[entries.clone()], &self.values[entries.clone()]);
                let from = *reached - entries.start;
                let here = cols[from..].iter().take_while(|&&col| (col as usize) < first + BAND).count();
                for j in from..from + here {
                    let start = (cols[j] as usize - first) * p;
                    add_scaled(values[j], &cols[..=j], values, &mut acc[start..start + p]);
                }
                *reached += here;
            }
        }
    }

    /// Adds the rows' gram to `acc` panel by panel.
    pub(super) fn panels(&self, acc: &mut DMatrix<f64>) {
        let sheets = Sheets::new(self, acc.nrows());
        Arch::new().dispatch(Panels { sheets: &sheets, acc });
    }
}

/// Adds a multiple of sparse values to a column.
fn add_scaled(factor: f64, rows: &[u32], values: &[f64], column: &mut [f64]) {
    for (&row, value) in rows.iter().zip(values) {
        column[row as usize] += factor * value;
    }
}

/// Rows in sheets of [`SHEET_ROWS`], the entries of each sheet in the order of columns.
struct Sheets {
    n_cols: usize,
    /// For each sheet where each column begins, and the end.
    starts: Vec<u32>,
    /// Row within the sheet, and value, of each entry.
    rows: Vec<u32>,
    values: Vec<f64>,
}

impl Sheets {
    fn new(of: &Rows<'_>, n_cols: usize) -> Sheets {
        let (count, nnz) = (of.len().div_ceil(SHEET_ROWS), of.cols.len());
        let mut sheets = Sheets { n_cols, starts: Vec::new(), rows: vec![0; nnz], values: vec![0.0; nnz] };
        sheets.starts.reserve_exact(count * (n_cols + 1));
        let mut next = vec![0u32; n_cols + 1];
        for first in (0..of.len()).step_by(SHEET_ROWS) {
            let end = (first + SHEET_ROWS).min(of.len());
            next.fill(0);
            let all = of.row(first).start..of.row(end - 1).end;
            of.cols[all.clone()].iter().for_each(|&col| next[col as usize + 1] += 1);
            next[0] = all.start as u32;
            for col in 0..n_cols {
                next[col + 1] += next[col];
            }
            sheets.starts.extend_from_slice(&next);
            for row in first..end {
                for entry in of.row(row) {
                    let place = &mut next[of.cols[entry] as usize];
                    sheets.rows[*place as usize] = (row - first) as u32;
                    sheets.values[*place as usize] = of.values[entry];
                    *place += 1;
                }
            }
        }
        sheets
    }

    /// Returns the rows and values of a column of the sheet that `starts` describes.
    #[inline(always)]
    fn column(&self, starts: &[u32], col: usize) -> impl Iterator<Item = (usize, f64)> {
        let entries = starts[col] as usize..starts[col + 1] as usize;
        self.rows[entries.clone()].iter().zip(&self.values[entries]).map(|(&row, &value)| (row as usize, value))
    }
}

struct Panels<'a> {
    sheets: &'a Sheets,
    acc: &'a mut DMatrix<f64>,
}

impl WithSimd for Panels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many registers as make a panel's row of at most PANEL_COLS numbers.
        match S::F64_LANES {
            8.. => self.run::<S, 4>(simd),
            _ => self.run::<S, 8>(simd),
        }
    }
}

impl Panels<'_> {
    #[inline(always)]
    fn run<S: Simd, const R: usize>(self, simd: S) {
        let (sheets, p) = (self.sheets, self.sheets.n_cols);
        let width = R * S::F64_LANES;
        let (mut dense, mut sums) = (vec![0.0; SHEET_ROWS * width], vec![0.0; p * width]);
        for first in (0..p).step_by(width) {
            let cols = width.min(p - first);
            sums.fill(0.0);
            for starts in sheets.starts.chunks_exact(p + 1) {
                dense.fill(0.0);
                for col in 0..cols {
                    sheets.column(starts, first + col).for_each(|(row, value)| dense[row * width + col] = value);
                }
                add_products::<S, R>(simd, sheets, starts, first, &dense, &mut sums);
            }
            for (sums, col) in sums.chunks_exact(width).zip(first..p) {
                let start = col * p + first;
                let to = &mut self.acc.as_mut_slice()[start..start + cols.min(col + 1 - first)];
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            }
        }
    }
}

/// Adds to the sums of each column from `first` on its entries' values times their rows of the dense panel.
#[inline(always)]
fn add_products<S: Simd, const R: usize>(
    simd: S,
    sheets: &Sheets,
    starts: &[u32],
    first: usize,
    dense: &[f64],
    sums: &mut [f64],
) {
    let (dense, _) = pulp::as_arrays::<R, _>(S::as_simd_f64s(dense).0);
    let (sums, _) = pulp::as_arrays_mut::<R, _>(S::as_mut_simd_f64s(sums).0);
    for (sums, col) in sums.iter_mut().zip(first..sheets.n_cols) {
        let mut now = *sums;
        for (row, value) in sheets.column(starts, col) {
            let value = simd.splat_f64s(value);
            for (sum, right) in now.iter_mut().zip(&dense[row]) {
                *sum = simd.mul_add_e_f64s(value, *right, *sum);
            }
        }
        *sums = now;
    }
}
