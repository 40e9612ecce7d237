//! The SQLite file. The only module that knows SQL: outcomes and feedback go in and come out as plain data.
//!
//! The schema is in `migrations/`, which is embedded in the binary and applied when a file is opened.

mod answers;
mod candidates;
mod error;
mod evidence;
mod feedback;
mod labels;
mod outcomes;
mod pace;
mod prune;
mod records;
mod registry;
mod row;
mod served;
mod sessions;
mod shadow;
mod take_in;
mod trials;
mod watched;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    SqlitePool,
    migrate::Migrator,
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};

pub use answers::{RecordedAnswer, Ungraded};
pub use candidates::{People, Place, Replaced, Waiting};
pub use error::StoreError;
pub use prune::{Pruned, TooOld};
pub use registry::{Promoter, PromotionError};
pub use row::StoredOutcome;
pub use served::Newest;
pub use shadow::{Compared, Side};
pub use take_in::{Refused, TakeInError, TakenIn};
pub use trials::{NewTrial, Page, TrialError};
pub use watched::Beginning;

/// One connection adds feedback, one prunes and one reads; SQLite lets one of them and the outcomes' own write at a time.
const CONNECTIONS_MAX: u32 = 3;

/// Longest wait for another connection's transaction, this process's or another's. Ours take milliseconds.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest wait for a free connection: longer than any connection waits for the file itself.
const CONNECTION_WAIT_MAX: Duration = Duration::from_secs(10);

/// Pages of the write-ahead log from which on it is moved into the file: 16 MiB. A page that is written again and again, as those
/// of indexes are, is moved once.
const WAL_PAGES_MAX: &str = "4096";

/// Size to which the write-ahead log is cut back after that, so that one large prune does not leave it large.
const WAL_BYTES_MAX: &str = "16777216";

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// An open store. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    /// The connection that writes outcomes; opened when the first one is written.
    outcomes: SqlitePool,
    path: Arc<Path>,
}

impl Store {
    /// Opens the file, with its folder made where it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be made, read or written, is damaged, or belongs to another version of Coterie; each with the
    /// path and what to do.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path)?;
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECTION_WAIT_MAX)
            .connect_with(connect_options(path))
            .await
            .map_err(|source| StoreError::from_sqlx(path, source))?;
        let store = Self {
            pool,
            outcomes: outcomes_pool(path),
            path: path.into(),
        };
        match MIGRATIONS.run(&store.pool).await {
            Ok(()) => Ok(store),
            Err(source) => {
                store.pool.close().await;
                Err(StoreError::from_migration(path, source, &MIGRATIONS))
            }
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the write-ahead log into the file and closes it. Every later call fails.
    ///
    /// # Errors
    /// The log could not be moved; the file is closed all the same, and the next open moves it.
    pub async fn close(&self) -> Result<(), StoreError> {
        if self.pool.is_closed() {
            return Ok(());
        }
        self.outcomes.close().await;
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&self.pool)
            .await;
        self.pool.close().await;
        checkpoint.map(drop).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::from_sqlx(&self.path, source)
    }
}

/// Without the CHECKs, which took a third of the time of a row: whatever an outcome is, [`row`] makes of it what they
/// accept, and the tests hold it to them.
fn outcomes_pool(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECTION_WAIT_MAX)
        .connect_lazy_with(connect_options(path).pragma("ignore_check_constraints", "ON"))
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        // Readers never wait for the writer, and a killed process leaves a file that opens clean.
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode this loses nothing when the process dies; a power cut can lose the last transactions, never the file.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_WAIT_MAX)
        .foreign_keys(true)
        // Pages freed by retention go back to the file system in steps; only a new file can be given this mode.
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        // Pruned text is overwritten, not only unlinked.
        .pragma("secure_delete", "ON")
        .pragma("wal_autocheckpoint", WAL_PAGES_MAX)
        .pragma("journal_size_limit", WAL_BYTES_MAX)
}

/// Makes the folder, and an empty file that only its owner may read: it will hold what people ask. SQLite gives the
/// write-ahead log the same permissions.
fn create_private(path: &Path) -> Result<(), StoreError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
            path: folder.to_owned(),
            source,
        })?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(StoreError::Create {
            path: PathBuf::from(path),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
