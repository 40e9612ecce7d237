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
    pub(crate) fn new(wrong: impl Into<String>) -> Self {
        Self(wrong.into())
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotAChatObject> {
    serde_json::from_slice(bytes).map_err(|error| NotAChatObject(error.to_string()))
}

fn usage(object: &Map<String, Value>) -> Option<Usage> {
    Usage::deserialize(object.get("usage")?).ok()
}

/// Where Coterie adds to an object what OpenAI has no field for.
const OURS: &str = "coterie";

fn mean_logprob(object: &Map<String, Value>) -> Option<f64> {
    object.get(OURS)?.get("mean_logprob")?.as_f64()
}

fn insert_mean_logprob(object: &mut Map<String, Value>, mean: Option<f64>) {
    if let Some(mean) = mean {
        object.insert(OURS.into(), json!({"mean_logprob": mean}));
    }
}

fn first_choice(object: &Map<String, Value>) -> Option<&Value> {
    object.get("choices")?.get(0)
}

/// OpenAI has no field for it; vLLM's is read, a text there and a token's number where that stopped the answer.
fn met_stop(choice: &Value) -> Option<&str> {
    choice.get("stop_reason")?.as_str()
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
        met_stop(first_choice(&self.0)?)
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
        mean_logprob(&self.0)
    }

    /// The same object that tells it.
    pub fn with_mean_logprob(mut self, mean: Option<f64>) -> Self {
        insert_mean_logprob(&mut self.0, mean);
        self
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
        let text = self.delta()?.get("content")?.as_str()?;
        (!text.is_empty()).then_some(text)
    }

    /// What this chunk adds to the first choice.
    pub fn delta(&self) -> Option<&Map<String, Value>> {
        self.first_choice()?.get("delta")?.as_object()
    }

    /// Why the first choice ended, in the chunk that ends it.
    pub fn finish_reason(&self) -> Option<&str> {
        self.first_choice()?.get("finish_reason")?.as_str()
    }

    /// The stop sequence that the first choice met, where the expert tells it.
    pub fn met_stop(&self) -> Option<&str> {
        met_stop(self.first_choice()?)
    }

    fn first_choice(&self) -> Option<&Value> {
        self.choices().find(|choice| index_of(choice) == 0)
    }

    /// Whether anything of the answer is in it: text, reasoning or a tool call, rather than a role or a count.
    pub fn carries_token(&self) -> bool {
        let mut deltas = self
            .choices()
            .filter_map(|choice| choice.get("delta")?.as_object());
        deltas.any(|delta| {
            delta.iter().any(|(name, value)| {
                name != "role" && !value.is_null() && value.as_str() != Some("")
            })
        })
    }

    /// Whether the chunk ends a choice.
    pub fn finishes(&self) -> bool {
        self.finished_choices().next().is_some()
    }

    /// The indices of the choices that this chunk ends.
    fn finished_choices(&self) -> impl Iterator<Item = u64> {
        let ended = |choice: &&Value| choice.get("finish_reason").is_some_and(Value::is_string);
        self.choices().filter(ended).map(index_of)
    }

    /// The tokens, in the chunk that counts them.
    pub fn usage(&self) -> Option<Usage> {
        usage(&self.0)
    }

    /// The mean log-probability of the answer's tokens by the model itself, in the chunk of a local expert that tells it.
    pub fn mean_logprob(&self) -> Option<f64> {
        mean_logprob(&self.0)
    }

    /// The same chunk that tells it.
    pub fn with_mean_logprob(mut self, mean: Option<f64>) -> Self {
        insert_mean_logprob(&mut self.0, mean);
        self
    }

    /// The bytes that the chunk takes as JSON.
    pub fn bytes(&self) -> usize {
        serde_json::to_vec(&self.0).map_or(0, |json| json.len())
    }

    /// Whether the chunk does nothing but count tokens.
    pub fn only_counts(&self) -> bool {
        self.usage().is_some() && self.choices().next().is_none()
    }

    fn choices(&self) -> impl Iterator<Item = &Value> {
        self.0
            .get("choices")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }
}

/// A choice that does not say which it is, is the only one.
fn index_of(choice: &Value) -> u64 {
    choice.get("index").and_then(Value::as_u64).unwrap_or(0)
}

/// Keeps count of a streamed answer's choices, which end one by one.
#[derive(Clone, Debug)]
pub struct Choices {
    wanted: usize,
    finished: Vec<u64>,
}

impl Choices {
    /// None of the choices that were asked for has ended.
    pub fn new(wanted: u32) -> Self {
        Self {
            wanted: wanted as usize,
            finished: Vec::new(),
        }
    }

    /// Takes note of a chunk.
    pub fn saw(&mut self, chunk: &Chunk) {
        for index in chunk.finished_choices() {
            if !self.finished.contains(&index) {
                self.finished.push(index);
            }
        }
    }

    /// Whether all that was asked for has come.
    pub fn are_complete(&self) -> bool {
        self.finished.len() >= self.wanted
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
        assert!(Completion::parse(br#"{"choices": []}"#).is_err());
    }

    #[test]
    fn an_answer_is_complete_when_every_choice_has_ended() {
        let chunk = |choices: Value| {
            Chunk::parse(json!({"choices": choices}).to_string().as_bytes()).unwrap()
        };
        let second =
            chunk(json!([{"index": 1, "delta": {"content": "B"}, "finish_reason": "stop"}]));
        assert_eq!(second.text(), None, "text is the first choice's");
        assert!(second.carries_token() && second.finishes());
        let mut choices = Choices::new(2);
        choices.saw(&second);
        choices.saw(&second);
        assert!(!choices.are_complete());
        choices.saw(&chunk(json!([{"delta": {}, "finish_reason": "length"}])));
        assert!(choices.are_complete());
    }
}
