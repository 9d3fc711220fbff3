//! SVD of a random tall-and-skinny matrix, against what this machine's own GEMM would need for the same arithmetic,
//! both measured in this run; and the gram kernel against GEMM.
//!
//! `cargo bench --bench svd -- 2000000x100 10000` (shape, rows of a block; by default 200000x100 and 10000).

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use allotment::Cluster;
use allotment::array::random;
use allotment::linalg::{SvdOptions, gemm, gram_upper, svd};
use nalgebra::DMatrix;

fn main() -> allotment::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (rows, cols) = arguments.first().map_or((200_000, 100), |shape| parse_shape(shape));
    let chunk_rows = arguments.get(1).map_or(10_000, |rows| rows.parse().expect("rows of a block, a number"));
    let cluster = Cluster::builder().allowance("64MiB".parse()?).workers(2).build()?;
    let lanes = cluster.lanes();

    let one = gemm_gflops();
    let together = on_threads(lanes, gemm_gflops);
    println!("gemm 1000^3: {one:.1} GFLOP/s on one thread, {together:.1} on {lanes}");
    let gram = gram_gflops(cols as usize);
    println!("gram {GRAM_ROWS}x{cols}: {gram:.1} GFLOP/s, {:.2} of gemm", gram / one);

    // R takes 2 m n² operations; U, AᵀU and the gram of U another 5 m n².
    let operations = 7.0 * rows as f64 * (cols as f64).powi(2);
    let peak = Arc::new(AtomicU64::new(0));
    let seen = peak.clone();
    let progress: allotment::runtime::Progress = Arc::new(move |_, _| {
        seen.fetch_max(anonymous_kib(), Ordering::Relaxed);
    });
    let a = random::uniform(rows, cols, 1, chunk_rows);
    let draw = seconds(|| a.reduce_blocks(&cluster, "draw", 8, |_, _, _| Ok(()), |(), ()| Ok(()), None).map(|_| ()))?;
    let options = SvdOptions { progress: Some(progress), ..Default::default() };
    let start = Instant::now();
    let found = svd(&cluster, &a, &options)?;
    let seconds = start.elapsed().as_secs_f64();

    let floor = operations / (together * 1e9);
    let worst = found.residuals.iter().copied().fold(0.0, f64::max);
    println!(
        "svd {rows}x{cols}, {chunk_rows} rows a block: {seconds:.2} s, of which drawing twice {:.2} s",
        2.0 * draw
    );
    println!("  gemm needs {floor:.2} s for {:.1} GFLOP: ratio {:.2}", operations / 1e9, seconds / floor);
    println!("  ratio without drawing {:.2}", (seconds - 2.0 * draw) / floor);
    println!("  peak anonymous {:.1} MiB at an allowance of 64 MiB", peak.load(Ordering::Relaxed) as f64 / 1024.0);
    println!("  residual {worst:.1e}, orthogonality {:.1e}", found.orthogonality);
    println!("  s[0] {:.3}, s[1] {:.3}", found.s[0], found.s[1]);
    Ok(())
}

const GRAM_ROWS: usize = 10_000;

fn parse_shape(text: &str) -> (u64, u64) {
    let parts = text.split_once('x').and_then(|(rows, cols)| Some((rows.parse().ok()?, cols.parse().ok()?)));
    parts.expect("a shape such as 2000000x100")
}

fn seconds(work: impl FnOnce() -> allotment::Result<()>) -> allotment::Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The best of several runs: others use the machine too.
fn best_seconds(mut work: impl FnMut()) -> f64 {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..9).map(|_| time(&mut work)).fold(f64::INFINITY, f64::min)
}

fn gemm_gflops() -> f64 {
    let n = 1000;
    let a = DMatrix::from_fn(n, n, |i, j| (i * 7 + j * 3) as f64 % 11.0);
    2.0 * (n as f64).powi(3) / best_seconds(|| drop(black_box(gemm(&a, &a)))) / 1e9
}

/// Counting the half that is computed: n² operations a row.
fn gram_gflops(cols: usize) -> f64 {
    let rows: Vec<f64> = (0..GRAM_ROWS * cols).map(|i| (i % 13) as f64).collect();
    let mut acc = DMatrix::zeros(cols, cols);
    let best = best_seconds(|| {
        for tile in rows.chunks(512 * cols) {
            gram_upper(tile, tile.len() / cols, cols, &mut acc).expect("the sizes meet");
        }
    });
    black_box(&acc);
    GRAM_ROWS as f64 * (cols as f64).powi(2) / best / 1e9
}

/// The sum of what so many threads reach at once.
fn on_threads(n: usize, measure: impl Fn() -> f64 + Send + Sync) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n).map(|_| scope.spawn(&measure)).collect();
        threads.into_iter().map(|thread| thread.join().expect("the measurement does not panic")).sum()
    })
}

/// Anonymous memory of this process; zero where the system does not tell.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
