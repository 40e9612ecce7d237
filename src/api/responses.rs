//! `POST /v1/responses`: OpenAI's newer dialect, without what it keeps between requests. It is asked as a conversation and
//! answered as a Response.

use axum::{extract::State, response::Response};

use super::{ApiError, ApiState, body::JsonBody, claim::Claims, dialect};
use crate::{
    chat::ChatRequest,
    clock,
    dialect::responses::{ResponseHead, ResponseWriter, ResponsesRequest},
};

/// Answers a conversation, whole or in events.
pub(super) async fn answer(
    State(state): State<ApiState>,
    claims: Claims,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let asked = claims.asked(body.at);
    let (request, echo) = body.read(|value| {
        let ResponsesRequest { chat, echo } = ResponsesRequest::parse(value)?;
        Ok::<_, ApiError>((ChatRequest::parse(chat)?, echo))
    })?;
    let writer = |outcome_id: &str, model: String| {
        ResponseWriter::new(ResponseHead {
            id: format!("resp_{outcome_id}"),
            model,
            created_s: clock::now_ms() / 1000,
            echo,
        })
    };
    dialect::answer(&state, asked, request, writer).await
}
