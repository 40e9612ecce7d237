//! What somebody says that a question was about.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A label on one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The outcome.
    pub outcome_id: String,
    /// When it was given, milliseconds since 1970 UTC.
    pub given_at_ms: i64,
    /// The category, or `out_of_domain`.
    pub category: String,
    /// What kind of source it comes from.
    pub origin: Origin,
    /// Who exactly: a person's name, or a judge's expert with the version of its prompt.
    pub given_by: String,
}

/// What kind of source a label comes from; the more trustworthy are the greater.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Origin {
    /// A word of a later version.
    #[serde(skip)]
    Other(String),
    /// Taken over from labelled questions nearby.
    Neighbours,
    /// A client's feedback.
    Feedback,
    /// An expert that was asked to judge.
    Judge,
    /// A proposed category that somebody accepted, or dismissed (`coterie drift`).
    Accepted,
    /// Labels that were brought in from elsewhere.
    Imported,
    /// A person, at `coterie label`.
    Person,
}

impl Origin {
    /// Those that there are, least trustworthy first.
    pub const ALL: [Self; 6] = [
        Self::Neighbours,
        Self::Feedback,
        Self::Judge,
        Self::Accepted,
        Self::Imported,
        Self::Person,
    ];

    /// The word that is stored.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(word) => word,
            Self::Neighbours => "neighbours",
            Self::Feedback => "feedback",
            Self::Judge => "judge",
            Self::Accepted => "accepted",
            Self::Imported => "imported",
            Self::Person => "person",
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: String) -> Self {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == word);
        known.unwrap_or(Self::Other(word))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_comes_back_as_the_origin_that_it_was() {
        for origin in Origin::ALL {
            assert_eq!(Origin::from_word(origin.as_str().to_owned()), origin);
        }
        let later = Origin::from_word("oracle".to_owned());
        assert_eq!(later.as_str(), "oracle");
        assert!(
            later < Origin::Neighbours,
            "what is unknown is trusted least"
        );
    }
}
