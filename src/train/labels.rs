//! Labelled questions: a JSON object a line, `{"id"?, "text" | "messages": […], "category"}`. Other fields are let be;
//! blank lines are skipped.
//!
//! What is learnt from is what is classified at run time: texts and conversations go through [`Query`].

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    bom,
    chat::{ChatRequest, InvalidRequest, fields},
    ids::{CategoryId, OUT_OF_DOMAIN},
    query::Query,
};

/// Longest name of a category.
const CATEGORY_CHARS_MAX: usize = 100;

/// A question and what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The row's own name, if it has one.
    pub id: Option<String>,
    /// The question, as it would be classified.
    pub query: Query,
    /// Its category, or [`OUT_OF_DOMAIN`].
    pub category: CategoryId,
    /// The name of the file that it was read from; none for what was in no file of labels.
    pub origin: Option<Arc<str>>,
}

/// Why labelled questions cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// The file cannot be opened.
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
    /// A line is no labelled question.
    #[error("{}:{line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: LabelError,
    },
}

/// What is wrong with one line.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
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
    /// Its label is no name.
    #[error("`category` is {found}; it must be a category's name on one line, such as \"coding\"")]
    CategoryNotName {
        /// What stands there.
        found: Value,
    },
}

/// Reads the labelled questions of every file, in order.
///
/// # Errors
/// The first file that cannot be read or is empty, or the first line that is no labelled question.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Labelled>, LabelsError> {
    let mut rows = Vec::new();
    for path in paths {
        let before = rows.len();
        read_file(path, &mut rows)?;
        if rows.len() == before {
            return Err(LabelsError::Empty { path: path.clone() });
        }
    }
    Ok(rows)
}

impl Labelled {
    /// A question that stands alone.
    pub fn from_text(text: &str, category: CategoryId) -> Self {
        Self {
            id: None,
            query: Query::from_text(text),
            category,
            origin: None,
        }
    }

    /// Reads one line; none if it is blank.
    fn from_line(line: &str) -> Result<Option<Self>, LabelError> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let row = serde_json::from_str(line).map_err(|error| LabelError::not_json(&error))?;
        let mut row = fields::body(row)?;
        let id = row.remove("id").filter(|id| !id.is_null());
        let category = match row.remove("category") {
            Some(Value::String(name)) if is_name(name.trim()) => CategoryId::new(name.trim()),
            Some(Value::Null) | None => return Err(LabelError::NoCategory),
            Some(found) => return Err(LabelError::CategoryNotName { found }),
        };
        fields::text_as_messages(&mut row)?;
        row.insert("model".into(), "any".into());
        let request = ChatRequest::parse(Value::Object(row))?;
        Ok(Some(Self {
            id: id.map(name),
            query: Query::from_messages(&request.messages),
            category,
            origin: None,
        }))
    }
}

impl LabelError {
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

fn read_file(path: &Path, rows: &mut Vec<Labelled>) -> Result<(), LabelsError> {
    let unreadable = |source| LabelsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    bom::skip(&mut file).map_err(unreadable)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let origin: Arc<str> = name.to_string_lossy().into();
    for (at, line) in file.lines().enumerate() {
        let row = line
            .map_err(LabelError::from)
            .and_then(|line| Labelled::from_line(&line))
            .map_err(|source| LabelsError::Line {
                path: path.to_owned(),
                line: at + 1,
                source,
            })?;
        rows.extend(row.map(|row| Labelled {
            origin: Some(Arc::clone(&origin)),
            ..row
        }));
    }
    Ok(())
}

/// Whether a category may be called so: headers, metrics and terminals show it.
fn is_name(name: &str) -> bool {
    (1..=CATEGORY_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// An id as text: a string itself, anything else as its JSON.
fn name(id: Value) -> String {
    match id {
        Value::String(name) => name,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::causes;

    fn read_lines(lines: &str) -> Result<Vec<Labelled>, LabelsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.jsonl");
        fs::write(&path, lines).unwrap();
        read(&[path])
    }

    #[test]
    fn a_mark_before_the_first_line_is_skipped_and_nowhere_else() {
        let row = r#"{"text": "Fix my loop", "category": "coding"}"#;
        assert_eq!(
            read_lines(&format!("\u{feff}{row}\n{row}\n"))
                .unwrap()
                .len(),
            2
        );
        let error = read_lines(&format!("{row}\n\u{feff}{row}\n")).unwrap_err();
        assert!(
            causes::in_full(&error).contains("labels.jsonl:2: "),
            "{error}"
        );
    }

    #[test]
    fn texts_and_conversations_are_read_as_they_would_be_asked() {
        let rows = read_lines(concat!(
            r#"{"id": 7, "text": "  Sum a list \n", "category": "coding", "source": "mine"}"#,
            "\n\n",
            r#"{"id": "t1", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a tort?"}], "category": "legal"}"#,
        ))
        .unwrap();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.id.as_deref(),
                    row.query.text.as_str(),
                    row.category.as_str(),
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                (Some("7"), "Sum a list", "coding"),
                (Some("t1"), "What is a tort?", "legal")
            ]
        );
    }

    #[test]
    fn a_conversation_keeps_what_its_ask_leans_on() {
        let rows = read_lines(
            r#"{"messages": [{"role": "user", "content": "How do I knit a scarf?"}, {"role": "assistant", "content": "Cast on."}, {"role": "user", "content": "And then?"}], "category": "craft"}"#,
        )
        .unwrap();
        let context = rows[0].query.context.as_deref().unwrap();
        assert!(context.contains("scarf"), "{context}");
    }

    #[test]
    fn every_wrong_line_is_named_with_what_is_wrong() {
        let cases = [
            ("{", "column 1 is not JSON: EOF"),
            ("[1]", "the body must be a JSON object"),
            (r#"{"text": "a"}"#, "`category` is missing"),
            (
                r#"{"text": "a", "category": null}"#,
                "`category` is missing",
            ),
            (
                r#"{"text": "a", "category": " "}"#,
                "`category` is \" \"; it must be",
            ),
            (
                r#"{"text": "a", "category": 1}"#,
                "`category` is 1; it must be",
            ),
            (r#"{"text": 1, "category": "a"}"#, "`text` must be"),
            (r#"{"category": "a"}"#, "the question is missing"),
            (r#"{"text": "a", "messages": [], "category": "a"}"#, "both"),
            (
                r#"{"messages": [7], "category": "a"}"#,
                "a message must be an object",
            ),
        ];
        for (line, complaint) in cases {
            let error = causes::in_full(&read_lines(&format!("\n{line}\n")).unwrap_err());
            assert!(error.contains("labels.jsonl:2: "), "{error}");
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_and_one_without_rows_are_refused() {
        let absent = read(&["absent.jsonl".into()]).unwrap_err();
        assert!(absent.to_string().contains("absent.jsonl"), "{absent}");
        assert!(matches!(read_lines("\n"), Err(LabelsError::Empty { .. })));
    }
}
