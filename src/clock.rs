//! The one reader of the wall clock.

use std::time::UNIX_EPOCH;

/// Milliseconds since 1970-01-01 UTC, the form in which times are stored and logged.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place that the ban points to"
)]
pub fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}
