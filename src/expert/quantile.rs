//! What times of late were usual.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

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

#[cfg(test)]
mod tests {
    use super::*;

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
