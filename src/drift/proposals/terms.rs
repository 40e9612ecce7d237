//! What sets a cluster's texts apart from all others, in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ids::OUT_OF_DOMAIN;

/// Letters of a term, at least.
const LETTERS_MIN: usize = 3;

/// Texts of a cluster that have a term, at least: one author's word names no category.
const TEXTS_MIN: usize = 3;

/// Terms in a name.
const NAME_TERMS: usize = 2;

/// Letters of a name's term, at most.
const NAME_LETTERS_MAX: usize = 24;

/// Words that say nothing of what a text is about.
const STOP_WORDS: &str = "a about above after again all also am an and any are as ask asked at be because been before being below \
    between both but by can cannot could did do does doesn doing don down during each even ever every few find following for \
    from further get give given go good got had has have having he help her here hers him his how if in into is isn it its \
    itself just know last let like ll look made make many may me might mine more most much must my need new no nor not now of \
    off ok on once one only or other our out over own please put really right said same say see shall she should show since \
    so some something still such take tell than thank thanks that the their them then there these they thing things this \
    those through to too two under until up us use used using ve very want wants was way we well were what when where which \
    while who whom whose why will with without won would yes yet you your";

/// The words of some texts.
pub(super) struct Terms {
    /// Of each text, its terms and how often it has them.
    texts: Vec<BTreeMap<String, u32>>,
}

impl Terms {
    pub(super) fn of(texts: &[&str]) -> Self {
        let stop: BTreeSet<&str> = STOP_WORDS.split_whitespace().collect();
        let count = |text: &&str| {
            let mut counts = BTreeMap::new();
            for word in words(text).filter(|word| !stop.contains(word.as_str())) {
                *counts.entry(word).or_default() += 1;
            }
            counts
        };
        Self {
            texts: texts.iter().map(count).collect(),
        }
    }

    /// The terms that tell the texts `rows` (rising) from the others, the most telling first.
    ///
    /// Class-based TF-IDF with two classes, these texts and the rest. A text has a term or not: how often a long one repeats
    /// its own says nothing of the others.
    pub(super) fn telling(&self, rows: &[usize], count: usize) -> Vec<String> {
        let (mut inside, mut outside) =
            (HashMap::<&str, usize>::new(), HashMap::<&str, usize>::new());
        let mut all = 0;
        for (row, terms) in self.texts.iter().enumerate() {
            let class = if rows.binary_search(&row).is_ok() {
                &mut inside
            } else {
                &mut outside
            };
            all += terms.len();
            for term in terms.keys() {
                *class.entry(term).or_default() += 1;
            }
        }
        let mean = all as f64 / 2.0;
        let others = (self.texts.len() - rows.len()).max(1) as f64;
        let mut scored: Vec<(f64, &str)> = inside
            .iter()
            .filter(|(_, texts)| **texts >= TEXTS_MIN)
            .map(|(term, texts)| {
                let here = *texts as f64 / rows.len() as f64;
                let there = outside.get(term).map_or(0.0, |texts| *texts as f64);
                let frequency = *texts as f64 + there;
                let idf = (1.0 + mean / frequency).ln();
                // What is as frequent elsewhere sets nothing apart, however rare it is.
                ((here - there / others) * idf, *term)
            })
            .filter(|(score, _)| *score > 0.0)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let mut chosen: Vec<String> = Vec::new();
        for (_, term) in scored {
            if chosen.len() < count && !chosen.iter().any(|other| is_form(other, term)) {
                chosen.push(term.to_owned());
            }
        }
        chosen
    }
}

/// A valid id of a category out of its terms, none of `taken`.
pub(super) fn name(terms: &[String], taken: &[String]) -> String {
    let free = |name: &str| name != OUT_OF_DOMAIN && !taken.iter().any(|other| other == name);
    let words: Vec<String> = terms
        .iter()
        .map(|term| term.chars().filter(char::is_ascii_alphanumeric).collect())
        .map(|word: String| word.to_ascii_lowercase())
        .filter(|word| (LETTERS_MIN..=NAME_LETTERS_MAX).contains(&word.len()))
        .collect();
    let joined = words[..words.len().min(NAME_TERMS)].join("_");
    let base = if joined.is_empty() {
        "topic".to_owned()
    } else {
        joined
    };
    let longer = words.get(NAME_TERMS).map(|third| format!("{base}_{third}"));
    let numbered = (2..).map(|number: usize| format!("{base}_{number}"));
    std::iter::once(base.clone())
        .chain(longer)
        .chain(numbered)
        .find(|name| free(name))
        .unwrap_or(base)
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() >= LETTERS_MIN)
        .filter(|word| !word.chars().all(char::is_numeric))
        .map(str::to_lowercase)
}

/// Whether two terms are forms of one word, such as `flight` and `flights`.
fn is_form(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let ending = long.strip_prefix(short);
    ending.is_some_and(|ending| ["", "s", "es", "ed", "d", "ing"].contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_of_a_cluster_are_its_own() {
        let texts = [
            "book a flight to rome please",
            "which flights leave for Paris",
            "the cheapest flight to Oslo, what does the ticket cost",
            "change my flight ticket",
            "refund the ticket",
            "book a table to eat",
            "the weather please",
            "play the song",
        ];
        let terms = Terms::of(&texts).telling(&[0, 1, 2, 3, 4], 5);
        assert_eq!(terms, ["flight", "ticket"]);
    }

    #[test]
    fn names_are_valid_ids_and_free() {
        let terms = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let taken = terms(&["flight_ticket", "topic"]);
        assert_eq!(name(&terms(&["flight", "hotel"]), &taken), "flight_hotel");
        assert_eq!(
            name(&terms(&["flight", "ticket", "visa"]), &taken),
            "flight_ticket_visa"
        );
        assert_eq!(
            name(&terms(&["flight", "ticket"]), &taken),
            "flight_ticket_2"
        );
        assert_eq!(name(&terms(&["Überweisung", "気候"]), &[]), "berweisung");
        assert_eq!(name(&[], &taken), "topic_2");
    }
}
