//! `POST /v1/chat/completions`.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};

use super::{ApiError, ApiState, auth::Caller, body::JsonBody, headers, sse};
use crate::{
    app::Asked,
    chat::{ChatRequest, Chunk},
    expert::Answer,
};

/// Answers a conversation, whole or token by token.
pub(super) async fn answer(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let request = ChatRequest::parse(body.value)?;
    let include_usage = request.include_usage;
    let asked = Asked {
        at: body.at,
        key_name: caller.key_name,
    };
    let reply = state.app.answer(request, asked).await?;
    let headers = headers::of(&reply);
    Ok(match reply.answer {
        Answer::Whole(completion) => (headers, Json(completion.0)).into_response(),
        Answer::Stream(pieces) => {
            let shown =
                move |chunk: Chunk| (include_usage || !chunk.only_counts()).then_some(chunk.0);
            (headers, sse::respond(pieces, shown)).into_response()
        }
    })
}
