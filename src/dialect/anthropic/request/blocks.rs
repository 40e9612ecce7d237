//! Content blocks as the parts of chat turns.

use serde_json::{Value, json};

use crate::{
    chat::InvalidRequest,
    dialect::{
        conversation::{Conversation, picture_part, text_part},
        node::Node,
    },
};

/// A turn of the user: the results of tools first, then what was said.
pub(super) fn user(content: &Node<'_>, into: &mut Conversation) -> Result<(), InvalidRequest> {
    if let Some(text) = content.as_text() {
        into.say("user", vec![text_part(text)]);
        return Ok(());
    }
    let mut said = Vec::new();
    for block in blocks(content)? {
        match block.at("type").required_text()? {
            "tool_result" => tool_result(&block, into)?,
            _ => said.push(shown(&block)?),
        }
    }
    into.say("user", said);
    Ok(())
}

/// A turn of the assistant. What it thought is left out: the signature means something to the model that thought it alone.
pub(super) fn assistant(content: &Node<'_>, into: &mut Conversation) -> Result<(), InvalidRequest> {
    if let Some(text) = content.as_text() {
        into.say("assistant", vec![text_part(text)]);
        return Ok(());
    }
    let (mut said, mut calls) = (Vec::new(), Vec::new());
    for block in blocks(content)? {
        let kind = block.at("type");
        match kind.required_text()? {
            "text" => said.push(text_part(block.at("text").required_text()?)),
            "tool_use" => calls.push(block),
            "thinking" | "redacted_thinking" => {}
            _ => return Err(kind.unsupported("send `text`, `tool_use` or `thinking`")),
        }
    }
    into.say("assistant", said);
    for call in calls {
        let input = call.at("input");
        let arguments = input.object()?.ok_or_else(|| input.must_be("an object"))?;
        into.call(
            call.at("id").required_name()?,
            call.at("name").required_name()?,
            &Value::Object(arguments.clone()).to_string(),
        );
    }
    Ok(())
}

fn blocks<'v>(content: &Node<'v>) -> Result<Vec<Node<'v>>, InvalidRequest> {
    let blocks = content.parts()?;
    if blocks.is_empty() {
        return Err(content.must_be("a text or a list of at least one block"));
    }
    Ok(blocks)
}

/// Something that a person shows: a text, a picture, a document.
fn shown(block: &Node<'_>) -> Result<Value, InvalidRequest> {
    let kind = block.at("type");
    match kind.required_text()? {
        "text" => Ok(text_part(block.at("text").required_text()?)),
        "image" => picture(&block.at("source")),
        "document" => document(block),
        _ => Err(kind.unsupported("send `text`, `image`, `document` or `tool_result`")),
    }
}

fn picture(source: &Node<'_>) -> Result<Value, InvalidRequest> {
    let kind = source.at("type");
    match kind.required_text()? {
        "base64" => Ok(picture_part(&data_url(source)?)),
        "url" => Ok(picture_part(source.at("url").required_name()?)),
        _ => Err(kind.unsupported("send `base64` or `url`")),
    }
}

fn document(block: &Node<'_>) -> Result<Value, InvalidRequest> {
    let source = block.at("source");
    let kind = source.at("type");
    match kind.required_text()? {
        "text" => Ok(text_part(source.at("data").required_text()?)),
        "base64" => {
            let name = block.at("title").text()?.unwrap_or("document.pdf");
            Ok(json!({"type": "file", "file": {"filename": name, "file_data": data_url(&source)?}}))
        }
        _ => Err(kind.unsupported("send `text` or `base64`")),
    }
}

fn data_url(source: &Node<'_>) -> Result<String, InvalidRequest> {
    let media_type = source.at("media_type").required_name()?;
    let data = source.at("data").required_name()?;
    Ok(format!("data:{media_type};base64,{data}"))
}

/// The result of a tool. Chat completions have no place for the fact that it is an error: the text says so.
fn tool_result(block: &Node<'_>, into: &mut Conversation) -> Result<(), InvalidRequest> {
    let id = block.at("tool_use_id").required_name()?;
    let content = block.at("content");
    let (mut texts, mut pictures) = (Vec::new(), Vec::new());
    if let Some(text) = content.as_text() {
        texts.push(text.to_owned());
    } else {
        for part in content.parts()? {
            let kind = part.at("type");
            match kind.required_text()? {
                "text" => texts.push(part.at("text").required_text()?.to_owned()),
                "image" => pictures.push(picture(&part.at("source"))?),
                _ => return Err(kind.unsupported("send `text` or `image`")),
            }
        }
    }
    if block.at("is_error").is_true()? {
        texts.insert(0, "Error:".to_owned());
    }
    into.result(id, texts.join("\n"), pictures);
    Ok(())
}
