//! The log on its way to where larger engines read it, and back: records, and the formats that they are written in.
//!
//! Knows columns and files; knows nothing of SQL.

pub mod export;
pub mod import;
mod jsonl;
mod parquet;
mod record;
mod selection;

pub use record::{Cell, Column, FEEDBACK, Kind, LABELS, OUTCOMES, Record, Row, Table};
pub use selection::{Cursor, Page, Selection};

use std::str::FromStr;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "jsonl" => Ok(Self::Jsonl),
            "parquet" => Ok(Self::Parquet),
            _ => Err("write jsonl or parquet".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
