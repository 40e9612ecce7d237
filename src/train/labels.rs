//! Labelled questions: a JSON object a line, `{"id"?, "text" | "messages": […], "category"}`.
//!
//! What is learnt from is what is classified at run time: texts and conversations go through [`Query`].

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    chat::{ChatRequest, fields},
    ids::CategoryId,
    query::Query,
};

/// A question and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The text to classify, as [`Query`] takes it out of the row; empty where no person asked anything.
    pub text: String,
    /// Its category; [`crate::ids::OUT_OF_DOMAIN`] is one like any other here.
    pub category: CategoryId,
}

/// Why labelled questions cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// A file cannot be opened or read.
    #[error("the labels {} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is no labelled question.
    #[error("{}:{line}: {detail}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, the first one being 1.
        line: usize,
        /// What is wrong with it, and what to write instead.
        detail: String,
    },
    /// There is not one row.
    #[error(
        "the labels hold no row; write one JSON object a line: {{\"text\": …, \"category\": …}}"
    )]
    Empty,
}

/// Reads the labelled questions of these files, in order; blank lines are passed over.
///
/// # Errors
/// The first file or line that cannot be read, or no row at all.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Labelled>, LabelsError> {
    let mut rows = Vec::new();
    for path in paths {
        read_file(path, &mut rows)?;
    }
    if rows.is_empty() {
        return Err(LabelsError::Empty);
    }
    Ok(rows)
}

fn read_file(path: &Path, rows: &mut Vec<Labelled>) -> Result<(), LabelsError> {
    let failed = |source| LabelsError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    for (at, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        let row = parse(&line).map_err(|detail| LabelsError::Row {
            path: path.to_owned(),
            line: at + 1,
            detail,
        })?;
        rows.push(row);
    }
    Ok(())
}

fn parse(line: &str) -> Result<Labelled, String> {
    let row: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let row = fields::body(row).map_err(|invalid| invalid.to_string())?;
    let category = match row.get("category") {
        Some(Value::String(category)) if !category.trim().is_empty() => category.trim(),
        Some(_) => return Err("`category` must be the name of a category".into()),
        None => return Err("`category` is missing; name the question's category".into()),
    };
    let given = |name: &str| row.get(name).filter(|value| !value.is_null());
    let query = match (given("text"), given("messages")) {
        (Some(Value::String(text)), None) => Query::from_text(text),
        (None, Some(messages)) => conversation(messages)?,
        (Some(_), None) => return Err("`text` must be a text".into()),
        (Some(_), Some(_)) => return Err("give `text` or `messages`, not both".into()),
        (None, None) => return Err("`text` is missing; give `text` or `messages`".into()),
    };
    Ok(Labelled {
        text: query.text,
        category: CategoryId::new(category),
    })
}

fn conversation(messages: &Value) -> Result<Query, String> {
    let request = json!({ "model": "labels", "messages": messages });
    let request = ChatRequest::parse(request)
        .map_err(|invalid| format!("{}: {}", invalid.param, invalid.message))?;
    Ok(Query::from_messages(&request.messages))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read_lines(lines: &str) -> Result<Vec<Labelled>, LabelsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.jsonl");
        fs::write(&path, lines).unwrap();
        read(&[path])
    }

    #[test]
    fn texts_and_conversations_are_read_as_they_would_be_asked() {
        let rows = read_lines(concat!(
            r#"{"id": 7, "text": "  Sum a list \n", "category": "coding", "source": "mine"}"#,
            "\n\n",
            r#"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a tort?"}], "category": "legal"}"#,
        ))
        .unwrap();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.text.as_str(), row.category.as_str()))
            .collect();
        assert_eq!(
            rows,
            [("Sum a list", "coding"), ("What is a tort?", "legal")]
        );
    }

    #[test]
    fn every_wrong_line_is_named_with_what_is_wrong() {
        let cases = [
            ("{", "EOF"),
            ("[1]", "object"),
            (r#"{"text": "a"}"#, "`category` is missing"),
            (r#"{"text": "a", "category": " "}"#, "`category` must be"),
            (r#"{"text": 1, "category": "a"}"#, "`text` must be"),
            (r#"{"category": "a"}"#, "`text` is missing"),
            (r#"{"text": "a", "messages": [], "category": "a"}"#, "both"),
            (r#"{"messages": [7], "category": "a"}"#, "messages[0]"),
        ];
        for (line, complaint) in cases {
            let error = read_lines(&format!("\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains("labels.jsonl:2: "), "{error}");
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_and_one_without_rows_are_refused() {
        let absent = read(&["absent.jsonl".into()]).unwrap_err();
        assert!(absent.to_string().contains("absent.jsonl"), "{absent}");
        assert!(matches!(read_lines("\n"), Err(LabelsError::Empty)));
    }
}
