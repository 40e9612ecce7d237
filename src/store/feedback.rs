//! Feedback: attached to an outcome that is there, read back with it.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    outcome::{Feedback, FeedbackError},
    store::{Store, StoreError},
};

impl Store {
    /// Attaches feedback to an outcome. The same may be given twice; both are kept.
    ///
    /// # Errors
    /// The outcome is not in the store, the score is out of range, or the file cannot be written.
    pub async fn add_feedback(&self, feedback: &Feedback) -> Result<(), FeedbackError> {
        if let Some(score) = feedback.score
            && !(0.0..=1.0).contains(&score)
        {
            return Err(FeedbackError::ScoreOutOfRange { score });
        }
        let added = sqlx::query(
            "INSERT INTO feedback (outcome_id, given_at_ms, score, category, expert, comment, key_name, judged_by)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&feedback.outcome_id)
        .bind(feedback.given_at_ms)
        .bind(feedback.score)
        .bind(&feedback.category)
        .bind(&feedback.expert)
        .bind(&feedback.comment)
        .bind(&feedback.key_name)
        .bind(&feedback.judged_by)
        .execute(&self.pool)
        .await;
        match added {
            Ok(_) => Ok(()),
            Err(error) if breaks_foreign_key(&error) => Err(FeedbackError::UnknownOutcome {
                id: feedback.outcome_id.clone(),
            }),
            Err(source) => Err(self.failed(source).into()),
        }
    }

    /// The feedback on one outcome, in the order in which it was given.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn feedback(&self, outcome_id: &str) -> Result<Vec<Feedback>, StoreError> {
        sqlx::query("SELECT * FROM feedback WHERE outcome_id = ? ORDER BY id")
            .bind(outcome_id)
            .try_map(read)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }
}

fn read(row: SqliteRow) -> sqlx::Result<Feedback> {
    Ok(Feedback {
        outcome_id: row.try_get("outcome_id")?,
        given_at_ms: row.try_get("given_at_ms")?,
        score: row.try_get("score")?,
        category: row.try_get("category")?,
        expert: row.try_get("expert")?,
        comment: row.try_get("comment")?,
        key_name: row.try_get("key_name")?,
        judged_by: row.try_get("judged_by")?,
    })
}

fn breaks_foreign_key(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_foreign_key_violation())
}
