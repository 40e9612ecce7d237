//! What the instruction router did for one question, as decisions and outcomes tell it. Plain data.

use serde::Serialize;

use super::Mode;
use crate::{
    chat::Usage,
    ids::{CategoryId, ExpertId},
};

/// What was asked about a question, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instructed {
    /// Who was asked.
    pub expert: ExpertId,
    /// How.
    pub mode: Mode,
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
const NOT_ASKED: [&str; 5] = ["remembered", "near", "crowded", "resting", OVER_BUDGET];

impl Instructed {
    /// Whether the expert was asked about this very question.
    pub fn was_asked(&self) -> bool {
        !NOT_ASKED.contains(&self.result)
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
