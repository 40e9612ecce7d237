//! The turns of a chat request in the making. What other dialects put into one turn, chat completions spread over
//! several: the result of each tool is a turn, and holds no pictures.

use serde_json::{Value, json};

/// What a turn of a tool says whose result is nothing but pictures.
const PICTURES_FOLLOW: &str = "The result is in the next message.";

/// Turns, oldest first.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    messages: Vec<Value>,
    /// Pictures of tool results: they wait for the last result of a row, because nothing may stand between results.
    pictures: Vec<Value>,
}

impl Conversation {
    /// Adds a turn of these content parts, unless there is nothing in it.
    pub(super) fn say(&mut self, role: &str, mut parts: Vec<Value>) {
        if role == "user" {
            parts.splice(..0, self.pictures.drain(..));
        } else {
            self.show_pictures();
        }
        if !parts.is_empty() {
            let content = content(parts);
            self.messages
                .push(json!({"role": role, "content": content}));
        }
    }

    /// Adds a tool call to the assistant's turn.
    pub(super) fn call(&mut self, id: &str, name: &str, arguments: &str) {
        self.show_pictures();
        let call = json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        match self.messages.last_mut() {
            Some(turn) if turn["role"] == "assistant" => match turn.get_mut("tool_calls") {
                Some(Value::Array(calls)) => calls.push(call),
                _ => turn["tool_calls"] = json!([call]),
            },
            _ => self
                .messages
                .push(json!({"role": "assistant", "content": null, "tool_calls": [call]})),
        }
    }

    /// Adds the result of a tool call.
    pub(super) fn result(&mut self, id: &str, text: String, pictures: Vec<Value>) {
        let content = if text.is_empty() && !pictures.is_empty() {
            PICTURES_FOLLOW.to_owned()
        } else {
            text
        };
        self.messages
            .push(json!({"role": "tool", "tool_call_id": id, "content": content}));
        self.pictures.extend(pictures);
    }

    /// The turns.
    pub(super) fn into_messages(mut self) -> Vec<Value> {
        self.show_pictures();
        self.messages
    }

    fn show_pictures(&mut self) {
        if !self.pictures.is_empty() {
            let pictures = std::mem::take(&mut self.pictures);
            self.messages
                .push(json!({"role": "user", "content": pictures}));
        }
    }
}

/// A text part.
pub(super) fn text_part(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// A picture at an address, which may be a `data:` URL.
pub(super) fn picture_part(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

/// A single text is written as such: some endpoints read nothing else.
fn content(mut parts: Vec<Value>) -> Value {
    match parts.as_mut_slice() {
        [only] if only["type"] == "text" => only["text"].take(),
        _ => parts.into(),
    }
}
