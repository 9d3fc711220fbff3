//! Starts a cluster of two workers, runs one closure on it, and prints what it gives: `6 x 7 = 42`.

use allotment::{Cluster, Result};

pub(crate) fn main() -> Result<()> {
    // Two workers, each of which may hold 64 MiB. Without these settings a cluster takes what the machine can give.
    let cluster = Cluster::builder().workers(2).allowance("64MiB".parse()?).build()?;

    // A task starts at once; what comes back is the reading end of its result.
    let answer = cluster.submit(|| 6 * 7)?;

    // Waiting takes the result. A panic in the closure would be an error here, not a crash.
    println!("6 x 7 = {}", answer.wait()?);

    let broken = cluster.submit(|| -> u32 { panic!("no such number") })?;
    if let Err(error) = broken.wait() {
        println!("and the cluster goes on after: {error}");
    }

    // Dropping the last handle finishes what runs and stops the threads.
    Ok(())
}
