//! What working out who answers a question has cost before that is decided.

use std::sync::{Arc, Mutex, PoisonError};

use super::Spending;
use crate::clock;

/// Dollars spent on a question that has no outcome yet.
///
/// Dropped, it has those pay who pay for the question, unless an outcome has taken it over: a dry run, a question that nobody
/// may answer and one whose client left cost what they cost.
#[derive(Debug, Default)]
pub struct Tab {
    payers: Vec<Arc<Spending>>,
    usd_left: Option<f64>,
    usd: Mutex<f64>,
}

impl Tab {
    /// Of a question for which these pay, who have so many dollars left today; none: they have no limit.
    pub fn new(payers: Vec<Arc<Spending>>, usd_left: Option<f64>) -> Self {
        Self {
            payers,
            usd_left,
            usd: Mutex::default(),
        }
    }

    /// Dollars that those who pay have left today; none: no limit.
    pub fn usd_left(&self) -> Option<f64> {
        self.usd_left
    }

    /// Adds dollars.
    pub fn charge(&self, usd: f64) {
        *self.usd.lock().unwrap_or_else(PoisonError::into_inner) += usd;
    }

    /// The question has an outcome now, which counts the same dollars among its attempts.
    pub fn hand_over(&self) {
        *self.usd.lock().unwrap_or_else(PoisonError::into_inner) = 0.0;
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let usd = *self.usd.get_mut().unwrap_or_else(PoisonError::into_inner);
        let now_ms = clock::now_ms();
        for payer in &self.payers {
            payer.charge(now_ms, usd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_outcome_takes_over_is_paid_all_the_same() {
        let now_ms = clock::now_ms();
        let house = Arc::new(Spending::new(now_ms, 1.0));
        let tab = || Tab::new(vec![Arc::clone(&house)], None);
        let spent = || house.today(clock::now_ms()).usd_spent;
        let answered = tab();
        answered.charge(0.5);
        answered.hand_over();
        drop(answered);
        assert_eq!(spent(), 1.0);
        let refused = tab();
        refused.charge(0.25);
        drop(refused);
        assert_eq!(spent(), 1.25);
    }
}
