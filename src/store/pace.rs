//! Long work on the file is done in steps, and others get it in between.
//!
//! SQLite's writers do not queue: whoever waits looks again after 1, 2, 5, … and up to 100 ms. Who takes the file again at
//! once would therefore keep it, whatever the length of the steps.

use std::time::Duration;

use tokio::time::sleep;

/// Shortest time that others get: one look of whoever has just begun to wait.
const MIN: Duration = Duration::from_millis(2);

/// Longest time: the longest between two looks.
const MAX: Duration = Duration::from_millis(100);

/// Leaves the file to others for as long as it was just held.
pub(super) async fn let_others(held: Duration) {
    sleep(held.clamp(MIN, MAX)).await;
}
