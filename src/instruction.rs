//! The instruction router: an LLM says what a question demands, and its word is weighed with the router's.
//!
//! Two ways of routing meet here. GLIDER (arXiv:2410.07172) has an LLM write down the task and the skills that a question
//! takes, and compares that with what experts are good at ([`Mode::Describe`]); the Composition of Experts
//! (arXiv:2412.01868) has it name the category ([`Mode::Name`]), which a model that tells likelihoods says in one step
//! ([`Mode::Logprob`]). Each category and each expert has a card for that ([`Card`](crate::catalogue::Card)).
//!
//! It is asked where the tiers of the router are unsure, within bounds of its own ([`tier`]); what it says is combined with
//! what they said by weights that were learnt ([`blend`]). Whatever fails here, the router's own word stands. What is asked
//! ([`prompt`]) and what a reply means ([`reply`]) are pure.

mod account;
pub mod ask;
pub mod blend;
mod budget;
mod memory;
pub mod menu;
pub mod near;
pub mod prompt;
pub mod question;
pub mod reply;
mod rest;
mod terms;
pub mod tier;
mod unseen;
pub mod writing;

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use account::{Compared, HEARD, Instructed, Nearest, OVER_BUDGET, Own, Part};

use crate::ids::ExpertId;

/// How the LLM is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Mode {
    /// It writes down what the question demands; that is compared with the cards.
    Describe,
    /// It names the category.
    Name,
    /// It tells how likely it finds each category.
    Logprob,
}

impl Mode {
    #[cfg(test)]
    const ALL: [Self; 3] = [Self::Describe, Self::Name, Self::Logprob];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Name => "name",
            Self::Logprob => "logprob",
        }
    }
}

/// Which questions it is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum When {
    /// Those of which the router is least sure.
    Unsure,
    /// All; a decision of which the router is sure is not changed by it, but may be put in doubt.
    Always,
    /// All, and what the router says does not count.
    Alone,
    /// None while a server runs: as a teacher it says what the router learns (`coterie train --teacher instruction`).
    Offline,
}

impl When {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsure => "unsure",
            Self::Always => "always",
            Self::Alone => "alone",
            Self::Offline => "offline",
        }
    }

    /// The questions on which it is learnt what its word is worth: offline the same as where the router is unsure.
    #[must_use]
    pub fn online(self) -> Self {
        match self {
            Self::Offline => Self::Unsure,
            other => other,
        }
    }
}

/// `router.instruction`.
#[derive(Clone, Debug)]
pub struct InstructionConfig {
    /// Who is asked.
    pub expert: ExpertId,
    /// How.
    pub mode: Mode,
    /// About what.
    pub when: When,
    /// How long it may take.
    pub within: Duration,
    /// Questions that it is asked about at once.
    pub concurrent_max: usize,
    /// What it may cost a day (UTC), in dollars; none: whatever it costs.
    pub usd_per_day_max: Option<f64>,
    /// The file that `coterie instruct fit` writes; where it is not there, nothing is asked but where [`When::Alone`].
    pub blend: PathBuf,
}
