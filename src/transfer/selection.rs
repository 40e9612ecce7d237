//! Which part of the log is asked for, and how far it was read.

use super::Record;

/// A part of the log; what is none does not narrow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Asked at this moment or later, milliseconds since 1970 UTC.
    pub since_ms: Option<i64>,
    /// Asked before this moment, milliseconds since 1970 UTC.
    pub until_ms: Option<i64>,
    /// The category that was acted on.
    pub category: Option<String>,
    /// The expert that answered.
    pub expert: Option<String>,
}

/// Where a page ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When the last outcome of the page was asked.
    pub asked_at_ms: i64,
    /// Which of those asked in that millisecond it was, in an order of the store's own.
    pub place: i64,
}

/// Some outcomes with what was said of them, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The outcomes.
    pub records: Vec<Record>,
    /// From where the next page goes on; none: this was the last.
    pub next: Option<Cursor>,
}
