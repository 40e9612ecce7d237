//! Trials of registered routers on live traffic, before anybody promotes them.
//!
//! In shadow a router decides beside the one in force, and nobody acts on it; as a canary it decides for a share of the
//! sessions.
//!
//! Which trials there are is in the store; [`crate::app`] makes a running server keep to them. What is here is plain data,
//! who gets a canary, and what a canary's outcomes say ([`Comparison`]).

mod comparison;
mod lot;
mod watch;
mod window;

use std::fmt;

use serde::{Serialize, Serializer};

pub use comparison::{Comparison, FALSE_ALARMS, Figures, Subject, Worse};
pub use watch::CanaryWatch;
pub use window::EndedRow;

use crate::{decision::Score, ids::RouterId};

/// The name under which a server ends a canary that is worse.
pub const CANARY: &str = "canary";

/// How a router is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialKind {
    /// It decides beside the router in force, and nobody acts on it.
    Shadow,
    /// It decides for a share of the sessions.
    Canary,
}

impl TrialKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Shadow, Self::Canary];

    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
        }
    }

    /// Reads a stored word; none: a later version's.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for TrialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A canary's share of the sessions: more than none of them, and fewer than all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Share(f64);

impl Share {
    /// None unless it lies between 0 and 1.
    pub fn new(share: f64) -> Option<Self> {
        (share > 0.0 && share < 1.0).then_some(Self(share))
    }

    /// Between 0 and 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Somebody stopped it.
    Stopped,
    /// Its router was put in force.
    Promoted,
    /// Another router was put in force, so that there is nothing left to compare it with.
    Overtaken,
    /// It was found to be worse than the router in force.
    Worse,
    /// A word of a later version.
    Other(String),
}

impl Ending {
    /// The word that is stored.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stopped => "stopped",
            Self::Promoted => "promoted",
            Self::Overtaken => "overtaken",
            Self::Worse => "worse",
            Self::Other(word) => word,
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: String) -> Self {
        match word.as_str() {
            "stopped" => Self::Stopped,
            "promoted" => Self::Promoted,
            "overtaken" => Self::Overtaken,
            "worse" => Self::Worse,
            _ => Self::Other(word),
        }
    }
}

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A trial of a router.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Counts trials, from 1.
    pub number: i64,
    /// The router that is tried.
    pub router: RouterId,
    /// How.
    pub kind: TrialKind,
    /// A canary's share of the sessions; none for a shadow.
    pub share: Option<Share>,
    /// The router that was in force when it began; none: the one that needs no registry.
    pub champion: Option<RouterId>,
    /// When it began, milliseconds since 1970 UTC.
    pub started_at_ms: i64,
    /// Who began it.
    pub started_by: String,
    /// Why, in words for people.
    pub why: Option<String>,
    /// Where in the store its outcomes begin.
    pub from: Places,
    /// How it ended; none while it is under way.
    pub ended: Option<Ended>,
}

impl Trial {
    /// Whether a canary decides for a session, or for a question that is in none. `lot`: the session's number, or one drawn
    /// at random.
    pub fn is_drawn(&self, lot: u64) -> bool {
        self.share
            .is_some_and(|share| lot::is_drawn(self.number, share, lot))
    }
}

/// The end of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who ended it: a person, or what does it by itself.
    pub by: String,
    /// How.
    pub ending: Ending,
    /// Why, in words for people.
    pub why: Option<String>,
}

/// How far something has read what comes into the store, in the order in which it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The last outcome.
    pub outcomes: i64,
    /// The last feedback.
    pub feedback: i64,
}

/// What a router in shadow would have decided.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowDecision {
    /// The router.
    pub router: RouterId,
    /// The outcome of the decision that was acted on.
    pub outcome_id: String,
    /// When, milliseconds since 1970 UTC.
    pub decided_at_ms: i64,
    /// Probability of the likeliest categories, likeliest first.
    pub scores: Vec<Score>,
    /// Why it would have gone there, in one word, as of an outcome.
    pub reason: &'static str,
    /// How strange the question is to it; none where there was nothing to classify.
    pub strangeness: Option<f64>,
    /// Time that classifying took, microseconds.
    pub took_us: i64,
}

/// What a client said of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct SaidRow {
    /// Its place among all feedback.
    pub place: i64,
    /// The outcome.
    pub outcome_id: String,
    /// When that was asked, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// Its conversation; none where nothing tells it.
    pub session: Option<String>,
    /// The model name that was asked for.
    pub model: String,
    /// The router that decided.
    pub router: RouterId,
    /// The category that was acted on.
    pub category: Option<String>,
    /// How good the client found it, 0 to 1.
    pub score: Option<f64>,
    /// What the client says that the question was about.
    pub said: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_neither_nothing_nor_everything() {
        for wrong in [0.0, 1.0, -0.1, 1.1, f64::NAN] {
            assert_eq!(Share::new(wrong), None, "{wrong}");
        }
        assert_eq!(Share::new(0.1).map(Share::get), Some(0.1));
    }

    #[test]
    fn stored_words_come_back() {
        for kind in TrialKind::ALL {
            assert_eq!(TrialKind::from_word(kind.as_str()), Some(kind));
        }
        assert_eq!(TrialKind::from_word("mirror"), None);
        for word in ["stopped", "promoted", "overtaken", "worse", "bored"] {
            assert_eq!(Ending::from_word(word.to_owned()).as_str(), word);
        }
        assert_eq!(Ending::from_word("worse".to_owned()), Ending::Worse);
    }
}
