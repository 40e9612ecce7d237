//! Row groups to records. Files that another engine wrote anew are read as well, as long as the columns have their names.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
};

use parquet::{
    errors::Result,
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    record::{Field, Row as ParquetRow, reader::RowIter},
};

use super::NESTED;
use crate::transfer::{Cell, Column, Kind, OUTCOMES, Record, Row, Table};

/// What a Parquet file begins with.
const MAGIC: [u8; 4] = *b"PAR1";

/// Whether a file is one of Parquet, by its content; it is at its beginning afterwards.
pub(in crate::transfer) fn is_parquet(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::with_capacity(MAGIC.len());
    file.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(start == MAGIC)
}

/// Reads one file, row by row.
pub(in crate::transfer) struct Reader(RowIter<'static>);

impl Reader {
    pub(in crate::transfer) fn open(file: File) -> Result<Self> {
        let reader: Box<dyn FileReader> = Box::new(SerializedFileReader::new(file)?);
        Ok(Self(RowIter::from_file_into(reader)))
    }

    /// The next record, or what is wrong with its row; an error where the file cannot be read on.
    pub(in crate::transfer) fn next(
        &mut self,
    ) -> Option<Result<std::result::Result<Record, String>>> {
        Some(self.0.next()?.map(|row| record(&row)))
    }
}

fn record(row: &ParquetRow) -> std::result::Result<Record, String> {
    let [feedback, labels] = NESTED.map(|(name, table)| {
        let list = row.get_column_iter().find(|(found, _)| *found == name);
        nested(name, table, list.map(|(_, field)| field))
    });
    Ok(Record {
        outcome: cells(OUTCOMES, row, &NESTED.map(|(name, _)| name))?,
        feedback: feedback?,
        labels: labels?,
    })
}

fn nested(name: &str, table: Table, list: Option<&Field>) -> std::result::Result<Vec<Row>, String> {
    let elements = match list {
        None | Some(Field::Null) => return Ok(Vec::new()),
        Some(Field::ListInternal(list)) => list.elements(),
        Some(_) => return Err(format!("`{name}` must be a list of groups")),
    };
    let rows = elements.iter().enumerate();
    rows.map(|(at, element)| match element {
        Field::Group(row) => {
            cells(table, row, &[]).map_err(|what| format!("`{name}[{at}]`: {what}"))
        }
        _ => Err(format!("`{name}` must be a list of groups")),
    })
    .collect()
}

/// The cells of a row; what is not a column of the table must be among the `others`.
fn cells(table: Table, row: &ParquetRow, others: &[&str]) -> std::result::Result<Row, String> {
    let mut cells: Vec<Option<Cell>> = vec![None; table.len()];
    for (name, field) in row.get_column_iter() {
        match table.iter().position(|column| column.name == name) {
            Some(at) => cells[at] = Some(cell(table[at], field)?),
            None if others.contains(&name.as_str()) => {}
            None => {
                return Err(format!(
                    "`{name}` is no column that this version of Coterie knows; a later version may have written it"
                ));
            }
        }
    }
    let cells = table.iter().zip(cells);
    cells
        .map(|(column, cell)| match cell.unwrap_or(Cell::Null) {
            Cell::Null if column.required => Err(format!(
                "`{}` is missing; it must be {}",
                column.name,
                column.kind.in_words()
            )),
            cell => Ok(cell),
        })
        .collect()
}

fn cell(column: Column, field: &Field) -> std::result::Result<Cell, String> {
    let cell = match (column.kind, field) {
        (_, Field::Null) => Cell::Null,
        (Kind::Whole, Field::Long(number)) => Cell::Whole(*number),
        (Kind::Whole, Field::Int(number)) => Cell::Whole((*number).into()),
        (Kind::Number, Field::Double(number)) => Cell::Number(*number),
        (Kind::Number, Field::Float(number)) => Cell::Number((*number).into()),
        (Kind::Truth, Field::Bool(truth)) => Cell::Truth(*truth),
        (Kind::Text, Field::Str(text)) => Cell::Text(text.clone()),
        (Kind::Json, Field::Str(text)) => {
            let json: serde_json::Result<serde::de::IgnoredAny> = serde_json::from_str(text);
            json.map_err(|error| format!("`{}` is not JSON: {error}", column.name))?;
            Cell::Text(text.clone())
        }
        _ => {
            return Err(format!(
                "`{}` is of another kind; it must be {}",
                column.name,
                column.kind.in_words()
            ));
        }
    };
    Ok(cell)
}
