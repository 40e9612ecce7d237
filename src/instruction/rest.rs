//! When the LLM is left alone for a while: after failures in a row, longer each time, with one question to probe. The
//! expert's own breaker guards its endpoints; this one keeps questions from waiting for a deadline in vain.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures in a row after which it rests.
const FAILURES_MAX: u32 = 5;

/// How long, doubled after each probe that fails, up to the longest.
const REST: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(60);

/// Doublings, at the most: the longest rest is reached before.
const DOUBLINGS_MAX: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// It rests until then; a question that comes later probes.
    until: Option<Instant>,
}

impl Rest {
    /// Whether a question may be put to it.
    pub(super) fn lets_through(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.until {
            None => true,
            Some(until) if now < until => false,
            // The others wait for what becomes of this one.
            Some(_) => {
                state.until = Some(now + rest(state.failures));
                true
            }
        }
    }

    /// Takes note of an answer.
    pub(super) fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// Takes note of a failure.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_MAX {
            state.until = Some(now + rest(state.failures));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rest(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(FAILURES_MAX).min(DOUBLINGS_MAX);
    (REST * 2_u32.pow(doublings)).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_in_a_row_it_rests_and_one_question_probes() {
        let rest = Rest::default();
        let start = Instant::now();
        for _ in 0..FAILURES_MAX {
            assert!(rest.lets_through(start));
            rest.failed(start);
        }
        assert!(!rest.lets_through(start + REST / 2));
        assert!(rest.lets_through(start + REST), "one probes");
        assert!(!rest.lets_through(start + REST), "the others wait for it");
        rest.failed(start + REST);
        assert!(
            !rest.lets_through(start + 2 * REST),
            "it rests twice as long"
        );
        assert!(rest.lets_through(start + 3 * REST));
        rest.succeeded();
        assert!(rest.lets_through(start + 3 * REST));
    }

    #[test]
    fn failures_that_are_not_in_a_row_do_no_harm_and_a_rest_is_bounded() {
        let rest = Rest::default();
        let start = Instant::now();
        for _ in 0..20 {
            rest.failed(start);
            rest.succeeded();
        }
        assert!(rest.lets_through(start));
        for _ in 0..100 {
            rest.failed(start);
        }
        assert!(!rest.lets_through(start + REST_MAX / 2));
        assert!(rest.lets_through(start + REST_MAX));
    }
}
