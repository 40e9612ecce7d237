//! A conversation as it is asked and answered: OpenAI's chat objects.
//!
//! Every object is kept whole, as it was sent, and read through accessors: fields that Coterie does not know pass
//! through untouched because nothing ever takes them apart; answers and their pieces stay the very text that came. Knows nothing of HTTP, routing or experts.

mod answer;
mod chunk;
pub(crate) mod content;
mod facts;
pub(crate) mod fields;
mod kept;
mod logprobs;
mod need;
mod request;

pub use answer::{AnswerHead, Completion, FinishReason, NotAChatObject, Usage};
pub use chunk::{Choices, Chunk};
pub use logprobs::TokenChoice;
pub use need::Need;
pub use request::{
    ChatRequest, GUIDED_CHOICES_MAX, InvalidRequest, Message, Role, STOPS_MAX, Sampling,
};
