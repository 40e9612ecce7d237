//! Messages and their events as chat answers and chunks.

use serde_json::{Map, Value, json};

use crate::{
    chat::{Chunk, Completion},
    dialect::anthropic::{stop, usage::Counts},
};

/// A whole Message as a chat answer; none where it is no Message.
pub fn completion(message: &Map<String, Value>, created_s: i64) -> Option<Completion> {
    let blocks = message.get("content")?.as_array()?;
    let text_of = |kind: &str, field: &str| {
        let of_kind = blocks.iter().filter(|block| block["type"] == kind);
        let texts: String = of_kind.filter_map(|block| block[field].as_str()).collect();
        (!texts.is_empty()).then_some(texts)
    };
    let mut answer = json!({"role": "assistant", "content": text_of("text", "text")});
    if let Some(thought) = text_of("thinking", "thinking") {
        answer["reasoning_content"] = thought.into();
    }
    let uses = blocks.iter().filter(|block| block["type"] == "tool_use");
    let calls: Vec<Value> = uses
        .map(|block| call(block, &block["input"].to_string()))
        .collect();
    if !calls.is_empty() {
        answer["tool_calls"] = calls.into();
    }
    let mut choice = json!({"index": 0, "message": answer, "logprobs": null});
    finish(&mut choice, message);
    let mut counts = Counts::default();
    counts.saw(message.get("usage"));
    let mut object = json!({
        "id": message.get("id"),
        "object": "chat.completion",
        "created": created_s,
        "model": message.get("model"),
        "choices": [choice],
    });
    if let Some(usage) = counts.to_chat() {
        object["usage"] = usage;
    }
    object.as_object().cloned().map(Completion::from_object)
}

fn call(block: &Value, arguments: &str) -> Value {
    let function = json!({"name": block["name"], "arguments": arguments});
    json!({"id": block["id"], "type": "function", "function": function})
}

/// Writes why an answer ended.
fn finish(choice: &mut Value, stopped: &Map<String, Value>) {
    let reason = stopped.get("stop_reason").and_then(Value::as_str);
    choice["finish_reason"] = json!(reason.map(stop::to_chat));
    if let Some(sequence @ Value::String(_)) = stopped.get("stop_sequence") {
        choice["stop_reason"] = sequence.clone();
    }
}

/// What an event means.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// These chunks, in this order; none where it says nothing that a chat answer has a place for.
    Chunks(Vec<Chunk>),
    /// The answer is over.
    Done,
}

/// Reads the events of one Message. Those that report an error are for whoever knows errors.
#[derive(Debug)]
pub struct MessageReader {
    created_s: i64,
    id: Value,
    model: Value,
    counts: Counts,
    /// Tool calls that were begun.
    calls: u64,
    /// The input of the call that is open, until a piece of it comes by itself.
    input: Option<Value>,
}

impl MessageReader {
    /// Begins an answer that was made at this time, in seconds since 1970.
    pub fn new(created_s: i64) -> Self {
        Self {
            created_s,
            id: Value::Null,
            model: Value::Null,
            counts: Counts::default(),
            calls: 0,
            input: None,
        }
    }

    /// Reads an event's object. Kinds of event that are not known say nothing, as Anthropic asks of its clients.
    pub fn read(&mut self, event: &Map<String, Value>) -> Meaning {
        let field = |name: &str| event.get(name).unwrap_or(&Value::Null);
        Meaning::Chunks(match field("type").as_str() {
            Some("message_start") => self.begin(field("message")),
            Some("content_block_start") => self.begin_block(field("content_block")),
            Some("content_block_delta") => self.grow(field("delta")),
            Some("content_block_stop") => self.end_block(),
            Some("message_delta") => self.end(field("delta"), event.get("usage")),
            Some("message_stop") => return Meaning::Done,
            _ => Vec::new(),
        })
    }

    fn begin(&mut self, message: &Value) -> Vec<Chunk> {
        self.id = message["id"].clone();
        self.model = message["model"].clone();
        self.counts.saw(message.get("usage"));
        vec![self.delta(json!({"role": "assistant", "content": ""}))]
    }

    fn begin_block(&mut self, block: &Value) -> Vec<Chunk> {
        if block["type"] != "tool_use" {
            return self.text(&block["text"], "content").into_iter().collect();
        }
        self.input = Some(block["input"].clone());
        let mut call = call(block, "");
        call["index"] = self.calls.into();
        self.calls += 1;
        vec![self.delta(json!({"tool_calls": [call]}))]
    }

    fn grow(&mut self, delta: &Value) -> Vec<Chunk> {
        let chunk = match delta["type"].as_str() {
            Some("text_delta") => self.text(&delta["text"], "content"),
            Some("thinking_delta") => self.text(&delta["thinking"], "reasoning_content"),
            Some("input_json_delta") => match delta["partial_json"].as_str() {
                Some(piece) if !piece.is_empty() => {
                    self.input = None;
                    Some(self.arguments(piece))
                }
                _ => None,
            },
            _ => None,
        };
        chunk.into_iter().collect()
    }

    /// A call without arguments comes without a piece of them: its input stands in the event that began it.
    fn end_block(&mut self) -> Vec<Chunk> {
        let input = self.input.take().filter(Value::is_object);
        let chunk = input.map(|input| self.arguments(&input.to_string()));
        chunk.into_iter().collect()
    }

    fn end(&mut self, delta: &Value, usage: Option<&Value>) -> Vec<Chunk> {
        self.counts.saw(usage);
        let mut chunks = Vec::new();
        if let Some(stopped) = delta.as_object()
            && stopped.get("stop_reason").is_some_and(Value::is_string)
        {
            let mut choice = json!({"index": 0, "delta": {}});
            finish(&mut choice, stopped);
            chunks.push(self.chunk(json!([choice])));
        }
        if let Some(usage) = self.counts.to_chat() {
            let mut counting = self.object(json!([]));
            counting.insert("usage".into(), usage);
            chunks.push(Chunk::from_object(counting));
        }
        chunks
    }

    fn text(&self, text: &Value, field: &str) -> Option<Chunk> {
        let text = text.as_str().filter(|text| !text.is_empty())?;
        Some(self.delta(json!({field: text})))
    }

    fn arguments(&self, piece: &str) -> Chunk {
        let index = self.calls.saturating_sub(1);
        self.delta(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}))
    }

    fn delta(&self, delta: Value) -> Chunk {
        self.chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]))
    }

    fn chunk(&self, choices: Value) -> Chunk {
        Chunk::from_object(self.object(choices))
    }

    fn object(&self, choices: Value) -> Map<String, Value> {
        let object = [
            ("id", self.id.clone()),
            ("object", "chat.completion.chunk".into()),
            ("created", self.created_s.into()),
            ("model", self.model.clone()),
            ("choices", choices),
        ];
        let named = object.map(|(name, value)| (name.to_owned(), value));
        named.into_iter().collect()
    }
}

/// Anthropic's error object as OpenAI's, so that an error has one shape wherever it came from.
pub fn openai_error(body: &Value) -> Option<Value> {
    let error = body.get("error")?.as_object()?;
    let message = error.get("message")?.as_str()?;
    let kind = error.get("type").and_then(Value::as_str);
    // Anthropic has no code for it.
    let is_too_long = kind == Some("invalid_request_error")
        && (message.starts_with("prompt is too long") || message.contains("exceed context limit"));
    let code = is_too_long.then_some("context_length_exceeded");
    Some(json!({"error": {"message": message, "type": kind, "param": null, "code": code}}))
}
