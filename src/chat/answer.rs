//! What an expert answers: whole (`chat.completion`) or token by token (`chat.completion.chunk`).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Chunk;

/// A whole answer, object `chat.completion`, with every field that the expert sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion(pub Map<String, Value>);

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

fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotAChatObject> {
    serde_json::from_slice(bytes).map_err(|error| NotAChatObject(error.to_string()))
}

fn usage(object: &Map<String, Value>) -> Option<Usage> {
    Usage::deserialize(object.get("usage")?).ok()
}

/// Where Coterie adds to an object what OpenAI has no field for.
pub(super) const OURS: &str = "coterie";

fn first_choice(object: &Map<String, Value>) -> Option<&Value> {
    object.get("choices")?.get(0)
}

impl Completion {
    /// Reads an expert's body.
    ///
    /// # Errors
    /// The bytes are no JSON object with `choices`.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAChatObject> {
        let object = object(bytes)?;
        if first_choice(&object).is_some() {
            return Ok(Self(object));
        }
        Err(NotAChatObject("it has no `choices`".into()))
    }

    /// Whether every choice has its finish reason.
    pub fn is_finished(&self) -> bool {
        let choices = self.0.get("choices").and_then(Value::as_array);
        let is_finished =
            |choice: &Value| choice.get("finish_reason").is_some_and(Value::is_string);
        choices.is_some_and(|choices| choices.iter().all(is_finished))
    }

    /// The message of the first choice.
    pub fn message(&self) -> Option<&Map<String, Value>> {
        first_choice(&self.0)?.get("message")?.as_object()
    }

    /// The text of the first choice.
    pub fn text(&self) -> Option<&str> {
        self.message()?.get("content")?.as_str()
    }

    /// The stop sequence that the first choice met, where the expert tells it.
    pub fn met_stop(&self) -> Option<&str> {
        // OpenAI has no field for it; vLLM's is a text, or a token's number where that stopped the answer.
        first_choice(&self.0)?.get("stop_reason")?.as_str()
    }

    /// Why the first choice ended.
    pub fn finish_reason(&self) -> Option<&str> {
        first_choice(&self.0)?.get("finish_reason")?.as_str()
    }

    /// The tokens, where the expert counted them.
    pub fn usage(&self) -> Option<Usage> {
        usage(&self.0)
    }

    /// The mean log-probability of the answer's tokens by the model itself, where a local expert tells it.
    pub fn mean_logprob(&self) -> Option<f64> {
        self.0.get(OURS)?.get("mean_logprob")?.as_f64()
    }

    /// The same object that tells it.
    pub fn with_mean_logprob(mut self, mean: Option<f64>) -> Self {
        if let Some(mean) = mean {
            self.0.insert(OURS.into(), json!({"mean_logprob": mean}));
        }
        self
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
        Completion(object)
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
        let whole = Completion::parse(&serde_json::to_vec(&whole.0).unwrap()).unwrap();
        assert_eq!(
            (whole.text(), whole.finish_reason(), whole.usage()),
            (Some("hi"), Some("stop"), Some(usage))
        );
    }

    #[test]
    fn an_error_body_is_no_completion() {
        assert!(Completion::parse(br#"{"error": {"message": "no"}}"#).is_err());
        assert!(Completion::parse(b"[]").is_err());
        assert!(Completion::parse(br#"{"choices": []}"#).is_err());
    }
}
