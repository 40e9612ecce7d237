//! `POST /v1/route`: the decision and its reasons, without an answer. Takes what chat takes, or `{"text": …}`.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{ApiError, ApiState, body::JsonBody};
use crate::{chat::ChatRequest, composition::MODEL_NAME, decision::Explained};

/// Decides, and tells why.
pub(super) async fn decide(
    State(state): State<ApiState>,
    body: JsonBody,
) -> Result<Json<Explained>, ApiError> {
    let request = ChatRequest::parse(as_chat(body.value))?;
    Ok(Json(state.app.composition.explain(&request).await?))
}

/// Fills in what a dry run may leave out: the model, and the conversation around a single text.
fn as_chat(body: Value) -> Value {
    let Value::Object(mut body) = body else {
        return body;
    };
    body.entry("model").or_insert_with(|| MODEL_NAME.into());
    if let Some(text) = body.remove("text") {
        body.entry("messages")
            .or_insert_with(|| json!([{"role": "user", "content": text}]));
    }
    Value::Object(body)
}
