//! The turns of a conversation as Anthropic wants them: what a system says beside them, and user and assistant in turn.

use serde_json::{Map, Value, json};

use super::NoEqual;
use crate::dialect::arguments_as_object;

/// Writes `system` and `messages`.
pub(super) fn write(
    chat: &Map<String, Value>,
    request: &mut Map<String, Value>,
) -> Result<(), NoEqual> {
    let (mut system, mut turns) = (Vec::new(), Turns::default());
    let messages = chat.get("messages").and_then(Value::as_array);
    for message in messages.into_iter().flatten() {
        match message["role"].as_str() {
            Some("system" | "developer") => system.extend(blocks(&message["content"])?),
            Some("assistant") => {
                let mut said = blocks(&message["content"])?;
                said.extend(calls(message)?);
                turns.add("assistant", said);
            }
            Some("tool") => turns.add("user", vec![result(message)?]),
            Some("function") => return Err(NoEqual::at("messages", "results of functions")),
            _ => turns.add("user", blocks(&message["content"])?),
        }
    }
    match system.as_mut_slice() {
        [] => {}
        [only] => {
            request.insert("system".into(), only["text"].take());
        }
        _ => {
            request.insert("system".into(), system.into());
        }
    }
    request.insert("messages".into(), turns.into_messages());
    Ok(())
}

/// Turns in the making. The results of tools and what the user says then are one turn.
#[derive(Default)]
struct Turns(Vec<(&'static str, Vec<Value>)>);

impl Turns {
    fn add(&mut self, role: &'static str, blocks: Vec<Value>) {
        match self.0.last_mut() {
            Some((last, said)) if *last == role => said.extend(blocks),
            _ if blocks.is_empty() => {}
            _ => self.0.push((role, blocks)),
        }
    }

    fn into_messages(self) -> Value {
        let written = |(role, mut blocks): (&str, Vec<Value>)| {
            let content = match blocks.as_mut_slice() {
                [only] if only["type"] == "text" => only["text"].take(),
                _ => blocks.into(),
            };
            json!({"role": role, "content": content})
        };
        self.0.into_iter().map(written).collect()
    }
}

/// A content's blocks. Anthropic takes no text that is empty.
fn blocks(content: &Value) -> Result<Vec<Value>, NoEqual> {
    let text = |text: &str| (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
    match content {
        Value::String(said) => Ok(text(said).into_iter().collect()),
        Value::Array(parts) => {
            let mut blocks = Vec::new();
            for part in parts {
                match part["type"].as_str() {
                    Some("text" | "input_text") => {
                        blocks.extend(text(part["text"].as_str().unwrap_or("")));
                    }
                    Some("refusal") => blocks.extend(text(part["refusal"].as_str().unwrap_or(""))),
                    Some("image_url") => blocks.push(picture(part)?),
                    _ => {
                        let what = "content other than texts and pictures";
                        return Err(NoEqual::at("messages", what));
                    }
                }
            }
            Ok(blocks)
        }
        _ => Ok(Vec::new()),
    }
}

fn picture(part: &Value) -> Result<Value, NoEqual> {
    let url = part["image_url"]["url"].as_str().unwrap_or("");
    let Some(data) = url.strip_prefix("data:") else {
        return Ok(json!({"type": "image", "source": {"type": "url", "url": url}}));
    };
    let (media_type, data) = data.split_once(";base64,").ok_or(NoEqual::at(
        "messages",
        "pictures in `data:` URLs that are not base64",
    ))?;
    let source = json!({"type": "base64", "media_type": media_type, "data": data});
    Ok(json!({"type": "image", "source": source}))
}

fn calls(message: &Value) -> Result<Vec<Value>, NoEqual> {
    if !message["function_call"].is_null() {
        return Err(NoEqual::at("messages", "calls of functions"));
    }
    let calls = message["tool_calls"].as_array();
    let written = |call: &Value| {
        let function = &call["function"];
        let input = arguments_as_object(function["arguments"].as_str().unwrap_or(""));
        json!({"type": "tool_use", "id": call["id"], "name": function["name"], "input": input})
    };
    Ok(calls.into_iter().flatten().map(written).collect())
}

fn result(message: &Value) -> Result<Value, NoEqual> {
    let content = match &message["content"] {
        Value::Array(_) => blocks(&message["content"])?.into(),
        text => text.clone(),
    };
    let id = &message["tool_call_id"];
    Ok(json!({"type": "tool_result", "tool_use_id": id, "content": content}))
}
