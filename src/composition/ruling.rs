//! What step one says of a question: its category, and why.

use crate::{
    decision::{Reason, Score},
    ids::CategoryId,
    instruction::Instructed,
    router::{RouterError, TierName, Verdict},
    session::Stickiness,
};

/// What the mapping is asked with, and why.
pub(super) struct Ruling {
    pub(super) category: Option<CategoryId>,
    pub(super) confidence: f32,
    pub(super) scores: Vec<Score>,
    pub(super) tier: Option<TierName>,
    pub(super) strangeness: Option<f32>,
    pub(super) reason: Reason,
    pub(super) session: Option<Stickiness>,
    pub(super) instruction: Option<Instructed>,
}

impl Ruling {
    pub(super) fn named(category: Option<CategoryId>, reason: Reason) -> Self {
        Self {
            category,
            confidence: 1.0,
            scores: Vec::new(),
            tier: None,
            strangeness: None,
            reason,
            session: None,
            instruction: None,
        }
    }

    pub(super) fn without_verdict(error: &RouterError) -> Self {
        tracing::warn!(%error, "the router failed; the default expert answers");
        let reason = Reason::RouterFailed {
            detail: error.to_string(),
        };
        Self {
            confidence: 0.0,
            ..Self::named(None, reason)
        }
    }

    /// The same, with the session's category instead of the router's.
    pub(super) fn staying(self, stickiness: &Stickiness) -> Self {
        let reason = match self.scores.first() {
            Some(best) => Reason::Stayed {
                best: best.category.clone(),
            },
            None => self.reason,
        };
        Self {
            category: Some(stickiness.previous.clone()),
            confidence: stickiness.confidence,
            reason,
            ..self
        }
    }

    pub(super) fn from_verdict(verdict: Verdict) -> Self {
        let reason = Reason::of(&verdict);
        let Some(best) = verdict.scores.first() else {
            return Self {
                confidence: 0.0,
                ..Self::named(None, reason)
            };
        };
        Self {
            category: (reason == Reason::Routed).then(|| best.category.clone()),
            confidence: best.probability,
            scores: verdict.scores,
            tier: verdict.tier,
            strangeness: Some(verdict.out_of_domain),
            reason,
            session: None,
            instruction: None,
        }
    }
}
