//! The one place that turns errors into HTTP, in OpenAI's shape; where a path speaks another dialect, `dialect` gives
//! the same error its shape.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, Uri, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{claim, headers};
use crate::{
    app::Refusal,
    causes::in_full,
    chat::InvalidRequest,
    composition::{MODEL_NAME, Undecided},
    dialect::Failure,
    expert::{ErrorClass, ExpertError, Why},
    mapping::{OverBudget, Payer},
    outcome::{FeedbackError, NoSlot},
    quota::OverQuota,
    router::encoder::EncoderError,
};

/// How long a client should wait for what passes soon: a full queue of ours, a restart.
const SOON: Duration = Duration::from_secs(1);

/// Longest wait, in seconds, that the clients of OpenAI and Anthropic take from `Retry-After`. Told to wait longer they come
/// back at once, unless they are told not to come back by themselves.
const WAIT_S_MAX: u64 = 60;

/// Everything that an endpoint can say instead of an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("send a key: `Authorization: Bearer …` or `x-api-key: …`")]
    MissingKey,
    #[error("the key is not one of this server's")]
    WrongKey,
    #[error("the body is no JSON: {detail}")]
    NotJson { detail: String },
    #[error(
        "the body has more than {levels_max} lists and objects in each other, the most that this server reads"
    )]
    BodyTooDeep { levels_max: usize },
    #[error("the body has more than {bytes_max} bytes, the most that this server reads")]
    BodyTooLong { bytes_max: usize },
    #[error("the body did not arrive within {waited:?}")]
    BodyTooSlow { waited: Duration },
    #[error("the body could not be read: {detail}")]
    BodyUnread { detail: String },
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    #[error(transparent)]
    Undecided(#[from] Undecided),
    #[error(transparent)]
    Expert(#[from] ExpertError),
    #[error(transparent)]
    BrokeOff(ExpertError),
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    #[error("the model `{model}` does not exist; `GET /v1/models` lists those that do")]
    UnknownModel { model: String },
    #[error(
        "the model `{model}` answers conversations and embeds nothing; ask `{MODEL_NAME}` or an embedding model"
    )]
    EmbedsNothing { model: String },
    #[error("there is no {method} {path}")]
    NoSuchEndpoint { method: Method, path: String },
    #[error("{path} does not take {method}")]
    WrongMethod { method: Method, path: String },
    #[error("an internal error; the server's log has the details")]
    Panicked,
}

/// What the client is told, before it is put into OpenAI's shape.
struct Told {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    param: Option<String>,
    retry_after: Option<Duration>,
}

impl Told {
    fn new(status: StatusCode, kind: &'static str, code: &'static str) -> Self {
        Self {
            status,
            kind,
            code,
            param: None,
            retry_after: None,
        }
    }

    fn invalid(code: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code)
    }

    fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

impl ApiError {
    fn told(&self) -> Told {
        use StatusCode as S;
        let auth = |code| Told::new(S::UNAUTHORIZED, "authentication_error", code);
        let server = |status, code| Told::new(status, "server_error", code);
        match self {
            Self::MissingKey => auth("missing_api_key"),
            Self::WrongKey => auth("invalid_api_key"),
            Self::NotJson { .. } | Self::BodyTooDeep { .. } => {
                Told::invalid("invalid_json").at("body")
            }
            Self::BodyTooLong { .. } => Told::new(
                S::PAYLOAD_TOO_LARGE,
                "invalid_request_error",
                "body_too_long",
            )
            .at("body"),
            Self::BodyTooSlow { .. } => {
                Told::new(S::REQUEST_TIMEOUT, "invalid_request_error", "body_too_slow").at("body")
            }
            Self::BodyUnread { .. } => Told::invalid("body_unread").at("body"),
            Self::Invalid(invalid) => Told::invalid("invalid_value").at(&invalid.param),
            Self::Refused(refusal) => of_refusal(refusal),
            Self::OverQuota(over) => of_quota(over, "input"),
            Self::Undecided(undecided) => of_undecided(undecided),
            Self::Expert(error) | Self::BrokeOff(error) => of_expert(error),
            Self::Encoder(EncoderError::Busy) => {
                server(S::TOO_MANY_REQUESTS, "overloaded").retry_after(Some(SOON))
            }
            Self::Encoder(_) => server(S::INTERNAL_SERVER_ERROR, "encoder_failed"),
            Self::Feedback(error) => of_feedback(error),
            Self::UnknownModel { .. } => unknown_model(),
            Self::EmbedsNothing { .. } => Told::invalid("unsupported_value").at("model"),
            Self::NoSuchEndpoint { .. } => {
                Told::new(S::NOT_FOUND, "invalid_request_error", "unknown_url")
            }
            Self::WrongMethod { .. } => Told::new(
                S::METHOD_NOT_ALLOWED,
                "invalid_request_error",
                "method_not_allowed",
            ),
            Self::Panicked => server(S::INTERNAL_SERVER_ERROR, "internal_error"),
        }
    }

    /// The provider's own error, where it refused the question: the client gets the provider's reason, not ours. A
    /// provider that refuses *us* (our key, our bill, our name for its model) is a fault of this server.
    fn passed_on(&self) -> Option<(StatusCode, &Value)> {
        let (Self::Expert(error)
        | Self::BrokeOff(error)
        | Self::Refused(Refusal::Expert { source: error, .. })) = self
        else {
            return None;
        };
        match error {
            ExpertError::Refused { status, body, .. }
                if error.class() != ErrorClass::Authentication =>
            {
                Some((
                    StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST),
                    body,
                ))
            }
            _ => None,
        }
    }
}

fn unknown_model() -> Told {
    Told::new(
        StatusCode::NOT_FOUND,
        "invalid_request_error",
        "model_not_found",
    )
    .at("model")
}

fn of_undecided(undecided: &Undecided) -> Told {
    match undecided {
        Undecided::UnknownModel { .. } => unknown_model(),
        Undecided::AnswersNothing { .. } => Told::invalid("unsupported_value").at("model"),
        Undecided::OverBudget(OverBudget::Question { .. }) => {
            Told::invalid("budget_exceeded").at("max_tokens")
        }
        Undecided::OverBudget(OverBudget::Day {
            payer, resets_in, ..
        }) => {
            let code = match payer {
                Payer::House => "daily_budget_exceeded",
                Payer::Client => "insufficient_quota",
            };
            Told::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", code)
                .retry_after(Some(*resets_in))
        }
        Undecided::PreferNotAllowed(_) => {
            Told::invalid("unsupported_value").at(claim::PREFER.as_str())
        }
    }
}

/// OpenAI's type says what is used up; what is too large is so because of `param`.
fn of_quota(over: &OverQuota, param: &str) -> Told {
    match over {
        OverQuota::Spent { unit, retry_in, .. } => Told::new(
            StatusCode::TOO_MANY_REQUESTS,
            unit.as_str(),
            "rate_limit_exceeded",
        )
        .retry_after(Some(*retry_in)),
        OverQuota::TooLarge { .. } => Told::invalid("tokens_per_minute_exceeded").at(param),
    }
}

fn of_refusal(refusal: &Refusal) -> Told {
    match refusal {
        Refusal::OverQuota { param, source } => of_quota(source, param),
        Refusal::Undecided(undecided) => of_undecided(undecided),
        Refusal::NoSlot(NoSlot) => Told::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "server_error",
            "record_full",
        )
        .retry_after(Some(SOON)),
        Refusal::Expert { source, .. } => of_expert(source),
    }
}

fn of_expert(error: &ExpertError) -> Told {
    use StatusCode as S;
    let server = |status, code| Told::new(status, "server_error", code);
    match error {
        ExpertError::Busy { retry_after, .. } => {
            Told::new(S::TOO_MANY_REQUESTS, "rate_limit_error", "overloaded")
                .retry_after(Some(*retry_after))
        }
        ExpertError::RateLimited { retry_after } => Told::new(
            S::TOO_MANY_REQUESTS,
            "rate_limit_error",
            "rate_limit_exceeded",
        )
        // A provider that does not say how long has rather had too much at once than too much in a day.
        .retry_after(Some(retry_after.unwrap_or(SOON))),
        // The provider's own limit, which holds for this question as for the one that met it.
        ExpertError::CircuitOpen {
            retry_after,
            why: Why::AskedTo,
        } => Told::new(
            S::TOO_MANY_REQUESTS,
            "rate_limit_error",
            "rate_limit_exceeded",
        )
        .retry_after(Some(*retry_after)),
        ExpertError::CircuitOpen { retry_after, .. } => {
            server(S::SERVICE_UNAVAILABLE, "expert_unavailable").retry_after(Some(*retry_after))
        }
        ExpertError::Overloaded { retry_after, .. } => {
            server(S::SERVICE_UNAVAILABLE, "expert_overloaded").retry_after(*retry_after)
        }
        ExpertError::Diverged => server(S::BAD_GATEWAY, "expert_broken"),
        ExpertError::Outrun => server(S::INTERNAL_SERVER_ERROR, "internal_error"),
        ExpertError::Unreachable { .. } => server(S::BAD_GATEWAY, "expert_unreachable"),
        ExpertError::TimedOut { .. } | ExpertError::OutOfTime { .. } => {
            server(S::GATEWAY_TIMEOUT, "expert_timeout")
        }
        ExpertError::Refused { .. } => server(S::BAD_GATEWAY, "expert_refused_us"),
        ExpertError::Failed { retry_after, .. } => {
            server(S::BAD_GATEWAY, "expert_failed").retry_after(*retry_after)
        }
        ExpertError::Broken { .. } | ExpertError::TooLong { .. } => {
            server(S::BAD_GATEWAY, "expert_broken")
        }
        ExpertError::ContextTooLong { .. } => {
            Told::invalid("context_length_exceeded").at("messages")
        }
        ExpertError::Unsupported { param, .. } => Told::invalid("unsupported_value").at(*param),
        ExpertError::ShuttingDown => {
            server(S::SERVICE_UNAVAILABLE, "shutting_down").retry_after(Some(SOON))
        }
        ExpertError::Model { .. } => server(S::INTERNAL_SERVER_ERROR, "local_model_failed"),
    }
}

fn of_feedback(error: &FeedbackError) -> Told {
    use StatusCode as S;
    match error {
        FeedbackError::UnknownOutcome { .. } => {
            Told::new(S::NOT_FOUND, "invalid_request_error", "outcome_not_found").at("id")
        }
        FeedbackError::ScoreOutOfRange { .. } => Told::invalid("invalid_value").at("score"),
        FeedbackError::Behind(_) => {
            Told::new(S::SERVICE_UNAVAILABLE, "server_error", "record_behind")
                .retry_after(Some(SOON))
        }
        FeedbackError::Store(_) => {
            Told::new(S::INTERNAL_SERVER_ERROR, "server_error", "store_failed")
        }
    }
}

/// The body of an error, also sent as the last event of a stream that broke off.
pub(super) fn body(error: &ApiError) -> Value {
    if let Some((_, provider)) = error.passed_on() {
        return provider.clone();
    }
    let Told {
        kind, code, param, ..
    } = error.told();
    json!({"error": {"message": error.to_string(), "type": kind, "param": param, "code": code}})
}

/// The same for a dialect that gives it another shape; `field_of` is what the dialect calls a field of a chat request.
pub(super) fn failure(error: &ApiError, field_of: fn(&str) -> &str) -> Failure {
    let outcome_id = match error {
        ApiError::Refused(Refusal::Expert { outcome_id, .. }) => Some(outcome_id.clone()),
        _ => None,
    };
    if let Some((status, provider)) = error.passed_on() {
        let said = |field: &str| provider["error"][field].as_str().map(str::to_owned);
        return Failure {
            status: status.as_u16(),
            code: said("code").or_else(|| said("type")),
            param: said("param").map(|param| field_of(&param).to_owned()),
            message: said("message").unwrap_or_else(|| error.to_string()),
            outcome_id,
        };
    }
    let told = error.told();
    // What is invalid was found by the dialect's own reader, or in a field that it shares with chat completions.
    let is_named = matches!(error, ApiError::Invalid(_));
    let named = |param: String| {
        if is_named {
            param
        } else {
            field_of(&param).to_owned()
        }
    };
    Failure {
        status: told.status.as_u16(),
        code: Some(told.code.to_owned()),
        param: told.param.map(named),
        message: error.to_string(),
        outcome_id,
    }
}

/// An error that became a response, kept beside it for the dialect of its path.
#[derive(Clone)]
pub(super) struct Original(pub(super) Arc<ApiError>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        log(&self);
        let told = self.told();
        let status = self.passed_on().map_or(told.status, |(status, _)| status);
        let mut response = (status, Json(body(&self))).into_response();
        if let Some(wait) = told.retry_after {
            // Whole seconds, rounded up: a client that comes back early would only be refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, seconds.max(1).into());
            if seconds > WAIT_S_MAX {
                headers.insert(headers::SHOULD_RETRY, HeaderValue::from_static("false"));
            }
        }
        if let Self::Refused(Refusal::Expert { outcome_id, .. }) = &self
            && let Ok(id) = HeaderValue::from_str(outcome_id)
        {
            response.headers_mut().insert(headers::OUTCOME, id);
        }
        response.extensions_mut().insert(Original(Arc::new(self)));
        response
    }
}

/// Counts an error, and writes it down if the fault is ours.
pub(super) fn log(error: &ApiError) {
    let told = error.told();
    metrics::counter!("coterie_errors_total", "code" => told.code).increment(1);
    // What experts fail with was logged where each of them failed.
    let known = matches!(error, ApiError::Refused(Refusal::Expert { .. }));
    if told.status.is_server_error() && !known {
        let said = in_full(error);
        tracing::warn!(status = told.status.as_u16(), code = told.code, "{said}");
    } else {
        tracing::debug!(status = told.status.as_u16(), code = told.code, "{error}");
    }
}

/// For paths that nothing is served under.
pub(super) async fn no_such_endpoint(method: Method, uri: Uri) -> ApiError {
    ApiError::NoSuchEndpoint {
        method,
        path: uri.path().to_owned(),
    }
}

/// For paths that take another method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::WrongMethod {
        method,
        path: uri.path().to_owned(),
    }
}

/// For a handler that panicked, which is a bug: the client is told, the server goes on.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!("a handler panicked: {said}");
    ApiError::Panicked.into_response()
}
