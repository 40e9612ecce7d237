//! `POST /v1/messages`: Anthropic's dialect. It is asked as a conversation and answered as a Message.

use axum::{extract::State, response::Response};

use super::{ApiError, ApiState, body::JsonBody, claim::Claims, dialect};
use crate::{
    chat::ChatRequest,
    dialect::anthropic::{MessageHead, MessageWriter, MessagesRequest},
};

/// Answers a conversation, whole or in events.
pub(super) async fn answer(
    State(state): State<ApiState>,
    claims: Claims,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let asked = claims.asked(body.at);
    let (request, thinking) = body.read(|value| {
        let MessagesRequest { chat, thinking } = MessagesRequest::parse(value)?;
        Ok::<_, ApiError>((ChatRequest::parse(chat)?, thinking))
    })?;
    let writer = |outcome_id: &str, model: String| {
        MessageWriter::new(MessageHead {
            id: format!("msg_{outcome_id}"),
            model,
            thinking,
        })
    };
    dialect::answer(&state, asked, request, writer).await
}
