//! What the LLM chooses from: the categories with their cards, each with a letter, and none of them. Pure.

use std::collections::BTreeMap;

use crate::{
    catalogue::{self, Catalogue},
    decision::Score,
    ids::{CategoryId, OUT_OF_DOMAIN},
};

/// Categories that are offered at once where the menu is sent with each question: one letter of the alphabet stands for none of
/// them. Of more, a question is offered the likeliest ones.
pub const CATEGORIES_MAX: usize = 25;

/// Categories that are offered at once to a model that has read the menu before, and of what length in all, in bytes: some two
/// thousand tokens, which leave room for a question in small models' contexts.
const READ_MAX: usize = 100;
const READ_BYTES_MAX: usize = 8 * 1024;

/// What is said of questions that none of the categories covers.
const NONE_LABEL: &str = "none of these";
const NONE: &str = "an order to a device or an assistant, small talk or text without meaning";

/// What may be chosen, in the order of its letters; the last entry is none of the categories.
#[derive(Clone, Debug, PartialEq)]
pub struct Menu {
    entries: Vec<Entry>,
}

/// One thing that may be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The category; `out_of_domain` for none.
    pub category: CategoryId,
    /// The words by which the LLM is told it, no two of a menu alike.
    pub label: String,
    /// What belongs to it, in one line.
    pub gist: String,
    /// The same at length, which an instruction is compared with.
    pub card: String,
}

impl Entry {
    fn texts(&self) -> [&str; 4] {
        [self.category.as_str(), &self.label, &self.gist, &self.card]
    }
}

impl Menu {
    /// All categories of a catalogue, each with its card, or its description where it has none.
    pub fn of(catalogue: &Catalogue) -> Self {
        let mut entries: Vec<Entry> = catalogue
            .routes
            .iter()
            .map(|route| {
                let card = catalogue.cards.categories.get(&route.category);
                let text =
                    card.map_or(route.description.as_str(), |card| card.instruction.as_str());
                let card_line = on_one_line(text);
                Entry {
                    category: route.category.clone(),
                    label: card
                        .and_then(|card| card.label.clone())
                        .unwrap_or_else(|| route.category.to_string()),
                    gist: card
                        .and_then(|card| card.gist.clone())
                        .unwrap_or_else(|| card_line.clone()),
                    card: card_line,
                }
            })
            .collect();
        tell_apart(&mut entries);
        entries.push(Entry {
            category: CategoryId::new(OUT_OF_DOMAIN),
            label: NONE_LABEL.to_owned(),
            gist: NONE.to_owned(),
            card: NONE.to_owned(),
        });
        Self { entries }
    }

    /// Whether it can be sent with each question.
    pub fn can_be_sent(&self) -> bool {
        self.entries.len() <= CATEGORIES_MAX + 1
    }

    /// Whether a model that keeps what it has read can have it all.
    pub fn can_be_read(&self) -> bool {
        let lines = self.entries.iter();
        let bytes: usize = lines.map(|it| it.label.len() + it.gist.len()).sum();
        self.can_be_sent() || (self.entries.len() <= READ_MAX + 1 && bytes <= READ_BYTES_MAX)
    }

    /// The same with the likeliest categories alone, `first` before all; `scores` likeliest first.
    #[must_use]
    pub fn likeliest(&self, scores: &[Score], first: Option<&CategoryId>) -> Self {
        let rank = |entry: &Entry| {
            scores
                .iter()
                .position(|score| score.category == entry.category)
        };
        let is_none = |entry: &Entry| entry.category.as_str() == OUT_OF_DOMAIN;
        let mut ranked: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| !is_none(entry))
            .collect();
        ranked.sort_by_key(|entry| {
            let is_first = first == Some(&entry.category);
            (!is_first, rank(entry).unwrap_or(usize::MAX))
        });
        ranked.truncate(CATEGORIES_MAX);
        let none = self.entries.iter().filter(|entry| is_none(entry));
        Self {
            entries: ranked.into_iter().chain(none).cloned().collect(),
        }
    }

    /// What may be chosen.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The letters, in the order of the entries.
    pub fn letters(&self) -> Vec<String> {
        let letters = ('A'..='Z').take(self.entries.len());
        letters.map(String::from).collect()
    }

    /// What tells it from other menus.
    pub fn digest(&self) -> String {
        let entries = self.entries.iter();
        catalogue::digest(entries.flat_map(Entry::texts))
    }

    /// What tells each entry from what it was before.
    pub fn digests(&self) -> BTreeMap<CategoryId, String> {
        let entries = self.entries.iter();
        entries
            .map(|entry| (entry.category.clone(), catalogue::digest(entry.texts())))
            .collect()
    }
}

/// Two that were given the same label are told by their ids.
fn tell_apart(entries: &mut [Entry]) {
    let labels: Vec<String> = entries
        .iter()
        .map(|entry| entry.label.to_lowercase())
        .collect();
    for (at, entry) in entries.iter_mut().enumerate() {
        let is_taken = labels
            .iter()
            .enumerate()
            .any(|(other, label)| other != at && *label == labels[at]);
        if is_taken || labels[at] == NONE_LABEL {
            entry.label = entry.category.to_string();
        }
    }
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::catalogue::{Card, Cards, Route};

    /// A catalogue of categories that are described by their names.
    pub(in crate::instruction) fn catalogue(categories: &[&str]) -> Catalogue {
        let routes = categories.iter().map(|category| Route {
            category: CategoryId::new(*category),
            description: format!("Questions of\n  {category}."),
            examples: Vec::new(),
            negatives: Vec::new(),
        });
        Catalogue {
            routes: routes.collect(),
            ..Catalogue::default()
        }
    }

    #[test]
    fn a_card_takes_the_place_of_a_description() {
        let mut catalogue = catalogue(&["law", "math"]);
        let card = Card {
            instruction: "Work out\nnumbers.".into(),
            label: Some("numbers".into()),
            gist: None,
            made: None,
        };
        catalogue.cards = Cards {
            categories: [(CategoryId::new("math"), card)].into(),
            ..Cards::default()
        };
        let menu = Menu::of(&catalogue);
        let cards: Vec<&str> = menu
            .entries()
            .iter()
            .map(|entry| entry.card.as_str())
            .collect();
        assert_eq!(cards[..2], ["Questions of law.", "Work out numbers."]);
        assert_eq!(menu.entries()[2].category.as_str(), OUT_OF_DOMAIN);
        let told = |at: usize| {
            (
                menu.entries()[at].label.as_str(),
                menu.entries()[at].gist.as_str(),
            )
        };
        assert_eq!(told(0), ("law", "Questions of law."));
        assert_eq!(told(1), ("numbers", "Work out numbers."));
        assert_eq!(menu.letters(), ["A", "B", "C"]);
        assert_ne!(
            menu.digest(),
            Menu::of(&super::tests::catalogue(&["law", "math"])).digest()
        );
    }

    #[test]
    fn labels_that_are_alike_are_not_used() {
        let mut catalogue = catalogue(&["law", "math", "art"]);
        for category in ["law", "math"] {
            let card = Card {
                instruction: "a".into(),
                label: Some(if category == "law" { "Words" } else { "words" }.into()),
                gist: None,
                made: None,
            };
            catalogue
                .cards
                .categories
                .insert(CategoryId::new(category), card);
        }
        let menu = Menu::of(&catalogue);
        let labels: Vec<&str> = menu
            .entries()
            .iter()
            .map(|entry| entry.label.as_str())
            .collect();
        assert_eq!(labels, ["law", "math", "art", "none of these"]);
    }

    #[test]
    fn of_too_many_categories_the_likeliest_are_offered_and_none_of_them_always() {
        let names: Vec<String> = (0..40).map(|at| format!("c{at:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let menu = Menu::of(&catalogue(&names));
        assert!(!menu.can_be_sent() && menu.can_be_read());
        let scores = ["c39", "c07"].map(|category| Score {
            category: CategoryId::new(category),
            probability: 0.3,
        });
        let few = menu.likeliest(&scores, None);
        assert!(few.can_be_sent());
        assert_eq!(few.letters().len(), 26);
        let offered: Vec<&str> = few
            .entries()
            .iter()
            .map(|it| it.category.as_str())
            .collect();
        assert_eq!(offered[..3], ["c39", "c07", "c00"]);
        assert_eq!(offered.last(), Some(&OUT_OF_DOMAIN));
        let new = CategoryId::new("c33");
        let many: Vec<String> = (0..=READ_MAX).map(|at| at.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(!Menu::of(&catalogue(&many)).can_be_read());
        assert!(Menu::of(&catalogue(&many[1..])).can_be_read());
        let at_length = "x".repeat(READ_BYTES_MAX);
        assert!(!Menu::of(&catalogue(&[&names[..], &[&at_length]].concat())).can_be_read());
        let with_new = menu.likeliest(&scores, Some(&new));
        assert_eq!(with_new.entries()[0].category, new);
        assert_eq!(with_new.entries().len(), few.entries().len());
    }
}
