//! The model at run time: text and category → what each expert's answer would score.

use std::fmt;

use super::{
    Predicted, Quality, Question,
    form::{self, Form},
    prefer::{Costs, Preferences},
};
use crate::{
    config::Prefer,
    ids::{CategoryId, ExpertId, OUT_OF_DOMAIN},
    router::{
        head::Head,
        lexical::{self, Lexicon},
    },
};

/// Predicts the scores of some experts, 0 to 1.
///
/// It reads a question's words, as the router's cheap tier does, and its form: some hundred microseconds, and no encoder.
#[derive(Clone, PartialEq)]
pub struct QualityModel {
    pub(super) experts: Vec<ExpertId>,
    /// The categories that it knows, sorted.
    pub(super) categories: Vec<CategoryId>,
    pub(super) costs: Option<Costs>,
    pub(super) preferences: Preferences,
    pub(super) lexicon: Lexicon,
    pub(super) form: Form,
    /// Features → a logit for each expert.
    pub(super) head: Head,
    /// What a category adds to the logits: categories × experts. Minus infinity where an expert may not answer one.
    pub(super) of_categories: Vec<f32>,
}

/// What the model reads of one question.
#[derive(Clone, Debug, Default)]
pub struct Features {
    /// Words and pieces of words.
    pub(super) sparse: lexical::Features,
    /// The form.
    pub(super) dense: Vec<f32>,
}

impl QualityModel {
    /// Whose scores it predicts, in the order of the predictions; at least two.
    pub fn experts(&self) -> &[ExpertId] {
        &self.experts
    }

    /// The categories that it knows, sorted.
    pub fn categories(&self) -> &[CategoryId] {
        &self.categories
    }

    /// What it reads of a question.
    pub fn features(&self, text: &str) -> Features {
        Features {
            sparse: self.lexicon.features(text),
            dense: self.form.features(&form::measures(text)),
        }
    }

    /// A logit for each expert; minus infinity for those that may not answer the category, by its place.
    pub(super) fn logits(&self, features: &Features, category: usize) -> Vec<f32> {
        let mut logits = self.head.logits(&features.sparse, &features.dense);
        let of_category = self.of_categories.chunks(logits.len()).nth(category);
        for (logit, shift) in logits.iter_mut().zip(of_category.into_iter().flatten()) {
            *logit += shift;
        }
        logits
    }

    fn predicted(&self, expert: usize, logit: f32, prefer: Prefer) -> Predicted {
        let score = f64::from(sigmoid(logit));
        let cost = self.costs.as_ref().map_or(0.0, |costs| costs.of[expert]);
        Predicted {
            expert: self.experts[expert].clone(),
            score,
            value: score - self.preferences.lambda(prefer) * cost,
        }
    }
}

impl Quality for QualityModel {
    /// Nothing of a category that no scores were seen of: what holds elsewhere need not hold there.
    fn predict(&self, question: &Question<'_>) -> Vec<Predicted> {
        let category = question.category.map_or(OUT_OF_DOMAIN, CategoryId::as_str);
        let known = |known: &CategoryId| known.as_str().cmp(category);
        let Ok(category) = self.categories.binary_search_by(known) else {
            return Vec::new();
        };
        let logits = self.logits(&self.features(question.text), category);
        let answering = logits.into_iter().enumerate();
        answering
            .filter(|(_, logit)| logit.is_finite())
            .map(|(expert, logit)| self.predicted(expert, logit, question.prefer))
            .collect()
    }
}

impl fmt::Debug for QualityModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut model = f.debug_struct("QualityModel");
        model
            .field("experts", &self.experts)
            .finish_non_exhaustive()
    }
}

/// The probability of a logit.
pub(super) fn sigmoid(z: f32) -> f32 {
    // Of a great |z| the exponential is infinite or 0, and both give the right limit.
    1.0 / (1.0 + (-z).exp())
}
