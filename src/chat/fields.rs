//! Readers of single fields of a request: `null` counts as absent, as OpenAI's clients send it.

use serde_json::{Map, Value, json};

use super::InvalidRequest;

type Body = Map<String, Value>;

/// The whole body, which must be an object.
pub(crate) fn body(body: Value) -> Result<Body, InvalidRequest> {
    match body {
        Value::Object(body) => Ok(body),
        _ => Err(InvalidRequest::body("the body must be a JSON object")),
    }
}

/// Turns a `text` into the conversation of one turn that it stands for; `messages` may be there instead.
pub(crate) fn text_as_messages(body: &mut Body) -> Result<(), InvalidRequest> {
    let has_messages = body.contains_key("messages");
    match body.remove("text").filter(|text| !text.is_null()) {
        Some(_) if has_messages => {
            let message = "`text` and `messages` are both there; send one of them";
            Err(InvalidRequest::at("text", message))
        }
        Some(text) if text.is_string() => {
            let conversation = json!([{"role": "user", "content": text}]);
            body.insert("messages".into(), conversation);
            Ok(())
        }
        Some(_) => Err(InvalidRequest::at("text", "`text` must be a text")),
        None if has_messages => Ok(()),
        None => {
            let message = "the question is missing; send `text` or `messages`";
            Err(InvalidRequest::at("messages", message))
        }
    }
}

fn present<'b>(body: &'b Body, name: &str) -> Option<&'b Value> {
    body.get(name).filter(|value| !value.is_null())
}

pub(crate) fn required_string(body: &Body, name: &str) -> Result<String, InvalidRequest> {
    string(body, name)?.ok_or_else(|| InvalidRequest::at(name, format!("`{name}` is missing")))
}

pub(crate) fn string(body: &Body, name: &str) -> Result<Option<String>, InvalidRequest> {
    match present(body, name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => {
            let message = format!("`{name}` must be a text that is not empty");
            Err(InvalidRequest::at(name, message))
        }
    }
}

pub(crate) fn bool(body: &Body, name: &str) -> Result<bool, InvalidRequest> {
    match present(body, name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(InvalidRequest::at(
            name,
            format!("`{name}` must be true or false"),
        )),
    }
}

pub(crate) fn object<'b>(body: &'b Body, name: &str) -> Result<Option<&'b Body>, InvalidRequest> {
    match present(body, name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(InvalidRequest::at(
            name,
            format!("`{name}` must be an object"),
        )),
    }
}

pub(crate) fn number(
    body: &Body,
    name: &str,
    least: f64,
    most: f64,
) -> Result<Option<f64>, InvalidRequest> {
    let Some(value) = present(body, name) else {
        return Ok(None);
    };
    match value.as_f64() {
        Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(InvalidRequest::at(
            name,
            format!("`{name}` must be a number from {least} to {most}"),
        )),
    }
}

pub(crate) fn integer(body: &Body, name: &str) -> Result<Option<i64>, InvalidRequest> {
    let Some(value) = present(body, name) else {
        return Ok(None);
    };
    match value.as_i64() {
        Some(number) => Ok(Some(number)),
        None => Err(InvalidRequest::at(
            name,
            format!(
                "`{name}` must be a whole number from {} to {}",
                i64::MIN,
                i64::MAX
            ),
        )),
    }
}

pub(crate) fn count(body: &Body, name: &str) -> Result<Option<u32>, InvalidRequest> {
    let Some(value) = present(body, name) else {
        return Ok(None);
    };
    match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
        Some(number) if number > 0 => Ok(Some(number)),
        _ => Err(InvalidRequest::at(
            name,
            format!("`{name}` must be a whole number from 1 to {}", u32::MAX),
        )),
    }
}
