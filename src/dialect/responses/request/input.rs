//! Input items as the turns of a chat request.

use serde_json::{Value, json};

use crate::{
    chat::InvalidRequest,
    dialect::{
        conversation::{Conversation, picture_part, text_part},
        node::Node,
    },
};

/// Adds what an item stands for.
pub(super) fn item(item: &Node<'_>, into: &mut Conversation) -> Result<(), InvalidRequest> {
    item.object()?;
    let kind = item.at("type");
    // A message may leave its type out.
    match kind.text()?.unwrap_or("message") {
        "message" => message(item, into),
        "function_call" => {
            let (id, name) = (item.at("call_id"), item.at("name"));
            let arguments = item.at("arguments").required_text()?;
            into.call(id.required_name()?, name.required_name()?, arguments);
            Ok(())
        }
        "function_call_output" => output(item, into),
        // What a model thought means something to itself alone.
        "reasoning" => Ok(()),
        "item_reference" => Err(kind.unsupported("no response is kept here; send the item itself")),
        _ => Err(kind
            .unsupported("send `message`, `function_call`, `function_call_output` or `reasoning`")),
    }
}

fn message(item: &Node<'_>, into: &mut Conversation) -> Result<(), InvalidRequest> {
    let (role, content) = (item.at("role"), item.at("content"));
    let role = match role.required_text()? {
        // The older word, which every endpoint knows.
        "developer" | "system" => "system",
        "user" => "user",
        "assistant" => "assistant",
        _ => return Err(role.must_be("`user`, `assistant`, `system` or `developer`")),
    };
    if let Some(text) = content.as_text() {
        into.say(role, vec![text_part(text)]);
        return Ok(());
    }
    let parts = content.parts()?;
    if parts.is_empty() {
        return Err(content.must_be("a text or a list of at least one part"));
    }
    into.say(role, parts.iter().map(part).collect::<Result<_, _>>()?);
    Ok(())
}

fn part(part: &Node<'_>) -> Result<Value, InvalidRequest> {
    part.object()?;
    let kind = part.at("type");
    match kind.required_text()? {
        "input_text" | "output_text" => Ok(text_part(part.at("text").required_text()?)),
        "refusal" => Ok(text_part(part.at("refusal").required_text()?)),
        "input_image" => picture(part),
        "input_file" => file(part),
        _ => {
            Err(kind.unsupported("send `input_text`, `input_image`, `input_file` or `output_text`"))
        }
    }
}

fn picture(part: &Node<'_>) -> Result<Value, InvalidRequest> {
    refuse_kept_file(part)?;
    let mut picture = picture_part(part.at("image_url").required_name()?);
    if let Some(detail) = part.at("detail").text()? {
        picture["image_url"]["detail"] = detail.into();
    }
    Ok(picture)
}

fn file(part: &Node<'_>) -> Result<Value, InvalidRequest> {
    refuse_kept_file(part)?;
    let url = part.at("file_url");
    if url.is_there() {
        return Err(url.unsupported("send the file itself as `file_data`"));
    }
    let data = part.at("file_data").required_name()?;
    let name = part.at("filename").text()?.unwrap_or("file");
    Ok(json!({"type": "file", "file": {"filename": name, "file_data": data}}))
}

fn refuse_kept_file(part: &Node<'_>) -> Result<(), InvalidRequest> {
    let id = part.at("file_id");
    if id.is_there() {
        return Err(id.unsupported("no file is kept here; send the data itself"));
    }
    Ok(())
}

/// The result of a tool.
fn output(item: &Node<'_>, into: &mut Conversation) -> Result<(), InvalidRequest> {
    let id = item.at("call_id").required_name()?;
    let output = item.at("output");
    if !output.is_there() {
        return Err(output.must_be("a text or a list of parts"));
    }
    let (mut texts, mut pictures) = (Vec::new(), Vec::new());
    if let Some(text) = output.as_text() {
        texts.push(text);
    } else {
        for part in output.parts()? {
            let kind = part.at("type");
            match kind.required_text()? {
                "input_text" => texts.push(part.at("text").required_text()?),
                "input_image" => pictures.push(picture(&part)?),
                _ => return Err(kind.unsupported("send `input_text` or `input_image`")),
            }
        }
    }
    into.result(id, texts.join("\n"), pictures);
    Ok(())
}
