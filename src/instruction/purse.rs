//! What the LLM may cost a day: set aside before it is asked, and settled with its reply.

use std::sync::Arc;

use super::ask::{Cost, Failure, Heard};
use crate::{
    clock,
    expert::ErrorClass,
    outcome::{Reserved, Spending},
};

/// The dollars of a day. A server that starts begins with nothing spent.
pub(super) struct Purse {
    usd_per_day_max: Option<f64>,
    spending: Arc<Spending>,
}

impl Purse {
    /// None: whatever it costs.
    pub(super) fn new(usd_per_day_max: Option<f64>) -> Self {
        Self {
            usd_per_day_max,
            spending: Arc::new(Spending::new(clock::now_ms(), 0.0)),
        }
    }

    /// Sets aside the most that a question may cost, which `usd_max` tells where it matters; none where that is not left of
    /// the day's.
    pub(super) fn reserve(&self, usd_max: impl FnOnce() -> Option<f64>) -> Option<Pending> {
        let Some(most) = self.usd_per_day_max else {
            return Some(Pending(None));
        };
        let usd = usd_max().unwrap_or(0.0);
        let admitted = self.spending.admit(clock::now_ms(), |today| {
            let is_left = today.usd_spent + usd <= most;
            if is_left { Ok(((), usd)) } else { Err(()) }
        });
        admitted.ok().map(|((), reserved)| Pending(Some(reserved)))
    }
}

/// What a question may cost, while nobody knows yet: of one that is broken off all of it is taken as spent.
pub(super) struct Pending(Option<Reserved>);

impl Pending {
    /// Puts what a reply cost in the place of what was set aside; what was never sent costs nothing.
    pub(super) fn settle(mut self, heard: &Result<Heard, Failure>, cost: Cost) {
        let Some(reserved) = self.0.take() else {
            return;
        };
        match (cost.usd, heard) {
            (Some(usd), _) => reserved.settle(usd),
            (None, Err(Failure::Expert(error))) if error.class() != ErrorClass::BrokenStream => {
                drop(reserved);
            }
            (None, _) => reserved.keep(),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(reserved) = self.0.take() {
            reserved.keep();
        }
    }
}
