//! Categories that the router in force does not know yet: a route with a card and a few examples that nobody has learnt from.
//!
//! A router that does not know a category is often sure of another. So for such a category three things are weighed together: how
//! much nearer the question is to its card or an example than to those of any other, how sure the router is of one that it
//! knows, and how likely the LLM finds it; the LLM is asked only where the first two leave hope.

use std::collections::{HashMap, HashSet};

use tokio::sync::OnceCell;

use super::{Compared, memory::cosine};
use crate::{
    catalogue::Catalogue,
    decision::Score,
    ids::{CategoryId, OUT_OF_DOMAIN},
    router::{
        CONFIDENCE_MIN_UNPROVEN,
        encoder::{Encoder, EncoderError},
        narrow,
    },
};

/// Examples of a category that a question is compared with, beside its card.
const EXAMPLES_MAX: usize = 8;

/// What each part counts, in natural logarithms of odds.
///
/// On nine domains of CLINC150, each in turn unknown to a router of the others, they find 0.76 of its questions and are right in
/// 0.88; weights chosen on eight domains find 0.82 on the ninth and are right in 0.83. The LLM's word alone finds 0.54 and is right in
/// 0.63, the two others without it 0.68 and 0.85.
mod weights {
    /// For a lead of 1 in cosine.
    pub(super) const LEAD: f64 = 10.0;
    /// For the odds of the likeliest category that the router knows; against.
    pub(super) const KNOWN: f64 = 0.6;
    /// For the odds that the LLM gives it.
    pub(super) const SAID: f64 = 0.5;
    /// Added: that a route was written for it says that it is asked for.
    pub(super) const WANTED: f64 = 2.5;
}

/// Log-odds before the LLM is heard from which on it is asked: below, it hardly ever changes anything. One in nine questions of
/// other categories is asked about.
const HOPE_MIN: f64 = -1.0;

/// Probabilities nearer to 0 and 1 than this are not believed.
const DOUBT_MIN: f64 = 1e-4;

/// A category that the router does not know, and that a question may belong to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kin {
    pub category: CategoryId,
    /// How much nearer it is than the nearest category that the router knows, a difference of cosines.
    pub lead: f32,
}

impl Kin {
    /// The log-odds that a question belongs to it, before the LLM is heard.
    pub(super) fn log_odds(&self, scores: &[Score]) -> f64 {
        let known = best_known(scores).map_or(0.0, |score| f64::from(score.probability));
        let known = logit(known);
        weights::LEAD * f64::from(self.lead) - weights::KNOWN * known + weights::WANTED
    }

    /// Whether the LLM's word could make it the question's.
    pub(super) fn is_hoped_for(&self, scores: &[Score]) -> bool {
        self.log_odds(scores) >= HOPE_MIN
    }

    /// The probability that a question belongs to it, and what is enough; `alone`: what the LLM says.
    pub(super) fn compared(&self, scores: &[Score], alone: &[Score]) -> Compared {
        Compared {
            category: self.category.clone(),
            confidence: self.probability(scores, alone),
            confidence_min: Some(CONFIDENCE_MIN_UNPROVEN),
        }
    }

    fn probability(&self, scores: &[Score], alone: &[Score]) -> f32 {
        let mut alone = alone.iter();
        let said = alone.find(|score| score.category == self.category);
        let said = logit(said.map_or(0.0, |score| f64::from(score.probability)));
        let log_odds = self.log_odds(scores) + weights::SAID * said;
        narrow(1.0 / (1.0 + (-log_odds).exp()))
    }
}

fn logit(probability: f64) -> f64 {
    let probability = probability.clamp(DOUBT_MIN, 1.0 - DOUBT_MIN);
    (probability / (1.0 - probability)).ln()
}

/// The likeliest category that the router knows.
fn best_known(scores: &[Score]) -> Option<&Score> {
    let mut scores = scores.iter();
    scores.find(|score| score.category.as_str() != OUT_OF_DOMAIN)
}

/// What is said of each category, and its vectors once they are needed.
pub(super) struct Unseen {
    texts: Vec<(CategoryId, Vec<String>)>,
    vectors: OnceCell<HashMap<CategoryId, Vec<Vec<f32>>>>,
}

impl Unseen {
    pub(super) fn new(catalogue: &Catalogue) -> Self {
        let texts = catalogue.routes.iter().map(|route| {
            let card = catalogue.cards.categories.get(&route.category);
            let card = card.map_or(&route.description, |card| &card.instruction);
            let examples = route.examples.iter().take(EXAMPLES_MAX);
            (
                route.category.clone(),
                std::iter::once(card).chain(examples).cloned().collect(),
            )
        });
        Self {
            texts: texts.collect(),
            vectors: OnceCell::new(),
        }
    }

    /// The categories that a router which tells `known` apart does not know.
    pub(super) fn unknown_to(&self, known: &[CategoryId]) -> Vec<CategoryId> {
        let known: HashSet<&CategoryId> = known.iter().collect();
        let categories = self.texts.iter().map(|(category, _)| category);
        categories
            .filter(|category| !known.contains(category))
            .cloned()
            .collect()
    }

    /// Whether the vectors are there.
    pub(super) fn is_read(&self) -> bool {
        self.vectors.initialized()
    }

    /// Of `unseen` categories the one that a question is nearest to, by its vector; none before the vectors are there.
    pub(super) fn kin(&self, unseen: &[CategoryId], vector: &[f32]) -> Option<Kin> {
        let vectors = self.vectors.get()?;
        let nearness = vectors.iter().map(|(category, texts)| {
            let nearest = texts
                .iter()
                .map(|text| cosine(text, vector))
                .fold(f32::MIN, f32::max);
            (category, nearest)
        });
        let (new, old): (Vec<_>, Vec<_>) =
            nearness.partition(|(category, _)| unseen.contains(category));
        let old = old
            .iter()
            .map(|(_, nearest)| *nearest)
            .fold(f32::MIN, f32::max);
        let best = new
            .into_iter()
            .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(a.0)));
        best.map(|(category, nearest)| Kin {
            category: category.clone(),
            lead: nearest - old.max(-1.0),
        })
    }

    /// Makes the vectors, where they are not there.
    ///
    /// # Errors
    /// The encoder fails.
    pub(super) async fn read(&self, encoder: &Encoder) -> Result<(), EncoderError> {
        let vectors = self.vectors.get_or_try_init(|| self.vectors(encoder));
        vectors.await.map(|_| ())
    }

    async fn vectors(
        &self,
        encoder: &Encoder,
    ) -> Result<HashMap<CategoryId, Vec<Vec<f32>>>, EncoderError> {
        let all = self
            .texts
            .iter()
            .flat_map(|(_, texts)| texts.iter().cloned());
        let all: Vec<String> = all.collect();
        let mut vectors = encoder.vectors(&all).await?.into_iter();
        let by_category = self.texts.iter().map(|(category, texts)| {
            (
                category.clone(),
                vectors.by_ref().take(texts.len()).collect(),
            )
        });
        Ok(by_category.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(of: &[(&str, f32)]) -> Vec<Score> {
        let score = |(category, probability): &(&str, f32)| Score {
            category: CategoryId::new(*category),
            probability: *probability,
        };
        of.iter().map(score).collect()
    }

    fn kin(lead: f32) -> Kin {
        Kin {
            category: CategoryId::new("new"),
            lead,
        }
    }

    #[test]
    fn what_is_near_and_of_no_known_category_need_not_be_said_loudly() {
        let lost = scores(&[("law", 0.4), ("art", 0.3)]);
        let muttered = scores(&[("art", 0.4), ("new", 0.3), ("law", 0.3)]);
        assert!(kin(0.1).probability(&lost, &muttered) > 0.8);
        assert!(kin(-0.3).probability(&lost, &muttered) < 0.5);
        assert!(!kin(-0.4).is_hoped_for(&lost), "it is far from it");
    }

    #[test]
    fn of_what_the_router_is_sure_the_llm_has_to_be_sure_as_well() {
        let sure = scores(&[("law", 0.99), ("art", 0.01)]);
        let kin = kin(0.0);
        let said = |new: f32| scores(&[("new", new), ("law", 0.9 - new), ("out_of_domain", 0.1)]);
        assert!(kin.is_hoped_for(&sure));
        assert!(kin.probability(&sure, &said(0.5)) < 0.5);
        assert!(kin.probability(&sure, &said(0.88)) > 0.5);
    }

    #[test]
    fn that_no_known_category_covers_it_does_not_speak_against_a_new_one() {
        let strange = scores(&[("out_of_domain", 0.95), ("law", 0.03)]);
        let sure = scores(&[("law", 0.95), ("out_of_domain", 0.03)]);
        assert!(kin(0.0).log_odds(&strange) > kin(0.0).log_odds(&sure));
        let none = scores(&[("out_of_domain", 0.999), ("new", 0.001)]);
        assert!(kin(-0.2).probability(&strange, &none) < 0.5, "the LLM may");
    }
}
