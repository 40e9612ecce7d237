//! Sends a small share of the questions to another expert than the mapping's, so that outcomes tell of more than what is in
//! force. Pure.
//!
//! What makes such outcomes useful is the propensity: the exact probability with which the expert that is asked was chosen.
//! So probabilities are computed first, without chance, and the expert is drawn by them.

pub(super) mod others;
mod posterior;
mod posteriors;
#[cfg(test)]
mod tests;
mod thompson;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use posterior::{Posterior, Tally};
pub use posteriors::Posteriors;

use crate::ids::ExpertId;

/// Share of Thompson sampling's draws that goes evenly to all experts.
///
/// An expert that it has given up on is still asked now and then: where a propensity is next to nothing, no log says what a
/// policy would be worth that asks this expert.
pub const EVEN_SHARE: f64 = 0.2;

/// Which other expert is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Policy {
    /// Each as often as any other.
    #[default]
    Uniform,
    /// Each as often as it is the best of them, as far as is known (Thompson, "On the likelihood that one unknown
    /// probability exceeds another in view of the evidence of two samples", Biometrika 1933; Chapelle and Li, "An empirical
    /// evaluation of Thompson sampling", NIPS 2011); [`EVEN_SHARE`] goes evenly to all.
    Thompson,
}

/// How often another expert than the mapping's is asked, and which.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Explore {
    share: f64,
    policy: Policy,
}

/// What may be tried out with a question.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Chance {
    /// Nothing: the mapping's expert is certain.
    #[default]
    None,
    /// Nothing, but how probable the mapping's expert would be: for dry runs.
    Told,
    /// Whatever a uniform draw, at least 0 and below 1, says.
    Drawn(f64),
}

/// Whether whoever asks lets another expert than the mapping's be tried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consent {
    /// It may be.
    #[default]
    Given,
    /// It may not.
    Refused,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drawn {
    /// The expert.
    pub expert: ExpertId,
    /// Probability with which it was chosen, above 0 and at most 1.
    pub propensity: f64,
    /// Whether it is another one than the mapping's.
    pub explored: bool,
}

impl Explore {
    /// None unless the share is within 0 to 1.
    pub fn new(share: f64, policy: Policy) -> Option<Self> {
        (0.0..=1.0)
            .contains(&share)
            .then_some(Self { share, policy })
    }

    /// Share of the questions that go to another expert, 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// To which of the others they go.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Draws who is asked.
    ///
    /// `favourite`: the mapping's expert; its propensity is one less the share, since exploration never goes to it.
    /// `others`: who else could be asked right now, each once, without the favourite; if there is nobody, the favourite is
    /// asked for certain. `posterior`: what is known of an expert's answers in the question's category; none: nothing.
    /// `unit`: a uniform draw, at least 0 and below 1.
    pub fn draw<'a>(
        &self,
        favourite: &ExpertId,
        others: &[&ExpertId],
        posterior: impl Fn(&ExpertId) -> Option<&'a Posterior>,
        unit: f64,
    ) -> Drawn {
        let share = if others.is_empty() { 0.0 } else { self.share };
        if unit >= share {
            return Drawn {
                expert: favourite.clone(),
                propensity: 1.0 - share,
                explored: false,
            };
        }
        let shares = self.shares(others, posterior);
        let at = place(&shares, unit / share);
        Drawn {
            expert: others[at].clone(),
            propensity: share * shares[at],
            explored: true,
        }
    }

    /// With which probability each of the others is asked, where one of them is; they add up to 1.
    fn shares<'a>(
        &self,
        others: &[&ExpertId],
        posterior: impl Fn(&ExpertId) -> Option<&'a Posterior>,
    ) -> Vec<f64> {
        let even = 1.0 / others.len() as f64;
        match self.policy {
            Policy::Uniform => vec![even; others.len()],
            Policy::Thompson => {
                let known = |expert: &&ExpertId| posterior(expert).unwrap_or(Posterior::unknown());
                let posteriors: Vec<&Posterior> = others.iter().map(known).collect();
                thompson::best(&posteriors)
                    .into_iter()
                    .map(|best| EVEN_SHARE * even + (1.0 - EVEN_SHARE) * best)
                    .collect()
            }
        }
    }
}

/// Whose turn it is at a uniform draw; the last one's, where rounding leaves a gap.
fn place(shares: &[f64], unit: f64) -> usize {
    let mut below = 0.0;
    let is_here = |share: &f64| {
        below += share;
        unit < below
    };
    shares.iter().position(is_here).unwrap_or(shares.len() - 1)
}
