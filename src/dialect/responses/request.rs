//! A Responses request as a chat request.

mod fields;
mod input;

use serde_json::{Map, Value};

use super::Echo;
use crate::{
    chat::{InvalidRequest, fields as chat_fields},
    dialect::{
        conversation::{Conversation, text_part},
        node::Node,
    },
};

/// A Responses request, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponsesRequest {
    /// The chat request that asks the same.
    pub chat: Value,
    /// What the answer repeats of the request.
    pub echo: Echo,
}

/// Fields that are written anew, or that change nothing of the answer.
const TAKEN: [&str; 13] = [
    "input",
    "instructions",
    "max_output_tokens",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "include",
    "store",
    "metadata",
    "truncation",
    "background",
    "stream_options",
];

/// Fields whose promise cannot be kept here, because it needs answers that are kept, tools that run here or the like.
const REFUSED: [(&str, &str); 13] = [
    ("previous_response_id", NOTHING_IS_KEPT),
    ("conversation", NOTHING_IS_KEPT),
    ("prompt", "write the prompt into `instructions` and `input`"),
    ("background_options", "ask with `stream` instead"),
    ("context_management", "shorten `input` in your own program"),
    (
        "max_tool_calls",
        "it counts built-in tools, and there are none",
    ),
    ("moderation", "ask a moderation endpoint"),
    ("access_programs", "leave it out"),
    ("image", "leave it out"),
    (
        "top_logprobs",
        "ask `/v1/chat/completions` for log probabilities",
    ),
    ("messages", "send `input`, or ask `/v1/chat/completions`"),
    ("response_format", "send `text.format`"),
    ("n", "ask once for each answer"),
];

const NOTHING_IS_KEPT: &str =
    "no response is kept here; send the whole conversation as items of `input`";

impl ResponsesRequest {
    /// Reads a request. Fields that are neither OpenAI's nor refused are kept as they are.
    ///
    /// # Errors
    /// The first field that is missing, wrong or not offered, in the notation `input[2].content`.
    pub fn parse(body: Value) -> Result<Self, InvalidRequest> {
        let body = chat_fields::body(body)?;
        refuse(&body)?;
        let mut chat = Map::new();
        let model = Node::of(&body, "model");
        chat.insert("model".into(), model.required_name()?.into());
        chat.insert("messages".into(), conversation(&body)?.into());
        fields::write(&body, &mut chat)?;
        let echo = Echo::of(&body);
        for (field, value) in body {
            if !TAKEN.contains(&field.as_str()) && !value.is_null() {
                chat.entry(field).or_insert(value);
            }
        }
        Ok(Self {
            chat: Value::Object(chat),
            echo,
        })
    }
}

/// What a field of a chat request is called here.
pub fn field_of(chat_field: &str) -> &str {
    match chat_field {
        "messages" => "input",
        "max_tokens" | "max_completion_tokens" => "max_output_tokens",
        "response_format" => "text.format",
        "reasoning_effort" => "reasoning.effort",
        other => other,
    }
}

fn refuse(body: &Map<String, Value>) -> Result<(), InvalidRequest> {
    for (field, instead) in REFUSED {
        let node = Node::of(body, field);
        if node.is_there() {
            return Err(node.unsupported(instead));
        }
    }
    // Left out, it means `true` at OpenAI. Most clients leave it out and never ask for what was kept; who says `true`
    // means to.
    let store = Node::of(body, "store");
    if store.is_true()? {
        return Err(store.wrong("`store` must be false or left out: no response is kept here"));
    }
    let background = Node::of(body, "background");
    if background.is_true()? {
        return Err(background.unsupported("ask with `stream` instead"));
    }
    let truncation = Node::of(body, "truncation");
    if truncation.text()?.is_some_and(|how| how != "disabled") {
        return Err(truncation.must_be("`disabled`, or left out"));
    }
    for include in Node::of(body, "include").items()? {
        // Reasoning comes as text or not at all: there is nothing to encrypt.
        if include.required_text()? != "reasoning.encrypted_content" {
            return Err(include.unsupported("leave it out"));
        }
    }
    Ok(())
}

fn conversation(body: &Map<String, Value>) -> Result<Vec<Value>, InvalidRequest> {
    let mut conversation = Conversation::default();
    if let Some(instructions) = Node::of(body, "instructions").text()? {
        conversation.say("system", vec![text_part(instructions)]);
    }
    let list = Node::of(body, "input");
    if let Some(text) = list.as_text() {
        conversation.say("user", vec![text_part(text)]);
        return Ok(conversation.into_messages());
    }
    let items = list.parts()?;
    if items.is_empty() {
        return Err(list.must_be("a text or a list of at least one item"));
    }
    for item in items {
        input::item(&item, &mut conversation)?;
    }
    let messages = conversation.into_messages();
    if messages.is_empty() {
        return Err(list.wrong("`input` has no message; send at least one"));
    }
    Ok(messages)
}
