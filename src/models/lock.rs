//! One process fills a store at a time. The system drops the lock with the process that held it, so none is ever stale.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::ModelError;

/// Longer than any download over a line on which one would wait for it.
const WAIT_MAX: Duration = Duration::from_secs(2 * 60 * 60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Locks the store at `dir` until the file is dropped; calls `waiting` once if another process holds it.
pub(super) async fn acquire(dir: &Path, waiting: impl FnOnce()) -> Result<File, ModelError> {
    let path = dir.join(".lock");
    let lock = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(ModelError::io("open", &path))?;
    let deadline = Instant::now() + WAIT_MAX;
    let mut waiting = Some(waiting);
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(ModelError::io("lock", &path)(error)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ModelError::Locked {
                    lock: path,
                    waited: WAIT_MAX,
                });
            }
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        sleep(POLL_INTERVAL).await;
    }
}
