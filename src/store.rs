//! The SQLite file. The only module that knows SQL.

/// An open store.
#[derive(Clone, Debug)]
pub struct Store;
