//! A sparse matrix as a file would give it, of any size: counts of genes in cells, made up where they are read.

use std::ops::Range;

use allotment::Result;
use allotment::array::{Block, BlockKind, CsrBlock, DType, Source};
use allotment::runtime::TaskContext;

/// One value in so many is stored.
const SPARSITY: u64 = 10;

/// Cells × genes of `f32` counts, a tenth of them stored, the same in every run.
#[derive(Debug)]
pub(crate) struct Cells {
    rows: u64,
    cols: u64,
}

impl Cells {
    /// Makes a matrix whose CSR blocks take about so many bytes in all: 8 for a value, 8 for a row.
    pub(crate) fn of_bytes(bytes: u64, cols: u64) -> Self {
        Cells { rows: bytes / (cols / SPARSITY * 8 + 8), cols }
    }

    /// Looks random: a multiplicative hash of the place.
    fn hash(row: u64, step: u64) -> u64 {
        let mut x = (row << 8 | step).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^ (x >> 32)
    }
}

impl Source for Cells {
    fn shape(&self) -> (u64, u64) {
        (self.rows, self.cols)
    }

    fn dtype(&self) -> DType {
        DType::F32
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Csr
    }

    fn nnz(&self) -> u64 {
        self.rows * (self.cols / SPARSITY)
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        Ok((rows.end - rows.start) * (self.cols / SPARSITY))
    }

    fn storage_rows(&self) -> u64 {
        1000
    }

    fn scratch_bytes(&self, _rows: Range<u64>) -> Result<u64> {
        Ok(0)
    }

    fn read_rows(&self, rows: Range<u64>, _context: &TaskContext) -> Result<Block> {
        let (n, stored) = ((rows.end - rows.start) as usize, self.cols / SPARSITY);
        let nnz = n * stored as usize;
        let (mut indptr, mut indices) = (Vec::with_capacity(n + 1), Vec::with_capacity(nnz));
        let mut values = Vec::with_capacity(nnz);
        indptr.push(0u64);
        for row in rows {
            for step in 0..stored {
                let hash = Cells::hash(row, step);
                // One gene of each run of ten; cells of three kinds have more of the first, the middle or the last.
                indices.push((step * SPARSITY + hash % SPARSITY) as u32);
                let more = if step * 3 / stored == row % 3 { 9.0 } else { 0.0 };
                values.push(1.0 + (hash >> 40 & 7) as f32 + more);
            }
            indptr.push(indices.len() as u64);
        }
        Ok(CsrBlock::new(n, self.cols as usize, indptr, indices, values)?.into())
    }

    fn name(&self) -> String {
        "made-up cells".into()
    }
}
