//! `mapping`, in the configuration or in a file of its own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, Share};
use crate::{
    config::{Preference, defaults},
    mapping::explore::Policy,
};

/// What `mapping` may hold beside categories, so that no category can be called so.
pub(in crate::config) const MAPPING_KEYS: [&str; 8] = [
    "default",
    "file",
    "budget",
    "prefer",
    "prefer_allowed",
    "quality",
    "cascade",
    "explore",
];

/// Which expert answers which category, here or in a file of its own. Every key but those below is a category.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(title = "A mapping of Coterie")]
pub(in crate::config) struct Mapping {
    /// The expert that answers what no category covers, and every category without an entry; also with who is asked next if
    /// it fails.
    pub default: Option<Assignment>,
    /// The file that holds the mapping; it is watched while serving. Beside it, `budget`, `prefer`, `prefer_allowed`,
    /// `cascade` and `explore` may stand here, and win over the file's.
    pub file: Option<String>,
    /// What answers may cost.
    pub budget: Option<Budget>,
    /// What counts where experts differ in quality and in cost: a word, or the score that a unit of cost must bring.
    pub prefer: Option<Prefer>,
    /// What clients may prefer instead (`x-coterie-prefer`). Without it: `prefer` alone.
    pub prefer_allowed: Option<Vec<Preference>>,
    /// The file that predicts experts' success question by question; it lies beside the mapping's own.
    pub quality: Option<String>,
    /// Categories whose questions are put to a cheaper expert first.
    pub cascade: Option<BTreeMap<String, Cascade>>,
    /// How many questions go to another expert than the mapping's, so that outcomes tell of more than what is in force.
    pub explore: Option<Explore>,
    /// The expert of each category.
    #[serde(flatten)]
    pub categories: BTreeMap<String, Assignment>,
}

/// What answers may cost.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Budget {
    /// Experts whose answer may cost more dollars than this are passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub usd_per_question: Option<f64>,
    /// Dollars that all answers of a day (UTC) may cost together; experts that would exceed it are passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub usd_per_day: Option<f64>,
}

/// What counts where experts differ in quality and in cost.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum Prefer {
    Word(Preference),
    CostWeight(#[schemars(range(min = 0.0))] f64),
}

/// How many questions go to another expert than the mapping's, and to which: a share alone, or with a policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(in crate::config) enum Explore {
    /// A number between 0 and 1.
    Number(#[schemars(range(min = 0.0, max = 1.0))] f64),
    /// A text such as `2%`.
    Text(String),
    /// The share, and to whom it goes.
    ByPolicy(ExploreByPolicy),
}

/// How many questions go to another expert than the mapping's, and to which.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct ExploreByPolicy {
    /// The share of questions: a number between 0 and 1, or a share such as `2%`.
    #[schemars(required)]
    pub share: Option<Share>,
    /// To whom they go: `uniform`, to each as often as to any other, or `thompson`, to each as often as it is the best of
    /// them as far as is known.
    #[serde(default)]
    pub policy: Policy,
}

/// A cheaper expert that is asked first, and what its answer must pass to be taken.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Cascade {
    /// The expert that is asked before the category's own.
    #[schemars(required)]
    pub first: Option<String>,
    /// What its answer must pass, all of it; otherwise the category's expert is asked.
    #[schemars(required)]
    pub accept: Option<Accept>,
    /// Longest wait for the first expert's answer and its checks.
    #[serde(default = "defaults::cascade_within")]
    pub within: DurationText,
}

/// What a first expert's answer must pass to be taken: all that is written, at least one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Accept {
    /// The least mean log-probability of its tokens (at most 0), by the model itself; for local experts.
    #[schemars(range(max = 0.0))]
    pub likelihood_min: Option<f64>,
    /// Whether its code must parse: at least one fenced block in a language that is known here, and none that does not.
    #[serde(default)]
    pub code_parses: bool,
    /// An expert that is asked whether the answer is right.
    pub judge: Option<String>,
    /// The least success that the quality model predicts for it, 0 to 1; below that it is not asked at all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub predicted_success_min: Option<f64>,
}

/// Who answers a category, or what none covers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum Assignment {
    /// An expert, by its id.
    Expert(String),
    /// An expert, and who is asked next if it fails.
    WithFallbacks(Fallbacks),
}

/// An expert, and who is asked next if it fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(in crate::config) struct Fallbacks {
    /// Who is asked first.
    #[schemars(required)]
    pub expert: Option<String>,
    /// Who is asked next if that fails, in order.
    #[serde(default)]
    pub fallbacks: Vec<String>,
}
