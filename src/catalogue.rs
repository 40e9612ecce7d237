//! The categories and their examples: what the files under `routes/` say, checked.

use crate::ids::CategoryId;

/// Every route, sorted by category.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The routes; at least two in a checked configuration.
    pub routes: Vec<Route>,
}

/// One category: `routes/<category>.yaml`.
#[derive(Clone, Debug)]
pub struct Route {
    /// The file's stem.
    pub category: CategoryId,
    /// What belongs to it, in words that would let a person sort questions.
    pub description: String,
    /// Questions that belong to it.
    pub examples: Vec<String>,
}
