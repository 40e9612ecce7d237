//! `POST /v1/route`: the decision and its reasons, without an answer. Takes what chat takes, or `{"text": …}`.

use axum::{Json, extract::State};

use super::{ApiError, ApiState, body::JsonBody};
use crate::{composition, decision::Explained};

/// Decides, and tells why.
pub(super) async fn decide(
    State(state): State<ApiState>,
    body: JsonBody,
) -> Result<Json<Explained>, ApiError> {
    let request = composition::dry_run(body.value)?;
    Ok(Json(state.app.composition.explain(&request).await?))
}
