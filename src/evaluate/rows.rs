//! Labelled rows from files: a JSON object a line, `{"id"?, "text" | "messages", "category"}`. Fields beside these are let
//! be; empty lines are skipped.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    chat::InvalidRequest,
    composition,
    ids::{CategoryId, OUT_OF_DOMAIN},
    query::Query,
};

/// A question whose category is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The row's own name, if it has one.
    pub id: Option<String>,
    /// The question, as it would be classified.
    pub query: Query,
    /// What it is about, or `out_of_domain`.
    pub category: CategoryId,
}

/// Why labelled rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has no rows.
    #[error("{} holds no rows; write a JSON object a line, with `text` and `category`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line is not a labelled row.
    #[error("{}:{line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: RowError,
    },
}

/// What is wrong with one row.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It is not text.
    #[error("the line cannot be read")]
    Unreadable(#[from] io::Error),
    /// It is not JSON.
    #[error("column {column} is not JSON: {problem}")]
    NotJson {
        /// Where it breaks off, counted from 1.
        column: usize,
        /// What was expected there.
        problem: String,
    },
    /// It has no question.
    #[error(transparent)]
    Question(#[from] InvalidRequest),
    /// It has no label.
    #[error("`category` is missing; write the category's name, or `{OUT_OF_DOMAIN}` if none fits")]
    NoCategory,
    /// Its label is not a text.
    #[error("`category` is {found}; it must be a category's name, such as \"coding\"")]
    CategoryNotText {
        /// What stands there.
        found: Value,
    },
}

/// Reads the rows of every file, in order.
///
/// # Errors
/// The first file that cannot be read or is empty, or the first line that is not a labelled row.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Labelled>, RowsError> {
    let mut rows = Vec::new();
    for path in paths {
        let before = rows.len();
        read_file(path, &mut rows)?;
        if rows.len() == before {
            return Err(RowsError::Empty { path: path.clone() });
        }
    }
    Ok(rows)
}

/// Labels that are not among the categories that a router tells apart, with how many rows have them.
pub fn unknown_labels<'r>(
    rows: &'r [Labelled],
    categories: &[CategoryId],
) -> BTreeMap<&'r CategoryId, usize> {
    let mut unknown = BTreeMap::new();
    for row in rows {
        if row.category.as_str() != OUT_OF_DOMAIN && !categories.contains(&row.category) {
            *unknown.entry(&row.category).or_default() += 1;
        }
    }
    unknown
}

fn read_file(path: &Path, rows: &mut Vec<Labelled>) -> Result<(), RowsError> {
    let file = File::open(path).map_err(|source| RowsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    for (at, line) in BufReader::new(file).lines().enumerate() {
        match line.map_err(RowError::from).and_then(|line| row(&line)) {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => {}
            Err(source) => {
                return Err(RowsError::Line {
                    path: path.to_owned(),
                    line: at + 1,
                    source,
                });
            }
        }
    }
    Ok(())
}

/// Reads one line; none if it is empty.
fn row(line: &str) -> Result<Option<Labelled>, RowError> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let row: Value = serde_json::from_str(line).map_err(|error| RowError::not_json(&error))?;
    let id = row.get("id").map(name);
    let category = match row.get("category") {
        Some(Value::String(category)) => Some(CategoryId::new(category.as_str())),
        Some(Value::Null) | None => None,
        Some(other) => {
            return Err(RowError::CategoryNotText {
                found: other.clone(),
            });
        }
    };
    let request = composition::dry_run(row)?;
    Ok(Some(Labelled {
        id,
        query: Query::from_messages(&request.messages),
        category: category.ok_or(RowError::NoCategory)?,
    }))
}

impl RowError {
    /// The place in the file is known better than by the parser, which saw one line.
    fn not_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Self::NotJson {
            column: error.column(),
            problem: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
        }
    }
}

/// An id as text: a string itself, anything else as its JSON.
fn name(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
