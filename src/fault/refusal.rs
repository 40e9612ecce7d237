//! Refusals in OpenAI's words: a status and an error object.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{
    kind::{FAULTS, Kind},
    name::{NameError, RetryAfter, RetryForm},
    reply::Reply,
};

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: u16,
    message: String,
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Refusal {
    /// The refusal that a fault consists of.
    pub(super) fn of(fault: Kind) -> Option<Self> {
        let refusal = match fault {
            Kind::RateLimit | Kind::RateLimitOnce => Self::new(429, "Rate limit reached.")
                .kind("requests")
                .code("rate_limit_exceeded"),
            Kind::ErrorOnce => Self::new(
                500,
                "The server had an error while processing your request.",
            ),
            Kind::Overloaded => {
                Self::new(503, "The model is overloaded; try again later.").code("overloaded")
            }
            Kind::Down => Self::new(503, "The provider is down."),
            Kind::Auth => Self::new(401, "Incorrect API key provided.").code("invalid_api_key"),
            Kind::Context => Self::new(
                400,
                "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens. \
                 Please reduce the length of the messages.",
            )
            .param("messages")
            .code("context_length_exceeded"),
            Kind::Filter => Self::new(400, "The prompt was refused by the content filter.")
                .param("messages")
                .code("content_filter"),
            Kind::RejectPrefill => Self::prefill(),
            Kind::ErrorEvent => Self::new(500, "The server had an error while it answered."),
            _ => return None,
        };
        Some(refusal)
    }

    /// The last message is the assistant's.
    pub(super) fn prefill() -> Self {
        Self::new(
            400,
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        )
        .param("messages")
    }

    /// The model's name asks for nothing that there is.
    pub(super) fn name(error: &NameError) -> Self {
        let refusal = match error {
            NameError::UnknownFault { .. } => {
                let names: Vec<_> = FAULTS.iter().map(|fault| fault.name).collect();
                Self::new(404, format!("{error}; there are {}", names.join(", ")))
                    .code("model_not_found")
            }
            _ => Self::new(400, error.to_string()),
        };
        refusal.param("model")
    }

    /// A request that is no chat request, or asks for what is not here.
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: match status {
                500.. => "server_error",
                _ => "invalid_request_error",
            },
            param: None,
            code: None,
        }
    }

    fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    fn param(self, param: &'static str) -> Self {
        let param = Some(param);
        Self { param, ..self }
    }

    fn code(self, code: &'static str) -> Self {
        let code = Some(code);
        Self { code, ..self }
    }

    /// OpenAI's error object.
    pub(super) fn object(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }

    /// The refusal in place of an answer.
    pub(super) fn reply(&self) -> Reply {
        Reply::json(self.status, &self.object())
    }
}

/// The value of a `Retry-After` header that is sent at `now_ms`.
pub(super) fn retry_after_value(retry_after: RetryAfter, now_ms: i64) -> String {
    let wait = Duration::from_secs(retry_after.seconds.into());
    match retry_after.form {
        RetryForm::Seconds => retry_after.seconds.to_string(),
        RetryForm::Date => {
            let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
            // The format has no fractions: rounded down, the date would be too early.
            let seconds = (now + wait).as_millis().div_ceil(1000);
            let seconds = u64::try_from(seconds).unwrap_or(0);
            httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusing_fault_has_its_refusal() {
        for fault in FAULTS.iter().filter(|fault| fault.is_refusal()) {
            assert!(Refusal::of(fault.kind).is_some(), "{fault}");
        }
    }

    #[test]
    fn an_unknown_fault_is_told_the_known_ones() {
        let name = "gpt".to_owned();
        let refusal = Refusal::name(&NameError::UnknownFault { name });
        assert_eq!(refusal.status, 404);
        let object = refusal.object();
        assert_eq!(object["error"]["code"], "model_not_found");
        let message = object["error"]["message"].as_str().unwrap();
        assert!(message.contains("`gpt`") && message.contains("rate-limit-once"));
    }

    #[test]
    fn a_date_is_never_before_the_wait_is_over() {
        let value = |form, now_ms| {
            let retry_after = RetryAfter { seconds: 5, form };
            retry_after_value(retry_after, now_ms)
        };
        let now_ms = 1_445_412_475_000; // Wed, 21 Oct 2015 07:27:55 GMT
        assert_eq!(value(RetryForm::Seconds, now_ms), "5");
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(value(RetryForm::Date, now_ms), date);
        assert_eq!(value(RetryForm::Date, now_ms - 999), date);
    }
}
