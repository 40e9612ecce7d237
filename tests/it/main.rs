//! The integration tests: one binary, one file a theme.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy knows tests by their attribute, not the helpers that they share"
)]

mod models;
