//! Files back into the log, batch by batch: each is taken in whole or not at all.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use ::parquet::errors::ParquetError;

use super::{Record, jsonl, parquet};
use crate::{
    bom,
    store::{Refused, Store, StoreError, TakeInError},
};

/// Most rows of one batch: a few milliseconds in which nobody else can write.
pub const BATCH_ROWS_MAX: usize = 256;

/// Size at which a batch is taken in, in bytes of memory.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Longest line: texts are kept to 32 KiB each, so that only many thousands of comments on one outcome would make a longer one.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Why an import stopped. What the finished batches brought in stays.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A Parquet file is damaged, or written in a way that is not understood.
    #[error("{} cannot be read as Parquet", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ParquetError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Outcomes that were brought in.
    pub outcomes: u64,
    /// Outcomes that were there, and were left as they are.
    pub there: u64,
    /// Feedback that was brought in.
    pub feedback: u64,
    /// Labels that were brought in.
    pub labels: u64,
    /// Rows that are wrong.
    pub wrong: u64,
    /// Rows that were left out because another of their batch is wrong.
    pub left_out: u64,
}

/// Brings files in, one after the other; `keep` says what is kept of people's words, and what is wrong with which row goes to
/// `complain`.
///
/// # Errors
/// A file cannot be read or the store not be written; wrong rows are none.
pub async fn files(
    store: &Store,
    paths: &[PathBuf],
    keep: &(dyn Fn(String) -> Option<String> + Sync),
    complain: &mut (dyn FnMut(String) + Send),
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    for path in paths {
        let mut rows = Rows::open(path)?;
        let mut batch = Batch::default();
        loop {
            let row = rows.next()?;
            let is_last = row.is_none();
            if let Some(row) = row {
                batch.push(row, keep);
            }
            if is_last || batch.is_full() {
                batch.take_in(store, &mut imported, complain).await?;
            }
            if is_last {
                break;
            }
        }
    }
    Ok(imported)
}

/// A row of a file: where it is, and what it says or what is wrong with it.
struct Read {
    place: String,
    record: Result<Record, String>,
}

#[derive(Default)]
struct Batch {
    places: Vec<String>,
    records: Vec<Record>,
    wrong: Vec<String>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, row: Read, keep: &(dyn Fn(String) -> Option<String> + Sync)) {
        let sound = row.record.and_then(|record| match record.flaw() {
            Some(flaw) => Err(flaw.to_owned()),
            None => Ok(record),
        });
        match sound {
            Ok(mut record) => {
                record.keep_said(keep);
                self.bytes += record.bytes();
                self.places.push(row.place);
                self.records.push(record);
            }
            Err(what) => self.wrong.push(format!("{}: {what}", row.place)),
        }
    }

    fn is_full(&self) -> bool {
        self.records.len() + self.wrong.len() >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX
    }

    /// Takes in what is there, unless something is wrong with it; empty afterwards.
    async fn take_in(
        &mut self,
        store: &Store,
        imported: &mut Imported,
        complain: &mut (dyn FnMut(String) + Send),
    ) -> Result<(), StoreError> {
        let Self {
            places,
            records,
            mut wrong,
            ..
        } = std::mem::take(self);
        let rows = records.len() as u64;
        let mut left_out = rows;
        if wrong.is_empty() && rows > 0 {
            match store.take_in(&records).await {
                Ok(taken) => {
                    imported.outcomes += taken.outcomes;
                    imported.there += rows - taken.outcomes;
                    imported.feedback += taken.feedback;
                    imported.labels += taken.labels;
                    return Ok(());
                }
                Err(TakeInError::Refused(refused)) => {
                    left_out -= refused.len() as u64;
                    let told = |it: Refused| {
                        format!("{}: the store refuses it: {}", places[it.at], it.why)
                    };
                    wrong.extend(refused.into_iter().map(told));
                }
                Err(TakeInError::Store(error)) => return Err(error),
            }
        }
        imported.wrong += wrong.len() as u64;
        imported.left_out += left_out;
        wrong.into_iter().for_each(complain);
        Ok(())
    }
}

/// The rows of one file.
struct Rows {
    path: PathBuf,
    number: u64,
    source: Source,
}

enum Source {
    Jsonl(BufReader<File>, Vec<u8>),
    Parquet(parquet::Reader),
}

impl Rows {
    fn open(path: &Path) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Read {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        let source = if parquet::is_parquet(&mut file).map_err(failed)? {
            let reader = parquet::Reader::open(file).map_err(|source| damaged(path, source))?;
            Source::Parquet(reader)
        } else {
            let mut file = BufReader::new(file);
            bom::skip(&mut file).map_err(failed)?;
            Source::Jsonl(file, Vec::new())
        };
        Ok(Self {
            path: path.to_owned(),
            number: 0,
            source,
        })
    }

    fn next(&mut self) -> Result<Option<Read>, ImportError> {
        let path = self.path.display();
        match &mut self.source {
            Source::Jsonl(file, buffer) => loop {
                let line = next_line(file, buffer).map_err(|source| ImportError::Read {
                    path: self.path.clone(),
                    source,
                })?;
                let Some(line) = line else {
                    return Ok(None);
                };
                self.number += 1;
                if line.is_ok_and(|line| line.trim().is_empty()) {
                    continue;
                }
                return Ok(Some(Read {
                    place: format!("{path}:{}", self.number),
                    record: line.map_err(str::to_owned).and_then(jsonl::parse),
                }));
            },
            Source::Parquet(reader) => {
                let Some(row) = reader.next() else {
                    return Ok(None);
                };
                self.number += 1;
                Ok(Some(Read {
                    place: format!("{path}: row {}", self.number),
                    record: row.map_err(|source| damaged(&self.path, source))?,
                }))
            }
        }
    }
}

fn damaged(path: &Path, source: ParquetError) -> ImportError {
    ImportError::Parquet {
        path: path.to_owned(),
        source,
    }
}

/// The next line, or what is wrong with it.
fn next_line<'b>(
    file: &mut BufReader<File>,
    buffer: &'b mut Vec<u8>,
) -> io::Result<Option<Result<&'b str, &'static str>>> {
    buffer.clear();
    let bytes = file.take(LINE_BYTES_MAX).read_until(b'\n', buffer)?;
    if bytes == 0 {
        return Ok(None);
    }
    if bytes as u64 == LINE_BYTES_MAX && !buffer.ends_with(b"\n") {
        file.skip_until(b'\n')?;
        return Ok(Some(Err("the line is longer than 64 MiB")));
    }
    Ok(Some(str::from_utf8(buffer).map_err(
        |_error| "the line is not UTF-8; the file is neither a JSON object a line nor Parquet",
    )))
}
