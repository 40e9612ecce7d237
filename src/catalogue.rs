//! The categories and their examples: what the files under `routes/` say, checked.

use crate::ids::CategoryId;

/// Every route, sorted by category.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The routes; at least two in a checked configuration.
    pub routes: Vec<Route>,
    /// Questions that belong to no category (`routes/_other.yaml`).
    pub out_of_domain: Vec<String>,
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
    /// Questions that look as if they did, but do not.
    pub negatives: Vec<String>,
}
