//! Holds a document against its JSON Schema, the one that editors use, and reports every unknown, missing, repeated or
//! mistyped key.
//!
//! What is mistaken is taken out and the rest is handed on, so that one slip hides no other: a key that was taken out
//! falls back to its default. Interprets the part of JSON Schema that the raw types make use of; a test holds the
//! generated schemas to that part. `pattern` and lengths are left to the checks, which say better what is wrong.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{
    document::{Entry, Node, Place, Value},
    mistake::Mistakes,
    suggest::{quoted, suggest},
};

/// Reads the value there, called `name` in messages, as a `T`, whose schema is `schema`.
pub(super) fn read<T: DeserializeOwned>(
    name: &str,
    place: Place<'_>,
    schema: &Json,
    mistakes: &mut Mistakes,
) -> Option<T> {
    let node = place.node?;
    let named = Named {
        name: name.to_owned(),
        place,
    };
    let fitting = Shape { schema, mistakes }.value(node, schema, &named)?;
    match serde_json::from_value(fitting) {
        Ok(read) => Some(read),
        Err(error) => {
            let message = format!("{name} cannot be understood: {error}");
            mistakes.add(place, message, None);
            None
        }
    }
}

struct Shape<'a> {
    /// The whole schema, where `$ref` points into.
    schema: &'a Json,
    mistakes: &'a mut Mistakes,
}

/// How a value is called in messages, and the place of the key that leads to it.
struct Named<'a> {
    name: String,
    place: Place<'a>,
}

impl<'a> Shape<'a> {
    fn value(&mut self, node: &Node, schema: &'a Json, named: &Named<'_>) -> Option<Json> {
        let schema = self.resolve(schema);
        if let Some(choices) = choices(schema) {
            return self.choice(node, &choices, named);
        }
        if let Some(branches) = branches(schema) {
            let branch = self.branch(node, branches, named)?;
            return self.value(node, branch, named);
        }
        if !fits(&node.value, schema) {
            self.mistyped(node, &expected(schema), named);
            return None;
        }
        match &node.value {
            Value::Map(entries) => Some(Json::Object(self.map(entries, schema, named))),
            Value::List(items) => Some(Json::Array(self.list(items, schema, named))),
            Value::Number(number) => {
                let number = Json::Number(number.clone());
                self.in_range(&number, node, schema, named)
                    .then_some(number)
            }
            Value::Text(text) => Some(Json::String(text.clone())),
            Value::Bool(truth) => Some(Json::Bool(*truth)),
            Value::Null => None,
        }
    }

    fn resolve(&self, schema: &'a Json) -> &'a Json {
        schema["$ref"]
            .as_str()
            .and_then(|reference| self.schema.pointer(reference.trim_start_matches('#')))
            .unwrap_or(schema)
    }

    fn map(&mut self, entries: &[Entry], schema: &'a Json, map: &Named<'_>) -> Map<String, Json> {
        let mut fitting = Map::new();
        for (index, entry) in entries.iter().enumerate() {
            let named = Named {
                name: format!("`{}`", entry.key),
                place: map.place.to_key(entry),
            };
            if let Some(first) = entries[..index].iter().find(|first| first.key == entry.key) {
                self.repeated(first, &named);
            } else if let Some(schema) = schema_of(&entry.key, schema) {
                if let Some(value) = self.value(&entry.node, schema, &named) {
                    fitting.insert(entry.key.clone(), value);
                }
            } else {
                self.unknown(&entry.key, schema, &named);
            }
        }
        self.complete(entries, schema, map);
        fitting
    }

    fn list(&mut self, items: &[Node], schema: &'a Json, list: &Named<'_>) -> Vec<Json> {
        let mut fitting = Vec::new();
        for item in items {
            let named = Named {
                name: format!("an entry of {}", list.name),
                place: list.place.to(item),
            };
            fitting.extend(self.value(item, &schema["items"], &named));
        }
        fitting
    }

    /// One of a few words.
    fn choice(&mut self, node: &Node, choices: &[&str], named: &Named<'_>) -> Option<Json> {
        let Value::Text(text) = &node.value else {
            self.mistyped(node, &quoted(choices, "or"), named);
            return None;
        };
        if choices.contains(&text.as_str()) {
            return Some(Json::String(text.clone()));
        }
        let message = format!("{} cannot be `{text}`", named.name);
        let place = named.place.to(node);
        self.mistakes
            .add(place, message, suggest(text, choices.iter().copied()));
        None
    }

    /// The one of several schemas that the value was meant for.
    fn branch(&mut self, node: &Node, branches: &'a [Json], named: &Named<'_>) -> Option<&'a Json> {
        if let (Some(tag), Value::Map(entries)) = (tag(branches), &node.value) {
            return self.tagged(entries, tag, branches, named);
        }
        let mut fitting: Vec<&Json> = branches
            .iter()
            .filter(|branch| fits(&node.value, branch))
            .collect();
        if fitting.len() > 1 {
            fitting.retain(|branch| required(branch).all(|key| has(&node.value, key)));
        }
        let found = fitting.first().copied();
        if found.is_none() {
            let expected: Vec<String> = branches.iter().map(expected).collect();
            self.mistyped(node, &expected.join(" or "), named);
        }
        found
    }

    /// The schema whose `tag` (such as `kind`) is the one that the map has.
    fn tagged(
        &mut self,
        entries: &[Entry],
        tag: &str,
        branches: &'a [Json],
        named: &Named<'_>,
    ) -> Option<&'a Json> {
        let tags: Vec<&str> = branches
            .iter()
            .filter_map(|branch| branch["properties"][tag]["const"].as_str())
            .collect();
        let Some(entry) = entries.iter().find(|entry| entry.key == tag) else {
            let message = format!("{} lacks `{tag}`", named.name);
            let help = format!("`{tag}` is one of {}", quoted(&tags, "and"));
            self.mistakes.add(named.place, message, help);
            return None;
        };
        let place = Named {
            name: format!("`{tag}`"),
            place: named.place.to_key(entry),
        };
        let chosen = self.choice(&entry.node, &tags, &place)?;
        branches
            .iter()
            .find(|branch| branch["properties"][tag]["const"] == chosen)
    }

    fn in_range(&mut self, number: &Json, node: &Node, schema: &Json, named: &Named<'_>) -> bool {
        let value = number.as_f64().unwrap_or(f64::NAN);
        let min = schema["minimum"].as_f64();
        let max = schema["maximum"].as_f64();
        let above = schema["exclusiveMinimum"].as_f64();
        let inside = min.is_none_or(|min| value >= min)
            && max.is_none_or(|max| value <= max)
            && above.is_none_or(|above| value > above);
        if !inside {
            let bounds = match (min.or(above), max) {
                (Some(min), Some(max)) => format!("between {min} and {max}"),
                (None, Some(max)) => format!("at most {max}"),
                (Some(min), None) if above.is_some() => format!("greater than {min}"),
                (min, _) => format!("at least {}", min.unwrap_or(f64::NEG_INFINITY)),
            };
            let message = format!("{} is {number}", named.name);
            let help = format!("it must be {bounds}");
            self.mistakes.add(named.place.to(node), message, help);
        }
        inside
    }

    fn complete(&mut self, entries: &[Entry], schema: &Json, map: &Named<'_>) {
        for key in required(schema) {
            if entries.iter().any(|entry| entry.key == key) {
                continue;
            }
            let message = format!("{} lacks `{key}`", map.name);
            let help = schema["properties"][key]["description"]
                .as_str()
                .map(|meaning| format!("add it: {}", within_a_sentence(meaning)));
            self.mistakes.add(map.place, message, help);
        }
    }

    fn mistyped(&mut self, node: &Node, expected: &str, named: &Named<'_>) {
        let name = &named.name;
        let place = named.place.to(node);
        if let Value::Null = node.value {
            let help = format!("give it {expected}, or leave it out");
            self.mistakes
                .add(named.place, format!("{name} has no value"), help);
            return;
        }
        let found = match &node.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a number with a fraction",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        };
        let help = (expected == TEXT && !matches!(node.value, Value::List(_)))
            .then(|| "put it in quotes".to_owned());
        // The value itself is not shown: it may be a secret in the wrong place.
        let message = format!("{name} must be {expected}, not {found}");
        self.mistakes.add(place, message, help);
    }

    fn repeated(&mut self, first: &Entry, named: &Named<'_>) {
        let line = first.key_position.line;
        let message = format!("{} is here twice", named.name);
        let help = format!("the first is on line {line}: keep one of them");
        self.mistakes.add(named.place, message, help);
    }

    fn unknown(&mut self, key: &str, schema: &Json, named: &Named<'_>) {
        let known = schema["properties"].as_object();
        let known = known.into_iter().flat_map(Map::keys).map(String::as_str);
        let message = format!("unknown key {}", named.name);
        self.mistakes.add(named.place, message, suggest(key, known));
    }
}

const TEXT: &str = "text";

/// The schema of the value under `key`; none where the key is unknown.
fn schema_of<'a>(key: &str, schema: &'a Json) -> Option<&'a Json> {
    schema["properties"]
        .get(key)
        .or_else(|| schema.get("additionalProperties"))
        .filter(|schema| schema.is_object())
}

fn branches(schema: &Json) -> Option<&[Json]> {
    let branches = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    branches.as_array().map(Vec::as_slice)
}

/// The words of a schema that allows only some.
fn choices(schema: &Json) -> Option<Vec<&str>> {
    match schema["const"].as_str() {
        Some(only) => Some(vec![only]),
        None => branches(schema)?
            .iter()
            .map(|branch| branch["const"].as_str())
            .collect(),
    }
}

/// The key whose value tells all branches apart.
fn tag(branches: &[Json]) -> Option<&str> {
    let mut keys = branches.first()?["properties"].as_object()?.keys();
    let tells_apart = |key: &&String| {
        branches
            .iter()
            .all(|branch| branch["properties"][key.as_str()]["const"].is_string())
    };
    keys.find(tells_apart).map(String::as_str)
}

fn required(schema: &Json) -> impl Iterator<Item = &str> {
    let keys = schema["required"].as_array().into_iter().flatten();
    keys.filter_map(Json::as_str)
}

fn has(value: &Value, key: &str) -> bool {
    matches!(value, Value::Map(entries) if entries.iter().any(|entry| entry.key == key))
}

fn fits(value: &Value, schema: &Json) -> bool {
    if let Some(branches) = branches(schema) {
        return branches.iter().any(|branch| fits(value, branch));
    }
    match (schema["type"].as_str(), value) {
        (Some("object"), Value::Map(_))
        | (Some("array"), Value::List(_))
        | (Some("string"), Value::Text(_))
        | (Some("number"), Value::Number(_))
        | (Some("boolean"), Value::Bool(_)) => true,
        (Some("integer"), Value::Number(number)) => !number.is_f64(),
        _ => false,
    }
}

/// `The file.` → `the file`; a word in capitals keeps them.
fn within_a_sentence(meaning: &str) -> String {
    let meaning = meaning.trim_end_matches('.');
    let mut letters = meaning.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            let rest = &meaning[first.len_utf8()..];
            format!("{}{rest}", first.to_lowercase())
        }
        _ => meaning.to_owned(),
    }
}

/// What a schema asks for, in words.
fn expected(schema: &Json) -> String {
    if let Some(choices) = choices(schema) {
        return quoted(&choices, "or");
    }
    match schema["type"].as_str() {
        Some("string") => match schema["examples"][0].as_str() {
            Some(example) => format!("{TEXT} such as `{example}`"),
            None => TEXT.to_owned(),
        },
        Some("integer") => "a whole number".to_owned(),
        Some("number") => "a number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("array") => "a list".to_owned(),
        _ => match required(schema).next() {
            Some(key) => format!("a map with `{key}`"),
            None => "a map".to_owned(),
        },
    }
}
