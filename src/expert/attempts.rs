//! The log of one question's attempts, written by whoever asks experts and read by whoever records the outcome.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;

use super::ExpertError;
use crate::{chat::Usage, ids::ExpertId};

/// One expert's try at one question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    /// Who was asked.
    pub expert: ExpertId,
    /// What for.
    pub role: Role,
    /// Whether the question was put to it, so that it may have to be paid; who only waited in a queue was not asked.
    pub sent: bool,
    /// Time from the attempt's start to its first token or failure, and of an answer that was held back to its end; none
    /// while it is under way.
    pub took: Option<Duration>,
    /// The error's kind; none where the expert answered, as far as it was listened to.
    pub error: Option<String>,
    /// Why its answer was not taken; none where it was, or where there was none.
    pub rejected: Option<String>,
    /// The same in one word.
    pub rejected_as: Option<&'static str>,
    /// Tokens, as the expert counted them; none where it did not.
    pub usage: Option<Usage>,
    /// Dollars; none where the price or the count is unknown.
    pub cost_usd: Option<f64>,
}

/// What an expert is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To answer.
    Answer,
    /// To answer, cheaply, if that will do.
    First,
    /// To say whether a first answer will do.
    Judge,
    /// To answer, in case another that was asked before is too slow.
    Hedge,
    /// To go on with an answer that broke off, from what was delivered of it.
    Continue,
    /// To answer anew where an answer broke off, in case it begins alike.
    Splice,
    /// To say what the question demands, so that it can be routed.
    Route,
    /// Nothing: an answer that it gave before was at hand.
    Cache,
}

impl Attempt {
    /// One that begins.
    pub fn begun(expert: ExpertId, role: Role) -> Self {
        Self {
            expert,
            role,
            sent: false,
            took: None,
            error: None,
            rejected: None,
            rejected_as: None,
            usage: None,
            cost_usd: None,
        }
    }

    /// Whether it failed, so that nothing is paid for it.
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }
}

/// The attempts at one question, in the order in which they began; copies share them.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    attempts: Vec<Attempt>,
    answering: Option<usize>,
}

/// Which of a question's attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptId(usize);

impl Attempts {
    /// Writes down that an attempt begins.
    pub fn begin(&self, expert: ExpertId, role: Role) -> AttemptId {
        let mut log = self.log();
        log.attempts.push(Attempt::begun(expert, role));
        AttemptId(log.attempts.len() - 1)
    }

    /// The question is put to the expert now.
    pub(super) fn sent(&self, attempt: AttemptId) {
        self.update(attempt, |attempt| attempt.sent = true);
    }

    /// Adds to what is known of an attempt.
    pub fn update(&self, attempt: AttemptId, update: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.log().attempts.get_mut(attempt.0) {
            update(attempt);
        }
    }

    /// The client gets this attempt's answer, or the rest of it.
    pub fn answers(&self, attempt: AttemptId) {
        self.log().answering = Some(attempt.0);
    }

    /// What an attempt is for.
    pub fn role(&self, attempt: AttemptId) -> Option<Role> {
        Some(self.log().attempts.get(attempt.0)?.role)
    }

    /// The attempt that began last.
    pub fn last(&self) -> Option<AttemptId> {
        self.log().attempts.len().checked_sub(1).map(AttemptId)
    }

    /// The attempt whose answer the client gets.
    pub fn answering(&self) -> Option<AttemptId> {
        self.log().answering.map(AttemptId)
    }

    /// Ends all that are still under way but one: another was faster.
    pub(super) fn outrun_by(&self, faster: AttemptId, took: Duration) {
        let mut log = self.log();
        for (index, attempt) in log.attempts.iter_mut().enumerate() {
            if index != faster.0 && attempt.took.is_none() {
                attempt.took = Some(took);
                attempt.error = Some(ExpertError::Outrun.kind().to_owned());
            }
        }
    }

    /// All of them as they are now, and which of them is answering.
    pub fn snapshot(&self) -> (Vec<Attempt>, Option<AttemptId>) {
        let log = self.log();
        (log.attempts.clone(), log.answering.map(AttemptId))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttemptId {
    /// Its place in the log.
    pub fn index(self) -> usize {
        self.0
    }
}
