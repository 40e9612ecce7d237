//! Other ways to ask and to be answered than OpenAI's chat completions.
//!
//! A dialect is a set of pure functions between its objects and those of chat completions: a request in, an answer or the
//! events of a stream out, and for a provider that speaks it the inverse. Everything between the two ends knows chat
//! completions alone. Knows nothing of HTTP, experts or the clock.

pub mod anthropic;
mod conversation;
mod failure;
mod node;
mod parts;
pub mod responses;

use serde_json::{Map, Value, json};

use crate::chat::{Chunk, Completion};
pub use failure::Failure;

/// Writes one answer in a dialect, whole or event by event.
pub trait Writer: Send + 'static {
    /// A whole answer.
    fn whole(self, completion: &Completion) -> Map<String, Value>;

    /// The events that a chunk brings; the first chunk opens the answer as well.
    ///
    /// # Errors
    /// The chunk cannot be told in this dialect: the stream must [break off](Self::break_off).
    fn chunk(&mut self, chunk: &Chunk) -> Result<Vec<Event>, Untellable>;

    /// The events that end an answer that is complete.
    ///
    /// # Errors
    /// It is not: no chunk had a finish reason.
    fn finish(&mut self) -> Result<Vec<Event>, Untellable>;

    /// The event that ends an answer that broke off; a client cannot take what came before for all of it.
    fn break_off(&mut self, failure: &Failure) -> Event;
}

/// An event of a stream: an object whose `type` is the event's name.
#[derive(Clone, Debug, PartialEq)]
pub struct Event(pub Map<String, Value>);

impl Event {
    /// An event with these fields besides its name.
    fn new(name: &str, fields: Value) -> Self {
        let mut object = Map::new();
        object.insert("type".into(), name.into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        Self(object)
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        self.0.get("type").and_then(Value::as_str).unwrap_or("")
    }
}

/// Why an answer cannot be told in a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untellable {
    /// A dialect's parts come one after the other, and this one was told to be over.
    #[error("the expert went back to a tool call that it had left")]
    Interleaved,
    /// The end of a stream repeats the whole of it, which has a bound.
    #[error("the answer has more than {bytes_max} bytes, the most that is kept of one")]
    TooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// The stream ended without a finish reason.
    #[error("the stream ended before the answer did")]
    Unfinished,
}

/// What is put in the place of a tool's arguments that are no JSON object: Anthropic's own advice for handing them on to
/// whoever can only take one ("Fine-grained tool streaming", "Handling invalid JSON").
fn arguments_as_object(arguments: &str) -> Value {
    if arguments.trim().is_empty() {
        return json!({});
    }
    match serde_json::from_str(arguments) {
        Ok(object @ Value::Object(_)) => object,
        _ => json!({"INVALID_JSON": arguments}),
    }
}

#[cfg(test)]
mod tests;
