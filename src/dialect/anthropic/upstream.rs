//! Chat completions for a provider that speaks Anthropic's dialect: chat requests become Messages requests, Messages and
//! their events become chat answers and chunks.

mod answer;
mod request;

pub use answer::{Meaning, MessageReader, completion, openai_error};
pub use request::{NoEqual, messages_request};

/// The version of the API that is spoken, sent as `anthropic-version`.
pub const VERSION: &str = "2023-06-01";
