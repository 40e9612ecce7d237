//! The log on its way out: pages of a part of it, with what was said.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};

use crate::{
    store::{Store, StoreError},
    transfer::{
        Cell, Column, Cursor, FEEDBACK, Kind, LABELS, OUTCOMES, Page, Record, Row, Selection, Table,
    },
};

/// Most outcomes of one page.
const PAGE_ROWS_MAX: u32 = 1000;

impl Store {
    /// Some outcomes of a part of the log with what was said of them, oldest first: at most `rows_max`, and never more than a
    /// thousand.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn page(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        rows_max: u32,
    ) -> Result<Page, StoreError> {
        let page = self.try_page(selection, after, rows_max.min(PAGE_ROWS_MAX));
        page.await.map_err(|source| self.failed(source))
    }

    async fn try_page(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        rows_max: u32,
    ) -> sqlx::Result<Page> {
        // One transaction, so that what was said belongs to the outcomes as they are.
        let mut reading = self.pool.begin().await?;
        let mut query = page_query(selection, after, rows_max);
        let rows = query.build().try_map(read_outcome);
        let rows = rows.fetch_all(&mut *reading).await?;
        let last = rows.last().filter(|_| rows.len() == rows_max as usize);
        let next = last.map(|(cursor, _)| *cursor);
        let mut records: Vec<_> = rows
            .into_iter()
            .map(|(_, outcome)| Record {
                outcome,
                feedback: Vec::new(),
                labels: Vec::new(),
            })
            .collect();
        let mut said = said(&mut reading, &ids(&records)).await?;
        for record in &mut records {
            if let Some(said) = said.remove(record.id()) {
                (record.feedback, record.labels) = (said.feedback, said.labels);
            }
        }
        Ok(Page { records, next })
    }

    /// How many outcomes a part of the log has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn count_of(&self, selection: &Selection) -> Result<u64, StoreError> {
        let mut query = QueryBuilder::new("SELECT count(*) FROM outcomes");
        query.push(index(selection));
        push_conditions(&mut query, selection, None);
        let rows = query.build_query_scalar::<i64>().fetch_one(&self.pool);
        let rows = rows.await.map_err(|source| self.failed(source))?;
        Ok(rows.unsigned_abs())
    }
}

/// The statement that reads a page. In every form one index has the conditions and the order, so that it reads no more rows
/// than it returns.
pub(super) fn page_query(
    selection: &Selection,
    after: Option<Cursor>,
    rows_max: u32,
) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(format!("SELECT rowid, {} FROM outcomes", names(OUTCOMES)));
    query.push(index(selection));
    push_conditions(&mut query, selection, after);
    query.push(" ORDER BY asked_at_ms, rowid LIMIT ");
    query.push_bind(rows_max);
    query
}

/// The index of a category and an expert, which SQLite does not always prefer to that of either: without knowing how many rows
/// have the same of both it takes them for as good.
fn index(selection: &Selection) -> &'static str {
    let Selection {
        category, expert, ..
    } = selection;
    if category.is_some() && expert.is_some() {
        " INDEXED BY outcomes_by_category_and_expert"
    } else {
        ""
    }
}

fn push_conditions(query: &mut QueryBuilder<Sqlite>, selection: &Selection, after: Option<Cursor>) {
    let mut conditions = query.push(" WHERE ").separated(" AND ");
    // Also where nothing is asked for, so that there is a condition.
    let since_ms = selection.since_ms.unwrap_or(i64::MIN);
    if let Some(after) = after {
        conditions.push("(asked_at_ms, rowid) > (");
        conditions.push_bind_unseparated(after.asked_at_ms);
        conditions.push_unseparated(", ");
        conditions.push_bind_unseparated(after.place);
        conditions.push_unseparated(")");
    } else {
        conditions
            .push("asked_at_ms >= ")
            .push_bind_unseparated(since_ms);
    }
    if let Some(until_ms) = selection.until_ms {
        conditions
            .push("asked_at_ms < ")
            .push_bind_unseparated(until_ms);
    }
    if let Some(category) = &selection.category {
        conditions
            .push("category = ")
            .push_bind_unseparated(category.clone());
    }
    if let Some(expert) = &selection.expert {
        conditions
            .push("answered_by = ")
            .push_bind_unseparated(expert.clone());
    }
}

pub(super) fn names(table: Table) -> String {
    let names: Vec<_> = table.iter().map(|column| column.name).collect();
    names.join(", ")
}

fn read_outcome(row: SqliteRow) -> sqlx::Result<(Cursor, Row)> {
    let outcome = read_cells(&row, 1, OUTCOMES)?;
    let cursor = Cursor {
        asked_at_ms: row.try_get("asked_at_ms")?,
        place: row.try_get(0)?,
    };
    Ok((cursor, outcome))
}

/// The cells of a table's columns, of which the first stands at `from`.
fn read_cells(row: &SqliteRow, from: usize, table: Table) -> sqlx::Result<Row> {
    let columns = table.iter().enumerate();
    columns
        .map(|(at, column)| read_cell(row, from + at, *column))
        .collect()
}

fn read_cell(row: &SqliteRow, at: usize, column: Column) -> sqlx::Result<Cell> {
    let cell = match column.kind {
        Kind::Whole => row.try_get::<Option<_>, _>(at)?.map(Cell::Whole),
        Kind::Number => row.try_get::<Option<_>, _>(at)?.map(Cell::Number),
        Kind::Truth => row.try_get::<Option<_>, _>(at)?.map(Cell::Truth),
        Kind::Text | Kind::Json => row.try_get::<Option<_>, _>(at)?.map(Cell::Text),
    };
    Ok(cell.unwrap_or(Cell::Null))
}

/// What was said of one outcome.
#[derive(Default)]
pub(super) struct Said {
    pub(super) feedback: Vec<Row>,
    pub(super) labels: Vec<Row>,
}

pub(super) fn ids(records: &[Record]) -> String {
    let ids: Vec<_> = records.iter().map(Record::id).collect();
    super::row::json_text(&ids)
}

/// What was said of some outcomes (a JSON array of ids), in the order in which it was.
pub(super) async fn said(
    connection: &mut SqliteConnection,
    ids: &str,
) -> sqlx::Result<HashMap<String, Said>> {
    let mut all: HashMap<String, Said> = HashMap::new();
    let feedback = format!(
        "SELECT outcome_id, {} FROM feedback WHERE outcome_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        names(FEEDBACK)
    );
    for (id, row) in said_in(connection, feedback, ids, FEEDBACK).await? {
        all.entry(id).or_default().feedback.push(row);
    }
    let labels = format!(
        "SELECT outcome_id, {} FROM labels WHERE outcome_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        names(LABELS)
    );
    for (id, row) in said_in(connection, labels, ids, LABELS).await? {
        all.entry(id).or_default().labels.push(row);
    }
    Ok(all)
}

async fn said_in(
    connection: &mut SqliteConnection,
    query: String,
    ids: &str,
    table: Table,
) -> sqlx::Result<Vec<(String, Row)>> {
    // Made of names that stand in the sources.
    sqlx::query(AssertSqlSafe(query))
        .bind(ids)
        .try_map(|row: SqliteRow| Ok((row.try_get(0)?, read_cells(&row, 1, table)?)))
        .fetch_all(connection)
        .await
}
