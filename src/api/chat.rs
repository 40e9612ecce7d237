//! `POST /v1/chat/completions`.

use axum::{extract::State, response::Response};

use super::{ApiError, ApiState, answer, body::JsonBody, claim::SessionClaim};
use crate::{app::Asked, chat::ChatRequest};

/// Answers a conversation, whole or token by token.
pub(super) async fn answer(
    State(state): State<ApiState>,
    SessionClaim(claim): SessionClaim,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let request = ChatRequest::parse(body.value)?;
    let asked = Asked { at: body.at, claim };
    answer::answer(&state, asked, request, |object, _part| object).await
}
