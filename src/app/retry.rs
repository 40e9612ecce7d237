//! When something that could not be opened is tried again: what kept it from being opened may pass, such as a copy that is
//! still under way.

use std::time::{Duration, Instant};

/// Time until the first try, and the most that it grows to by doubling.
const AFTER: Duration = Duration::from_secs(5);
const AFTER_MAX: Duration = Duration::from_secs(300);

/// The next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    at: Instant,
    after: Duration,
}

impl Retry {
    /// After a try that failed; `before`: what that one was.
    pub(super) fn after(before: Option<Self>, now: Instant) -> Self {
        let after = before.map_or(AFTER, |before| (2 * before.after).min(AFTER_MAX));
        Self {
            at: now + after,
            after,
        }
    }

    /// How long it is put off.
    pub(super) fn pause(self) -> Duration {
        self.after
    }

    /// Whether it is time, or somebody asks for it.
    pub(super) fn is_due(self, now: Instant, was_asked: bool) -> bool {
        was_asked || now >= self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_whoever_asks_need_not_wait() {
        let now = Instant::now();
        let first = Retry::after(None, now);
        assert!(!first.is_due(now, false) && first.is_due(now, true));
        assert!(first.is_due(now + AFTER, false));
        let second = Retry::after(Some(first), now);
        assert_eq!(second.pause(), 2 * AFTER);
        let last = (0..20).fold(second, |before, _| Retry::after(Some(before), now));
        assert_eq!(last.pause(), AFTER_MAX);
    }
}
