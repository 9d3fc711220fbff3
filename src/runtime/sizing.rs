//! How many workers a cluster has, and how many bytes each may hold. Pure: from settings and the host to numbers.
//!
//! | allowance | workers | gives |
//! |---|---|---|
//! | given | – | `max(2, min(available / allowance, cores))` workers |
//! | – | given | an equal share of what can be shared |
//! | given | given | both, as given |
//! | – | – | `max(2, cores)` workers with an equal share of what can be shared |
//!
//! What can be shared is 90 % of what is available, less 64 MiB for the program itself. Two workers are the least the
//! formulas give, on a machine of one core too: one can then wait for its disk while the other computes. Somebody who
//! wants one asks for one.
//!
//! Always true of what is returned: no number is zero, `allowance × workers` and `workers × lanes_per_worker` do not
//! overflow, and unless overcommit was asked for, all allowances together fit into what is available.

use std::sync::Arc;

use crate::bytes::ByteSize;
use crate::error::{Error, Result};

/// What the settings ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Bytes that a worker may hold, if given.
    pub(crate) allowance: Option<u64>,
    /// The number of workers, if given.
    pub(crate) workers: Option<usize>,
    /// Lanes of each worker.
    pub(crate) threads_per_worker: usize,
    /// Whether the allowances may exceed what is available.
    pub(crate) overcommit: bool,
}

/// What the host can give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Bytes that it can give now.
    pub(crate) available: u64,
    /// Where that number was read.
    pub(crate) source_name: Arc<str>,
    /// Cores that this process may use.
    pub(crate) cores: usize,
}

/// The cluster that was asked for, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizing {
    /// Bytes that each worker may hold.
    pub(crate) allowance: u64,
    /// The number of workers.
    pub(crate) workers: usize,
    /// Lanes of each worker.
    pub(crate) lanes_per_worker: usize,
}

/// Kept back for the program itself and for what no ledger sees.
const RESERVE_BYTES: u64 = 64 << 20;
/// A smaller share is no use to any task, and a sign that the host is full.
const LEAST_SHARE_BYTES: u64 = 1 << 20;
/// Each lane is a thread; more than this is a slip of the pen, and better refused here than by the system.
const MOST_LANES: usize = 4096;

/// Sizes a cluster.
///
/// # Errors
///
/// [`Error::BadSetting`] for a zero, for more than 4096 lanes, and for allowances that do not sum in 64 bits.
/// [`Error::Overcommit`] for workers that do not fit on the host, unless overcommit was asked for.
pub(crate) fn size(wish: &Wish, host: &Host) -> Result<Sizing> {
    refuse_zeros(wish)?;
    let cores = host.cores.max(1);
    let workers = match (wish.workers, wish.allowance) {
        (Some(workers), _) => workers,
        (None, None) => cores.max(2),
        (None, Some(allowance)) => {
            // More workers than a usize can count are more than there are cores.
            let fitting = usize::try_from(host.available / allowance).unwrap_or(usize::MAX);
            fitting.min(cores).max(2)
        }
    };
    refuse_too_many_lanes(workers, wish.threads_per_worker)?;
    let allowance = match wish.allowance {
        Some(allowance) => checked_allowance(allowance, workers, wish.overcommit, host)?,
        None => equal_share(workers, wish.overcommit, host)?,
    };
    Ok(Sizing { allowance, workers, lanes_per_worker: wish.threads_per_worker })
}

fn refuse_zeros(wish: &Wish) -> Result<()> {
    let zero =
        |setting, expected: &str| Err(Error::BadSetting { setting, found: "0".into(), expected: expected.into() });
    if wish.allowance == Some(0) {
        return zero("allowance", "more than 0 bytes, such as 512MiB; leave it out for an equal share of this host");
    }
    if wish.workers == Some(0) {
        return zero("workers", "at least 1; leave it out for as many as fit");
    }
    if wish.threads_per_worker == 0 {
        return zero("threads_per_worker", "at least 1");
    }
    Ok(())
}

/// The workers of a machine with more cores than lanes are allowed are refused too: it must say how many it wants.
fn refuse_too_many_lanes(workers: usize, threads_per_worker: usize) -> Result<()> {
    match workers.checked_mul(threads_per_worker) {
        Some(lanes) if lanes <= MOST_LANES => Ok(()),
        _ => Err(Error::BadSetting {
            setting: "workers × threads_per_worker",
            found: format!("{workers} × {threads_per_worker}").into(),
            expected: format!("at most {MOST_LANES} lanes").into(),
        }),
    }
}

fn checked_allowance(allowance: u64, workers: usize, overcommit: bool, host: &Host) -> Result<u64> {
    match allowance.checked_mul(workers as u64) {
        Some(sum) if sum <= host.available || overcommit => Ok(allowance),
        None if overcommit => Err(Error::BadSetting {
            setting: "allowance",
            found: ByteSize(allowance).to_string().into(),
            expected: format!("at most {} for each of {workers} workers", ByteSize(u64::MAX / workers as u64)).into(),
        }),
        _ => Err(overcommitted(workers, allowance, host.available, host.source_name.clone())),
    }
}

fn equal_share(workers: usize, overcommit: bool, host: &Host) -> Result<u64> {
    // A tenth is taken away rather than nine tenths computed: that cannot overflow.
    let shareable = (host.available - host.available / 10).saturating_sub(RESERVE_BYTES);
    let share = shareable / workers as u64;
    if share >= LEAST_SHARE_BYTES {
        return Ok(share);
    }
    if overcommit {
        return Ok(LEAST_SHARE_BYTES);
    }
    let kept_back = format!("{}, less 10 % and {}", host.source_name, ByteSize(RESERVE_BYTES));
    Err(overcommitted(workers, LEAST_SHARE_BYTES, shareable, kept_back.into()))
}

fn overcommitted(workers: usize, allowance: u64, available: u64, source_name: Arc<str>) -> Error {
    Error::Overcommit { workers, allowance, available, source_name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn wish(allowance: Option<u64>, workers: Option<usize>) -> Wish {
        Wish { allowance, workers, threads_per_worker: 1, overcommit: false }
    }

    fn host(available: u64, cores: usize) -> Host {
        Host { available, source_name: "memory.max".into(), cores }
    }

    /// The share of each worker, computed in 128 bits.
    fn share(available: u64, workers: u128) -> u64 {
        let available = u128::from(available);
        ((available - available / 10 - u128::from(RESERVE_BYTES)) / workers) as u64
    }

    #[test]
    fn each_row_of_the_table_gives_its_numbers() {
        let rows = [
            // allowance, workers, available, cores -> allowance, workers
            (Some(GIB), None, 16 * GIB, 8, GIB, 8),
            (Some(4 * GIB), None, 16 * GIB, 8, 4 * GIB, 4),
            (Some(8 * GIB), None, 16 * GIB, 8, 8 * GIB, 2),
            (Some(GIB), None, 16 * GIB, 1, GIB, 2),
            (Some(1), None, u64::MAX, 3, 1, 3),
            (None, Some(1), 10 * GIB, 8, share(10 * GIB, 1), 1),
            (None, Some(7), 10 * GIB, 2, share(10 * GIB, 7), 7),
            (None, Some(3), u64::MAX, 2, share(u64::MAX, 3), 3),
            (None, None, 10 * GIB, 6, share(10 * GIB, 6), 6),
            (None, None, 10 * GIB, 1, share(10 * GIB, 2), 2),
            (None, None, 10 * GIB, 0, share(10 * GIB, 2), 2),
            (Some(GIB), Some(16), 16 * GIB, 2, GIB, 16),
            (Some(16 * GIB), Some(1), 16 * GIB, 2, 16 * GIB, 1),
        ];
        for (allowance, workers, available, cores, each, n) in rows {
            let sizing = size(&wish(allowance, workers), &host(available, cores)).expect("the row fits");
            let expected = Sizing { allowance: each, workers: n, lanes_per_worker: 1 };
            assert_eq!(sizing, expected, "{allowance:?} × {workers:?} on {available} with {cores} cores");
        }
    }

    #[test]
    fn two_workers_that_do_not_fit_are_refused_with_both_numbers() {
        let error = size(&wish(Some(9 * GIB), None), &host(16 * GIB, 8)).expect_err("18 GiB of 16");
        let text = error.to_string();
        for part in ["2 worker(s)", "9.0 GiB", "18.0 GiB", "16.0 GiB", "memory.max", "overcommit(true)"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn both_given_are_kept_or_refused_but_never_changed() {
        assert!(size(&wish(Some(GIB), Some(16)), &host(16 * GIB, 2)).is_ok());
        let error = size(&wish(Some(GIB), Some(17)), &host(16 * GIB, 32)).expect_err("17 GiB of 16");
        assert!(matches!(error, Error::Overcommit { workers: 17, allowance: GIB, .. }), "{error}");
    }

    #[test]
    fn overcommit_keeps_what_was_asked_for() {
        let eager = |allowance, workers| Wish { overcommit: true, ..wish(allowance, workers) };
        let small = host(MIB, 4);
        assert_eq!(size(&eager(Some(GIB), None), &small).map(|s| (s.allowance, s.workers)).ok(), Some((GIB, 2)));
        assert_eq!(size(&eager(Some(GIB), Some(9)), &small).map(|s| (s.allowance, s.workers)).ok(), Some((GIB, 9)));
        assert_eq!(size(&eager(None, Some(3)), &small).map(|s| (s.allowance, s.workers)).ok(), Some((MIB, 3)));
        let error = size(&eager(Some(u64::MAX), Some(2)), &small).expect_err("no sum of 64 bits");
        assert!(matches!(error, Error::BadSetting { setting: "allowance", .. }), "{error}");
    }

    #[test]
    fn a_full_host_has_no_share_to_give_and_says_what_it_kept_back() {
        let error = size(&wish(None, None), &host(60 * MIB, 4)).expect_err("less than the reserve");
        assert!(error.to_string().contains("0 B (memory.max, less 10 % and 64.0 MiB)"), "{error}");
        assert!(size(&wish(None, Some(1_000)), &host(512 * MIB, 4)).is_err(), "under 1 MiB each");
    }

    #[test]
    fn zeros_and_absurd_counts_are_refused_by_name() {
        let lanes = |n, workers| Wish { threads_per_worker: n, overcommit: true, ..wish(Some(1), workers) };
        let cases = [
            (wish(Some(0), None), "allowance is 0"),
            (wish(None, Some(0)), "workers is 0"),
            (lanes(0, None), "threads_per_worker is 0"),
            (lanes(2, Some(usize::MAX)), "at most 4096 lanes"),
            (lanes(usize::MAX, None), "at most 4096 lanes"),
        ];
        for (wish, says) in cases {
            let error = size(&wish, &host(GIB, 4)).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_returned_keeps_what_the_page_promises(
            allowance in prop::option::of(prop_oneof![0..64 * GIB, any::<u64>()]),
            workers in prop::option::of(prop_oneof![0..20_usize, any::<usize>()]),
            threads_per_worker in prop_oneof![0..5_usize, any::<usize>()],
            overcommit in any::<bool>(),
            available in prop_oneof![0..64 * GIB, any::<u64>()],
            cores in prop_oneof![0..130_usize, any::<usize>()],
        ) {
            let wish = Wish { allowance, workers, threads_per_worker, overcommit };
            if let Ok(sizing) = size(&wish, &host(available, cores)) {
                prop_assert!(sizing.allowance > 0 && sizing.workers > 0 && sizing.lanes_per_worker > 0);
                let sum = sizing.allowance.checked_mul(sizing.workers as u64);
                prop_assert!(sum.is_some_and(|sum| sum <= available || overcommit));
                prop_assert!(sizing.workers.checked_mul(sizing.lanes_per_worker).is_some_and(|n| n <= MOST_LANES));
                prop_assert!(allowance.is_none_or(|given| given == sizing.allowance));
                prop_assert!(workers.map_or(sizing.workers >= 2, |given| given == sizing.workers));
                prop_assert!(workers.is_some() || sizing.workers <= cores.max(2));
            }
        }

        #[test]
        fn more_memory_never_means_fewer_workers_or_a_refusal(
            allowance in prop::option::of(1..8 * GIB), available in 0..64 * GIB, more in 0..64 * GIB, cores in 1..130_usize,
        ) {
            let wish = wish(allowance, None);
            if let Ok(small) = size(&wish, &host(available, cores)) {
                let large = size(&wish, &host(available + more, cores)).expect("what fits in less fits in more");
                prop_assert!(large.workers >= small.workers && large.allowance >= small.allowance);
            }
        }
    }
}
