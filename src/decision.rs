//! What the router and the mapping said about one question, and why. Plain data.

use std::{cmp::Ordering, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    config::Capability,
    ids::{CategoryId, ExpertId, RouterId},
    instruction::Instructed,
    mapping::Grounds,
    router::{Standing, TierName, Verdict, explain::Explanation},
    session::Stickiness,
};

/// Where a question goes, and why.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The category acted on; `out_of_domain` where the router was unsure, none where an expert was named.
    pub category: Option<CategoryId>,
    /// Probability of the likeliest category, 0 to 1; 1 where the client named the category or the expert. Where the
    /// session stayed with its category: that category's, the session's past counted.
    pub confidence: f32,
    /// Probability of the likeliest categories by the router, its last tier included, likeliest first; empty where nothing was classified.
    pub scores: Vec<Score>,
    /// Which tier of the router settled it; none where nothing was classified.
    pub tier: Option<TierName>,
    /// Why it goes there.
    pub reason: Reason,
    /// The router's own out-of-domain score: comparable between questions of one router, higher is stranger; none where
    /// nothing was classified.
    pub strangeness: Option<f32>,
    /// What an expert was asked about it, as the router's last tier; none where nobody was.
    pub instruction: Option<Instructed>,
    /// What the session's past said; none where the question had none.
    pub session: Option<Stickiness>,
    /// Who is asked first; where `grounds` has a cascade, once its first expert's answer is not accepted.
    pub expert: ExpertId,
    /// Who is asked next if that fails, in order.
    pub fallbacks: Vec<ExpertId>,
    /// Probability with which this expert was chosen for this question; 1 where nothing else could be tried out.
    pub propensity: f64,
    /// What the mapping went by.
    pub grounds: Grounds,
    /// The router that decided.
    pub router: RouterId,
    /// Time from the question to the decision.
    pub took: Duration,
}

impl Decision {
    /// Everyone who may be asked, in order.
    pub fn order(&self) -> Vec<ExpertId> {
        std::iter::once(&self.expert)
            .chain(&self.fallbacks)
            .cloned()
            .collect()
    }
}

/// The probability of one category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The category.
    pub category: CategoryId,
    /// 0 to 1; a question's scores add up to no more than 1.
    pub probability: f32,
}

impl Score {
    /// The likelier before the other, ties by name.
    pub fn by_likelihood(a: &Self, b: &Self) -> Ordering {
        let likelier = b.probability.total_cmp(&a.probability);
        likelier.then_with(|| a.category.cmp(&b.category))
    }
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
    /// The question belongs to no category: the default expert answers.
    OutOfDomain,
    /// The session stays with the category of its last question.
    Stayed {
        /// The likeliest category by the router alone.
        best: CategoryId,
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
    /// Why a question goes where it goes if the router alone decides.
    pub fn of(verdict: &Verdict) -> Self {
        let Some(best) = verdict.scores.first() else {
            return Self::Empty;
        };
        match verdict.standing {
            Standing::Confident => Self::Routed,
            Standing::Unsure { confidence_min } => Self::Unsure {
                best: best.category.clone(),
                confidence_min,
            },
            Standing::OutOfDomain => Self::OutOfDomain,
            Standing::Empty => Self::Empty,
        }
    }

    /// One word for logs, metrics and the outcome.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Unsure { .. } => "unsure",
            Self::OutOfDomain => "out_of_domain",
            Self::Stayed { .. } => "stayed",
            Self::Empty => "empty",
            Self::RouterFailed { .. } => "router_failed",
            Self::CategoryNamed => "category_named",
            Self::ExpertNamed => "expert_named",
        }
    }
}

/// A decision as it is told to a person: `coterie route --json` and `POST /v1/route`.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// The category acted on; `out_of_domain` where the router was unsure, null where an expert was named.
    pub category: Option<CategoryId>,
    /// Probability of the category acted on, or of the likeliest where the router was unsure.
    pub confidence: f32,
    /// Who would be asked first.
    pub expert: ExpertId,
    /// Who would be asked next.
    pub fallbacks: Vec<ExpertId>,
    /// Why.
    pub reason: Reason,
    /// Which tier of the router settled it: `cheap`, `full` or `instruction`; null where nothing was classified.
    pub tier: Option<TierName>,
    /// What spoke for the likeliest class and for the next one by the router, before an expert was asked; null where nothing was
    /// classified.
    pub explanation: Option<Explanation>,
    /// What an expert was asked about it, as the router's last tier; null where nobody was.
    pub instruction: Option<Instructed>,
    /// What the session's past said; null where the question had none.
    pub session: Option<Stickiness>,
    /// Probability of the likeliest categories by the router, its last tier included, likeliest first.
    pub scores: Vec<Score>,
    /// Probability with which a question like this one goes to this expert first: 1 less the share that is tried out.
    pub propensity: f64,
    /// What the mapping went by: which one it was, who was passed over and why, and any cascade.
    pub mapping: Grounds,
    /// The router that decided.
    pub router: RouterId,
    /// What the decision was made from.
    pub features: Features,
    /// Time that the decision took, in microseconds.
    pub took_us: u64,
}

/// What a decision was made from.
#[derive(Clone, Debug, Serialize)]
pub struct Features {
    /// The text that was classified: the human ask.
    pub question: String,
    /// The ask behind what it may lean on, which was classified too; null where it was read alone.
    pub context: Option<String>,
    /// The probability that the ask keeps to the topic of what came before it, from its words.
    pub leaning: f32,
    /// The encoder that read it.
    pub encoder: String,
    /// Tokens of the conversation, estimated.
    pub prompt_tokens_estimate: u64,
    /// What the request demands of an expert.
    pub capabilities: Vec<Capability>,
    /// What the answer would cost, estimated, in dollars.
    pub usd_estimate: f64,
}

impl Explained {
    /// Tells a decision.
    pub fn new(decision: Decision, explanation: Option<Explanation>, features: Features) -> Self {
        Self {
            category: decision.category,
            confidence: decision.confidence,
            expert: decision.expert,
            fallbacks: decision.fallbacks,
            reason: decision.reason,
            tier: decision.tier,
            explanation,
            instruction: decision.instruction,
            session: decision.session,
            scores: decision.scores,
            propensity: decision.propensity,
            mapping: decision.grounds,
            router: decision.router,
            features,
            took_us: u64::try_from(decision.took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}
