//! `routes/_cards.yaml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Instruction cards: what the questions of a category demand, and what an expert is good at.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Coterie's instruction cards")]
pub(in crate::config) struct Cards {
    /// Of categories, each by the stem of its route's file.
    pub categories: BTreeMap<String, Card>,
    /// Of experts, each by its id.
    pub experts: BTreeMap<String, Card>,
}

/// One card.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Card {
    /// Two or three sentences: the task, its field, and the skills that it takes.
    #[schemars(required)]
    pub instruction: Option<String>,
    /// The word or two by which a model that names categories is told it. Left out: its id.
    pub label: Option<String>,
    /// The same as the instruction in one line, for prompts that list all categories. Left out: the instruction.
    pub gist: Option<String>,
    /// How it came about, where `coterie instruct generate` wrote it; written by it and read by `coterie check`.
    pub made: Option<Made>,
}

/// How a card came about.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Made {
    /// The expert that wrote it.
    #[schemars(required)]
    pub by: Option<String>,
    /// The model behind it.
    #[schemars(required)]
    pub model: Option<String>,
    /// The version of the prompt.
    #[schemars(required)]
    pub prompt: Option<String>,
    /// The day, as `2026-11-28`.
    #[schemars(required)]
    pub on: Option<String>,
    /// A digest of what it was made from.
    #[schemars(required)]
    pub from: Option<String>,
    /// A digest of its text.
    #[schemars(required)]
    pub text: Option<String>,
}
