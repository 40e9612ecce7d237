//! What an alarm says.

use serde::{Deserialize, Serialize};

use super::test::Change;
use crate::ids::{CategoryId, ExpertId, RouterId};

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
    /// How little questions' vectors resemble those before.
    Novelty,
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
    /// The router whose decisions changed; none where it is no router's doing.
    pub router: Option<RouterId>,
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

/// What a test compares with. It reports nothing before that is whole, and begins with it again after an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// What the test watches.
    pub signal: Signal,
    /// The router whose decisions it watches; none where they are no router's.
    pub router: Option<RouterId>,
    /// Rows that there are, at most those that it needs.
    pub rows: usize,
    /// Rows that it needs.
    pub needs: usize,
}

impl Reference {
    /// Whether its test reports changes.
    pub fn is_whole(&self) -> bool {
        self.rows >= self.needs
    }
}

impl Change {
    /// The alarm of a test that watches `signal`.
    pub(super) fn of(self, signal: Signal, router: Option<&RouterId>) -> Alarm {
        Alarm {
            signal,
            router: router.cloned(),
            since_ms: self.since_ms,
            noticed_ms: self.noticed_ms,
            before: self.before,
            after: self.after,
            rows_before: self.rows_before,
            rows_after: self.rows_after,
        }
    }
}
