//! Anthropic's Messages API (`POST /v1/messages`, version 2023-06-01).
//!
//! For clients that speak it: [`MessagesRequest`] takes their request, [`MessageWriter`] writes the answer,
//! [`error_body`] the error. For providers that speak it, the inverse is in [`upstream`].

mod answer;
mod error;
mod request;
mod stop;
pub mod upstream;
mod usage;

pub use answer::{MessageHead, MessageWriter, Thinking};
pub use error::{error_body, field_of};
pub use request::MessagesRequest;
