//! What the router and the mapping said about one question, and why. Plain data.

use std::time::Duration;

use serde::Serialize;

use crate::ids::{CategoryId, ExpertId, RouterId};

/// Where a question goes, and why.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The category acted on; `out_of_domain` where the router was unsure, none where an expert was named.
    pub category: Option<CategoryId>,
    /// Probability of the likeliest category, 0 to 1; 1 where the client named the category or the expert.
    pub confidence: f32,
    /// Probability of every category, likeliest first; empty where nothing was classified.
    pub scores: Vec<Score>,
    /// Why it goes there.
    pub reason: Reason,
    /// Who is asked first.
    pub expert: ExpertId,
    /// Who is asked next if that fails, in order.
    pub fallbacks: Vec<ExpertId>,
    /// Probability with which this expert was chosen for this question; 1 without exploration.
    pub propensity: f64,
    /// The router that decided.
    pub router: RouterId,
    /// Time from the question to the decision.
    pub took: Duration,
}

/// The probability of one category.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// The category.
    pub category: CategoryId,
    /// 0 to 1; all of a question's scores add up to 1.
    pub probability: f32,
}

/// Why a question goes where it goes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// The router was confident of the category.
    Routed,
    /// The likeliest category is below the threshold: the default expert answers.
    Unsure {
        /// The likeliest category.
        best: CategoryId,
        /// The threshold that it missed.
        confidence_min: f32,
    },
    /// There is nothing to classify in the question: the default expert answers.
    Empty,
    /// The router failed: the default expert answers.
    RouterFailed {
        /// What failed.
        detail: String,
    },
    /// The client named the category (`coterie/<category>`).
    CategoryNamed,
    /// The client named the expert.
    ExpertNamed,
}

impl Reason {
    /// One word for logs, metrics and the outcome.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Unsure { .. } => "unsure",
            Self::Empty => "empty",
            Self::RouterFailed { .. } => "router_failed",
            Self::CategoryNamed => "category_named",
            Self::ExpertNamed => "expert_named",
        }
    }
}
