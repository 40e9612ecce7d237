//! The parts of an answer: what chat completions keep in the fields of one message, other dialects put in a row.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Untellable;
use crate::chat::{Chunk, Completion, content};

/// One part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What the model thought before it answered.
    Reasoning(String),
    /// Text.
    Text(String),
    /// Why it does not answer.
    Refusal(String),
    /// A tool that is to be called.
    Call(Call),
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON, as the model wrote it.
    pub(super) arguments: String,
}

/// What sort of part it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Reasoning,
    Text,
    Refusal,
    Call,
}

/// Something that a chunk does to the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A part begins, empty.
    Opened(Part),
    /// The part that is open, which is of this kind, grows by a text.
    Grew(Kind, String),
    /// The part that is open, which is of this kind, is over.
    Closed(Kind),
}

impl Part {
    /// What sort of part it is.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Reasoning(_) => Kind::Reasoning,
            Self::Text(_) => Kind::Text,
            Self::Refusal(_) => Kind::Refusal,
            Self::Call(_) => Kind::Call,
        }
    }

    /// Its text; of a call the arguments.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Reasoning(text) | Self::Text(text) | Self::Refusal(text) => text,
            Self::Call(call) => &call.arguments,
        }
    }

    /// The same, taken out.
    fn into_text(self) -> String {
        match self {
            Self::Reasoning(text) | Self::Text(text) | Self::Refusal(text) => text,
            Self::Call(call) => call.arguments,
        }
    }

    /// The same without its text.
    fn emptied(&self) -> Self {
        let text = String::new();
        match self {
            Self::Reasoning(_) => Self::Reasoning(text),
            Self::Text(_) => Self::Text(text),
            Self::Refusal(_) => Self::Refusal(text),
            Self::Call(call) => Self::Call(Call {
                arguments: text,
                ..call.clone()
            }),
        }
    }

    /// Adds to its text; of a call to the arguments.
    pub(super) fn push(&mut self, more: &str) {
        match self {
            Self::Reasoning(text) | Self::Text(text) | Self::Refusal(text) => text.push_str(more),
            Self::Call(call) => call.arguments.push_str(more),
        }
    }
}

/// The parts of a whole answer, in the order in which a model gives them.
pub(super) fn of_completion(completion: &Completion) -> Vec<Part> {
    let Some(message) = completion.message() else {
        return Vec::new();
    };
    let mut parts: Vec<Part> = texts(&message).collect();
    let calls = message.get("tool_calls").and_then(Value::as_array);
    for (at, call) in calls.into_iter().flatten().enumerate() {
        let arguments = arguments(call).unwrap_or_else(|| NO_ARGUMENTS.into());
        parts.push(Part::Call(Call {
            arguments: arguments.into_owned(),
            ..begun(call, at as u64)
        }));
    }
    parts
}

/// The texts of a message or a delta that are not empty, as parts. Providers differ in what they call reasoning; some say
/// it under both names.
fn texts(message: &Map<String, Value>) -> impl Iterator<Item = Part> {
    let text = |name: &str| {
        let text = content::text_of(message.get(name)?);
        (!text.is_empty()).then(|| text.into_owned())
    };
    let reasoning = text("reasoning_content").or_else(|| text("reasoning"));
    [
        reasoning.map(Part::Reasoning),
        text("content").map(Part::Text),
        text("refusal").map(Part::Refusal),
    ]
    .into_iter()
    .flatten()
}

/// The arguments of a call for which a provider sends none.
const NO_ARGUMENTS: &str = "{}";

/// A call without its arguments. One without an id gets one: its result could not be told otherwise.
fn begun(call: &Value, index: u64) -> Call {
    let id = call["id"].as_str().filter(|id| !id.is_empty());
    Call {
        id: id.map_or_else(|| format!("call_{index}"), str::to_owned),
        name: call["function"]["name"].as_str().unwrap_or("").to_owned(),
        arguments: String::new(),
    }
}

/// A call's arguments, or a piece of them. They are JSON in a text, but some providers send the object itself.
fn arguments(call: &Value) -> Option<Cow<'_, str>> {
    match &call["function"]["arguments"] {
        Value::String(text) => (!text.is_empty()).then(|| text.into()),
        object @ Value::Object(_) => Some(object.to_string().into()),
        _ => None,
    }
}

/// Cuts the chunks of a stream into parts, of which one is open at a time.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    open: Option<Kind>,
    /// Whether anything of the part that is open has come.
    has_grown: bool,
    /// The last call that was begun: its index in the stream and its id.
    last_call: Option<(u64, String)>,
}

impl Splitter {
    /// What a chunk does.
    ///
    /// # Errors
    /// It adds to a call that is over.
    pub(super) fn take(&mut self, chunk: &Chunk) -> Result<Vec<Change>, Untellable> {
        let mut changes = Vec::new();
        let Some(delta) = chunk.delta() else {
            return Ok(changes);
        };
        for part in texts(&delta) {
            let kind = part.kind();
            if self.open != Some(kind) {
                changes.extend(self.open(part.emptied()));
            }
            changes.push(self.grow(kind, part.into_text()));
        }
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            changes.extend(self.begin_call(call)?);
            if let Some(arguments) = arguments(call) {
                changes.push(self.grow(Kind::Call, arguments.into_owned()));
            }
        }
        Ok(changes)
    }

    /// Ends the part that is open.
    pub(super) fn close(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(kind) = self.open.take() {
            if kind == Kind::Call && !self.has_grown {
                changes.push(Change::Grew(kind, NO_ARGUMENTS.to_owned()));
            }
            changes.push(Change::Closed(kind));
        }
        changes
    }

    fn open(&mut self, part: Part) -> Vec<Change> {
        let mut changes = self.close();
        self.open = Some(part.kind());
        self.has_grown = false;
        changes.push(Change::Opened(part));
        changes
    }

    fn grow(&mut self, kind: Kind, text: String) -> Change {
        self.has_grown = true;
        Change::Grew(kind, text)
    }

    /// Begins a call, unless this is more of the one that is open. Some providers number every call 0: a new id is a new
    /// call whatever its number.
    fn begin_call(&mut self, call: &Value) -> Result<Vec<Change>, Untellable> {
        let index = call["index"].as_u64().unwrap_or(0);
        let id = call["id"].as_str().filter(|id| !id.is_empty());
        if let Some((last, last_id)) = &self.last_call
            && index <= *last
            && id.is_none_or(|id| id == last_id)
        {
            let goes_on = index == *last && self.open == Some(Kind::Call);
            return goes_on.then(Vec::new).ok_or(Untellable::Interleaved);
        }
        let call = begun(call, index);
        self.last_call = Some((index, call.id.clone()));
        Ok(self.open(Part::Call(call)))
    }
}
