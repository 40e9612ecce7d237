//! What the LLM may cost a day: set aside before it is asked, and settled with its reply.

use std::sync::Arc;

use super::ask::{Cost, Failure, Heard};
use crate::{
    clock,
    expert::ErrorClass,
    outcome::{Reserved, Spending, Tab},
};

/// The dollars of a day.
pub(super) struct Budget {
    usd_per_day_max: Option<f64>,
    spending: Arc<Spending>,
}

impl Budget {
    /// With so many dollars spent today; without `usd_per_day_max` it may cost whatever it costs.
    pub(super) fn new(usd_per_day_max: Option<f64>, usd_spent: f64) -> Self {
        Self {
            usd_per_day_max,
            spending: Arc::new(Spending::new(clock::now_ms(), usd_spent)),
        }
    }

    /// Sets aside the most that a question may cost, which `usd_max` tells; none where that is not left of the day's, or is more
    /// than those have left who pay for the question.
    pub(super) fn reserve<'t>(
        &self,
        tab: &'t Tab,
        usd_max: impl FnOnce() -> Option<f64>,
    ) -> Option<Pending<'t>> {
        let usd = usd_max().unwrap_or(0.0);
        if usd > tab.usd_left().unwrap_or(f64::INFINITY) {
            return None;
        }
        let most = self.usd_per_day_max.unwrap_or(f64::INFINITY);
        let admitted = self.spending.admit(clock::now_ms(), |today| {
            let is_left = today.usd_spent + usd <= most;
            if is_left { Ok(((), usd)) } else { Err(()) }
        });
        let ((), reserved) = admitted.ok()?;
        Some(Pending {
            reserved: Some(reserved),
            tab,
        })
    }
}

/// What a question may cost, while nobody knows yet: of one that is broken off all of it is taken as spent.
pub(super) struct Pending<'t> {
    reserved: Option<Reserved>,
    tab: &'t Tab,
}

impl Pending<'_> {
    /// Gives back what was set aside for a question that was not asked.
    pub(super) fn cancel(mut self) {
        if let Some(reserved) = self.reserved.take() {
            reserved.settle(0.0);
        }
    }

    /// Puts what a reply cost in the place of what was set aside; what was never sent costs nothing.
    pub(super) fn settle(mut self, heard: &Result<Heard, Failure>, cost: Cost) {
        let Some(reserved) = self.reserved.take() else {
            return;
        };
        let was_sent = match heard {
            Err(Failure::Expert(error)) => error.class() == ErrorClass::BrokenStream,
            _ => true,
        };
        let usd = match cost.usd {
            Some(usd) => usd,
            None if was_sent => reserved.usd(),
            None => 0.0,
        };
        reserved.settle(usd);
        self.tab.charge(usd);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.tab.charge(reserved.usd());
            reserved.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(usd_left: f64) -> Tab {
        Tab::new(Vec::new(), Some(usd_left))
    }

    #[test]
    fn nothing_is_asked_that_the_day_or_the_payer_cannot_pay() {
        let (budget, rich) = (Budget::new(Some(1.0), 0.5), Tab::default());
        assert!(budget.reserve(&with(0.1), || Some(0.2)).is_none());
        let enough = with(0.3);
        let pending = budget.reserve(&enough, || Some(0.3));
        assert!(pending.is_some());
        assert!(
            budget.reserve(&rich, || Some(0.3)).is_none(),
            "0.2 are left"
        );
        drop(pending);
        assert!(
            budget.reserve(&rich, || Some(0.3)).is_none(),
            "what was broken off is taken as spent"
        );
        assert!(budget.reserve(&rich, || Some(0.2)).is_some());
    }

    #[test]
    fn who_pays_is_charged_for_what_was_broken_off_as_well() {
        let house = Arc::new(Spending::new(clock::now_ms(), 0.0));
        let tab = Tab::new(vec![Arc::clone(&house)], None);
        let budget = Budget::new(None, 0.0);
        drop(budget.reserve(&tab, || Some(0.25)));
        let cost = Cost {
            usd: Some(0.125),
            ..Cost::default()
        };
        let pending = budget.reserve(&tab, || Some(0.25)).unwrap();
        pending.settle(&Err(Failure::Crowded), cost);
        drop(tab);
        assert_eq!(house.today(clock::now_ms()).usd_spent, 0.375);
    }

    #[test]
    fn what_is_free_is_never_too_dear() {
        let budget = Budget::new(None, 0.0);
        assert!(budget.reserve(&with(0.0), || Some(0.1)).is_none());
        assert!(budget.reserve(&with(0.0), || Some(0.0)).is_some());
    }
}
