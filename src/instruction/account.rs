//! What the instruction router did for one question, as decisions and outcomes tell it. Plain data.

use serde::Serialize;

use super::{Mode, When};
use crate::{
    chat::Usage,
    decision::Score,
    ids::{CategoryId, ExpertId},
    router::TierName,
};

/// What was asked about a question, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instructed {
    /// Who was asked.
    pub expert: ExpertId,
    /// How.
    pub mode: Mode,
    /// About which questions it is asked.
    pub when: When,
    /// The version of the words with which it was asked.
    pub prompt: &'static str,
    /// `heard`, `remembered` (of the same question), `near` (of one that is next to the same), or in one word why the router's
    /// own word stands.
    pub result: &'static str,
    /// The same in more words, where something failed.
    pub detail: Option<String>,
    /// What the question demands, in the expert's words; none where it was not asked for them.
    pub instruction: Option<String>,
    /// The cards that are nearest to that, nearest first.
    pub nearest: Vec<Nearest>,
    /// What the router said by itself, which stands unless what follows was enough.
    pub router: Own,
    /// What both say together, and what that was compared with; none where nothing was said, or where it was asked about a new
    /// category alone. With `when: alone` what the expert says counts by itself.
    pub both: Option<Compared>,
    /// The category that the router does not know, to which the question may belong; none where there is none, or nothing was
    /// said.
    pub new: Option<Compared>,
    /// What each part says of the likeliest categories, likeliest first.
    pub parts: Vec<Part>,
    /// Tokens, as the expert counted them.
    pub usage: Option<Usage>,
    /// Dollars; none where the price or the count is unknown.
    pub cost_usd: Option<f64>,
    /// Time that it took, in microseconds.
    pub took_us: u64,
}

/// The result where the expert was asked, and said something.
pub const HEARD: &str = "heard";

/// The result where it was not, since what it may cost is more than is left.
pub const OVER_BUDGET: &str = "over_budget";

/// Results where it was not asked.
const NOT_ASKED: [&str; 6] = [
    "remembered",
    "near",
    "late",
    "crowded",
    "resting",
    OVER_BUDGET,
];

impl Instructed {
    /// Whether the expert was asked about this very question.
    pub fn was_asked(&self) -> bool {
        !NOT_ASKED.contains(&self.result)
    }
}

/// What the router says by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Own {
    /// Which of its tiers settled the question.
    pub tier: Option<TierName>,
    /// The probability from which on it routes.
    pub confidence_min: f32,
    /// Whether it routes this question.
    pub routes: bool,
    /// The likeliest classes, likeliest first.
    pub scores: Vec<Score>,
}

impl Own {
    /// The class of which it is sure by itself.
    pub fn sure_of(&self) -> Option<&CategoryId> {
        let best = self.scores.first()?;
        (best.probability >= self.confidence_min).then_some(&best.category)
    }
}

/// How likely a class is, and what that was compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The class.
    pub category: CategoryId,
    /// Its probability.
    pub confidence: f32,
    /// The probability that is enough; none: none was proven to be.
    pub confidence_min: Option<f32>,
}

impl Compared {
    /// Whether it is likely enough.
    pub fn is_enough(&self) -> bool {
        self.confidence_min
            .is_some_and(|least| self.confidence >= least)
    }
}

/// A card, and how near it is to an instruction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nearest {
    /// Whose card it is: `category` or `expert`.
    pub of: &'static str,
    /// Its id.
    pub id: String,
    /// The cosine of the encoder's vectors.
    pub cosine: f32,
}

/// What is said of one category.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The category.
    pub category: CategoryId,
    /// Its probability by the router alone.
    pub router: f32,
    /// What the expert says of it: a log-probability, 1 or 0, or a cosine, as its mode has it.
    pub said: f64,
    /// Its probability by both.
    pub both: f32,
}
