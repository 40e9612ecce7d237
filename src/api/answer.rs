//! What the two completion endpoints share: all but the shape of the answer.

use std::time::Instant;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use super::{ApiError, ApiState, auth::Caller, headers, sse};
use crate::{
    app::Asked,
    chat::{ChatRequest, Chunk},
    expert::Answer,
};

/// Turns a chat object into an endpoint's own; the second argument is where a choice keeps its text.
pub(super) type Shape = fn(Map<String, Value>, &str) -> Map<String, Value>;

/// Answers a request that came `at` a moment, whole or token by token.
pub(super) async fn answer(
    state: &ApiState,
    caller: Caller,
    at: Instant,
    request: ChatRequest,
    shape: Shape,
) -> Result<Response, ApiError> {
    let include_usage = request.include_usage;
    let asked = Asked {
        at,
        key_name: caller.key_name,
    };
    let reply = state.app.answer(request, asked).await?;
    let headers = headers::of(&reply);
    Ok(match reply.answer {
        Answer::Whole(completion) => {
            (headers, Json(shape(completion.0, "message"))).into_response()
        }
        Answer::Stream(pieces) => {
            let shown = move |chunk: Chunk| {
                (include_usage || !chunk.only_counts()).then(|| shape(chunk.0, "delta"))
            };
            (headers, sse::respond(pieces, shown)).into_response()
        }
    })
}
