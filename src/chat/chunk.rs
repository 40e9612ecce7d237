//! A piece of a streamed answer.

mod facts;

use memchr::memchr2;
use serde_json::{Map, Value, json};

use super::{NotAChatObject, Usage, answer::OURS};
use crate::ids::ExpertId;
use facts::Facts;

/// A piece of a streamed answer, object `chat.completion.chunk`: its JSON, with every field that the expert sent, and what
/// is read of it.
///
/// Hundreds of them pass through in a second, and nobody needs more of most than another name for the model. So they are
/// read once, and neither taken apart nor put together again.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// An object, on one line.
    json: String,
    facts: Facts,
}

impl Chunk {
    /// Reads the data of one event.
    ///
    /// # Errors
    /// The bytes are no JSON object.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, NotAChatObject> {
        let json = String::from_utf8(bytes).map_err(NotAChatObject::new)?;
        let is_one_line = memchr2(b'\n', b'\r', json.as_bytes()).is_none();
        if let Some(facts) = Facts::of(&json).filter(|_| is_one_line) {
            return Ok(Self { json, facts });
        }
        // Written anew, it is on one line, and has no field twice.
        let object: Map<String, Value> =
            serde_json::from_str(&json).map_err(NotAChatObject::new)?;
        Ok(Self::from_object(object))
    }

    /// The same of an object.
    pub fn from_object(object: Map<String, Value>) -> Self {
        let json = Value::Object(object).to_string();
        let facts = Facts::of(&json).unwrap_or_default();
        Self { json, facts }
    }

    /// The object, on one line.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The object, taken apart.
    pub fn object(&self) -> Map<String, Value> {
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// The same chunk under an expert's name.
    pub fn named(mut self, expert: &ExpertId) -> Self {
        let name = Value::from(expert.as_str()).to_string();
        let place = self.facts.model.clone().unwrap_or_else(|| {
            let separator = if self.json.contains(':') { "," } else { "" };
            let opening = self.json.find('{').map_or(0, |at| at + 1);
            let field = r#""model":"#;
            self.json
                .insert_str(opening, &format!("{field}{separator}"));
            let start = opening + field.len();
            start..start
        });
        self.facts.model = Some(place.start..place.start + name.len());
        self.json.replace_range(place, &name);
        self
    }

    /// Whether it bears an expert's name.
    pub fn is_named(&self, expert: &ExpertId) -> bool {
        let name = self.facts.model.clone().and_then(|it| self.json.get(it));
        name == Some(Value::from(expert.as_str()).to_string().as_str())
    }

    /// The text that this chunk adds to the first choice.
    pub fn text(&self) -> Option<&str> {
        self.facts.first.text.as_deref()
    }

    /// What this chunk adds to the first choice.
    pub fn delta(&self) -> Option<Map<String, Value>> {
        let Value::Array(choices) = self.object().remove("choices")? else {
            return None;
        };
        let mut choices = choices.into_iter();
        let first = choices.find(|choice| choice["index"].as_u64().unwrap_or(0) == 0);
        match first?.get_mut("delta")?.take() {
            Value::Object(delta) => Some(delta),
            _ => None,
        }
    }

    /// Whether this chunk adds something else than text to the first choice: reasoning, a tool call, sound.
    pub fn has_more_than_text(&self) -> bool {
        self.facts.first.has_more
    }

    /// Why the first choice ended, in the chunk that ends it.
    pub fn finish_reason(&self) -> Option<&str> {
        self.facts.first.finish_reason.as_deref()
    }

    /// The stop sequence that the first choice met, where the expert tells it.
    pub fn met_stop(&self) -> Option<&str> {
        self.facts.first.met_stop.as_deref()
    }

    /// Whether anything of the answer is in it: text, reasoning or a tool call, rather than a role or a count.
    pub fn carries_token(&self) -> bool {
        self.facts.carries_token
    }

    /// Whether the chunk ends a choice.
    pub fn finishes(&self) -> bool {
        !self.facts.finished.is_empty()
    }

    /// Whether any choice is in it.
    pub fn has_choices(&self) -> bool {
        self.facts.choices > 0
    }

    /// The tokens, in the chunk that counts them.
    pub fn usage(&self) -> Option<Usage> {
        self.facts.usage
    }

    /// The same with all that the expert says of them.
    pub fn whole_usage(&self) -> Option<Value> {
        self.facts
            .has_usage
            .then(|| self.object().remove("usage"))?
    }

    /// Whether the chunk does nothing but count tokens.
    pub fn only_counts(&self) -> bool {
        self.facts.usage.is_some() && !self.has_choices()
    }

    /// Whether it tells of an error.
    pub fn has_error(&self) -> bool {
        self.facts.has_error
    }

    /// The mean log-probability of the answer's tokens by the model itself, in the chunk of a local expert that tells it.
    pub fn mean_logprob(&self) -> Option<f64> {
        self.facts.mean_logprob
    }

    /// The same chunk that tells it.
    pub fn with_mean_logprob(self, mean: Option<f64>) -> Self {
        let Some(mean) = mean else { return self };
        let mut object = self.object();
        object.insert(OURS.into(), json!({"mean_logprob": mean}));
        Self::from_object(object)
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
        for index in &chunk.facts.finished {
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
