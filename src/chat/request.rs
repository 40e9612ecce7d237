//! What a client asks: parsed once at the edge, kept whole for whoever passes it on.

use serde_json::{Map, Value};

use super::fields;

/// Most stop sequences that one request may carry.
pub const STOPS_MAX: usize = 16;

/// Most texts that one request may have an answer chosen from.
pub const GUIDED_CHOICES_MAX: usize = 128;

/// A chat request whose known fields have been checked.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The object as the client sent it, every field.
    pub body: Map<String, Value>,
    /// The model name asked for.
    pub model: String,
    /// The conversation, oldest turn first; never empty.
    pub messages: Vec<Message>,
    /// How the answer is to be drawn.
    pub sampling: Sampling,
    /// Answers to the one question (`n`), 1 unless asked for.
    pub choices_wanted: u32,
    /// Whether the answer is to come token by token.
    pub stream: bool,
    /// Whether a streamed answer ends with a chunk that counts tokens.
    pub include_usage: bool,
    /// The texts of which the answer is to be one (`guided_choice`, as vLLM has it); at most [`GUIDED_CHOICES_MAX`],
    /// none empty; empty: the answer is free. Local experts keep to it, remote ones as far as their server does.
    pub among: Vec<String>,
}

/// One turn of a conversation, reduced to its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text parts, joined by newlines; empty where a turn has none (a tool call, a picture alone).
    pub text: String,
    /// Whether the turn carries parts other than text: pictures, sound, files.
    pub has_other_parts: bool,
}

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the application (`system`, `developer`).
    System,
    /// The person, or the agent that speaks for one.
    User,
    /// The model.
    Assistant,
    /// The result of a tool (`tool`, `function`).
    Tool,
}

/// How an answer is drawn from a model; an absent field leaves the choice to the expert.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 (greedy) to 2.
    pub temperature: Option<f64>,
    /// Share of probability mass to draw from, 0 to 1.
    pub top_p: Option<f64>,
    /// The same seed and request give the same answer from a local expert.
    pub seed: Option<i64>,
    /// Most tokens to answer with (`max_completion_tokens`, else `max_tokens`).
    pub answer_tokens_max: Option<u32>,
    /// The answer ends before any of these texts; at most [`STOPS_MAX`], none empty.
    pub stop: Vec<String>,
    /// −2 to 2: taken off a token's logit for each time it has occurred in the answer.
    pub frequency_penalty: f64,
    /// −2 to 2: taken off a token's logit once it has occurred in the answer.
    pub presence_penalty: f64,
}

/// Why a request cannot be understood; `param` names the field in OpenAI's notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// What is wrong and what to send instead.
    pub message: String,
    /// The offending field, such as `messages[2].content`; `body` where it is the body as a whole.
    pub param: String,
}

impl InvalidRequest {
    /// A field that is wrong.
    pub(crate) fn at(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            param: param.into(),
        }
    }

    /// A body that is wrong as a whole.
    pub(crate) fn body(message: impl Into<String>) -> Self {
        Self::at("body", message)
    }
}

impl ChatRequest {
    /// Checks the known fields of a request and keeps the whole of it.
    ///
    /// # Errors
    /// The first field that is missing, of the wrong type or out of its range.
    pub fn parse(body: Value) -> Result<Self, InvalidRequest> {
        let body = fields::body(body)?;
        let stream_options = fields::object(&body, "stream_options")?;
        Ok(Self {
            model: fields::required_string(&body, "model")?,
            messages: messages(&body)?,
            sampling: Sampling::parse(&body)?,
            choices_wanted: fields::count(&body, "n")?.unwrap_or(1),
            stream: fields::bool(&body, "stream")?,
            include_usage: match stream_options {
                Some(options) => fields::bool(options, "include_usage").map_err(|mut wrong| {
                    wrong.param = "stream_options.include_usage".into();
                    wrong
                })?,
                None => false,
            },
            among: among(&body)?,
            body,
        })
    }
}

impl ChatRequest {
    /// The field that bounds the answer, of two the one that allows more; `max_tokens` where the client sent neither.
    pub fn answer_tokens_field(&self) -> &'static str {
        let most = |field: &str| self.body.get(field).and_then(Value::as_u64);
        if most("max_completion_tokens") > most("max_tokens") {
            "max_completion_tokens"
        } else {
            "max_tokens"
        }
    }

    /// By what the beginning of the conversation is to be known that other requests share (`prompt_cache_key`).
    pub fn prefix_key(&self) -> Option<&str> {
        self.body.get("prompt_cache_key").and_then(Value::as_str)
    }

    /// How many of the likeliest tokens are to be told of each token's place; none: none (`logprobs`, `top_logprobs`).
    pub fn token_choices_told(&self) -> Option<usize> {
        let most = self.body.get("top_logprobs").and_then(Value::as_u64);
        let most = usize::try_from(most.unwrap_or(0)).unwrap_or(usize::MAX);
        (self.body.get("logprobs") == Some(&Value::Bool(true))).then_some(most)
    }

    /// Bytes of all texts in the request, pictures and tools included: about as much as it takes to read or write it.
    pub fn bytes(&self) -> usize {
        self.body.values().map(text_bytes).sum()
    }
}

impl Sampling {
    /// Reads the sampling fields of a chat or a legacy completion request.
    ///
    /// # Errors
    /// The first field that is of the wrong type or out of its range.
    pub fn parse(body: &Map<String, Value>) -> Result<Self, InvalidRequest> {
        let answer_tokens_max = match fields::count(body, "max_completion_tokens")? {
            Some(most) => Some(most),
            None => fields::count(body, "max_tokens")?,
        };
        Ok(Self {
            temperature: fields::number(body, "temperature", 0.0, 2.0)?,
            top_p: fields::number(body, "top_p", 0.0, 1.0)?,
            seed: fields::integer(body, "seed")?,
            answer_tokens_max,
            stop: stops(body)?,
            frequency_penalty: fields::number(body, "frequency_penalty", -2.0, 2.0)?.unwrap_or(0.0),
            presence_penalty: fields::number(body, "presence_penalty", -2.0, 2.0)?.unwrap_or(0.0),
        })
    }
}

fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.values().map(text_bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

fn stops(body: &Map<String, Value>) -> Result<Vec<String>, InvalidRequest> {
    let wrong = || {
        InvalidRequest::at(
            "stop",
            format!("`stop` must be a text or up to {STOPS_MAX} texts, none empty"),
        )
    };
    let stops = match body.get("stop") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => stops
            .iter()
            .map(|stop| stop.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        Some(_) => return Err(wrong()),
    };
    let fine = stops.len() <= STOPS_MAX && stops.iter().all(|stop| !stop.is_empty());
    if fine { Ok(stops) } else { Err(wrong()) }
}

fn among(body: &Map<String, Value>) -> Result<Vec<String>, InvalidRequest> {
    let wrong = || {
        let message = format!(
            "`guided_choice` must be a list of up to {GUIDED_CHOICES_MAX} texts, none empty"
        );
        InvalidRequest::at("guided_choice", message)
    };
    let texts = match body.get("guided_choice") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(texts)) => texts.iter().map(|text| text.as_str().map(str::to_owned)),
        Some(_) => return Err(wrong()),
    };
    let texts: Vec<String> = texts.collect::<Option<_>>().ok_or_else(wrong)?;
    let is_fine = (1..=GUIDED_CHOICES_MAX).contains(&texts.len())
        && texts.iter().all(|text| !text.is_empty());
    if is_fine { Ok(texts) } else { Err(wrong()) }
}

fn messages(body: &Map<String, Value>) -> Result<Vec<Message>, InvalidRequest> {
    let list = match body.get("messages") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(Value::Array(_)) => {
            return Err(InvalidRequest::at(
                "messages",
                "`messages` is empty; send at least one message",
            ));
        }
        Some(_) => {
            return Err(InvalidRequest::at(
                "messages",
                "`messages` must be a list of messages",
            ));
        }
        None => {
            return Err(InvalidRequest::at(
                "messages",
                "`messages` is missing; send a list of messages",
            ));
        }
    };
    list.iter()
        .enumerate()
        .map(|(at, message)| Message::parse(at, message))
        .collect()
}

impl Message {
    fn parse(at: usize, message: &Value) -> Result<Self, InvalidRequest> {
        let Value::Object(message) = message else {
            return Err(InvalidRequest::at(
                format!("messages[{at}]"),
                "a message must be an object with `role` and `content`",
            ));
        };
        let role = message
            .get("role")
            .and_then(Value::as_str)
            .and_then(Role::parse)
            .ok_or_else(|| {
                InvalidRequest::at(
                    format!("messages[{at}].role"),
                    "`role` must be one of system, developer, user, assistant, tool, function",
                )
            })?;
        let content_param = || format!("messages[{at}].content");
        match message.get("content") {
            Some(Value::String(text)) => Ok(Self {
                role,
                text: text.clone(),
                has_other_parts: false,
            }),
            Some(Value::Array(parts)) if parts.is_empty() => Err(InvalidRequest::at(
                content_param(),
                "`content` is an empty list; send a text or at least one content part",
            )),
            Some(Value::Array(parts)) => {
                let (text, has_other_parts) = text_parts(parts)
                    .ok_or_else(|| InvalidRequest::at(content_param(), "each content part must be an object with a `type`; a text part has a `text`"))?;
                Ok(Self {
                    role,
                    text,
                    has_other_parts,
                })
            }
            None | Some(Value::Null) if matches!(role, Role::Assistant | Role::Tool) => Ok(Self {
                role,
                text: String::new(),
                has_other_parts: false,
            }),
            _ => Err(InvalidRequest::at(
                content_param(),
                "`content` must be a text or a list of content parts",
            )),
        }
    }
}

fn text_parts(parts: &[Value]) -> Option<(String, bool)> {
    let mut texts = Vec::new();
    let mut has_other_parts = false;
    for part in parts {
        match part.get("type")?.as_str()? {
            "text" | "input_text" => texts.push(part.get("text")?.as_str()?),
            _ => has_other_parts = true,
        }
    }
    Some((texts.join("\n"), has_other_parts))
}

impl Role {
    fn parse(role: &str) -> Option<Self> {
        Some(match role {
            "system" | "developer" => Self::System,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "tool" | "function" => Self::Tool,
            _ => return None,
        })
    }

    /// The word that chat templates know the role by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(change: Value) -> InvalidRequest {
        let mut body = json!({"model": "coterie", "messages": [{"role": "user", "content": "hi"}]});
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        ChatRequest::parse(body).unwrap_err()
    }

    #[test]
    fn every_wrong_field_is_named() {
        let cases = [
            (json!({"model": null}), "model"),
            (json!({"model": 3}), "model"),
            (json!({"messages": []}), "messages"),
            (json!({"messages": "hi"}), "messages"),
            (
                json!({"messages": [{"role": "user", "content": "a"}, 7]}),
                "messages[1]",
            ),
            (
                json!({"messages": [{"role": "robot", "content": "a"}]}),
                "messages[0].role",
            ),
            (
                json!({"messages": [{"role": "user"}]}),
                "messages[0].content",
            ),
            (
                json!({"messages": [{"role": "user", "content": [{"text": "a"}]}]}),
                "messages[0].content",
            ),
            (
                json!({"messages": [{"role": "user", "content": []}]}),
                "messages[0].content",
            ),
            (json!({"temperature": 2.5}), "temperature"),
            (json!({"top_p": "1"}), "top_p"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (
                json!({"max_completion_tokens": -1}),
                "max_completion_tokens",
            ),
            (json!({"seed": 1.5}), "seed"),
            (json!({"n": "two"}), "n"),
            (json!({"n": 0}), "n"),
            (json!({"stop": [""]}), "stop"),
            (json!({"stop": vec!["x"; STOPS_MAX + 1]}), "stop"),
            (json!({"stream": "yes"}), "stream"),
            (
                json!({"stream_options": {"include_usage": 1}}),
                "stream_options.include_usage",
            ),
            (json!({"presence_penalty": 9}), "presence_penalty"),
        ];
        for (change, param) in cases {
            assert_eq!(refused(change).param, param);
        }
        assert_eq!(ChatRequest::parse(json!([])).unwrap_err().param, "body");
    }

    #[test]
    fn numbers_are_told_their_bounds() {
        for (change, message) in [
            (
                json!({"seed": 1_u64 << 63}),
                "`seed` must be a whole number from -9223372036854775808 to 9223372036854775807",
            ),
            (
                json!({"max_tokens": 1_u64 << 32}),
                "`max_tokens` must be a whole number from 1 to 4294967295",
            ),
        ] {
            assert_eq!(refused(change).message, message);
        }
    }

    #[test]
    fn an_empty_text_is_a_text() {
        let body = json!({"model": "coterie", "messages": [{"role": "user", "content": ""}]});
        assert_eq!(ChatRequest::parse(body).unwrap().messages[0].text, "");
    }

    #[test]
    fn a_request_is_kept_whole() {
        let body = json!({
            "model": "coterie",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is"},
                    {"type": "image_url", "image_url": {"url": "data:"}},
                    {"type": "text", "text": "this?"},
                ]},
                {"role": "assistant", "content": null, "tool_calls": []},
            ],
            "stop": "END",
            "max_tokens": 5,
            "max_completion_tokens": 9,
            "temperature": null,
            "house_field": {"a": [1]},
        });
        let request = ChatRequest::parse(body.clone()).unwrap();
        assert_eq!(Value::Object(request.body.clone()), body);
        assert_eq!(request.messages[1].text, "What is\nthis?");
        assert!(request.messages[1].has_other_parts);
        assert_eq!(request.messages[2].text, "");
        assert_eq!(request.sampling.answer_tokens_max, Some(9));
        assert_eq!(request.sampling.stop, ["END"]);
        assert_eq!(request.sampling.temperature, None);
    }
}
