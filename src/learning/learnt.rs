//! What a router learnt from the traffic, beside its artefact: which questions it must not be judged on, and what another
//! has to learn to stand in for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{Evidence, Origin, earlier::Earlier, resolve::Row};
use crate::{
    catalogue::{Catalogue, Route},
    ids::CategoryId,
    query::Query,
    train::dataset,
};

/// The file's name.
pub const LEARNT_FILE: &str = "learnt.json";

/// What a router learnt from: what the traffic taught, and the routes' examples as they were then, since their files may change.
///
/// Texts of the traffic and their conversations are told by the beginning of their SHA-256: none can be read from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    texts: BTreeMap<String, Lesson>,
    conversations: BTreeSet<String>,
    /// What nobody had labelled, where it learnt from some of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earlier: Option<EarlierThen>,
    /// Empty in what was written before they were kept.
    #[serde(default)]
    routes: Vec<RouteThen>,
    #[serde(default)]
    out_of_domain: Vec<String>,
}

/// What a route's file said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RouteThen {
    category: CategoryId,
    examples: Vec<String>,
    negatives: Vec<String>,
}

/// What a router was given that nobody had labelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierThen {
    texts: BTreeSet<String>,
    /// The categories that they might be of.
    pub categories: Vec<CategoryId>,
    /// Before which moment they were asked, milliseconds since 1970 UTC.
    pub until_ms: i64,
}

impl EarlierThen {
    /// Whether a text is one of them.
    pub fn holds(&self, text: &str) -> bool {
        self.texts.contains(&digest(text))
    }

    /// How many there were.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }
}

/// What a router was told of a text. Somebody may say something else of it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lesson {
    category: CategoryId,
    /// Whose word it was, which decides whether it may be doubted.
    origin: String,
}

impl Learnt {
    /// What rows and the routes' examples teach.
    pub fn of(rows: &[Row], catalogue: &Catalogue) -> Self {
        let lesson = |row: &Row| Lesson {
            category: row.category.clone(),
            origin: row.origin.to_string(),
        };
        Self {
            texts: rows
                .iter()
                .map(|row| (digest(&row.text), lesson(row)))
                .collect(),
            conversations: rows.iter().map(|row| digest(&row.conversation)).collect(),
            earlier: None,
            routes: catalogue.routes.iter().map(RouteThen::of).collect(),
            out_of_domain: catalogue.out_of_domain.clone(),
        }
    }

    /// The same and what nobody had labelled, of which some was learnt.
    #[must_use]
    pub fn with_earlier(mut self, earlier: &Earlier) -> Self {
        let questions = earlier.questions.iter();
        let conversations = questions.clone().map(|asked| digest(&asked.conversation));
        self.conversations.extend(conversations);
        self.earlier = Some(EarlierThen {
            texts: questions.map(|asked| digest(&asked.text)).collect(),
            categories: earlier.categories.clone(),
            until_ms: earlier.until_ms,
        });
        self
    }

    /// What it was given that nobody had labelled; none where it learnt none of it.
    pub fn earlier(&self) -> Option<&EarlierThen> {
        self.earlier.as_ref()
    }

    /// The routes as they were then, as far as a router learns from them; none where they were not kept.
    pub fn catalogue(&self) -> Option<Catalogue> {
        let routes: Vec<Route> = self.routes.iter().map(RouteThen::route).collect();
        (!routes.is_empty()).then(|| Catalogue {
            routes,
            out_of_domain: self.out_of_domain.clone(),
            ..Catalogue::default()
        })
    }

    /// Reads what the router in a folder learnt; nothing, where the traffic never taught it.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        match fs::read(folder.join(LEARNT_FILE)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The file's content.
    ///
    /// # Errors
    /// None that serialising texts could have.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// How many texts it learnt from.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// Whether the router has seen the text, or another one of its conversation.
    pub fn knows(&self, row: &Row) -> bool {
        self.texts.contains_key(&digest(&row.text))
            || self.earlier.iter().any(|then| then.holds(&row.text))
            || self.conversations.contains(&digest(&row.conversation))
    }

    /// The rows that the router learnt from, as it learnt them, as far as their texts are still there.
    ///
    /// `rows`: what can be learnt from now; `evidence`: everything of which something was said, whether or not it is believed
    /// now.
    pub fn rows(&self, rows: &[Row], evidence: &[Evidence]) -> Vec<Row> {
        let mut places: BTreeMap<String, Place<'_>> = BTreeMap::new();
        for outcome in evidence {
            let text = Query::from_text(&outcome.question).text;
            let place = Place::of(outcome);
            let last = places.entry(text).or_insert(place);
            *last = place.max(*last);
        }
        // What is held back together goes by these.
        for row in rows {
            places.insert(row.text.clone(), Place::of_row(row));
        }
        let known = places.into_iter().filter_map(|(text, place)| {
            let lesson = self.texts.get(&digest(&text))?;
            Some(Row {
                text,
                category: lesson.category.clone(),
                origin: Origin::from_word(lesson.origin.clone()),
                client: None,
                asked_at_ms: place.asked_at_ms,
                conversation: place.conversation.to_owned(),
            })
        });
        known.collect()
    }
}

impl RouteThen {
    fn of(route: &Route) -> Self {
        Self {
            category: route.category.clone(),
            examples: route.examples.clone(),
            negatives: route.negatives.clone(),
        }
    }

    fn route(&self) -> Route {
        Route {
            category: self.category.clone(),
            description: String::new(),
            examples: self.examples.clone(),
            negatives: self.negatives.clone(),
        }
    }
}

/// Where a text was asked; the greater was later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'p> {
    asked_at_ms: i64,
    outcome_id: &'p str,
    conversation: &'p str,
}

impl<'p> Place<'p> {
    fn of(outcome: &'p Evidence) -> Self {
        Self {
            asked_at_ms: outcome.asked_at_ms,
            outcome_id: &outcome.outcome_id,
            conversation: outcome.conversation(),
        }
    }

    fn of_row(row: &'p Row) -> Self {
        Self {
            asked_at_ms: row.asked_at_ms,
            outcome_id: "",
            conversation: &row.conversation,
        }
    }
}

fn digest(text: &str) -> String {
    hex::encode(dataset::key(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        learning::{Statement, earlier::Asked},
        train::in_force::routes_sha256,
    };

    fn row(text: &str, conversation: &str) -> Row {
        Row {
            text: text.to_owned(),
            category: CategoryId::new("math"),
            origin: Origin::Feedback,
            client: None,
            asked_at_ms: 0,
            conversation: conversation.to_owned(),
        }
    }

    fn evidence(text: &str, asked_at_ms: i64) -> Evidence {
        Evidence {
            outcome_id: format!("of {text}, {asked_at_ms}"),
            asked_at_ms,
            conversation: None,
            question: text.to_owned(),
            routed_to: None,
            statements: vec![Statement {
                category: "legal".to_owned(),
                origin: Origin::Person,
                given_by: None,
                given_at_ms: asked_at_ms,
            }],
        }
    }

    #[test]
    fn a_router_knows_what_it_learnt_from_and_what_was_asked_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Learnt::read(folder.path()).unwrap(), Learnt::default());
        let routes = Catalogue {
            routes: vec![Route {
                category: CategoryId::new("math"),
                description: String::new(),
                examples: vec!["1 + 1".to_owned()],
                negatives: vec!["one plus one is a film".to_owned()],
            }],
            out_of_domain: vec!["hm".to_owned()],
            ..Catalogue::default()
        };
        let learnt = Learnt::of(&[row("a", "one"), row("b", "two")], &routes);
        fs::write(folder.path().join(LEARNT_FILE), learnt.to_json().unwrap()).unwrap();
        let read = Learnt::read(folder.path()).unwrap();
        assert_eq!(read, learnt);
        let then = read.catalogue().unwrap();
        assert_eq!(routes_sha256(&then), routes_sha256(&routes));
        assert!(Learnt::default().catalogue().is_none());
        assert!(read.knows(&row("a", "three")));
        assert!(read.knows(&row("c", "two")));
        assert!(!read.knows(&row("c", "three")));
        fs::write(folder.path().join(LEARNT_FILE), "{").unwrap();
        assert!(Learnt::read(folder.path()).is_err());
    }

    #[test]
    fn who_stands_in_learns_what_was_learnt_whatever_is_said_now() {
        let rows = [row("a", "one"), row("b", "two"), row("gone", "three")];
        let learnt = Learnt::of(&rows, &Catalogue::default());
        // Of `a` a person says something else by now; of `b` nothing counts any more; `c` is new.
        let corrected = Row {
            category: CategoryId::new("legal"),
            origin: Origin::Person,
            ..row("a", "four")
        };
        let all = [
            evidence("a", 5),
            evidence("b", 7),
            evidence("b", 6),
            evidence("c", 8),
        ];
        let known = learnt.rows(&[corrected, row("c", "five")], &all);
        let told: Vec<_> = known
            .iter()
            .map(|row| (row.text.as_str(), row.conversation.as_str()))
            .collect();
        assert_eq!(told, [("a", "four"), ("b", "of b, 7")]);
        assert!(known.iter().all(|row| row.category.as_str() == "math"));
        assert!(known.iter().all(|row| row.origin == Origin::Feedback));
        assert_eq!(learnt.texts(), 3);
    }

    #[test]
    fn what_nobody_had_labelled_was_seen_as_well() {
        let asked = Asked {
            text: "c".to_owned(),
            conversation: "three".to_owned(),
            asked_at_ms: 1,
        };
        let earlier = Earlier {
            questions: vec![asked],
            categories: vec![CategoryId::new("math")],
            until_ms: 2,
        };
        let learnt = Learnt::of(&[row("a", "one")], &Catalogue::default()).with_earlier(&earlier);
        assert!(learnt.knows(&row("c", "elsewhere")) && learnt.knows(&row("d", "three")));
        assert!(!learnt.knows(&row("d", "elsewhere")));
        assert_eq!(learnt.texts(), 1, "of it nothing was told");
        let read: Learnt = serde_json::from_slice(&learnt.to_json().unwrap()).unwrap();
        assert_eq!(read, learnt);
    }
}
