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
    /// Complete answers whose text was kept and of which this judge has said nothing yet, at most `rows_max`: the newest first
    /// about which it was not asked yet, of all or of those alone to which a client gave a score; or what it did not settle,
    /// what it was asked longest ago first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn ungraded(
        &self,
        judged_by: &str,
        which: Ungraded,
        rows_max: u32,
    ) -> Result<Vec<RecordedAnswer>, StoreError> {
        const FRESH: &str = "
            SELECT id AS outcome_id, question, answer, answered_by AS expert
            FROM outcomes o
            WHERE question <> '' AND answer <> '' AND answered_by <> '' AND ending = 'completed'
                AND NOT EXISTS (SELECT 1 FROM feedback f WHERE f.outcome_id = o.id AND f.judged_by = ?1)
                AND NOT EXISTS (SELECT 1 FROM unsettled u WHERE u.outcome_id = o.id AND u.judged_by = ?1)
            ORDER BY asked_at_ms DESC, id DESC
            LIMIT ?2";
        const SCORED: &str = "
            SELECT id AS outcome_id, question, answer, answered_by AS expert
            FROM outcomes o
            WHERE question <> '' AND answer <> '' AND answered_by <> '' AND ending = 'completed'
                AND EXISTS (
                    SELECT 1 FROM feedback f
                    WHERE f.outcome_id = o.id AND f.judged_by IS NULL AND f.score IS NOT NULL
                )
                AND NOT EXISTS (SELECT 1 FROM feedback f WHERE f.outcome_id = o.id AND f.judged_by = ?1)
                AND NOT EXISTS (SELECT 1 FROM unsettled u WHERE u.outcome_id = o.id AND u.judged_by = ?1)
            ORDER BY asked_at_ms DESC, id DESC
            LIMIT ?2";
        const UNSETTLED: &str = "
            SELECT o.id AS outcome_id, o.question, o.answer, o.answered_by AS expert
            FROM unsettled u CROSS JOIN outcomes o ON o.id = u.outcome_id
            WHERE u.judged_by = ?1 AND o.question <> '' AND o.answer <> '' AND o.answered_by <> ''
                AND o.ending = 'completed'
                AND NOT EXISTS (SELECT 1 FROM feedback f WHERE f.outcome_id = o.id AND f.judged_by = ?1)
            ORDER BY u.asked_at_ms, o.asked_at_ms DESC, o.id DESC
            LIMIT ?2";
        let statement = match which {
            Ungraded::Fresh => FRESH,
            Ungraded::Scored => SCORED,
            Ungraded::Unsettled => UNSETTLED,
        };
        sqlx::query_as(statement)
            .bind(judged_by)
            .bind(rows_max)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// The scores that clients and this judge gave to the same answers, client's first: of each outcome the last of either, at
    /// most `rows_max`, the newest.
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
            FROM feedback judge JOIN feedback client ON client.id = (
                SELECT f.id FROM feedback f
                WHERE f.outcome_id = judge.outcome_id AND f.judged_by IS NULL AND f.score IS NOT NULL
                ORDER BY f.given_at_ms DESC, f.id DESC LIMIT 1
            )
            WHERE judge.judged_by = ?1 AND judge.score IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM feedback f
                WHERE f.outcome_id = judge.outcome_id AND f.judged_by = ?1 AND f.score IS NOT NULL AND f.id > judge.id
            )
            ORDER BY judge.id DESC
            LIMIT ?2";
        sqlx::query_as(BESIDE)
            .bind(judged_by)
            .bind(rows_max)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// Whom clients and this judge name as the expert that should have answered, client's first: of each outcome the last of
    /// either, at most `rows_max`, the newest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn experts_beside(
        &self,
        judged_by: &str,
        rows_max: u32,
    ) -> Result<Vec<(String, String)>, StoreError> {
        const BESIDE: &str = "
            SELECT client.expert, judge.expert
            FROM feedback judge JOIN feedback client ON client.id = (
                SELECT f.id FROM feedback f
                WHERE f.outcome_id = judge.outcome_id AND f.judged_by IS NULL AND f.expert IS NOT NULL
                ORDER BY f.given_at_ms DESC, f.id DESC LIMIT 1
            )
            WHERE judge.judged_by = ?1 AND judge.expert IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM feedback f
                WHERE f.outcome_id = judge.outcome_id AND f.judged_by = ?1 AND f.expert IS NOT NULL AND f.id > judge.id
            )
            ORDER BY judge.id DESC
            LIMIT ?2";
        sqlx::query_as(BESIDE)
            .bind(judged_by)
            .bind(rows_max)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }
}

/// Which answers a judge is to be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ungraded {
    /// Those about which it was not asked yet.
    Fresh,
    /// Of these, those to which a client gave a score.
    Scored,
    /// Those about which it was asked, and that it did not settle.
    Unsettled,
}
