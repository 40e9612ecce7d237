//! What the two completion endpoints share: all but the shape of the answer.

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use super::{ApiError, ApiState, headers, sse};
use crate::{
    app::Asked,
    chat::{ChatRequest, Chunk},
    expert::Answer,
    heavy,
};

/// Turns a chat object into an endpoint's own; the second argument is where a choice keeps its text. None: as it is.
pub(super) type Shape = Option<fn(Map<String, Value>, &str) -> Map<String, Value>>;

/// Answers a request, whole or token by token.
pub(super) async fn answer(
    state: &ApiState,
    asked: Asked,
    request: ChatRequest,
    shape: Shape,
) -> Result<Response, ApiError> {
    let include_usage = request.include_usage;
    let reply = state.app.answer(request, asked).await?;
    let headers = headers::of(&reply);
    Ok(match reply.answer {
        Answer::Whole(completion) => {
            let bytes = completion.json().len();
            let json = match shape {
                Some(shape) => {
                    let write =
                        move || Value::Object(shape(completion.object(), "message")).to_string();
                    heavy::apart(bytes, write).await
                }
                None => completion.into_json(),
            };
            (headers, [(CONTENT_TYPE, "application/json")], json).into_response()
        }
        Answer::Stream(pieces) => {
            let shown = move |chunk: Chunk| {
                let is_shown = include_usage || !chunk.only_counts();
                is_shown.then(|| match shape {
                    Some(shape) => Chunk::from_object(shape(chunk.object(), "delta")),
                    None => chunk,
                })
            };
            (headers, sse::respond(pieces, shown)).into_response()
        }
    })
}
