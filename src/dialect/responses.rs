//! OpenAI's Responses API (`POST /v1/responses`), without what it keeps between requests: [`ResponsesRequest`] takes a
//! request, [`ResponseWriter`] writes the answer.

mod answer;
mod echo;
mod items;
mod request;

pub use answer::{ResponseHead, ResponseWriter};
pub use echo::Echo;
pub use request::{ResponsesRequest, field_of};
