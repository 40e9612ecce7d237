//! What can go wrong between a question and its answer.

use std::{error::Error, time::Duration};

use serde_json::Value;

/// Why an expert gave no answer, or not all of one.
#[derive(Debug, thiserror::Error)]
pub enum ExpertError {
    /// Its queue is full; nothing was sent.
    #[error("the expert's queue is full; try again in {} s", retry_after.as_secs())]
    Busy {
        /// A fair time to wait.
        retry_after: Duration,
    },
    /// No connection, or it broke before an answer began.
    #[error("the expert cannot be reached")]
    Unreachable {
        /// The transport's own words.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nothing came for too long.
    #[error("the expert did not answer within {waited:?}")]
    TimedOut {
        /// How long was waited for the next sign of life.
        waited: Duration,
    },
    /// The provider understood and said no: a fault of the request, passed on in its own words.
    #[error("the expert refused the request (status {status})")]
    Refused {
        /// The provider's HTTP status, 400 to 499 but neither 408 nor 429.
        status: u16,
        /// The provider's body, an OpenAI error object where it sent one.
        body: Value,
    },
    /// The provider has no room for the request now.
    #[error("the provider limits its rate")]
    RateLimited {
        /// The provider's `Retry-After`, where it sent one.
        retry_after: Option<Duration>,
    },
    /// The provider failed (5xx, or an error inside the stream).
    #[error("the expert failed: {detail}")]
    Failed {
        /// What it said.
        detail: String,
    },
    /// The answer broke off, or what came is no answer.
    #[error("the answer broke off: {detail}")]
    Broken {
        /// What was wrong with it.
        detail: String,
    },
    /// The conversation does not fit the expert's context.
    #[error(
        "the conversation has {prompt_tokens} tokens; the expert reads at most {context_tokens}"
    )]
    ContextTooLong {
        /// Tokens of the conversation.
        prompt_tokens: usize,
        /// Tokens that the expert can hold.
        context_tokens: usize,
    },
    /// The request asks for something that this kind of expert does not do.
    #[error("the expert does not support {what}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// The field that asked for it.
        param: &'static str,
    },
    /// The server stops before the answer's end.
    #[error("the server is shutting down; try again")]
    ShuttingDown,
    /// The model in this process failed.
    #[error("the local model failed: {detail}")]
    Model {
        /// What failed.
        detail: String,
    },
}

impl ExpertError {
    /// One word for logs, metrics and the outcome's attempts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "busy",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Refused { .. } => "refused",
            Self::RateLimited { .. } => "rate_limited",
            Self::Failed { .. } => "failed",
            Self::Broken { .. } => "broken",
            Self::ContextTooLong { .. } => "context_too_long",
            Self::Unsupported { .. } => "unsupported",
            Self::ShuttingDown => "shutting_down",
            Self::Model { .. } => "model",
        }
    }

    /// Whether the provider refused us rather than the question: our key, our bill or our name for its model is wrong.
    pub fn refuses_us(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 401 | 402 | 404,
                ..
            }
        )
    }

    /// Whether another expert may do better. A refusal of the question is told at once, but for a context that is too
    /// short, which another expert may not have.
    pub fn another_may_answer(&self) -> bool {
        match self {
            Self::Refused { body, .. } => {
                self.refuses_us() || body["error"]["code"] == "context_length_exceeded"
            }
            Self::ShuttingDown => false,
            _ => true,
        }
    }

    /// When to come back, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after } => Some(*retry_after),
            Self::RateLimited { retry_after } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_refusal_that_every_expert_would_share_ends_the_search() {
        for (status, code, another) in [
            (400, "content_filter", false),
            (400, "context_length_exceeded", true),
            (401, "invalid_api_key", true),
            (402, "insufficient_credits", true),
            (403, "flagged", false),
            (404, "model_not_found", true),
            (422, "bad_schema", false),
        ] {
            let body = json!({"error": {"code": code}});
            let refused = ExpertError::Refused { status, body };
            assert_eq!(refused.another_may_answer(), another, "{status} {code}");
        }
    }
}
