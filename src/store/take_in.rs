//! The log on its way in: batches that are taken in whole or not at all.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use tokio::time::Instant;

use crate::{
    store::{
        Store, StoreError, error,
        outcomes::INSERT_ROWS,
        pace,
        records::{ids, names, said},
    },
    transfer::{Cell, FEEDBACK, LABELS, OUTCOMES, Record, Row, Table},
};

/// What a batch brought in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenIn {
    /// Outcomes that were not there.
    pub outcomes: u64,
    /// Feedback that was not there.
    pub feedback: u64,
    /// Labels that were not there.
    pub labels: u64,
}

/// A record that the schema does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which of the batch.
    pub at: usize,
    /// The rule that it breaks, in SQLite's words.
    pub why: String,
}

/// Why a batch was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum TakeInError {
    /// Records break the schema's rules.
    #[error("{} records break rules of the schema", .0.len())]
    Refused(Vec<Refused>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Takes records in, all or none. An outcome that is there is left as it is; feedback and labels on it are added if they
    /// are not there. Afterwards others get the file for as long.
    ///
    /// # Errors
    /// Nothing was taken in.
    pub async fn take_in(&self, records: &[Record]) -> Result<TakenIn, TakeInError> {
        let started = Instant::now();
        let taken = self.try_take_in(records).await;
        pace::let_others(started.elapsed()).await;
        match taken.map_err(|source| self.failed(source))? {
            Ok(taken) => Ok(taken),
            Err(refused) => Err(TakeInError::Refused(refused)),
        }
    }

    async fn try_take_in(&self, records: &[Record]) -> sqlx::Result<Result<TakenIn, Vec<Refused>>> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let ids = ids(records);
        let mut there = ids_there(&mut transaction, &ids).await?;
        let mut said = said(&mut transaction, &ids).await?;
        let mut new = New::default();
        for (at, record) in records.iter().enumerate() {
            let id = record.id();
            if there.insert(id.to_owned()) {
                new.outcomes.push(NewRow::of_outcome(at, &record.outcome));
            }
            let said = said.entry(id.to_owned()).or_default();
            for row in missing(&record.feedback, &mut said.feedback, is_same_feedback) {
                new.feedback.push(NewRow {
                    at,
                    outcome: Some(id),
                    row,
                });
            }
            for row in missing(&record.labels, &mut said.labels, Row::eq) {
                new.labels.push(NewRow {
                    at,
                    outcome: Some(id),
                    row,
                });
            }
        }
        let mut refused = insert(&mut transaction, "outcomes", OUTCOMES, &new.outcomes).await?;
        let without: HashSet<usize> = refused.iter().map(|it| it.at).collect();
        // What was said of an outcome that is refused has nothing to belong to.
        new.feedback.retain(|row| !without.contains(&row.at));
        new.labels.retain(|row| !without.contains(&row.at));
        refused.extend(insert(&mut transaction, "feedback", FEEDBACK, &new.feedback).await?);
        refused.extend(insert(&mut transaction, "labels", LABELS, &new.labels).await?);
        if !refused.is_empty() {
            transaction.rollback().await?;
            // A record is told of once, by the first rule that it breaks.
            refused.sort_by_key(|it| it.at);
            refused.dedup_by_key(|it| it.at);
            return Ok(Err(refused));
        }
        transaction.commit().await?;
        Ok(Ok(TakenIn {
            outcomes: new.outcomes.len() as u64,
            feedback: new.feedback.len() as u64,
            labels: new.labels.len() as u64,
        }))
    }
}

async fn ids_there(connection: &mut SqliteConnection, ids: &str) -> sqlx::Result<HashSet<String>> {
    const THERE: &str = "SELECT id FROM outcomes WHERE id IN (SELECT value FROM json_each(?))";
    let there = sqlx::query_scalar(THERE).bind(ids).fetch_all(connection);
    Ok(there.await?.into_iter().collect())
}

/// Rows that are not among those that are there. The same may be there several times: each stands for one.
fn missing<'r>(
    rows: &'r [Row],
    there: &mut Vec<Row>,
    is_same: impl Fn(&Row, &Row) -> bool,
) -> Vec<&'r Row> {
    let mut unmatched: Vec<bool> = vec![true; there.len()];
    let mut missing = Vec::new();
    for row in rows {
        let same = (0..unmatched.len()).find(|at| unmatched[*at] && is_same(row, &there[*at]));
        match same {
            Some(at) => unmatched[at] = false,
            None => missing.push(row),
        }
    }
    there.extend(missing.iter().copied().cloned());
    missing
}

/// Whether two rows are the same feedback: the comment goes when an outcome is old, the rest stays.
fn is_same_feedback(one: &Row, other: &Row) -> bool {
    let mut cells = FEEDBACK.iter().zip(one.iter().zip(other));
    cells.all(|(column, (one, other))| column.name == "comment" || one == other)
}

/// What is to be inserted.
#[derive(Default)]
struct New<'r> {
    outcomes: Vec<NewRow<'r>>,
    feedback: Vec<NewRow<'r>>,
    labels: Vec<NewRow<'r>>,
}

struct NewRow<'r> {
    /// Which record it is of.
    at: usize,
    /// The outcome that it belongs to, where it is none itself.
    outcome: Option<&'r str>,
    row: &'r Row,
}

impl<'r> NewRow<'r> {
    fn of_outcome(at: usize, row: &'r Row) -> Self {
        Self {
            at,
            outcome: None,
            row,
        }
    }
}

/// Inserts rows, in statements of many where nothing is wrong with them; returns those that the schema refuses.
async fn insert(
    connection: &mut SqliteConnection,
    name: &str,
    table: Table,
    rows: &[NewRow<'_>],
) -> sqlx::Result<Vec<Refused>> {
    let mut refused = Vec::new();
    let mut rest = rows;
    for size in INSERT_ROWS {
        while let Some((next, others)) = rest.split_at_checked(size) {
            if let Err(error) = insert_some(connection, name, table, next).await {
                why_refused(error)?;
                for row in next {
                    let one = std::slice::from_ref(row);
                    if let Err(error) = insert_some(connection, name, table, one).await {
                        let why = why_refused(error)?;
                        refused.push(Refused { at: row.at, why });
                    }
                }
            }
            rest = others;
        }
    }
    Ok(refused)
}

async fn insert_some(
    connection: &mut SqliteConnection,
    name: &str,
    table: Table,
    rows: &[NewRow<'_>],
) -> sqlx::Result<()> {
    let outcome_id = if rows.iter().any(|row| row.outcome.is_some()) {
        "outcome_id, "
    } else {
        ""
    };
    let mut insert = QueryBuilder::<Sqlite>::new(format!(
        "INSERT INTO {name} ({outcome_id}{}) ",
        names(table)
    ));
    insert.push_values(rows, |mut values, row| {
        if let Some(outcome) = row.outcome {
            values.push_bind(outcome.to_owned());
        }
        for cell in row.row {
            match cell {
                Cell::Null => values.push_bind(None::<i64>),
                Cell::Whole(number) => values.push_bind(*number),
                Cell::Number(number) => values.push_bind(*number),
                Cell::Truth(truth) => values.push_bind(*truth),
                Cell::Text(text) => values.push_bind(text.clone()),
            };
        }
    });
    insert.build().execute(connection).await?;
    Ok(())
}

/// The rule that a row breaks; the error itself where it is none of the row's.
fn why_refused(error: sqlx::Error) -> sqlx::Result<String> {
    match error.as_database_error() {
        Some(rule) if error::is_constraint(&error) => Ok(rule.message().to_owned()),
        _ => Err(error),
    }
}
