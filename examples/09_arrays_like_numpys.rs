//! What a NumPy user does with matrices, on blocks: arithmetic with vectors, masks, transposes, products, quantiles, a plan.

use allotment::array::{Array, Over, Statistic, random};
use allotment::{Cluster, Result};

pub(crate) fn main() -> Result<()> {
    let cluster = Cluster::builder().workers(2).allowance("16MiB".parse()?).build()?;

    // Dice in columns; an element's number does not depend on the blocks.
    let dice = random::integers(100_000, 4, 1, 7, 42, None)?;
    let means = dice.mean(&cluster, Over::EachColumn)?;

    // A row of numbers stands for every row, one number for every value.
    let centred = dice.subtract(Array::from_slice(1, 4, &means)?)?;
    let spread = centred.square().mean(&cluster, Over::Whole)?[0];
    println!("the variance of a die is about {spread:.2}");

    // Comparisons give truth values, which can be counted and, home again, select rows.
    let sixes = dice.equal(6.0)?;
    let four = sixes.all(&cluster, Over::EachRow)?;
    let lucky = dice.select_rows(four)?;
    println!("four sixes: {} of {} throws", lucky.rows(), dice.rows());

    // Several questions in one pass; quantiles take a few passes more.
    let asked = [Statistic::Min, Statistic::Max, Statistic::Median].map(|statistic| (statistic, Over::Whole));
    println!("min, max, median: {:?}", dice.reduce_many(&cluster, &asked, None)?.concat());

    // A transposed array is a view: its blocks are the array's, turned over.
    let gram = centred.transpose().dot(&centred)?.compute(&cluster)?.to_nalgebra::<f64>();
    println!("columns go {}", if gram[(0, 1)].abs() < 0.02 * gram[(0, 0)] { "their own ways" } else { "together" });

    // What it will take is known before it runs.
    let both = Array::hstack(&[dice.clone(), dice.square().astype(dice.dtype())])?;
    let plan = both.plan(&cluster)?;
    println!("{} tasks of at most {} KiB", plan.tasks, plan.projected_bytes >> 10);

    // And an expression travels: these bytes compute the same numbers in another process.
    let bytes = both.to_plan_bytes()?;
    let again = Array::from_plan_bytes(&bytes, allotment::io::open_address)?;
    println!("{} bytes stand for {:?}", bytes.len(), again.shape());
    Ok(())
}
