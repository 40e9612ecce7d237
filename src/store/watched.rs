//! Outcomes as whoever watches for drift reads them: in the order in which they were written, a page at a time.
//!
//! An outcome is written when its answer ends, so that by the time at which it was asked one may come behind others that were
//! read already. By the number of its row (`rowid`) it cannot: each gets the next after the greatest that there ever was
//! (`migrations/0007_places.sql`).

use std::time::Duration;

use serde::Deserialize;

use sqlx::{Row, sqlite::SqliteRow};

use super::served::{AttemptRow, from_json};
use crate::{
    ids::{CategoryId, ExpertId, RouterId},
    learning::{
        served::{Said, Served, Try, Voice},
        watch::{Decided, Ended, SCORES_WITHIN, Unplaced},
    },
    store::{Store, StoreError},
};

/// Outcomes in a page: some milliseconds of reading.
const PAGE_ROWS: u32 = 2_000;

/// Where the outcomes since a moment begin, and when the newest up to another was asked.
const BEGINNING: &str = "
    SELECT (SELECT min(rowid) FROM outcomes WHERE asked_at_ms >= ?) AS first,
           (SELECT max(asked_at_ms) FROM outcomes WHERE asked_at_ms <= ?) AS newest_ms";

/// The row that was written last.
const LAST: &str = "SELECT max(rowid) FROM outcomes";

/// What was decided, after a row.
const DECIDED: &str = "
    SELECT o.rowid AS place, o.asked_at_ms, o.session, o.router, o.confidence, o.strangeness, o.reason, o.question
    FROM outcomes o WHERE o.rowid > ? ORDER BY o.rowid LIMIT ?";

/// What became of it, after a row; with the scores that clients gave within a time after the answer, the last of each key and
/// some more. A judge's grades are on another scale. What was reduced since it is old has lost its scores and who was asked: it tells
/// of no answer.
const ENDED: &str = "
    SELECT o.rowid AS place, o.id, o.asked_at_ms, o.total_us, o.session, o.category, o.reason, o.expert, o.attempts,
           o.answered_by, o.first_token_us, o.ending,
           (SELECT json_group_array(json_object('given_by', key_name, 'score', score)) FROM (
               SELECT key_name, score FROM feedback
               WHERE outcome_id = o.id AND score IS NOT NULL AND judged_by IS NULL
                 AND given_at_ms <= o.asked_at_ms + o.total_us / 1000 + ?
               ORDER BY given_at_ms DESC, id DESC LIMIT 16
           )) AS scores
    FROM outcomes o WHERE o.rowid > ? AND o.attempts <> '[]' ORDER BY o.rowid LIMIT ?";

/// The newest questions that were refused and of which nobody has said where they belong, with their outcomes. Who says that one
/// belongs nowhere does not: what no category covers is what is looked for.
const UNPLACED: &str = "
    SELECT o.id, o.question, o.asked_at_ms FROM outcomes o
    WHERE o.reason IN ('unsure', 'out_of_domain') AND o.question IS NOT NULL AND o.asked_at_ms BETWEEN ?1 AND ?2
      AND (o.asked_at_ms, o.id) < (?2, ?3)
      AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.outcome_id = o.id)
      AND NOT EXISTS (
          SELECT 1 FROM feedback f
          WHERE f.outcome_id = o.id AND f.category IS NOT NULL AND f.category <> 'out_of_domain'
      )
    ORDER BY o.asked_at_ms DESC, o.id DESC
    LIMIT ?4";

/// Behind all ids.
const ID_MAX: &str = "\u{10ffff}";

/// Where the outcomes of a time lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// The row before the first of them.
    pub before: i64,
    /// When the newest of all was asked, milliseconds since 1970 UTC; none where there is none.
    pub newest_ms: Option<i64>,
}

impl Store {
    /// Where the outcomes begin that were asked since a moment; the newest that is not after `now_ms`. Milliseconds since 1970
    /// UTC.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn beginning(&self, since_ms: i64, now_ms: i64) -> Result<Beginning, StoreError> {
        let last = self.last_row().await?;
        sqlx::query(BEGINNING)
            .bind(since_ms)
            .bind(now_ms)
            .try_map(|row: SqliteRow| {
                let first: Option<i64> = row.try_get("first")?;
                Ok(Beginning {
                    before: first.map_or(last, |first| first - 1),
                    newest_ms: row.try_get("newest_ms")?,
                })
            })
            .fetch_one(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// The number of the row that was written last; 0 where there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    async fn last_row(&self) -> Result<i64, StoreError> {
        let last: Option<i64> = sqlx::query_scalar(LAST)
            .fetch_one(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(last.unwrap_or(0))
    }

    /// The tests for drift as they were kept last; none where they never were.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn drift_watch(&self) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT state FROM drift_watch WHERE number = 1")
            .fetch_optional(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// Keeps the tests for drift in the place of those before; `state` is JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn keep_drift_watch(&self, state: &str, now_ms: i64) -> Result<(), StoreError> {
        const KEEP: &str = "
            INSERT INTO drift_watch (number, saved_at_ms, state) VALUES (1, ?, ?)
            ON CONFLICT (number) DO UPDATE SET saved_at_ms = excluded.saved_at_ms, state = excluded.state";
        let kept = sqlx::query(KEEP)
            .bind(now_ms)
            .bind(state)
            .execute(&self.pool);
        kept.await.map(drop).map_err(|source| self.failed(source))
    }

    /// What was decided, of the outcomes after a row; at most a page of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn decided_after(&self, place: i64) -> Result<Vec<Decided>, StoreError> {
        sqlx::query(DECIDED)
            .bind(place)
            .bind(PAGE_ROWS)
            .try_map(decided)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// What became of the outcomes after a row; at most a page of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn became_after(&self, place: i64) -> Result<Vec<Ended>, StoreError> {
        let within_ms = i64::try_from(SCORES_WITHIN.as_millis()).unwrap_or(i64::MAX);
        sqlx::query(ENDED)
            .bind(within_ms)
            .bind(place)
            .bind(PAGE_ROWS)
            .try_map(ended)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// The newest questions that no category was found for, that have no label and that no feedback names a category of, at most
    /// `rows_max`, asked between two moments (milliseconds since 1970 UTC), and before another of them where one is named; newest
    /// first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unplaced(
        &self,
        (since_ms, until_ms): (i64, i64),
        before: Option<&Unplaced>,
        rows_max: u32,
    ) -> Result<Vec<Unplaced>, StoreError> {
        let (until_ms, before_id) = before.map_or((until_ms, ID_MAX), |before| {
            (before.asked_at_ms, before.outcome_id.as_str())
        });
        sqlx::query(UNPLACED)
            .bind(since_ms)
            .bind(until_ms)
            .bind(before_id)
            .bind(rows_max)
            .try_map(|row: SqliteRow| {
                Ok(Unplaced {
                    outcome_id: row.try_get("id")?,
                    question: row.try_get("question")?,
                    asked_at_ms: row.try_get("asked_at_ms")?,
                })
            })
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }
}

fn decided(row: SqliteRow) -> sqlx::Result<Decided> {
    Ok(Decided {
        place: row.try_get("place")?,
        asked_at_ms: row.try_get("asked_at_ms")?,
        session: row.try_get("session")?,
        router: RouterId::new(row.try_get::<String, _>("router")?),
        confidence: row.try_get("confidence")?,
        strangeness: row.try_get("strangeness")?,
        reason: row.try_get("reason")?,
        question: row.try_get("question")?,
    })
}

/// What the blame goes by is read; of the rest nothing is known here.
fn ended(row: SqliteRow) -> sqlx::Result<Ended> {
    let expert = |name: String| ExpertId::new(name);
    let micros = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    let attempts: Vec<AttemptRow> = from_json(row.try_get("attempts")?);
    let mut scores: Vec<ScoreRow> = from_json(row.try_get("scores")?);
    scores.reverse();
    let category: Option<String> = row.try_get("category")?;
    Ok(Ended {
        place: row.try_get("place")?,
        served: Served {
            outcome_id: row.try_get("id")?,
            asked_at_ms: row.try_get("asked_at_ms")?,
            total: micros(row.try_get("total_us")?),
            client: None,
            conversation: row.try_get("session")?,
            question: None,
            category: category.map(CategoryId::new),
            reason: row.try_get("reason")?,
            expert: expert(row.try_get("expert")?),
            fallbacks: Vec::new(),
            propensity: None,
            explored: false,
            others: Vec::new(),
            passed_over: Vec::new(),
            has_cascade: false,
            tries: attempts.into_iter().map(Try::from).collect(),
            answered_by: row.try_get::<Option<String>, _>("answered_by")?.map(expert),
            first_token: row.try_get::<Option<i64>, _>("first_token_us")?.map(micros),
            ending: row.try_get("ending")?,
            prompt_tokens: None,
            said: scores.into_iter().map(Said::from).collect(),
            asked_again: false,
        },
    })
}

#[derive(Deserialize)]
struct ScoreRow {
    given_by: Option<String>,
    score: f64,
}

impl From<ScoreRow> for Said {
    fn from(row: ScoreRow) -> Self {
        Self {
            by: Voice {
                key: row.given_by,
                judge: None,
            },
            score: Some(row.score),
            expert: None,
        }
    }
}
