//! What Coterie reads of an answer or a piece of one, in one pass over its JSON. Whatever has another form than OpenAI's is read over.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::chat::{Usage, content};

/// What is known of an object without taking it apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Where the model's name stands, with its quotes; none where there is none.
    pub(super) model: Option<Range<usize>>,
    /// How many choices are in it.
    pub(super) choices: usize,
    /// The indices of the choices that have come to their end in it.
    pub(super) finished: Vec<u64>,
    /// Whether anything of the answer is in it.
    pub(super) carries_token: bool,
    /// What it says of the first choice.
    pub(super) first: Option<First>,
    /// Whether it says anything of tokens used, and what.
    pub(super) has_usage: bool,
    pub(super) usage: Option<Usage>,
    pub(super) mean_logprob: Option<f64>,
    pub(super) has_error: bool,
}

/// What is said of the first choice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct First {
    /// Its text, or what is added to it; none where that is nothing.
    pub(super) text: Option<String>,
    /// Whether there is something else than text.
    pub(super) has_more: bool,
    /// Whether a tool is called.
    pub(super) calls_tool: bool,
    pub(super) finish_reason: Option<String>,
    pub(super) met_stop: Option<String>,
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow, default, deserialize_with = "even_null")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    coterie: Option<&'a RawValue>,
}

/// Where Coterie adds to an object what OpenAI has no field for.
#[derive(Deserialize)]
struct Ours {
    mean_logprob: f64,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow, alias = "message")]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
}

/// What a message, or a piece of one, says.
#[derive(Default)]
struct Delta {
    text: Option<String>,
    has_more: bool,
    calls_tool: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum DeltaField {
    Role,
    Content,
    #[serde(rename = "tool_calls", alias = "function_call")]
    Call,
    #[serde(other)]
    Other,
}

impl Facts {
    /// Reads JSON; none where that is no object, or has one of these fields twice.
    pub(super) fn of(json: &str) -> Option<Self> {
        if !json.trim_start().starts_with('{') {
            return None;
        }
        let whole: Whole<'_> = serde_json::from_str(json).ok()?;
        let mut facts = Self {
            model: whole.model.map(|model| place_in(json, model.get())),
            has_usage: whole.usage.is_some(),
            usage: whole.usage.and_then(read),
            mean_logprob: whole.coterie.and_then(read).map(|it: Ours| it.mean_logprob),
            has_error: whole.error.is_some(),
            ..Self::default()
        };
        let choices: Vec<&RawValue> = whole.choices.and_then(read).unwrap_or_default();
        facts.choices = choices.len();
        for choice in choices.into_iter().filter_map(read) {
            facts.take(&choice);
        }
        Some(facts)
    }

    fn take(&mut self, choice: &Choice<'_>) {
        // A choice that does not say which it is, is the only one.
        let index: u64 = choice.index.and_then(read).unwrap_or(0);
        let finish_reason: Option<String> = choice.finish_reason.and_then(read);
        if finish_reason.is_some() {
            self.finished.push(index);
        }
        let delta: Delta = choice.delta.and_then(read).unwrap_or_default();
        self.carries_token |= delta.text.is_some() || delta.has_more;
        if index == 0 && self.first.is_none() {
            self.first = Some(First {
                text: delta.text,
                has_more: delta.has_more,
                calls_tool: delta.calls_tool,
                finish_reason,
                // vLLM tells a text there, and a token's number where that stopped the answer.
                met_stop: choice.stop_reason.and_then(read),
            });
        }
    }
}

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DeltaVisitor)
    }
}

struct DeltaVisitor;

impl<'de> Visitor<'de> for DeltaVisitor {
    type Value = Delta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Delta, A::Error> {
        let mut delta = Delta::default();
        while let Some(field) = fields.next_key()? {
            let value: &RawValue = fields.next_value()?;
            match field {
                DeltaField::Role => {}
                _ if is_nothing(value) => {}
                DeltaField::Content => {
                    delta.text = read(value);
                    if delta.text.is_none() {
                        let parts: Value = read(value).unwrap_or_default();
                        let text = content::text_of(&parts);
                        delta.text = (!text.is_empty()).then(|| text.into_owned());
                        delta.has_more |= content::has_more_than_text(&parts);
                    }
                }
                DeltaField::Call => {
                    delta.has_more = true;
                    delta.calls_tool = true;
                }
                DeltaField::Other => delta.has_more = true,
            }
        }
        Ok(delta)
    }
}

fn is_nothing(value: &RawValue) -> bool {
    matches!(value.get(), "null" | "\"\"" | "[]")
}

fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

fn even_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Where `part`, which is a slice of `whole`, stands in it.
fn place_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}
