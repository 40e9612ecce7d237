//! What is promised of a million outcomes, and what was found to break it.

use std::{fmt::Debug, time::Duration};

use crate::Done;

/// The slowest hundredth of the pages by time, category and expert.
pub(crate) const QUERY_MAX: Duration = Duration::from_millis(50);

/// A retraining takes minutes.
pub(crate) const RETRAINING_MAX: Duration = Duration::from_mins(15);

/// A retraining's resident memory: 2 GB.
pub(crate) const RETRAINING_BYTES_MAX: u64 = 2_000_000_000;

/// How long a writer waits while old outcomes are deleted and their room is given back.
pub(crate) const WRITE_MAX: Duration = Duration::from_secs(1);

/// The promises that were broken, in words: whoever waited for all the figures gets them first.
#[derive(Default)]
pub(crate) struct Promises {
    broken: Vec<String>,
}

impl Promises {
    /// Something that was measured has to be less than a bound.
    pub(crate) fn less<T: PartialOrd + Debug>(&mut self, what: &str, found: T, max: T) {
        if found >= max {
            let broken = format!("{what}: {found:?}, and less than {max:?} is promised");
            self.broken.push(broken);
        }
    }

    /// Whether all were kept.
    pub(crate) fn kept(self) -> Done<()> {
        if self.broken.is_empty() {
            return Ok(());
        }
        Err(self.broken.join("; ").into())
    }
}
