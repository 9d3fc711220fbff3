//! Runs a function on every item, gathers the results in order, and shows that one failure shifts nothing.

use allotment::{Cluster, Result};

pub(crate) fn main() -> Result<()> {
    let cluster = Cluster::builder().workers(2).allowance("64MiB".parse()?).build()?;

    // One future an item. Items travel in packs, so that a million of them is no trouble.
    let futures = cluster.map(|n: u64| n * n, 1..=1_000_000)?;
    println!("{} futures", futures.len());

    // The results stand in the order of the items, whichever ended first.
    let squares = cluster.gather(futures)?;
    println!("the first are {:?}, the last is {}", &squares[..3], squares[squares.len() - 1]);

    // Several iterables: as many items in each, or an error that names both lengths.
    let futures = cluster.map2(|base: u32, power: u32| base.pow(power), [2, 3, 10], [10, 4, 3])?;
    println!("powers are {:?}", cluster.gather(futures)?);

    // `gather` stops at the first failure; `gather_all` puts each result into its own slot.
    let futures = cluster.map(|n: u32| 100 / n, [1, 0, 4])?;
    for (item, result) in cluster.gather_all(futures)?.into_iter().enumerate() {
        match result {
            Ok(value) => println!("item {item}: {value}"),
            Err(error) => println!("item {item}: {error}"),
        }
    }
    Ok(())
}
