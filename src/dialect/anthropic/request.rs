//! A Messages request as a chat request.

mod blocks;
mod fields;

use serde_json::{Map, Value};

use super::Thinking;
use crate::{
    chat::{InvalidRequest, fields as chat_fields},
    dialect::{
        conversation::{Conversation, text_part},
        node::Node,
    },
};

/// A Messages request, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagesRequest {
    /// The chat request that asks the same.
    pub chat: Value,
    /// Whether the client sees what the model thinks.
    pub thinking: Thinking,
}

/// Fields that are written anew, or that change nothing of the answer: hints for Anthropic's own caches, tiers and
/// housekeeping.
const TAKEN: [&str; 16] = [
    "messages",
    "system",
    "max_tokens",
    "stop_sequences",
    "tools",
    "tool_choice",
    "metadata",
    "thinking",
    "output_config",
    "cache_control",
    "context_management",
    "service_tier",
    "speed",
    "diagnostics",
    "user_profile_id",
    "workspace_id",
];

/// Fields whose promise cannot be kept here.
const REFUSED: [(&str, &str); 4] = [
    ("container", "nothing is run for the model here"),
    ("mcp_servers", "call the servers from your own program"),
    ("inference_geo", "experts are where the configuration says"),
    ("n", "ask once for each answer"),
];

impl MessagesRequest {
    /// Reads a request. Fields that are neither Anthropic's nor refused are kept as they are.
    ///
    /// # Errors
    /// The first field that is missing, wrong or not offered, in the notation `messages[2].content`.
    pub fn parse(body: Value) -> Result<Self, InvalidRequest> {
        let body = chat_fields::body(body)?;
        for (field, instead) in REFUSED {
            let node = Node::of(&body, field);
            if node.is_there() {
                return Err(node.unsupported(instead));
            }
        }
        let mut chat = Map::new();
        let model = Node::of(&body, "model");
        chat.insert("model".into(), model.required_name()?.into());
        chat.insert("messages".into(), conversation(&body)?.into());
        let thinking = fields::write(&body, &mut chat)?;
        for (field, value) in body {
            if !TAKEN.contains(&field.as_str()) && !value.is_null() {
                chat.entry(field).or_insert(value);
            }
        }
        Ok(Self {
            chat: Value::Object(chat),
            thinking,
        })
    }
}

fn conversation(body: &Map<String, Value>) -> Result<Vec<Value>, InvalidRequest> {
    let mut conversation = Conversation::default();
    conversation.say("system", texts(&Node::of(body, "system"))?);
    let list = Node::of(body, "messages");
    let messages = list.items()?;
    if messages.is_empty() {
        return Err(list.must_be("a list of at least one message"));
    }
    for message in messages {
        message.object()?;
        let (role, content) = (message.at("role"), message.at("content"));
        match role.required_text()? {
            "user" => blocks::user(&content, &mut conversation)?,
            "assistant" => blocks::assistant(&content, &mut conversation)?,
            "system" => conversation.say("system", texts(&content)?),
            _ => return Err(role.must_be("`user`, `assistant` or `system`")),
        }
    }
    Ok(conversation.into_messages())
}

/// A text, or a list of text blocks.
fn texts(content: &Node<'_>) -> Result<Vec<Value>, InvalidRequest> {
    if let Some(text) = content.as_text() {
        return Ok(vec![text_part(text)]);
    }
    let mut parts = Vec::new();
    for block in content.parts()? {
        let kind = block.at("type");
        if kind.required_text()? != "text" {
            return Err(kind.must_be("`text`"));
        }
        parts.push(text_part(block.at("text").required_text()?));
    }
    Ok(parts)
}
