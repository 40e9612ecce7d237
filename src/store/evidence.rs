//! What was said of outcomes, for whoever learns from it.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    learning::{Evidence, Origin, Statement},
    store::{Store, StoreError},
};

/// Feedback that names a category, and labels: the newest first, each with its outcome. Nothing can be learnt from an
/// outcome whose question was not kept. `CROSS JOIN` has SQLite begin with what was said: it would otherwise read every
/// outcome for the sake of their order.
const STATEMENTS: &str = "
    SELECT o.id, o.asked_at_ms, o.session, o.question, o.category AS routed_to, o.reason,
           s.category, s.origin, s.given_by, s.given_at_ms
    FROM (
        SELECT outcome_id, category, 'feedback' AS origin, key_name AS given_by, given_at_ms
        FROM feedback WHERE category IS NOT NULL
        UNION ALL
        SELECT outcome_id, category, origin, given_by, given_at_ms FROM labels
    ) s
    CROSS JOIN outcomes o ON o.id = s.outcome_id
    WHERE o.question IS NOT NULL
    ORDER BY o.asked_at_ms DESC, o.id DESC, s.given_at_ms, s.origin
    LIMIT ?";

impl Store {
    /// The newest outcomes of which something was said, at most `statements_max` statements in all, newest outcome first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn evidence(&self, statements_max: u32) -> Result<Vec<Evidence>, StoreError> {
        let rows = sqlx::query(STATEMENTS)
            .bind(statements_max)
            .try_map(read)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        let mut evidence: Vec<Evidence> = Vec::new();
        for row in rows {
            match evidence.last_mut() {
                Some(last) if last.outcome_id == row.outcome_id => {
                    last.statements.extend(row.statements);
                }
                _ => evidence.push(row),
            }
        }
        Ok(evidence)
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
