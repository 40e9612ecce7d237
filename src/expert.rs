//! Whole models that answer.
//!
//! An expert is `local` (this process) or `remote` (an OpenAI-compatible endpoint); whoever
//! asks does not know which. Knows nothing of routing, of what the client's connection is, or of SQL.

mod attempts;
mod breaker;
mod call;
mod class;
mod error;
mod gate;
mod hedge;
pub mod local;
mod order;
mod pool;
mod quantile;
mod recovery;
mod registry;
pub mod remote;
mod retry;
mod seats;

use std::future::ready;

use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
use serde_json::{Map, Value};

pub use attempts::{Attempt, AttemptId, Attempts, Role};
pub use breaker::{Circuit, Why};
pub use call::{Affinity, Call, Tried};
pub use class::{ErrorClass, Next};
pub use error::{Crowd, ExpertError, Refused};
pub use gate::{Gate, Limits};
pub use order::Answered;
pub use pool::EndpointState;
pub use registry::{Embedder, Experts, Health, OpenError};
pub use seats::Concurrency;

use crate::chat::{Chunk, Completion};

/// A model that answers conversations. To stop it, drop what it gave: the future or the stream.
pub trait Expert: Send + Sync {
    /// Answers whole or token by token, as the call's request says.
    fn answer<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, ExpertError>>;

    /// Turns texts into vectors: an OpenAI embeddings request, and OpenAI's answer to it. Not all experts do.
    fn embed<'a>(
        &'a self,
        _body: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Map<String, Value>, ExpertError>> {
        let error = ExpertError::Unsupported {
            what: "embeddings",
            param: "model",
        };
        ready(Err(error)).boxed()
    }
}

/// An answer, in the form that was asked for.
pub enum Answer {
    /// `stream` was false.
    Whole(Completion),
    /// `stream` was true. Ends only when the answer is complete: every choice has its finish reason and, where the
    /// expert counts tokens, a chunk with the usage has come (always asked for, whether or not the client did). What
    /// ends early ends with an error.
    Stream(AnswerStream),
}

/// The pieces of one answer.
pub type AnswerStream = BoxStream<'static, Result<Chunk, ExpertError>>;
