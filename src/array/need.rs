//! What computing a window of an array takes, node by node: bytes held at the widest moment, bytes read.
//!
//! It follows `evaluate.rs` line by line: whatever that holds at once is added here. What cannot be known beforehand, such as
//! the stored values of a selection, is taken at its most.

use super::binary::Binary;
use super::dot::Dot;
use super::expr::{BlockMap, Expr};
use super::grid::{Cuts, Grid};
use super::rows::RowSelection;
use super::window::Window;
use super::{Array, BlockKind, CsrBlock, DenseBlock, StoredBlock, Working};
use crate::error::Result;

/// What computing a window takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Need {
    /// At most so many stored values in the result.
    pub(super) nnz: u64,
    /// The result's bytes, wherever they are.
    pub(super) bytes: u64,
    /// Anonymous bytes among them.
    pub(super) held: u64,
    /// The most anonymous bytes at any moment, the result at the end among them.
    pub(super) peak: u64,
    /// Bytes that are read.
    pub(super) read: u64,
}

impl Array {
    /// Returns the greatest need of any block, with the bytes read of all.
    pub(super) fn need_of_blocks(&self, grid: &Grid, working: Working) -> Result<Need> {
        let mut all = Need::default();
        // Blocks that are made and not read are all alike, and the first is the longest of an even cut.
        let even = |cuts: &Cuts| matches!(cuts, Cuts::Even { .. }) || cuts.n_runs() == 1;
        let alike = even(&grid.rows) && even(&grid.cols) && self.is_made();
        let n = if alike { grid.n_blocks().min(1) } else { grid.n_blocks() };
        for window in (0..n).map(|index| Window::of_block(grid, index)) {
            let need = self.need(&window)?;
            let kept = need.held.saturating_add(working.bytes(window.n_rows()));
            all.peak = all.peak.max(need.peak).max(kept);
            all.read = all.read.saturating_add(need.read);
        }
        Ok(all)
    }

    /// Returns whether every window of one shape needs the same.
    fn is_made(&self) -> bool {
        let mut array = self;
        loop {
            match (&*array.expr, array.inputs()) {
                (Expr::Random(_) | Expr::Zeros, _) => return true,
                (Expr::SelectRows(..), _) => return false,
                (_, [input]) => array = input,
                _ => return false,
            }
        }
    }

    /// Returns the bytes of a window of this array that holds so many stored values.
    fn bytes_of(&self, window: &Window, nnz: u64) -> u64 {
        match self.kind {
            BlockKind::Dense => DenseBlock::nbytes_of(window.n_rows(), window.n_cols(), self.dtype),
            BlockKind::Csr => CsrBlock::nbytes_of(window.n_rows(), nnz, self.dtype),
        }
    }

    /// Returns the need of a result that stands at the beginning of a chain.
    fn first(&self, window: &Window, nnz: u64, scratch: u64) -> Need {
        let bytes = self.bytes_of(window, nnz);
        Need { nnz, bytes, held: bytes, peak: bytes.saturating_add(scratch), read: 0 }
    }

    /// Returns the need of a result that is made while its input is there.
    fn beside(&self, window: &Window, input: Need, nnz: u64, scratch: u64) -> Need {
        let bytes = self.bytes_of(window, nnz);
        let both = input.held.saturating_add(bytes).saturating_add(scratch);
        Need { nnz, bytes, held: bytes, peak: input.peak.max(both), read: input.read }
    }

    /// Returns the need of a result whose parts are computed one after another and copied into it, while so many bytes of
    /// parts are there.
    fn gathered(&self, window: &Window, parts: impl Iterator<Item = Result<Need>>) -> Result<Need> {
        let (mut nnz, mut widest, mut read) = (0u64, 0, 0u64);
        for part in parts {
            let part = part?;
            (nnz, read) = (nnz.saturating_add(part.nnz), read.saturating_add(part.read));
            widest = part.peak.max(widest);
        }
        let nnz = nnz.min(window.len());
        let bytes = self.bytes_of(window, nnz);
        Ok(Need { nnz, bytes, held: bytes, peak: bytes.saturating_add(widest), read })
    }

    /// Returns what computing a window takes.
    pub(super) fn need(&self, window: &Window) -> Result<Need> {
        let whole = window.widened(self);
        if *window != whole && self.expr.needs_whole_rows() {
            let need = self.need(&whole)?;
            return Ok(self.beside(window, need, need.nnz.min(window.len()), 0));
        }
        let all = window.len();
        Ok(match &*self.expr {
            Expr::Source(_) | Expr::Random(_) | Expr::Zeros | Expr::Memory(_) => self.need_of_first(window)?,
            Expr::Chunks(chunks, grid) => self.need_of_chunks(chunks, grid, window),
            Expr::Kernel(input, kernel) => {
                let input = input.need(window)?;
                let here = input.bytes.saturating_add(kernel.scratch_bytes(window.n_rows()));
                Need { held: input.bytes, peak: input.peak.max(here), ..input }
            }
            Expr::SelectRows(input, selection) => self.need_of_rows(input, selection, window)?,
            Expr::SelectColumns(input, selection) => match selection.run() {
                Some(first) => {
                    let cols = first + window.cols.start..first + window.cols.end;
                    input.need(&Window { rows: window.rows.clone(), cols })?
                }
                None => {
                    let input = input.need(&window.widened(input))?;
                    let nnz = selection.nnz_bound(window.n_rows(), input.nnz);
                    self.beside(window, input, nnz, 16 * self.cols())
                }
            },
            Expr::AsType(input) => {
                let input = input.need(window)?;
                self.beside(window, input, input.nnz, 0)
            }
            Expr::ToKind(input) => self.beside(window, input.need(window)?, all, 0),
            Expr::Transpose(input) => {
                let input = input.need(&window.transposed())?;
                // Where each row's next value goes.
                let scratch = if self.kind == BlockKind::Csr { window.n_rows().saturating_mul(8) } else { 0 };
                self.beside(window, input, input.nnz, scratch)
            }
            Expr::Binary(sides, op) => self.need_of_binary(sides, *op, window)?,
            Expr::VStack(inputs, cuts) => self.need_of_stack(inputs, cuts, window)?,
            Expr::HStack(inputs, cuts) => self.need_of_row(inputs, cuts, window)?,
            Expr::MatMul(input, product) => {
                let need = input.need(&window.widened(input))?;
                self.beside(window, need, all, product.scratch_bytes(window.n_rows(), input.cols()))
            }
            Expr::Dot(dot) => self.need_of_dot(dot, window)?,
            Expr::MapBlocks(input, map) => self.need_of_map(input.need(&window.widened(input))?, map, window),
        })
    }

    fn need_of_first(&self, window: &Window) -> Result<Need> {
        let (rows, all) = (window.rows.clone(), window.len());
        Ok(match &*self.expr {
            Expr::Source(source) => {
                let need = self.first(window, source.nnz_of(rows.clone())?, source.scratch_bytes(rows)?);
                Need { read: need.bytes, ..need }
            }
            Expr::Memory(block) => {
                let nnz = block.nnz_of_rows(rows);
                let need = self.first(window, nnz.min(all), 0);
                // A narrow window is cut out of its rows.
                let whole = window.widened(self);
                let scratch = if *window == whole { 0 } else { self.bytes_of(&whole, nnz) };
                Need { read: need.bytes, peak: need.peak.saturating_add(scratch), ..need }
            }
            Expr::Zeros if self.kind == BlockKind::Csr => self.first(window, 0, 0),
            _ => self.first(window, all, 0),
        })
    }

    fn need_of_rows(&self, input: &Array, selection: &RowSelection, window: &Window) -> Result<Need> {
        let (rows, cols) = (window.rows.clone(), window.cols.clone());
        if let RowSelection::From(first) = selection {
            return input.need(&Window { rows: first + rows.start..first + rows.end, cols });
        }
        let part = |span| input.need(&Window { rows: span, cols: cols.clone() });
        let need = self.gathered(window, selection.pieces(rows).map(|(span, _)| part(span)))?;
        Ok(self.growing(need))
    }

    fn need_of_dot(&self, dot: &Dot, window: &Window) -> Result<Need> {
        let mut need = self.first(window, window.len(), dot.scratch_bytes(window));
        let (own, [left, right]) = (need.peak, &dot.inputs);
        for (part, runs) in dot.steps(window) {
            let left = left.need(&part)?;
            need.read = need.read.saturating_add(left.read);
            need.peak = need.peak.max(own.saturating_add(left.peak));
            for run in runs {
                let right = right.need(&run)?;
                need.read = need.read.saturating_add(right.read);
                need.peak = need.peak.max(own.saturating_add(left.held).saturating_add(right.peak));
            }
        }
        Ok(need)
    }

    fn need_of_binary(&self, sides: &[Array; 2], op: Binary, window: &Window) -> Result<Need> {
        let [left, right] = sides;
        let (a, b) = (left.need(&left.side_of(window))?, right.need(&right.side_of(window))?);
        let (both, _) = op.dtypes(left.dtype(), right.dtype());
        // Both sides as they are; then each as the common dtype, and as dense where the result is.
        let side = |array: &Array, need: Need| {
            let part = array.side_of(window);
            let cast = match self.kind {
                BlockKind::Dense => DenseBlock::nbytes_of(part.n_rows(), part.n_cols(), both),
                BlockKind::Csr => {
                    array.bytes_of(&part, need.nnz).max(CsrBlock::nbytes_of(part.n_rows(), need.nnz, both))
                }
            };
            let is_ready = array.dtype() == both && (array.kind() == self.kind || array.kind() == BlockKind::Dense);
            if is_ready { 0 } else { cast.saturating_mul(2) }
        };
        let nnz = a.nnz.saturating_add(b.nnz).min(window.len());
        // Where the values of a merged CSR block come from.
        let merged = left.kind() == BlockKind::Csr && right.kind() == BlockKind::Csr && self.kind == BlockKind::Csr;
        let places = if merged { nnz.saturating_mul(16) } else { 0 };
        let scratch = side(left, a).saturating_add(side(right, b)).saturating_add(places);
        let held = a.held.saturating_add(b.held);
        let peak = a.peak.max(a.held.saturating_add(b.peak));
        let inputs = Need { nnz, bytes: held, held, peak, read: a.read.saturating_add(b.read) };
        Ok(self.beside(window, inputs, nnz, scratch))
    }

    fn need_of_map(&self, input: Need, map: &BlockMap, window: &Window) -> Need {
        let all = window.len();
        let stated = map.bytes_per_row.map(|bytes| bytes.saturating_mul(window.n_rows()));
        let result = self.bytes_of(window, all);
        let bytes = stated.map_or(result, |stated| result.min(stated));
        let both = input.held.saturating_add(stated.unwrap_or(bytes));
        Need { nnz: all, bytes, held: bytes, peak: input.peak.max(both), read: input.read }
    }

    /// One chunk is mapped; of several the parts are copied together.
    fn need_of_chunks(&self, chunks: &[StoredBlock], grid: &Grid, window: &Window) -> Need {
        let (down, across) = (grid.rows.overlapping(window.rows.clone()), grid.cols.overlapping(window.cols.clone()));
        let mut nnz = 0u64;
        let mut widest_band = 0u64;
        for i in down.clone() {
            let band = |j: usize| chunks[i * grid.cols.n_runs() + j].nnz() as u64;
            let stored: u64 = across.clone().map(band).sum();
            nnz = nnz.saturating_add(stored);
            let run = grid.rows.run(i);
            widest_band = widest_band.max(self.bytes_of(&Window { rows: run, cols: window.cols.clone() }, stored));
        }
        let need = self.first(window, nnz.min(window.len()), 0);
        let need = Need { read: need.bytes, ..need };
        let (one_row, one_col) = (down.len() == 1, across.len() == 1);
        if one_row
            && one_col
            && (grid.rows.run(down.start), grid.cols.run(across.start)) == (window.rows.clone(), window.cols.clone())
        {
            return Need { held: 0, peak: 0, ..need };
        }
        // Whole chunks of rows are appended from where they are mapped; others are cut, and put beside each other.
        let direct = one_col && grid.cols.run(across.start) == window.cols;
        let scratch = if direct { 0 } else { widest_band.saturating_mul(3) };
        Need { peak: need.peak.saturating_add(scratch), ..need }
    }

    fn need_of_stack(&self, inputs: &[Array], cuts: &Cuts, window: &Window) -> Result<Need> {
        let runs = cuts.overlapping(window.rows.clone());
        let part = |i: usize| {
            let run = cuts.run(i);
            let rows = window.rows.start.max(run.start) - run.start..window.rows.end.min(run.end) - run.start;
            inputs[i].need(&Window { rows, cols: window.cols.clone() })
        };
        if runs.len() == 1 {
            return part(runs.start);
        }
        let need = self.gathered(window, runs.map(part))?;
        Ok(self.growing(need))
    }

    /// Adds what it takes to append to a block piece by piece: the buffers of a CSR block grow by doubling, and the last
    /// step holds old and new.
    fn growing(&self, need: Need) -> Need {
        let grown = if self.kind == BlockKind::Csr { need.bytes.saturating_mul(2) } else { 0 };
        Need { peak: need.peak.saturating_add(grown), ..need }
    }

    fn need_of_row(&self, inputs: &[Array], cuts: &Cuts, window: &Window) -> Result<Need> {
        let (mut held, mut peak, mut nnz, mut read) = (0u64, 0u64, 0u64, 0u64);
        let runs = cuts.overlapping(window.cols.clone());
        let single = runs.len() == 1;
        for i in runs {
            let run = cuts.run(i);
            let cols = window.cols.start.max(run.start) - run.start..window.cols.end.min(run.end) - run.start;
            let part = inputs[i].need(&Window { rows: window.rows.clone(), cols })?;
            if single {
                return Ok(part);
            }
            peak = peak.max(held.saturating_add(part.peak));
            held = held.saturating_add(part.held);
            nnz = nnz.saturating_add(part.nnz);
            read = read.saturating_add(part.read);
        }
        Ok(self.beside(window, Need { nnz, bytes: held, held, peak, read }, nnz.min(window.len()), 0))
    }
}
