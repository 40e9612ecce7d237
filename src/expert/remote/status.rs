//! What a provider's refusals and failures mean: pure.

mod refusal;

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::{
    dialect::anthropic::upstream::openai_error,
    expert::{ExpertError, Refused},
};
use refusal::said;

/// Longest message of a provider that is kept for a log, in characters.
const DETAIL_CHARS_MAX: usize = 300;

/// Anthropic's status for "no room for anyone".
const OVERLOADED: u16 = 529;

/// The meaning of a response that is no success.
pub(super) fn error_of(code: u16, retry_after: Option<Duration>, body: &[u8]) -> ExpertError {
    let body = serde_json::from_slice(body)
        .unwrap_or_else(|_no_json| Value::String(String::from_utf8_lossy(body).into_owned()));
    let body = alone(body);
    let detail = || format!("status {code}: {}", shortened(message(&body)));
    match code {
        // A bill that is not paid passes with no time that anybody would wait.
        429 if said(&body).iter().any(|word| word == "insufficient_quota") => refused(code, body),
        429 => ExpertError::RateLimited { retry_after },
        503 | OVERLOADED => ExpertError::Overloaded {
            detail: detail(),
            retry_after,
        },
        408 | 500..=599 => ExpertError::Failed {
            detail: detail(),
            retry_after,
        },
        400..=499 => refused(code, body),
        300..=399 => ExpertError::Failed {
            detail: format!("status {code}: a redirect; put the final address into `base_url`"),
            retry_after: None,
        },
        _ => ExpertError::Broken { detail: detail() },
    }
}

/// The error that a provider reports inside a successful response: `{"error": …}`, or an object that says to be one, as vLLM
/// and `SGLang` send it.
pub(super) fn error_in(object: &Map<String, Value>) -> Option<ExpertError> {
    let has_error = object.get("error").is_some_and(|error| !error.is_null());
    let is_error = object.get("object").is_some_and(|is| is == "error");
    (has_error || is_error).then(|| error_itself(object))
}

/// The error that an object is, whatever it looks like.
pub(super) fn error_itself(object: &Map<String, Value>) -> ExpertError {
    match object.get("error").filter(|error| !error.is_null()) {
        Some(error) => reported(error),
        None => reported(&Value::Object(object.clone())),
    }
}

fn reported(error: &Value) -> ExpertError {
    let body = json!({"error": error});
    let code = error.get("code").and_then(Value::as_u64);
    let code = code.and_then(|code| u16::try_from(code).ok());
    if let Some(code) = code.filter(|code| (400..600).contains(code)) {
        return error_of(code, None, body.to_string().as_bytes());
    }
    let said = said(&body);
    let says = |words: &[&str]| said.iter().any(|word| words.contains(&word.as_str()));
    let detail = shortened(message(error));
    if says(&["rate_limit_exceeded", "rate_limit_error"]) {
        return ExpertError::RateLimited { retry_after: None };
    }
    if says(&["overloaded_error", "overloaded"]) {
        return ExpertError::Overloaded {
            detail,
            retry_after: None,
        };
    }
    match refused(400, body) {
        // Nothing says that it is the request's fault, which the provider had begun to answer.
        ExpertError::Refused {
            why: Refused::Request,
            ..
        } => ExpertError::Failed {
            detail,
            retry_after: None,
        },
        refused => refused,
    }
}

fn refused(status: u16, body: Value) -> ExpertError {
    let body = error_object(body);
    let why = refusal::why(status, &body);
    ExpertError::Refused { status, body, why }
}

/// What a list has that holds one thing alone: Google sends errors so.
fn alone(body: Value) -> Value {
    match body {
        Value::Array(mut list) if list.len() == 1 => list.remove(0),
        body => body,
    }
}

/// Reads a `Retry-After` header: seconds, or an HTTP date.
pub(super) fn retry_after(value: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value.trim()).ok()?;
    let now = Duration::from_millis(u64::try_from(now_ms).ok()?);
    Some(until.duration_since(UNIX_EPOCH).ok()?.saturating_sub(now))
}

/// The body as OpenAI's error object: as it is if it is one, else its message wrapped in one.
fn error_object(body: Value) -> Value {
    if body["type"] == "error"
        && let Some(translated) = openai_error(&body)
    {
        return translated;
    }
    if body.get("error").is_some_and(Value::is_object) {
        return body;
    }
    json!({"error": {
        "message": message(&body),
        "type": "invalid_request_error",
        "param": null,
        "code": null,
    }})
}

/// The sentence in an error body, in the places where providers put it.
fn message(body: &Value) -> &str {
    let place = match body {
        Value::String(text) => Some(text.as_str()),
        Value::Object(object) => ["error", "message", "detail"]
            .iter()
            .find_map(|field| object.get(*field))
            .map(message),
        _ => None,
    };
    place
        .filter(|text| !text.trim().is_empty())
        .unwrap_or("the provider did not say why")
}

fn shortened(text: &str) -> String {
    text.chars().take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_status_has_its_meaning() {
        for (code, kind) in [
            (301, "failed"),
            (400, "refused"),
            (401, "authentication"),
            (402, "authentication"),
            (403, "authentication"),
            (404, "authentication"),
            (408, "failed"),
            (413, "context_too_long"),
            (422, "refused"),
            (429, "rate_limited"),
            (500, "failed"),
            (502, "failed"),
            (503, "overloaded"),
            (529, "overloaded"),
            (199, "broken"),
            (600, "broken"),
        ] {
            assert_eq!(error_of(code, None, b"{}").kind(), kind, "{code}");
        }
    }

    #[test]
    fn a_providers_own_words_tell_refusals_apart() {
        for (code, error, kind) in [
            (400, json!({"code": "content_filter"}), "policy_refused"),
            (
                400,
                json!({"code": "ResponsibleAIPolicyViolation"}),
                "policy_refused",
            ),
            (
                400,
                json!({"code": "context_length_exceeded"}),
                "context_too_long",
            ),
            (
                400,
                json!({"message": "This model's maximum context length is 8 tokens"}),
                "context_too_long",
            ),
            (400, json!({"code": "invalid_schema"}), "refused"),
            (403, json!({"type": "permission_error"}), "authentication"),
            (429, json!({"code": "insufficient_quota"}), "authentication"),
            (429, json!({"code": "rate_limit_exceeded"}), "rate_limited"),
        ] {
            let body = json!({"error": error}).to_string();
            assert_eq!(
                error_of(code, None, body.as_bytes()).kind(),
                kind,
                "{code} {body}"
            );
        }
    }

    #[test]
    fn every_failure_of_the_provider_may_say_when_to_come_back() {
        let wait = Some(Duration::from_secs(3));
        for code in [408, 429, 500, 502, 503, 504, OVERLOADED] {
            assert_eq!(error_of(code, wait, b"").retry_after(), wait, "{code}");
        }
        assert_eq!(error_of(400, wait, b"").retry_after(), None);
    }

    #[test]
    fn errors_inside_a_stream_are_told_apart_like_others() {
        for (error, kind) in [
            (json!({"type": "overloaded_error"}), "overloaded"),
            (json!({"code": "rate_limit_exceeded"}), "rate_limited"),
            (json!({"code": "content_filter"}), "policy_refused"),
            (json!("bad luck"), "failed"),
            (json!({"code": "invalid_api_key"}), "authentication"),
            (json!({"code": 429, "message": "slow down"}), "rate_limited"),
            (json!({"code": 503}), "overloaded"),
            (
                json!({"message": "prompt is too long: 9 tokens"}),
                "context_too_long",
            ),
        ] {
            let object = json!({"error": error}).as_object().cloned().unwrap();
            assert_eq!(error_in(&object).unwrap().kind(), kind, "{error}");
        }
    }

    #[test]
    fn an_object_that_says_to_be_an_error_is_one() {
        for (object, kind) in [
            (
                json!({"object": "error", "message": "boom", "type": "InternalServerError", "code": 500}),
                "failed",
            ),
            (
                json!({"object": "error", "message": "too much", "code": 429}),
                "rate_limited",
            ),
        ] {
            let object = object.as_object().cloned().unwrap();
            assert_eq!(error_in(&object).unwrap().kind(), kind, "{object:?}");
        }
        let unnamed = json!({"message": "no"}).as_object().cloned().unwrap();
        assert!(error_in(&unnamed).is_none());
        assert_eq!(error_itself(&unnamed).to_string(), "the expert failed: no");
    }

    fn refusal(body: &str) -> Value {
        match error_of(400, None, body.as_bytes()) {
            ExpertError::Refused {
                status: 400, body, ..
            } => body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_object_passes_whole() {
        let body = json!({"error": {"message": "no", "code": "content_filter", "house": 1}});
        assert_eq!(refusal(&body.to_string()), body);
    }

    #[test]
    fn anthropics_error_object_becomes_openais() {
        let error = json!({"type": "invalid_request_error", "message": "prompt is too long: 3 tokens > 2 maximum"});
        let body = json!({"type": "error", "error": error, "request_id": "req_1"});
        let told = refusal(&body.to_string());
        assert_eq!(told["error"]["code"], "context_length_exceeded");
        assert_eq!(told["error"]["message"], error["message"]);
        assert!(told.get("request_id").is_none());
    }

    #[test]
    fn any_other_body_is_wrapped_in_an_error_object() {
        for (body, message) in [
            ("<h1>No</h1>", "<h1>No</h1>"),
            (r#"{"error": "no such model"}"#, "no such model"),
            (r#"{"message": "bad"}"#, "bad"),
            (r#"{"detail": "bad"}"#, "bad"),
            (r#"{"detail": [1]}"#, "the provider did not say why"),
            ("", "the provider did not say why"),
        ] {
            assert_eq!(refusal(body)["error"]["message"], message, "{body}");
        }
    }

    #[test]
    fn a_failure_tells_the_providers_message_in_short() {
        let body = json!({"error": {"message": "x".repeat(1000)}}).to_string();
        let detail = error_of(500, None, body.as_bytes()).to_string();
        assert!(detail.contains("status 500: xxx"), "{detail}");
        assert!(detail.chars().count() < 2 * DETAIL_CHARS_MAX);
    }

    #[test]
    fn an_error_field_that_is_null_is_none() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        assert!(error_in(&object(json!({"error": null}))).is_none());
        let error = error_in(&object(json!({"error": {"message": "overloaded"}}))).unwrap();
        assert_eq!(error.to_string(), "the expert failed: overloaded");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now_ms = 1_445_412_475_000; // Wed, 21 Oct 2015 07:27:55 GMT
        for (value, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(5)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(
                retry_after(value, now_ms),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
