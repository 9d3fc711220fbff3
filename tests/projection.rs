//! What a task really allocates stays within what was projected for it: counted by an allocator, byte by byte.
//!
//! Each case runs on a fresh cluster of one worker with one lane, so that one task at a time holds anything. The most that
//! was allocated during the run, less what was there before, must be within the ledger's peak, which is the projected
//! bytes of the largest task, and a slack for what no projection counts. Mapped chunks are no allocations.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Mutex, PoisonError};

use allotment::array::{Array, Binary, Block, BlockKind, BlockMap, CsrBlock, DType, Kernel, Over, Statistic, random};
use allotment::cells::{self, CellLimits, Metric, NormalizeTotal, Scale};
use allotment::linalg::{
    Centre, IncrementalPca, LanczosOptions, LstsqOptions, PcaOptions, PcaSolver, QrOptions, SvdCompressedOptions,
    SvdOptions, eigh_gram, lanczos, lstsq, pca, qr, svd, svd_compressed, tsqr,
};
use allotment::{ByteSize, Cluster, CountingAllocator, Result};
use nalgebra::DMatrix;

/// For what no projection counts: the plan and its futures, messages, a file's name, a few vectors of a number per column.
const SLACK: u64 = 96 << 10;

/// For what no projection of a task counts: the chunk's file and name, messages, the parts of an expression's windows.
const TASK_SLACK: u64 = 16 << 10;

#[global_allocator]
static COUNTING: CountingAllocator = CountingAllocator;

/// One case at a time: the counters are the process'.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `work` on a fresh cluster and compares what was allocated with what was reserved.
fn stays_within_its_projection<T>(what: &str, work: impl Fn(&Cluster) -> Result<T>) {
    stays_within(what, 0, work);
}

/// Does the same for work that brings so many bytes home, which no task answers for.
fn stays_within<T>(what: &str, home: u64, work: impl Fn(&Cluster) -> Result<T>) {
    let cluster = Cluster::builder().allowance(ByteSize(128 << 20)).workers(1).build().unwrap();
    // Once before it counts, for what is made once in a process or once on a lane: the dense kernels keep a workspace of
    // about twice the last cache for each thread that ever used them.
    drop(work(&cluster).unwrap());
    let warm = cluster.runs().pop();
    let before = CountingAllocator::live_bytes();
    CountingAllocator::reset_peak();
    let result = work(&cluster).unwrap();
    let held = CountingAllocator::peak_bytes().saturating_sub(before);
    drop(result);
    let projected = cluster.snapshot().peak_reserved_bytes;
    println!("projection: {what}: {} of {}", ByteSize(held), ByteSize(projected));
    assert!(projected > 0, "{what}: nothing was reserved");
    assert!(held <= projected + home + SLACK, "{what}: {held} bytes were held, {projected} projected");
    // Those after the last of the run that warmed up; all of them, once that has left the history.
    let reports = cluster.runs();
    let first = reports.iter().rposition(|report| Some(report) == warm.as_ref()).map_or(0, |last| last + 1);
    for report in &reports[first..] {
        let peak = report.peak_bytes.unwrap();
        assert!(peak <= report.projected_bytes + home + TASK_SLACK, "{what}: {report}: {peak} bytes");
    }
}

fn alone() -> impl Drop {
    // A case that failed says so itself; the others may still run.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Computes every block and drops it.
fn each_block(cluster: &Cluster, array: &Array) -> Result<usize> {
    Ok(array.map_block_results(cluster, "each", 0, |_, _, _| Ok(()), None)?.len())
}

/// 16 blocks of 1.6 MB.
fn dense() -> Array {
    random::uniform(64_000, 50, 3, 4_000)
}

/// The same shape as CSR, a tenth of it stored.
fn sparse() -> Array {
    let keep_a_tenth = BlockMap::new("keep a tenth", 50, DType::F64, BlockKind::Csr, |block, _| {
        let Block::Dense(mut dense) = block else { unreachable!("random blocks are dense") };
        let rows = dense.rows;
        let kept: Vec<f64> = dense.values.to_vec::<f64>().iter().map(|x| if *x < 0.1 { *x } else { 0.0 }).collect();
        dense.values = kept.into();
        let csr = dense.to_csr()?;
        assert_eq!(csr.rows, rows);
        Ok(csr.into())
    });
    dense().map_blocks(keep_a_tenth.with_bytes_per_row(50 * 8 * 3)).unwrap()
}

#[test]
fn chains_of_operations_stay_within_their_projection() {
    let _alone = alone();
    let maker = Cluster::builder().allowance(ByteSize(128 << 20)).workers(1).build().unwrap();
    for (kind, x) in [("dense", dense()), ("csr", sparse().persist(&maker).unwrap())] {
        let factors: Vec<f64> = (0..50).map(f64::from).collect();
        let chains = [
            ("as it is", x.clone()),
            ("square", x.square()),
            ("normalise, log1p", x.normalize_rows(1e4).log1p()),
            ("scale columns", x.scale_cols(&factors).unwrap()),
            ("float32", x.astype(DType::F32)),
            ("float32, log1p, float64", x.astype(DType::F32).log1p().astype(DType::F64)),
            ("to the other kind", if kind == "csr" { x.to_dense() } else { x.to_csr().unwrap() }),
            ("some columns", x.select_columns((0..50).step_by(3).collect::<Vec<u64>>()).unwrap()),
            ("some rows", x.select_rows(1_000..50_000).unwrap()),
            ("a product", x.matmul(&DMatrix::from_element(50, 7, 0.5)).unwrap()),
            ("a product of float32", x.astype(DType::F32).matmul(&DMatrix::from_element(50, 60, 0.5)).unwrap()),
            ("other blocks", x.clone().with_block_rows(3_333)),
            ("blocks of columns", x.clone().rechunk(5_000, 20)),
            ("every other row", x.select_rows((0..64_000).step_by(2).collect::<Vec<u64>>()).unwrap()),
            ("rows far apart", x.select_rows((1..660).map(|i| 64_000 - 97 * i).collect::<Vec<u64>>()).unwrap()),
            ("a sum of two", x.add(x.square()).unwrap()),
            ("a product of two", x.multiply(&x).unwrap()),
            ("a product with itself as float32", x.multiply(x.astype(DType::F32)).unwrap()),
            ("less a row", x.subtract(Array::from_slice(1, 50, &factors).unwrap()).unwrap()),
            ("where it is large", x.greater(0.05).unwrap()),
            ("transposed", x.transpose()),
            ("a transposed chain", x.transpose().square().astype(DType::F32)),
            ("one below the other", Array::vstack(&[x.clone(), x.clone()]).unwrap().with_block_rows(5_500)),
            ("beside each other", Array::hstack(&[x.clone(), x.clone()]).unwrap()),
            ("a product of arrays", x.dot(&random::uniform(50, 9, 1, None)).unwrap()),
            (
                "a product with a transposed array",
                x.select_rows(0..300)
                    .unwrap()
                    .dot(&x.transpose())
                    .unwrap()
                    .rechunk(300, 800)
                    .select_columns(0..1600)
                    .unwrap(),
            ),
            ("a transposed product", x.transpose().dot(&x).unwrap()),
        ];
        for (name, chain) in chains {
            // A chunk that is only mapped reserves nothing and needs nothing.
            if chain.plan(&maker).unwrap().projected_bytes > 0 {
                stays_within_its_projection(&format!("{kind}, {name}"), |cluster| each_block(cluster, &chain));
            }
        }
    }
}

#[test]
fn every_kernel_stays_within_its_projection() {
    let _alone = alone();
    let maker = Cluster::builder().allowance(ByteSize(128 << 20)).workers(1).build().unwrap();
    let (by_row, by_col): (Vec<f64>, Vec<f64>) =
        ((0..64_000).map(f64::from).collect(), (0..50).map(f64::from).collect());
    let plain = [Kernel::Log1p, Kernel::Expm1, Kernel::Exp, Kernel::Sqrt, Kernel::Abs, Kernel::Negate, Kernel::Square];
    let more = [Kernel::Ln, Kernel::Log2, Kernel::Log10, Kernel::Sin, Kernel::Cos, Kernel::Tan, Kernel::Tanh];
    let rounding = [Kernel::Floor, Kernel::Ceil, Kernel::Round, Kernel::Sign, Kernel::Reciprocal];
    let numbers = [Kernel::Scale(2.0), Kernel::Add(1.0), Kernel::Power(1.5), Kernel::Clip(0.0, 0.5)];
    let lines = [Kernel::ScaleRows(by_row.into()), Kernel::ScaleCols(by_col.into()), Kernel::NormalizeRows(1e4)];
    let kernels: Vec<&Kernel> = plain.iter().chain(&more).chain(&rounding).chain(&numbers).chain(&lines).collect();
    for (kind, x) in [("dense", dense()), ("csr", sparse().persist(&maker).unwrap())] {
        for kernel in kernels.iter().filter(|kernel| kind == "dense" || kernel.keeps_zeros()) {
            let chain = x.apply((*kernel).clone()).unwrap();
            stays_within_its_projection(&format!("{kind}, {}", kernel.name()), |cluster| each_block(cluster, &chain));
        }
    }
}

#[test]
fn every_function_of_two_arrays_stays_within_its_projection() {
    use Binary::*;
    let _alone = alone();
    let maker = Cluster::builder().allowance(ByteSize(128 << 20)).workers(1).build().unwrap();
    let row = Array::from_slice(1, 50, &[0.5; 50]).unwrap();
    let column = Array::from_slice(64_000, 1, &vec![0.5; 64_000]).unwrap();
    let counts = random::integers(64_000, 50, 0, 9, 5, 4_000).unwrap().astype(DType::U16);
    let two = [Add, Subtract, Multiply, Divide, Power, Minimum, Maximum];
    let truth = [Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual, LogicalAnd, LogicalOr];
    for (kind, x) in [("dense", dense()), ("csr", sparse().persist(&maker).unwrap())] {
        for op in two.iter().chain(&truth) {
            for (other, side) in [("itself", &x), ("a row", &row), ("a column", &column), ("counts", &counts)] {
                // What would fill a CSR array is refused when it is asked for.
                let Ok(chain) = x.binary(*op, side.clone()) else { continue };
                let what = format!("{kind}, {op:?} with {other}");
                stays_within_its_projection(&what, |cluster| each_block(cluster, &chain));
            }
        }
    }
}

#[test]
fn random_numbers_and_matrices_in_memory_stay_within_their_projection() {
    let _alone = alone();
    let block = dense().select_rows(0..8_000).unwrap().compute(&Cluster::local().unwrap()).unwrap();
    let memory = Array::from_block(block.clone()).with_block_rows(1_000);
    let csr = Array::from_block(block).to_csr().unwrap().with_block_rows(1_000);
    let cases = [
        ("normal", random::normal(64_000, 50, 3, 4_000)),
        ("integers", random::integers(64_000, 50, -5, 1 << 40, 3, 4_000).unwrap()),
        ("integers as bytes", random::integers(64_000, 50, 0, 9, 3, 4_000).unwrap().astype(DType::U8)),
        ("zeros", Array::zeros(64_000, 50, DType::F32, BlockKind::Dense).unwrap().with_block_rows(4_000)),
        ("zeros as csr", Array::zeros(64_000, 50, DType::F32, BlockKind::Csr).unwrap().with_block_rows(4_000)),
        ("in memory", memory.square()),
        ("in memory, some columns", memory.rechunk(700, 30).square()),
        ("in memory as csr", csr.square()),
    ];
    for (name, x) in cases {
        stays_within_its_projection(name, |cluster| each_block(cluster, &x));
    }
}

#[test]
fn reading_a_file_stays_within_its_projection() {
    let _alone = alone();
    for name in ["neurons10k_csr_u16.h5ad", "pbmc68k_reduced.h5ad"] {
        let path = format!("{}/bench-data/{name}", env!("CARGO_MANIFEST_DIR"));
        let x = allotment::io::open(&path).unwrap().x().clone();
        stays_within_its_projection(name, |cluster| each_block(cluster, &x));
        stays_within_its_projection(&format!("{name}, log1p"), |cluster| each_block(cluster, &x.log1p()));
    }
}

#[test]
fn writing_chunks_stays_within_its_projection() {
    let _alone = alone();
    stays_within_its_projection("persist dense", |cluster| dense().persist(cluster));
    stays_within_its_projection("persist csr", |cluster| sparse().persist(cluster));
}

#[test]
fn operations_on_cells_stay_within_their_projection() {
    let _alone = alone();
    let maker = Cluster::builder().allowance(ByteSize(128 << 20)).workers(1).build().unwrap();
    // Numbers for each cell come home, while they are appended and as they are: sums, counts, and those kept.
    const BY_ROW: u64 = 64_000 * 160;
    let limits = CellLimits { min_genes: Some(3), ..Default::default() };
    for (kind, x) in [("dense", dense()), ("csr", sparse().persist(&maker).unwrap())] {
        let what = |name: &str| format!("{name} of {kind}");
        stays_within(&what("filter_cells"), BY_ROW, |cluster| cells::filter_cells(cluster, &x, &limits));
        stays_within(&what("normalize_total"), BY_ROW, |cluster| {
            let options = NormalizeTotal { exclude_highly_expressed: true, ..Default::default() };
            each_block(cluster, &cells::normalize_total_with(cluster, &x, &options)?)
        });
        stays_within_its_projection(&what("scale"), |cluster| {
            let options = Scale { max_value: Some(2.0), ..Default::default() };
            each_block(cluster, &cells::scale(cluster, &x, &options)?.x)
        });
    }
    let few = random::normal(3_000, 50, 5, None);
    for metric in [Metric::Euclidean, Metric::Cosine] {
        stays_within_its_projection(metric.name(), |cluster| cells::knn(cluster, &few, 14, metric, None));
    }
}

#[test]
fn statistics_stay_within_their_projection() {
    let _alone = alone();
    let moments = [
        Statistic::Sum,
        Statistic::Mean,
        Statistic::Var { ddof: 1 },
        Statistic::Std { ddof: 0 },
        Statistic::CountNonzero,
    ];
    let ends = [Statistic::Min, Statistic::Max, Statistic::ArgMin, Statistic::ArgMax, Statistic::Nnz];
    let truth = [Statistic::Any, Statistic::All];
    let quantiles = [Statistic::Median, Statistic::Quantile(0.25), Statistic::Quantile(0.75)];
    // As many values, wide enough for partials to count.
    let wide = || random::uniform(3_200, 1_000, 3, 200);
    for (kind, x) in [("dense", dense()), ("csr", sparse()), ("wide", wide())] {
        // Answers of rows are reserved until all have come.
        let cut = x.clone().rechunk(x.rows() / 4, x.cols() / 2);
        stays_within_its_projection(&format!("{kind}, rows that are cut"), |cluster| {
            cut.reduce_many(cluster, &moments.map(|statistic| (statistic, Over::EachRow)), None)
        });
        for over in [Over::Whole, Over::EachColumn, Over::EachRow] {
            for statistics in [&moments[..], &ends, &truth, &quantiles] {
                let asked: Vec<_> = statistics.iter().map(|statistic| (*statistic, over)).collect();
                stays_within_its_projection(&format!("{kind}, {statistics:?} over {over:?}"), |cluster| {
                    x.reduce_many(cluster, &asked, None)
                });
            }
        }
    }
}

#[test]
fn factorisations_stay_within_their_projection() {
    let _alone = alone();
    let wide = || random::uniform(6_400, 400, 5, 400);
    for (kind, x) in [("dense", dense()), ("csr", sparse()), ("blocks as tall as wide", wide())] {
        stays_within_its_projection(&format!("{kind}, tsqr"), |cluster| tsqr(cluster, &x, None));
        stays_within_its_projection(&format!("{kind}, qr"), |cluster| qr(cluster, &x, &QrOptions::default()));
        stays_within_its_projection(&format!("{kind}, svd"), |cluster| svd(cluster, &x, &SvdOptions::default()));
        stays_within_its_projection(&format!("{kind}, eigh_gram"), |cluster| eigh_gram(cluster, &x, 9, None));
        let b = random::normal(x.rows(), 3, 9, 500);
        let solve = |cluster: &Cluster| lstsq(cluster, &x, &b, &LstsqOptions::default());
        stays_within_its_projection(&format!("{kind}, lstsq"), solve);
        stays_within_its_projection(&format!("{kind}, incremental pca"), |cluster| {
            let mut pca = IncrementalPca::new(10)?;
            pca.fit_blocks(cluster, &x).map(|()| pca)
        });
        let transposed = x.transpose();
        stays_within_its_projection(&format!("{kind}, svd of the transpose"), |cluster| {
            svd(cluster, &transposed, &SvdOptions::default())
        });
    }
}

#[test]
fn principal_components_and_iterations_stay_within_their_projection() {
    let _alone = alone();
    let wide = || random::uniform(6_400, 400, 5, 400);
    for (kind, x) in [("dense", dense()), ("csr", sparse()), ("blocks as tall as wide", wide())] {
        let options = PcaOptions { components: 20.into(), ..Default::default() };
        for solver in [PcaSolver::CovarianceEigh, PcaSolver::Tsqr, PcaSolver::Lanczos, PcaSolver::Randomized] {
            let options = PcaOptions { solver, ..options.clone() };
            stays_within_its_projection(&format!("{kind}, pca by {}", solver.name()), |cluster| {
                pca(cluster, &x, &options)
            });
        }
        let options = SvdCompressedOptions { k: 5, ..Default::default() };
        stays_within_its_projection(&format!("{kind}, svd_compressed"), |cluster| {
            svd_compressed(cluster, &x, &options)
        });
        let options = LanczosOptions { k: 5, tolerance: 1e-3, centre: Centre::Mean, ..Default::default() };
        stays_within_its_projection(&format!("{kind}, lanczos"), |cluster| lanczos(cluster, &x, &options));
    }
}

#[test]
fn lanczos_on_many_columns_stays_within_its_projection() {
    let _alone = alone();
    let maker = Cluster::builder().allowance(ByteSize(128 << 20)).workers(1).build().unwrap();
    // Some 20 of 20,000 values a row, at places that the row's number gives; 20 blocks.
    let scatter = BlockMap::new("scatter", 20_000, DType::F32, BlockKind::Csr, |block, info| {
        let (rows, drawn) = block.shape();
        let place = |i: usize, j: usize| (j * 1000 + (info.row_offset as usize + i) * 7919 % 1000) as u32;
        let indices: Vec<u32> = (0..rows * drawn).map(|at| place(at / drawn, at % drawn)).collect();
        let indptr: Vec<u64> = (0..=rows).map(|row| (row * drawn) as u64).collect();
        Ok(CsrBlock::new(rows, 20_000, indptr, indices, block.to_vec::<f32>())?.into())
    });
    let x = random::uniform(2_000, 20, 3, 100).map_blocks(scatter.with_bytes_per_row(20 * 20)).unwrap();
    let x = x.persist(&maker).unwrap();
    let options = LanczosOptions { k: 20, tolerance: 1e-2, centre: Centre::Mean, ..Default::default() };
    stays_within_its_projection("20,000 columns, lanczos", |cluster| lanczos(cluster, &x, &options));
}
