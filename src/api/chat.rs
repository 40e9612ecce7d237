//! `POST /v1/chat/completions`.

use axum::{extract::State, response::Response};

use super::{ApiError, ApiState, answer, body::JsonBody, claim::Claims};
use crate::chat::ChatRequest;

/// Answers a conversation, whole or token by token.
pub(super) async fn answer(
    State(state): State<ApiState>,
    claims: Claims,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let asked = claims.asked(body.at);
    let request = body.read(ChatRequest::parse)?;
    answer::answer(&state, asked, request, None).await
}
