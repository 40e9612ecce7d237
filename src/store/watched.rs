//! Outcomes as whoever watches for drift reads them: in the order of time, a page at a time.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    learning::watch::{Place, Unplaced, Watched},
    store::{Store, StoreError},
};

/// Outcomes in a page: some milliseconds of reading.
const PAGE_ROWS: u32 = 2_000;

/// What one router decided, after a place; with the mean of the scores that were given.
const PAGE: &str = "
    SELECT o.id, o.asked_at_ms, o.session, o.confidence, o.strangeness, o.reason, o.category, o.answered_by, o.ending,
           o.question, (SELECT avg(score) FROM feedback WHERE outcome_id = o.id) AS score
    FROM outcomes o
    WHERE o.router = ? AND (o.asked_at_ms, o.id) > (?, ?)
    ORDER BY o.asked_at_ms, o.id
    LIMIT ?";

/// The newest questions that were refused, with their outcomes.
const UNPLACED: &str = "
    SELECT id, question FROM outcomes
    WHERE reason IN ('unsure', 'out_of_domain') AND question IS NOT NULL AND asked_at_ms >= ?
    ORDER BY asked_at_ms DESC, id DESC
    LIMIT ?";

impl Store {
    /// The outcomes of a router that come after a place, oldest first; at most a page of them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn watched(&self, router: &str, after: &Place) -> Result<Vec<Watched>, StoreError> {
        sqlx::query(PAGE)
            .bind(router)
            .bind(after.asked_at_ms)
            .bind(&after.outcome_id)
            .bind(PAGE_ROWS)
            .try_map(watched)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// The newest questions that no category was found for, at most `rows_max`, asked since a moment (milliseconds since 1970
    /// UTC); newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unplaced(
        &self,
        since_ms: i64,
        rows_max: u32,
    ) -> Result<Vec<Unplaced>, StoreError> {
        sqlx::query(UNPLACED)
            .bind(since_ms)
            .bind(rows_max)
            .try_map(|row: SqliteRow| {
                Ok(Unplaced {
                    outcome_id: row.try_get("id")?,
                    question: row.try_get("question")?,
                })
            })
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }
}

fn watched(row: SqliteRow) -> sqlx::Result<Watched> {
    Ok(Watched {
        place: Place {
            asked_at_ms: row.try_get("asked_at_ms")?,
            outcome_id: row.try_get("id")?,
        },
        session: row.try_get("session")?,
        confidence: row.try_get("confidence")?,
        strangeness: row.try_get("strangeness")?,
        reason: row.try_get("reason")?,
        category: row.try_get("category")?,
        answered_by: row.try_get("answered_by")?,
        ending: row.try_get("ending")?,
        score: row.try_get("score")?,
        question: row.try_get("question")?,
    })
}
