//! Records to row groups. Parquet lies by column, so that a row group is in memory until it is whole.

use std::{io::Write, mem, sync::Arc};

use parquet::{
    basic::Compression,
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::{ParquetError, Result},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::{NESTED, schema};
use crate::transfer::{Cell, Column, Kind, OUTCOMES, Record, Row, Table};

/// Most rows of a row group: as many as engines read at once.
const GROUP_ROWS_MAX: usize = 65_536;

/// Size at which a row group is written, in bytes of memory: what an export holds, whatever the size of the log.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// Writes one file.
pub(in crate::transfer) struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    /// Of [`OUTCOMES`], then of each of [`NESTED`].
    columns: Vec<Held>,
    rows: usize,
    bytes: usize,
}

impl<W: Write + Send> Writer<W> {
    pub(in crate::transfer) fn new(out: W) -> Result<Self> {
        let schema = parse_message_type(&schema())?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("coterie {}", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            file: SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?,
            columns: columns(),
            rows: 0,
            bytes: 0,
        })
    }

    pub(in crate::transfer) fn write(&mut self, record: Record) -> Result<()> {
        self.bytes += record.bytes();
        self.rows += 1;
        let (outcome, mut rest) = self.columns.split_at_mut(OUTCOMES.len());
        for (held, cell) in outcome.iter_mut().zip(record.outcome) {
            held.push(Place::Top, cell);
        }
        for ((_, table), rows) in NESTED.iter().zip([record.feedback, record.labels]) {
            let (nested, others) = rest.split_at_mut(table.len());
            push_nested(nested, rows);
            rest = others;
        }
        if self.rows >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX {
            self.end_group()?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<()> {
        let mut group = self.file.next_row_group()?;
        for held in mem::replace(&mut self.columns, columns()) {
            let mut column = group
                .next_column()?
                .ok_or_else(|| ParquetError::General("the schema has too few columns".into()))?;
            held.write(column.untyped())?;
            column.close()?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    /// Writes what is left and the end of the file.
    pub(in crate::transfer) fn finish(mut self) -> Result<W> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.file.into_inner()
    }
}

fn push_nested(columns: &mut [Held], rows: Vec<Row>) {
    if rows.is_empty() {
        for held in columns {
            held.push(Place::Empty, Cell::Null);
        }
        return;
    }
    for (at, row) in rows.into_iter().enumerate() {
        let place = if at == 0 {
            Place::First
        } else {
            Place::Further
        };
        for (held, cell) in columns.iter_mut().zip(row) {
            held.push(place, cell);
        }
    }
}

fn columns() -> Vec<Held> {
    let top = |column: &Column| Held::new(*column, Depth::Top);
    let nested = |table: Table| table.iter().map(|column| Held::new(*column, Depth::Nested));
    let all = OUTCOMES.iter().map(top);
    all.chain(NESTED.into_iter().flat_map(|(_, table)| nested(table)))
        .collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Depth {
    Top,
    Nested,
}

/// Where a cell stands.
#[derive(Clone, Copy)]
enum Place {
    /// In the record itself.
    Top,
    /// In the first, or a further row of a list; or nowhere, because the list is empty.
    First,
    Further,
    Empty,
}

/// What one column holds of a row group, with the levels that say where (Dremel's encoding, as the format documents it:
/// <https://parquet.apache.org/docs/file-format/nestedencoding/>).
struct Held {
    values: Values,
    depth: Depth,
    /// How much of the path to a value is there: one for a row of a list, one for a value that could be absent.
    definitions: Vec<i16>,
    /// 0 where a record begins, 1 where its list goes on.
    repetitions: Vec<i16>,
    required: bool,
}

enum Values {
    Whole(Vec<i64>),
    Number(Vec<f64>),
    Truth(Vec<bool>),
    Text(Vec<ByteArray>),
}

impl Held {
    fn new(column: Column, depth: Depth) -> Self {
        Self {
            values: match column.kind {
                Kind::Whole => Values::Whole(Vec::new()),
                Kind::Number => Values::Number(Vec::new()),
                Kind::Truth => Values::Truth(Vec::new()),
                Kind::Text | Kind::Json => Values::Text(Vec::new()),
            },
            depth,
            definitions: Vec::new(),
            repetitions: Vec::new(),
            required: column.required,
        }
    }

    fn push(&mut self, place: Place, cell: Cell) {
        let in_list = i16::from(matches!(place, Place::First | Place::Further));
        let is_there = i16::from(!self.required && cell != Cell::Null);
        self.definitions.push(in_list + is_there);
        self.repetitions
            .push(i16::from(matches!(place, Place::Further)));
        match (&mut self.values, cell) {
            (Values::Whole(values), Cell::Whole(value)) => values.push(value),
            (Values::Number(values), Cell::Number(value)) => values.push(value),
            (Values::Truth(values), Cell::Truth(value)) => values.push(value),
            (Values::Text(values), Cell::Text(value)) => {
                values.push(ByteArray::from(value.into_bytes()));
            }
            // A row has the kinds of its table's columns, so that this is NULL.
            _ => {}
        }
    }

    fn write(&self, column: &mut ColumnWriter<'_>) -> Result<()> {
        let is_nested = self.depth == Depth::Nested;
        let definitions = (is_nested || !self.required).then_some(&*self.definitions);
        let repetitions = is_nested.then_some(&*self.repetitions);
        let written = match (&self.values, column) {
            (Values::Whole(values), ColumnWriter::Int64ColumnWriter(column)) => {
                column.write_batch(values, definitions, repetitions)
            }
            (Values::Number(values), ColumnWriter::DoubleColumnWriter(column)) => {
                column.write_batch(values, definitions, repetitions)
            }
            (Values::Truth(values), ColumnWriter::BoolColumnWriter(column)) => {
                column.write_batch(values, definitions, repetitions)
            }
            (Values::Text(values), ColumnWriter::ByteArrayColumnWriter(column)) => {
                column.write_batch(values, definitions, repetitions)
            }
            _ => Err(ParquetError::General(
                "the schema has a column of another kind".into(),
            )),
        };
        written.map(drop)
    }
}
