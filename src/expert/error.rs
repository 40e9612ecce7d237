//! What can go wrong between a question and its answer.

use std::{error::Error, time::Duration};

use serde_json::Value;

use super::{ErrorClass, Why};

/// Why an expert gave no answer, or not all of one.
#[derive(Debug, thiserror::Error)]
pub enum ExpertError {
    /// It has too many questions already; nothing was sent.
    #[error("{}; try again in {} s", crowd.in_words(), whole_s(*retry_after))]
    Busy {
        /// How long, as answers go, until there is room.
        retry_after: Duration,
        /// What there is no room for.
        crowd: Crowd,
    },
    /// It failed too often of late, was slow, or asked for a pause, and is left alone; nothing was sent.
    #[error("{}; try again in {} s", why.in_words(), whole_s(*retry_after))]
    CircuitOpen {
        /// Time until it is tried again.
        retry_after: Duration,
        /// What opened the breaker.
        why: Why,
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
    /// The time that the question has is up, whoever is asked.
    #[error("there was no answer within the {waited:?} that the question has")]
    OutOfTime {
        /// How long this expert had.
        waited: Duration,
    },
    /// The provider understood and said no: a fault of the request, passed on in its own words.
    #[error("the expert refused the request (status {status})")]
    Refused {
        /// The provider's HTTP status, 400 to 499 but neither 408 nor 429.
        status: u16,
        /// The provider's body, an OpenAI error object where it sent one.
        body: Value,
        /// What was refused.
        why: Refused,
    },
    /// The provider has no room for *our* requests now.
    #[error("the provider limits its rate")]
    RateLimited {
        /// The provider's `Retry-After`, where it sent one.
        retry_after: Option<Duration>,
    },
    /// The provider has no room for anyone's requests now.
    #[error("the provider is overloaded: {detail}")]
    Overloaded {
        /// What it said.
        detail: String,
        /// The provider's `Retry-After`, where it sent one.
        retry_after: Option<Duration>,
    },
    /// The provider failed (5xx, or an error inside the stream).
    #[error("the expert failed: {detail}")]
    Failed {
        /// What it said.
        detail: String,
        /// The provider's `Retry-After`, where it sent one.
        retry_after: Option<Duration>,
    },
    /// The answer broke off, or what came is no answer.
    #[error("the answer broke off: {detail}")]
    Broken {
        /// What was wrong with it.
        detail: String,
    },
    /// More of the answer would have to be held at once than is held of any.
    #[error("the answer has more than {bytes_max} bytes {in_what}")]
    TooLong {
        /// As much is held.
        bytes_max: usize,
        /// Of what.
        in_what: &'static str,
    },
    /// The answer does not begin with what was delivered of the one whose place it was to take.
    #[error("the answer is another one than that which was begun")]
    Diverged,
    /// Another expert answered before it.
    #[error("another expert was faster")]
    Outrun,
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

/// Why whoever asks cannot wait for an expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// As many wait as may.
    Full,
    /// There would be no answer by the deadline.
    TooSlow,
}

impl Crowd {
    fn in_words(self) -> &'static str {
        match self {
            Self::Full => "the expert's queue is full",
            Self::TooSlow => "the expert has too many questions to answer this one in time",
        }
    }
}

/// Seconds that a caller is told to wait, rounded up as in `Retry-After`: who comes back early is only refused again.
fn whole_s(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// What a provider refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The request, which is wrong.
    Request,
    /// To answer such a question.
    ByPolicy,
    /// So long a conversation.
    Length,
    /// Us: our key, our bill or our name for its model is wrong.
    Us,
}

impl Refused {
    pub(super) fn class(self) -> ErrorClass {
        match self {
            Self::Request => ErrorClass::BadRequest,
            Self::ByPolicy => ErrorClass::PolicyRefused,
            Self::Length => ErrorClass::ContextTooLong,
            Self::Us => ErrorClass::Authentication,
        }
    }
}

impl ExpertError {
    /// One word for logs, metrics and the outcome's attempts.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "busy",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::OutOfTime { .. } => "out_of_time",
            Self::Refused { why, .. } => match why {
                Refused::Request => "refused",
                Refused::ByPolicy => "policy_refused",
                Refused::Length => "context_too_long",
                Refused::Us => "authentication",
            },
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded { .. } => "overloaded",
            Self::Failed { .. } => "failed",
            Self::Broken { .. } => "broken",
            Self::TooLong { .. } => "answer_too_long",
            Self::Diverged => "diverged",
            Self::Outrun => "outrun",
            Self::ContextTooLong { .. } => "context_too_long",
            Self::Unsupported { .. } => "unsupported",
            Self::ShuttingDown => "shutting_down",
            Self::Model { .. } => "model",
        }
    }

    /// When to come back, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::CircuitOpen { retry_after, .. } => {
                Some(*retry_after)
            }
            Self::RateLimited { retry_after }
            | Self::Overloaded { retry_after, .. }
            | Self::Failed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_rounded_up_and_with_its_reason() {
        for (ms, why, sentence) in [
            (
                300,
                Why::AskedTo,
                "the provider asked for a pause; try again in 1 s",
            ),
            (
                1001,
                Why::Failures,
                "the expert failed of late and is left alone; try again in 2 s",
            ),
            (
                0,
                Why::Slow,
                "the expert was slow of late and is left alone; try again in 1 s",
            ),
        ] {
            let retry_after = Duration::from_millis(ms);
            let error = ExpertError::CircuitOpen { retry_after, why };
            assert_eq!(error.to_string(), sentence);
        }
        let retry_after = Duration::from_millis(1500);
        for (crowd, why) in [(Crowd::Full, "full"), (Crowd::TooSlow, "in time")] {
            let busy = ExpertError::Busy { retry_after, crowd }.to_string();
            assert!(
                busy.ends_with(&format!("{why}; try again in 2 s")),
                "{busy}"
            );
        }
    }
}
