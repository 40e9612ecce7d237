//! What was refused and has no place yet: each text once, with its outcomes.

use std::collections::{HashMap, HashSet};

use crate::{
    catalogue::{Catalogue, Route},
    query::Query,
    store::{Store, StoreError},
};

/// Most refused texts that are looked at, the newest.
pub(super) const TEXTS_MAX: usize = 5_000;

/// Most outcomes that are read to find them: one text may have been asked very often.
const LOOKED_AT_MAX: usize = 500_000;

/// Outcomes that are read at once.
const PAGE_ROWS: u32 = 5_000;

/// Texts as they are classified, the newest first, and the outcomes of each.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Texts {
    pub(super) texts: Vec<String>,
    pub(super) outcomes: Vec<Vec<String>>,
    /// Whether there are more than were looked at.
    pub(super) is_cut: bool,
}

/// Reads what was refused between two moments (milliseconds since 1970 UTC), and of which nobody has
/// said the category.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn read(store: &Store, span: (i64, i64)) -> Result<Texts, StoreError> {
    let mut found = Collected::default();
    let mut before = None;
    loop {
        let page = store.unplaced(span, before.as_ref(), PAGE_ROWS).await?;
        found.looked_at += page.len();
        let is_last = page.len() < PAGE_ROWS as usize;
        for row in &page {
            found.add(&row.question, &row.outcome_id);
        }
        found.texts.is_cut |= !is_last && found.looked_at >= LOOKED_AT_MAX;
        if is_last || found.texts.is_cut {
            return Ok(found.texts);
        }
        before = page.into_iter().last();
    }
}

#[derive(Default)]
struct Collected {
    texts: Texts,
    places: HashMap<String, usize>,
    looked_at: usize,
}

impl Collected {
    fn add(&mut self, question: &str, outcome_id: &str) {
        let text = Query::from_text(question).text;
        if text.is_empty() {
            return;
        }
        let texts = &mut self.texts;
        let place = match self.places.get(&text) {
            Some(place) => *place,
            None if texts.texts.len() == TEXTS_MAX => {
                texts.is_cut = true;
                return;
            }
            None => {
                self.places.insert(text.clone(), texts.texts.len());
                texts.texts.push(text);
                texts.outcomes.push(Vec::new());
                texts.outcomes.len() - 1
            }
        };
        texts.outcomes[place].push(outcome_id.to_owned());
    }
}

impl Texts {
    /// Leaves out the texts that a route has as an example, or as one of what belongs nowhere: they have their place.
    pub(super) fn leave_out(&mut self, catalogue: &Catalogue) {
        let routes = catalogue.routes.iter();
        let of_routes = routes.flat_map(|route| route.examples.iter().chain(&route.negatives));
        let placed: HashSet<String> = of_routes
            .chain(&catalogue.out_of_domain)
            .map(|example| Query::from_text(example).text)
            .collect();
        let texts = std::mem::take(&mut self.texts);
        let outcomes = std::mem::take(&mut self.outcomes);
        let without = texts.into_iter().zip(outcomes);
        (self.texts, self.outcomes) = without.filter(|(text, _)| !placed.contains(text)).unzip();
    }

    /// The routes all of whose examples are such texts: somebody has made a category of these, and has not got as far as to label
    /// them.
    pub(super) fn begun(&self, catalogue: &Catalogue) -> Vec<Begun> {
        let refused: HashSet<&str> = self.texts.iter().map(String::as_str).collect();
        let begun = catalogue.routes.iter().map(Begun::of).filter(|begun| {
            let mut examples = begun.examples.iter();
            !begun.examples.is_empty() && examples.all(|text| refused.contains(text.as_str()))
        });
        begun.collect()
    }
}

/// A route whose questions wait for their labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Begun {
    pub(super) category: String,
    /// As they are classified.
    pub(super) examples: Vec<String>,
}

impl Begun {
    fn of(route: &Route) -> Self {
        let examples = route.examples.iter();
        Self {
            category: route.category.to_string(),
            examples: examples.map(|it| Query::from_text(it).text).collect(),
        }
    }
}
