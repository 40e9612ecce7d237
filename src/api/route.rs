//! `POST /v1/route`: the decision and its reasons, without an answer. Takes what chat takes, or `{"text": …}`.

use axum::{Json, extract::State};

use super::{ApiError, ApiState, body::JsonBody, claim::Claims};
use crate::{composition, decision::Explained};

/// Decides, and tells why.
pub(super) async fn decide(
    State(state): State<ApiState>,
    claims: Claims,
    body: JsonBody,
) -> Result<Json<Explained>, ApiError> {
    let asked = claims.asked(body.at);
    let request = body.read(composition::dry_run)?;
    Ok(Json(state.app.explain(&request, &asked).await?))
}
