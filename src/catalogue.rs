//! The categories, their examples and their cards: what the files under `routes/` say, checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::{CategoryId, ExpertId};

/// Digits of the digests that cards tell.
const DIGEST_DIGITS: usize = 16;

/// Every route, sorted by category.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The routes; at least two in a checked configuration.
    pub routes: Vec<Route>,
    /// Questions that belong to no category (`routes/_other.yaml`).
    pub out_of_domain: Vec<String>,
    /// What questions demand and what experts are good at (`routes/_cards.yaml`).
    pub cards: Cards,
}

/// Instruction cards: what the questions of a category demand, and what an expert is good at, in the same kind of words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cards {
    /// Of categories.
    pub categories: BTreeMap<CategoryId, Card>,
    /// Of experts.
    pub experts: BTreeMap<ExpertId, Card>,
}

/// One instruction card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Two or three sentences: the task, its field, and the skills that it takes.
    pub instruction: String,
    /// The word or two by which a model that names categories is told it; none: its id. Common words are easier for a small
    /// model than ids are.
    pub label: Option<String>,
    /// The same as the instruction in one line, for prompts that list all categories; none: the instruction.
    pub gist: Option<String>,
    /// How the instruction came about; none where a person wrote it.
    pub made: Option<Made>,
}

/// How a card came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The expert that wrote it.
    pub by: String,
    /// The model behind it.
    pub model: String,
    /// The version of the prompt.
    pub prompt: String,
    /// The day (UTC), as `2026-11-28`.
    pub on: String,
    /// A digest of what it was made from: another one, and the card is stale.
    pub from: String,
    /// A digest of its text: another one, and a person changed it.
    pub text: String,
}

impl Card {
    /// Whether somebody wrote or changed it by hand.
    pub fn is_by_hand(&self) -> bool {
        let made = self.made.as_ref();
        made.is_none_or(|made| made.text != digest([self.instruction.as_str()]))
    }
}

/// What tells some texts from others.
pub fn digest<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text);
        digest.update([0]);
    }
    let mut digest = hex::encode(digest.finalize());
    digest.truncate(DIGEST_DIGITS);
    digest
}

/// One category: `routes/<category>.yaml`.
#[derive(Clone, Debug)]
pub struct Route {
    /// The file's stem.
    pub category: CategoryId,
    /// What belongs to it, in words that would let a person sort questions.
    pub description: String,
    /// Questions that belong to it.
    pub examples: Vec<String>,
    /// Questions that look as if they did, but do not.
    pub negatives: Vec<String>,
}

impl Route {
    /// What tells what its card was made from.
    pub fn digest(&self) -> String {
        digest(self.examples.iter().map(String::as_str))
    }
}
