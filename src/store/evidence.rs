//! What was said of outcomes, for whoever learns from it.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    learning::{Evidence, Gathered, Origin, Statement},
    store::{Store, StoreError},
};

/// Words that are heard of whoever has no name, of one outcome: each may be another's. Of the others the last counts.
const NAMELESS_WORDS_MAX: u32 = 16;

/// Feedback that names a category, and labels: of each source the last word on each outcome, with that outcome. Nothing can be
/// learnt from an outcome whose question was not kept.
///
/// Where there is more than is read, people's labels come first, and then every other source in its turn, with its newest
/// outcomes: whoever says more takes from nobody but itself. `CROSS JOIN` has SQLite begin with what was said: it would
/// otherwise read every outcome for the sake of their order.
const STATEMENTS: &str = "
    WITH words AS (
        SELECT s.*, row_number() OVER (
            PARTITION BY outcome_id, origin, given_by ORDER BY given_at_ms DESC, number DESC
        ) AS nth
        FROM (
            SELECT outcome_id, category, 'feedback' AS origin, key_name AS given_by, given_at_ms, id AS number
            FROM feedback WHERE category IS NOT NULL
            UNION ALL
            SELECT outcome_id, category, origin, given_by, given_at_ms, id FROM labels
        ) s
    ), turns AS (
        SELECT w.*, o.rowid AS place, o.asked_at_ms, count(*) OVER () AS words,
               row_number() OVER (PARTITION BY w.origin, w.given_by ORDER BY o.asked_at_ms DESC, o.id DESC, w.nth) AS turn
        FROM words w CROSS JOIN outcomes o ON o.id = w.outcome_id
        WHERE w.nth <= iif(w.given_by IS NULL, ?1, 1) AND o.question IS NOT NULL
    ), heard AS (
        SELECT * FROM turns
        ORDER BY origin <> 'person', turn, asked_at_ms DESC, place DESC, origin, number
        LIMIT ?2
    )
    SELECT o.id, o.asked_at_ms, o.session, o.question, o.category AS routed_to, o.reason,
           h.category, h.origin, h.given_by, h.given_at_ms, h.words
    FROM heard h CROSS JOIN outcomes o ON o.rowid = h.place
    ORDER BY o.asked_at_ms DESC, o.id DESC, h.given_at_ms, h.origin, h.number";

impl Store {
    /// What was said of outcomes, at most `statements_max` statements in all: of each source the last word on each outcome,
    /// every source in its turn with its newest. Newest outcome first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn evidence(&self, statements_max: u32) -> Result<Gathered, StoreError> {
        let rows = sqlx::query(STATEMENTS)
            .bind(NAMELESS_WORDS_MAX)
            .bind(statements_max)
            .try_map(|row: SqliteRow| Ok((row.try_get::<i64, _>("words")?, read(row)?)))
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        let words = rows.first().map_or(0, |(words, _)| words.unsigned_abs());
        let unread = words.saturating_sub(rows.len() as u64);
        let mut evidence: Vec<Evidence> = Vec::new();
        for (_, row) in rows {
            match evidence.last_mut() {
                Some(last) if last.outcome_id == row.outcome_id => {
                    last.statements.extend(row.statements);
                }
                _ => evidence.push(row),
            }
        }
        Ok(Gathered { evidence, unread })
    }
}

fn read(row: SqliteRow) -> sqlx::Result<Evidence> {
    let reason: String = row.try_get("reason")?;
    let routed_to: Option<String> = row.try_get("routed_to")?;
    Ok(Evidence {
        outcome_id: row.try_get("id")?,
        asked_at_ms: row.try_get("asked_at_ms")?,
        conversation: row.try_get("session")?,
        question: row.try_get("question")?,
        routed_to: routed_to.filter(|_| reason == "routed"),
        statements: vec![Statement {
            category: row.try_get("category")?,
            origin: Origin::from_word(row.try_get("origin")?),
            given_by: row.try_get("given_by")?,
            given_at_ms: row.try_get("given_at_ms")?,
        }],
    })
}
