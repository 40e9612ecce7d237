//! Whether answers come far slower than usual.

use std::time::Duration;

/// What an answer adds to what is usual: the last fifty count most.
const USUAL_SHARE: f64 = 0.02;

/// What a slow answer adds to it: little, or what is slow would be usual before it is found to be slow; but something, so
/// that in the end an expert is judged by what it has become.
const USUAL_SHARE_SLOW: f64 = 0.002;

/// What it adds to how things are now: the last three count most.
const NOW_SHARE: f64 = 0.3;

/// Answers before anything is said to be usual.
const ANSWERS_MIN: u32 = 20;

/// Answers after an ejection before the next one can be called for.
const ANSWERS_AFTER: u32 = 5;

/// Nothing faster is called slow, however fast it is otherwise.
const SLOW_MIN: Duration = Duration::from_secs(1);

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub(in crate::expert) enum Took {
    /// Until the first token of a stream came.
    FirstToken(Duration),
    /// Until an answer was there that came whole. Its length tells on it, but seldom by a factor of ten.
    Whole(Duration),
}

/// What is usual of streams, and of whole answers.
#[derive(Debug, Default)]
pub(super) struct Speeds {
    first_tokens: Speed,
    whole: Speed,
}

impl Speeds {
    /// Takes note of a time; whether such times are at least `factor` times as long as usual.
    pub(super) fn saw(&mut self, took: Took, factor: f64) -> bool {
        match took {
            Took::FirstToken(took) => self.first_tokens.saw(took, factor),
            Took::Whole(took) => self.whole.saw(took, factor),
        }
    }

    /// Begins to judge anew from what is usual.
    pub(super) fn forgive(&mut self) {
        self.first_tokens.forgive();
        self.whole.forgive();
    }
}

/// Two exponential averages of the logarithm of times: one of the last few, one of the last many. In
/// logarithms, because such times differ by factors: one outlier moves neither far.
#[derive(Debug, Default)]
struct Speed {
    answers: u32,
    /// Answers that must come before the next ejection.
    grace: u32,
    usual_ln_s: f64,
    now_ln_s: f64,
}

impl Speed {
    fn saw(&mut self, took: Duration, factor: f64) -> bool {
        let ln_s = took.as_secs_f64().max(1e-6).ln();
        self.answers = self.answers.saturating_add(1);
        // The first answers are a plain mean, which an average from nothing would not be.
        let share = |least: f64| least.max(1.0 / f64::from(self.answers));
        let is_usual = ln_s - self.usual_ln_s < factor.ln() || self.answers < ANSWERS_MIN;
        let usual_share = if is_usual {
            share(USUAL_SHARE)
        } else {
            USUAL_SHARE_SLOW
        };
        self.usual_ln_s += usual_share * (ln_s - self.usual_ln_s);
        self.now_ln_s += share(NOW_SHARE) * (ln_s - self.now_ln_s);
        if self.grace > 0 {
            self.grace -= 1;
            return false;
        }
        let is_slow = self.answers >= ANSWERS_MIN
            && self.now_ln_s - self.usual_ln_s >= factor.ln()
            && self.now_ln_s >= SLOW_MIN.as_secs_f64().ln();
        if is_slow {
            self.grace = ANSWERS_AFTER;
        }
        is_slow
    }

    fn forgive(&mut self) {
        self.now_ln_s = self.usual_ln_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers_until_slow(before_s: f64, after_s: f64) -> Option<usize> {
        let mut speed = Speed::default();
        for _ in 0..100 {
            assert!(!speed.saw(Duration::from_secs_f64(before_s), 10.0));
        }
        (0..30).position(|_| speed.saw(Duration::from_secs_f64(after_s), 10.0))
    }

    #[test]
    fn a_lasting_slowdown_is_seen_and_a_single_slow_answer_is_not() {
        let seen = answers_until_slow(0.3, 20.0).unwrap();
        assert!((1..10).contains(&seen), "{seen}");
        assert_eq!(answers_until_slow(0.3, 0.9), None);
        assert!(answers_until_slow(0.3, 4.0).is_some());
        // Ten times as slow as nothing is still fast.
        assert_eq!(answers_until_slow(0.001, 0.2), None);
    }

    #[test]
    fn nothing_is_unusual_before_anything_is_usual() {
        let mut speed = Speed::default();
        let mut slow = [0.1, 30.0, 30.0].into_iter().map(Duration::from_secs_f64);
        assert!(!slow.any(|time| speed.saw(time, 10.0)));
    }
}
