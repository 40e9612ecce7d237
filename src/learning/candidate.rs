//! An outcome that may be labelled, as it comes out of the store.

use crate::decision::Score;

/// A question that the router routed, and whose text was kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The outcome.
    pub outcome_id: String,
    /// When it was asked, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// Which conversation it belongs to; none where nothing tells it.
    pub conversation: Option<String>,
    /// The text that was classified, as it was kept.
    pub question: String,
    /// What the router said, likeliest first.
    pub scores: Vec<Score>,
    /// Why it went where it went, in one word.
    pub reason: String,
}
