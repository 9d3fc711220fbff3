//! Describes a matrix of 16 MiB in blocks of rows, computes on it with workers of 8 MiB, and prints what it found.

use allotment::array::{Array, Over, Statistic, random};
use allotment::{Cluster, Result};

pub(crate) fn main() -> Result<()> {
    // Together the workers may hold less than the matrix has.
    let cluster = Cluster::builder().workers(2).allowance("8MiB".parse()?).build()?;

    // An array is a description: shape, chunk grid, expression. Nothing is drawn yet.
    let x = random::uniform(262_144, 8, 7, 8_192);
    println!("{:?} numbers, {} MiB", x.shape(), (x.rows() * x.cols() * 8) >> 20);

    // Operations grow the description; a chain of them is one task per block.
    let y = x.scale(2.0).add_scalar(-1.0)?.square();

    // Several statistics share one pass over the data: the mean of (2u - 1)² is 1/3, its variance 4/45.
    let asked = [(Statistic::Mean, Over::Whole), (Statistic::Var { ddof: 1 }, Over::Whole)];
    let found = y.reduce_many(&cluster, &asked, None)?;
    println!("mean {:.3}, variance {:.3}", found[0][0], found[1][0]);

    // `persist` leaves the blocks with the workers, as chunk files whose pages the kernel may take back.
    let kept = y.select_columns(vec![0, 3])?.persist(&cluster)?;
    println!("kept {:?}", kept.shape());

    // `compute` brings a result home; what is brought should be small.
    let corner = kept.select_rows(0..2)?.compute(&cluster)?.to_nalgebra::<f64>();
    println!("all in [0, 1]: {}", corner.iter().all(|value| (0.0..=1.0).contains(value)));

    // Sparse and small arrays come from what you have: rows, nalgebra, sprs.
    let small = Array::from_rows(&[[1.0, 0.0], [0.0, 3.0]])?.to_csr()?;
    println!("{:?} with {} numbers", small.kind(), small.nnz(&cluster, Over::Whole)?[0]);
    Ok(())
}
