//! What the endpoints of other dialects share: the path of a question, which is that of chat completions, and errors in
//! the shape that the clients of a path know.

use std::panic::AssertUnwindSafe;

use axum::{
    Json,
    extract::Request,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use serde_json::{Map, Value, json};

use super::{
    ApiError, ApiState,
    error::{self, Original},
    events, headers, quota,
};
use crate::{
    app::Asked,
    chat::ChatRequest,
    dialect::{Failure, Writer, anthropic, responses},
    expert::Answer,
    heavy,
};

/// Where Anthropic's clients look for an answer's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Anthropic's status for "no room now, come back soon"; no other server knows it.
const OVERLOADED: u16 = 529;

/// Answers a chat request as the writer writes it that `writer` makes of the outcome's id and the expert's.
pub(super) async fn answer<W: DialectWriter>(
    state: &ApiState,
    asked: Asked,
    request: ChatRequest,
    writer: impl FnOnce(&str, String) -> W,
) -> Result<Response, ApiError> {
    let reply = state.app.answer(request, asked).await?;
    let headers = headers::of(&reply);
    let writer = writer(&reply.outcome_id, reply.expert.to_string());
    Ok(match reply.answer {
        Answer::Whole(completion) => {
            let bytes = completion.json().len();
            let write = move || Value::Object(writer.whole(&completion)).to_string();
            let json = heavy::apart(bytes, write).await;
            (headers, [(CONTENT_TYPE, "application/json")], json).into_response()
        }
        Answer::Stream(pieces) => (
            headers,
            events::respond(pieces, reply.outcome_id, writer, W::DIALECT.failure()),
        )
            .into_response(),
    })
}

/// Gives an error the shape that the path's clients know, whoever refused: a handler, the check of the key, the reader of
/// the body, the table of endpoints; a handler that panicked is one more. And tells of the client's quota in the names that
/// they know.
pub(super) async fn tell_in_its_own(request: Request, next: Next) -> Response {
    let dialect = Dialect::of_path(request.uri().path());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answered.unwrap_or_else(error::panicked);
    quota::tell(dialect, &mut response);
    let Some(dialect) = dialect else {
        return response;
    };
    if let Some(Original(error)) = response.extensions_mut().remove() {
        dialect.reshape(&error, &mut response);
    }
    if let (Dialect::Anthropic, Some(id)) = (dialect, response.headers().get(headers::OUTCOME)) {
        let id = id.clone();
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A dialect other than chat completions.
#[derive(Clone, Copy)]
pub(super) enum Dialect {
    Anthropic,
    Responses,
}

/// A writer that knows what its dialect is.
pub(super) trait DialectWriter: Writer {
    const DIALECT: Dialect;
}

impl DialectWriter for anthropic::MessageWriter {
    const DIALECT: Dialect = Dialect::Anthropic;
}

impl DialectWriter for responses::ResponseWriter {
    const DIALECT: Dialect = Dialect::Responses;
}

impl Dialect {
    fn of_path(path: &str) -> Option<Self> {
        let is_under = |endpoint: &str| {
            let rest = path.strip_prefix(endpoint);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_under("/v1/messages") {
            Some(Self::Anthropic)
        } else if is_under("/v1/responses") {
            Some(Self::Responses)
        } else {
            None
        }
    }

    /// What an error is in the dialect's terms.
    fn failure(self) -> fn(&ApiError) -> Failure {
        match self {
            Self::Anthropic => |error| error::failure(error, anthropic::field_of),
            Self::Responses => |error| error::failure(error, responses::field_of),
        }
    }

    fn reshape(self, error: &ApiError, response: &mut Response) {
        let failure = self.failure()(error);
        let body = match self {
            Self::Anthropic => {
                if response.status() == StatusCode::SERVICE_UNAVAILABLE
                    && let Ok(overloaded) = StatusCode::from_u16(OVERLOADED)
                {
                    *response.status_mut() = overloaded;
                }
                anthropic::error_body(&failure)
            }
            Self::Responses => openai_body(error, failure),
        };
        *response.body_mut() = Json(body).into_response().into_body();
    }
}

/// OpenAI's shape, with the field as the dialect calls it.
fn openai_body(error: &ApiError, failure: Failure) -> Map<String, Value> {
    let mut body = error::body(error);
    if let (Some(param), Some(told)) = (failure.param, body.get_mut("error")) {
        told["param"] = json!(param);
    }
    body.as_object().cloned().unwrap_or_default()
}
