//! Streams any iterable through the workers with a bound on what is in flight, and prints each way to end such a stream.

use allotment::{Cluster, Result};

pub(crate) fn main() -> Result<()> {
    let cluster = Cluster::builder().workers(2).allowance("64MiB".parse()?).build()?;

    // A range is split without being walked, and folded on the workers: nothing is stored per item.
    let total: i64 = cluster.batched_map(|x: i64| x + 1, 0..10_000_000).sum()?;
    println!("sum {total}");

    // Anything that can be iterated will do, endless too: items are taken only as fast as results are.
    for line in cluster.batched_map(|n: u64| format!("{n} squared is {}", n * n), (1..).step_by(10)).into_iter().take(3)
    {
        println!("{}", line?);
    }

    // `fold` gives each batch an accumulator of its own; they are combined in the order of the items.
    let words = "the quick brown fox jumps over the lazy dog".split(' ').map(String::from);
    let longest = cluster.batched_map(|word: String| word.len(), words).fold(|| 0, usize::max, usize::max)?;
    println!("the longest word has {longest} letters");

    // The first failure ends a stream at its place, with its index ..
    let failed: Result<Vec<u32>> = cluster.batched_map(|n: u32| 12 / n, [3, 2, 0, 1]).collect();
    if let Err(error) = failed {
        println!("{error}");
    }

    // .. unless the others should go on.
    let kept = cluster.batched_map(|n: u32| 12 / n, [3, 2, 0, 1]).keep_going();
    println!("kept {:?}", kept.into_iter().flatten().collect::<Vec<u32>>());
    Ok(())
}
