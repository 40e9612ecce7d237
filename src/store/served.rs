//! Outcomes with what was said of them, for whoever tells how good experts' answers are.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    ids::{CategoryId, ExpertId},
    learning::served::{Said, Served, Try, Voice},
    store::{Store, StoreError},
};

/// Words that are read of one outcome at the most: of each voice there are two, so that only many together reach it.
const WORDS_MAX: usize = 64;

/// The newest outcomes since a moment. The index by time gives them in order, and that of the feedback by outcome what was said
/// of each: of every voice the last score and the last word without one, so that nobody takes up what others say by saying
/// it again and again. What was reduced since it is old has lost its scores and who was asked: it tells of no answer.
const SERVED: &str = "
    SELECT o.id, o.asked_at_ms, o.total_us, o.key_name, o.session, o.question, o.category, o.reason, o.reason_detail, o.expert,
           o.fallbacks, o.propensity, o.attempts, o.answered_by, o.first_token_us, o.ending, o.prompt_tokens,
           iif(EXISTS (SELECT 1 FROM feedback f WHERE f.outcome_id = o.id), (
               SELECT json_group_array(json_object('key', key_name, 'judge', judged_by, 'score', score, 'expert', expert))
               FROM (
                   SELECT key_name, judged_by, score, expert FROM (
                       SELECT f.key_name, f.judged_by, f.score, f.expert, f.given_at_ms, f.id, row_number() OVER (
                           PARTITION BY f.key_name, f.judged_by, f.score IS NULL ORDER BY f.given_at_ms DESC, f.id DESC
                       ) AS nth
                       FROM feedback f WHERE f.outcome_id = o.id AND (f.score IS NOT NULL OR f.expert <> '')
                   )
                   WHERE nth = 1 ORDER BY given_at_ms DESC, id DESC LIMIT ?
               )
           ), '[]') AS said
    FROM outcomes o WHERE o.asked_at_ms >= ? AND o.attempts <> '[]' ORDER BY o.asked_at_ms DESC, o.id DESC LIMIT ?";

/// The newest outcomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    /// Oldest first.
    pub served: Vec<Served>,
    /// Whether there are more outcomes, or more words of one of them, than are read.
    pub is_cut: bool,
}

impl Store {
    /// The newest outcomes since a moment (milliseconds since 1970 UTC), at most `rows_max`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn served_since(&self, since_ms: i64, rows_max: u32) -> Result<Newest, StoreError> {
        // One more of each tells whether there are more.
        let mut served = sqlx::query(SERVED)
            .bind(WORDS_MAX as i64 + 1)
            .bind(since_ms)
            .bind(i64::from(rows_max) + 1)
            .try_map(read)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        let is_cut = served.len() > rows_max as usize
            || served.iter().any(|outcome| outcome.said.len() > WORDS_MAX);
        served.truncate(rows_max as usize);
        for outcome in &mut served {
            // The newest words come first.
            outcome.said.truncate(WORDS_MAX);
            outcome.said.reverse();
        }
        served.reverse();
        Ok(Newest { served, is_cut })
    }
}

fn read(row: SqliteRow) -> sqlx::Result<Served> {
    let expert = |name: String| ExpertId::new(name);
    let grounds = from_json::<Detail>(row.try_get("reason_detail")?).mapping;
    let attempts: Vec<AttemptRow> = from_json(row.try_get("attempts")?);
    Ok(Served {
        outcome_id: row.try_get("id")?,
        asked_at_ms: row.try_get("asked_at_ms")?,
        total: micros(row.try_get("total_us")?),
        client: row.try_get("key_name")?,
        conversation: row.try_get("session")?,
        question: row.try_get("question")?,
        category: row
            .try_get::<Option<String>, _>("category")?
            .map(CategoryId::new),
        reason: row.try_get("reason")?,
        expert: expert(row.try_get("expert")?),
        fallbacks: from_json(row.try_get("fallbacks")?),
        propensity: row.try_get("propensity")?,
        explored: grounds.explored,
        others: grounds.others,
        passed_over: grounds
            .passed_over
            .into_iter()
            .map(|it| it.expert)
            .collect(),
        has_cascade: grounds.cascade.is_some(),
        tries: attempts.into_iter().map(Try::from).collect(),
        answered_by: row.try_get::<Option<String>, _>("answered_by")?.map(expert),
        first_token: row.try_get::<Option<i64>, _>("first_token_us")?.map(micros),
        ending: row.try_get("ending")?,
        prompt_tokens: row
            .try_get::<Option<i64>, _>("prompt_tokens")?
            .map(i64::unsigned_abs),
        said: from_json::<Vec<WordRow>>(row.try_get("said")?)
            .into_iter()
            .map(Said::from)
            .collect(),
        asked_again: false,
    })
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}

/// What feedback says of the answer.
#[derive(Deserialize)]
struct WordRow {
    key: Option<String>,
    judge: Option<String>,
    score: Option<f64>,
    expert: Option<ExpertId>,
}

impl From<WordRow> for Said {
    fn from(row: WordRow) -> Self {
        Self {
            by: Voice {
                key: row.key,
                judge: row.judge,
            },
            score: row.score,
            expert: row.expert,
        }
    }
}

/// What of `reason_detail` matters here; an earlier version of Coterie may have written less.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Detail {
    mapping: GroundsRow,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroundsRow {
    explored: bool,
    others: Vec<ExpertId>,
    passed_over: Vec<PassedOverRow>,
    cascade: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct PassedOverRow {
    expert: ExpertId,
}

#[derive(Deserialize)]
pub(super) struct AttemptRow {
    expert: ExpertId,
    #[serde(default)]
    role: String,
    error: Option<String>,
    /// Missing where an earlier version of Coterie wrote it.
    #[serde(default)]
    rejected_as: Option<String>,
}

impl From<AttemptRow> for Try {
    fn from(row: AttemptRow) -> Self {
        Self {
            expert: row.expert,
            role: row.role,
            error: row.error,
            rejected_as: row.rejected_as,
        }
    }
}

/// What a later version has written otherwise counts as nothing: a report on many outcomes must not fail for one.
pub(super) fn from_json<T: DeserializeOwned + Default>(text: String) -> T {
    serde_json::from_str(&text).unwrap_or_default()
}
