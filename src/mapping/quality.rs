//! What predicts, question by question, how well experts will answer: the seam behind which a trained model stands, and
//! the model.
//!
//! The second stage of the mapping. A category says which expert answers such questions best; a [`QualityModel`] says of
//! one question whether the small expert will do. [`fit`] makes it from scores, [`trial`] predicts rows that it has not
//! seen, [`worth`] says whether it pays.

mod calibration;
mod file;
pub mod fit;
mod form;
mod model;
pub mod prefer;
mod solver;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod worth;

use std::fmt;

use serde::Serialize;

pub use self::{
    file::{FORMAT, Unusable},
    model::{Features, QualityModel},
};
use crate::{
    config::Prefer,
    ids::{CategoryId, ExpertId},
};

/// Predicts how well experts would answer. Called for every question, so microseconds count.
pub trait Quality: fmt::Debug + Send + Sync {
    /// What is expected of each expert that is known, in any order; nothing where the category's own expert is to answer.
    fn predict(&self, question: &Question<'_>) -> Vec<Predicted>;
}

/// What is predicted for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The text.
    pub text: &'a str,
    /// What it is about; none where no category covers it.
    pub category: Option<&'a CategoryId>,
    /// What counts.
    pub prefer: Prefer,
}

/// What is expected of one expert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Predicted {
    /// The expert.
    pub expert: ExpertId,
    /// The score that its answer will get, 0 to 1.
    pub score: f64,
    /// The score less its cost, weighted by what counts: the best is asked.
    pub value: f64,
}

impl Predicted {
    /// Sorts them, the best value first; of equals the first by name.
    pub fn rank(predicted: &mut [Self]) {
        predicted.sort_by(|a, b| {
            let by_value = b.value.total_cmp(&a.value);
            by_value.then_with(|| a.expert.cmp(&b.expert))
        });
    }
}
