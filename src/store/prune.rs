//! What is too old goes: outcomes whole, or, where somebody said what they were about, all but what learning needs.

use sqlx::SqliteConnection;
use tokio::time::Instant;

use crate::store::{Store, StoreError, pace, row::json_text};

/// Outcomes of one step: tens of milliseconds, so that the writer never waits for long.
const STEP_ROWS: u32 = 500;

/// Gives at most 4 MiB of free pages back to the file system, for the same reason.
const GIVE_BACK_PAGES: &str = "PRAGMA incremental_vacuum(1024)";

/// Which outcomes are too old; milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// What was asked before this moment.
    pub before_ms: i64,
    /// The same for questions of which somebody said what they were about: between this moment and the one above they
    /// are kept, but for all that learning does not need.
    pub labelled_before_ms: i64,
}

/// What a prune did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Outcomes that were deleted, with their feedback and labels.
    pub deleted: u64,
    /// Labelled outcomes of which only the question and what was said of it, and figures, were left.
    pub reduced: u64,
}

/// Whether learning can use an outcome: its question is there, and somebody said what it was about. The same in both
/// statements below.
macro_rules! is_labelled {
    () => {
        "(o.question IS NOT NULL AND (
            EXISTS (SELECT 1 FROM labels l WHERE l.outcome_id = o.id)
            OR EXISTS (SELECT 1 FROM feedback f WHERE f.outcome_id = o.id AND f.category IS NOT NULL)
        ))"
    };
}

/// The oldest outcomes from a moment on that are too old as they are. Those that were reduced before are read over.
const DUE: &str = concat!(
    "SELECT o.id, o.asked_at_ms FROM outcomes o
     WHERE o.asked_at_ms >= ?1 AND o.asked_at_ms < ?2 AND (
        o.asked_at_ms < ?3
        OR o.answer IS NOT NULL OR o.key_name IS NOT NULL OR o.attempts <> '[]'
        OR NOT ",
    is_labelled!(),
    "
        OR EXISTS (
            SELECT 1 FROM feedback f
            WHERE f.outcome_id = o.id AND (f.category IS NULL OR f.comment IS NOT NULL)
        )
     )
     ORDER BY o.asked_at_ms LIMIT ?4"
);

/// Of some outcomes (a JSON array of ids), those that learning does not need any more.
const DELETE: &str = concat!(
    "DELETE FROM outcomes AS o WHERE o.id IN (SELECT value FROM json_each(?1))
     AND (o.asked_at_ms < ?2 OR NOT ",
    is_labelled!(),
    ")"
);

/// Takes from the others who asked, who was asked and what was answered. Their conversation stays: whoever learns must not
/// judge by one question what it has learnt from another of the same, and a digest whose key is forgotten tells nothing else.
const REDUCE: &str = "
    UPDATE outcomes SET answer = NULL, key_name = NULL, attempts = '[]'
    WHERE id IN (SELECT value FROM json_each(?1))";

/// Feedback that does not say what the question was about teaches no router.
const DELETE_SCORES: &str = "
    DELETE FROM feedback WHERE outcome_id IN (SELECT value FROM json_each(?1)) AND category IS NULL";

const DELETE_COMMENTS: &str = "
    UPDATE feedback SET comment = NULL
    WHERE outcome_id IN (SELECT value FROM json_each(?1)) AND comment IS NOT NULL";

/// What routers in shadow said of questions that are too old.
const DELETE_SHADOW: &str = "
    DELETE FROM shadow_decisions WHERE (router, outcome_id) IN (
        SELECT router, outcome_id FROM shadow_decisions WHERE decided_at_ms < ? ORDER BY decided_at_ms LIMIT ?
    )";

impl Store {
    /// Deletes the outcomes that are too old, with what was said of them and decided in shadow, reduces those that learning
    /// needs, and gives the space back to the file system. Works in short steps, between which others write for as long.
    ///
    /// # Errors
    /// The file cannot be written; what the finished steps did is done.
    pub async fn prune(&self, too_old: TooOld) -> Result<Pruned, StoreError> {
        let pruned = self.try_prune(too_old).await;
        pruned.map_err(|source| self.failed(source))
    }

    async fn try_prune(&self, too_old: TooOld) -> sqlx::Result<Pruned> {
        let mut pruned = Pruned::default();
        let mut from_ms = i64::MIN;
        loop {
            let due: Vec<(String, i64)> = sqlx::query_as(DUE)
                .bind(from_ms)
                .bind(too_old.before_ms)
                .bind(too_old.labelled_before_ms)
                .bind(STEP_ROWS)
                .fetch_all(&self.pool)
                .await?;
            let Some((_, last_ms)) = due.last() else {
                break;
            };
            from_ms = *last_ms;
            let started = Instant::now();
            self.step(too_old, &due, &mut pruned).await?;
            if due.len() < STEP_ROWS as usize {
                break;
            }
            pace::let_others(started.elapsed()).await;
        }
        self.prune_shadow(too_old.before_ms).await?;
        self.give_back_pages().await?;
        Ok(pruned)
    }

    async fn prune_shadow(&self, before_ms: i64) -> sqlx::Result<()> {
        loop {
            let started = Instant::now();
            let deleted = sqlx::query(DELETE_SHADOW)
                .bind(before_ms)
                .bind(STEP_ROWS)
                .execute(&self.pool)
                .await?
                .rows_affected();
            if deleted < u64::from(STEP_ROWS) {
                return Ok(());
            }
            pace::let_others(started.elapsed()).await;
        }
    }

    async fn step(
        &self,
        too_old: TooOld,
        due: &[(String, i64)],
        pruned: &mut Pruned,
    ) -> sqlx::Result<()> {
        let ids: Vec<_> = due.iter().map(|(id, _)| id).collect();
        let ids = json_text(&ids);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        // Asked anew: somebody may have labelled one meanwhile.
        let deleted = sqlx::query(DELETE)
            .bind(&ids)
            .bind(too_old.labelled_before_ms)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        let mut reduced = 0;
        if deleted < due.len() as u64 {
            reduced = change(&mut transaction, REDUCE, &ids).await?;
            change(&mut transaction, DELETE_SCORES, &ids).await?;
            change(&mut transaction, DELETE_COMMENTS, &ids).await?;
        }
        transaction.commit().await?;
        pruned.deleted += deleted;
        pruned.reduced += reduced;
        Ok(())
    }

    async fn give_back_pages(&self) -> sqlx::Result<()> {
        let mut before = i64::MAX;
        loop {
            let free: i64 = sqlx::query_scalar("PRAGMA freelist_count")
                .fetch_one(&self.pool)
                .await?;
            // A file made elsewhere, without incremental vacuum, never gets smaller.
            if free == 0 || free >= before {
                return Ok(());
            }
            before = free;
            let started = Instant::now();
            sqlx::query(GIVE_BACK_PAGES).execute(&self.pool).await?;
            pace::let_others(started.elapsed()).await;
        }
    }
}

async fn change(
    connection: &mut SqliteConnection,
    statement: &'static str,
    ids: &str,
) -> sqlx::Result<u64> {
    let changed = sqlx::query(statement).bind(ids).execute(connection).await?;
    Ok(changed.rows_affected())
}
