//! The integration tests: one binary, one file a theme.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy knows tests by their attribute, not the helpers that they share"
)]

mod router;
