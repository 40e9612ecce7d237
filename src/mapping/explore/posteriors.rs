//! What is known of every expert in every category.

use std::collections::HashMap;

use super::{Posterior, Tally};
use crate::ids::{CategoryId, ExpertId, OUT_OF_DOMAIN};

/// How good experts' answers are, by category; never changed, another takes its place whole.
#[derive(Debug, Default)]
pub struct Posteriors {
    categories: HashMap<CategoryId, HashMap<ExpertId, Posterior>>,
}

impl Posteriors {
    /// What rewards say. Takes some hundred microseconds for each of them.
    pub fn of<'a>(
        tallies: impl IntoIterator<Item = (&'a (CategoryId, ExpertId), &'a Tally)>,
    ) -> Self {
        let mut categories: HashMap<CategoryId, HashMap<ExpertId, Posterior>> = HashMap::new();
        for ((category, expert), tally) in tallies {
            let known = categories.entry(category.clone()).or_default();
            known.insert(expert.clone(), Posterior::of(tally));
        }
        Self { categories }
    }

    /// What is known of an expert in a category, or where no category covers the question; none: nothing.
    pub fn of_expert(
        &self,
        category: Option<&CategoryId>,
        expert: &ExpertId,
    ) -> Option<&Posterior> {
        let category = category.map_or(OUT_OF_DOMAIN, CategoryId::as_str);
        self.categories.get(category)?.get(expert)
    }
}
