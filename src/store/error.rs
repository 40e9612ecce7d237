//! What can go wrong with the file, told apart by what a person must do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use sqlx::migrate::{MigrateError, Migrator};

/// Why the store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder of the file cannot be made.
    #[error("cannot make the folder {}; make it, or set `store.url` to a place that can be written", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("cannot make {}; give its folder to the user that Coterie runs as, or change `store.url`", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file or its folder can be read but not written (SQLite keeps its log beside the file), or not even read.
    #[error("cannot write to {} and beside it; give the file and its folder to the user that Coterie runs as", path.display())]
    NoAccess {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        source: sqlx::Error,
    },
    /// The content is damaged, or was never a SQLite database.
    #[error("{} is damaged or no SQLite database; move it away and start with a new one, or bring back a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        source: sqlx::Error,
    },
    /// A later version of Coterie has changed the schema.
    #[error("{} has schema {found}, and this version of Coterie knows {known}; run the later version, or set `store.url` to another file", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// A migration that was applied and is unknown here.
        found: i64,
        /// The last migration known here.
        known: i64,
    },
    /// A migration was applied in another form than the released one: the work of an unreleased version.
    #[error("migration {version} of {} is not the released one; move the file away and start with a new one", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// The migration.
        version: i64,
    },
    /// Another process holds the file for longer than is waited for.
    #[error("{} is held by another process; end that (another server, a shell of sqlite3, a backup), and try again", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        source: sqlx::Error,
    },
    /// Anything else: the disk is full, the store is closed.
    #[error("{} failed", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        source: sqlx::Error,
    },
}

/// SQLite's primary result codes (sqlite.org/rescode.html); an extended code carries its primary one in the low byte.
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOTADB: i32 = 26;
}

impl StoreError {
    pub(super) fn from_sqlx(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        match primary_code(&source) {
            Some(code::READONLY | code::CANTOPEN) => Self::NoAccess { path, source },
            Some(code::BUSY | code::LOCKED) => Self::Busy { path, source },
            Some(code::CORRUPT | code::NOTADB) => Self::Damaged { path, source },
            _ => Self::Failed { path, source },
        }
    }

    pub(super) fn from_migration(path: &Path, error: MigrateError, known: &Migrator) -> Self {
        match error {
            MigrateError::VersionMissing(found) => Self::Newer {
                path: path.to_owned(),
                found,
                known: known
                    .iter()
                    .map(|migration| migration.version)
                    .max()
                    .unwrap_or(0),
            },
            MigrateError::VersionMismatch(version) => Self::Altered {
                path: path.to_owned(),
                version,
            },
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                Self::from_sqlx(path, source)
            }
            other => Self::Failed {
                path: path.to_owned(),
                source: other.into(),
            },
        }
    }
}

/// Whether a row broke a rule of the schema.
pub(super) fn is_constraint(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(code::CONSTRAINT)
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
