//! The human ask, taken out of a conversation: the only text that is classified. Pure: no I/O, no clock.

use crate::chat::Message;

/// What is classified of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The text to classify; empty where no person asked anything.
    pub text: String,
}

impl Query {
    /// Takes the human ask out of a conversation.
    pub fn from_messages(messages: &[Message]) -> Self {
        todo!("{}", messages.len())
    }

    /// A question that stands alone.
    pub fn from_text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
        }
    }
}
