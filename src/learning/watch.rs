//! Watches outcomes for drift, in the order in which they were written: from the store through [`crate::drift`]'s tests.
//!
//! What was decided is looked at as soon as it is written. What became of it waits until clients have had
//! [`SCORES_WITHIN`] to say so; a score that comes later is no longer looked at, so that whoever goes on from the same place
//! sees the same, and whenever. A server keeps that place with its tests in the store, and the next one goes on from there:
//! a reference that were begun anew at each start would be another each time, and the promised rate of false alarms would be
//! that of one start. `coterie drift` begins anew, and may find what a server that began elsewhere did not, or the reverse.

mod success;
mod words;

use std::{error::Error, time::Duration};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    drift::{Alarm, Drift, DriftConfig, Judged, Question, Reference, project},
    heavy,
    ids::RouterId,
    router::{narrow, static_encoder::StaticEncoder},
    store::{Store, StoreError},
};

use super::{conversation, served::Served};

pub use words::{in_words, references_in_words, signal_word};

/// Decides how ties are broken and from which directions vectors are seen: any number, and the same each time.
const SEED: u64 = 7;

/// How far back the tests begin: more would take a server long to read, and is another time.
const SPAN: Duration = Duration::from_hours(30 * 24);

/// How long after the end of an answer a score of it still counts.
pub const SCORES_WITHIN: Duration = Duration::from_hours(1);

/// Time that a score takes into the store, at most; after it an answer's scores are all there.
const SCORES_WRITTEN_WITHIN: Duration = Duration::from_mins(1);

/// An outcome, as far as it tells of what is asked and what the router makes of it. The columns of `outcomes`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the schema explains every column")]
pub struct Decided {
    /// The number of its row.
    pub place: i64,
    pub asked_at_ms: i64,
    pub session: Option<String>,
    pub router: RouterId,
    pub confidence: Option<f64>,
    pub strangeness: Option<f64>,
    pub reason: String,
    pub question: Option<String>,
}

/// An outcome, as far as it tells of how good the answer was.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The number of its row.
    pub place: i64,
    /// With the scores that count, and without what tells nothing of that.
    pub served: Served,
}

/// A question that no category was found for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// Its outcome.
    pub outcome_id: String,
    /// The text that was classified.
    pub question: String,
    /// When, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
}

/// What was found by reading on.
#[derive(Debug, Default)]
pub struct CaughtUp {
    /// The alarms that were set off; what was read before an error counts.
    pub alarms: Vec<Alarm>,
    /// Whether the store was read to its end.
    pub is_at_end: bool,
    /// Why it could not be read further.
    pub error: Option<StoreError>,
}

/// The tests, and how far they have read: what is kept in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    drift: Drift,
    /// What makes vectors of texts; none: nothing does.
    encoder: Option<String>,
    begins_ms: i64,
    newest_ms: Option<i64>,
    decided_up_to: i64,
    judged_up_to: i64,
    questions: usize,
    router: Option<RouterId>,
}

impl Watch {
    /// Nothing has been read yet. Without a change there shall be one alarm in so many questions on average, at most.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn begin(
        store: &Store,
        questions_per_false_alarm: f64,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let begins_ms = now_ms.saturating_sub(ms(SPAN));
        let beginning = store.beginning(begins_ms, now_ms).await?;
        Ok(Self {
            drift: Drift::new(drift_config(questions_per_false_alarm)),
            encoder: None,
            begins_ms,
            newest_ms: beginning.newest_ms,
            decided_up_to: beginning.before,
            judged_up_to: beginning.before,
            questions: 0,
            router: None,
        })
    }

    /// Where the process before was; none where nothing was kept that can be read, or where it was to notice more or less.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn resume(
        store: &Store,
        questions_per_false_alarm: f64,
    ) -> Result<Option<Self>, StoreError> {
        let kept = store.drift_watch().await?;
        let kept = kept.and_then(|state| serde_json::from_str::<Self>(&state).ok());
        Ok(kept.filter(|kept| {
            let wanted = DriftConfig {
                features: kept.drift.config().features,
                ..drift_config(questions_per_false_alarm)
            };
            *kept.drift.config() == wanted
        }))
    }

    /// Keeps the tests and where they are for [`Watch::resume`].
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn keep(&self, store: &Store, now_ms: i64) -> Result<(), StoreError> {
        // There may be thousands of tests.
        let state = heavy::on(usize::MAX, || serde_json::to_string(self));
        match state {
            Ok(state) => store.keep_drift_watch(&state, now_ms).await,
            Err(error) => {
                warn!(
                    error = &error as &dyn Error,
                    "the tests for drift cannot be written down"
                );
                Ok(())
            }
        }
    }

    /// The router that decided the newest question; none where there is no question.
    pub fn router(&self) -> Option<&RouterId> {
        self.router.as_ref()
    }

    /// Questions that were read so far and that tell something of a router.
    pub fn questions(&self) -> usize {
        self.questions
    }

    /// When the newest question was asked that the store had at the beginning, milliseconds since 1970 UTC.
    pub fn newest_ms(&self) -> Option<i64> {
        self.newest_ms
    }

    /// What the tests compare with: those of the newest question's router, and those that are no router's.
    pub fn references(&self) -> Vec<Reference> {
        let router = self.router.as_ref();
        router.map_or_else(Vec::new, |router| self.drift.references(router))
    }

    /// Reads what has come since the last time, to its end. Vectors are those of `encoder`, whichever router decided; where it
    /// is another than the last time, their tests begin anew.
    pub async fn catch_up(
        &mut self,
        store: &Store,
        encoder: Option<&StaticEncoder>,
        now_ms: i64,
    ) -> CaughtUp {
        self.read_on(store, usize::MAX, encoder, now_ms).await
    }

    /// The same, but no more than so many pages of what was decided, and of what became of it.
    pub async fn read_on(
        &mut self,
        store: &Store,
        pages_max: usize,
        encoder: Option<&StaticEncoder>,
        now_ms: i64,
    ) -> CaughtUp {
        let fingerprint = encoder.map(StaticEncoder::fingerprint);
        if self.encoder.as_deref() != fingerprint {
            self.encoder = fingerprint.map(str::to_owned);
            self.drift.see_anew(fingerprint.is_some());
        }
        let mut caught_up = CaughtUp::default();
        let read = async {
            let decided = self
                .read_decided(store, pages_max, encoder, &mut caught_up.alarms)
                .await?;
            let ended = self
                .read_ended(store, pages_max, now_ms, &mut caught_up.alarms)
                .await?;
            Ok(decided && ended)
        };
        match read.await {
            Ok(is_at_end) => caught_up.is_at_end = is_at_end,
            Err(error) => caught_up.error = Some(error),
        }
        caught_up
    }

    /// Whether that was all.
    async fn read_decided(
        &mut self,
        store: &Store,
        pages_max: usize,
        encoder: Option<&StaticEncoder>,
        alarms: &mut Vec<Alarm>,
    ) -> Result<bool, StoreError> {
        for _page in 0..pages_max {
            let page = store.decided_after(self.decided_up_to).await?;
            let Some(last) = page.last() else {
                return Ok(true);
            };
            self.decided_up_to = last.place;
            // To make vectors of a page takes some hundredths of a second, however short the texts are.
            heavy::on(usize::MAX, || {
                for outcome in &page {
                    alarms.extend(self.observe(outcome, encoder));
                }
            });
        }
        Ok(false)
    }

    /// Whether that was all.
    async fn read_ended(
        &mut self,
        store: &Store,
        pages_max: usize,
        now_ms: i64,
        alarms: &mut Vec<Alarm>,
    ) -> Result<bool, StoreError> {
        for _page in 0..pages_max {
            let page = store.became_after(self.judged_up_to).await?;
            let ripe = page.iter().take_while(|it| is_ripe(&it.served, now_ms));
            let ripe = &page[..ripe.count()];
            let Some(last) = ripe.last() else {
                return Ok(true);
            };
            self.judged_up_to = last.place;
            heavy::on(usize::MAX, || {
                for outcome in ripe {
                    alarms.extend(self.observe_success(&outcome.served));
                }
            });
        }
        Ok(false)
    }

    fn observe(&mut self, outcome: &Decided, encoder: Option<&StaticEncoder>) -> Vec<Alarm> {
        if !tells(&outcome.reason) || outcome.asked_at_ms < self.begins_ms {
            return Vec::new();
        }
        self.questions += 1;
        self.router = Some(outcome.router.clone());
        let features = encoder
            .zip(outcome.question.as_ref())
            .map(|(encoder, text)| project(&encoder.vector(text), SEED));
        let question = Question {
            at_ms: outcome.asked_at_ms,
            conversation: outcome.session.as_deref().map(conversation::number),
            router: &outcome.router,
            confidence: outcome.confidence.map_or(0.0, narrow),
            refused: matches!(outcome.reason.as_str(), "unsure" | "out_of_domain"),
            strangeness: outcome.strangeness.map(narrow),
            features: features.as_ref().map_or(&[], |features| &features[..]),
        };
        self.drift.observe(&question).alarms
    }

    fn observe_success(&mut self, served: &Served) -> Vec<Alarm> {
        if !tells(&served.reason) || served.asked_at_ms < self.begins_ms {
            return Vec::new();
        }
        let Some(category) = &served.category else {
            return Vec::new();
        };
        let judged = Judged {
            at_ms: served.asked_at_ms,
            conversation: served.conversation.as_deref().map(conversation::number),
            category,
            experts: &success::of_experts(served),
        };
        self.drift.observe_success(&judged).alarms
    }
}

fn drift_config(questions_per_false_alarm: f64) -> DriftConfig {
    DriftConfig {
        questions_per_false_alarm,
        seed: SEED,
        ..DriftConfig::default()
    }
}

/// Whether a decision tells something of the router: not what a client named, nor what could not be classified.
fn tells(reason: &str) -> bool {
    matches!(reason, "routed" | "stayed" | "unsure" | "out_of_domain")
}

/// Whether the scores that count are all there. What was written by another clock, or brought in from elsewhere, may seem to
/// be of a time to come: it holds up nobody.
fn is_ripe(served: &Served, now_ms: i64) -> bool {
    let ended_ms = served.asked_at_ms.saturating_add(ms(served.total));
    let ripe_ms = ended_ms.saturating_add(ms(SCORES_WITHIN + SCORES_WRITTEN_WITHIN));
    ripe_ms <= now_ms || ended_ms > now_ms.saturating_add(ms(SCORES_WITHIN))
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A question that was refused, and answered all the same.
#[cfg(test)]
pub(crate) fn example(id: &str, asked_at_ms: i64) -> crate::outcome::Outcome {
    use crate::{
        config::{Prefer, Preference},
        decision::{Decision, Reason},
        ids::{CategoryId, ExpertId, MappingId, OUT_OF_DOMAIN},
        mapping::Grounds,
        outcome::{Ask, Ending, Outcome},
    };

    Outcome {
        id: id.into(),
        asked_at_ms,
        ask: Ask {
            question: Some(format!("Why {id}?")),
            ..Ask::default()
        },
        decision: Decision {
            category: Some(CategoryId::new(OUT_OF_DOMAIN)),
            confidence: 0.5,
            scores: Vec::new(),
            tier: None,
            reason: Reason::OutOfDomain,
            strangeness: None,
            instruction: None,
            session: None,
            expert: ExpertId::new("general"),
            fallbacks: Vec::new(),
            propensity: 1.0,
            grounds: Grounds::new(MappingId::new("m1"), Prefer::Word(Preference::Balanced)),
            router: RouterId::new("r1"),
            took: Duration::ZERO,
        },
        attempts: Vec::new(),
        answered_by: Some(ExpertId::new("general")),
        first_token: None,
        total: Duration::ZERO,
        usage: None,
        cost_usd: None,
        ending: Ending::Completed,
        error: None,
        answer: None,
    }
}
