//! A piece of a streamed answer.

use serde_json::{Map, Value};

use super::{NotAChatObject, Usage, kept::Kept};
use crate::ids::ExpertId;

/// A piece of a streamed answer, object `chat.completion.chunk`, with every field that the expert sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk(Kept);

impl Chunk {
    /// Reads the data of one event.
    ///
    /// # Errors
    /// The bytes are no JSON object.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, NotAChatObject> {
        Kept::parse(bytes).map(Self)
    }

    /// The same of an object.
    pub fn from_object(object: Map<String, Value>) -> Self {
        Self(Kept::from_object(object))
    }

    /// The object as JSON, on one line.
    pub fn json(&self) -> &str {
        self.0.json()
    }

    /// The object, taken apart.
    pub fn object(&self) -> Map<String, Value> {
        self.0.object()
    }

    /// The same chunk under an expert's name.
    pub fn named(self, expert: &ExpertId) -> Self {
        Self(self.0.named(expert))
    }

    /// Whether it bears an expert's name.
    pub fn is_named(&self, expert: &ExpertId) -> bool {
        self.0.is_named(expert)
    }

    /// The text that this chunk adds to the first choice.
    pub fn text(&self) -> Option<&str> {
        self.0.first()?.text.as_deref()
    }

    /// What this chunk adds to the first choice.
    pub fn delta(&self) -> Option<Map<String, Value>> {
        let Value::Array(choices) = self.object().remove("choices")? else {
            return None;
        };
        let mut choices = choices.into_iter();
        let first =
            choices.find(|choice| choice.is_object() && choice["index"].as_u64().unwrap_or(0) == 0);
        match first?.get_mut("delta")?.take() {
            Value::Object(delta) => Some(delta),
            _ => None,
        }
    }

    /// Whether this chunk adds something else than text to the first choice: reasoning, a tool call, sound.
    pub fn has_more_than_text(&self) -> bool {
        self.0.first().is_some_and(|it| it.has_more)
    }

    /// Whether this chunk calls a tool, or goes on with such a call, in the first choice.
    pub fn calls_tool(&self) -> bool {
        self.0.first().is_some_and(|it| it.calls_tool)
    }

    /// Why the first choice ended, in the chunk that ends it.
    pub fn finish_reason(&self) -> Option<&str> {
        self.0.first()?.finish_reason.as_deref()
    }

    /// The stop sequence that the first choice met, where the expert tells it.
    pub fn met_stop(&self) -> Option<&str> {
        self.0.first()?.met_stop.as_deref()
    }

    /// Whether anything of the answer is in it: text, reasoning or a tool call, rather than a role or a count.
    pub fn carries_token(&self) -> bool {
        self.0.facts().carries_token
    }

    /// Whether the chunk ends a choice.
    pub fn finishes(&self) -> bool {
        !self.0.facts().finished.is_empty()
    }

    /// Whether any choice is in it.
    pub fn has_choices(&self) -> bool {
        self.0.facts().choices > 0
    }

    /// Whether it says anything of an answer, a choice or a count of tokens.
    pub fn is_of_an_answer(&self) -> bool {
        self.has_choices() || self.0.facts().has_usage
    }

    /// The expert's name for itself, where it says one.
    pub fn model(&self) -> Option<String> {
        self.0.model()
    }

    /// The tokens, in the chunk that counts them.
    pub fn usage(&self) -> Option<Usage> {
        self.0.facts().usage
    }

    /// The same with all that the expert says of them.
    pub fn whole_usage(&self) -> Option<Value> {
        self.0.whole_usage()
    }

    /// Whether the chunk does nothing but count tokens.
    pub fn only_counts(&self) -> bool {
        self.0.facts().usage.is_some() && !self.has_choices()
    }

    /// Whether it tells of an error.
    pub fn has_error(&self) -> bool {
        self.0.facts().has_error
    }

    /// The mean log-probability of the answer's tokens by the model itself, in the chunk of a local expert that tells it.
    pub fn mean_logprob(&self) -> Option<f64> {
        self.0.facts().mean_logprob
    }

    /// The same chunk that tells it.
    pub fn with_mean_logprob(self, mean: Option<f64>) -> Self {
        Self(self.0.with_mean_logprob(mean))
    }
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
        for index in &chunk.0.facts().finished {
            if !self.finished.contains(index) {
                self.finished.push(*index);
            }
        }
    }

    /// Whether all that was asked for has come.
    pub fn are_complete(&self) -> bool {
        self.finished.len() >= self.wanted
    }
}

#[cfg(test)]
mod tests;
