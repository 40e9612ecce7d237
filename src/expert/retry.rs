//! When the same expert is asked once more: how long is waited before, and how often that may happen in all.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::RngExt;

use super::ExpertError;
use crate::config::Retries;

/// Retries that an expert may be burdened with before its questions have paid for any: enough for the first fault after a
/// quiet night, few enough not to matter in an outage.
const BUDGET_RESERVE: f64 = 10.0;

/// How often the time between two tries is doubled at the most; beyond that the cap is reached whatever the base.
const DOUBLINGS_MAX: u32 = 16;

/// A wait between nothing and twice as much for each try before it, capped: exponential backoff with full jitter (Marc
/// Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015), so that those who failed together do not come
/// back together.
pub(super) fn backoff(retries: &Retries, tries_before: u32) -> Duration {
    let most = retries
        .backoff
        .saturating_mul(1 << tries_before.min(DOUBLINGS_MAX))
        .min(retries.backoff_max);
    most.mul_f64(rand::rng().random_range(0.0..=1.0))
}

/// How long to wait before the same expert is asked again while others may be asked instead: as long as the provider says,
/// or as backoff has it. None where the provider wants a longer wait than that is worth.
pub(super) fn wait_here(
    retries: &Retries,
    error: &ExpertError,
    tries_before: u32,
) -> Option<Duration> {
    match error.retry_after() {
        None => Some(backoff(retries, tries_before)),
        Some(wait) => {
            (wait <= retries.backoff_max).then(|| after_pause(retries, wait, tries_before))
        }
    }
}

/// A pause that was asked for and a moment more, another for each: those who failed together must not come back together.
pub(super) fn after_pause(retries: &Retries, pause: Duration, tries_before: u32) -> Duration {
    pause.saturating_add(backoff(retries, tries_before))
}

/// Keeps extra requests to a share of the questions, so that an outage does not multiply the load (after Finagle's
/// `RetryBudget`): each question pays in its share, each extra request takes out one.
#[derive(Debug)]
pub(super) struct Budget(Mutex<f64>);

impl Budget {
    /// One with its reserve.
    pub(super) fn new() -> Self {
        Self(Mutex::new(BUDGET_RESERVE))
    }

    /// One that begins with nothing.
    pub(super) fn empty() -> Self {
        Self(Mutex::new(0.0))
    }

    /// A question is asked for the first time.
    pub(super) fn deposit(&self, share: f64) {
        self.change(|balance| ((balance + share).min(BUDGET_RESERVE), ()));
    }

    /// Takes one request out, if there is one.
    pub(super) fn withdraw(&self) -> bool {
        self.change(|balance| {
            if balance >= 1.0 {
                (balance - 1.0, true)
            } else {
                (balance, false)
            }
        })
    }

    fn change<T>(&self, change: impl FnOnce(f64) -> (f64, T)) -> T {
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, result) = change(*balance);
        *balance = changed;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_cap_and_never_beyond() {
        let retries = Retries {
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_millis(300),
            ..Retries::default()
        };
        for (tries_before, most_ms) in [(0, 100), (1, 200), (2, 300), (40, 300)] {
            let waits: Vec<_> = (0..200).map(|_| backoff(&retries, tries_before)).collect();
            let most = Duration::from_millis(most_ms);
            assert!(waits.iter().all(|wait| *wait <= most), "{tries_before}");
            // Full jitter: some are short and some are long.
            assert!(waits.iter().any(|wait| *wait < most / 4));
            assert!(waits.iter().any(|wait| *wait > most * 3 / 4));
        }
    }

    #[test]
    fn a_providers_wait_is_kept_to_or_not_worth_it() {
        let retries = Retries::default();
        let limited = |seconds| ExpertError::RateLimited {
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let second = Duration::from_secs(1);
        let waits: Vec<_> = (0..50)
            .filter_map(|_| wait_here(&retries, &limited(1), 0))
            .collect();
        assert!(waits.iter().all(|wait| *wait >= second));
        assert!(waits.iter().any(|wait| *wait != waits[0]), "not together");
        let at_once: Vec<_> = (0..50)
            .filter_map(|_| wait_here(&retries, &limited(0), 3))
            .collect();
        assert!(
            at_once
                .iter()
                .any(|wait| *wait > Duration::from_millis(100))
        );
        assert_eq!(wait_here(&retries, &limited(60), 0), None);
    }

    #[test]
    fn an_outage_gets_a_share_of_retries_once_the_reserve_is_used_up() {
        let budget = Budget::new();
        let retried = (0..1000)
            .filter(|_| {
                budget.deposit(0.2);
                budget.withdraw()
            })
            .count();
        assert!((200..=212).contains(&retried), "{retried}");
    }
}
