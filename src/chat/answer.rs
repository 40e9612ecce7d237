//! What an expert answers: whole (`chat.completion`) or token by token (`chat.completion.chunk`).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Chunk, kept::Kept};
use crate::ids::ExpertId;

/// A whole answer, object `chat.completion`, with every field that the expert sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion(Kept);

/// Tokens counted by whoever answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the conversation.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
}

impl Usage {
    /// All tokens together.
    pub fn tokens(self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// Why an answer ended, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done, or met a stop sequence.
    Stop,
    /// The token limit or the context was reached.
    Length,
}

/// The bytes are no JSON object of the kind that was expected.
#[derive(Debug, thiserror::Error)]
#[error("not a chat object: {0}")]
pub struct NotAChatObject(String);

impl NotAChatObject {
    /// Says what is wrong with it.
    pub(crate) fn new(wrong: impl fmt::Display) -> Self {
        Self(wrong.to_string())
    }
}

impl Completion {
    /// Reads an expert's body.
    ///
    /// # Errors
    /// The bytes are no JSON object with `choices`.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAChatObject> {
        let completion = Self(Kept::parse(bytes.to_vec())?);
        if completion.0.facts().choices > 0 {
            return Ok(completion);
        }
        Err(NotAChatObject::new("it has no `choices`"))
    }

    /// The same of an object.
    pub fn from_object(object: Map<String, Value>) -> Self {
        Self(Kept::from_object(object))
    }

    /// The object as JSON.
    pub fn json(&self) -> &str {
        self.0.json()
    }

    /// The same, for good.
    pub fn into_json(self) -> String {
        self.0.into_json()
    }

    /// The object, taken apart.
    pub fn object(&self) -> Map<String, Value> {
        self.0.object()
    }

    /// The same answer under an expert's name.
    pub fn named(self, expert: &ExpertId) -> Self {
        Self(self.0.named(expert))
    }

    /// Whether every choice has its finish reason.
    pub fn is_finished(&self) -> bool {
        self.0.facts().finished.len() == self.0.facts().choices
    }

    /// The message of the first choice.
    pub fn message(&self) -> Option<Map<String, Value>> {
        let message = self
            .object()
            .get_mut("choices")?
            .get_mut(0)?
            .get_mut("message")?
            .take();
        match message {
            Value::Object(message) => Some(message),
            _ => None,
        }
    }

    /// The text of the first choice; none where there is none.
    pub fn text(&self) -> Option<&str> {
        self.0.first()?.text.as_deref()
    }

    /// The stop sequence that the first choice met, where the expert tells it.
    pub fn met_stop(&self) -> Option<&str> {
        self.0.first()?.met_stop.as_deref()
    }

    /// Whether the first choice calls a tool.
    pub fn calls_tool(&self) -> bool {
        self.0.first().is_some_and(|it| it.calls_tool)
    }

    /// Why the first choice ended.
    pub fn finish_reason(&self) -> Option<&str> {
        self.0.first()?.finish_reason.as_deref()
    }

    /// Whether the first choice ended before its end: at the most tokens that it might have, or at a filter.
    pub fn is_cut_off(&self) -> bool {
        matches!(self.finish_reason(), Some("length" | "content_filter"))
    }

    /// The tokens, where the expert counted them.
    pub fn usage(&self) -> Option<Usage> {
        self.0.facts().usage
    }

    /// The same with all that the expert says of them.
    pub fn whole_usage(&self) -> Option<Value> {
        self.0.whole_usage()
    }

    /// The mean log-probability of the answer's tokens by the model itself, where a local expert tells it.
    pub fn mean_logprob(&self) -> Option<f64> {
        self.0.facts().mean_logprob
    }

    /// The same object that tells it.
    pub fn with_mean_logprob(self, mean: Option<f64>) -> Self {
        Self(self.0.with_mean_logprob(mean))
    }
}

impl FinishReason {
    /// OpenAI's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// What the objects of one answer have in common; makes them for experts that speak no JSON themselves.
#[derive(Clone, Debug)]
pub struct AnswerHead {
    /// The answer's id.
    pub id: String,
    /// The expert's id.
    pub model: String,
    /// Seconds since 1970-01-01 UTC.
    pub created_s: i64,
}

impl AnswerHead {
    /// The chunk that opens an answer.
    pub fn opening(&self) -> Chunk {
        self.chunk(json!({"role": "assistant", "content": ""}), None)
    }

    /// A chunk that adds `text`.
    pub fn text(&self, text: &str) -> Chunk {
        self.chunk(json!({"content": text}), None)
    }

    /// The chunk that ends the answer.
    pub fn finish(&self, reason: FinishReason) -> Chunk {
        self.chunk(json!({}), Some(reason))
    }

    /// The chunk that counts tokens.
    pub fn usage(&self, usage: Usage) -> Chunk {
        let mut object = self.object("chat.completion.chunk", json!([]));
        object.insert("usage".into(), usage.to_json());
        Chunk::from_object(object)
    }

    /// The whole answer at once.
    pub fn completion(&self, text: &str, reason: FinishReason, usage: Usage) -> Completion {
        let mut object = self.object(
            "chat.completion",
            json!([{
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": null,
                "finish_reason": reason.as_str(),
            }]),
        );
        object.insert("usage".into(), usage.to_json());
        Completion::from_object(object)
    }

    fn chunk(&self, delta: Value, reason: Option<FinishReason>) -> Chunk {
        let reason = reason.map(FinishReason::as_str);
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason});
        Chunk::from_object(self.object("chat.completion.chunk", json!([choice])))
    }

    fn object(&self, kind: &str, choices: Value) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("id".into(), self.id.clone().into());
        object.insert("object".into(), kind.into());
        object.insert("created".into(), self.created_s.into());
        object.insert("model".into(), self.model.clone().into());
        object.insert("choices".into(), choices);
        object
    }
}

impl Usage {
    /// The object that OpenAI's clients read, with the total.
    pub fn to_json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> AnswerHead {
        AnswerHead {
            id: "a".into(),
            model: "general".into(),
            created_s: 1,
        }
    }

    #[test]
    fn what_is_made_is_read_back() {
        let usage = Usage {
            prompt_tokens: 3,
            completion_tokens: 2,
        };
        assert_eq!(head().text("hi").text(), Some("hi"));
        assert!(head().text("hi").carries_token());
        assert!(!head().opening().carries_token());
        assert!(head().finish(FinishReason::Length).finishes());
        assert!(head().usage(usage).only_counts());
        let whole = head().completion("hi", FinishReason::Stop, usage);
        let whole = Completion::parse(whole.json().as_bytes()).unwrap();
        assert_eq!(
            (whole.text(), whole.finish_reason(), whole.usage()),
            (Some("hi"), Some("stop"), Some(usage))
        );
    }

    #[test]
    fn an_error_body_is_no_completion() {
        for wrong in [
            r#"{"error": {"message": "no"}}"#,
            "[]",
            r#"{"choices": []}"#,
        ] {
            assert!(Completion::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
