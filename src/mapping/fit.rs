//! The mapping from scores: outcome files → which expert answers which category, under budgets, and what that buys.
//!
//! Offline: nothing here is on the path of a question. How it is done is told to users in `docs/mapping.md`.

pub mod models;
pub mod outcomes;
pub mod solve;
