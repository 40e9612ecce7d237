//! What the LLM may cost a day: set aside before it is asked, and settled with its reply.

use std::sync::Arc;

use super::ask::{Cost, Failure, Heard};
use crate::{
    clock,
    expert::ErrorClass,
    outcome::{Reserved, Spending},
};

/// The dollars of a day.
pub(super) struct Purse {
    usd_per_day_max: Option<f64>,
    spending: Arc<Spending>,
}

impl Purse {
    /// With so many dollars spent today; without `usd_per_day_max` it may cost whatever it costs.
    pub(super) fn new(usd_per_day_max: Option<f64>, usd_spent: f64) -> Self {
        Self {
            usd_per_day_max,
            spending: Arc::new(Spending::new(clock::now_ms(), usd_spent)),
        }
    }

    /// Sets aside the most that a question may cost, which `usd_max` tells where it matters; none where that is not left of
    /// the day's, or is more than `usd_left`, what those who pay for the question have left (none: no limit).
    pub(super) fn reserve(
        &self,
        usd_left: Option<f64>,
        usd_max: impl FnOnce() -> Option<f64>,
    ) -> Option<Pending> {
        if self.usd_per_day_max.is_none() && usd_left.is_none() {
            return Some(Pending(None));
        }
        let usd = usd_max().unwrap_or(0.0);
        if usd > usd_left.unwrap_or(f64::INFINITY) {
            return None;
        }
        let most = self.usd_per_day_max.unwrap_or(f64::INFINITY);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_that_the_day_or_the_payer_cannot_pay() {
        let purse = Purse::new(Some(1.0), 0.5);
        assert!(purse.reserve(Some(0.1), || Some(0.2)).is_none());
        let pending = purse.reserve(Some(0.3), || Some(0.3)).unwrap();
        assert!(purse.reserve(None, || Some(0.3)).is_none(), "0.2 are left");
        drop(pending);
        assert!(
            purse.reserve(None, || Some(0.3)).is_none(),
            "what was broken off is taken as spent"
        );
        assert!(purse.reserve(None, || Some(0.2)).is_some());
    }

    #[test]
    fn without_limits_nobody_reckons() {
        let purse = Purse::new(None, 0.0);
        assert!(purse.reserve(None, || unreachable!()).is_some());
        assert!(purse.reserve(Some(0.0), || Some(0.1)).is_none());
        assert!(
            purse.reserve(Some(0.0), || Some(0.0)).is_some(),
            "it is free"
        );
    }
}
