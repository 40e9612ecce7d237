//! Step one: question → category, with a confidence. Knows nothing of HTTP, experts or SQL.

pub mod artefact;
pub mod encoder;
pub mod head;

use crate::{
    decision::Score,
    ids::{CategoryId, RouterId},
    query::Query,
};

/// What the router says of one question.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Probability of every category, likeliest first; empty for an empty question.
    pub scores: Vec<Score>,
    /// How it was reached.
    pub standing: Standing,
}

/// Whether the router stands by the likeliest category.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// Its probability reaches the threshold.
    Confident,
    /// It does not reach `confidence_min`.
    Unsure { confidence_min: f32 },
    /// There was nothing to classify.
    Empty,
}
