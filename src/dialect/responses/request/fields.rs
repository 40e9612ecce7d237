//! The fields of a request beside its conversation.

use serde_json::{Map, Value, json};

use crate::{
    chat::{InvalidRequest, fields},
    dialect::node::Node,
};

type Body = Map<String, Value>;

/// Writes them as those of a chat request.
pub(super) fn write(body: &Body, chat: &mut Body) -> Result<(), InvalidRequest> {
    if let Some(most) = fields::count(body, "max_output_tokens")? {
        chat.insert("max_completion_tokens".into(), most.into());
    }
    let tools = Node::of(body, "tools").items()?;
    let tools: Vec<Value> = tools.iter().map(tool).collect::<Result<_, _>>()?;
    if !tools.is_empty() {
        chat.insert("tools".into(), tools.into());
    }
    if let Some(choice) = tool_choice(&Node::of(body, "tool_choice"))? {
        chat.insert("tool_choice".into(), choice);
    }
    // Checked alone: the field has the same name there.
    Node::of(body, "parallel_tool_calls").is_true()?;
    text(&Node::of(body, "text"), chat)?;
    let reasoning = Node::of(body, "reasoning");
    reasoning.object()?;
    if let Some(effort) = reasoning.at("effort").text()? {
        chat.insert("reasoning_effort".into(), effort.into());
    }
    metadata(&Node::of(body, "metadata"))?;
    let stream_options = Node::of(body, "stream_options");
    stream_options.object()?;
    stream_options.at("include_obfuscation").is_true()?;
    Ok(())
}

/// A function of the client. What OpenAI runs itself, and text of a grammar, has another type.
fn tool(tool: &Node<'_>) -> Result<Value, InvalidRequest> {
    tool.object()?;
    let kind = tool.at("type");
    if kind.required_text()? != "function" {
        return Err(kind.unsupported("built-in tools are not; send `function` tools"));
    }
    let mut function = json!({"name": tool.at("name").required_name()?});
    if let Some(description) = tool.at("description").text()? {
        function["description"] = description.into();
    }
    let parameters = tool.at("parameters");
    if parameters.object()?.is_some() {
        function["parameters"] = parameters.value();
    }
    let strict = tool.at("strict");
    if strict.is_there() {
        function["strict"] = strict.is_true()?.into();
    }
    Ok(json!({"type": "function", "function": function}))
}

fn tool_choice(choice: &Node<'_>) -> Result<Option<Value>, InvalidRequest> {
    if let Some(word) = choice.as_text() {
        return match word {
            "none" | "auto" | "required" => Ok(Some(word.into())),
            _ => Err(choice.must_be("`none`, `auto`, `required` or a function")),
        };
    }
    if choice.object()?.is_none() {
        return Ok(None);
    }
    let kind = choice.at("type");
    if kind.required_text()? != "function" {
        return Err(kind.unsupported("send `none`, `auto`, `required` or a function"));
    }
    let name = choice.at("name").required_name()?;
    Ok(Some(
        json!({"type": "function", "function": {"name": name}}),
    ))
}

fn text(text: &Node<'_>, chat: &mut Body) -> Result<(), InvalidRequest> {
    text.object()?;
    if let Some(verbosity) = text.at("verbosity").text()? {
        chat.insert("verbosity".into(), verbosity.into());
    }
    let format = text.at("format");
    if format.object()?.is_none() {
        return Ok(());
    }
    let kind = format.at("type");
    match kind.required_text()? {
        "text" => {}
        "json_object" => {
            chat.insert("response_format".into(), json!({"type": "json_object"}));
        }
        "json_schema" => {
            let format = json!({"type": "json_schema", "json_schema": schema(&format)?});
            chat.insert("response_format".into(), format);
        }
        _ => return Err(kind.must_be("`text`, `json_object` or `json_schema`")),
    }
    Ok(())
}

fn schema(format: &Node<'_>) -> Result<Value, InvalidRequest> {
    let schema = format.at("schema");
    schema
        .object()?
        .ok_or_else(|| schema.must_be("an object"))?;
    let mut named = json!({"name": format.at("name").required_name()?});
    if let Some(description) = format.at("description").text()? {
        named["description"] = description.into();
    }
    named["schema"] = schema.value();
    let strict = format.at("strict");
    if strict.is_there() {
        named["strict"] = strict.is_true()?.into();
    }
    Ok(named)
}

fn metadata(metadata: &Node<'_>) -> Result<(), InvalidRequest> {
    let entries = metadata.object()?.into_iter().flatten();
    for (name, _) in entries {
        metadata.at(name).required_text()?;
    }
    Ok(())
}
