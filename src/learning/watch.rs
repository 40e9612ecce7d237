//! Watches the outcomes of one router for drift, in the order of time: from the store through [`crate::drift`]'s tests.

use crate::{
    clock,
    config::LearningConfig,
    drift::{Alarm, DIRECTIONS, Drift, DriftConfig, Judged, Question, Signal, project},
    ids::{CategoryId, ExpertId, RouterId},
    router::{Router, narrow},
    store::{Store, StoreError},
    train::dataset,
};

/// Decides how ties are broken and from which directions vectors are seen: any number, and the same each time.
const SEED: u64 = 7;

/// How far back the tests begin: more would take a server long to read, and is another time.
const SPAN_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A place in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// The outcome, of several of one moment.
    pub outcome_id: String,
}

/// An outcome, as far as drift goes by it. The columns of `outcomes`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the schema explains every column")]
pub struct Watched {
    pub place: Place,
    pub session: Option<String>,
    pub confidence: Option<f64>,
    pub strangeness: Option<f64>,
    pub reason: String,
    pub category: Option<String>,
    pub answered_by: Option<String>,
    pub ending: String,
    /// The mean of the scores that were given, 0 to 1.
    pub score: Option<f64>,
    pub question: Option<String>,
}

/// A question that no category was found for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// Its outcome.
    pub outcome_id: String,
    /// The text that was classified.
    pub question: String,
}

/// The tests, and how far they have read.
pub struct Watch {
    router: RouterId,
    drift: Drift,
    at: Place,
    questions: usize,
}

impl Watch {
    /// Nothing has been read yet of what a router decides.
    pub fn new(router: &Router, config: &LearningConfig) -> Self {
        let has_vectors = router.artefact().static_encoder.is_some();
        let drift = DriftConfig {
            questions_per_false_alarm: config.questions_per_false_alarm,
            features: if has_vectors { DIRECTIONS } else { 0 },
            seed: SEED,
            ..DriftConfig::default()
        };
        Self {
            router: router.id().clone(),
            drift: Drift::new(drift),
            at: Place {
                asked_at_ms: clock::now_ms() - SPAN_MS,
                outcome_id: String::new(),
            },
            questions: 0,
        }
    }

    /// The router whose outcomes are watched.
    pub fn router(&self) -> &RouterId {
        &self.router
    }

    /// Questions that were read so far.
    pub fn questions(&self) -> usize {
        self.questions
    }

    /// Reads what has come since the last time, a page after the other; the alarms that it sets off.
    ///
    /// # Errors
    /// The store cannot be read; what was read before counts.
    pub async fn catch_up(
        &mut self,
        store: &Store,
        router: &Router,
    ) -> Result<Vec<Alarm>, StoreError> {
        let mut alarms = Vec::new();
        loop {
            let page = store.watched(self.router.as_str(), &self.at).await?;
            let Some(last) = page.last() else {
                return Ok(alarms);
            };
            self.at = last.place.clone();
            for outcome in &page {
                alarms.extend(self.observe(outcome, router));
            }
        }
    }

    fn observe(&mut self, outcome: &Watched, router: &Router) -> Vec<Alarm> {
        // What a client named, or what could not be classified, tells nothing of the router.
        let is_refused = match outcome.reason.as_str() {
            "routed" | "stayed" => false,
            "unsure" | "out_of_domain" => true,
            _ => return Vec::new(),
        };
        self.questions += 1;
        let static_encoder = router.artefact().static_encoder.as_ref();
        let features = static_encoder
            .zip(outcome.question.as_ref())
            .map(|(encoder, text)| project(&encoder.vector(text), SEED));
        let question = Question {
            at_ms: outcome.place.asked_at_ms,
            conversation: outcome.session.as_deref().map(number),
            confidence: outcome.confidence.map_or(0.0, narrow),
            refused: is_refused,
            strangeness: outcome.strangeness.map(narrow),
            features: features.as_ref().map_or(&[], |features| &features[..]),
        };
        let mut alarms = self.drift.observe(&question);
        alarms.extend(self.observe_success(outcome));
        alarms
    }

    fn observe_success(&mut self, outcome: &Watched) -> Option<Alarm> {
        let success = outcome.score.or(match outcome.ending.as_str() {
            "completed" => Some(1.0),
            "expert_failed" | "timed_out" => Some(0.0),
            _ => None,
        })?;
        self.drift.observe_success(&Judged {
            at_ms: outcome.place.asked_at_ms,
            category: &CategoryId::new(outcome.category.as_deref()?),
            expert: &ExpertId::new(outcome.answered_by.as_deref()?),
            success: narrow(success),
        })
    }
}

/// A number for a conversation.
fn number(name: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = dataset::key(name);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// An alarm for a person.
pub fn in_words(alarm: &Alarm) -> String {
    let what = match &alarm.signal {
        Signal::Confidence => "the router's confidence".to_owned(),
        Signal::OutOfDomain => "the share of refused questions".to_owned(),
        Signal::Strangeness => "how strange questions are".to_owned(),
        Signal::Feature(at) => format!("what questions are about (direction {at})"),
        Signal::Success { category, expert } => format!("the success of {expert} in {category}"),
    };
    format!(
        "{what} changed from {:.3} to {:.3} about {}, noticed {} after {} questions",
        alarm.before,
        alarm.after,
        clock::rfc3339(alarm.since_ms),
        clock::rfc3339(alarm.noticed_ms),
        alarm.rows_after
    )
}

/// What an alarm is about, in one word for metrics.
pub fn signal_word(signal: &Signal) -> &'static str {
    match signal {
        Signal::Confidence => "confidence",
        Signal::OutOfDomain => "out_of_domain",
        Signal::Strangeness => "strangeness",
        Signal::Feature(_) => "features",
        Signal::Success { .. } => "success",
    }
}
