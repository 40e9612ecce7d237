//! The circuit breaker of one endpoint: closed, open, half open with a single probe (Michael Nygard, "Release It!", 2007),
//! opened by failures in a row, by their share in a window, and by first tokens far slower than usual (the first two as
//! in Envoy's outlier detection). Every method takes the time, and nothing here waits.

mod speed;
mod window;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::RngExt;
use serde::Serialize;
use tokio::time::Instant;

use crate::config::BreakerConfig;
use speed::Speeds;
pub(super) use speed::Took;
use window::Window;

/// How much a time open may differ from what is configured, so that many servers do not probe in the same moment.
const JITTER: f64 = 0.2;

/// How often the time open is doubled at the most; its cap is reached long before.
const DOUBLINGS_MAX: u32 = 16;

/// How long somebody is told to wait at the most while a question probes: it is known as soon as that is answered.
const PROBE_HINT_MAX: Duration = Duration::from_secs(1);

/// The breaker of one endpoint.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    /// Counts probes, so that a question that was let through before another probe does not pass for it.
    probes: u64,
    /// How many there had been when it last opened from closed.
    probes_before: u64,
    failures_in_a_row: u32,
    window: Window,
    /// Of first tokens, and of whole answers.
    speeds: Speeds,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    /// Left alone until then; `times` it opened in a row.
    Open {
        until: Instant,
        times: u32,
        why: Why,
    },
    /// One question probes, since then.
    Probing {
        since: Instant,
        times: u32,
        why: Why,
    },
}

/// What opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Failures in a row, or too large a share of them.
    Failures,
    /// First tokens far slower than usual.
    Slow,
    /// The provider asked for a pause.
    AskedTo,
}

impl Why {
    /// What is told to somebody who would have asked.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Failures => "the expert failed of late and is left alone",
            Self::Slow => "the expert was slow of late and is left alone",
            Self::AskedTo => "the provider asked for a pause",
        }
    }
}

/// What a breaker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Circuit {
    /// Questions go through.
    Closed,
    /// None does.
    Open {
        /// What opened it.
        why: Why,
        /// Time until a question may probe, in milliseconds.
        probe_in_ms: u64,
    },
    /// The next question probes, or one does already.
    HalfOpen {
        /// What opened it.
        why: Why,
    },
}

impl Circuit {
    /// What opened it; none where it is closed.
    pub(super) fn why(self) -> Option<Why> {
        match self {
            Self::Closed => None,
            Self::Open { why, .. } | Self::HalfOpen { why } => Some(why),
        }
    }

    /// What the gauge shows: 0 closed, 1 half open, 2 open.
    pub(super) fn level(&self) -> f64 {
        match self {
            Self::Closed => 0.0,
            Self::HalfOpen { .. } => 1.0,
            Self::Open { .. } => 2.0,
        }
    }
}

/// A question that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// Which probe it is; none where it is none.
    probe: Option<u64>,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            inner: Mutex::new(Inner {
                phase: Phase::Closed,
                probes: 0,
                probes_before: 0,
                failures_in_a_row: 0,
                window: Window::new(config.window),
                speeds: Speeds::default(),
            }),
        }
    }

    /// Lets a question through. One that is only slow lets all of them through: who has anybody else to ask looks at
    /// [`closed_for`](Self::closed_for) before.
    ///
    /// # Errors
    /// The time until it may be worth asking again.
    pub(super) fn admit(&self, now: Instant) -> Result<Pass, Duration> {
        let mut inner = self.inner(now);
        let (times, why) = match inner.phase {
            Phase::Closed => return Ok(Pass { probe: None }),
            Phase::Open { until, times, why } if now >= until => (times, why),
            // A probe that nothing is heard of must not keep others from finding out.
            Phase::Probing { since, times, why } if now >= since + self.config.open_max => {
                (times, why)
            }
            phase if phase.is_slow() => return Ok(Pass { probe: None }),
            Phase::Open { until, .. } => return Err(until - now),
            Phase::Probing { since, .. } => return Err(self.probe_hint(since, now)),
        };
        inner.phase = Phase::Probing {
            since: now,
            times,
            why,
        };
        inner.probes += 1;
        Ok(Pass {
            probe: Some(inner.probes),
        })
    }

    /// Time for which others are to be asked before it; none where it is as good as any.
    pub(super) fn closed_for(&self, now: Instant) -> Option<Duration> {
        let wait = match self.inner(now).phase {
            Phase::Closed => return None,
            Phase::Open { until, .. } => until.saturating_duration_since(now),
            Phase::Probing { since, .. } => self.probe_hint(since, now),
        };
        (!wait.is_zero()).then_some(wait)
    }

    /// Time until a question would be let through; none where one would be now, if only because nobody else is left.
    pub(super) fn refuses_for(&self, now: Instant) -> Option<Duration> {
        let is_slow = self.inner(now).phase.is_slow();
        self.closed_for(now).filter(|_| !is_slow)
    }

    /// What it is doing.
    pub(super) fn circuit(&self, now: Instant) -> Circuit {
        match self.inner(now).phase {
            Phase::Closed => Circuit::Closed,
            Phase::Open { until, why, .. } if now < until => Circuit::Open {
                why,
                probe_in_ms: u64::try_from((until - now).as_millis()).unwrap_or(u64::MAX),
            },
            Phase::Open { why, .. } | Phase::Probing { why, .. } => Circuit::HalfOpen { why },
        }
    }

    /// The answer began after a time, where that tells something. A probe that comes as far closes the breaker, also one in
    /// whose place another was sent meanwhile: where answers take long, it is always an older one that comes first.
    pub(super) fn began(&self, pass: Pass, took: Option<Took>, now: Instant) {
        let mut inner = self.inner(now);
        if inner.has_probed(pass) {
            inner.close();
        }
        let Some(took) = took else {
            return;
        };
        if inner.speeds.saw(took, self.config.slow_factor) && matches!(inner.phase, Phase::Closed) {
            self.open(&mut inner, now, 0, Why::Slow);
        }
    }

    /// The answer came to its end.
    pub(super) fn completed(&self, now: Instant) {
        let mut inner = self.inner(now);
        inner.failures_in_a_row = 0;
        inner.window.add(now, false);
    }

    /// The endpoint failed.
    pub(super) fn failed(&self, pass: Pass, now: Instant) {
        let mut inner = self.inner(now);
        inner.failures_in_a_row = inner.failures_in_a_row.saturating_add(1);
        inner.window.add(now, true);
        let is_probe = inner.is_probe(pass);
        match inner.phase {
            // One that is slow lets questions through as well, and may fail like one that is not.
            phase if phase.lets_all_through() && self.is_too_much(&inner, now) => {
                self.open(&mut inner, now, 0, Why::Failures);
            }
            Phase::Probing { times, why, .. } if is_probe => {
                self.open(&mut inner, now, times.saturating_add(1), why);
            }
            _ => {}
        }
    }

    /// The provider asks to be left alone for a while.
    pub(super) fn rest(&self, pass: Pass, wait: Duration, now: Instant) {
        let mut inner = self.inner(now);
        let until = now + wait.min(self.config.open_max);
        let is_probe = inner.is_probe(pass);
        let (times, why) = match inner.phase {
            phase if phase.lets_all_through() => (0, Why::AskedTo),
            Phase::Open { until: later, .. } if later >= until => return,
            Phase::Probing { .. } if !is_probe => return,
            // What has failed is not known to be well once the pause is over: single questions find that out.
            Phase::Open { times, why, .. } | Phase::Probing { times, why, .. } => (times, why),
            Phase::Closed => (0, Why::AskedTo),
        };
        inner.probes_before = inner.probes;
        inner.phase = Phase::Open { until, times, why };
    }

    /// Nothing was learned of the endpoint: the question was given up, or was itself at fault.
    pub(super) fn released(&self, pass: Pass, now: Instant) {
        let mut inner = self.inner(now);
        if let Phase::Probing { times, why, .. } = inner.phase
            && inner.is_probe(pass)
        {
            // The next question probes.
            inner.phase = Phase::Open {
                until: now,
                times,
                why,
            };
        }
    }

    fn is_too_much(&self, inner: &Inner, now: Instant) -> bool {
        let (answers, failures) = inner.window.counts(now);
        let is_share = answers >= self.config.answers_min
            && f64::from(failures) >= self.config.error_rate * f64::from(answers);
        is_share || inner.failures_in_a_row >= self.config.failures
    }

    fn open(&self, inner: &mut Inner, now: Instant, times: u32, why: Why) {
        let time = self
            .config
            .open
            .saturating_mul(1 << times.min(DOUBLINGS_MAX))
            .min(self.config.open_max);
        let jitter = rand::rng().random_range(1.0 - JITTER..=1.0);
        if times == 0 {
            inner.probes_before = inner.probes;
        }
        inner.phase = Phase::Open {
            until: now + time.mul_f64(jitter),
            times,
            why,
        };
    }

    /// What whoever is not let through while a question probes is told to wait.
    fn probe_hint(&self, since: Instant, now: Instant) -> Duration {
        let left = (since + self.config.open_max).saturating_duration_since(now);
        left.min(PROBE_HINT_MAX)
    }

    /// What it is doing at this time.
    fn inner(&self, now: Instant) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // A pause that was asked for is over when it is over: nothing has to be found out by one question while those
        // that have waited for it are turned away.
        if let Phase::Open { until, why, .. } = inner.phase
            && why == Why::AskedTo
            && now >= until
        {
            inner.phase = Phase::Closed;
        }
        inner
    }
}

impl Phase {
    /// Whether nothing but slowness speaks against it.
    fn is_slow(self) -> bool {
        match self {
            Self::Closed => false,
            Self::Open { why, .. } | Self::Probing { why, .. } => why == Why::Slow,
        }
    }

    fn lets_all_through(self) -> bool {
        matches!(self, Self::Closed) || self.is_slow()
    }
}

impl Inner {
    /// Whether a question has probed since it opened, be it before another.
    fn has_probed(&self, pass: Pass) -> bool {
        let is_of_now = pass.probe.is_some_and(|probe| probe > self.probes_before);
        is_of_now && !matches!(self.phase, Phase::Closed)
    }

    /// Whether a question is the probe that is under way.
    fn is_probe(&self, pass: Pass) -> bool {
        matches!(self.phase, Phase::Probing { .. }) && pass.probe == Some(self.probes)
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.failures_in_a_row = 0;
        self.window.clear();
        self.speeds.forgive();
    }
}

#[cfg(test)]
mod tests;
