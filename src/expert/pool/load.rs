//! How burdened an endpoint is.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How long it takes until a slow answer is as good as forgotten, by a factor of e.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// What an endpoint is expected to take that has not answered yet: such ones are drawn first, which is how they become
/// known.
const UNKNOWN: Duration = Duration::from_millis(1);

/// Latency, sensitive to its peaks, and answers under way.
#[derive(Debug, Default)]
pub(super) struct Load {
    under_way: AtomicU32,
    latency: Mutex<Option<Latency>>,
}

#[derive(Clone, Copy, Debug)]
struct Latency {
    s: f64,
    at: Instant,
}

/// One answer under way, as long as it lives.
pub(super) struct UnderWay(Arc<Load>);

impl Load {
    /// An answer begins.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Answers under way.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Takes note of how long an answer took to begin. A peak counts at once, what is faster only with time.
    pub(super) fn saw(&self, took: Duration, now: Instant) {
        let s = took.as_secs_f64();
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let s = match *latency {
            Some(before) if s < before.s => {
                let kept = before.kept(now);
                before.s * kept + s * (1.0 - kept)
            }
            _ => s,
        };
        *latency = Some(Latency { s, at: now });
    }

    /// What one more answer costs here: expected latency times what is under way, that one included.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let latency = *self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let s = latency.map_or(UNKNOWN.as_secs_f64(), |latency| {
            latency.s * latency.kept(now)
        });
        s.max(UNKNOWN.as_secs_f64()) * f64::from(self.under_way() + 1)
    }
}

impl Latency {
    /// How much of it is left by now.
    fn kept(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at);
        (-age.as_secs_f64() / FORGOTTEN_AFTER.as_secs_f64()).exp()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
