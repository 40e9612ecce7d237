//! The one reader of the wall clock.

use std::time::{Duration, UNIX_EPOCH};

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

/// A stored time for people and for JSON: RFC 3339, UTC, to the second; what was before 1970 counts as 1970.
pub fn rfc3339(ms: i64) -> String {
    let since = Duration::from_millis(ms.max(0).unsigned_abs());
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// The same to the millisecond, as it is stored.
pub fn rfc3339_millis(ms: i64) -> String {
    let since = Duration::from_millis(ms.max(0).unsigned_abs());
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}
