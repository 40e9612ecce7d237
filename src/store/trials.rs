//! Trials of routers: begun, ended, and what becomes of a canary's questions.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::registry;
use crate::{
    clock,
    ids::RouterId,
    store::{Store, StoreError},
    trial::{Ended, EndedRow, Ending, Places, SaidRow, Share, Trial, TrialKind},
};

/// Rows in a page: some milliseconds of reading.
const PAGE_ROWS: usize = 2_000;

/// Outcomes in the order in which they came into the store.
const ENDED: &str = "
    SELECT o.rowid AS place, o.id, o.asked_at_ms, o.total_us, o.session, o.question, o.model, o.router, o.ending,
           o.first_token_us IS NOT NULL AS has_begun
    FROM outcomes o WHERE o.rowid > ? ORDER BY o.rowid LIMIT ?";

/// What clients said, in the order in which they did, and of what.
const SAID: &str = "
    SELECT f.id AS place, f.score, f.category AS said, o.id, o.asked_at_ms, o.session, o.model, o.router, o.category
    FROM feedback f CROSS JOIN outcomes o ON o.id = f.outcome_id
    WHERE f.id > ? AND f.judged_by IS NULL ORDER BY f.id LIMIT ?";

/// A trial to begin.
#[derive(Clone, Copy, Debug)]
pub struct NewTrial<'t> {
    /// The router.
    pub router: &'t RouterId,
    /// How it is tried.
    pub kind: TrialKind,
    /// A canary's share of the sessions.
    pub share: Option<Share>,
    /// A person's name, or what does it by itself.
    pub by: &'t str,
    /// In words for people.
    pub why: Option<&'t str>,
}

/// Why a trial was not begun or ended.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It was never registered.
    #[error(
        "there is no router `{id}` in the registry; `coterie routers list` shows those that are"
    )]
    Unknown {
        /// Its id.
        id: RouterId,
    },
    /// It decides already.
    #[error("router {id} is in force, so there is nothing to try; try another one")]
    InForce {
        /// Its id.
        id: RouterId,
    },
    /// There is one of that kind.
    #[error(
        "router {router} is tried as {kind} already; `coterie routers stop {kind}` ends that trial"
    )]
    UnderWay {
        /// The kind.
        kind: TrialKind,
        /// The router that is tried.
        router: RouterId,
    },
    /// There is none to end.
    #[error("no router is tried as {kind}; `coterie routers list` shows the trials")]
    NotUnderWay {
        /// The kind.
        kind: TrialKind,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A part of what is read in order.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In order.
    pub rows: Vec<T>,
    /// Whether nothing comes after them for now.
    pub is_last: bool,
}

impl<T> Page<T> {
    fn of(rows: Vec<T>) -> Self {
        Self {
            is_last: rows.len() < PAGE_ROWS,
            rows,
        }
    }
}

impl Store {
    /// Begins a trial, in one step.
    ///
    /// # Errors
    /// The router is not registered, or in force; another is tried in the same way; or the file cannot be written.
    pub async fn begin_trial(&self, new: NewTrial<'_>) -> Result<Trial, TrialError> {
        let failed = |source| TrialError::Store(self.failed(source));
        if self.router(new.router).await?.is_none() {
            return Err(TrialError::Unknown {
                id: new.router.clone(),
            });
        }
        let mut transaction = self
            .pool
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let promotion = registry::last_promotion(&mut transaction).await;
        let champion = promotion.map_err(failed)?.and_then(|last| last.router);
        if champion.as_ref() == Some(new.router) {
            return Err(TrialError::InForce {
                id: new.router.clone(),
            });
        }
        let open = open_trials(&mut transaction).await.map_err(failed)?;
        if let Some(other) = open.into_iter().find(|trial| trial.kind == new.kind) {
            return Err(TrialError::UnderWay {
                kind: new.kind,
                router: other.router,
            });
        }
        let trial = insert(&mut transaction, new, champion)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(trial)
    }

    /// Stops the trial of a kind.
    ///
    /// # Errors
    /// There is none, or the file cannot be written.
    pub async fn stop_trial(
        &self,
        kind: TrialKind,
        by: &str,
        why: Option<&str>,
    ) -> Result<Trial, TrialError> {
        let open = self.open_trials().await?;
        let open = open.into_iter().find(|trial| trial.kind == kind);
        let mut trial = open.ok_or(TrialError::NotUnderWay { kind })?;
        let ended = Ended {
            at_ms: clock::now_ms(),
            by: by.to_owned(),
            ending: Ending::Stopped,
            why: why.map(str::to_owned),
        };
        if !self.end_trial(trial.number, &ended).await? {
            return Err(TrialError::NotUnderWay { kind });
        }
        trial.ended = Some(ended);
        Ok(trial)
    }

    /// Ends a trial, if nobody has; whether it was this call that did.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn end_trial(&self, number: i64, ended: &Ended) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "UPDATE trials SET ended_at_ms = ?, ended_by = ?, ending = ?, ended_why = ?
             WHERE number = ? AND ended_at_ms IS NULL",
        )
        .bind(ended.at_ms)
        .bind(&ended.by)
        .bind(ended.ending.as_str())
        .bind(&ended.why)
        .bind(number)
        .execute(&self.pool)
        .await;
        let changed = changed.map_err(|source| self.failed(source))?;
        Ok(changed.rows_affected() > 0)
    }

    /// The trials that are under way.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn open_trials(&self) -> Result<Vec<Trial>, StoreError> {
        let read = async {
            let mut connection = self.pool.acquire().await?;
            open_trials(&mut connection).await
        };
        read.await.map_err(|source| self.failed(source))
    }

    /// All trials, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn trials(&self) -> Result<Vec<Trial>, StoreError> {
        let rows = sqlx::query("SELECT * FROM trials ORDER BY number")
            .try_map(trial)
            .fetch_all(&self.pool)
            .await;
        let rows = rows.map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// A page of the outcomes that came into the store after a place, in the order in which they did.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn ended_after(&self, place: i64) -> Result<Page<EndedRow>, StoreError> {
        let rows = sqlx::query(ENDED)
            .bind(place)
            .bind(rows_bound())
            .try_map(ended_row)
            .fetch_all(&self.pool)
            .await;
        rows.map(Page::of).map_err(|source| self.failed(source))
    }

    /// A page of what clients said after a place, in the order in which they did.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn said_after(&self, place: i64) -> Result<Page<SaidRow>, StoreError> {
        let rows = sqlx::query(SAID)
            .bind(place)
            .bind(rows_bound())
            .try_map(said_row)
            .fetch_all(&self.pool)
            .await;
        rows.map(Page::of).map_err(|source| self.failed(source))
    }
}

fn rows_bound() -> i64 {
    i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX)
}

/// Ends every trial, since another router comes in force: the trials of that one have led to it.
pub(super) async fn end_all(
    connection: &mut SqliteConnection,
    promoted: Option<&RouterId>,
    by: &str,
    at_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE trials SET ended_at_ms = ?, ended_by = ?, ending = iif(router IS ?, ?, ?)
         WHERE ended_at_ms IS NULL",
    )
    .bind(at_ms)
    .bind(by)
    .bind(promoted.map(RouterId::as_str))
    .bind(Ending::Promoted.as_str())
    .bind(Ending::Overtaken.as_str())
    .execute(connection)
    .await
    .map(drop)
}

async fn open_trials(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Trial>> {
    let rows = sqlx::query("SELECT * FROM trials WHERE ended_at_ms IS NULL ORDER BY number")
        .try_map(trial)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().flatten().collect())
}

async fn insert(
    connection: &mut SqliteConnection,
    new: NewTrial<'_>,
    champion: Option<RouterId>,
) -> sqlx::Result<Trial> {
    let from = Places {
        outcomes: last(&mut *connection, "SELECT max(rowid) FROM outcomes").await?,
        feedback: last(&mut *connection, "SELECT max(id) FROM feedback").await?,
    };
    let started_at_ms = clock::now_ms();
    let added = sqlx::query(
        "INSERT INTO trials (
            router, kind, share, champion, started_at_ms, started_by, why, outcomes_before, feedback_before
         ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.router.as_str())
    .bind(new.kind.as_str())
    .bind(new.share.map(Share::get))
    .bind(champion.as_ref().map(RouterId::as_str))
    .bind(started_at_ms)
    .bind(new.by)
    .bind(new.why)
    .bind(from.outcomes)
    .bind(from.feedback)
    .execute(connection)
    .await?;
    Ok(Trial {
        number: added.last_insert_rowid(),
        router: new.router.clone(),
        kind: new.kind,
        share: new.share,
        champion,
        started_at_ms,
        started_by: new.by.to_owned(),
        why: new.why.map(str::to_owned),
        from,
        ended: None,
    })
}

/// The greatest number that a query finds; 0: none.
async fn last(connection: &mut SqliteConnection, query: &'static str) -> sqlx::Result<i64> {
    let last: Option<i64> = sqlx::query_scalar(query).fetch_one(connection).await?;
    Ok(last.unwrap_or(0))
}

/// None for a kind that a later version knows.
fn trial(row: SqliteRow) -> sqlx::Result<Option<Trial>> {
    let Some(kind) = TrialKind::from_word(row.try_get("kind")?) else {
        return Ok(None);
    };
    let router = |id: String| RouterId::new(id);
    let share: Option<f64> = row.try_get("share")?;
    Ok(Some(Trial {
        number: row.try_get("number")?,
        router: router(row.try_get("router")?),
        kind,
        share: share.and_then(Share::new),
        champion: row.try_get::<Option<String>, _>("champion")?.map(router),
        started_at_ms: row.try_get("started_at_ms")?,
        started_by: row.try_get("started_by")?,
        why: row.try_get("why")?,
        from: Places {
            outcomes: row.try_get("outcomes_before")?,
            feedback: row.try_get("feedback_before")?,
        },
        ended: ended(&row)?,
    }))
}

fn ended(row: &SqliteRow) -> sqlx::Result<Option<Ended>> {
    let Some(at_ms) = row.try_get("ended_at_ms")? else {
        return Ok(None);
    };
    Ok(Some(Ended {
        at_ms,
        by: row.try_get("ended_by")?,
        ending: Ending::from_word(row.try_get("ending")?),
        why: row.try_get("ended_why")?,
    }))
}

fn ended_row(row: SqliteRow) -> sqlx::Result<EndedRow> {
    let asked_at_ms: i64 = row.try_get("asked_at_ms")?;
    let total_us: i64 = row.try_get("total_us")?;
    Ok(EndedRow {
        place: row.try_get("place")?,
        outcome_id: row.try_get("id")?,
        asked_at_ms,
        ended_at_ms: asked_at_ms.saturating_add(total_us / 1000),
        session: row.try_get("session")?,
        question: row.try_get("question")?,
        model: row.try_get("model")?,
        router: RouterId::new(row.try_get::<String, _>("router")?),
        ending: row.try_get("ending")?,
        has_begun: row.try_get("has_begun")?,
    })
}

fn said_row(row: SqliteRow) -> sqlx::Result<SaidRow> {
    Ok(SaidRow {
        place: row.try_get("place")?,
        outcome_id: row.try_get("id")?,
        asked_at_ms: row.try_get("asked_at_ms")?,
        session: row.try_get("session")?,
        model: row.try_get("model")?,
        router: RouterId::new(row.try_get::<String, _>("router")?),
        category: row.try_get("category")?,
        score: row.try_get("score")?,
        said: row.try_get("said")?,
    })
}
