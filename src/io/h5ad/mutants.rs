//! Damaged files: each real one cut at every 64th of its length, and thousands of seeded damages.
//!
//! What comes out must be a typed error that names the file, or blocks that are whole: of the stated shape, with
//! columns in range and in order. (A flipped bit in an uncompressed value is a sound file with another value.)

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::array::{Block, Source};
use crate::io::testing::{Damage, assert_names_the_file, in_a_task, real};
use crate::runtime::TaskContext;

/// What became of the damaged files.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    read: usize,
    refused: usize,
    library_panics: usize,
    slowest: Duration,
}

/// A file cannot be so damaged that reading it takes longer; a sound one of these takes some milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

impl Tally {
    /// Opens the file and reads all of it.
    fn add(&mut self, path: &Path, what: &str, context: &TaskContext) {
        let start = Instant::now();
        let outcome = read_all(path, what, context);
        self.slowest = self.slowest.max(start.elapsed());
        self.cases += 1;
        match outcome {
            Ok(()) => self.read += 1,
            Err(error) => {
                assert_names_the_file(&error, "x.h5ad", what);
                self.library_panics += usize::from(error.to_string().contains("panicked"));
                self.refused += 1;
            }
        }
        assert!(start.elapsed() < LONGEST, "{what} took {:?}", start.elapsed());
        // Three times what the file can hold: stored, decoded, and as strings; the rest is for tests that run beside.
        let most = File::open(&Input::open(path).expect("it was just written")).map_or(0, |file| file.most_bytes());
        assert!(peak_bytes() < 3 * most + (1 << 30), "{what}: {} bytes resident", peak_bytes());
    }
}

/// Reads the matrix in three blocks, the names and all columns; the first error of the matrix ends it.
fn read_all(path: &Path, what: &str, context: &TaskContext) -> Result<()> {
    let cells = open(path)?;
    for frame in [&cells.obs, &cells.var] {
        let names = frame.row_names().map(|names| names.len());
        let columns = frame.columns().iter().map(|name| frame.column(name).map(|column| column.len()));
        for len in columns.chain([names]) {
            match len {
                Ok(len) => assert_eq!(len as u64, frame.len(), "{what}"),
                Err(error) => assert_names_the_file(&error, "x.h5ad", what),
            }
        }
    }
    let tree = tree(path)?;
    let source: Arc<dyn Source> = match &tenx::h5::groups(&*tree)?[..] {
        [] => anndata::source(&tree, "X")?,
        groups => Arc::new(tenx::h5::source(&tree, &groups[0])?),
    };
    let (rows, cols) = source.shape();
    let step = rows.div_ceil(3).max(1);
    for start in (0..rows).step_by(step as usize) {
        let rows = start..rows.min(start + step);
        let block = source.read_rows(rows.clone(), context)?;
        assert_eq!(block.shape(), ((rows.end - rows.start) as usize, cols as usize), "{what}");
        if let Block::Csr(csr) = &block {
            assert_eq!(csr.indptr[csr.rows], csr.nnz() as u64, "{what}");
            let sound = |row: &[u32]| row.is_sorted_by(|a, b| a < b) && row.iter().all(|&col| u64::from(col) < cols);
            assert!((0..csr.rows).all(|row| sound(&csr.indices[csr.row(row)])), "{what}");
        }
    }
    Ok(())
}

/// Returns the most memory that this process ever held.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib << 10
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

/// The real files and those of every layout, small ones first: a peak that a small one must not reach is seen.
fn files() -> Vec<PathBuf> {
    let names = ["pbmc3k_raw", "pbmc_5k_protein_lzf", "pbmc68k_reduced", "pbmc68k_reduced_v0.5", "neurons10k_csr_u16"];
    let more = ["pbmc68k_reduced_csr", "pbmc68k_counts_csr", "anndata_v0.7.8/adata"];
    let real_files = names.iter().chain(&more).filter_map(|name| real(&format!("singlecell/{name}.h5ad")));
    let fixtures = ["columns.h5ad", "matrices_earliest.h5ad", "matrices_latest.h5ad"].map(fixture);
    let mut files: Vec<PathBuf> = real_files.chain(fixtures).chain(real("singlecell/tenx_v3_small.h5")).collect();
    files.sort_by_key(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
    files
}

#[test]
fn files_cut_at_every_64th_are_refused_or_whole() {
    let tally = in_a_task(|context| {
        let mut tally = Tally::default();
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("x.h5ad");
        for original in files() {
            let whole = std::fs::read(&original).expect("read");
            for part in 0..64 {
                let length = whole.len() * part / 64;
                std::fs::write(&path, &whole[..length]).expect("write");
                tally.add(&path, &format!("{} cut at {length}", original.display()), context);
            }
            std::fs::write(&path, &whole).expect("write");
            assert!(read_all(&path, "the whole file", context).is_ok(), "{}", original.display());
        }
        tally
    });
    println!("{tally:?}");
    assert!(tally.refused > tally.cases / 2, "most of a file is needed: {tally:?}");
}

#[test]
fn seeded_damage_is_refused_or_leaves_whole_blocks() {
    let tally = in_a_task(|context| {
        let mut tally = Tally::default();
        let folder = tempfile::tempdir().expect("a temporary directory");
        let path = folder.path().join("x.h5ad");
        for original in files() {
            let whole = std::fs::read(&original).expect("read");
            // Small files are mostly headers, and quick: there damage hits what matters.
            let cases = if whole.len() < 150_000 { 600 } else { 20_000_000 / whole.len() } as u64;
            for seed in 0..cases {
                let mut bytes = whole.clone();
                let mut damage = Damage::seeded(seed);
                // Half of the damage goes to the first part, where the headers are.
                let end = if seed.is_multiple_of(2) { whole.len() } else { whole.len().min(16 << 10) };
                damage.apply(&mut bytes[..end]);
                let mut file = std::fs::File::create(&path).expect("create");
                file.write_all(&bytes).expect("write");
                tally.add(&path, &format!("{} with damage {seed}", original.display()), context);
            }
        }
        tally
    });
    println!("{tally:?}");
    assert!(tally.cases >= 1500, "{tally:?}");
    assert!(tally.refused > 0 && tally.read > 0, "{tally:?}");
}
