//! 40: tasks submit tasks and wait for them, on one worker, with tight budgets; and tasks that wait in a circle.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use allotment::{ByteSize, Cluster, Error, Result, Shared, Task};

use crate::cluster::{MIB, of, until_idle};
use crate::common::{Numbers, Watchdog, report};

const TREES: u64 = 2000;
const ALLOWANCE: u64 = 16 * MIB.0;

/// A tree of tasks, each of which waits for its children inside its own code.
#[derive(Clone, Copy)]
struct Tree {
    depth: u32,
    fan: u64,
    /// The most that one task may project.
    most: u64,
    seed: u64,
}

impl Tree {
    fn task(&self) -> Task {
        Task::named("node").projected(ByteSize(Numbers(self.seed).below(self.most + 1)))
    }

    fn nodes(&self) -> u64 {
        (0..=self.depth).map(|level| self.fan.pow(level)).sum()
    }

    /// Runs the node: its children first, then itself.
    fn run(self, cluster: &Cluster) -> Result<u64> {
        if self.depth == 0 {
            return Ok(1);
        }
        let child = |i| Tree { depth: self.depth - 1, seed: self.seed * 31 + i, ..self };
        let start = |i| {
            let (child, handle) = (child(i), cluster.clone());
            cluster.submit_once(child.task(), move || child.run(&handle))
        };
        let children = (0..self.fan).map(start).collect::<Result<Vec<_>>>()?;
        let mut sum = 1;
        for child in children {
            sum += child.wait()??;
        }
        Ok(sum)
    }
}

/// The first trees are as large as they come, the others of random size.
fn tree(seed: u64) -> Tree {
    let mut numbers = Numbers(seed);
    let most = [0, ALLOWANCE / 8, ALLOWANCE / 2, ALLOWANCE][numbers.below(4) as usize];
    match seed {
        0..40 => Tree { depth: 5, fan: 3, most, seed },
        _ => Tree { depth: 1 + numbers.below(5) as u32, fan: 1 + numbers.below(3).min(1), most, seed },
    }
}

#[test]
fn nested_waits_on_one_worker_complete_or_say_what_they_lack() {
    let _watchdog = Watchdog::start("fault 40");
    let (mut ended, mut tasks) = (BTreeMap::<&str, u64>::new(), 0);
    let mut excess = 0;
    for overdraft in [0, ALLOWANCE, 8 * ALLOWANCE] {
        let cluster = of(1).allowance(ByteSize(ALLOWANCE)).overdraft(ByteSize(overdraft)).build().unwrap();
        let trees: Vec<Tree> = (0..TREES / 3 + 1).map(|seed| tree(seed + overdraft)).collect();
        for some in trees.chunks(4) {
            let start = |tree: &Tree| {
                let (tree, handle) = (*tree, cluster.clone());
                cluster.submit_once(tree.task(), move || tree.run(&handle)).unwrap()
            };
            let futures: Vec<_> = some.iter().map(start).collect();
            for (tree, future) in some.iter().zip(futures) {
                tasks += tree.nodes();
                let kind = match future.wait().and_then(|answer| answer) {
                    Ok(nodes) => {
                        assert_eq!(nodes, tree.nodes());
                        "whole"
                    }
                    Err(Error::NestedBudget { .. }) => "NestedBudget",
                    Err(other) => panic!("{other}"),
                };
                *ended.entry(kind).or_default() += 1;
            }
        }
        until_idle(&cluster);
        let peak = cluster.snapshot().peak_reserved_bytes;
        assert!(peak <= ALLOWANCE + overdraft, "{peak}");
        excess = excess.max(peak.saturating_sub(ALLOWANCE));
    }
    assert!(ended["whole"] > TREES / 3 && ended["NestedBudget"] > 0, "{ended:?}");
    report(
        40,
        format_args!(
            "{TREES} trees (depth to 5, fan to 3, {tasks} tasks) on 1 worker: wedges 0, {ended:?}; excess {} of {} allowed",
            ByteSize(excess),
            ByteSize(8 * ALLOWANCE)
        ),
    );
}

/// Starts `n` tasks of which each waits for the next, and the last for the first; returns how many were told.
fn circle(cluster: &Cluster, n: usize) -> usize {
    type Answer = Result<u32>;
    let slots: Arc<Vec<OnceLock<Shared<Answer>>>> = Arc::new((0..n).map(|_| OnceLock::new()).collect());
    for i in 0..n {
        let ring = slots.clone();
        let wait = move || ring[(i + 1) % n].wait().wait().and_then(|answer| (*answer).clone());
        let future = cluster.submit_once(Task::named(format!("link {i}")), wait).unwrap();
        slots[i].set(future.share()).unwrap();
    }
    let answers = slots.iter().map(|slot| slot.get().unwrap().wait().and_then(|answer| (*answer).clone()));
    let told = answers
        .filter(|answer| match answer {
            Err(Error::WouldDeadlock { path }) => (0..n).all(|i| path.contains(&format!("link {i}"))),
            other => panic!("{other:?}"),
        })
        .count();
    // The tasks hold the futures that hold the tasks.
    drop(slots);
    told
}

#[test]
fn a_circle_of_waits_is_told_at_once() {
    let _watchdog = Watchdog::start("fault 40, circles");
    let mut worst = Duration::ZERO;
    for (workers, links) in [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (8, 5)] {
        let cluster = of(workers).build().unwrap();
        for _ in 0..20 {
            let start = Instant::now();
            assert_eq!(circle(&cluster, links), links);
            worst = worst.max(start.elapsed());
        }
        until_idle(&cluster);
    }
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    report(
        40,
        format_args!(
            "120 circles of 1 to 5 waits: WouldDeadlock with the path, {:.1} ms at most",
            worst.as_secs_f64() * 1e3
        ),
    );
}
