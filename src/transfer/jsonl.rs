//! Records as JSON objects, one a line: the columns by their names, `feedback` and `labels` as arrays of objects.

use std::{collections::HashMap, io::Write};

use serde_json::value::RawValue;

use super::{Cell, Column, FEEDBACK, Kind, LABELS, OUTCOMES, Record, Row, Table};

/// The nested tables, by the names that they have in a line.
const NESTED: [(&str, Table); 2] = [("feedback", FEEDBACK), ("labels", LABELS)];

/// A column that holds no JSON although it must.
#[derive(Debug, thiserror::Error)]
#[error("`{column}` of outcome `{id}` is not JSON")]
pub(super) struct NotJson {
    id: String,
    column: &'static str,
    source: serde_json::Error,
}

/// The line of a record, with its end.
///
/// # Errors
/// A column that must be JSON is none: another program changed the store.
pub(super) fn line(record: &Record) -> Result<Vec<u8>, NotJson> {
    let mut out = Vec::with_capacity(1024);
    let written = (|| {
        object(&mut out, OUTCOMES, &record.outcome)?;
        // The object stays open for what is nested.
        out.pop();
        for ((name, table), rows) in NESTED.into_iter().zip([&record.feedback, &record.labels]) {
            // A `Vec` takes all that is written.
            write!(out, ",\"{name}\":[").ok();
            for (at, row) in rows.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                object(&mut out, table, row)?;
            }
            out.push(b']');
        }
        Ok(())
    })();
    match written {
        Ok(()) => {
            out.extend_from_slice(b"}\n");
            Ok(out)
        }
        Err((column, source)) => Err(NotJson {
            id: record.id().to_owned(),
            column,
            source,
        }),
    }
}

type Unwritten = (&'static str, serde_json::Error);

fn object(out: &mut Vec<u8>, table: Table, row: &Row) -> Result<(), Unwritten> {
    out.push(b'{');
    for (at, (column, cell)) in table.iter().zip(row).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write!(out, "\"{}\":", column.name).ok();
        value(out, *column, cell).map_err(|source| (column.name, source))?;
    }
    out.push(b'}');
    Ok(())
}

fn value(out: &mut Vec<u8>, column: Column, cell: &Cell) -> serde_json::Result<()> {
    match cell {
        Cell::Null => serde_json::to_writer(out, &()),
        Cell::Whole(number) => serde_json::to_writer(out, number),
        Cell::Number(number) => serde_json::to_writer(out, number),
        Cell::Truth(truth) => serde_json::to_writer(out, truth),
        Cell::Text(text) if column.kind == Kind::Json => {
            let json: &RawValue = serde_json::from_str(text)?;
            // As it is, unless that would break the line.
            if json.get().contains(['\n', '\r']) {
                let json: serde_json::Value = serde_json::from_str(text)?;
                return serde_json::to_writer(out, &json);
            }
            out.extend_from_slice(json.get().as_bytes());
            Ok(())
        }
        Cell::Text(text) => serde_json::to_writer(out, text),
    }
}

type Fields<'l> = HashMap<String, &'l RawValue>;

/// Reads a line.
///
/// # Errors
/// What is wrong with it, for a person.
pub(super) fn parse(line: &str) -> Result<Record, String> {
    let mut fields: Fields<'_> = serde_json::from_str(line).map_err(|error| {
        // The line within the text is always the first, and misleading beside the one within the file.
        let error = error.to_string();
        let what = error.split(" at line ").next().unwrap_or_default();
        format!("this is not a JSON object: {what}")
    })?;
    if is_labelled_question(&fields) {
        return Err(
            "this is a labelled question, as `coterie train --labels` reads them, and no exported outcome; give the \
             file to `coterie train`"
                .to_owned(),
        );
    }
    let [feedback, labels] = NESTED.map(|(name, table)| nested(name, table, fields.remove(name)));
    Ok(Record {
        outcome: row(OUTCOMES, &mut fields)?,
        feedback: feedback?,
        labels: labels?,
    })
}

fn is_labelled_question(fields: &Fields<'_>) -> bool {
    let has = |name| fields.contains_key(name);
    (has("text") || has("messages")) && !has("asked_at_ms")
}

fn nested(name: &str, table: Table, array: Option<&RawValue>) -> Result<Vec<Row>, String> {
    let Some(array) = array else {
        return Ok(Vec::new());
    };
    let objects: Vec<Fields<'_>> = serde_json::from_str(array.get())
        .map_err(|_error| format!("`{name}` must be an array of objects"))?;
    let rows = objects.into_iter().enumerate();
    rows.map(|(at, mut fields)| {
        row(table, &mut fields).map_err(|what| format!("`{name}[{at}]`: {what}"))
    })
    .collect()
}

fn row(table: Table, fields: &mut Fields<'_>) -> Result<Row, String> {
    let row = table.iter().map(|column| {
        let json = fields.remove(column.name).map(RawValue::get);
        cell(*column, json.filter(|json| *json != "null"))
    });
    let row = row.collect::<Result<Row, String>>()?;
    match fields.keys().min() {
        None => Ok(row),
        Some(unknown) => Err(format!(
            "`{unknown}` is no column that this version of Coterie knows; a later version may have written it"
        )),
    }
}

fn cell(column: Column, json: Option<&str>) -> Result<Cell, String> {
    let Column { name, kind, .. } = column;
    let Some(json) = json else {
        return if column.required {
            Err(format!(
                "`{name}` is missing; it must be {}",
                kind.in_words()
            ))
        } else {
            Ok(Cell::Null)
        };
    };
    let cell = match kind {
        Kind::Whole => serde_json::from_str(json).map(Cell::Whole),
        Kind::Number => serde_json::from_str(json).map(Cell::Number),
        Kind::Truth => serde_json::from_str(json).map(Cell::Truth),
        Kind::Text => serde_json::from_str(json).map(Cell::Text),
        Kind::Json => Ok(Cell::Text(json.to_owned())),
    };
    cell.map_err(|_error| {
        let shown: String = json.chars().take(SHOWN_CHARS_MAX).collect();
        format!("`{name}` is {shown}; it must be {}", kind.in_words())
    })
}

/// How much of a wrong value is shown.
const SHOWN_CHARS_MAX: usize = 60;
