//! A chat request as a Messages request.

mod turns;

use serde_json::{Map, Value, json};

/// The most tokens of an answer where the client does not say: Anthropic wants to be told, and this is what the smallest
/// of its models write at most.
const ANSWER_TOKENS_UNLESS_SAID: u64 = 4096;

/// Fields of a chat request that are written anew, or that change nothing of the answer as Anthropic gives it: hints for
/// OpenAI's own caches, records and speed, and a seed and a verbosity, which do not promise anything.
const TAKEN: [&str; 25] = [
    "model",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "user",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "n",
    "seed",
    "store",
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "verbosity",
    "prediction",
    "modalities",
];

/// Fields that Anthropic has no equal for: whether they ask for anything, and what.
const WITHOUT_EQUAL: [(&str, &str); 9] = [
    ("functions", "functions; send `tools`"),
    ("function_call", "functions; send `tools`"),
    ("logprobs", "log probabilities"),
    ("top_logprobs", "log probabilities"),
    ("logit_bias", "biased tokens"),
    ("frequency_penalty", "penalties for repetition"),
    ("presence_penalty", "penalties for repetition"),
    ("audio", SOUND),
    (WEB_SEARCH, "web search of this kind"),
];

/// What is asked for by `audio`, and by `modalities` that are more than text.
const SOUND: &str = "answers in sound";

/// The field that asks for a web search by being there, even where it is empty.
const WEB_SEARCH: &str = "web_search_options";

/// Less effort than Anthropic knows, and its least.
const MINIMAL_EFFORT: &str = "minimal";
const LEAST_EFFORT: &str = "low";

/// A request asks for something that Anthropic's dialect cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Anthropic's dialect has no {what}")]
pub struct NoEqual {
    /// What was asked for.
    pub what: &'static str,
    /// The field of the chat request that asks for it.
    pub param: &'static str,
}

impl NoEqual {
    fn at(param: &'static str, what: &'static str) -> Self {
        Self { what, param }
    }
}

/// The Messages request that asks the provider's `model` what a chat request, already checked, asks.
///
/// Fields that are none of OpenAI's are kept as they are, so that Anthropic's own can be sent.
///
/// # Errors
/// What has no equal.
pub fn messages_request(
    chat: &Map<String, Value>,
    model: &str,
) -> Result<Map<String, Value>, NoEqual> {
    refuse_what_has_no_equal(chat)?;
    let field = |name: &str| chat.get(name).filter(|value| !value.is_null());
    let mut request = Map::new();
    request.insert("model".into(), model.into());
    let most = field("max_completion_tokens").or(field("max_tokens"));
    let most = most.cloned().unwrap_or(ANSWER_TOKENS_UNLESS_SAID.into());
    request.insert("max_tokens".into(), most);
    turns::write(chat, &mut request)?;
    match field("stop") {
        Some(stop @ Value::String(_)) => request.insert("stop_sequences".into(), json!([stop])),
        Some(stops) => request.insert("stop_sequences".into(), stops.clone()),
        None => None,
    };
    if let Some(temperature) = field("temperature").and_then(Value::as_f64) {
        // OpenAI's range is twice Anthropic's; whoever asks for more gets the most that there is.
        request.insert("temperature".into(), temperature.min(1.0).into());
    }
    if let Some(user) = field("user") {
        request.insert("metadata".into(), json!({"user_id": user}));
    }
    tools(chat, &mut request)?;
    output_config(chat, &mut request)?;
    if field("stream") == Some(&Value::Bool(true)) {
        request.insert("stream".into(), true.into());
    }
    for (name, value) in chat.iter().filter(|(name, _)| is_passed_on(name)) {
        request.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(request)
}

fn is_passed_on(name: &str) -> bool {
    !TAKEN.contains(&name) && WITHOUT_EQUAL.iter().all(|(field, _)| *field != name)
}

fn refuse_what_has_no_equal(chat: &Map<String, Value>) -> Result<(), NoEqual> {
    if chat.get("n").and_then(Value::as_u64).is_some_and(|n| n > 1) {
        return Err(NoEqual::at("n", "more than one answer"));
    }
    let modalities = chat.get("modalities").and_then(Value::as_array);
    if modalities.into_iter().flatten().any(|it| it != "text") {
        return Err(NoEqual::at("modalities", SOUND));
    }
    let asks = |name: &str, value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty() || name == WEB_SEARCH,
        Value::String(word) => word != "none",
        Value::Bool(true) => true,
    };
    match WITHOUT_EQUAL
        .into_iter()
        .find(|(name, _)| chat.get(*name).is_some_and(|value| asks(name, value)))
    {
        Some((param, what)) => Err(NoEqual { what, param }),
        None => Ok(()),
    }
}

fn tools(chat: &Map<String, Value>, request: &mut Map<String, Value>) -> Result<(), NoEqual> {
    let tools = chat.get("tools").and_then(Value::as_array);
    let tools: Vec<Value> = tools
        .into_iter()
        .flatten()
        .map(tool)
        .collect::<Result<_, _>>()?;
    if tools.is_empty() {
        return Ok(());
    }
    request.insert("tools".into(), tools.into());
    let choice = match chat.get("tool_choice") {
        None | Some(Value::Null) => None,
        Some(Value::String(word)) => match word.as_str() {
            "none" => Some(json!({"type": "none"})),
            "required" => Some(json!({"type": "any"})),
            _ => Some(json!({"type": "auto"})),
        },
        Some(choice) => match choice["function"]["name"].as_str() {
            Some(name) => Some(json!({"type": "tool", "name": name})),
            None => return Err(NoEqual::at("tool_choice", "a choice of tools of this kind")),
        },
    };
    let one_at_a_time = chat.get("parallel_tool_calls") == Some(&Value::Bool(false));
    let choice = match (choice, one_at_a_time) {
        (choice, false) => choice,
        (Some(choice), true) if choice["type"] == "none" => Some(choice),
        (choice, true) => {
            let mut choice = choice.unwrap_or_else(|| json!({"type": "auto"}));
            choice["disable_parallel_tool_use"] = true.into();
            Some(choice)
        }
    };
    if let Some(choice) = choice {
        request.insert("tool_choice".into(), choice);
    }
    Ok(())
}

fn tool(tool: &Value) -> Result<Value, NoEqual> {
    let function = &tool["function"];
    let Some(name) = function["name"].as_str() else {
        return Err(NoEqual::at("tools", "tools that are no functions"));
    };
    let mut written = json!({"name": name});
    if function["description"].is_string() {
        written["description"] = function["description"].clone();
    }
    written["input_schema"] = match &function["parameters"] {
        Value::Null => json!({"type": "object", "properties": {}}),
        schema => schema.clone(),
    };
    if function["strict"].is_boolean() {
        written["strict"] = function["strict"].clone();
    }
    Ok(written)
}

fn output_config(
    chat: &Map<String, Value>,
    request: &mut Map<String, Value>,
) -> Result<(), NoEqual> {
    let mut config = Map::new();
    match chat.get("reasoning_effort").and_then(Value::as_str) {
        // It does not think unless it is asked to.
        None | Some("none") => {}
        Some(MINIMAL_EFFORT) => {
            config.insert("effort".into(), LEAST_EFFORT.into());
        }
        Some(effort) => {
            config.insert("effort".into(), effort.into());
        }
    }
    let format = chat.get("response_format").unwrap_or(&Value::Null);
    match format["type"].as_str() {
        _ if format.is_null() => {}
        Some("text") => {}
        Some("json_schema") => {
            let schema = format["json_schema"]["schema"].clone();
            config.insert(
                "format".into(),
                json!({"type": "json_schema", "schema": schema}),
            );
        }
        _ => return Err(NoEqual::at("response_format", "JSON without a schema")),
    }
    if !config.is_empty() {
        request.insert("output_config".into(), config.into());
    }
    Ok(())
}
