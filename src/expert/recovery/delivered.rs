//! What a client has of an answer.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::chat::{Choices, Chunk, content};

/// Most that is kept of what was delivered, in bytes: longer than nearly every answer. One that is longer is not recovered.
const DELIVERED_BYTES_MAX: usize = 1 << 20;

/// One of the texts that an answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    /// The answer itself.
    Content,
    /// Why there is none.
    Refusal,
    /// The name of the function of the tool call with this index.
    ToolName(u64),
    /// Its arguments.
    ToolArguments(u64),
}

/// What was delivered so far.
#[derive(Debug)]
pub(super) struct Delivered {
    choices: Choices,
    /// `id` and `created` of the first chunk that has an id.
    head: Option<(Value, Value)>,
    tracks: Vec<(Track, String)>,
    bytes: usize,
    /// Chunks that carried something: about as many tokens.
    tokens: u64,
    /// Something in it cannot be found again in another answer.
    is_opaque: bool,
}

impl Delivered {
    pub(super) fn new(choices_wanted: u32) -> Self {
        Self {
            choices: Choices::new(choices_wanted),
            head: None,
            tracks: Vec::new(),
            bytes: 0,
            tokens: 0,
            is_opaque: choices_wanted != 1,
        }
    }

    /// The chunk under the id of the answer that it goes on with.
    pub(super) fn under_one_head(&self, chunk: Chunk) -> Chunk {
        let Some((id, created)) = &self.head else {
            return chunk;
        };
        let mut object = chunk.object();
        object.insert("id".into(), id.clone());
        object.insert("created".into(), created.clone());
        Chunk::from_object(object)
    }

    /// Takes note of a chunk that goes to the client.
    pub(super) fn saw(&mut self, chunk: &Chunk) {
        self.choices.saw(chunk);
        if self.head.is_none() {
            self.head = head(chunk.object());
        }
        self.tokens += u64::from(chunk.carries_token());
        if self.bytes > DELIVERED_BYTES_MAX {
            self.is_opaque = true;
        }
        if self.is_opaque {
            return;
        }
        if !chunk.has_more_than_text() {
            self.grow(Track::Content, chunk.text().unwrap_or_default());
            return;
        }
        let delta = chunk.delta().unwrap_or_default();
        self.is_opaque =
            delta.is_empty() || delta.iter().any(|(field, value)| is_opaque(field, value));
        for (track, text) in texts(&delta) {
            self.grow(track, &text);
        }
    }

    fn grow(&mut self, track: Track, text: &str) {
        self.bytes += text.len();
        match self.tracks.iter_mut().find(|(known, _)| *known == track) {
            Some((_, delivered)) => delivered.push_str(text),
            None if text.is_empty() => {}
            None => self.tracks.push((track, text.to_owned())),
        }
    }

    /// Whether another expert could go on with it at all.
    pub(super) fn is_recoverable(&self) -> bool {
        !self.is_opaque && !self.choices.are_complete()
    }

    /// The text, where that is all there is.
    pub(super) fn plain_text(&self) -> Option<&str> {
        match self.tracks.as_slice() {
            [(Track::Content, text)] if !text.trim().is_empty() => Some(text),
            _ => None,
        }
    }

    /// Every text of it.
    pub(super) fn tracks(&self) -> &[(Track, String)] {
        &self.tracks
    }

    /// About as many tokens as were delivered.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }
}

/// The `id` and `created` of a chunk that has an id.
fn head(mut chunk: Map<String, Value>) -> Option<(Value, Value)> {
    let id = chunk.remove("id").filter(|id| id.as_str() != Some(""))?;
    Some((id, chunk.remove("created").unwrap_or_default()))
}

/// The texts that a chunk adds to.
fn texts(delta: &Map<String, Value>) -> Vec<(Track, Cow<'_, str>)> {
    let mut texts = Vec::new();
    for (field, track) in [("content", Track::Content), ("refusal", Track::Refusal)] {
        texts.extend(delta.get(field).map(|text| (track, content::text_of(text))));
    }
    let calls = delta.get("tool_calls").and_then(Value::as_array);
    for call in calls.into_iter().flatten() {
        let index = call.get("index").and_then(Value::as_u64).unwrap_or(0);
        let text = |field| Some(Cow::from(call.get("function")?.get(field)?.as_str()?));
        texts.extend(text("name").map(|text| (Track::ToolName(index), text)));
        texts.extend(text("arguments").map(|text| (Track::ToolArguments(index), text)));
    }
    texts.retain(|(_, text)| !text.is_empty());
    texts
}

/// Whether a field of a delta is part of the answer and none of its texts: sound, pictures, calls of the old kind. What a
/// model thinks aloud before it answers is not part of the answer.
fn is_opaque(field: &str, value: &Value) -> bool {
    match field {
        "content" | "refusal" => return content::has_more_than_text(value),
        "tool_calls" => {
            let calls = value.as_array().into_iter().flatten();
            return calls.into_iter().any(|call| !is_call_in_text(call));
        }
        _ => {}
    }
    let is_known = matches!(field, "role" | "tool_calls") || field.starts_with("reasoning");
    !is_known && !says_nothing(value)
}

/// Whether a field of a delta is there and adds nothing.
pub(super) fn says_nothing(value: &Value) -> bool {
    value.is_null()
        || value.as_str().is_some_and(str::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether all that a piece of a call says is its function's name and arguments, as texts.
fn is_call_in_text(call: &Value) -> bool {
    let texts =
        ["name", "arguments"].map(|field| call.get("function").and_then(|it| it.get(field)));
    let is_text =
        |text: &Option<&Value>| text.is_none_or(|text| text.is_string() || text.is_null());
    call.get("function").is_some_and(Value::is_object) && texts.iter().all(is_text)
}
