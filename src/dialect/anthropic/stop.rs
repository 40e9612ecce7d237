//! Why an answer ended: chat completions' word and Anthropic's.

use serde_json::{Value, json};

use crate::dialect::parts::{Kind, Part};

/// Anthropic's `stop_reason` and `stop_sequence`. A provider may say `stop` though it called a tool.
pub(super) fn from_chat(
    finish_reason: &str,
    met_stop: Option<&str>,
    has_calls: HasCalls,
) -> (&'static str, Value) {
    let reason = match (finish_reason, has_calls, met_stop) {
        ("length", ..) => "max_tokens",
        ("content_filter", ..) => "refusal",
        (_, HasCalls::Yes, _) => "tool_use",
        ("stop", _, Some(sequence)) => return ("stop_sequence", json!(sequence)),
        _ => "end_turn",
    };
    (reason, Value::Null)
}

/// Whether an answer calls a tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum HasCalls {
    /// It calls at least one.
    Yes,
    /// It calls none.
    #[default]
    No,
}

impl HasCalls {
    pub(super) fn of(parts: &[Part]) -> Self {
        if parts.iter().any(|part| part.kind() == Kind::Call) {
            Self::Yes
        } else {
            Self::No
        }
    }
}

/// Chat completions' `finish_reason`.
pub(super) fn to_chat(stop_reason: &str) -> &'static str {
    match stop_reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}
