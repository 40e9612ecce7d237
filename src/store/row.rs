//! One row of `outcomes`, as it goes in and as it comes out.
//!
//! Going in, every outcome there can be makes a row that the schema accepts: a number outside its range becomes the
//! nearest one inside or NULL. One refused row would hold up all that wait behind it.

use std::time::Duration;

use serde::Serialize;
use sqlx::{QueryBuilder, Sqlite, query_builder::Separated};

use crate::{
    decision::{Decision, Reason},
    expert::{Attempt, Role},
    ids::{CategoryId, ExpertId},
    instruction::Instructed,
    mapping::Grounds,
    outcome::Outcome,
};

/// Length that the JSON of one column seldom exceeds: a text that grows is copied several times.
const JSON_BYTES_USUAL: usize = 1024;

/// An outcome as it lies in the store; the columns of `outcomes`, explained in the migrations.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the schema explains every column")]
pub struct StoredOutcome {
    pub id: String,
    pub asked_at_ms: i64,
    pub key_name: Option<String>,
    pub model: String,
    pub streamed: bool,
    pub question: Option<String>,
    pub session: Option<String>,
    pub category: Option<String>,
    pub confidence: Option<f64>,
    /// JSON.
    pub scores: String,
    pub router: String,
    pub reason: String,
    /// JSON.
    pub reason_detail: String,
    pub expert: String,
    /// JSON.
    pub fallbacks: String,
    pub propensity: Option<f64>,
    pub strangeness: Option<f64>,
    pub decision_us: i64,
    /// JSON.
    pub attempts: String,
    pub answered_by: Option<String>,
    pub first_token_us: Option<i64>,
    pub total_us: i64,
    pub prompt_tokens: Option<i64>,
    pub completion_tokens: Option<i64>,
    pub cost_usd: Option<f64>,
    pub ending: String,
    pub error: Option<String>,
    pub answer: Option<String>,
}

/// The statement that writes some outcomes; at least one.
///
/// Only a row with the same id is passed over: `INSERT OR IGNORE` would pass over a row that breaks a CHECK as well. Where
/// anything else is wrong, the statement stops where it is, and whoever runs it rolls back all: were it to undo its own rows
/// alone, SQLite would keep a copy of every page that it touches.
pub(super) fn insert(outcomes: &[Outcome]) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::new(
        "INSERT OR FAIL INTO outcomes (
            id, asked_at_ms, key_name, model, streamed, question, session,
            category, confidence, scores, router, reason, reason_detail, expert, fallbacks, propensity, strangeness,
            decision_us,
            attempts, answered_by, first_token_us, total_us, prompt_tokens, completion_tokens, cost_usd,
            ending, error, answer
        ) ",
    );
    insert.push_values(outcomes, |mut row, outcome| {
        bind_ask(&mut row, outcome);
        bind_decision(&mut row, outcome);
        bind_ending(&mut row, outcome);
    });
    insert.push(" ON CONFLICT (id) DO NOTHING");
    insert
}

type Row<'b> = Separated<'b, Sqlite, &'static str>;

fn bind_ask(row: &mut Row<'_>, outcome: &Outcome) {
    let ask = &outcome.ask;
    row.push_bind(&outcome.id)
        .push_bind(outcome.asked_at_ms)
        .push_bind(&ask.key_name)
        .push_bind(&ask.model)
        .push_bind(ask.streamed)
        .push_bind(&ask.question)
        .push_bind(&ask.session);
}

fn bind_decision(row: &mut Row<'_>, outcome: &Outcome) {
    let decision = &outcome.decision;
    row.push_bind(decision.category.as_ref().map(CategoryId::as_str))
        .push_bind(probability(decision.confidence.into()))
        .push_bind(json_text(&decision.scores))
        .push_bind(decision.router.as_str())
        .push_bind(decision.reason.kind())
        .push_bind(reason_detail(decision))
        .push_bind(decision.expert.as_str())
        .push_bind(json_text(&decision.fallbacks))
        .push_bind(probability(decision.propensity))
        .push_bind(
            decision
                .strangeness
                .map(f64::from)
                .filter(|it| it.is_finite()),
        )
        .push_bind(micros(decision.took));
}

fn bind_ending(row: &mut Row<'_>, outcome: &Outcome) {
    let attempts: Vec<_> = outcome.attempts.iter().map(AttemptRow::of).collect();
    row.push_bind(json_text(&attempts))
        .push_bind(outcome.answered_by.as_ref().map(ExpertId::as_str))
        .push_bind(outcome.first_token.map(micros))
        .push_bind(micros(outcome.total))
        .push_bind(outcome.usage.map(|usage| count(usage.prompt_tokens)))
        .push_bind(outcome.usage.map(|usage| count(usage.completion_tokens)))
        .push_bind(outcome.cost_usd.filter(|usd| *usd >= 0.0))
        .push_bind(outcome.ending.as_str())
        .push_bind(&outcome.error)
        .push_bind(&outcome.answer);
}

/// The reason with its facts, what the mapping went by, and what an expert was asked about the question.
#[derive(Serialize)]
struct ReasonDetail<'d> {
    #[serde(flatten)]
    reason: &'d Reason,
    mapping: &'d Grounds,
    #[serde(skip_serializing_if = "Option::is_none")]
    instruction: Option<&'d Instructed>,
}

fn reason_detail(decision: &Decision) -> String {
    json_text(&ReasonDetail {
        reason: &decision.reason,
        mapping: &decision.grounds,
        instruction: decision.instruction.as_ref(),
    })
}

/// One of `attempts`, as it is explained in the first migration.
#[derive(Serialize)]
struct AttemptRow<'a> {
    expert: &'a ExpertId,
    took_us: Option<i64>,
    error: Option<&'a str>,
    role: Role,
    rejected: Option<&'a str>,
    rejected_as: Option<&'a str>,
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    cost_usd: Option<f64>,
}

impl<'a> AttemptRow<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        Self {
            expert: &attempt.expert,
            took_us: attempt.took.map(micros),
            error: attempt.error.as_deref(),
            role: attempt.role,
            rejected: attempt.rejected.as_deref(),
            rejected_as: attempt.rejected_as,
            prompt_tokens: attempt.usage.map(|usage| count(usage.prompt_tokens)),
            completion_tokens: attempt.usage.map(|usage| count(usage.completion_tokens)),
            cost_usd: attempt.cost_usd,
        }
    }
}

/// These types have no keys that are not texts, so nothing in them can fail to be JSON.
pub(super) fn json_text(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(JSON_BYTES_USUAL);
    let written = serde_json::to_writer(&mut text, value).ok();
    written
        .and_then(|()| String::from_utf8(text).ok())
        .unwrap_or_default()
}

fn probability(value: f64) -> Option<f64> {
    (!value.is_nan()).then(|| value.clamp(0.0, 1.0))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
