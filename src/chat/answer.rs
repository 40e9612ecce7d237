//! What an expert answers: whole (`chat.completion`) or token by token (`chat.completion.chunk`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A whole answer, object `chat.completion`, with every field that the expert sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion(pub Map<String, Value>);

/// A piece of a streamed answer, object `chat.completion.chunk`, with every field that the expert sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk(pub Map<String, Value>);

/// Tokens counted by whoever answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the conversation.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub completion_tokens: u64,
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

fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotAChatObject> {
    serde_json::from_slice(bytes).map_err(|error| NotAChatObject(error.to_string()))
}

fn usage(object: &Map<String, Value>) -> Option<Usage> {
    Usage::deserialize(object.get("usage")?).ok()
}

fn first_choice(object: &Map<String, Value>) -> Option<&Value> {
    object.get("choices")?.get(0)
}

impl Completion {
    /// Reads an expert's body.
    ///
    /// # Errors
    /// The bytes are no JSON object with a list of `choices`.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAChatObject> {
        let object = object(bytes)?;
        if object.get("choices").is_some_and(Value::is_array) {
            return Ok(Self(object));
        }
        Err(NotAChatObject("it has no list of `choices`".into()))
    }

    /// The text of the first choice.
    pub fn text(&self) -> Option<&str> {
        first_choice(&self.0)?
            .get("message")?
            .get("content")?
            .as_str()
    }

    /// Why the first choice ended.
    pub fn finish_reason(&self) -> Option<&str> {
        first_choice(&self.0)?.get("finish_reason")?.as_str()
    }

    /// The tokens, where the expert counted them.
    pub fn usage(&self) -> Option<Usage> {
        usage(&self.0)
    }
}

impl Chunk {
    /// Reads the data of one event.
    ///
    /// # Errors
    /// The bytes are no JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAChatObject> {
        object(bytes).map(Self)
    }

    /// The text that this chunk adds to the first choice.
    pub fn text(&self) -> Option<&str> {
        self.delta()?
            .get("content")?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    /// Whether anything of the answer is in it: text, reasoning or a tool call, rather than a role or a count.
    pub fn carries_token(&self) -> bool {
        self.delta()
            .and_then(Value::as_object)
            .is_some_and(|delta| {
                delta.iter().any(|(name, value)| {
                    name != "role" && !value.is_null() && value.as_str() != Some("")
                })
            })
    }

    /// Why the first choice ended, in the chunk that ends it.
    pub fn finish_reason(&self) -> Option<&str> {
        first_choice(&self.0)?.get("finish_reason")?.as_str()
    }

    /// The tokens, in the chunk that counts them.
    pub fn usage(&self) -> Option<Usage> {
        usage(&self.0)
    }

    /// Whether the chunk does nothing but count tokens.
    pub fn only_counts(&self) -> bool {
        self.usage().is_some() && first_choice(&self.0).is_none()
    }

    fn delta(&self) -> Option<&Value> {
        first_choice(&self.0)?.get("delta")
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
        Chunk(object)
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
        Chunk(self.object("chat.completion.chunk", json!([choice])))
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
        assert_eq!(
            head().finish(FinishReason::Length).finish_reason(),
            Some("length")
        );
        assert!(head().usage(usage).only_counts());
        let whole = head().completion("hi", FinishReason::Stop, usage);
        let whole = Completion::parse(&serde_json::to_vec(&whole.0).unwrap()).unwrap();
        assert_eq!(
            (whole.text(), whole.finish_reason(), whole.usage()),
            (Some("hi"), Some("stop"), Some(usage))
        );
    }

    #[test]
    fn reasoning_and_tool_calls_are_tokens() {
        for delta in [
            json!({"reasoning_content": "hm"}),
            json!({"tool_calls": [{"index": 0}]}),
        ] {
            let chunk = json!({"choices": [{"delta": delta}]});
            assert!(
                Chunk::parse(chunk.to_string().as_bytes())
                    .unwrap()
                    .carries_token()
            );
        }
    }

    #[test]
    fn an_error_body_is_no_completion() {
        assert!(Completion::parse(br#"{"error": {"message": "no"}}"#).is_err());
        assert!(Completion::parse(b"[]").is_err());
    }
}
