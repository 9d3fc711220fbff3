//! What the tests of this folder share: a task's context, the real files, and sums to compare with.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::array::{Block, Source};
use crate::bytes::ByteSize;
use crate::error::{Error, Result};
use crate::runtime::{Blocks, Cluster, TaskContext};

/// Runs the function as a task and returns what it returns.
pub(crate) fn in_a_task<T: Send + 'static>(work: impl FnOnce(&TaskContext) -> T + Send + 'static) -> T {
    let cluster = Cluster::builder().workers(1).allowance(ByteSize(256 << 20)).build().expect("a small cluster");
    let blocks = Blocks { n: 1, projected_bytes: 1 << 20, ..Blocks::named("test") };
    let work = Mutex::new(Some(work));
    let run = move |_: usize, context: &TaskContext| {
        let work = work.lock().expect("no task panicked before").take().expect("one block runs once");
        Ok(work(context))
    };
    cluster.map_blocks(&blocks, run).expect("the task returns").pop().expect("one block has one result")
}

/// Reads some rows inside a task.
pub(crate) fn read(source: &Arc<dyn Source>, rows: Range<u64>) -> Result<Block> {
    let source = Arc::clone(source);
    in_a_task(move |context| source.read_rows(rows, context))
}

/// Returns the path of a real input, or says that it is missing.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// Returns the block's values, row-major, zeros filled in: the slow, obvious version.
pub(crate) fn dense_values(block: &Block) -> Vec<f64> {
    match block {
        Block::Dense(dense) => dense.values.to_vec(),
        Block::Csr(csr) => {
            let (mut all, values) = (vec![0.0; csr.rows * csr.cols], csr.values.to_vec::<f64>());
            for row in 0..csr.rows {
                for at in csr.indptr[row] as usize..csr.indptr[row + 1] as usize {
                    all[row * csr.cols + csr.indices[at] as usize] += values[at];
                }
            }
            all
        }
    }
}

/// Sums that give away a value in the wrong place: of all values, of squares, and weighted by row and by column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sums {
    pub(crate) sum: f64,
    pub(crate) squares: f64,
    pub(crate) by_row: f64,
    pub(crate) by_col: f64,
}

impl Sums {
    /// Reads the source in blocks of `step` rows and sums.
    pub(crate) fn of(source: &Arc<dyn Source>, step: u64) -> Result<Sums> {
        let source = Arc::clone(source);
        in_a_task(move |context| {
            let mut sums = Sums { sum: 0.0, squares: 0.0, by_row: 0.0, by_col: 0.0 };
            let (rows, cols) = source.shape();
            let mut start = 0;
            while start < rows {
                let end = rows.min(start + step);
                sums.add(&dense_values(&source.read_rows(start..end, context)?), start, cols as usize);
                start = end;
            }
            Ok(sums)
        })
    }

    fn add(&mut self, values: &[f64], start: u64, cols: usize) {
        for (row, line) in values.chunks(cols).enumerate() {
            for (col, x) in line.iter().enumerate() {
                self.sum += x;
                self.squares += x * x;
                self.by_row += x * (1.0 + start as f64 + row as f64);
                self.by_col += x * (1.0 + col as f64);
            }
        }
    }

    /// Asserts equality but for the rounding of sums in another order.
    pub(crate) fn assert_near(&self, expected: [f64; 4], what: &str) {
        let found = [self.sum, self.squares, self.by_row, self.by_col];
        for (x, y) in found.iter().zip(expected) {
            // 10^7 float64 additions whose rounding errors are random walk: 1e-16 * sqrt(1e7), with room.
            assert!((x - y).abs() <= 1e-10 * y.abs().max(1.0), "{what}: {found:?} but {expected:?}");
        }
    }
}

/// A stream of damages: the same for the same seed, so that a failure's number replays it.
pub(crate) struct Damage(u64);

impl Damage {
    pub(crate) fn seeded(seed: u64) -> Self {
        Damage(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Returns a number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n
    }

    /// Damages one to three places: a flipped bit, another byte, or a run that reads as a huge or a zero length.
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let run = &mut bytes[at..];
            match self.below(5) {
                0 | 1 => run[0] ^= 1 << self.below(8),
                2 => run[0] = self.below(256) as u8,
                3 => run.iter_mut().take(1 + self.below(8)).for_each(|byte| *byte = 0xff),
                _ => run.iter_mut().take(1 + self.below(8)).for_each(|byte| *byte = 0),
            }
        }
    }
}

/// Asserts that an error is one that a damaged file may give: typed, one line, and naming the file.
pub(crate) fn assert_names_the_file(error: &Error, file: &str, what: &str) {
    let typed = matches!(error, Error::BadInput { .. } | Error::Unsupported { .. } | Error::Io { .. });
    let text = error.to_string();
    assert!(typed && text.contains(file) && !text.contains('\n'), "{what}: {text}");
}
