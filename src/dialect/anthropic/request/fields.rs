//! The fields of a request beside its conversation.

use serde_json::{Map, Value, json};

use crate::{
    chat::{InvalidRequest, STOPS_MAX, fields},
    dialect::{anthropic::Thinking, node::Node},
};

type Body = Map<String, Value>;

/// Writes them as those of a chat request.
pub(super) fn write(body: &Body, chat: &mut Body) -> Result<Thinking, InvalidRequest> {
    let most = fields::count(body, "max_tokens")?;
    let most =
        most.ok_or_else(|| Node::of(body, "max_tokens").must_be("a whole number above 0"))?;
    chat.insert("max_completion_tokens".into(), most.into());
    // Anthropic's range is half of OpenAI's.
    fields::number(body, "temperature", 0.0, 1.0)?;
    if let Some(stops) = stops(&Node::of(body, "stop_sequences"))? {
        chat.insert("stop".into(), stops);
    }
    if let Some(user) = user(&Node::of(body, "metadata"))? {
        chat.insert("user".into(), user.into());
    }
    let tools = tools(&Node::of(body, "tools"))?;
    if !tools.is_empty() {
        chat.insert("tools".into(), tools.into());
    }
    tool_choice(&Node::of(body, "tool_choice"), chat)?;
    output_config(&Node::of(body, "output_config"), chat)?;
    thinking(&Node::of(body, "thinking"))
}

fn stops(node: &Node<'_>) -> Result<Option<Value>, InvalidRequest> {
    let stops = node.items()?;
    if stops.len() > STOPS_MAX {
        return Err(node.must_be(&format!("a list of at most {STOPS_MAX} texts")));
    }
    for stop in &stops {
        stop.required_name()?;
    }
    Ok((!stops.is_empty()).then(|| node.value()))
}

fn user<'v>(metadata: &Node<'v>) -> Result<Option<&'v str>, InvalidRequest> {
    metadata.object()?;
    metadata.at("user_id").text()
}

fn tools(list: &Node<'_>) -> Result<Vec<Value>, InvalidRequest> {
    list.items()?.iter().map(tool).collect()
}

/// A tool that the client itself runs. Those that Anthropic runs have another type.
fn tool(tool: &Node<'_>) -> Result<Value, InvalidRequest> {
    tool.object()?;
    let kind = tool.at("type");
    if kind.text()?.is_some_and(|kind| kind != "custom") {
        return Err(kind.unsupported("only tools that your own program runs are; leave `type` out"));
    }
    let schema = tool.at("input_schema");
    schema
        .object()?
        .ok_or_else(|| schema.must_be("an object"))?;
    let mut function = json!({"name": tool.at("name").required_name()?});
    if let Some(description) = tool.at("description").text()? {
        function["description"] = description.into();
    }
    function["parameters"] = schema.value();
    let strict = tool.at("strict");
    if strict.is_there() {
        function["strict"] = strict.is_true()?.into();
    }
    Ok(json!({"type": "function", "function": function}))
}

fn tool_choice(choice: &Node<'_>, chat: &mut Body) -> Result<(), InvalidRequest> {
    if choice.object()?.is_none() {
        return Ok(());
    }
    let kind = choice.at("type");
    let chosen = match kind.required_text()? {
        "auto" => json!("auto"),
        "any" => json!("required"),
        "none" => json!("none"),
        "tool" => {
            json!({"type": "function", "function": {"name": choice.at("name").required_name()?}})
        }
        _ => return Err(kind.must_be("`auto`, `any`, `tool` or `none`")),
    };
    chat.insert("tool_choice".into(), chosen);
    if choice.at("disable_parallel_tool_use").is_true()? {
        chat.insert("parallel_tool_calls".into(), false.into());
    }
    Ok(())
}

fn output_config(config: &Node<'_>, chat: &mut Body) -> Result<(), InvalidRequest> {
    config.object()?;
    if let Some(effort) = config.at("effort").text()? {
        chat.insert("reasoning_effort".into(), effort.into());
    }
    let format = config.at("format");
    if format.object()?.is_some() {
        let kind = format.at("type");
        if kind.required_text()? != "json_schema" {
            return Err(kind.must_be("`json_schema`"));
        }
        let schema = format.at("schema");
        schema
            .object()?
            .ok_or_else(|| schema.must_be("an object"))?;
        let named = json!({"name": "answer", "schema": schema.value(), "strict": true});
        let format = json!({"type": "json_schema", "json_schema": named});
        chat.insert("response_format".into(), format);
    }
    Ok(())
}

/// Whether to show what the model thinks. How much it thinks is the expert's own: chat completions have no budget for it.
fn thinking(config: &Node<'_>) -> Result<Thinking, InvalidRequest> {
    if config.object()?.is_none() {
        return Ok(Thinking::Hidden);
    }
    let is_omitted = config.at("display").text()? == Some("omitted");
    Ok(match config.at("type").required_text()? {
        "disabled" => Thinking::Hidden,
        _ if is_omitted => Thinking::Hidden,
        _ => Thinking::Shown,
    })
}
