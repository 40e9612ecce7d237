//! A log of who answered what → outcomes that say what the target policy would have done.

use super::{Outcome, Predicted, model::CrossFitted};

/// One outcome as it was logged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    /// The category's number.
    pub category: usize,
    /// The number of the expert that answered.
    pub expert: usize,
    /// How good the answer was, 0 to 1; no number where that is not known.
    pub reward: f64,
    /// Probability with which that expert was chosen; none where it was not written down.
    pub propensity: Option<f64>,
    /// The conversation.
    pub cluster: u64,
}

impl Logged {
    /// Its propensity, if it can be true.
    fn propensity(&self) -> Option<f64> {
        self.propensity.filter(|p| 0.0 < *p && *p <= 1.0)
    }

    /// Whether it tells something of rewards.
    fn is_usable(&self) -> bool {
        self.propensity().is_some() && (0.0..=1.0).contains(&self.reward)
    }
}

/// What a target policy would have done with each logged question, and what a model of the rewards, cross-fitted on this very
/// log, predicts of it.
///
/// `experts`: how many there are. `target`: the probability with which the policy would have chosen an expert, from the row
/// and the expert's number; over all experts they add up to 1. `seed`: of the parts of the log that the model is fitted on.
pub fn outcomes(
    log: &[Logged],
    experts: usize,
    target: impl Fn(usize, usize) -> f64,
    seed: u64,
) -> Vec<Outcome> {
    let support = Support::of(log, experts);
    let usable: Vec<Logged> = log.iter().filter(|row| row.is_usable()).copied().collect();
    let models = CrossFitted::fit(&usable, experts, seed);
    let outcome = |(at, row): (usize, &Logged)| {
        let model = models.without(row.cluster);
        let mut outcome = Outcome {
            expert: row.expert,
            reward: row.reward,
            propensity: row.propensity,
            target: target(at, row.expert),
            weight_max: 0.0,
            unsupported: 0.0,
            predicted: None,
            cluster: row.cluster,
        };
        let mut predicted = 0.0;
        for expert in 0..experts {
            let probability = target(at, expert);
            if probability <= 0.0 {
                continue;
            }
            let seen = support.seen(row.category, expert);
            if seen.is_none() {
                outcome.unsupported += probability;
            }
            let weight = probability / seen.unwrap_or(support.least);
            outcome.weight_max = outcome.weight_max.max(weight);
            predicted += probability * model.reward(row.category, expert);
        }
        outcome.predicted = Some(Predicted {
            logged: model.reward(row.category, row.expert),
            target: predicted,
        });
        outcome
    };
    log.iter().enumerate().map(outcome).collect()
}

/// With which propensity experts were seen to answer questions of a category.
struct Support {
    experts: usize,
    /// The least of each category and expert; infinite where there is no row.
    cells: Vec<f64>,
    /// The least of all: what an expert that was never seen is taken to have had.
    least: f64,
}

impl Support {
    fn of(log: &[Logged], experts: usize) -> Self {
        let categories = log.iter().map(|row| row.category + 1).max().unwrap_or(0);
        let mut cells = vec![f64::INFINITY; categories * experts];
        let mut least = 1.0_f64;
        for row in log {
            let Some(propensity) = row.propensity() else {
                continue;
            };
            least = least.min(propensity);
            if let Some(cell) = cells.get_mut(row.category * experts + row.expert) {
                *cell = cell.min(propensity);
            }
        }
        Self {
            experts,
            cells,
            least,
        }
    }

    fn seen(&self, category: usize, expert: usize) -> Option<f64> {
        let cell = self.cells.get(category * self.experts + expert).copied();
        cell.filter(|least| least.is_finite())
    }
}
