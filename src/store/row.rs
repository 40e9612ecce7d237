//! One row of `outcomes`, as it goes in and as it comes out.
//!
//! Going in, every outcome there can be makes a row that the schema accepts: a number outside its range becomes the
//! nearest one inside or NULL. One refused row would hold up all that wait behind it.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Sqlite, query::Query, sqlite::SqliteArguments};

use crate::{expert::Attempt, outcome::Outcome};

/// An outcome as it lies in the store; the columns of `outcomes`, explained in the first migration.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the schema explains every column")]
pub struct StoredOutcome {
    pub id: String,
    pub asked_at_ms: i64,
    pub key_name: Option<String>,
    pub model: String,
    pub streamed: bool,
    pub question: Option<String>,
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

/// The statement that `bind` fills. Only a row with the same id is passed over: `INSERT OR IGNORE` would pass over a
/// row that breaks a CHECK as well.
pub(super) const INSERT: &str = "
    INSERT INTO outcomes (
        id, asked_at_ms, key_name, model, streamed, question,
        category, confidence, scores, router, reason, reason_detail, expert, fallbacks, propensity, decision_us,
        attempts, answered_by, first_token_us, total_us, prompt_tokens, completion_tokens, cost_usd,
        ending, error, answer
    )
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING";

pub(super) type Insert<'q> = Query<'q, Sqlite, SqliteArguments>;

/// [`INSERT`] with one outcome in it.
pub(super) fn insert(outcome: &Outcome) -> Insert<'_> {
    let insert = bind_ask(sqlx::query(INSERT), outcome);
    let insert = bind_decision(insert, outcome);
    bind_ending(insert, outcome)
}

fn bind_ask<'q>(insert: Insert<'q>, outcome: &'q Outcome) -> Insert<'q> {
    let ask = &outcome.ask;
    insert
        .bind(&outcome.id)
        .bind(outcome.asked_at_ms)
        .bind(&ask.key_name)
        .bind(&ask.model)
        .bind(ask.streamed)
        .bind(&ask.question)
}

fn bind_decision<'q>(insert: Insert<'q>, outcome: &'q Outcome) -> Insert<'q> {
    let decision = &outcome.decision;
    insert
        .bind(decision.category.as_ref().map(|category| category.as_str()))
        .bind(probability(decision.confidence.into()))
        .bind(json_text(&decision.scores))
        .bind(decision.router.as_str())
        .bind(decision.reason.kind())
        .bind(json_text(&decision.reason))
        .bind(decision.expert.as_str())
        .bind(json_text(&decision.fallbacks))
        .bind(probability(decision.propensity))
        .bind(micros(decision.took))
}

fn bind_ending<'q>(insert: Insert<'q>, outcome: &'q Outcome) -> Insert<'q> {
    let attempts: Value = outcome.attempts.iter().map(attempt).collect();
    insert
        .bind(attempts.to_string())
        .bind(outcome.answered_by.as_ref().map(|expert| expert.as_str()))
        .bind(outcome.first_token.map(micros))
        .bind(micros(outcome.total))
        .bind(outcome.usage.map(|usage| count(usage.prompt_tokens)))
        .bind(outcome.usage.map(|usage| count(usage.completion_tokens)))
        .bind(outcome.cost_usd.filter(|usd| *usd >= 0.0))
        .bind(outcome.ending.as_str())
        .bind(&outcome.error)
        .bind(&outcome.answer)
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "expert": attempt.expert,
        "took_us": attempt.took.map(micros),
        "error": attempt.error,
    })
}

/// These types have no keys that are not texts, so nothing in them can fail to be JSON.
fn json_text(value: &impl Serialize) -> String {
    json!(value).to_string()
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
