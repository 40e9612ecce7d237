//! A YAML file as a tree in which every key and value knows where it stands.

use std::{fmt, fs, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;
use serde_saphyr::{
    DuplicateKeyPolicy, Location, MessageFormatter, NonFiniteFloatPolicy, Spanned,
    UserMessageFormatter,
};

use super::mistake::Mistakes;

/// Deeper than any configuration, and shallow enough for every stack.
const DEPTH_MAX: usize = 32;

/// One file.
#[derive(Debug)]
pub(super) struct Document {
    /// Its name in messages.
    pub file: String,
    /// Everything that it says.
    pub root: Node,
}

/// Where something stands: line and column from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub line: u32,
    pub column: u32,
}

/// A value, and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub value: Value,
    pub position: Position,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value; a map may hold the same key twice.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_position: Position,
    pub node: Node,
}

/// A position in a file, and the value there if there is one: what a mistake is pinned to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub file: &'a str,
    pub position: Position,
    pub node: Option<&'a Node>,
}

impl Document {
    /// Reads a file; whatever is wrong with it is a mistake.
    pub(super) fn read(path: &Path, mistakes: &mut Mistakes) -> Option<Self> {
        let file = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => Self::of_bytes(file, &bytes, mistakes),
            Err(error) => {
                let message = format!("the file cannot be read: {error}");
                mistakes.add(Place::start(&file), message, None);
                None
            }
        }
    }

    /// Reads a file's bytes.
    pub(super) fn of_bytes(file: String, bytes: &[u8], mistakes: &mut Mistakes) -> Option<Self> {
        match str::from_utf8(bytes) {
            Ok(text) => Self::parse(file, text, mistakes),
            Err(error) => {
                let place = Place {
                    position: end_of(&bytes[..error.valid_up_to()]),
                    ..Place::start(&file)
                };
                let help = "save the file as UTF-8".to_owned();
                mistakes.add(place, "this is not UTF-8".to_owned(), help);
                None
            }
        }
    }

    /// Reads a text; the first breach of YAML's syntax is a mistake.
    pub(super) fn parse(file: String, text: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options()) {
            Ok(root) if matches!(root.value, Value::Null) => {
                let message = "the file says nothing".to_owned();
                mistakes.add(Place::start(&file), message, None);
                None
            }
            Ok(root) => Some(Self {
                file,
                root: root.into(),
            }),
            Err(error) => {
                let error = error.without_snippet();
                let place = Place {
                    position: error.location().map_or(START, Position::from),
                    ..Place::start(&file)
                };
                let message = UserMessageFormatter.format_message(error);
                mistakes.add(place, format!("the YAML cannot be read: {message}"), None);
                None
            }
        }
    }

    /// The place of everything.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            file: &self.file,
            position: self.root.position,
            node: Some(&self.root),
        }
    }
}

impl<'a> Place<'a> {
    /// The start of a file of which nothing is known.
    pub(super) fn start(file: &'a str) -> Self {
        Self {
            file,
            position: START,
            node: None,
        }
    }

    /// The value under `key`.
    pub(super) fn get(self, key: &str) -> Option<Self> {
        self.entry(key).map(|entry| self.to(&entry.node))
    }

    /// Whether there is a value.
    pub(super) fn is_written(self) -> bool {
        self.node.is_some()
    }

    /// The value under `key`; where there is none, this place without a value.
    pub(super) fn at(self, key: &str) -> Self {
        self.get(key).unwrap_or(Self { node: None, ..self })
    }

    /// `key` itself, for what is wrong with all of its value; where it is missing, this place.
    pub(super) fn key(self, key: &str) -> Self {
        self.entry(key).map_or(self, |entry| self.to_key(entry))
    }

    /// The texts of the list here: those entries of a list of texts that are not mistyped.
    pub(super) fn texts(self) -> impl Iterator<Item = Self> {
        self.items(|value| matches!(value, Value::Text(_)))
    }

    /// The maps of the list here: those entries of a list of maps that are not mistyped.
    pub(super) fn maps(self) -> impl Iterator<Item = Self> {
        self.items(|value| matches!(value, Value::Map(_)))
    }

    /// Whether a list without entries is here.
    pub(super) fn is_empty_list(self) -> bool {
        matches!(self.node, Some(Node { value: Value::List(items), .. }) if items.is_empty())
    }

    /// The text here, if one is.
    pub(super) fn text(self) -> Option<&'a str> {
        match self.node {
            Some(Node {
                value: Value::Text(text),
                ..
            }) => Some(text),
            _ => None,
        }
    }

    /// The keys of the map here, with mistaken values or not.
    pub(super) fn keys(self) -> impl Iterator<Item = &'a str> {
        self.entries().iter().map(|entry| entry.key.as_str())
    }

    /// Another node of the same file.
    pub(super) fn to(self, node: &'a Node) -> Self {
        Self {
            position: node.position,
            node: Some(node),
            ..self
        }
    }

    /// The key of an entry, with its value.
    pub(super) fn to_key(self, entry: &'a Entry) -> Self {
        Self {
            position: entry.key_position,
            ..self.to(&entry.node)
        }
    }

    fn items(self, wanted: fn(&Value) -> bool) -> impl Iterator<Item = Self> {
        let items = match self.node.map(|node| &node.value) {
            Some(Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        let items = items.iter().filter(move |item| wanted(&item.value));
        items.map(move |item| self.to(item))
    }

    fn entry(self, key: &str) -> Option<&'a Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    fn entries(self) -> &'a [Entry] {
        match self.node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries,
            _ => &[],
        }
    }
}

const START: Position = Position { line: 1, column: 1 };

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX },
        // Kept, so that they are reported with everything else.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        // `yes` and `on` are words.
        strict_booleans: true,
        with_snippet: false,
    }
}

fn end_of(valid: &[u8]) -> Position {
    let text = String::from_utf8_lossy(valid);
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: count(text.matches('\n').count()).saturating_add(1),
        column: count(last_line.chars().count()).saturating_add(1),
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        let bounded = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
        Self {
            line: bounded(location.line()),
            column: bounded(location.column()),
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self {
            position: spanned.referenced.into(),
            value: spanned.value,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("this number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            nodes.push(item.into());
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Spanned<String>, Spanned<Value>>()? {
            entries.push(Entry {
                key_position: key.referenced.into(),
                key: key.value,
                node: node.into(),
            });
        }
        Ok(Value::Map(entries))
    }
}
