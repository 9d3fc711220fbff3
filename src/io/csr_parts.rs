//! The three vectors of a CSR block as a file has them: rows in any order within, places perhaps more than once.
//!
//! A [`CsrBlock`]'s columns ascend strictly in each row. Rows that do not are sorted, and values at one place are summed in
//! the order in which they are stored, as SciPy does.

use crate::array::{Buffer, CsrBlock, Values};

/// The three vectors of a block, not yet in order.
pub(super) struct CsrParts {
    pub(super) indptr: Vec<u64>,
    pub(super) indices: Vec<u32>,
    pub(super) values: Values,
}

impl CsrParts {
    /// Sorts each row and sums values at one place.
    ///
    /// # Errors
    /// The row whose sum its dtype does not hold, counted from the first of these.
    pub(super) fn into_sorted(mut self, rows: usize, cols: usize) -> std::result::Result<CsrBlock, usize> {
        let ascending = |row: &[u32]| row.windows(2).all(|pair| pair[0] < pair[1]);
        let sorted = self.indptr.windows(2).all(|b| ascending(&self.indices[b[0] as usize..b[1] as usize]));
        if !sorted {
            macro_rules! by_type {
                ($(($variant:ident, $add:expr)),*) => {
                    match &mut self.values {
                        $(Values::$variant(Buffer::Owned(values)) =>
                            sort_rows(&mut self.indptr, &mut self.indices, values, $add)?,)*
                        _ => unreachable!("values were just read into owned memory"),
                    }
                };
            }
            by_type!(
                (Bool, |x, y| Some(x | y)),
                (U8, u8::checked_add),
                (U16, u16::checked_add),
                (U32, u32::checked_add),
                (U64, u64::checked_add),
                (I8, i8::checked_add),
                (I16, i16::checked_add),
                (I32, i32::checked_add),
                (I64, i64::checked_add),
                (F32, |x, y| Some(x + y)),
                (F64, |x, y| Some(x + y))
            );
        }
        let (indptr, indices) = (Buffer::Owned(self.indptr), Buffer::Owned(self.indices));
        Ok(CsrBlock { rows, cols, indptr, indices, values: self.values })
    }
}

/// Sorts the rows in place; what is summed moves the rest forward.
fn sort_rows<T: Copy>(
    indptr: &mut [u64],
    indices: &mut Vec<u32>,
    values: &mut Vec<T>,
    add: impl Fn(T, T) -> Option<T>,
) -> std::result::Result<(), usize> {
    let (mut end, mut start) = (0, 0);
    let mut row: Vec<(u32, T)> = Vec::new();
    for (row_number, offset) in indptr.iter_mut().skip(1).enumerate() {
        let stop = *offset as usize;
        row.clear();
        row.extend(indices[start..stop].iter().copied().zip(values[start..stop].iter().copied()));
        // Stable: values at one place are added in the order in which they are stored.
        row.sort_by_key(|&(index, _)| index);
        let first = end;
        for &(index, value) in &row {
            if end > first && indices[end - 1] == index {
                values[end - 1] = add(values[end - 1], value).ok_or(row_number)?;
            } else {
                (indices[end], values[end]) = (index, value);
                end += 1;
            }
        }
        start = stop;
        *offset = end as u64;
    }
    indices.truncate(end);
    values.truncate(end);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_and_any_duplicates_give_the_matrix_that_adding_gives() {
        // A small generator of its own: the seed is the case's number, so that a failure names it.
        for seed in 0..500u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = move |n: u64| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) % n
            };
            let (rows, cols) = (next(6) as usize, 1 + next(5) as usize);
            let (mut indptr, mut indices, mut data) = (vec![0], Vec::new(), Vec::new());
            let mut dense = vec![0i64; rows * cols];
            for row in 0..rows {
                for _ in 0..next(7) {
                    let (col, value) = (next(cols as u64), next(100) as i64 - 50);
                    dense[row * cols + col as usize] += value;
                    indices.push(col as u32);
                    data.push(value);
                }
                indptr.push(indices.len() as u64);
            }
            let parts = CsrParts { indptr, indices, values: Values::I64(Buffer::Owned(data)) };
            let block = parts.into_sorted(rows, cols).expect("sums of a few small numbers");
            for bounds in block.indptr.windows(2) {
                let row = &block.indices[bounds[0] as usize..bounds[1] as usize];
                assert!(row.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {row:?}");
            }
            let expected: Vec<f64> = dense.into_iter().map(|x| x as f64).collect();
            assert_eq!(crate::io::testing::dense_values(&crate::array::Block::Csr(block)), expected, "seed {seed}");
        }
    }

    #[test]
    fn a_sum_that_its_dtype_does_not_hold_names_its_row() {
        let values = Values::U8(Buffer::Owned(vec![1, 200, 100]));
        let parts = CsrParts { indptr: vec![0, 1, 3], indices: vec![0, 0, 0], values };
        assert_eq!(parts.into_sorted(2, 1).map(|_| ()), Err(1));
    }
}
