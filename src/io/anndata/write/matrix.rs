//! Matrices, which may be larger than memory: dense ones as an array, CSR ones as three.
//!
//! A CSR matrix is written in two phases, as the place of a row's values depends on all rows before it:
//!
//! ```text
//! 1  how many values each row stores       from the headers where they tell, else a pass over the matrix
//!    their running sums                    indptr: where each row's values begin
//! 2  blocks, on all lanes                  data and indices, each block at its place
//! ```
//! The headers are not believed: a block that has another number of values than they say ends the attempt, and the file
//! is begun anew with a pass that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::feed::Feed;
use super::{Job, encoding};
use crate::array::{Array, Block, BlockInfo, BlockKind, DType, Values, Working};
use crate::error::{Error, Result};
use crate::io::tree::{Attribute, NewArray};
use crate::runtime::TaskContext;

/// A chunk of a dense matrix has about so many bytes.
const CHUNK_BYTES: u64 = 1 << 20;

impl Job<'_> {
    /// Writes a matrix under a path, in the kind that was asked for.
    pub(super) fn matrix(&self, path: &str, array: &Array) -> Result<()> {
        let array = match self.options.kind {
            Some(BlockKind::Dense) => array.to_dense(),
            Some(BlockKind::Csr) => array.to_csr()?,
            None => array.clone(),
        };
        self.matrix_as_is(path, &array)
    }

    /// Writes a matrix under a path.
    pub(super) fn matrix_as_is(&self, path: &str, array: &Array) -> Result<()> {
        let cut = array.col_cuts().is_some_and(|cuts| cuts.n_runs() > 1);
        let whole = if cut { array.clone().with_auto_blocks() } else { array.clone() }.whole_rows();
        match array.kind() {
            BlockKind::Dense => self.dense(path, &whole),
            BlockKind::Csr => self.csr(path, &whole),
        }
    }

    fn dense(&self, path: &str, array: &Array) -> Result<()> {
        let (rows, cols) = array.shape();
        let row_bytes = (cols * array.dtype().size_of() as u64).max(1);
        let chunk_rows = self.options.chunk_rows.unwrap_or(CHUNK_BYTES / row_bytes).clamp(1, rows.max(1));
        let attributes = encoding("array", "0.2.0");
        let new = NewArray {
            path,
            shape: vec![rows, cols],
            dtype: array.dtype(),
            chunk_rows,
            compression: self.options.compression,
            attributes,
        };
        let feed = Feed::new(self.writer.array(&new)?, rows * cols, chunk_rows * cols);
        let fixed = feed.scratch_bytes(array.dtype().size_of() as u64);
        let add = move |block: Block, info: BlockInfo, _: &TaskContext| {
            let values = block.values();
            feed.add(info.row_offset * cols, values.len() as u64, |part| values.slice(part))?;
            block.check()
        };
        if rows * cols > 0 {
            let working = Working { fixed, per_row: 0, kept: 0 };
            array.map_block_results(
                self.cluster,
                format!("write {path}"),
                working,
                add,
                self.options.progress.clone(),
            )?;
        }
        Ok(())
    }

    fn csr(&self, path: &str, array: &Array) -> Result<()> {
        let counts = if self.believing { array.stored_by_row()? } else { None };
        let indptr = Arc::new(running_sums(match counts {
            Some(counts) => counts,
            None => self.count(path, array)?,
        }));
        let nnz = indptr.last().copied().unwrap_or(0);
        let (rows, cols) = array.shape();
        let mut attributes = encoding("csr_matrix", "0.1.0");
        attributes.insert("shape".into(), Attribute::Integers(vec![rows as i64, cols as i64]));
        self.writer.group(path, attributes)?;
        let offsets = if i32::try_from(nnz).is_ok() {
            Values::from(indptr.iter().map(|sum| *sum as i32).collect::<Vec<_>>())
        } else {
            Values::from(indptr.iter().map(|sum| *sum as i64).collect::<Vec<_>>())
        };
        let plain = encoding("array", "0.2.0");
        self.writer.numbers(&format!("{path}/indptr"), &[rows + 1], &offsets, plain)?;
        drop(offsets);
        let is_wide = i32::try_from(cols).is_err();
        let index = if is_wide { DType::I64 } else { DType::I32 };
        let data = self.vector(&format!("{path}/data"), nnz, array.dtype())?;
        let indices = self.vector(&format!("{path}/indices"), nnz, index)?;
        let fixed = data.scratch_bytes(array.dtype().size_of() as u64) + indices.scratch_bytes(index.size_of() as u64);
        let miscounted = self.miscounted.clone();
        let add = move |block: Block, info: BlockInfo, context: &TaskContext| {
            let block = block.into_csr()?;
            let first = info.row_offset as usize;
            let start = indptr[first];
            check_counts(&indptr[first..=first + block.rows], &block.indptr, &miscounted)?;
            let n = block.nnz() as u64;
            data.add(start, n, |part| block.values.slice(part))?;
            context.check()?;
            indices.add(start, n, |part| match is_wide {
                true => Values::from(block.indices[part].iter().map(|col| i64::from(*col)).collect::<Vec<_>>()),
                false => Values::from(block.indices[part].iter().map(|col| *col as i32).collect::<Vec<_>>()),
            })?;
            Block::from(block).check()
        };
        let working = Working { fixed, per_row: 0, kept: 0 };
        array.map_block_results(self.cluster, format!("write {path}"), working, add, self.options.progress.clone())?;
        Ok(())
    }

    /// Creates an array of one dimension, to be fed.
    fn vector(&self, path: &str, len: u64, dtype: DType) -> Result<Feed> {
        let chunk_rows = self.options.chunk_values.clamp(1, len.max(1));
        let (compression, attributes) = (self.options.compression, encoding("array", "0.2.0"));
        let new = NewArray { path, shape: vec![len], dtype, chunk_rows, compression, attributes };
        Ok(Feed::new(self.writer.array(&new)?, len, chunk_rows))
    }

    /// Counts the stored values of each row, in a pass over the matrix.
    fn count(&self, path: &str, array: &Array) -> Result<Vec<u64>> {
        let count = |block: Block, _: BlockInfo, _: &TaskContext| {
            let block = block.into_csr()?;
            Ok(block.indptr.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<u64>>())
        };
        let working = Working { fixed: 0, per_row: 8, kept: 0 };
        Ok(array.map_block_results(self.cluster, format!("count {path}"), working, count, None)?.concat())
    }
}

/// Returns where each row begins, and where the last one ends.
fn running_sums(counts: Vec<u64>) -> Vec<u64> {
    let mut sum = 0;
    let next = |n: u64| {
        sum += n;
        sum
    };
    std::iter::once(0).chain(counts.into_iter().map(next)).collect()
}

/// Compares where the rows of a block were expected with where they are.
fn check_counts(expected: &[u64], found: &[u64], miscounted: &AtomicBool) -> Result<()> {
    let same = |(expected_sum, found_sum): (&u64, &u64)| expected_sum - expected[0] == found_sum - found[0];
    if expected.iter().zip(found).all(same) {
        return Ok(());
    }
    miscounted.store(true, Ordering::Relaxed);
    let n = |sums: &[u64]| sums.last().zip(sums.first()).map_or(0, |(last, first)| last - first).to_string();
    Err(Error::bad_argument(
        "write a matrix",
        "stored values of a block",
        n(found),
        format!("{}, as before", n(expected)),
    ))
}
