//! The least or the greatest value of each group, and where it first stands.
//!
//! Values are compared by their rank: the key, or for the least its complement, so that the greatest rank is what is
//! looked for either way. NaN has the greatest rank of all, as in NumPy: one that is there is the answer, the first one.
//! Zeros that a CSR block leaves out are values like others, and the first one of a group stands in its first gap.

use super::Over;
use super::key::{Key, last_key, values_of_keys};
use crate::array::values::{Values, with_values};
use crate::array::{Block, CsrBlock, DType};

/// A rank that no number has in either order: NaN's.
const NAN: u64 = u64::MAX;

/// Which end of the order is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Least,
    Greatest,
}

/// Where a block lies in its array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) row_offset: u64,
    pub(super) col_offset: u64,
    /// Columns of the array.
    pub(super) cols: u64,
}

impl Place {
    /// Returns the number of a value among all of the array, counted row by row.
    fn number(self, row: usize, col: u64) -> u64 {
        (self.row_offset + row as u64).saturating_mul(self.cols).saturating_add(self.col_offset + col)
    }
}

/// The best value of each group, for groups that have one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Extremes {
    ranks: Vec<u64>,
    /// The first place of such a value: its column in a row, its row in a column, its number in the whole.
    pub(super) at: Vec<u64>,
}

/// A rank and its place.
type Best = (u64, u64);

/// Returns the better of two: the one of the greater rank, and of equals the first.
fn better(a: Best, b: Best) -> Best {
    if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a }
}

impl End {
    #[inline]
    fn rank<T: Key>(self, value: T) -> u64 {
        let key = value.key();
        match self {
            _ if T::DTYPE.is_float() && key == last_key(T::DTYPE) => NAN,
            End::Greatest => key,
            End::Least => !key,
        }
    }

    fn key(self, rank: u64, dtype: DType) -> u64 {
        match self {
            _ if dtype.is_float() && rank == NAN => last_key(dtype),
            End::Greatest => rank,
            End::Least => !rank,
        }
    }

    /// Returns the best of a row, with its column; `columns` are those of a CSR row's values.
    fn best_of_row<T: Key>(self, row: &[T], columns: Option<&[u32]>, cols: usize) -> Option<Best> {
        let ranks = row.iter().map(|value| self.rank(*value));
        let Some(columns) = columns else { return ranks.zip(0..).reduce(better) };
        let best = ranks.zip(columns.iter().map(|col| u64::from(*col))).reduce(better);
        if row.len() == cols {
            return best;
        }
        let gap = columns.iter().zip(0..).position(|(col, place)| *col != place).unwrap_or(columns.len());
        let zero = (self.rank(T::default()), gap as u64);
        Some(best.map_or(zero, |best| better(best, zero)))
    }
}

impl Extremes {
    /// Finds the best value of each group of a block that has rows and columns.
    pub(super) fn of(block: &Block, over: Over, end: End, place: Place) -> Extremes {
        with_values!(block.values(), values => match over {
            Over::Whole => {
                let number = |(row, (rank, col)): (usize, Best)| (rank, place.number(row, col));
                let best = rows_of(block, values, end).enumerate().map(number).reduce(better);
                best.into_iter().collect()
            }
            Over::EachRow => {
                rows_of(block, values, end).map(|(rank, col)| (rank, place.col_offset + col)).collect()
            }
            Over::EachColumn => {
                let mut best = match block {
                    Block::Dense(b) => of_dense_columns(values, b.cols, end),
                    Block::Csr(b) => of_csr_columns(b, values, end),
                };
                best.at.iter_mut().for_each(|at| *at += place.row_offset);
                best
            }
        })
    }

    /// Joins the best of the same groups.
    pub(super) fn join(mut self, other: Extremes) -> Extremes {
        let theirs = other.ranks.into_iter().zip(other.at);
        for ((rank, at), theirs) in self.ranks.iter_mut().zip(&mut self.at).zip(theirs) {
            (*rank, *at) = better((*rank, *at), theirs);
        }
        self
    }

    /// Appends other groups.
    pub(super) fn append(mut self, other: Extremes) -> Extremes {
        self.extend(other);
        self
    }

    /// Appends other groups.
    pub(super) fn extend(&mut self, other: Extremes) {
        self.ranks.extend(other.ranks);
        self.at.extend(other.at);
    }

    /// Makes room for so many groups in all, and not for more.
    pub(super) fn reserve(&mut self, n: usize) {
        self.ranks.reserve_exact(n.saturating_sub(self.ranks.len()));
        self.at.reserve_exact(n.saturating_sub(self.at.len()));
    }

    /// Returns the values, exactly.
    pub(super) fn values(&self, end: End, dtype: DType) -> Values {
        let keys: Vec<u64> = self.ranks.iter().map(|rank| end.key(*rank, dtype)).collect();
        values_of_keys(dtype, &keys)
    }
}

impl FromIterator<Best> for Extremes {
    fn from_iter<I: IntoIterator<Item = Best>>(best: I) -> Extremes {
        let (ranks, at) = best.into_iter().unzip();
        Extremes { ranks, at }
    }
}

/// Returns the best of each row; a row of a block that has columns has one.
fn rows_of<'a, T: Key>(block: &'a Block, values: &'a [T], end: End) -> impl Iterator<Item = Best> + 'a {
    let (rows, cols) = block.shape();
    (0..rows).filter_map(move |row| match block {
        Block::Dense(_) => end.best_of_row(&values[row * cols..(row + 1) * cols], None, cols),
        Block::Csr(b) => end.best_of_row(&values[b.row(row)], Some(&b.indices[b.row(row)]), cols),
    })
}

fn of_dense_columns<T: Key>(values: &[T], cols: usize, end: End) -> Extremes {
    let mut rows = values.chunks_exact(cols).zip(0..);
    let Some((first, _)) = rows.next() else { return Extremes::default() };
    let mut best: Extremes = first.iter().map(|value| (end.rank(*value), 0)).collect();
    for (row, at) in rows {
        for ((rank, place), value) in best.ranks.iter_mut().zip(&mut best.at).zip(row) {
            let found = end.rank(*value);
            if found > *rank {
                (*rank, *place) = (found, at);
            }
        }
    }
    best
}

fn of_csr_columns<T: Key>(block: &CsrBlock, values: &[T], end: End) -> Extremes {
    let rows = block.rows as u64;
    // The first row in which a column has no value, as far as the rows were looked at.
    let mut gaps = vec![0u64; block.cols];
    let mut best: Extremes = (0..block.cols).map(|_| (0, u64::MAX)).collect();
    let columns = &block.indices[..];
    for row in 0..block.rows {
        for entry in block.row(row) {
            let (col, found) = (columns[entry] as usize, (end.rank(values[entry]), row as u64));
            (best.ranks[col], best.at[col]) = better((best.ranks[col], best.at[col]), found);
            gaps[col] += u64::from(gaps[col] == row as u64);
        }
    }
    let zero = end.rank(T::default());
    for (col, gap) in gaps.into_iter().enumerate().filter(|(_, gap)| *gap < rows) {
        (best.ranks[col], best.at[col]) = better((best.ranks[col], best.at[col]), (zero, gap));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DenseBlock;

    const PLACE: Place = Place { row_offset: 10, col_offset: 0, cols: 3 };

    fn found(block: &Block, over: Over, end: End) -> (Vec<f64>, Vec<u64>) {
        let found = Extremes::of(block, over, end, PLACE);
        (found.values(end, block.dtype()).to_vec(), found.at)
    }

    #[test]
    fn a_left_out_zero_is_greater_than_all_that_is_stored_and_negative() {
        let dense = DenseBlock::new(2, 3, vec![-1.0f32, 0.0, -2.0, -3.0, -4.0, 0.0]).expect("six values");
        let csr = Block::from(dense.to_csr().expect("three columns"));
        for block in [csr, Block::from(dense)] {
            assert_eq!(found(&block, Over::EachRow, End::Greatest), (vec![0.0, 0.0], vec![1, 2]));
            assert_eq!(found(&block, Over::EachColumn, End::Greatest), (vec![-1.0, 0.0, 0.0], vec![10, 10, 11]));
            assert_eq!(found(&block, Over::EachColumn, End::Least), (vec![-3.0, -4.0, -2.0], vec![11, 11, 10]));
            assert_eq!(found(&block, Over::Whole, End::Greatest), (vec![0.0], vec![31]));
            assert_eq!(found(&block, Over::Whole, End::Least), (vec![-4.0], vec![34]));
        }
    }

    #[test]
    fn a_column_of_a_later_block_of_columns_wins_only_when_it_is_better() {
        let block = |values: Vec<i64>| Block::from(DenseBlock::new(1, 2, values).expect("two values"));
        let of = |values, col_offset| {
            Extremes::of(&block(values), Over::EachRow, End::Greatest, Place { col_offset, cols: 4, ..PLACE })
        };
        let beyond = (1 << 53) + 1;
        assert_eq!(of(vec![7, 7], 0).join(of(vec![7, 7], 2)).at, [0]);
        assert_eq!(of(vec![7, 1 << 53], 0).join(of(vec![beyond, 7], 2)).at, [2], "f64 would call it a draw");
    }
}
