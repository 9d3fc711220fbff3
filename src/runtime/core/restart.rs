//! When a worker that died is started again, and when it is given up.
//!
//! One-for-one, as in Erlang/OTP: more than `max_restarts` deaths within `within` and the worker has failed; its queue
//! goes to the others, and with the last worker the cluster fails as a whole. Restarts wait a little longer each time,
//! so that a worker that dies at once does not spin.

use std::collections::VecDeque;
use std::time::Duration;

/// So many restarts within so long.
///
/// # Examples
///
/// ```
/// use allotment::RestartPolicy;
/// use std::time::Duration;
/// let patient = RestartPolicy { max_restarts: 10, ..Default::default() };
/// assert_eq!(patient.within, Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Deaths that are forgiven within the period.
    pub max_restarts: u32,
    /// The period.
    pub within: Duration,
    /// The wait before the first restart; it doubles with each further one of the period.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            max_restarts: 3,
            within: Duration::from_secs(60),
            backoff: Duration::from_millis(10),
            max_backoff: Duration::from_secs(1),
        }
    }
}

/// What the policy says of one more death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a verdict that is not carried out leaves the worker dead"]
pub(crate) enum Verdict {
    /// Start it again after so long.
    Restart {
        /// The wait.
        after_ms: u64,
    },
    /// It died too often.
    GiveUp,
}

/// The deaths of one worker (or one actor's value) within the period.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deaths {
    at_ms: VecDeque<u64>,
}

impl Deaths {
    /// Counts a death at `now_ms` and says what to do.
    pub(crate) fn record(&mut self, policy: &RestartPolicy, now_ms: u64) -> Verdict {
        let period = u64::try_from(policy.within.as_millis()).unwrap_or(u64::MAX);
        while self.at_ms.front().is_some_and(|at| now_ms.saturating_sub(*at) > period) {
            self.at_ms.pop_front();
        }
        self.at_ms.push_back(now_ms);
        let deaths = self.at_ms.len() as u32;
        if deaths > policy.max_restarts {
            return Verdict::GiveUp;
        }
        let wait = policy.backoff.saturating_mul(1u32.checked_shl(deaths - 1).unwrap_or(u32::MAX));
        Verdict::Restart { after_ms: wait.min(policy.max_backoff).as_millis() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fourth_death_within_the_period_is_one_too_many() {
        let policy = RestartPolicy::default();
        let mut deaths = Deaths::default();
        let waits: Vec<_> = (0..3).map(|i| deaths.record(&policy, i)).collect();
        assert_eq!(waits, [10, 20, 40].map(|after_ms| Verdict::Restart { after_ms }));
        assert_eq!(deaths.record(&policy, 3), Verdict::GiveUp);
    }

    #[test]
    fn old_deaths_are_forgiven_and_waits_are_capped() {
        let policy = RestartPolicy { max_restarts: 40, ..Default::default() };
        let mut deaths = Deaths::default();
        let last = (0..40).map(|_| deaths.record(&policy, 0)).last();
        assert_eq!(last, Some(Verdict::Restart { after_ms: 1000 }));
        assert_eq!(deaths.record(&policy, 60_001), Verdict::Restart { after_ms: 10 });
    }
}
