//! The experts that a category could have in an optimum.

use super::{BUDGETS, PerBudget};
use crate::mapping::fit::solve::Pairs;

/// An expert for a category.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) expert: usize,
    pub(super) gain: f64,
    /// What it takes of the budgets.
    pub(super) share: PerBudget,
}

impl Choice {
    /// What it is worth when the budgets have these prices.
    pub(super) fn worth(&self, prices: &PerBudget) -> f64 {
        let paid = |at: usize| prices[at] * self.share[at];
        self.gain - (0..BUDGETS).map(paid).sum::<f64>()
    }

    /// Whether it gains as much as another one and takes no more.
    fn dominates(&self, other: &Self) -> bool {
        let mut shares = self.share.iter().zip(&other.share);
        self.gain >= other.gain && shares.all(|(share, other)| share <= other)
    }
}

/// By category, the experts that no other dominates, best first.
pub(super) fn of(pairs: &Pairs, experts: &[usize]) -> Vec<Vec<Choice>> {
    let mut choices = vec![Vec::with_capacity(experts.len()); pairs.gain.ncols()];
    for &expert in experts {
        for (category, choices) in choices.iter_mut().enumerate() {
            let gain = pairs.gain[[expert, category]];
            if gain.is_finite() {
                let share = |at: usize| {
                    pairs
                        .shares
                        .get(at)
                        .map_or(0.0, |shares| shares[[expert, category]])
                };
                choices.push(Choice {
                    expert,
                    gain,
                    share: std::array::from_fn(share),
                });
            }
        }
    }
    choices.into_iter().map(undominated).collect()
}

fn undominated(mut choices: Vec<Choice>) -> Vec<Choice> {
    // Stable: of equal ones the first by name stays.
    choices.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    let mut kept: Vec<Choice> = Vec::new();
    for choice in choices {
        if !kept.iter().any(|better| better.dominates(&choice)) {
            kept.push(choice);
        }
    }
    kept
}
