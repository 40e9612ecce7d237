//! Reads what becomes of a canary's questions, and of the others', out of the store, in the order in which it became known.

use super::{Comparison, Places, Trial, window::Window};
use crate::store::{Store, StoreError};

/// Outcomes, and statements, after which no more are read: a canary that was not worse in so many is to be promoted or
/// stopped, and whoever begins anew has to read them all.
const ROWS_MAX: u64 = 500_000;

/// How far a canary's outcomes were read, and what they say.
///
/// It has nothing that is not in the store: whoever begins anew reads the same and comes to the same.
#[derive(Debug)]
pub struct CanaryWatch {
    trial: i64,
    at: Places,
    window: Window,
    comparison: Comparison,
    outcomes: u64,
    statements: u64,
}

impl CanaryWatch {
    /// Nothing has been read yet.
    pub fn new(trial: &Trial) -> Self {
        Self {
            trial: trial.number,
            at: trial.from,
            window: Window::default(),
            comparison: Comparison::new(trial.router.clone(), trial.started_at_ms),
            outcomes: 0,
            statements: 0,
        }
    }

    /// The number of the trial.
    pub fn trial(&self) -> i64 {
        self.trial
    }

    /// What was read says this.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// Whether so much was read that nothing more will be.
    pub fn is_full(&self) -> bool {
        self.outcomes >= ROWS_MAX
    }

    /// Reads what has come since the last time, a page after the other. `now_ms`: milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// The store cannot be read; what was read before counts.
    pub async fn catch_up(&mut self, store: &Store, now_ms: i64) -> Result<(), StoreError> {
        self.hear_what_was_said(store).await?;
        let mut newest_ms = i64::MIN;
        while !self.is_full() {
            let page = store.ended_after(self.at.outcomes).await?;
            let is_last = page.is_last;
            for row in page.rows {
                self.at.outcomes = row.place;
                self.outcomes += 1;
                newest_ms = newest_ms.max(row.ended_at_ms);
                self.window.push(row);
            }
            // What ended later may not have been read yet.
            let read_up_to_ms = if is_last { now_ms } else { newest_ms };
            while let Some((row, asked_again)) = self.window.pop(read_up_to_ms) {
                self.comparison.happened(&row, asked_again);
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    async fn hear_what_was_said(&mut self, store: &Store) -> Result<(), StoreError> {
        while self.statements < ROWS_MAX {
            let page = store.said_after(self.at.feedback).await?;
            for row in &page.rows {
                self.at.feedback = row.place;
                self.statements += 1;
                self.comparison.said(row);
            }
            if page.is_last {
                break;
            }
        }
        Ok(())
    }
}
