//! Categories that the router in force does not know yet: a route with a card and a few examples that nobody has learnt from.
//!
//! A router that does not know a category is often sure of another. So a question is put to the LLM as well where its vector is
//! about as near to the card or an example of such a category as to those of any other; and where the LLM then says that it
//! belongs there, it may.

use std::collections::{HashMap, HashSet};

use tokio::sync::OnceCell;

use super::memory::cosine;
use crate::{
    catalogue::Catalogue,
    ids::CategoryId,
    router::encoder::{Encoder, EncoderError},
};

/// Examples of a category that a question is compared with, beside its card.
const EXAMPLES_MAX: usize = 8;

/// How much nearer another category may be.
const MARGIN: f32 = 0.05;

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

    /// Of `unseen` categories the one that a question may belong to, by its vector; none before the vectors are there.
    pub(super) fn kin(&self, unseen: &[CategoryId], vector: &[f32]) -> Option<CategoryId> {
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
        best.filter(|(_, nearest)| *nearest >= old - MARGIN)
            .map(|(category, _)| category.clone())
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
