//! Labels: what people and models say that questions were about.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use crate::{
    learning::{Label, Origin},
    store::{Store, StoreError},
};

impl Store {
    /// Adds labels, all at once; returns the number of each, in order: none where its outcome is not in the store, for
    /// instance since it was pruned meanwhile.
    ///
    /// # Errors
    /// The file cannot be written; nothing has changed.
    pub async fn add_labels(&self, labels: &[Label]) -> Result<Vec<Option<i64>>, StoreError> {
        let added = async {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let numbers = insert(&mut transaction, labels).await?;
            transaction.commit().await?;
            Ok(numbers)
        };
        added.await.map_err(|source| self.failed(source))
    }

    /// Takes a label back; whether it was there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn remove_label(&self, number: i64) -> Result<bool, StoreError> {
        let removed = sqlx::query("DELETE FROM labels WHERE id = ?")
            .bind(number)
            .execute(&self.pool)
            .await;
        let removed = removed.map_err(|source| self.failed(source))?;
        Ok(removed.rows_affected() > 0)
    }

    /// The labels of one outcome, in the order in which they were given.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn labels(&self, outcome_id: &str) -> Result<Vec<Label>, StoreError> {
        sqlx::query("SELECT * FROM labels WHERE outcome_id = ? ORDER BY id")
            .bind(outcome_id)
            .try_map(read)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    labels: &[Label],
) -> sqlx::Result<Vec<Option<i64>>> {
    let mut numbers = Vec::with_capacity(labels.len());
    for label in labels {
        let row = sqlx::query(
            "INSERT INTO labels (outcome_id, given_at_ms, category, origin, given_by)
             SELECT id, ?2, ?3, ?4, ?5 FROM outcomes WHERE id = ?1",
        )
        .bind(&label.outcome_id)
        .bind(label.given_at_ms)
        .bind(&label.category)
        .bind(label.origin.as_str())
        .bind(&label.given_by)
        .execute(&mut *connection)
        .await?;
        numbers.push((row.rows_affected() > 0).then(|| row.last_insert_rowid()));
    }
    Ok(numbers)
}

fn read(row: SqliteRow) -> sqlx::Result<Label> {
    Ok(Label {
        outcome_id: row.try_get("outcome_id")?,
        given_at_ms: row.try_get("given_at_ms")?,
        category: row.try_get("category")?,
        origin: Origin::from_word(row.try_get("origin")?),
        given_by: row.try_get("given_by")?,
    })
}
