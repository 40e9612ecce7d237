//! What routers in shadow would have decided, beside what was decided.

use serde::de::DeserializeOwned;
use sqlx::{QueryBuilder, Row, Sqlite, sqlite::SqliteRow};

use super::row::json_text;
use crate::{
    decision::Score,
    ids::RouterId,
    store::{Store, StoreError},
    trial::ShadowDecision,
};

/// Rows of one statement.
const INSERT_ROWS: usize = 64;

/// Rows in a page, each with some kilobytes of scores.
const PAGE_ROWS: u32 = 500;

/// Comes after every outcome's id.
const LAST_ID: &str = "~";

/// What a router in shadow said, newest first (ids of outcomes begin with the time), beside what was decided; not where
/// an LLM had its say in that, which a router in shadow does without.
const COMPARED: &str = "
    SELECT s.outcome_id, s.scores AS shadow_scores, s.reason AS shadow_reason, s.strangeness AS shadow_strangeness,
           s.took_us AS shadow_us, o.scores, o.reason, o.strangeness, o.decision_us, o.router, o.session
    FROM shadow_decisions s CROSS JOIN outcomes o ON o.id = s.outcome_id
    WHERE s.router = ? AND s.outcome_id < ? AND s.decided_at_ms >= ? AND json_extract(o.reason_detail, '$.instruction') IS NULL
    ORDER BY s.outcome_id DESC LIMIT ?";

/// An outcome of which a router in shadow said something.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The outcome.
    pub outcome_id: String,
    /// Its conversation; none where nothing tells it.
    pub session: Option<String>,
    /// The router that decided.
    pub router: RouterId,
    /// What that said.
    pub real: Side,
    /// What the router in shadow said.
    pub shadow: Side,
}

/// What one router said of an outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// Probability of the likeliest categories, likeliest first.
    pub scores: Vec<Score>,
    /// Why it went there, in one word.
    pub reason: String,
    /// How strange the question is to it.
    pub strangeness: Option<f64>,
    /// Time that it took, microseconds.
    pub took_us: u64,
}

impl Store {
    /// Writes what a router in shadow would have decided; what is there already is left as it is.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn write_shadow(&self, decisions: &[ShadowDecision]) -> Result<(), StoreError> {
        let written = async {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            for some in decisions.chunks(INSERT_ROWS) {
                insert(some).build().execute(&mut *transaction).await?;
            }
            transaction.commit().await
        };
        written.await.map_err(|source| self.failed(source))
    }

    /// A page of the outcomes of which a router in shadow said something since a moment (milliseconds since 1970 UTC),
    /// newest first, that come after one; empty at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn compared(
        &self,
        router: &RouterId,
        since_ms: i64,
        after: Option<&str>,
    ) -> Result<Vec<Compared>, StoreError> {
        sqlx::query(COMPARED)
            .bind(router.as_str())
            .bind(after.unwrap_or(LAST_ID))
            .bind(since_ms)
            .bind(PAGE_ROWS)
            .try_map(compared)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }
}

fn insert(decisions: &[ShadowDecision]) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO shadow_decisions (
            router, outcome_id, decided_at_ms, scores, reason, strangeness, took_us
        ) ",
    );
    insert.push_values(decisions, |mut row, decision| {
        row.push_bind(decision.router.as_str())
            .push_bind(&decision.outcome_id)
            .push_bind(decision.decided_at_ms)
            .push_bind(json_text(&decision.scores))
            .push_bind(decision.reason)
            .push_bind(decision.strangeness.filter(|it| it.is_finite()))
            .push_bind(decision.took_us.max(0));
    });
    insert.push(" ON CONFLICT (router, outcome_id) DO NOTHING");
    insert
}

fn compared(row: SqliteRow) -> sqlx::Result<Compared> {
    let side = |prefix: &str, took: &str| -> sqlx::Result<Side> {
        let column = |name: &str| format!("{prefix}{name}");
        let took_us: i64 = row.try_get(took)?;
        Ok(Side {
            scores: from_json(row.try_get(column("scores").as_str())?),
            reason: row.try_get(column("reason").as_str())?,
            strangeness: row.try_get(column("strangeness").as_str())?,
            took_us: took_us.unsigned_abs(),
        })
    };
    Ok(Compared {
        outcome_id: row.try_get("outcome_id")?,
        session: row.try_get("session")?,
        router: RouterId::new(row.try_get::<String, _>("router")?),
        real: side("", "decision_us")?,
        shadow: side("shadow_", "shadow_us")?,
    })
}

/// What a later version has written otherwise counts as nothing.
fn from_json<T: DeserializeOwned + Default>(text: String) -> T {
    serde_json::from_str(&text).unwrap_or_default()
}
