//! Rows to train a router on: distinct texts, each with one category.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{excerpts::excerpts, labels::Labelled, seed::Seed, stem};
use crate::{
    catalogue::Catalogue,
    ids::{CategoryId, OUT_OF_DOMAIN},
};

/// Leading bytes of a text's SHA-256 that stand for it: no two texts will ever share them.
pub const KEY_BYTES: usize = 16;

/// Names a text by its content.
pub type Key = [u8; KEY_BYTES];

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is what is asked: everything is fitted to it and measured on it.
    Asked,
    /// It teaches the cheap tier alone: what questions are like that are asked, the others tell.
    Further,
    /// It is a part of another text. What it is about, a teacher says, since its label is the whole text's.
    Excerpt,
    /// Nobody has said what it is about, and its class means nothing: nothing is learnt from it, unless a model guesses one.
    Unlabelled,
    /// What it is about, a model said that was fitted before: it teaches both tiers, and nothing is measured on it.
    Guessed,
}

/// Distinct texts with their classes.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The classes: categories by name, `out_of_domain` last where there are such rows.
    pub categories: Vec<CategoryId>,
    /// Those that are no category to whoever asks; `out_of_domain` is none of them.
    pub silent: Vec<CategoryId>,
    /// The texts, in an order that depends on their content and the seed alone.
    pub texts: Vec<String>,
    /// The class of each text.
    pub labels: Vec<usize>,
    /// The key of each text.
    pub keys: Vec<Key>,
    /// The file of labels that each text was last read from; none for examples of routes.
    pub origins: Vec<Option<Arc<str>>>,
    /// What each text is for.
    pub roles: Vec<Role>,
    /// The number of the question that each text asks: of those with the same one, none is held back from another.
    pub questions: Vec<usize>,
    /// Texts that came with several categories; the one that came most often is taken, of equals the last.
    pub conflicts: usize,
    /// Rows that were left out, since there is nothing in them to read.
    pub blank: usize,
}

impl Dataset {
    /// Gathers rows; later ones win over earlier ones.
    pub fn new(rows: impl IntoIterator<Item = Labelled>, seed: u64) -> Self {
        let mut votes: HashMap<String, Vec<CategoryId>> = HashMap::new();
        let mut origins: HashMap<Key, Option<Arc<str>>> = HashMap::new();
        let mut blank = 0;
        for row in rows {
            if row.query.is_empty() {
                blank += 1;
                continue;
            }
            let text = row.query.likelier_reading();
            origins.insert(key(text), row.origin);
            votes.entry(text.to_owned()).or_default().push(row.category);
        }
        let conflicts = votes
            .values()
            .filter(|votes| votes.iter().any(|vote| *vote != votes[0]))
            .count();
        let mut rows: Vec<(Key, String, CategoryId)> = votes
            .into_iter()
            .map(|(text, votes)| (key(&text), text, elected(&votes)))
            .collect();
        rows.sort_by_cached_key(|(key, ..)| shuffled(key, seed));
        let names: BTreeSet<_> = rows.iter().map(|(.., category)| category.clone()).collect();
        let categories = ordered(names);
        let class: BTreeMap<&CategoryId, usize> = categories.iter().zip(0..).collect();
        let labels = rows.iter().map(|(.., category)| class[category]).collect();
        let keys: Vec<Key> = rows.iter().map(|(key, ..)| *key).collect();
        let origin = |key| origins.get(key).cloned().flatten();
        let questions = stem::questions(rows.iter().map(|(_, text, _)| text.as_str()));
        Self {
            labels,
            origins: keys.iter().map(origin).collect(),
            roles: vec![Role::Asked; keys.len()],
            questions,
            keys,
            conflicts,
            blank,
            silent: Vec::new(),
            texts: rows.into_iter().map(|(_, text, _)| text).collect(),
            categories,
        }
    }

    /// Some of the rows, in this order; the classes are the same, whether or not they still have rows.
    #[must_use]
    pub fn of(&self, rows: &[usize]) -> Self {
        Self {
            categories: self.categories.clone(),
            silent: self.silent.clone(),
            texts: rows.iter().map(|row| self.texts[*row].clone()).collect(),
            labels: rows.iter().map(|row| self.labels[*row]).collect(),
            keys: rows.iter().map(|row| self.keys[*row]).collect(),
            origins: rows.iter().map(|row| self.origins[*row].clone()).collect(),
            roles: rows.iter().map(|row| self.roles[*row]).collect(),
            questions: rows.iter().map(|row| self.questions[*row]).collect(),
            conflicts: self.conflicts,
            blank: self.blank,
        }
    }

    /// The same, knowing these classes as well, with rows or without; all but `out_of_domain` are silent.
    #[must_use]
    pub fn with_silent(self, classes: BTreeSet<CategoryId>) -> Self {
        let named = self.categories.iter().chain(&classes);
        let categories = ordered(named.cloned().collect());
        let mut silent: Vec<CategoryId> = classes.into_iter().collect();
        silent.retain(|category| category.as_str() != OUT_OF_DOMAIN);
        let class: BTreeMap<&CategoryId, usize> = categories.iter().zip(0..).collect();
        let labels = self.labels.iter();
        let labels = labels
            .map(|label| class[&self.categories[*label]])
            .collect();
        Self {
            labels,
            categories,
            silent,
            ..self
        }
    }

    /// The same, where rows of these origins are further ones, but for those of classes that have no others.
    #[must_use]
    pub fn with_further(mut self, origins: &[String]) -> Self {
        let is_further = |origin: &Option<Arc<str>>| {
            let origin = origin.as_deref();
            origin.is_some_and(|origin| origins.iter().any(|further| further == origin))
        };
        let is_further: Vec<bool> = self.origins.iter().map(is_further).collect();
        let rows = self.labels.iter().zip(&is_further);
        let asked: BTreeSet<usize> = rows
            .filter(|(_, further)| !**further)
            .map(|(label, _)| *label)
            .collect();
        let rows = self.labels.iter().zip(is_further);
        let role = |(label, is_further)| {
            if is_further && asked.contains(label) {
                Role::Further
            } else {
                Role::Asked
            }
        };
        self.roles = rows.map(role).collect();
        self
    }

    /// The same with [`excerpts`] of every labelled row behind it, which are of its class and of its question.
    #[must_use]
    pub fn with_excerpts(mut self, seed: u64) -> Self {
        let seed = Seed::new(seed);
        let mut known: HashSet<Key> = self.keys.iter().copied().collect();
        for row in 0..self.texts.len() {
            if self.roles[row] == Role::Unlabelled {
                continue;
            }
            // By its content, so that other rows beside it change nothing of what was read before.
            let of_text = u64::from_le_bytes(std::array::from_fn(|at| self.keys[row][at]));
            let text = self.texts[row].clone();
            for excerpt in excerpts(&text, seed.stream("excerpts", of_text)) {
                let key = key(excerpt);
                if known.insert(key) {
                    self.texts.push(excerpt.to_owned());
                    self.labels.push(self.labels[row]);
                    self.keys.push(key);
                    self.origins.push(self.origins[row].clone());
                    self.roles.push(Role::Excerpt);
                    self.questions.push(self.questions[row]);
                }
            }
        }
        self
    }

    /// The same with texts behind it of which nobody has said what they are about, but for those that are there already; in an order that
    /// depends on their content and the seed alone.
    #[must_use]
    pub fn with_unlabelled(mut self, texts: impl IntoIterator<Item = String>, seed: u64) -> Self {
        let mut known: HashSet<Key> = self.keys.iter().copied().collect();
        let keyed = texts.into_iter().map(|text| (key(&text), text));
        let mut new: Vec<(Key, String)> = keyed
            .filter(|(key, text)| !text.is_empty() && known.insert(*key))
            .collect();
        if new.is_empty() {
            return self;
        }
        new.sort_by_cached_key(|(key, _)| shuffled(key, seed));
        for (key, text) in new {
            self.texts.push(text);
            self.labels.push(0);
            self.keys.push(key);
            self.origins.push(None);
            self.roles.push(Role::Unlabelled);
        }
        self.questions = stem::questions(self.texts.iter().map(String::as_str));
        self
    }

    /// The same, where of some unlabelled rows a class is guessed: pairs of a row and its class.
    #[must_use]
    pub fn with_guesses(mut self, guesses: &[(usize, usize)]) -> Self {
        for (row, class) in guesses {
            self.labels[*row] = *class;
            self.roles[*row] = Role::Guessed;
        }
        self
    }

    /// The rows that are what is asked.
    pub fn asked(&self) -> Vec<usize> {
        self.of_role(Role::Asked)
    }

    /// The rows of a role.
    pub fn of_role(&self, role: Role) -> Vec<usize> {
        self.of_roles(&[role])
    }

    /// The rows of some roles, in order.
    pub fn of_roles(&self, roles: &[Role]) -> Vec<usize> {
        let rows = 0..self.roles.len();
        rows.filter(|row| roles.contains(&self.roles[*row]))
            .collect()
    }

    /// How many rows each class has.
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.categories.len()];
        for label in &self.labels {
            sizes[*label] += 1;
        }
        sizes
    }

    /// SHA-256 over all texts with their categories, hexadecimal; the order of the rows does not matter.
    pub fn sha256(&self) -> String {
        let categories = self.labels.iter();
        self.digest(categories.map(|label| self.categories[*label].as_str()))
    }

    /// The same over all texts with where they come from.
    pub fn origins_sha256(&self) -> String {
        let origins = self.origins.iter();
        self.digest(origins.map(|origin| origin.as_deref().unwrap_or_default()))
    }

    fn digest<'d>(&'d self, words: impl Iterator<Item = &'d str>) -> String {
        let mut rows: Vec<(&Key, &str)> = self.keys.iter().zip(words).collect();
        rows.sort_unstable();
        let mut digest = Sha256::new();
        for (key, word) in rows {
            digest.update(key);
            digest.update((word.len() as u64).to_le_bytes());
            digest.update(word);
        }
        hex::encode(digest.finalize())
    }
}

/// The examples of the routes as rows, each read as a question would be.
///
/// What looks like a category but is none of its (`negatives`) belongs nowhere; where it does belong somewhere, it is
/// better an example there.
pub fn of_routes(catalogue: &Catalogue) -> Vec<Labelled> {
    let outside = CategoryId::new(OUT_OF_DOMAIN);
    let negatives = catalogue.routes.iter().flat_map(|route| &route.negatives);
    let nowhere = negatives
        .chain(&catalogue.out_of_domain)
        .map(|text| (text, &outside));
    let examples = catalogue.routes.iter().flat_map(|route| {
        let of_route = |example| (example, &route.category);
        route.examples.iter().map(of_route)
    });
    nowhere
        .chain(examples)
        .map(|(text, category)| Labelled::from_text(text, category.clone()))
        .collect()
}

/// Categories by name, `out_of_domain` last.
fn ordered(names: BTreeSet<CategoryId>) -> Vec<CategoryId> {
    let (mut categories, outside): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|category| category.as_str() != OUT_OF_DOMAIN);
    categories.extend(outside);
    categories
}

/// The key of a text.
pub fn key(text: &str) -> Key {
    let digest = Sha256::digest(text.as_bytes());
    let mut key = Key::default();
    key.copy_from_slice(&digest[..KEY_BYTES]);
    key
}

/// The category that was given most often, of equals the one given last.
fn elected(votes: &[CategoryId]) -> CategoryId {
    let count = |wanted: &CategoryId| votes.iter().filter(|vote| *vote == wanted).count();
    let last_of_most = votes.iter().max_by_key(|vote| count(vote));
    last_of_most.unwrap_or(&votes[0]).clone()
}

/// Where a row stands for a seed: as good as random, and the same for the same text.
fn shuffled(key: &Key, seed: u64) -> [u8; 32] {
    Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(key)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::ChatRequest, query::Query};

    fn row(text: &str, category: &str) -> Labelled {
        Labelled::from_text(text, CategoryId::new(category))
    }

    #[test]
    fn rows_are_further_ones_unless_their_class_has_no_others() {
        let of = |origin: &str, text: &str, category: &str| Labelled {
            origin: Some(origin.into()),
            ..row(text, category)
        };
        let rows = [
            of("more", "a", "math"),
            of("own", "b", "math"),
            of("more", "c", "legal"),
            row("d", "math"),
        ];
        let dataset = Dataset::new(rows, 7).with_further(&["more".to_owned()]);
        let further = dataset.of_role(Role::Further);
        let further: Vec<&str> = further.iter().map(|row| &*dataset.texts[*row]).collect();
        assert_eq!(further, ["a"]);
        let kept = dataset.of(&[0, 1, 2, 3]);
        assert_eq!(kept.roles, dataset.roles);
    }

    #[test]
    fn excerpts_are_of_their_questions_and_come_behind_all_rows() {
        let long = "How many eggs does a baker need who makes twelve loaves of brioche a day?";
        let rows = [row(long, "baking"), row("What is a sonata?", "music")];
        let whole = Dataset::new(rows, 7);
        let dataset = whole.clone().with_excerpts(7);
        assert_eq!(dataset.texts[..2], whole.texts);
        let excerpts = dataset.of_role(Role::Excerpt);
        assert_eq!(excerpts, [2, 3]);
        let of = dataset.texts.iter().position(|text| text == long).unwrap();
        for excerpt in excerpts {
            assert!(long.contains(&dataset.texts[excerpt]));
            assert_eq!(dataset.keys[excerpt], key(&dataset.texts[excerpt]));
            assert_eq!(dataset.labels[excerpt], dataset.labels[of]);
            assert_eq!(dataset.questions[excerpt], dataset.questions[of]);
        }
        assert_eq!(dataset.asked(), [0, 1]);
        assert_eq!(dataset.texts, whole.clone().with_excerpts(7).texts);
        assert_ne!(dataset.texts, whole.with_excerpts(8).texts);
    }

    #[test]
    fn a_text_counts_once_and_disputes_go_to_the_majority_then_to_the_last() {
        let rows = [
            row("a", "math"),
            row("a", "math"),
            row("a", "legal"),
            row("b", "math"),
            row("b", "legal"),
            row("", "math"),
        ];
        let dataset = Dataset::new(rows, 7);
        let of = |text: &str| {
            let at = dataset
                .texts
                .iter()
                .position(|known| known == text)
                .unwrap();
            dataset.categories[dataset.labels[at]].as_str()
        };
        assert_eq!((dataset.texts.len(), dataset.conflicts), (2, 2));
        assert_eq!((of("a"), of("b")), ("math", "legal"));
    }

    #[test]
    fn the_order_of_rows_means_nothing_and_the_seed_does() {
        let rows: Vec<_> = (0..40)
            .map(|n| row(&format!("question {n}"), ["math", "legal"][n % 2]))
            .collect();
        let mut reversed = rows.clone();
        reversed.reverse();
        let (one, other) = (Dataset::new(rows.clone(), 7), Dataset::new(reversed, 7));
        assert_eq!((&one.texts, one.sha256()), (&other.texts, other.sha256()));
        let reseeded = Dataset::new(rows, 8);
        assert_ne!(one.texts, reseeded.texts);
        assert_eq!(one.sha256(), reseeded.sha256());
    }

    #[test]
    fn where_a_row_comes_from_is_told_apart() {
        let of = |origin: Option<&str>| {
            let origin = origin.map(Arc::from);
            let told = Labelled {
                origin,
                ..row("a", "math")
            };
            Dataset::new([told, row("b", "legal")], 7)
        };
        let (fed_back, by_a_person) = (of(Some("feedback")), of(Some("person")));
        assert_eq!(fed_back.sha256(), by_a_person.sha256());
        assert_ne!(fed_back.origins_sha256(), by_a_person.origins_sha256());
        assert_ne!(fed_back.origins_sha256(), of(None).origins_sha256());
    }

    #[test]
    fn classes_without_rows_stand_where_they_would_with_some() {
        let dataset = Dataset::new([row("a", "math"), row("b", OUT_OF_DOMAIN)], 7);
        let more = ["writing", "law", OUT_OF_DOMAIN].map(CategoryId::new);
        let dataset = dataset.with_silent(more.into());
        assert_eq!(dataset.silent, ["law", "writing"].map(CategoryId::new));
        let names: Vec<_> = dataset.categories.iter().map(CategoryId::as_str).collect();
        assert_eq!(names, ["law", "math", "writing", OUT_OF_DOMAIN]);
        let of = |text: &str| dataset.texts.iter().position(|known| known == text);
        assert_eq!(dataset.labels[of("a").unwrap()], 1);
        assert_eq!(dataset.labels[of("b").unwrap()], 3);
        assert_eq!(dataset.sizes(), [0, 1, 0, 1]);
    }

    #[test]
    fn a_follow_up_is_a_row_with_what_it_leans_on() {
        let asked = |before: &str, category: &str| {
            let line = serde_json::json!({"model": "coterie", "messages": [
                {"role": "user", "content": before},
                {"role": "assistant", "content": "Certainly."},
                {"role": "user", "content": "and how long does that take?"},
            ]});
            let request = ChatRequest::parse(line).unwrap();
            Labelled {
                query: Query::from_messages(&request.messages),
                ..row("", category)
            }
        };
        let rows = [
            asked("How do I bake a sourdough bread?", "baking"),
            asked("How do I renew my passport at the embassy?", "travel"),
        ];
        let dataset = Dataset::new(rows, 7);
        assert_eq!((dataset.texts.len(), dataset.conflicts), (2, 0));
        assert!(dataset.texts.iter().any(|text| text.contains("sourdough")));
    }

    #[test]
    fn out_of_domain_is_the_last_class() {
        let dataset = Dataset::new([row("a", OUT_OF_DOMAIN), row("b", "writing")], 7);
        let names: Vec<_> = dataset.categories.iter().map(CategoryId::as_str).collect();
        assert_eq!(names, ["writing", OUT_OF_DOMAIN]);
        assert_eq!(dataset.sizes(), [1, 1]);
    }
}
