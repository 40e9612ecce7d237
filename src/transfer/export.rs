//! The log to a file, page by page: what is held in memory does not grow with it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process,
};

use ::parquet::errors::ParquetError;

use super::{Cursor, Format, Record, Selection, jsonl, parquet};
use crate::{
    files,
    store::{Store, StoreError},
};

/// Outcomes that are read at once: tens of megabytes at the most, with all texts as long as they may be.
pub const PAGE_ROWS: u32 = 256;

/// Bytes that are gathered for one write to the file.
const WRITE_BYTES: usize = 256 << 10;

/// Why the log could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be made, written or put in its place.
    #[error("cannot write {}", path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is exported cannot be written.
    #[error("the export cannot be written")]
    Write {
        /// Why not.
        source: io::Error,
    },
    /// The same, of Parquet.
    #[error("the export cannot be written")]
    Parquet {
        /// Why not.
        source: ParquetError,
    },
    /// Another program wrote what the schema does not allow.
    #[error("an outcome cannot be exported")]
    Row {
        /// Which, and why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ExportError {
    /// Whether whoever read the export has left.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Write { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Writes a part of the log, oldest first, and tells `on_rows` how many outcomes each step wrote; returns how many there were.
/// What comes into the log meanwhile may be in it or not.
///
/// # Errors
/// The store cannot be read or the export not be written.
pub async fn to_writer<W: Write + Send>(
    store: &Store,
    selection: &Selection,
    format: Format,
    out: W,
    mut on_rows: impl FnMut(u64),
) -> Result<u64, ExportError> {
    let mut sink = Sink::new(format, out)?;
    let mut rows = 0;
    let mut after: Option<Cursor> = None;
    loop {
        let page = store.page(selection, after, PAGE_ROWS).await?;
        let step = page.records.len() as u64;
        for record in page.records {
            sink.write(record)?;
        }
        rows += step;
        on_rows(step);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    sink.finish()?;
    Ok(rows)
}

/// Does [`to_writer`] with a file that takes its name only when it is whole, and that its owner alone may read.
///
/// Dropping the call leaves nothing behind. What is there and is no file, a pipe say, is written to as it is.
///
/// # Errors
/// Those of [`to_writer`], and that the file cannot be made; what was there before is then still there.
pub async fn to_file(
    store: &Store,
    selection: &Selection,
    format: Format,
    path: &Path,
    on_rows: impl FnMut(u64),
) -> Result<u64, ExportError> {
    let failed = |source| ExportError::Place {
        path: path.to_owned(),
        source,
    };
    let path = &files::behind_links(path);
    if files::is_stream(path) {
        let stream = OpenOptions::new().write(true).open(path).map_err(failed)?;
        let out = BufWriter::with_capacity(WRITE_BYTES, stream);
        return to_writer(store, selection, format, out, on_rows).await;
    }
    let scratch = Scratch::beside(path);
    let file = scratch.create().map_err(failed)?;
    let out = BufWriter::with_capacity(WRITE_BYTES, &file);
    let rows = to_writer(store, selection, format, out, on_rows).await?;
    file.sync_all().map_err(failed)?;
    fs::rename(&scratch.0, path).map_err(failed)?;
    Ok(rows)
}

/// A file in the making; dropping it removes what did not get its name.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(path: &Path) -> Self {
        let mut scratch = path.as_os_str().to_owned();
        scratch.push(format!(".{}.part", process::id()));
        Self(scratch.into())
    }

    fn create(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After the renaming there is nothing to remove.
        fs::remove_file(&self.0).ok();
    }
}

enum Sink<W: Write + Send> {
    Jsonl(W),
    Parquet(Box<parquet::Writer<W>>),
}

impl<W: Write + Send> Sink<W> {
    fn new(format: Format, out: W) -> Result<Self, ExportError> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(out),
            Format::Parquet => Self::Parquet(Box::new(parquet::Writer::new(out)?)),
        })
    }

    fn write(&mut self, record: Record) -> Result<(), ExportError> {
        match self {
            Self::Jsonl(out) => {
                let line = jsonl::line(&record).map_err(|source| ExportError::Row {
                    source: source.into(),
                })?;
                out.write_all(&line)
                    .map_err(|source| ExportError::Write { source })
            }
            Self::Parquet(writer) => Ok(writer.write(record)?),
        }
    }

    fn finish(self) -> Result<(), ExportError> {
        let mut out = match self {
            Self::Jsonl(out) => out,
            Self::Parquet(writer) => writer.finish()?,
        };
        out.flush().map_err(|source| ExportError::Write { source })
    }
}

impl From<ParquetError> for ExportError {
    fn from(source: ParquetError) -> Self {
        Self::Parquet { source }
    }
}
