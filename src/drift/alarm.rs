//! What an alarm says.

use serde::{Deserialize, Serialize};

use super::test::Change;
use crate::ids::{CategoryId, ExpertId};

/// What a test watches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The router's confidence.
    Confidence,
    /// The share of questions that were refused as out of domain or unsure.
    OutOfDomain,
    /// How strange questions are.
    Strangeness,
    /// One of the directions of the questions' vectors.
    Feature(usize),
    /// The success of one expert in one category.
    Success {
        /// What the questions are about.
        category: CategoryId,
        /// Who answers them.
        expert: ExpertId,
    },
}

/// A significant change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// What changed.
    pub signal: Signal,
    /// When the change began, by estimate: the time of its first row, milliseconds since 1970.
    pub since_ms: i64,
    /// When it was noticed, milliseconds since 1970.
    pub noticed_ms: i64,
    /// The mean of the signal before the change.
    pub before: f64,
    /// Its mean since.
    pub after: f64,
    /// Rows of the test before the change.
    pub rows_before: u64,
    /// Rows of the test since.
    pub rows_after: u64,
}

impl Change {
    /// The alarm of a test that watches `signal`.
    pub(super) fn of(self, signal: Signal) -> Alarm {
        Alarm {
            signal,
            since_ms: self.since_ms,
            noticed_ms: self.noticed_ms,
            before: self.before,
            after: self.after,
            rows_before: self.rows_before,
            rows_after: self.rows_after,
        }
    }
}
