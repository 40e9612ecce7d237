//! `POST /v1/chat/completions`.

use axum::{Extension, extract::State, response::Response};

use super::{ApiError, ApiState, answer, auth::Caller, body::JsonBody};
use crate::chat::ChatRequest;

/// Answers a conversation, whole or token by token.
pub(super) async fn answer(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let request = ChatRequest::parse(body.value)?;
    answer::answer(&state, caller, body.at, request, |object, _part| object).await
}
