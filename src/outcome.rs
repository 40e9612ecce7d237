//! What happened to one question after its decision. Plain data; the recorder carries it to the store.

pub(crate) mod content;
mod feedback;
mod recorder;
mod redact;
mod reservations;
mod spending;
mod tab;
mod ticket;
mod writer;

use std::time::Duration;

use serde::Serialize;

pub use feedback::{Feedback, FeedbackError};
pub use recorder::{Behind, NoSlot, Prices, Recorder, RecorderOptions, Slot, Unrecorded};
pub use reservations::{Reservations, Sum, Used};
pub use spending::{Reserved, Spending};
pub use tab::Tab;
pub use ticket::Ticket;
pub use writer::{Retention, Writer};

use crate::{chat::Usage, decision::Decision, expert::Attempt, ids::ExpertId};

/// The record of one question that got a decision.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// UUID version 7, so that ids sort by time.
    pub id: String,
    /// When it was asked, milliseconds since 1970 UTC.
    pub asked_at_ms: i64,
    /// Who asked and what for.
    pub ask: Ask,
    /// Where it was sent and why.
    pub decision: Decision,
    /// Who was asked, in order; the last one answered if the ending is `Completed`.
    pub attempts: Vec<Attempt>,
    /// The expert that began to answer; none if none did.
    pub answered_by: Option<ExpertId>,
    /// Time from the request to the first token towards the client; none if none came.
    pub first_token: Option<Duration>,
    /// Time from the request to the ending.
    pub total: Duration,
    /// Tokens of every answer that was made for it, those not taken and a judge's included, as counted by whoever made
    /// them; none if one was not counted.
    pub usage: Option<Usage>,
    /// Dollars for all of them, from each expert's prices and usage; none if one is unknown.
    pub cost_usd: Option<f64>,
    /// How it ended.
    pub ending: Ending,
    /// The error's kind where one ended it.
    pub error: Option<String>,
    /// The answer's text, kept as `store.content` says.
    pub answer: Option<String>,
}

/// Who asked, and what for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The name of the key that asked; none where the server has no keys.
    pub key_name: Option<String>,
    /// The model name that the client sent.
    pub model: String,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// The classified text, kept as `store.content` says.
    pub question: Option<String>,
    /// Which conversation it belongs to; none where nothing tells it.
    pub session: Option<String>,
}

/// How a question ended. The one nobody sets is `ClientLeft`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The whole answer was handed to the client.
    Completed,
    /// The client closed the connection before the end.
    ClientLeft,
    /// No expert answered, or the one that did broke off.
    ExpertFailed,
    /// The same by the clock.
    TimedOut,
    /// The server shut down before the end.
    Shutdown,
}

impl Ending {
    /// The word that is stored and logged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientLeft => "client_left",
            Self::ExpertFailed => "expert_failed",
            Self::TimedOut => "timed_out",
            Self::Shutdown => "shutdown",
        }
    }
}
