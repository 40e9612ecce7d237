//! Answers that a judge is to grade, and what it said of them beside clients.

use crate::store::{Store, StoreError};

/// A question and its recorded answer.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct RecordedAnswer {
    /// The outcome.
    pub outcome_id: String,
    /// The text that was classified, as it was kept.
    pub question: String,
    /// The answer, as it was kept.
    pub answer: String,
    /// Who gave it.
    pub expert: String,
}

impl Store {
    /// The newest complete answers whose text was kept and of which this judge has said nothing yet; at most `rows_max`,
    /// newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn ungraded(
        &self,
        judged_by: &str,
        rows_max: u32,
    ) -> Result<Vec<RecordedAnswer>, StoreError> {
        const UNGRADED: &str = "
            SELECT id AS outcome_id, question, answer, answered_by AS expert
            FROM outcomes o
            WHERE question <> '' AND answer <> '' AND answered_by <> '' AND ending = 'completed' AND NOT EXISTS (
                SELECT 1 FROM feedback f WHERE f.outcome_id = o.id AND f.judged_by = ?
            )
            ORDER BY asked_at_ms DESC, id DESC
            LIMIT ?";
        sqlx::query_as(UNGRADED)
            .bind(judged_by)
            .bind(rows_max)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// The scores that clients and this judge gave to the same answers, client's first; at most `rows_max`, the newest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn scores_beside(
        &self,
        judged_by: &str,
        rows_max: u32,
    ) -> Result<Vec<(f64, f64)>, StoreError> {
        const BESIDE: &str = "
            SELECT client.score, judge.score
            FROM feedback judge JOIN feedback client ON client.outcome_id = judge.outcome_id
            WHERE judge.judged_by = ? AND client.judged_by IS NULL
                AND judge.score IS NOT NULL AND client.score IS NOT NULL
            ORDER BY judge.id DESC
            LIMIT ?";
        sqlx::query_as(BESIDE)
            .bind(judged_by)
            .bind(rows_max)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }
}
