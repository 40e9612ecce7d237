//! What somebody says of an outcome, once it is over.

use crate::store::StoreError;

/// Feedback on one outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feedback {
    /// The outcome's id, as in `x-coterie-outcome`.
    pub outcome_id: String,
    /// When it was given, milliseconds since 1970 UTC.
    pub given_at_ms: i64,
    /// How good the answer was, 0 to 1.
    pub score: Option<f64>,
    /// What the question was really about.
    pub category: Option<String>,
    /// Who should have answered it.
    pub expert: Option<String>,
    /// In words; kept as `store.content` says.
    pub comment: Option<String>,
    /// The name of the key that gave it; none where the server has no keys.
    pub key_name: Option<String>,
    /// The judge that gave it: an expert with the version of its prompt; none: a client.
    pub judged_by: Option<String>,
}

/// Why feedback was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    /// There is no such outcome: never was, is not over yet, or is older than `store.keep`.
    #[error("there is no outcome `{id}`")]
    UnknownOutcome {
        /// The id that was given.
        id: String,
    },
    /// The score is no number from 0 to 1.
    #[error("the score is {score}; it must be a number from 0 to 1")]
    ScoreOutOfRange {
        /// The score that was given.
        score: f64,
    },
    /// The outcome may be among those that wait to be written.
    #[error(transparent)]
    Behind(#[from] super::Behind),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
