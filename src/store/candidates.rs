//! Outcomes that are to be labelled, and how far that has come.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    learning::{Candidate, Label, Origin},
    store::{Store, StoreError},
};

/// Without scores nothing was classified: the client named the expert or the category.
const UNLABELLED: &str = "
    SELECT id, asked_at_ms, session, question, scores, reason
    FROM outcomes o
    WHERE question <> '' AND scores <> '[]' AND NOT EXISTS (
        SELECT 1 FROM labels l WHERE l.outcome_id = o.id AND l.origin = 'person'
    )
    ORDER BY asked_at_ms DESC, id DESC
    LIMIT ?";

const UNJUDGED: &str = "
    SELECT id, asked_at_ms, session, question, scores, reason
    FROM outcomes o
    WHERE question <> '' AND scores <> '[]' AND NOT EXISTS (
        SELECT 1 FROM labels l WHERE l.outcome_id = o.id AND l.given_by = ?
    )
    ORDER BY EXISTS (
        SELECT 1 FROM labels l WHERE l.outcome_id = o.id AND l.origin = 'person'
    ) = ? DESC, asked_at_ms DESC, id DESC
    LIMIT ?";

impl Store {
    /// The newest outcomes that the router classified, whose question was kept, and of which no person said yet what they
    /// were about; at most `rows_max`, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unlabelled(&self, rows_max: u32) -> Result<Vec<Candidate>, StoreError> {
        sqlx::query(UNLABELLED)
            .bind(rows_max)
            .try_map(read)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// The same that this judge has not labelled yet; those first that a person has labelled, or those last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unjudged(
        &self,
        given_by: &str,
        people: People,
        rows_max: u32,
    ) -> Result<Vec<Candidate>, StoreError> {
        sqlx::query(UNJUDGED)
            .bind(given_by)
            .bind(people == People::First)
            .bind(rows_max)
            .try_map(read)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// How many labels somebody gave since a moment (milliseconds since 1970 UTC).
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn labelled_since(&self, given_by: &str, since_ms: i64) -> Result<u64, StoreError> {
        const COUNT: &str = "SELECT count(*) FROM labels WHERE given_by = ? AND given_at_ms >= ?";
        let count: i64 = sqlx::query_scalar(COUNT)
            .bind(given_by)
            .bind(since_ms)
            .fetch_one(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// Takes all labels of an origin back and puts others in their place, all or nothing; returns how many were taken back.
    ///
    /// # Errors
    /// One of the outcomes is not in the store, or the file cannot be written; nothing has changed.
    pub async fn replace_labels(
        &self,
        origin: &Origin,
        labels: &[Label],
    ) -> Result<u64, StoreError> {
        let replaced = async {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let removed = sqlx::query("DELETE FROM labels WHERE origin = ?")
                .bind(origin.as_str())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            super::labels::insert(&mut transaction, labels).await?;
            transaction.commit().await?;
            Ok(removed)
        };
        replaced.await.map_err(|source| self.failed(source))
    }
}

/// Where those stand that a person has labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum People {
    /// Before the others: how far a judge agrees with people is known first.
    First,
    /// Behind the others.
    Last,
}

fn read(row: SqliteRow) -> sqlx::Result<Candidate> {
    // What a later version wrote differently is shown without scores.
    let scores: &str = row.try_get("scores")?;
    Ok(Candidate {
        outcome_id: row.try_get("id")?,
        asked_at_ms: row.try_get("asked_at_ms")?,
        conversation: row.try_get("session")?,
        question: row.try_get("question")?,
        scores: serde_json::from_str(scores).unwrap_or_default(),
        reason: row.try_get("reason")?,
    })
}
