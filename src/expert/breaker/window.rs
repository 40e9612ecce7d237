//! How many answers of the last while failed.

use std::time::Duration;

use tokio::time::Instant;

/// Parts that the window is counted in: it moves on by a tenth of its length.
const PARTS: usize = 10;

/// Counts of answers and failures in the last while.
#[derive(Debug)]
pub(super) struct Window {
    part: Duration,
    /// When the part that is counted in began; none before the first count.
    began: Option<Instant>,
    /// Answers and failures, the current part first.
    counts: [(u32, u32); PARTS],
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            part: (length / 10).max(Duration::from_millis(1)),
            began: None,
            counts: [(0, 0); PARTS],
        }
    }

    pub(super) fn add(&mut self, now: Instant, failed: bool) {
        self.move_to(now);
        let (answers, failures) = &mut self.counts[0];
        *answers += 1;
        *failures += u32::from(failed);
    }

    /// Answers and failures in the window.
    pub(super) fn counts(&self, now: Instant) -> (u32, u32) {
        let parts = PARTS.saturating_sub(self.parts_since(now));
        let add = |(a, b): (u32, u32), (c, d): &(u32, u32)| (a + c, b + d);
        self.counts[..parts].iter().fold((0, 0), add)
    }

    pub(super) fn clear(&mut self) {
        self.counts = [(0, 0); PARTS];
    }

    fn move_to(&mut self, now: Instant) {
        let parts = self.parts_since(now);
        if parts >= PARTS {
            self.clear();
        } else {
            self.counts.rotate_right(parts);
            self.counts[..parts].fill((0, 0));
        }
        if self.began.is_none() || parts > 0 {
            self.began = Some(now);
        }
    }

    /// How many parts have passed since the current one began.
    fn parts_since(&self, now: Instant) -> usize {
        let passed = self
            .began
            .map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        usize::try_from(passed.as_nanos() / self.part.as_nanos()).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_no_longer_counts() {
        let second = Duration::from_secs(1);
        let mut window = Window::new(10 * second);
        let start = Instant::now();
        window.add(start, true);
        window.add(start + 5 * second, false);
        assert_eq!(window.counts(start + 5 * second), (2, 1));
        assert_eq!(window.counts(start + 12 * second), (1, 0));
        window.add(start + 12 * second, true);
        assert_eq!(window.counts(start + 12 * second), (2, 1));
        assert_eq!(window.counts(start + 60 * second), (0, 0));
    }
}
