//! Outcomes with what was said of them, for whoever tells how good experts' answers are.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    ids::{CategoryId, ExpertId},
    learning::served::{Said, Served, Try, Voice},
    store::{Store, StoreError},
};

/// Words that are read for each outcome at the most, on average: one client must not fill the memory.
const WORDS_MAX: i64 = 4;

/// The newest outcomes since a moment, each as often as something was said of its answer. The index by time gives them in
/// order, and that of the feedback by outcome what was said.
const SERVED: &str = "
    SELECT o.*, f.id AS said, f.score, f.expert AS named, f.key_name AS given_by, f.judged_by
    FROM (
        SELECT id, asked_at_ms, total_us, session, question, category, reason, reason_detail, expert, fallbacks,
               propensity, attempts, answered_by, first_token_us, ending, prompt_tokens
        FROM outcomes WHERE asked_at_ms >= ? ORDER BY asked_at_ms DESC, id DESC LIMIT ?
    ) o
    LEFT JOIN feedback f ON f.outcome_id = o.id AND (f.score IS NOT NULL OR f.expert <> '')
    ORDER BY o.asked_at_ms DESC, o.id DESC, f.given_at_ms, f.id
    LIMIT ?";

impl Store {
    /// The newest outcomes since a moment (milliseconds since 1970 UTC), at most `rows_max`, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn served_since(
        &self,
        since_ms: i64,
        rows_max: u32,
    ) -> Result<Vec<Served>, StoreError> {
        let rows = sqlx::query(SERVED)
            .bind(since_ms)
            .bind(rows_max)
            .bind(WORDS_MAX * i64::from(rows_max))
            .try_map(read)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        let mut served: Vec<Served> = Vec::new();
        for row in rows {
            match served.last_mut() {
                Some(last) if last.outcome_id == row.outcome_id => last.said.extend(row.said),
                _ => served.push(row),
            }
        }
        served.reverse();
        Ok(served)
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
        said: said(&row)?.into_iter().collect(),
        asked_again: false,
    })
}

/// What feedback says of the answer, where the row has any.
fn said(row: &SqliteRow) -> sqlx::Result<Option<Said>> {
    if row.try_get::<Option<i64>, _>("said")?.is_none() {
        return Ok(None);
    }
    Ok(Some(Said {
        by: Voice {
            key: row.try_get("given_by")?,
            judge: row.try_get("judged_by")?,
        },
        score: row.try_get("score")?,
        expert: row
            .try_get::<Option<String>, _>("named")?
            .map(ExpertId::new),
    }))
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
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
