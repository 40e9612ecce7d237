//! A conversation as it is asked and answered: OpenAI's chat objects.
//!
//! Every object is kept whole, as it was sent, and read through accessors: fields that Coterie does not know pass
//! through untouched because nothing ever takes them apart. Knows nothing of HTTP, routing or experts.

mod answer;
mod request;

pub use answer::{AnswerHead, Chunk, Completion, FinishReason, NotAChatObject, Usage};
pub(crate) use request::fields;
pub use request::{ChatRequest, InvalidRequest, Message, Role, STOPS_MAX, Sampling};
