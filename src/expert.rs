//! Whole models that answer.
//!
//! An expert is `local` (this process) or `remote` (an OpenAI-compatible endpoint); whoever
//! asks does not know which. Knows nothing of routing, of what the client's connection is, or of SQL.

mod error;
mod gate;
pub mod local;
mod registry;
pub mod remote;

use std::{sync::Arc, time::Duration};

use futures_util::{future::BoxFuture, stream::BoxStream};
use serde::Serialize;

pub use error::ExpertError;
pub use gate::{Gate, Limits};
pub use registry::{Answered, Embedder, Experts, OpenError};

use crate::{
    chat::{ChatRequest, Chunk, Completion, Usage},
    ids::ExpertId,
};

/// A model that answers conversations. To stop it, drop what it gave: the future or the stream.
pub trait Expert: Send + Sync {
    /// Answers whole or token by token, as `request.stream` says.
    fn answer(&self, request: Arc<ChatRequest>) -> BoxFuture<'_, Result<Answer, ExpertError>>;
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

/// One expert's try at one question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    /// Who was asked.
    pub expert: ExpertId,
    /// What for.
    pub role: Role,
    /// Time from the attempt's start to its first token or failure, and of an answer that was held back to its end; none
    /// while it is under way.
    pub took: Option<Duration>,
    /// The error's kind; none where the expert began to answer.
    pub error: Option<String>,
    /// Why its answer was not taken; none where it was, or where there was none.
    pub rejected: Option<String>,
    /// Tokens, as the expert counted them; none where it did not.
    pub usage: Option<Usage>,
    /// Dollars; none where the price or the count is unknown.
    pub cost_usd: Option<f64>,
}

/// What an expert is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To answer.
    Answer,
    /// To answer, cheaply, if that will do.
    First,
    /// To say whether a first answer will do.
    Judge,
}

impl Attempt {
    /// One that begins.
    pub fn begun(expert: ExpertId) -> Self {
        Self {
            expert,
            role: Role::Answer,
            took: None,
            error: None,
            rejected: None,
            usage: None,
            cost_usd: None,
        }
    }
}
