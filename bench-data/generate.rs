//! Writes a matrix of cells × genes of any size for benchmarks, the same numbers for the same arguments.
//!
//! ```text
//! cargo run --release --example generate -- big.h5ad                        100,000 x 20,000, 10^8 counts
//! cargo run --release --example generate -- big.zarr --cells 1000000        ten times as many
//! ```
//!
//! Cells belong to clusters. Genes differ in abundance by a log-normal factor; of each cluster two genes in a hundred are
//! eight times as frequent. A cell has the same number of distinct genes as any other (5 % of all), drawn without
//! replacement by abundance with a stream of random numbers of its own, so that any run of rows can be made by itself;
//! its counts are 1 and more, larger for abundant genes.

use std::collections::HashSet;
use std::f64::consts::TAU;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use allotment::array::{Array, Block, BlockKind, CsrBlock, DType, Source};
use allotment::cells::{AnnData, Categories, Column, Frame};
use allotment::runtime::TaskContext;
use allotment::{Cluster, Result, io};
use clap::Parser;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Writes a matrix of counts, cells x genes, for benchmarks.
#[derive(Parser)]
struct Arguments {
    /// Where to: a name that ends in .h5ad or .zarr
    out: PathBuf,
    #[arg(long, default_value_t = 100_000)]
    cells: u64,
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..1 << 31))]
    genes: u64,
    #[arg(long, default_value_t = 50)]
    clusters: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A discrete distribution from which a number is drawn in constant time (Walker's alias method, 1977; Vose 1991).
#[derive(Debug)]
struct Alias {
    keep: Vec<f64>,
    other: Vec<u32>,
}

impl Alias {
    fn new(weights: &[f64]) -> Alias {
        let (n, sum) = (weights.len(), weights.iter().sum::<f64>());
        let mut keep: Vec<f64> = weights.iter().map(|weight| weight * n as f64 / sum).collect();
        let mut other: Vec<u32> = (0..n as u32).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| keep[i] < 1.0);
        while let (Some(&less), Some(&more)) = (small.last(), large.last()) {
            small.pop();
            other[less] = more as u32;
            keep[more] -= 1.0 - keep[less];
            if keep[more] < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        // What is left over is 1 but for rounding.
        small.into_iter().chain(large).for_each(|i| keep[i] = 1.0);
        Alias { keep, other }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> u32 {
        let place = ((u64::from(rng.next_u32()) * self.keep.len() as u64) >> 32) as usize;
        if uniform(rng) < self.keep[place] { place as u32 } else { self.other[place] }
    }
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (f64::from(rng.next_u32()) + 0.5) / 2f64.powi(32)
}

/// The counts, made when they are read.
#[derive(Debug)]
struct Counts {
    cells: u64,
    genes: u64,
    per_cell: u64,
    seed: u64,
    abundance: Vec<f64>,
    clusters: Vec<Alias>,
}

impl Counts {
    fn new(arguments: &Arguments) -> Counts {
        let genes = arguments.genes as usize;
        let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
        let normal = |rng: &mut ChaCha8Rng| (-2.0 * uniform(rng).ln()).sqrt() * (TAU * uniform(rng)).cos();
        let abundance: Vec<f64> = (0..genes).map(|_| (1.2 * normal(&mut rng)).exp()).collect();
        let cluster = |_| {
            let raised = |weight: &f64, rng: &mut ChaCha8Rng| if uniform(rng) < 0.02 { 8.0 * weight } else { *weight };
            let weights: Vec<f64> = abundance.iter().map(|weight| raised(weight, &mut rng)).collect();
            Alias::new(&weights)
        };
        let clusters = (0..arguments.clusters.max(1)).map(cluster).collect();
        let (cells, per_cell) = (arguments.cells, arguments.genes.div_ceil(20));
        Counts { cells, genes: arguments.genes, per_cell, seed: arguments.seed, abundance, clusters }
    }

    /// Returns a cell's stream of random numbers, and its cluster, which is the first of them.
    fn stream(&self, cell: u64) -> (ChaCha8Rng, usize) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(cell + 1);
        let cluster = (uniform(&mut rng) * self.clusters.len() as f64) as usize;
        (rng, cluster)
    }

    fn cell(&self, cell: u64, indices: &mut Vec<u32>, values: &mut Vec<f32>) {
        let (mut rng, cluster) = self.stream(cell);
        let depth = 0.5 + uniform(&mut rng);
        let mut seen = HashSet::with_capacity(self.per_cell as usize);
        while (seen.len() as u64) < self.per_cell {
            seen.insert(self.clusters[cluster].draw(&mut rng));
        }
        let mut genes: Vec<u32> = seen.into_iter().collect();
        genes.sort_unstable();
        for gene in genes {
            // An exponential of this mean, rounded down, on top of the one molecule that was seen.
            let mean = 0.4 * depth * self.abundance[gene as usize];
            indices.push(gene);
            values.push((1.0 - mean * uniform(&mut rng).ln()).floor().min(1e6) as f32);
        }
    }
}

impl Source for Counts {
    fn shape(&self) -> (u64, u64) {
        (self.cells, self.genes)
    }

    fn dtype(&self) -> DType {
        DType::F32
    }

    fn kind(&self) -> BlockKind {
        BlockKind::Csr
    }

    fn nnz(&self) -> u64 {
        self.cells * self.per_cell
    }

    fn nnz_of(&self, rows: Range<u64>) -> Result<u64> {
        Ok((rows.end - rows.start) * self.per_cell)
    }

    fn storage_rows(&self) -> u64 {
        1
    }

    fn scratch_bytes(&self, _: Range<u64>) -> Result<u64> {
        Ok(64 * self.per_cell)
    }

    fn read_rows(&self, rows: Range<u64>, context: &TaskContext) -> Result<Block> {
        let n = ((rows.end - rows.start) * self.per_cell) as usize;
        let (mut indices, mut values) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for cell in rows.clone() {
            context.check()?;
            self.cell(cell, &mut indices, &mut values);
        }
        let indptr: Vec<u64> = (0..=rows.end - rows.start).map(|row| row * self.per_cell).collect();
        let (n_rows, n_cols) = ((rows.end - rows.start) as usize, self.genes as usize);
        CsrBlock::new(n_rows, n_cols, indptr, indices, values).map(Block::Csr)
    }

    fn name(&self) -> String {
        "generated counts".into()
    }
}

fn anndata(counts: Counts) -> Result<AnnData> {
    let codes = (0..counts.cells).map(|cell| counts.stream(cell).1 as i32).collect();
    let names = (0..counts.clusters.len()).map(|cluster| format!("cluster {cluster:02}")).collect();
    let cluster = Column::Categories(Categories::new(codes, names));
    let obs = (0..counts.cells).map(|cell| format!("cell{cell}")).collect();
    let var = (0..counts.genes).map(|gene| format!("gene{gene}")).collect();
    let (obs, var) = (Frame::in_memory(obs, vec![("cluster".into(), cluster)])?, Frame::in_memory(var, vec![])?);
    AnnData::new(Array::from_source(Arc::new(counts)), obs, var)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let data = anndata(Counts::new(&arguments))?;
    let cluster = Cluster::builder().build()?;
    io::write(&cluster, &data, &arguments.out, &io::WriteOptions::default())?;
    println!(
        "{}: {} x {}, {} values",
        arguments.out.display(),
        data.n_obs(),
        data.n_vars(),
        data.n_obs() * arguments.genes.div_ceil(20)
    );
    Ok(())
}
