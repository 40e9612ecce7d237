//! The model at run time: text and category → what each expert's answer would score.

use std::fmt;

use super::{
    Predicted, Quality, Question,
    form::{self, Form},
    prefer::{Costs, Preferences},
};
use crate::{
    ids::{CategoryId, ExpertId},
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

    /// What asking each expert costs; none where that was not known when the model was fitted.
    pub fn costs(&self) -> Option<&Costs> {
        self.costs.as_ref()
    }

    /// What the words for λ mean for these experts.
    pub fn preferences(&self) -> Preferences {
        self.preferences
    }

    /// What it reads of a question.
    pub fn features(&self, text: &str) -> Features {
        Features {
            sparse: self.lexicon.features(text),
            dense: self.form.features(&form::measures(text)),
        }
    }

    /// The predicted score of each expert, 0 to 1; none of those that may not answer the category.
    ///
    /// A category that the model does not know, or none, leaves the question's features to speak alone.
    pub fn predict(&self, features: &Features, category: Option<&CategoryId>) -> Vec<Option<f32>> {
        let known = category.and_then(|category| self.categories.binary_search(category).ok());
        let logits = self.logits(features, known).into_iter().enumerate();
        logits
            .map(|(expert, logit)| self.may_answer(expert, known).then(|| sigmoid(logit)))
            .collect()
    }

    /// A logit for each expert; minus infinity for those that may not answer the category.
    pub(super) fn logits(&self, features: &Features, category: Option<usize>) -> Vec<f32> {
        let mut logits = self.head.logits(&features.sparse, &features.dense);
        let of_category = category.and_then(|at| self.of_categories.chunks(logits.len()).nth(at));
        for (logit, shift) in logits.iter_mut().zip(of_category.into_iter().flatten()) {
            *logit += shift;
        }
        logits
    }

    /// Whether an expert may answer a category, or any where it is not known.
    fn may_answer(&self, expert: usize, category: Option<usize>) -> bool {
        let mut rows = self.of_categories.chunks(self.experts.len());
        match category {
            Some(at) => rows.nth(at).is_none_or(|row| row[expert].is_finite()),
            None => rows.len() == 0 || rows.any(|row| row[expert].is_finite()),
        }
    }
}

impl Quality for QualityModel {
    fn predict(&self, question: &Question<'_>) -> Vec<Predicted> {
        let features = self.features(question.text);
        let scores = self.predict(&features, question.category);
        let lambda = self.preferences.lambda(question.prefer);
        let predicted = scores
            .into_iter()
            .enumerate()
            .filter_map(|(expert, score)| {
                let score = f64::from(score?);
                let cost = self.costs.as_ref().map_or(0.0, |costs| costs.of[expert]);
                Some(Predicted {
                    expert: self.experts[expert].clone(),
                    score,
                    value: score - lambda * cost,
                })
            });
        predicted.collect()
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
