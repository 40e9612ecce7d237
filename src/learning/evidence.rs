//! What was said of outcomes, as it comes out of the store.

use crate::learning::Origin;

/// What was said of outcomes, as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// The newest outcome first.
    pub evidence: Vec<Evidence>,
    /// Statements that count and were not read, since there are more than are read at once.
    pub unread: u64,
}

/// An outcome of which somebody said what it was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The outcome.
    pub outcome_id: String,
    /// When it was asked, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// Which conversation it belongs to; none where nothing tells it.
    pub conversation: Option<String>,
    /// The text that was classified, as it was kept.
    pub question: String,
    /// The category that the router was confident of; none where it was unsure, or did not decide.
    pub routed_to: Option<String>,
    /// What was said, in the order in which it was.
    pub statements: Vec<Statement>,
}

impl Evidence {
    /// Its conversation; where nothing tells it, it is one by itself.
    pub fn conversation(&self) -> &str {
        self.conversation.as_deref().unwrap_or(&self.outcome_id)
    }
}

/// One statement of what an outcome was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The category, or `out_of_domain`.
    pub category: String,
    /// What kind of source says so.
    pub origin: Origin,
    /// Who exactly: for feedback the name of the client's key, none where the server has no keys.
    pub given_by: Option<String>,
    /// When, milliseconds since 1970 UTC.
    pub given_at_ms: i64,
}
