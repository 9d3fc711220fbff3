//! `batched_map` compared with the plain iterator it stands for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;
use crate::runtime::{Cluster, Scheduler};

fn clusters() -> Vec<Cluster> {
    let serial = Cluster::builder().scheduler(Scheduler::Serial).build().unwrap();
    let threads = [1, 2, 5].map(|workers| Cluster::builder().workers(workers).build().unwrap());
    std::iter::once(serial).chain(threads).collect()
}

#[test]
fn every_ending_gives_what_the_plain_iterator_gives() {
    for cluster in clusters() {
        for n in [0u64, 1, 2, 31, 100, 5000] {
            let items = || (0..n).filter(|x| x % 3 != 1);
            let plain: Vec<u64> = items().map(|x| x * x).collect();
            let map = || cluster.batched_map(|x: u64| x * x, items());
            assert_eq!(map().collect::<Vec<_>>().unwrap(), plain);
            assert_eq!(map().sum::<u64>().unwrap(), plain.iter().sum::<u64>());
            assert_eq!(map().count().unwrap(), plain.len() as u64);
            assert_eq!(map().reduce(u64::max).unwrap(), plain.iter().copied().max());
            assert_eq!(map().fold(|| 0, |a, b| a ^ b, |a, b| a ^ b).unwrap(), plain.iter().fold(0, |a, b| a ^ b));
            let mut unordered: Vec<_> = map().unordered().map(|item| item.unwrap()).collect();
            unordered.sort_by_key(|(index, _)| *index);
            let unordered: Vec<u64> = unordered.into_iter().map(|(_, result)| result.unwrap()).collect();
            assert_eq!(unordered, plain);
            assert_eq!(map().keep_going().map(Result::unwrap).collect::<Vec<_>>(), plain);
        }
    }
}

#[test]
fn floats_sum_to_the_same_bits_on_any_cluster() {
    let sums = clusters().into_iter().map(|cluster| {
        let walked = cluster.batched_map(|x: u32| 1.0 / f64::from(x + 1), (0..20_000).filter(|_| true));
        let split = cluster.batched_map(|x: u32| 1.0 / f64::from(x + 1), 0..20_000);
        (walked.sum::<f64>().unwrap().to_bits(), split.sum::<f64>().unwrap().to_bits())
    });
    let sums: Vec<_> = sums.collect();
    assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "{sums:?}");
}

#[test]
fn an_endless_iterator_that_borrows_is_taken_only_as_far_as_the_window() {
    let cluster = Cluster::builder().workers(2).build().unwrap();
    let taken = AtomicUsize::new(0);
    let endless = (0u64..).inspect(|_| {
        taken.fetch_add(1, Ordering::Relaxed);
    });
    let first: Vec<u64> = cluster
        .batched_map(|x| x * 2, endless)
        .window(100)
        .batch_size(10)
        .into_iter()
        .take(50)
        .map(Result::unwrap)
        .collect();
    assert_eq!(first, (0..50).map(|x| x * 2).collect::<Vec<_>>());
    assert!(taken.load(Ordering::Relaxed) <= 50 + 100, "{} taken", taken.load(Ordering::Relaxed));
}

#[test]
fn a_failing_item_stops_the_stream_at_its_place() {
    for cluster in clusters() {
        let mut stream = cluster.batched_map(|x: u32| 100 / (7 - x), (0..1000).filter(|_| true)).into_iter();
        let values: Vec<_> = stream.by_ref().take(7).map(Result::unwrap).collect();
        assert_eq!(values, (0..7).map(|x| 100 / (7 - x)).collect::<Vec<_>>());
        assert!(matches!(stream.next(), Some(Err(Error::TaskPanicked { item: Some(7), .. }))));
        assert!(stream.next().is_none());
        let folded = cluster.batched_map(|x: u64| 1 / (999_999 - x), 0..1_000_000).sum::<u64>();
        assert!(matches!(folded, Err(Error::TaskPanicked { item: Some(999_999), .. })), "{folded:?}");
    }
}

#[test]
fn dropping_the_stream_cancels_what_is_in_flight() {
    let cluster = Cluster::builder().workers(2).build().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let counted = move |x: u64| (count.fetch_add(1, Ordering::Relaxed), x);
    let mut stream = cluster.batched_map(counted, 0..).batch_size(1).window(4).into_iter();
    assert!(stream.next().is_some_and(|first| first.is_ok()));
    drop(stream);
    cluster.shutdown(std::time::Duration::from_secs(10)).unwrap();
    // The window was filled once, before the first result was waited for.
    assert!(ran.load(Ordering::Relaxed) <= 4, "{} ran", ran.load(Ordering::Relaxed));
}

#[test]
fn progress_ends_at_the_number_of_items() {
    let cluster = Cluster::builder().workers(2).build().unwrap();
    for split in [true, false] {
        let seen = Arc::new(AtomicUsize::new(0));
        let most = seen.clone();
        let note = move |done: u64, _: Option<u64>| {
            most.fetch_max(done as usize, Ordering::Relaxed);
        };
        let counted = if split {
            cluster.batched_map(|x: u32| x, 0..10_000).progress(note).count()
        } else {
            cluster.batched_map(|x: u32| x, (0..10_000).filter(|_| true)).progress(note).count()
        };
        assert_eq!((counted.unwrap(), seen.load(Ordering::Relaxed)), (10_000, 10_000));
    }
}
