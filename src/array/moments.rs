//! Sums, means and variances of runs of values, and how two shares of them join.
//!
//! Sums are carried in two `f64` (Knuth's two-sum, The Art of Computer Programming 2, 4.2.2), so that the order of
//! millions of additions costs no digit. A variance is taken in two passes over the block that is in memory, about the
//! block's own mean, with the usual correction; shares join by Chan's formula (Chan, Golub and LeVeque 1983). Zeros that
//! a CSR block leaves out count as values. A NaN makes everything NaN that it is part of, as in NumPy.
//! Columns of a CSR block are as fast as a plain loop: runs of entries are added up plainly, each run's sums are carried
//! in two `f64`, and the squares are taken in the same pass about zero, which is where the left-out values lie. Only
//! columns whose squares are mostly their mean's (few have no zeros) need the second pass.

use super::values::with_values;
use super::{Block, CsrBlock, DenseBlock, Element};

/// Independent accumulators: enough to hide the latency of dependent additions, a fixed number for fixed bits.
const LANES: usize = 8;

/// A sum and what rounding lost of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    #[inline]
    fn add(&mut self, value: f64) {
        let sum = self.high + value;
        let back = sum - self.high;
        self.low += (self.high - (sum - back)) + (value - back);
        self.high = sum;
    }

    fn join(mut self, other: Sum) -> Sum {
        self.add(other.high);
        self.low += other.low;
        self
    }

    /// Returns `other / m - self / n` from products that keep every digit: two large means that are close leave little.
    fn mean_apart(self, n: f64, other: Sum, m: f64) -> f64 {
        let (theirs, mine) = (other.high * n, self.high * m);
        let mut apart = Sum { high: theirs, low: other.low * n - self.low * m };
        apart.low += other.high.mul_add(n, -theirs) - self.high.mul_add(m, -mine);
        apart.add(-mine);
        let apart = (apart.high + apart.low) / (n * m);
        // The products may overflow where the means do not.
        if apart.is_finite() { apart } else { other.value() / m - self.value() / n }
    }

    /// Returns the sum. What rounding lost of an infinite or overflown sum is no number, and does not count.
    pub(super) fn value(self) -> f64 {
        if self.low.is_finite() { self.high + self.low } else { self.high }
    }
}

/// Which moments are asked for besides the sum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) squares: bool,
    pub(super) nnz: bool,
}

/// Moments of several groups of equally many values: of each column, say.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    /// Values in each group, left-out zeros among them.
    pub(super) n: u64,
    pub(super) sums: Vec<Sum>,
    /// Sums of squares about the mean; empty when not wanted.
    pub(super) squares: Vec<f64>,
    /// Numbers of values that are not zero; empty when not wanted.
    pub(super) nnz: Vec<u64>,
}

impl Moments {
    /// Returns the moments of no values in so many groups.
    pub(super) fn none(groups: usize, wanted: Wanted) -> Moments {
        Moments {
            n: 0,
            sums: vec![Sum::default(); groups],
            squares: vec![0.0; if wanted.squares { groups } else { 0 }],
            nnz: vec![0; if wanted.nnz { groups } else { 0 }],
        }
    }

    /// Returns the moments of all values of a block as one group.
    pub(super) fn of_whole(block: &Block, wanted: Wanted) -> Moments {
        let n = block.rows() as u64 * block.cols() as u64;
        with_values!(block.values(), values => of_runs(n, [&values[..]].into_iter(), wanted))
    }

    /// Returns the moments of each row.
    pub(super) fn of_rows(block: &Block, wanted: Wanted) -> Moments {
        let n = block.cols() as u64;
        with_values!(block.values(), values => match block {
            Block::Dense(b) => {
                of_runs(n, (0..b.rows).map(|row| &values[row * b.cols..(row + 1) * b.cols]), wanted)
            }
            Block::Csr(b) => of_runs(n, (0..b.rows).map(|row| &values[b.row(row)]), wanted),
        })
    }

    /// Returns the moments of each column.
    pub(super) fn of_columns(block: &Block, wanted: Wanted) -> Moments {
        with_values!(block.values(), values => match block {
            Block::Dense(b) => of_dense_columns(b, values, wanted),
            Block::Csr(b) => of_csr_columns(b, values, wanted),
        })
    }

    /// Joins the shares of the same groups.
    pub(super) fn join(mut self, other: Moments) -> Moments {
        let (left, right) = (self.n as f64, other.n as f64);
        // Chan: the squares about the joint mean exceed those about the two means by what the means differ.
        if self.n > 0 && other.n > 0 {
            let weight = left * right / (left + right);
            for (i, squares) in self.squares.iter_mut().enumerate() {
                let apart = self.sums[i].mean_apart(left, other.sums[i], right);
                *squares += other.squares[i] + apart * apart * weight;
            }
        } else if self.n == 0 {
            self.squares = other.squares;
        }
        self.sums.iter_mut().zip(other.sums).for_each(|(mine, theirs)| *mine = mine.join(theirs));
        self.nnz.iter_mut().zip(other.nnz).for_each(|(mine, theirs)| *mine += theirs);
        self.n += other.n;
        self
    }

    /// Appends other groups.
    pub(super) fn append(mut self, other: Moments) -> Moments {
        self.sums.extend(other.sums);
        self.squares.extend(other.squares);
        self.nnz.extend(other.nnz);
        self.n = other.n;
        self
    }
}

/// Takes the moments of groups that lie together; what a group lacks of `n` values is zeros.
fn of_runs<'a, T: Element>(n: u64, runs: impl Iterator<Item = &'a [T]>, wanted: Wanted) -> Moments {
    let mut moments = Moments { n, ..Moments::none(0, wanted) };
    for run in runs {
        let sum = sum_of(run);
        moments.sums.push(sum);
        if wanted.squares {
            moments.squares.push(squares_of(run, n, sum.value() / n as f64));
        }
        if wanted.nnz {
            moments.nnz.push(run.iter().filter(|value| **value != T::default()).count() as u64);
        }
    }
    moments
}

fn sum_of<T: Element>(values: &[T]) -> Sum {
    let mut lanes = [Sum::default(); LANES];
    for chunk in values.chunks(LANES) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| lane.add(value.to_f64()));
    }
    lanes.into_iter().fold(Sum::default(), Sum::join)
}

fn squares_of<T: Element>(values: &[T], n: u64, mean: f64) -> f64 {
    let (mut squares, mut rest) = ([0.0; LANES], [0.0; LANES]);
    for chunk in values.chunks(LANES) {
        for (lane, value) in chunk.iter().enumerate() {
            let apart = value.to_f64() - mean;
            squares[lane] += apart * apart;
            rest[lane] += apart;
        }
    }
    corrected(squares.iter().sum(), rest.iter().sum(), n - values.len() as u64, n, mean)
}

/// Adds the left-out zeros to the squares about the mean, and takes back what the mean's own rounding added.
fn corrected(squares: f64, rest: f64, zeros: u64, n: u64, mean: f64) -> f64 {
    if n == 0 {
        return 0.0;
    }
    let zeros = zeros as f64;
    let (squares, rest) = (squares + zeros * (mean * mean), rest - zeros * mean);
    let squares = squares - rest * rest / n as f64;
    // Not max(0.0), which would hide a NaN.
    if squares < 0.0 { 0.0 } else { squares }
}

fn of_dense_columns<T: Element>(block: &DenseBlock, values: &[T], wanted: Wanted) -> Moments {
    let (n, cols) = (block.rows as u64, block.cols);
    let mut moments = Moments { n, ..Moments::none(cols, wanted) };
    // No columns, no values: and chunks of zero length do not exist.
    let rows = || values.chunks_exact(cols.max(1));
    for row in rows() {
        moments.sums.iter_mut().zip(row).for_each(|(sum, value)| sum.add(value.to_f64()));
    }
    if wanted.squares {
        let means: Vec<f64> = moments.sums.iter().map(|sum| sum.value() / n as f64).collect();
        let mut rest = vec![0.0; cols];
        for row in rows() {
            for (((squares, rest), mean), value) in moments.squares.iter_mut().zip(&mut rest).zip(&means).zip(row) {
                let apart = value.to_f64() - mean;
                *squares += apart * apart;
                *rest += apart;
            }
        }
        for ((squares, rest), mean) in moments.squares.iter_mut().zip(rest).zip(means) {
            *squares = corrected(*squares, rest, 0, n, mean);
        }
    }
    if wanted.nnz {
        for row in rows() {
            moments.nnz.iter_mut().zip(row).for_each(|(nnz, value)| *nnz += u64::from(*value != T::default()));
        }
    }
    moments
}

/// One pass adds up values and squares; where their difference would lose digits, a second one takes it about the mean.
fn of_csr_columns<T: Element>(block: &CsrBlock, values: &[T], wanted: Wanted) -> Moments {
    let (n, indices) = (block.rows as u64, &block.indices[..]);
    let mut moments = Moments { n, ..Moments::none(block.cols, wanted) };
    if wanted.squares {
        add_values_and_squares(indices, values, &mut moments);
        let drowned = finish_squares(&mut moments);
        if !drowned.is_empty() {
            square_about_means(indices, values, &drowned, &mut moments);
        }
    } else {
        add_values(indices, values, &mut moments.sums);
    }
    if wanted.nnz {
        let entries = indices.iter().zip(values);
        entries.for_each(|(&col, value)| moments.nnz[col as usize] += u64::from(*value != T::default()));
    }
    moments
}

/// Entries that are added up plainly before what they gave is carried on in two `f64`: so many for each column on average.
const PLAIN: usize = 64;

fn add_values<T: Element>(indices: &[u32], values: &[T], sums: &mut [Sum]) {
    let mut plain = vec![0.0; sums.len()];
    let run = (PLAIN * sums.len()).max(1);
    for (indices, values) in indices.chunks(run).zip(values.chunks(run)) {
        for (&col, value) in indices.iter().zip(values) {
            plain[col as usize] += value.to_f64();
        }
        sums.iter_mut().zip(&mut plain).for_each(|(sum, plain)| sum.add(std::mem::take(plain)));
    }
}

fn add_values_and_squares<T: Element>(indices: &[u32], values: &[T], moments: &mut Moments) {
    // Side by side, so that one addition of two numbers adds both.
    let mut plain = vec![[0.0; 2]; moments.sums.len()];
    let run = (PLAIN * plain.len()).max(1);
    for (indices, values) in indices.chunks(run).zip(values.chunks(run)) {
        for (&col, value) in indices.iter().zip(values) {
            let (value, plain) = (value.to_f64(), &mut plain[col as usize]);
            *plain = [plain[0] + value, plain[1] + value * value];
        }
        for ((sum, squares), plain) in moments.sums.iter_mut().zip(&mut moments.squares).zip(&mut plain) {
            let [value, square] = std::mem::take(plain);
            sum.add(value);
            *squares += square;
        }
    }
}

/// Turns sums of squares into those about the mean; returns the columns where that would leave less than a quarter.
///
/// By Cauchy and Schwarz at least the share of zeros in a column is left, so that columns that are more than a quarter
/// zeros never come back, and the difference costs no more than two bits.
fn finish_squares(moments: &mut Moments) -> Vec<usize> {
    let n = moments.n as f64;
    let mut drowned = Vec::new();
    for (col, (squares, sum)) in moments.squares.iter_mut().zip(&moments.sums).enumerate() {
        let about_mean = if n > 0.0 { *squares - sum.value() * (sum.value() / n) } else { 0.0 };
        // What is not a number, or has overflown, comes back as well.
        if about_mean >= 0.25 * *squares {
            *squares = about_mean;
        } else {
            drowned.push(col);
        }
    }
    drowned
}

/// Takes the squares of the named columns about their means, with the correction for a mean that is rounded.
fn square_about_means<T: Element>(indices: &[u32], values: &[T], columns: &[usize], moments: &mut Moments) {
    let (n, cols) = (moments.n, moments.sums.len());
    let means: Vec<f64> = moments.sums.iter().map(|sum| sum.value() / n as f64).collect();
    // The other columns' are taken too, and left.
    let (mut about, mut stored) = (vec![[0.0; 2]; cols], vec![0u64; cols]);
    for (&col, value) in indices.iter().zip(values) {
        let col = col as usize;
        let apart = value.to_f64() - means[col];
        about[col] = [about[col][0] + apart * apart, about[col][1] + apart];
        stored[col] += 1;
    }
    for &col in columns {
        let [squares, rest] = about[col];
        moments.squares[col] = corrected(squares, rest, n - stored[col], n, means[col]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DType;

    const ALL: Wanted = Wanted { squares: true, nnz: true };

    #[test]
    fn a_sum_keeps_what_plain_addition_loses() {
        let mut sum = Sum::default();
        [1e16, 1.0, 1.0, -1e16].into_iter().for_each(|value| sum.add(value));
        assert_eq!(sum.value(), 2.0);
        assert_eq!(sum_of(&[f64::INFINITY, 1.0]).value(), f64::INFINITY);
        assert!(sum_of(&[f64::NAN, 1.0]).value().is_nan());
    }

    #[test]
    fn left_out_zeros_count_like_zeros_that_are_there() {
        let dense = DenseBlock::new(4, 3, vec![5i32, 0, 0, -2, 0, 7, 0, 0, 0, 1, 0, 1]).expect("twelve values");
        let csr: Block = dense.to_csr().expect("three columns").into();
        let dense = Block::from(dense);
        for of in [Moments::of_whole, Moments::of_rows, Moments::of_columns] {
            let (a, b) = (of(&dense, ALL), of(&csr, ALL));
            assert_eq!((a.n, &a.nnz), (b.n, &b.nnz));
            assert_eq!(
                a.sums.iter().map(|s| s.value()).collect::<Vec<_>>(),
                b.sums.iter().map(|s| s.value()).collect::<Vec<_>>()
            );
            for (x, y) in a.squares.iter().zip(&b.squares) {
                // A dozen additions of small numbers, in another order.
                assert!((x - y).abs() <= 12.0 * f64::EPSILON * x.abs(), "{x} {y}");
            }
        }
    }

    #[test]
    fn joining_shares_is_taking_the_moments_of_all() {
        let values: Vec<f64> = (0..40).map(|i| 1e9 + f64::from(i * i % 17)).collect();
        let whole = Block::from(DenseBlock::new(20, 2, values).expect("forty values"));
        let all = Moments::of_columns(&whole, ALL);
        for cut in [0, 1, 7, 20] {
            let [left, right] = [0..cut, cut..20].map(|rows| Moments::of_columns(&whole.slice_rows(rows), ALL));
            let joined = left.join(right);
            assert_eq!(
                (joined.n, &joined.nnz, &joined.sums),
                (all.n, &all.nnz, &all.sums),
                "sums of integers are exact"
            );
            for (x, y) in joined.squares.iter().zip(&all.squares) {
                // Neither takes a difference of rounded means: forty additions and roundings of squares are left.
                assert!((x - y).abs() <= 40.0 * f64::EPSILON * y, "{x} {y}");
            }
        }
    }

    #[test]
    fn full_columns_of_a_csr_block_keep_their_digits_beside_sparse_ones() {
        // Column 0 is sparse, column 1 full with a mean 2^27 times its deviation, column 2 constant, column 3 empty.
        let (rows, rest) = (1000, |i: usize| (i * i % 17) as f64);
        let row = |i: usize| [if i.is_multiple_of(5) { rest(i) } else { 0.0 }, 2f64.powi(30) + rest(i), 0.1, 0.0];
        let dense = DenseBlock::new(rows, 4, (0..rows).flat_map(row).collect::<Vec<f64>>()).expect("4 values a row");
        let found = Moments::of_columns(&Block::from(dense.to_csr().expect("four columns")), ALL);
        let exact = |values: Vec<f64>| {
            // Integers: sums and squares are exact, and so is n Σx² − (Σx)².
            let (sum, squares): (f64, f64) = (values.iter().sum(), values.iter().map(|x| x * x).sum());
            (rows as f64 * squares - sum * sum) / rows as f64
        };
        let expected = [exact((0..rows).map(|i| row(i)[0]).collect()), exact((0..rows).map(rest).collect())];
        for (x, y) in found.squares.iter().zip(expected) {
            // A thousand additions of squares, each rounded, and at most two bits for a difference.
            assert!((x - y).abs() <= 1000.0 * f64::EPSILON * y, "{x} {y}");
        }
        // The mean of equal values is rounded once, and so each distance from it; the correction takes that back.
        assert!(found.squares[2] <= 1000.0 * (f64::EPSILON * 0.1f64).powi(2));
        assert_eq!((found.squares[3], found.nnz[3], found.nnz[1]), (0.0, 0, 1000));
    }

    #[test]
    fn values_that_are_not_finite_spoil_their_own_column_of_a_csr_block_only() {
        let dense = DenseBlock::new(2, 3, vec![f64::NAN, f64::INFINITY, 1.0, 1.0, 1.0, 3.0]).expect("six values");
        let found = Moments::of_columns(&Block::from(dense.to_csr().expect("three columns")), ALL);
        assert!(found.sums[0].value().is_nan() && found.squares[0].is_nan() && found.squares[1].is_nan());
        assert_eq!((found.sums[1].value(), found.sums[2].value(), found.squares[2]), (f64::INFINITY, 4.0, 2.0));
    }

    #[test]
    fn every_dtype_has_moments() {
        for dtype in DType::ALL {
            let block = Block::from(DenseBlock::new(1, 4, vec![1u8, 0, 1, 0]).expect("four values")).cast(dtype);
            let moments = Moments::of_whole(&block, ALL);
            assert_eq!((moments.sums[0].value(), moments.squares[0], moments.nnz[0]), (2.0, 1.0, 2));
        }
    }
}
