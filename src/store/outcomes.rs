//! Outcomes: written in batches, read by id and counted.

use std::collections::HashMap;

use crate::{
    outcome::Outcome,
    store::{
        Store, StoreError,
        row::{self, StoredOutcome},
    },
};

/// Rows of the statements that insert, of which the largest that fits is taken. Each statement is a way to SQLite's thread
/// and back, so that few rows cost more; but for as long as one takes, a core of a small machine is taken from the answers,
/// which the slowest of them feel. Few sizes are few statements to prepare and keep.
pub(super) const INSERT_ROWS: [usize; 3] = [32, 8, 1];

impl Store {
    /// Writes outcomes, all or none. One that is there already is left as it is, so a batch whose fate is unknown may be
    /// written again.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn write(&self, outcomes: &[Outcome]) -> Result<(), StoreError> {
        self.try_write(outcomes)
            .await
            .map_err(|source| self.failed(source))
    }

    async fn try_write(&self, outcomes: &[Outcome]) -> sqlx::Result<()> {
        // The write lock is taken at once: a transaction that starts as a reader can be refused it half way.
        let mut transaction = self.outcomes.begin_with("BEGIN IMMEDIATE").await?;
        let mut rest = outcomes;
        for rows in INSERT_ROWS {
            while let Some((next, others)) = rest.split_at_checked(rows) {
                let mut insert = row::insert(next);
                insert.build().execute(&mut *transaction).await?;
                rest = others;
            }
        }
        transaction.commit().await
    }

    /// Reads one outcome.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn outcome(&self, id: &str) -> Result<Option<StoredOutcome>, StoreError> {
        sqlx::query_as("SELECT * FROM outcomes WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// Reads the newest outcomes, at most `rows_max`, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn latest(&self, rows_max: u32) -> Result<Vec<StoredOutcome>, StoreError> {
        const NEWEST: &str = "SELECT * FROM outcomes ORDER BY asked_at_ms DESC, id DESC LIMIT ?";
        let rows = sqlx::query_as(NEWEST)
            .bind(rows_max)
            .fetch_all(&self.pool)
            .await;
        let mut outcomes: Vec<StoredOutcome> = rows.map_err(|source| self.failed(source))?;
        outcomes.reverse();
        Ok(outcomes)
    }

    /// The number of outcomes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn count(&self) -> Result<u64, StoreError> {
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM outcomes")
            .fetch_one(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(rows.unsigned_abs())
    }

    /// The dollars that the questions asked since a moment (milliseconds since 1970 UTC) cost, as far as that is known, by
    /// the name of the key that asked them; none: asked without a key.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn spent_usd_since(
        &self,
        since_ms: i64,
    ) -> Result<HashMap<Option<String>, f64>, StoreError> {
        const BY_KEY: &str = "SELECT key_name, total(cost_usd) FROM outcomes WHERE asked_at_ms >= ? GROUP BY key_name";
        let rows = sqlx::query_as(BY_KEY)
            .bind(since_ms)
            .fetch_all(&self.pool)
            .await;
        let rows: Vec<(Option<String>, f64)> = rows.map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().collect())
    }

    /// The dollars that asking what questions demand has cost since a moment (milliseconds since 1970 UTC), as far as that is
    /// known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn spent_on_instructions_usd_since(&self, since_ms: i64) -> Result<f64, StoreError> {
        const SPENT: &str = "SELECT total(json_extract(reason_detail, '$.instruction.cost_usd')) FROM outcomes WHERE asked_at_ms >= ?";
        sqlx::query_scalar(SPENT)
            .bind(since_ms)
            .fetch_one(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }
}
