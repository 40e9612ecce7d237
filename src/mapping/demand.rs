//! What a request demands of whoever answers it.

use serde_json::Value;

use crate::{
    chat::{ChatRequest, Need},
    config::Capability,
};

/// Bytes of text that make a token, on the low side of what tokenizers do to English prose (about four): an estimate
/// must rather refuse a long conversation than overrun a context or a budget.
pub(crate) const BYTES_PER_TOKEN: usize = 3;

/// Tokens of an answer whose length the client did not bound, for estimates of cost.
pub(crate) const ANSWER_TOKENS_ESTIMATE: u32 = 1_000;

/// Tokens of a picture, a sound or a file, for estimates: about what providers count for a large picture. What it takes in
/// Base64 says nothing of that.
const ATTACHMENT_TOKENS_ESTIMATE: u64 = 1_600;

/// What a request demands of whoever answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Tokens of the conversation, of the tools and of the form of the answer, estimated.
    pub prompt_tokens: u64,
    /// Tokens that the answer may have.
    pub answer_tokens: u64,
    /// Answers to the one question.
    pub choices_wanted: u32,
    /// What the expert must be able to do.
    pub capabilities: Vec<Capability>,
}

impl Demand {
    /// Reads a request's demands from its body.
    pub fn of(request: &ChatRequest) -> Self {
        let mut capabilities = vec![Capability::Chat];
        for needed in Need::all_of(request).into_iter().filter_map(capability) {
            if !capabilities.contains(&needed) {
                capabilities.push(needed);
            }
        }
        Self {
            prompt_tokens: prompt_tokens(request),
            answer_tokens: answer_tokens_max(request).unwrap_or(ANSWER_TOKENS_ESTIMATE.into()),
            choices_wanted: request.choices_wanted,
            capabilities,
        }
    }

    /// Tokens that all answers together may have.
    pub fn answers_tokens(&self) -> u64 {
        self.answer_tokens
            .saturating_mul(self.choices_wanted.into())
    }

    /// The demands of texts to embed.
    pub fn reading(prompt_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            answer_tokens: 0,
            choices_wanted: 1,
            capabilities: vec![Capability::Embeddings],
        }
    }

    /// The demands of a short question in plain text.
    pub fn plain() -> Self {
        Self {
            prompt_tokens: 0,
            answer_tokens: ANSWER_TOKENS_ESTIMATE.into(),
            choices_wanted: 1,
            capabilities: vec![Capability::Chat],
        }
    }
}

/// Tokens of all that is read before the answer, estimated.
fn prompt_tokens(request: &ChatRequest) -> u64 {
    let texts = request.messages.iter().map(|message| message.text.len());
    let messages = request.body.get("messages").and_then(Value::as_array);
    let messages = || messages.into_iter().flatten();
    // Descriptions of tools, and of the answer's form, are read with every question, and are often longer than it.
    let fields = ["tools", "functions", "response_format"].iter();
    let fields = fields.filter_map(|field| request.body.get(*field));
    let bytes: usize = texts
        .chain(messages().map(bytes_beside_the_text))
        .chain(fields.map(|field| field.to_string().len()))
        .sum();
    let attachments: u64 = messages().map(attachments).sum();
    (bytes / BYTES_PER_TOKEN) as u64 + attachments * ATTACHMENT_TOKENS_ESTIMATE
}

/// Bytes of what a turn says beside its text: calls of tools with their arguments, names, refusals.
fn bytes_beside_the_text(message: &Value) -> usize {
    let fields = message.as_object().into_iter().flatten();
    let beside = fields.filter(|(name, _)| *name != "role" && *name != "content");
    let refusals = parts(message).filter_map(|part| part.get("refusal"));
    beside
        .map(|(_, field)| field)
        .chain(refusals)
        .map(string_bytes)
        .sum()
}

/// Pictures, sounds and files in a turn: whatever is no text.
fn attachments(message: &Value) -> u64 {
    let is_text = |part: &Value| {
        let kind = part["type"].as_str();
        matches!(kind, Some("text" | "input_text" | "refusal"))
    };
    parts(message).filter(|part| !is_text(part)).count() as u64
}

fn parts(message: &Value) -> impl Iterator<Item = &Value> {
    let content = message.get("content").and_then(Value::as_array);
    content.into_iter().flatten()
}

fn string_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(string_bytes).sum(),
        Value::Object(fields) => fields.values().map(string_bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// The most tokens that the client asks for: of two bounds the larger, since experts differ in which they keep to.
fn answer_tokens_max(request: &ChatRequest) -> Option<u64> {
    let bounds = ["max_completion_tokens", "max_tokens"].iter();
    bounds
        .filter_map(|field| request.body.get(*field)?.as_u64())
        .max()
}

/// The capability that covers a need; none where the configuration knows no name for it.
fn capability(need: Need) -> Option<Capability> {
    match need {
        Need::Tools | Need::ToolResults => Some(Capability::Tools),
        Need::OtherParts => Some(Capability::Images),
        Need::Format => Some(Capability::Json),
        Need::Choices | Need::LogProbs | Need::LogitBias => None,
    }
}
