//! What times of late were usual.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Times that are kept: enough for the slowest in twenty to be several, few enough to follow the day.
const KEPT: usize = 128;

/// The least for which a quantile means something.
const KEPT_MIN: usize = 20;

/// The last times of something.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    micros: Vec<u64>,
    next: usize,
}

impl Recent {
    /// Takes note of a time.
    pub(super) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = ring.next;
        if ring.micros.len() < KEPT {
            ring.micros.push(micros);
        } else if let Some(oldest) = ring.micros.get_mut(next) {
            *oldest = micros;
        }
        ring.next = (next + 1) % KEPT;
    }

    /// The time that nineteen in twenty keep to; none while too few are known.
    pub(super) fn p95(&self) -> Option<Duration> {
        let mut micros = {
            let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            ring.micros.clone()
        };
        if micros.len() < KEPT_MIN {
            return None;
        }
        let at = (micros.len() * 95 / 100).min(micros.len() - 1);
        let (_, p95, _) = micros.select_nth_unstable(at);
        Some(Duration::from_micros(*p95))
    }
}

/// An answer that has not begun. Whoever gives it up, because another was faster or the client left, knows at least that it takes
/// longer than that; where that is longer than usual, it counts: else what is usual would be the time of the fast ones alone.
pub(super) struct Unanswered<'a> {
    since: Instant,
    recent: Option<&'a Recent>,
}

impl<'a> Unanswered<'a> {
    pub(super) fn since(since: Instant, recent: &'a Recent) -> Self {
        Self {
            since,
            recent: Some(recent),
        }
    }

    /// It began, or failed.
    pub(super) fn ended(mut self) {
        self.recent = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(recent) = self.recent else {
            return;
        };
        let waited = self.since.elapsed();
        if recent.p95().is_some_and(|usual| waited > usual) {
            recent.add(waited);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_given_up_counts_where_it_is_slower_than_usual() {
        let recent = Recent::default();
        for _ in 0..KEPT_MIN {
            recent.add(Duration::from_millis(10));
        }
        let given_up_after = async |ms| {
            let unanswered = Unanswered::since(Instant::now(), &recent);
            advance(Duration::from_millis(ms)).await;
            drop(unanswered);
        };
        given_up_after(5).await;
        assert_eq!(recent.p95(), Some(Duration::from_millis(10)));
        for _ in 0..3 {
            given_up_after(50).await;
        }
        assert_eq!(recent.p95(), Some(Duration::from_millis(50)));
        Unanswered::since(Instant::now(), &recent).ended();
    }

    #[test]
    fn the_last_times_count_and_too_few_say_nothing() {
        let recent = Recent::default();
        for ms in 1..KEPT_MIN {
            recent.add(Duration::from_millis(ms as u64));
            assert_eq!(recent.p95(), None);
        }
        for ms in 1..=200 {
            recent.add(Duration::from_millis(ms));
        }
        // Of 73…200.
        assert_eq!(recent.p95(), Some(Duration::from_millis(73 + 121)));
    }
}
