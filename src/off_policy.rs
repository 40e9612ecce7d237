//! What a mapping or a router that has never served would have been worth, from the outcomes of the one that served. Pure.
//!
//! Every logged outcome says who was asked and with which probability, its propensity. A row counts as much as the target
//! policy would have asked that expert more often than the logging policy did: its weight, the target's probability over
//! the propensity. Three estimators go by it:
//! - inverse propensity (Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe",
//!   JASA 1952): without bias if every reward is known, and the least exact;
//! - self-normalised (Hájek 1971; Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning",
//!   `NeurIPS` 2015): divided by the weights' sum, which takes out most of the noise of the weights themselves;
//! - doubly robust (Dudík, Langford and Li, "Doubly robust policy evaluation and learning", ICML 2011): a model of the
//!   rewards, put right by weighted rows; right where either the propensities or the model are.
//!
//! A row whose reward is not known tells nothing of rewards, and all about propensities. Leaving it out is harmless as long as
//! rewards are known of every expert's answers equally often; [`Doubt`] says where they are not.
//!
//! The intervals are those of [`interval`]; [`Doubt`] says where no interval helps.

mod difference;
mod doubt;
mod estimator;
mod interval;
mod log;
mod model;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use difference::difference;
pub use doubt::{Bounds, Doubt};
pub use log::{Logged, outcomes};
pub use model::RewardModel;

use doubt::{Facts, Weights};

/// How sure the intervals are.
pub const CONFIDENCE_LEVEL: f64 = 0.95;

/// One logged outcome, and what the target policy would have done with its question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The number of the expert that answered.
    pub expert: usize,
    /// How good the answer was, 0 to 1; no number where that is not known.
    pub reward: f64,
    /// Probability with which the logging policy chose the expert that answered, above 0; none where it was not written down.
    pub propensity: Option<f64>,
    /// Probability with which the target policy would have chosen that very expert.
    pub target: f64,
    /// The largest weight that any expert could have had for this question; the row's own, if that is larger.
    pub weight_max: f64,
    /// The target policy's probability of experts that the log never shows for such a question, 0 to 1.
    pub unsupported: f64,
    /// What a model of the rewards says, which must not have seen this row; none: no doubly robust estimate.
    pub predicted: Option<Predicted>,
    /// The conversation: rows of one are not independent of each other.
    pub cluster: u64,
}

/// What a model of the rewards says of a question, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Of the expert that answered.
    pub logged: f64,
    /// On average over the experts, as the target policy would choose them.
    pub target: f64,
}

/// The target policy's mean reward.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate itself; inverse propensity and the doubly robust one can leave 0 to 1.
    pub value: f64,
    /// The lower end of the interval of [`CONFIDENCE_LEVEL`], within 0 to 1.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// What a log says of a target policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rows that the estimates rest on.
    pub rows: usize,
    /// Rows that could not be used: without a propensity within 0 to 1, or without a reward within 0 to 1.
    pub left_out: usize,
    /// How many rows of equal weight would tell as much (Kish, "Survey Sampling", 1965).
    pub effective_rows: f64,
    /// Mean of the weights of all rows with a propensity, whether or not their reward is known: about 1 if the propensities
    /// are true.
    pub weight_mean: f64,
    /// Share of all weight that the heaviest row has, 0 to 1.
    pub largest_share: f64,
    /// Share of the target policy's choices that the log never shows, 0 to 1; over the same rows.
    pub unsupported: f64,
    /// By inverse propensity; none without a row.
    pub inverse_propensity: Option<Estimate>,
    /// Self-normalised; none without a row that the target policy could have had.
    pub self_normalised: Option<Estimate>,
    /// Doubly robust; none unless every used row comes with a prediction.
    pub doubly_robust: Option<Estimate>,
    /// Why the log cannot tell; empty if it can.
    pub doubts: Vec<Doubt>,
}

impl Report {
    /// Whether the estimates are to be relied on.
    pub fn can_tell(&self) -> bool {
        self.doubts.is_empty()
    }

    /// The estimate to go by: the doubly robust one, else the self-normalised.
    pub fn best(&self) -> Option<Estimate> {
        self.doubly_robust.or(self.self_normalised)
    }
}

/// Estimates what the target policy is worth, and says whether the log can tell.
pub fn estimate(outcomes: &[Outcome], bounds: &Bounds) -> Report {
    // Whether a choice was true to its propensity does not depend on whether somebody said how good the answer was.
    let chosen: Vec<Weighed> = outcomes.iter().filter_map(Weighed::new).collect();
    let rows: Vec<Weighed> = chosen
        .iter()
        .filter(|row| row.outcome.has_reward())
        .copied()
        .collect();
    let left_out = outcomes.len() - rows.len();
    let weights = Weights::of(&rows, &chosen);
    let facts = Facts {
        left_out,
        mean_weight: estimator::mean_weight(&chosen),
        rates: doubt::rates(&chosen, bounds),
    };
    Report {
        rows: rows.len(),
        left_out,
        effective_rows: weights.effective_rows,
        weight_mean: weights.mean,
        largest_share: weights.largest_share,
        unsupported: weights.unsupported,
        inverse_propensity: estimator::inverse_propensity(&rows),
        self_normalised: estimator::self_normalised(&rows),
        doubly_robust: estimator::doubly_robust(&rows),
        doubts: doubt::doubts(&weights, &facts, bounds),
    }
}

impl Outcome {
    fn has_reward(&self) -> bool {
        (0.0..=1.0).contains(&self.reward)
    }
}

/// An outcome with a propensity.
#[derive(Clone, Copy, Debug)]
struct Weighed {
    weight: f64,
    outcome: Outcome,
}

impl Weighed {
    fn new(outcome: &Outcome) -> Option<Self> {
        let propensity = outcome.propensity.filter(|p| 0.0 < *p && *p <= 1.0)?;
        Some(Self {
            weight: outcome.target / propensity,
            outcome: *outcome,
        })
    }
}
