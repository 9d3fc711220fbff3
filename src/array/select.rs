//! Selecting columns and rows of a block.
//!
//! Columns are chosen as Arrow's `take` does: in the order given, and as often as given. `None` means all columns, an
//! empty list means none; the two are never confused.

use std::ops::Range;

use super::values::{Values, map_values};
use super::{Block, CsrBlock, DType, DenseBlock};
use crate::error::{Error, Result};

/// Which columns to keep, or which rows.
///
/// # Examples
///
/// ```
/// use allotment::array::Columns;
/// assert_eq!(Columns::from(None::<Vec<u64>>), Columns::All);
/// assert_eq!(Columns::from(vec![3u64, 1]), Columns::List(vec![3, 1]));
/// assert_eq!(Columns::from(vec![true, false]), Columns::Mask(vec![true, false]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// All of them.
    All,
    /// A run of neighbours.
    Range(Range<u64>),
    /// These, in this order; one may stand more than once, and an empty list keeps none.
    List(Vec<u64>),
    /// Those whose place holds true: one truth value for each column, or row.
    Mask(Vec<bool>),
}

impl From<Option<Vec<u64>>> for Columns {
    fn from(list: Option<Vec<u64>>) -> Self {
        list.map_or(Columns::All, Columns::List)
    }
}

impl From<Vec<u64>> for Columns {
    fn from(list: Vec<u64>) -> Self {
        Columns::List(list)
    }
}

impl From<&[u64]> for Columns {
    fn from(list: &[u64]) -> Self {
        Columns::List(list.to_vec())
    }
}

impl From<Vec<bool>> for Columns {
    fn from(mask: Vec<bool>) -> Self {
        Columns::Mask(mask)
    }
}

impl From<Range<u64>> for Columns {
    fn from(range: Range<u64>) -> Self {
        Columns::Range(range)
    }
}

/// A checked choice: every number in it exists.
pub(super) enum Chosen {
    All,
    Run(Range<u64>),
    List(Vec<u64>),
}

impl Columns {
    /// Checks a choice among `n` columns, or rows, which `what` says.
    pub(super) fn checked(self, operation: &'static str, what: &str, n: u64) -> Result<Chosen> {
        let list: Vec<u64> = match self {
            Columns::All => return Ok(Chosen::All),
            Columns::Range(range) if range.start > range.end || range.end > n => {
                return Err(out_of_range(operation, range.start.max(range.end), n));
            }
            Columns::Range(range) => return Ok(Chosen::Run(range)),
            Columns::List(list) => list,
            Columns::Mask(mask) if mask.len() as u64 != n => {
                let expected = format!("one truth value for each of the {n} {what}");
                return Err(Error::bad_argument(operation, "mask length", mask.len(), expected));
            }
            Columns::Mask(mask) => (0..).zip(mask).filter(|(_, keep)| *keep).map(|(place, _)| place).collect(),
        };
        match list.iter().find(|place| **place >= n) {
            Some(place) => Err(out_of_range(operation, *place, n)),
            None => Ok(Chosen::List(list)),
        }
    }
}

/// A checked choice among `n_cols` columns, ready to be applied to many blocks.
#[derive(Debug)]
pub(super) struct Selection {
    /// The chosen columns, in the order of the result.
    columns: Vec<usize>,
    /// For each column of the input, where in `targets` its places in the result begin; one more at the end.
    starts: Vec<usize>,
    /// The places in the result, by column of the input.
    targets: Vec<u32>,
    /// Whether the chosen columns ascend strictly, so that CSR rows stay sorted.
    ascending: bool,
    /// The first of the chosen columns, when they are a run.
    run: Option<u64>,
}

impl Selection {
    /// Checks a choice; `None` when it is all columns in their order.
    pub(super) fn new(columns: Columns, n_cols: u64) -> Result<Option<Selection>> {
        let list: Vec<u64> = match columns.checked("select_columns", "columns", n_cols)? {
            Chosen::All => return Ok(None),
            Chosen::Run(range) => range.collect(),
            Chosen::List(list) => list,
        };
        super::csr::check_cols(list.len() as u64)?;
        Ok(Some(Selection::of(list.iter().map(|col| *col as usize).collect(), n_cols as usize)))
    }

    fn of(columns: Vec<usize>, n_cols: usize) -> Selection {
        let mut starts = vec![0usize; n_cols + 1];
        columns.iter().for_each(|col| starts[col + 1] += 1);
        for col in 0..n_cols {
            starts[col + 1] += starts[col];
        }
        let (mut next, mut targets) = (starts.clone(), vec![0u32; columns.len()]);
        for (place, col) in columns.iter().enumerate() {
            targets[next[*col]] = place as u32;
            next[*col] += 1;
        }
        let ascending = columns.is_sorted_by(|a, b| a < b);
        let is_run = columns.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let run = is_run.then(|| columns.first().map_or(0, |first| *first as u64));
        Selection { columns, starts, targets, ascending, run }
    }

    /// Returns the first of the chosen columns when they are a run.
    pub(super) fn run(&self) -> Option<u64> {
        self.run
    }

    /// Lists the chosen columns.
    pub(super) fn list(&self) -> Vec<u64> {
        self.columns.iter().map(|col| *col as u64).collect()
    }

    /// Returns how many columns are kept.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Returns at most how many values a CSR block of `nnz` values keeps.
    pub(super) fn nnz_bound(&self, rows: u64, nnz: u64) -> u64 {
        let most = self.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0) as u64;
        nnz.saturating_mul(most).min(rows.saturating_mul(self.len() as u64))
    }

    /// Returns the chosen columns of a block.
    pub(super) fn apply(&self, block: &Block) -> Block {
        match block {
            Block::Dense(b) => self.of_dense(b).into(),
            Block::Csr(b) => self.of_csr(b).into(),
        }
    }

    fn of_dense(&self, block: &DenseBlock) -> DenseBlock {
        let values = map_values!(&block.values, buffer => {
            let mut kept = Vec::with_capacity(block.rows * self.len());
            for row in 0..block.rows {
                let from = &buffer[row * block.cols..(row + 1) * block.cols];
                kept.extend(self.columns.iter().map(|col| from[*col]));
            }
            kept.into()
        });
        DenseBlock { rows: block.rows, cols: self.len(), values }
    }

    /// Returns where in `targets` the places of a column stand.
    fn places(&self, col: u32) -> Range<usize> {
        self.starts[col as usize]..self.starts[col as usize + 1]
    }

    /// Counts first, so that exactly what is kept is allocated.
    fn of_csr(&self, block: &CsrBlock) -> CsrBlock {
        let nnz: usize = block.indices.iter().map(|col| self.places(*col).len()).sum();
        let mut indptr = Vec::with_capacity(block.rows + 1);
        indptr.push(0u64);
        // Which entry goes to which column, row by row.
        let mut pairs: Vec<(u32, usize)> = Vec::new();
        let mut indices: Vec<u32> = Vec::with_capacity(nnz);
        let columns = &block.indices[..];
        let values = map_values!(&block.values, buffer => {
            let (buffer, mut kept) = (&buffer[..], Vec::with_capacity(nnz));
            for row in 0..block.rows {
                pairs.clear();
                for entry in block.row(row) {
                    for target in self.places(columns[entry]) {
                        pairs.push((self.targets[target], entry));
                    }
                }
                if !self.ascending {
                    pairs.sort_unstable();
                }
                indices.extend(pairs.iter().map(|(column, _)| *column));
                kept.extend(pairs.iter().map(|(_, entry)| buffer[*entry]));
                indptr.push(indices.len() as u64);
            }
            kept.into()
        });
        CsrBlock { rows: block.rows, cols: self.len(), indptr: indptr.into(), indices: indices.into(), values }
    }
}

fn out_of_range(operation: &'static str, index: u64, len: u64) -> Error {
    Error::OutOfRange { operation, index, len }
}

impl Block {
    /// Copies a run of rows.
    ///
    /// # Panics
    ///
    /// When the range reaches beyond the rows.
    pub fn slice_rows(&self, rows: Range<usize>) -> Block {
        match self {
            Block::Dense(b) => {
                let values = b.values.slice(rows.start * b.cols..rows.end * b.cols);
                DenseBlock { rows: rows.len(), cols: b.cols, values }.into()
            }
            Block::Csr(b) => {
                let first = b.indptr[rows.start];
                let entries = first as usize..b.indptr[rows.end] as usize;
                let indptr: Vec<u64> = b.indptr[rows.start..=rows.end].iter().map(|p| p - first).collect();
                let indices = b.indices[entries.clone()].to_vec();
                let values = b.values.slice(entries);
                CsrBlock { rows: rows.len(), cols: b.cols, indptr: indptr.into(), indices: indices.into(), values }
                    .into()
            }
        }
    }

    /// Returns no rows of so many columns.
    pub fn empty(cols: usize, dtype: DType, kind: super::BlockKind) -> Block {
        let values = Values::with_capacity(dtype, 0);
        match kind {
            super::BlockKind::Dense => DenseBlock { rows: 0, cols, values }.into(),
            super::BlockKind::Csr => {
                CsrBlock { rows: 0, cols, indptr: vec![0].into(), indices: vec![].into(), values }.into()
            }
        }
    }

    /// Appends some rows of another block of the same columns, dtype and kind.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] when the columns, [`Error::BadArgument`] when dtypes or kinds differ.
    pub fn append_rows(&mut self, other: &Block, rows: Range<usize>) -> Result<()> {
        if self.cols() != other.cols() {
            let shape = |block: &Block| (block.rows() as u64, block.cols() as u64);
            let expected = "give blocks of one number of columns".into();
            return Err(Error::ShapeMismatch { operation: "vstack", left: shape(self), right: shape(other), expected });
        }
        match (self, other) {
            (Block::Dense(to), Block::Dense(from)) => {
                to.values.extend(&from.values, rows.start * from.cols..rows.end * from.cols)?;
                to.rows += rows.len();
            }
            (Block::Csr(to), Block::Csr(from)) => {
                let entries = from.indptr[rows.start] as usize..from.indptr[rows.end] as usize;
                to.values.extend(&from.values, entries.clone())?;
                let shift = |p: &u64| p - entries.start as u64 + to.indices.len() as u64;
                let ends: Vec<u64> = from.indptr[rows.start + 1..=rows.end].iter().map(shift).collect();
                to.indptr.to_mut().extend(ends);
                to.indices.to_mut().extend_from_slice(&from.indices[entries]);
                to.rows += rows.len();
            }
            (to, from) => {
                return Err(Error::bad_argument("vstack", "kind", from.kind(), to.kind().to_string()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(csr: bool) -> Block {
        let dense = DenseBlock::new(3, 4, vec![1u16, 0, 2, 0, 0, 0, 0, 0, 3, 4, 0, 5]).expect("twelve values");
        if csr { dense.to_csr().expect("four columns").into() } else { dense.into() }
    }

    fn selected(columns: impl Into<Columns>, csr: bool) -> Vec<u16> {
        let selection = Selection::new(columns.into(), 4).expect("they exist").expect("not all");
        let kept = selection.apply(&block(csr));
        assert!(kept.values().len() as u64 <= selection.nnz_bound(3, block(csr).values().len() as u64));
        if let Block::Csr(b) = &kept {
            let parts = (b.indptr.to_vec(), b.indices.to_vec(), b.values.clone());
            let again = CsrBlock::new(b.rows, b.cols, parts.0, parts.1, parts.2).expect("a sound CSR block");
            assert_eq!(again.indices[..], b.indices[..], "it was sorted");
        }
        kept.to_vec()
    }

    #[test]
    fn columns_come_in_the_order_and_as_often_as_asked() {
        for csr in [false, true] {
            assert_eq!(selected(vec![2u64, 0, 2], csr), [2, 1, 2, 0, 0, 0, 0, 3, 0]);
            assert_eq!(selected(1u64..3, csr), [0, 2, 0, 0, 4, 0]);
            assert_eq!(selected(vec![false, true, false, true], csr), [0, 0, 0, 0, 4, 5]);
            assert_eq!(selected(Vec::<u64>::new(), csr), [0u16; 0], "an empty list is none");
        }
        assert!(Selection::new(Columns::from(None), 4).expect("all").is_none(), "no list is all");
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a range that runs backwards is what is refused")]
    fn columns_that_do_not_exist_are_refused() {
        for columns in [Columns::List(vec![1, 4]), Columns::Range(2..5), Columns::Range(3..1)] {
            assert!(matches!(Selection::new(columns, 4), Err(Error::OutOfRange { .. })), "beyond four columns");
        }
        assert!(Selection::new(Columns::Mask(vec![true; 3]), 4).is_err());
    }

    #[test]
    fn rows_cut_apart_and_appended_are_the_same_rows() {
        for csr in [false, true] {
            let whole = block(csr);
            for cut in 0..=3 {
                let mut joined = Block::empty(4, whole.dtype(), whole.kind());
                joined.append_rows(&whole.slice_rows(0..cut), 0..cut).expect("alike");
                joined.append_rows(&whole, cut..3).expect("alike");
                assert_eq!(joined.to_vec::<u16>(), whole.to_vec::<u16>());
            }
        }
    }

    #[test]
    fn unlike_blocks_are_not_appended() {
        assert!(block(true).append_rows(&block(false), 0..1).is_err());
        assert!(Block::empty(3, DType::U16, super::super::BlockKind::Dense).append_rows(&block(false), 0..1).is_err());
    }
}
