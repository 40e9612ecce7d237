//! Outcomes that are to be labelled, and how far that has come.

use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    learning::{Candidate, Label, Origin},
    store::{Store, StoreError},
};

/// Outcomes that are read at once: a few megabytes.
const PAGE_ROWS: u32 = 5000;

/// Outcomes that are read in all while those are looked for that are wanted: some seconds. A text that was asked a hundred
/// thousand times hides nothing behind it.
const LOOKED_AT_MAX: u32 = 500_000;

/// A page of what can be labelled: the router classified it (without scores the client named the expert or the category), and
/// its question was kept.
const WAITING: &str = "
    SELECT id, asked_at_ms, session, question, scores, reason
    FROM outcomes o
    WHERE (asked_at_ms, id) < (?1, ?2) AND question <> '' AND scores <> '[]'
        AND EXISTS (SELECT 1 FROM labels l WHERE l.outcome_id = o.id AND l.origin = 'person') = ?3
        AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.outcome_id = o.id AND l.given_by = ?4)
        AND NOT EXISTS (SELECT 1 FROM unsettled u WHERE u.outcome_id = o.id AND u.judged_by = ?4)
    ORDER BY asked_at_ms DESC, id DESC
    LIMIT ?5";

/// What a judge did not settle, what it was asked longest ago first.
const UNSETTLED: &str = "
    SELECT o.id, o.asked_at_ms, o.session, o.question, o.scores, o.reason
    FROM unsettled u CROSS JOIN outcomes o ON o.id = u.outcome_id
    WHERE u.judged_by = ?1 AND o.question <> '' AND o.scores <> '[]'
        AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.outcome_id = o.id AND l.given_by = ?1)
    ORDER BY u.asked_at_ms, o.asked_at_ms DESC, o.id DESC
    LIMIT ?2";

/// Takes labels of an origin back that outcomes from a place on have, in the order of time.
const TAKE_BACK: &str = "
    DELETE FROM labels WHERE origin = ?1 AND EXISTS (
        SELECT 1 FROM outcomes o WHERE o.id = labels.outcome_id AND (o.asked_at_ms, o.id) >= (?2, ?3)
    )";

impl Store {
    /// The newest outcomes that the router classified, whose question was kept, of which no person said yet what they were
    /// about, and that are wanted; at most `rows_max`, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unlabelled(
        &self,
        rows_max: u32,
        is_wanted: impl FnMut(&Candidate) -> bool,
    ) -> Result<Waiting, StoreError> {
        let anybody = (People::Silent, "");
        self.waiting(anybody, (Place::end(), rows_max), is_wanted)
            .await
    }

    /// The same that were asked before a moment, milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unlabelled_before(
        &self,
        until_ms: i64,
        rows_max: u32,
        is_wanted: impl FnMut(&Candidate) -> bool,
    ) -> Result<Vec<Candidate>, StoreError> {
        let anybody = (People::Silent, "");
        let waiting = self.waiting(anybody, (Place::at(until_ms), rows_max), is_wanted);
        waiting.await.map(|waiting| waiting.candidates)
    }

    /// The same that this judge was not asked about yet, of which people said something, or nothing.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unjudged(
        &self,
        given_by: &str,
        people: People,
        rows_max: u32,
        is_wanted: impl FnMut(&Candidate) -> bool,
    ) -> Result<Vec<Candidate>, StoreError> {
        let from = (Place::end(), rows_max);
        let waiting = self.waiting((people, given_by), from, is_wanted).await;
        waiting.map(|waiting| waiting.candidates)
    }

    /// What this judge was asked about and did not settle, what it was asked longest ago first; at most `rows_max`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn unsettled(
        &self,
        given_by: &str,
        rows_max: u32,
    ) -> Result<Vec<Candidate>, StoreError> {
        sqlx::query(UNSETTLED)
            .bind(given_by)
            .bind(rows_max)
            .try_map(read)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))
    }

    /// Remembers that a judge was asked about an outcome and did not settle it. Of an outcome that is gone nothing is kept.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn leave_unsettled(
        &self,
        outcome_id: &str,
        judged_by: &str,
        asked_at_ms: i64,
    ) -> Result<(), StoreError> {
        const LEAVE: &str = "
            INSERT INTO unsettled (outcome_id, judged_by, asked_at_ms)
            SELECT id, ?2, ?3 FROM outcomes WHERE id = ?1
            ON CONFLICT (outcome_id, judged_by) DO UPDATE SET asked_at_ms = excluded.asked_at_ms";
        let left = sqlx::query(LEAVE)
            .bind(outcome_id)
            .bind(judged_by)
            .bind(asked_at_ms)
            .execute(&self.pool)
            .await;
        left.map(drop).map_err(|source| self.failed(source))
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

    /// Takes the labels of an origin back that outcomes from a place on have, and puts others in their place, all or nothing.
    ///
    /// # Errors
    /// The file cannot be written; nothing has changed.
    pub async fn replace_labels(
        &self,
        origin: &Origin,
        since: &Place,
        labels: &[Label],
    ) -> Result<Replaced, StoreError> {
        let replaced = async {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let taken_back = sqlx::query(TAKE_BACK)
                .bind(origin.as_str())
                .bind(since.asked_at_ms)
                .bind(&since.outcome_id)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            let numbers = super::labels::insert(&mut transaction, labels).await?;
            transaction.commit().await?;
            let given = numbers.iter().flatten().count();
            Ok(Replaced { taken_back, given })
        };
        replaced.await.map_err(|source| self.failed(source))
    }

    /// Reads page by page, from a place backwards, until so many are found that are wanted.
    async fn waiting(
        &self,
        (people, given_by): (People, &str),
        (before, rows_max): (Place, u32),
        mut is_wanted: impl FnMut(&Candidate) -> bool,
    ) -> Result<Waiting, StoreError> {
        let mut found = Waiting {
            candidates: Vec::new(),
            since: before,
        };
        let mut looked_at = 0;
        while found.candidates.len() < rows_max as usize && looked_at < LOOKED_AT_MAX {
            let page = sqlx::query(WAITING)
                .bind(found.since.asked_at_ms)
                .bind(&found.since.outcome_id)
                .bind(people == People::Spoke)
                .bind(given_by)
                .bind(PAGE_ROWS)
                .try_map(read)
                .fetch_all(&self.pool)
                .await
                .map_err(|source| self.failed(source))?;
            looked_at += PAGE_ROWS;
            let is_last = page.len() < PAGE_ROWS as usize;
            for candidate in page {
                if found.candidates.len() == rows_max as usize {
                    return Ok(found);
                }
                found.since = Place::of(&candidate);
                if is_wanted(&candidate) {
                    found.candidates.push(candidate);
                }
            }
            if is_last {
                found.since = Place::default();
                break;
            }
        }
        Ok(found)
    }
}

/// What waits for a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// The newest first.
    pub candidates: Vec<Candidate>,
    /// From where on all outcomes were looked at.
    pub since: Place,
}

/// A place among the outcomes, in the order of time; by default before all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    asked_at_ms: i64,
    outcome_id: String,
}

impl Place {
    fn of(candidate: &Candidate) -> Self {
        Self {
            asked_at_ms: candidate.asked_at_ms,
            outcome_id: candidate.outcome_id.clone(),
        }
    }

    /// Before all that was asked at a moment or later.
    fn at(asked_at_ms: i64) -> Self {
        Self {
            asked_at_ms,
            outcome_id: String::new(),
        }
    }

    /// Behind all of them.
    fn end() -> Self {
        Self::at(i64::MAX)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self {
            asked_at_ms: i64::MIN,
            outcome_id: String::new(),
        }
    }
}

/// What became of labels in the place of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Labels that were taken back.
    pub taken_back: u64,
    /// Labels that were given; an outcome that is gone meanwhile gets none.
    pub given: usize,
}

/// Whether a person has labelled an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum People {
    /// One has.
    Spoke,
    /// None has.
    Silent,
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
