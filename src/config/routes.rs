//! The folder of routes → the catalogue.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    catalogue::{Catalogue, Route},
    ids::{CategoryId, OUT_OF_DOMAIN, is_category_name},
};

use super::{
    cards,
    document::{Document, Place},
    embedded,
    mistake::Mistakes,
    raw, schema, shape,
};

/// A router chooses: one category is no choice.
const ROUTES_MIN: usize = 2;

/// Whether a name means something else in `mapping` or in a decision.
fn is_reserved(name: &str) -> bool {
    name == OUT_OF_DOMAIN || super::is_mapping_key(name)
}

/// The file of questions that belong to no category.
const OTHER: &str = "_other";

/// The file of instruction cards.
const CARDS: &str = "_cards";

/// Reads every `*.yaml` and `*.yml` of `folder`; `named_at` is where the configuration names it.
pub(super) fn read(folder: &Path, named_at: Place<'_>, mistakes: &mut Mistakes) -> Routes {
    let mut routes = Routes::new();
    let paths = match route_files(folder) {
        Ok(paths) => paths,
        Err(error) => {
            let message = format!("the folder `{}` cannot be read: {error}", folder.display());
            let help = "name the folder of routes: one YAML file a category".to_owned();
            mistakes.add(named_at, message, help);
            return routes;
        }
    };
    let mut of_cards = None;
    for path in &paths {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let document = Document::read(path, mistakes);
        if stem == CARDS {
            of_cards = document;
        } else {
            routes.add(&stem, &path.display().to_string(), document, mistakes);
        }
    }
    routes.add_cards(of_cards.as_ref(), mistakes);
    if routes.files.len() < ROUTES_MIN {
        let held = if routes.files.is_empty() {
            "no route"
        } else {
            "one route only"
        };
        let message = format!("the folder `{}` holds {held}", folder.display());
        let help = "a router chooses between two categories at least: write one YAML file for each";
        mistakes.add(named_at, message, help.to_owned());
    }
    routes
}

/// The routes of the embedded default.
pub(super) fn embedded(mistakes: &mut Mistakes) -> Routes {
    let mut routes = Routes::new();
    for (category, text) in embedded::ROUTES {
        let file = format!("routes/{category}.yaml (embedded)");
        let document = Document::parse(file.clone(), text, mistakes);
        routes.add(category, &file, document, mistakes);
    }
    let file = "routes/_cards.yaml (embedded)".to_owned();
    let cards = Document::parse(file, embedded::CARDS, mistakes);
    routes.add_cards(cards.as_ref(), mistakes);
    routes
}

/// The routes that were read.
pub(super) struct Routes {
    /// Those that are right.
    pub catalogue: Catalogue,
    /// The file of every category, right or not.
    files: BTreeMap<String, String>,
    /// Where each example was first seen.
    examples: HashMap<String, Example>,
    schema: Value,
}

struct Example {
    file: String,
    line: u32,
}

impl Routes {
    fn new() -> Self {
        Self {
            catalogue: Catalogue::default(),
            files: BTreeMap::new(),
            examples: HashMap::new(),
            schema: schema::route_schema(),
        }
    }

    /// What the mapping may name: the category of every file, right or not.
    pub(super) fn categories(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    fn add(&mut self, stem: &str, file: &str, document: Option<Document>, mistakes: &mut Mistakes) {
        if stem != OTHER {
            self.claim(stem, file, mistakes);
        }
        let Some(document) = document else { return };
        let place = document.place();
        let Some(raw) = shape::read::<raw::Route>("the file", place, &self.schema, mistakes) else {
            return;
        };
        let examples = self.examples(raw.examples.as_deref(), place.at("examples"), mistakes);
        let negatives = self.examples(Some(&raw.negatives), place.at("negatives"), mistakes);
        if place.at("examples").is_empty_list() {
            let help = "write at least one question that belongs to this category".to_owned();
            let message = "`examples` is empty".to_owned();
            mistakes.add(place.key("examples"), message, help);
        }
        let description = raw.description.as_deref().map(str::trim);
        if description == Some("") {
            let help = "say what belongs to this category, so that a person could sort questions";
            let message = "`description` is empty".to_owned();
            mistakes.add(place.key("description"), message, help.to_owned());
        }
        if stem == OTHER {
            self.catalogue.out_of_domain = examples;
        } else if let Some(description) = description {
            self.catalogue.routes.push(Route {
                category: CategoryId::new(stem),
                description: description.to_owned(),
                examples,
                negatives,
            });
        }
    }

    /// Once all categories are known.
    fn add_cards(&mut self, document: Option<&Document>, mistakes: &mut Mistakes) {
        let categories: Vec<&str> = self.files.keys().map(String::as_str).collect();
        let cards = document.and_then(|document| cards::read(document, &categories, mistakes));
        self.catalogue.cards = cards.unwrap_or_default();
    }

    /// Takes the name of the category, once.
    fn claim(&mut self, stem: &str, file: &str, mistakes: &mut Mistakes) {
        let place = Place::start(file);
        if !is_category_name(stem) {
            let message = format!("a category cannot be called `{stem}`");
            let help = if stem.starts_with('_') {
                format!(
                    "of the names that begin with `_` there are `{OTHER}` and `{CARDS}`, which are no categories"
                )
            } else {
                "name the file with a to z, 0 to 9 and `_` alone".to_owned()
            };
            mistakes.add(place, message, help);
        } else if is_reserved(stem) {
            let message = format!("a category cannot be called `{stem}`: the name is reserved");
            mistakes.add(place, message, "name the file otherwise".to_owned());
        }
        let name = stem.to_lowercase().replace(['-', ' '], "_");
        if let Some(other) = self.files.get(&name) {
            let message = format!("the category `{name}` is described twice");
            let help = format!("`{other}` describes it too: merge the two files");
            mistakes.add(place, message, help);
        } else {
            self.files.insert(name, file.to_owned());
        }
    }

    fn examples(
        &mut self,
        raw: Option<&[String]>,
        list: Place<'_>,
        mistakes: &mut Mistakes,
    ) -> Vec<String> {
        let mut examples = Vec::new();
        for (text, place) in raw.unwrap_or_default().iter().zip(list.texts()) {
            let text = text.trim();
            if text.is_empty() {
                let help = "write a question, or take the entry out".to_owned();
                mistakes.add(place, "this example is blank".to_owned(), help);
            } else if let Some(first) = self.examples.get(text) {
                let message = "this example is here twice".to_owned();
                let help = format!("the first is at {}:{}: keep one", first.file, first.line);
                mistakes.add(place, message, help);
            } else {
                let (file, line) = (place.file.to_owned(), place.position.line);
                self.examples
                    .insert(text.to_owned(), Example { file, line });
                examples.push(text.to_owned());
            }
        }
        examples
    }
}

/// The YAML files of a folder, by name; hidden ones are somebody's editor's.
fn route_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
