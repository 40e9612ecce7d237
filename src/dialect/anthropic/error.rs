//! Anthropic's error object.

use serde_json::{Map, Value, json};

use crate::dialect::Failure;

/// The body of an error, also the data of a stream's last event where the answer broke off. `details.error_code` is where
/// Anthropic's clients look for a stable word.
pub fn error_body(failure: &Failure) -> Map<String, Value> {
    let mut error = json!({"type": kind(failure.status), "message": sentence(failure)});
    if let Some(code) = &failure.code {
        error["details"] = json!({"error_code": code});
    }
    let mut body = Map::new();
    body.insert("type".into(), "error".into());
    body.insert("error".into(), error);
    body.insert("request_id".into(), json!(failure.outcome_id));
    body
}

/// What a field of a chat request is called here.
pub fn field_of(chat_field: &str) -> &str {
    match chat_field {
        "max_completion_tokens" => "max_tokens",
        "stop" => "stop_sequences",
        "response_format" => "output_config.format",
        other => other,
    }
}

/// Anthropic's word for each status.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

/// Names the field as Anthropic does: `messages.2.content`.
fn sentence(failure: &Failure) -> String {
    let dotted = |text: &str| text.replace('[', ".").replace(']', "");
    match &failure.param {
        Some(param) => {
            let sentence = failure.sentence();
            sentence.replace(param.as_str(), &dotted(param))
        }
        None => failure.message.clone(),
    }
}
